"""Checks made once, at import: TensorFlow is there, and Keras uses it."""

import importlib.util

if importlib.util.find_spec("tensorflow") is None:
    raise ImportError(
        'tfxai needs TensorFlow: pip install "tfxai[cpu]", or "tfxai[gpu]" for CUDA.'
    )

import keras

if keras.config.backend() != "tensorflow":
    raise ImportError(
        f"tfxai works on TensorFlow, but the Keras backend is "
        f"{keras.config.backend()!r}: set KERAS_BACKEND=tensorflow before import keras."
    )
