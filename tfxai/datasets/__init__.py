"""Explanations of whole data sets: `tfxai.run`."""
