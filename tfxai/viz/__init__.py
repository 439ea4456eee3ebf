"""Drawings of explanations, and HTML pages that show them."""
