"""Measures of explanations: (model, inputs, explanation) -> numbers."""
