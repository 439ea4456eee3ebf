"""A model made ready for another device, process or machine."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfxai.base.errors import ModelError, first_line
from tfxai.core.model import ModelWrapper, wrap
from tfxai.io import networks


@dataclass(frozen=True)
class Shipped:
    """A model on its way to another process: a `.keras` file's bytes, or as it is."""

    data: bytes | None
    model: Any
    preprocess: Callable | None
    output: int

    def wrapped(self) -> ModelWrapper:
        """The model, where it arrived."""
        model = self.model if self.data is None else unpacked(self.data)
        if isinstance(model, Path):
            model = networks.load(model, safe_mode=False)
        return wrap(model, self.preprocess, self.output)


def shipped(wrapped: ModelWrapper, path: Path | None) -> Shipped:
    """A model made ready to travel; one that is no Keras model is read from `path`."""
    import keras

    model, data = wrapped.model, None
    if isinstance(model, keras.Model):
        model, data = None, packed(model)
    elif path is not None:
        model = path.absolute()
    return Shipped(data, model, wrapped.preprocess, wrapped.output)


def packed(model: Any) -> bytes:
    """A Keras model as the bytes of a `.keras` file."""
    import keras

    if not isinstance(model, keras.Model):
        raise ModelError(
            f"A {type(model).__name__} cannot be copied to another device.",
            "a Keras model",
        )
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.keras")
        try:
            model.save(path)
        except Exception as error:  # Keras raises whatever a layer leads to
            raise ModelError(
                f"{model.name} cannot be copied: {first_line(error, None)}",
                "a model that model.save can write",
            ) from error
        return Path(path).read_bytes()


def unpacked(data: bytes) -> Any:
    """The model again; Lambda layers run here, since they came from the user's own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.keras")
        path.write_bytes(data)
        return networks.load(path, safe_mode=False)
