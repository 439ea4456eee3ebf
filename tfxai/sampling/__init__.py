"""Methods that only evaluate the model, on many changed copies of an input."""
