"""Explanations from gradients of the model's output with respect to its input."""
