"""Does the map depend on what the network learnt? Its weights are drawn again.

Adebayo et al. 2018, arXiv:1810.03292: a map that stays as it was while the weights are
randomised shows the picture, not the network.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tfxai.base.errors import InputError, ModelError
from tfxai.base.validation import one_of, whole_number
from tfxai.core.registry import create_analyzer
from tfxai.graph.private import is_graph
from tfxai.metrics.correlation import spearman

ORDERS = ("cascading", "independent")


@dataclass(frozen=True, eq=False)
class Randomised:
    """The maps of a network that forgets, and how like the first map they are.

    layers: their names, one for each stage, from the top. original: (B, H, W). maps:
    (S, B, H, W). rank_correlation: (S, B), Spearman's, of |map|; signed: of the map.
    Two maps of one picture that share nothing else are alike in |map| by what they take
    from the picture, .5 or so where it is a factor; their signs are not. ssim: (S, B),
    of |map| scaled to 0..1. All near 1 are a bad sign. target: (B,), of all stages.
    """

    layers: tuple[str, ...]
    original: np.ndarray
    maps: np.ndarray
    rank_correlation: np.ndarray
    signed: np.ndarray
    ssim: np.ndarray
    target: np.ndarray


def randomisation(
    analyzer_name: str,
    model: keras.Model,
    x: Any,
    target: Any = None,
    preprocess: Callable | None = None,
    order: str = "cascading",
    stages: int | None = None,
    seed: int = 0,
    batch_size: int = 32,
    **options: Any,
) -> Randomised:
    """Explain pictures (B, H, W, C) while the weights are drawn again, layer by layer.

    order: "cascading" from the top, each layer staying random; "independent", one layer
        at a time. stages: explain after so many of the layers only, spread over all,
        the lowest always among them; None is after each. target: one for each sample;
        None is the top class of the model as it was trained. options: those of the
        analyzer.

    Kernels are drawn from a normal distribution of their own deviation, cut at two;
    the values of biases, scales and statistics are shuffled. The model is not touched:
    it is a copy that forgets, or, where Keras cannot copy it, the model itself, whose
    weights are put back whatever happens.
    """

    def make(model: Any) -> Any:
        return create_analyzer(analyzer_name, model, preprocess, **options)

    return forgetting(make, model, x, target, order, stages, seed, batch_size)


def data_randomisation(
    analyzer_name: str,
    model: keras.Model,
    other: keras.Model,
    x: Any,
    target: Any = None,
    preprocess: Callable | None = None,
    batch_size: int = 32,
    **options: Any,
) -> Randomised:
    """The maps of a network beside those of one that learnt labels drawn by lot.

    other: the same network, trained as `model` was, but with the labels in random order
        (`rng.permutation(labels)`), until it knows them by heart. A map that is like
        that of `model` does not show what pictures have to do with their labels.

    One stage, "labels by lot"; the other arguments as those of `randomisation`.
    """
    shapes = [[tuple(w.shape) for w in m.weights] for m in (model, other)]
    if shapes[0] != shapes[1]:
        raise InputError(
            "The weights of the two networks have other shapes: "
            f"{shapes[0][:3]} ... and {shapes[1][:3]} ...",
            "the same network, trained again with permuted labels",
        )
    made = [create_analyzer(analyzer_name, m, preprocess, **options)
            for m in (model, other)]  # fmt: skip
    first = made[0].analyze(x, target, batch_size, False)
    original = _checked(first)
    e = made[1].analyze(x, first.target, batch_size, False)
    maps = [np.asarray(e.heatmap(), float)]
    return _told(("labels by lot",), original, maps, first.target)


def forgetting(
    make: Callable[[Any], Any],
    model: keras.Model,
    x: Any,
    target: Any = None,
    order: str = "cascading",
    stages: int | None = None,
    seed: int = 0,
    batch_size: int = 32,
) -> Randomised:
    """As `randomisation`, of whatever `make(model)` gives that can `analyze`."""
    one_of("order", order, ORDERS)
    if stages is not None:
        whole_number("stages", stages, 1)
    if not isinstance(model, keras.Model):
        raise ModelError(
            f"{type(model).__name__} has no layers whose weights can be drawn again.",
            "a Keras model",
            "the model that was wrapped",
        )
    with _forgetful(model) as copy:
        analyzer, layers = make(copy), _layers(copy)
        first = analyzer.analyze(x, target, batch_size, False)
        original = _checked(first)
        last = len(layers) - 1
        places = np.linspace(last, 0, len(layers) if stages is None else stages)
        shown, maps = sorted(set(places.round().astype(int).tolist())), []
        for i, layer in enumerate(layers):
            if i not in shown and order == "independent":
                continue
            kept = layer.get_weights()
            layer.set_weights(_drawn(layer, np.random.default_rng([seed, i])))
            if i in shown:
                e = analyzer.analyze(x, first.target, batch_size, False)
                maps.append(np.asarray(e.heatmap(), float))
            if order == "independent":
                layer.set_weights(kept)
    names = tuple(layers[i].name for i in shown)
    return _told(names, original, maps, first.target)


def _told(
    names: tuple[str, ...], original: np.ndarray, stages: list, target: np.ndarray
) -> Randomised:
    maps = np.array(stages)
    return Randomised(
        names,
        original,
        maps,
        _compared(rank_correlation, original, maps),
        _compared(_signed, original, maps),
        _compared(ssim, original, maps),
        target,
    )


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's correlation of |a| and |b|; 0 where one of them is constant."""
    return spearman(np.abs(a).ravel(), np.abs(b).ravel())


def _signed(a: np.ndarray, b: np.ndarray) -> float:
    return spearman(a.ravel(), b.ravel())


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """The structural similarity of |a| and |b| (H, W), each scaled to 0..1.

    0 where one of the two is constant, and 1 where both are. Windows of 7 pixels, or as
    many as there are.
    """
    from skimage.metrics import structural_similarity

    flat = [np.ptp(np.abs(v)) == 0 for v in (a, b)]
    if any(flat):
        return float(all(flat))
    side = min(7, *a.shape)
    window = side if side % 2 else side - 1
    return float(
        structural_similarity(_scaled(a), _scaled(b), win_size=window, data_range=1.0)
    )


def _scaled(map: np.ndarray) -> np.ndarray:
    size = np.abs(map)
    return (size - size.min()) / np.ptp(size)


def _compared(how: Callable, original: np.ndarray, maps: np.ndarray) -> np.ndarray:
    return np.array(
        [[how(a, b) for a, b in zip(original, stage, strict=True)] for stage in maps]
    )


def _checked(e: Any) -> np.ndarray:
    """The maps (B, H, W) of the model as it was trained."""
    maps = None if isinstance(e.relevance, list) else np.asarray(e.heatmap(), float)
    if maps is None or np.ndim(e.target) != 1 or maps.ndim != 3 or e.target.min() < 0:
        raise InputError(
            f"An explanation of {np.shape(e.target)} target(s) with maps of shape "
            f"{None if maps is None else maps.shape}.",
            "one class per sample, and pictures (B, H, W, C)",
        )
    if min(maps.shape[1:]) < 3:
        raise InputError(f"Maps of shape {maps.shape}.", "at least 3 pixels each way")
    return maps


@contextmanager
def _forgetful(model: keras.Model) -> Iterator[keras.Model]:
    """A model whose weights may be changed: a copy, or the model, put right after."""
    copy = _copied(model)
    if copy is not None:
        yield copy
        return
    kept = [np.array(np.asarray(v)) for v in model.variables]
    try:
        yield model
    finally:
        for variable, value in zip(model.variables, kept, strict=True):
            variable.assign(value)


def _copied(model: keras.Model) -> keras.Model | None:
    """A copy with the same weights; None of what Keras cannot make again."""
    if not is_graph(model):
        return None
    try:
        copy = keras.models.clone_model(model)
    except (NotImplementedError, TypeError, ValueError):
        return None  # a Lambda, or a layer without its configuration
    copy.set_weights(model.get_weights())
    return copy


def _layers(model: keras.Model) -> list[keras.Layer]:
    """The layers with weights, each once, from the top; those of nested models too.

    Without those whose weights are all alike, a BatchNormalization that was never
    trained say: there is nothing in them to shuffle, and their stage would show the
    same map again.
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
            "layers with them",
        )
    return list(found.values())[::-1]


def _drawn(layer: keras.Layer, rng: np.random.Generator) -> list[np.ndarray]:
    """New values for the weights of a layer."""
    return [_again(np.asarray(w), rng) for w in layer.get_weights()]


def _again(w: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if w.ndim < 2 or w.dtype.kind != "f":
        return rng.permutation(w.ravel()).reshape(w.shape)
    # A normal one cut at two deviations: what falls outside is drawn again.
    drawn = rng.standard_normal(w.shape)
    while (far := np.abs(drawn) > 2).any():
        drawn[far] = rng.standard_normal(far.sum())
    return (drawn * w.std()).astype(w.dtype)
