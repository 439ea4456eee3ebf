"""Relevance propagation: a second model that carries an answer back to the input.

Importing this package lets `keras.models.load_model` read a saved `analyzer.graph`.
"""

from tfxai.relevance.relevance_model import RelevanceModel

__all__ = ["RelevanceModel"]
