"""Gradients of the answer by the input."""
