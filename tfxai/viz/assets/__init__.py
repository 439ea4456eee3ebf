"""The text and the style of pages."""
