"""Explain whole data sets: `tfxai.run` and the folders that it writes."""
