"""Relevance propagation: a second model that returns the relevance of the input.

After `import tfxai.relevance`, `keras.models.load_model` reads a saved
`analyzer.graph`.
"""

from tfxai.relevance.relevance_model import RelevanceModel

__all__ = ["RelevanceModel"]
