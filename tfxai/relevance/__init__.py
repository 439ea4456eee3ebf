"""Relevance propagation: a second model that carries an answer back to the input."""
