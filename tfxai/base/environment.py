"""Is there a TensorFlow, and does Keras use it? Asked before anything else."""

import importlib.util
import os


def tensorflow() -> None:
    """Raise one clear ImportError without TensorFlow, or for another Keras backend."""
    if importlib.util.find_spec("tensorflow") is None:
        raise ImportError(
            'tfxai needs TensorFlow: pip install "tfxai[cpu]" (or "tfxai[gpu]").'
        )
    _refuse(os.environ.get("KERAS_BACKEND") or "tensorflow")


def backend() -> None:
    """Raise for the backend that Keras has chosen, from its settings file too."""
    import keras

    _refuse(keras.config.backend())


def _refuse(name: str) -> None:
    if name != "tensorflow":
        raise ImportError(
            f"tfxai works on TensorFlow, but the Keras backend is {name!r}: set "
            "KERAS_BACKEND=tensorflow before import keras."
        )
