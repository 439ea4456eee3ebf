"""Sanity checks that randomise the model's weights or the training labels.

Adebayo et al. 2018, arXiv:1810.03292: a heatmap that stays the same when the weights
are randomised shows the image, not the model.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tfxai.base.errors import InputError, ModelError
from tfxai.base.validation import one_of, whole_number
from tfxai.core.registry import create_analyzer
from tfxai.metrics.correlation import spearman
from tfxai.metrics.masking import check_classes
from tfxai.metrics.random_weights import (
    layers_with_weights,
    random_weights,
    restored,
)

ORDERS = ("cascading", "independent")


@dataclass(frozen=True, eq=False)
class RandomisationResult:
    """Heatmaps of a model with randomised weights, compared with the original ones.

    Values near 1 in all stages are a bad sign. Two heatmaps of one image that share
    nothing else have similar |heatmap| if the image is a factor of both, about .5;
    their signs differ.

    Attributes:
        layers: Names of the randomised layers, one per stage, from the top.
        original: Heatmaps of the trained model, (B, H, W).
        heatmaps: Heatmaps of each stage, (S, B, H, W).
        rank_correlation: Spearman's correlation of |heatmap| with the original, (S, B).
        signed: Spearman's correlation of the signed heatmap, (S, B).
        ssim: Structural similarity of |heatmap|, scaled to 0..1, (S, B).
        target: The explained class of each sample in all stages, (B,).
    """

    layers: tuple[str, ...]
    original: np.ndarray
    heatmaps: np.ndarray
    rank_correlation: np.ndarray
    signed: np.ndarray
    ssim: np.ndarray
    target: np.ndarray

    @property
    def complexity_rise(self) -> np.ndarray:
        """The relative rise of the heatmap's complexity in each stage, (S, B).

        (H(stage) - H(original)) / H(original), with the entropy H of a histogram of the
        signed values in 100 bins. Above 0: the heatmap of the trained model is simpler.
        With `stages=1` this is the efficient MPRT (Hedström et al. 2023,
        arXiv:2401.06465, eq. 5). 0 where the original is constant.
        """
        before = np.array([discrete_entropy(v) for v in self.original])
        after = np.array([[discrete_entropy(v) for v in s] for s in self.heatmaps])
        rise: np.ndarray = (after - before) / np.where(before > 0, before, np.inf)
        return rise


def discrete_entropy(heatmap: np.ndarray, bins: int = 100) -> float:
    """Return the entropy, in nats, of a histogram of the values of a heatmap."""
    counts = np.histogram(heatmap, bins)[0]
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log(p)).sum())


def randomisation(
    method: str,
    model: keras.Model,
    x: Any,
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    order: str = "cascading",
    stages: int | None = None,
    seed: int = 0,
    batch_size: int = 32,
    **options: Any,
) -> RandomisationResult:
    """Explain images while the layers' weights are randomised one after another.

    Kernels are sampled from a normal distribution with their own standard deviation,
    truncated at two deviations; the values of biases, scales and statistics are
    permuted. The weights of the model do not change: a copy is randomised, or, if
    Keras cannot copy the model, the model itself, whose weights are restored, also
    after an error.

    It is Quantus' MPRT. The smooth MPRT (arXiv:2401.06465) is the method "smoothgrad"
    with the tested method as `base_method`, the efficient MPRT `complexity_rise` of
    the result with `stages=1`.

    Args:
        method: Name of a method.
        model: A Keras model.
        x: Images (B, H, W, C).
        target: One class, or one for each sample. None is the top class of the trained
            model.
        preprocess: The preprocess of the model, or None.
        order: Order of the layers, "cascading" or "independent". "cascading" randomises
            from the top and keeps the layers random; "independent" randomises one layer
            at a time.
        stages: Number of layers after which to explain, spread over all, the lowest
            included. None explains after each layer.
        seed: The seed of the weights.
        batch_size: The largest batch of a forward pass.
        **options: Options of the method.

    Raises:
        InputError: The inputs are not images, or a sample has several targets.
        ModelError: The object has no layers with weights.
        OptionError: An option is out of range.

    References:
        Adebayo et al. 2018, arXiv:1810.03292.
    """

    def build(model: Any) -> Any:
        return create_analyzer(method, model, preprocess, **options)

    return randomise_layers(build, model, x, target, order, stages, seed, batch_size)


def data_randomisation(
    method: str,
    model: keras.Model,
    other: keras.Model,
    x: Any,
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    **options: Any,
) -> RandomisationResult:
    """Compare a model's heatmaps with those of a model trained on permuted labels.

    If the two are similar, the heatmap does not show the relation of images and labels.

    Args:
        method: Name of a method.
        model: A Keras model.
        other: The same model, trained like `model` but on labels in random order
            (`rng.permutation(labels)`), until it has memorised them.
        x: Images (B, H, W, C).
        target: One class, or one for each sample. None is the top class of `model`.
        preprocess: The preprocess of the models, or None.
        batch_size: The largest batch of a forward pass.
        **options: Options of the method.

    Returns:
        A result with one stage, "permuted labels".

    Raises:
        InputError: The weights of the models have different shapes, or the inputs are
            not images.

    References:
        Adebayo et al. 2018, arXiv:1810.03292.
    """
    shapes = [[tuple(w.shape) for w in m.weights] for m in (model, other)]
    if shapes[0] != shapes[1]:
        raise InputError(
            "The weights of the two models have different shapes: "
            f"{shapes[0][:3]} ... and {shapes[1][:3]} ...",
            "the same model, trained again on permuted labels",
        )
    analyzers = [create_analyzer(method, m, preprocess, **options)
                 for m in (model, other)]  # fmt: skip
    first = analyzers[0].analyze(x, target, batch_size, False)
    original = _checked_heatmaps(first)
    e = analyzers[1].analyze(x, first.target, batch_size, False)
    heatmaps = [np.asarray(e.heatmap(), float)]
    return _result(("permuted labels",), original, heatmaps, first.target)


def randomise_layers(
    build: Callable[[Any], Any],
    model: keras.Model,
    x: Any,
    target: Any = None,
    order: str = "cascading",
    stages: int | None = None,
    seed: int = 0,
    batch_size: int = 32,
) -> RandomisationResult:
    """Run `randomisation` with any object that has `analyze`.

    Args:
        build: Function of a Keras model that returns an object with `analyze`.
        model: A Keras model.
        x: Images (B, H, W, C).
        target: See `randomisation`.
        order: See `randomisation`.
        stages: See `randomisation`.
        seed: The seed of the weights.
        batch_size: The largest batch of a forward pass.

    Raises:
        InputError: The inputs are not images, or a sample has several targets.
        ModelError: The object has no layers with weights.
        OptionError: An option is out of range.
    """
    one_of("order", order, ORDERS)
    if stages is not None:
        whole_number("stages", stages, 1)
    if not isinstance(model, keras.Model):
        raise ModelError(
            f"{type(model).__name__} has no layers whose weights can be randomised.",
            "a Keras model",
            "the model that was wrapped",
        )
    with restored(model) as copy:
        analyzer, layers = build(copy), layers_with_weights(copy)
        first = analyzer.analyze(x, target, batch_size, False)
        original = _checked_heatmaps(first)
        shown, heatmaps = _stages(len(layers), stages), []
        for i in _randomised(layers, shown, order, seed):
            if i in shown:
                e = analyzer.analyze(x, first.target, batch_size, False)
                heatmaps.append(np.asarray(e.heatmap(), float))
    names = tuple(layers[i].name for i in shown)
    return _result(names, original, heatmaps, first.target)


def _stages(count: int, stages: int | None) -> list[int]:
    """Return the indices of the layers after which to explain."""
    indices = np.linspace(count - 1, 0, count if stages is None else stages)
    return sorted(set(indices.round().astype(int).tolist()))


def _randomised(
    layers: list[keras.Layer], shown: list[int], order: str, seed: int
) -> Iterator[int]:
    """Randomise the layers one by one, and yield the index of each.

    An independent order restores each layer, and skips those that are not shown.
    """
    for i, layer in enumerate(layers):
        if i not in shown and order == "independent":
            continue
        kept = layer.get_weights()
        layer.set_weights(random_weights(layer, np.random.default_rng([seed, i])))
        yield i
        if order == "independent":
            layer.set_weights(kept)


def _result(
    names: tuple[str, ...],
    original: np.ndarray,
    stages: list[np.ndarray],
    target: np.ndarray,
) -> RandomisationResult:
    heatmaps = np.array(stages)
    return RandomisationResult(
        names,
        original,
        heatmaps,
        _compared(rank_correlation, original, heatmaps),
        _compared(_signed_rank_correlation, original, heatmaps),
        _compared(ssim, original, heatmaps),
        target,
    )


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return Spearman's correlation of |a| and |b|; 0 if one is constant."""
    return spearman(np.abs(a).ravel(), np.abs(b).ravel())


def _signed_rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    return spearman(a.ravel(), b.ravel())


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Return the structural similarity of |a| and |b| (H, W), each scaled to 0..1.

    0 if one of the two is constant, 1 if both are. The window has 7 pixels, or fewer
    in a smaller heatmap.
    """
    from skimage.metrics import structural_similarity

    constant = [np.ptp(np.abs(v)) == 0 for v in (a, b)]
    if any(constant):
        return float(all(constant))
    side = min(7, *a.shape)
    similarity: Callable[..., Any] = structural_similarity
    return float(
        similarity(
            _scaled(a), _scaled(b), win_size=side if side % 2 else side - 1,
            data_range=1.0,
        )
    )  # fmt: skip


def _scaled(heatmap: np.ndarray) -> np.ndarray:
    """Return |heatmap| scaled to 0..1."""
    size = np.abs(heatmap)
    return np.asarray((size - size.min()) / np.ptp(size))


def _compared(
    similarity: Callable[[np.ndarray, np.ndarray], float],
    original: np.ndarray,
    heatmaps: np.ndarray,
) -> np.ndarray:
    """Return the similarity of each stage with the original, (S, B)."""
    return np.array([
        [similarity(a, b) for a, b in zip(original, stage, strict=True)]
        for stage in heatmaps
    ])  # fmt: skip


def _checked_heatmaps(e: Any) -> np.ndarray:
    """Return the heatmaps (B, H, W) of the trained model; raises InputError."""
    check_classes(e)
    heatmaps = None if isinstance(e.relevance, list) else np.asarray(e.heatmap(), float)
    single = np.ndim(e.target) == 1 and e.target.min() >= 0
    if heatmaps is None or not single or heatmaps.ndim != 3:
        raise InputError(
            f"An explanation of {np.shape(e.target)} target(s) with heatmaps of shape "
            f"{None if heatmaps is None else heatmaps.shape}.",
            "one class per sample, and images (B, H, W, C)",
        )
    if min(heatmaps.shape[1:]) < 3:
        raise InputError(
            f"Heatmaps of shape {heatmaps.shape}.", "at least 3 pixels per side"
        )
    return heatmaps
