"""The wrapped model, its inputs and targets, and what an analyzer returns."""
