"""The program of a model, as analyzers read it."""

from tfxai.core.model_adapters import adapt


def program_of(model, batch_norm="fold"):
    """Read the steps of a model."""
    return adapt(model, None, 0).read(batch_norm)
