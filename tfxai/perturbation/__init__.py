"""Explanations by optimisation: what must change for the answer to change."""
