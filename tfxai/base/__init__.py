"""Modules that every other package may import: errors, validation, progress, files."""
