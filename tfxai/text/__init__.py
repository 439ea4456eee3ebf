"""Explanations of language models and text classifiers: strings in, tokens out."""

from tfxai.text.analyzer import TextAnalyzer
from tfxai.text.api import create_analyzer, explain

__all__ = ["TextAnalyzer", "create_analyzer", "explain"]
