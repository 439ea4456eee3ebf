"""Explain a model while `fit` trains it."""
