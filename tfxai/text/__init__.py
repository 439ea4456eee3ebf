"""Explanations of language models and text classifiers: strings in, tokens out."""

from tfxai.text.analyzer import TextAnalyzer
from tfxai.text.api import create_analyzer, explain
from tfxai.text.evaluation import TEXT_METRICS

__all__ = ["TEXT_METRICS", "TextAnalyzer", "create_analyzer", "explain"]
