"""Drawings of explanations, and pages that show them."""
