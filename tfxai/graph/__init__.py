"""The user's Keras graph as flat, plain steps."""
