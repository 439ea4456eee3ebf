"""Metrics that evaluate explanations: (model, inputs, explanation) -> numbers."""
