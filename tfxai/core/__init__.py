"""The wrapped model, its inputs and targets, analyzers and explanations."""
