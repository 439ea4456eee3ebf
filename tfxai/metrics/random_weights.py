"""Random weights for the layers of a Keras model, which is restored afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np

from tfxai.base.errors import ModelError
from tfxai.graph.private import is_graph


@contextmanager
def restored(model: keras.Model) -> Iterator[keras.Model]:
    """Yield a model whose weights may change: a copy, or the model, restored after."""
    copy = _copy(model)
    if copy is not None:
        yield copy
        return
    kept = [np.array(np.asarray(v)) for v in model.variables]
    try:
        yield model
    finally:
        for variable, value in zip(model.variables, kept, strict=True):
            variable.assign(value)


def _copy(model: keras.Model) -> keras.Model | None:
    """Return a copy with the same weights, or None if Keras cannot clone the model."""
    if not is_graph(model):
        return None
    try:
        copy = keras.models.clone_model(model)
    except (NotImplementedError, TypeError, ValueError):
        return None  # a Lambda, or a layer without its configuration
    if [v.shape for v in copy.weights] != [v.shape for v in model.weights]:
        return None  # a layer makes other weights in a copy
    copy.set_weights(model.get_weights())
    return copy


def layers_with_weights(model: keras.Model) -> list[keras.Layer]:
    """Return the layers with weights, each once, from the top, nested models included.

    Layers whose weight arrays are all constant are skipped, such as an untrained
    BatchNormalization: permuting them changes nothing, so the stage would repeat the
    same heatmap.
    """
    found: dict[int, keras.Layer] = {}

    def visit(model: keras.Model) -> None:
        for layer in model.layers:
            if isinstance(layer, keras.Model):
                visit(layer)
            elif any(np.ptp(w) for w in layer.get_weights() if w.size):
                found.setdefault(id(layer), layer)

    visit(model)
    if not found:
        raise ModelError(
            f"The model {model.name!r} has no weights that differ.",
            "layers with weights that are not all equal",
        )
    return list(found.values())[::-1]


def random_weights(layer: keras.Layer, rng: np.random.Generator) -> list[np.ndarray]:
    """Return random values for the weights of a layer."""
    return [_random_array(np.asarray(w), rng) for w in layer.get_weights()]


def _random_array(w: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a permutation of a vector, or a sampled kernel."""
    if w.ndim < 2 or w.dtype.kind != "f":
        return rng.permutation(w.ravel()).reshape(w.shape)
    # A normal distribution truncated at two deviations: resample values outside.
    values = rng.standard_normal(w.shape)
    while (far := np.abs(values) > 2).any():
        values[far] = rng.standard_normal(far.sum())
    kernel: np.ndarray = (values * w.std()).astype(w.dtype)
    return kernel
