"""Explanations while a model is trained."""
