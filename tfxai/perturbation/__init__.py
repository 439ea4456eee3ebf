"""Explanations by optimisation: the smallest change that changes the output."""
