"""Analyzers that only ask: many changed inputs, and what the model answers to them."""
