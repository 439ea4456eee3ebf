"""A model read from TensorFlow's own trace."""
