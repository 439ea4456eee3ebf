"""Copy a model to another device, process or machine."""

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
class TransportedModel:
    """A model in a form that can be sent to another process.

    Args:
        data: The bytes of a `.keras` file, or None.
        model: The model itself or the path of its file, if `data` is None.
        preprocess: The preprocessing function, or None.
        output: The index of the explained output.
    """

    data: bytes | None
    model: Any
    preprocess: Callable[..., Any] | None
    output: int

    def wrapped(self) -> ModelWrapper:
        """Rebuild the model in the receiving process."""
        model = self.model if self.data is None else model_from_bytes(self.data)
        if isinstance(model, Path):
            model = networks.load(model, safe_mode=False)
        return wrap(model, self.preprocess, self.output)


def to_transported(wrapped: ModelWrapper, path: Path | None) -> TransportedModel:
    """Return the model in a form that can be sent to another process.

    Args:
        wrapped: The model.
        path: The file of a model that is not a Keras model, read by the receiver.
    """
    import keras

    model, data = wrapped.model, None
    if isinstance(model, keras.Model):
        model, data = None, model_to_bytes(model)
    elif path is not None:
        model = path.absolute()
    return TransportedModel(data, model, wrapped.preprocess, wrapped.output)


def model_to_bytes(model: Any) -> bytes:
    """Return a Keras model as the bytes of a `.keras` file.

    Raises:
        ModelError: The model is not a Keras model, or cannot be saved.
    """
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
        except Exception as error:  # the code of a layer may raise any exception
            raise ModelError(
                f"{model.name} cannot be copied: {first_line(error, None)}",
                "a model that model.save can write",
            ) from error
        return Path(path).read_bytes()


def model_from_bytes(data: bytes) -> Any:
    """Return the model of `model_to_bytes`.

    Lambda layers are loaded, since the bytes come from the user's own process.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.keras")
        path.write_bytes(data)
        return networks.load(path, safe_mode=False)
