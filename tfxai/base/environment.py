"""Checks that TensorFlow is installed and is the backend of Keras."""

import importlib.util
import os


def check_tensorflow() -> None:
    """Raise ImportError without TensorFlow, or if KERAS_BACKEND is another backend."""
    if importlib.util.find_spec("tensorflow") is None:
        raise ImportError(
            "tfxai needs TensorFlow: python -m pip install tensorflow-cpu (or, for a "
            'GPU, "tensorflow[and-cuda]").'
        )
    _require_tensorflow(os.environ.get("KERAS_BACKEND") or "tensorflow")


def check_backend() -> None:
    """Raise ImportError if Keras uses another backend (also by its settings file)."""
    import keras

    _require_tensorflow(keras.config.backend())


def _require_tensorflow(name: str) -> None:
    if name != "tensorflow":
        raise ImportError(
            f"tfxai works on TensorFlow, but the Keras backend is {name!r}: set "
            "KERAS_BACKEND=tensorflow before import keras."
        )
