"""CRAFT: the concepts of a class as factors of activations, and their importance.

Fel et al. 2023, arXiv:2211.10154. The activations of crops are factorised by NMF; the
importance of a factor is its total Sobol index for the score.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.errors import InputError, ModelError, OptionError
from tfxai.base.tensors import Tensor, chunks
from tfxai.base.validation import above, whole_number
from tfxai.core.compilation import compiled
from tfxai.core.inputs import signature
from tfxai.core.layer_cut import LayerCut, activations_of, layer_cut
from tfxai.core.model import ModelWrapper, wrap

Array = np.ndarray[Any, Any]
#: Side of a crop in sides of the image, and the stride in sides of the crop: 64 pixels
#: of 224, and 80 %, as in the authors' code.
PATCH, STRIDE = 64 / 224, 0.8


@dataclass(frozen=True)
class Craft:
    """The concepts that `tfxai.craft` found.

    Attributes:
        concepts: The factors W (n_concepts, C): a direction of the layer each.
        importance: Total Sobol index of each concept, the mean over the samples,
            (n_concepts,).
        maps: Strength of each concept at each position of the layer, (B, h, w,
            n_concepts).
        crops: The crops (n, H, W, channels) of the samples, in their size.
        strength: Strength of each concept in each crop, (n, n_concepts).
        error: Relative error of the factorisation, |A - U W| / |A|.
        at: The layer.
    """

    concepts: Array
    importance: Array
    maps: Array
    crops: Array
    strength: Array
    error: float
    at: str

    def top(self, n: int = 5) -> list[int]:
        """Return the n most important concepts, the most important first."""
        return [int(c) for c in np.argsort(-self.importance, kind="stable")[:n]]

    def examples(self, concept: int, n: int = 6) -> Array:
        """Return the n crops in which a concept is strongest."""
        order = np.argsort(-self.strength[:, concept], kind="stable")[:n]
        return np.asarray(self.crops[order])

    def plot(self, n: int = 5, n_crops: int = 6) -> Any:
        """Return a row for each of the n most important concepts: its best crops."""
        from tfxai.viz import plot

        wanted = self.top(n)
        rows = [list(self.examples(c, n_crops)) for c in wanted]
        names = [f"concept {c}: {self.importance[c]:.2g}" for c in wanted]
        return plot.grid(rows, names)

    def plot_maps(self, x: Any, n: int = 5) -> Any:
        """Return the maps of the n most important concepts over the samples x."""
        from tfxai.viz import plot
        from tfxai.viz.overlays import enlarged

        wanted = self.top(n)
        rows = []
        for image, strength in zip(np.asarray(x), self.maps, strict=True):
            large = [enlarged(strength[..., c], image) for c in wanted]
            rows.append([image, *(plot.overlay(image, m) for m in large)])
        return plot.grid(rows, column_names=["", *(f"concept {c}" for c in wanted)])


def craft(
    model: Any,
    x: Any,
    at: Any,
    target: Any,
    *,
    n_concepts: int = 10,
    patch: float = PATCH,
    n_masks: int = 32,
    seed: int = 0,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    batch_size: int = 32,
) -> Craft:
    """Return the concepts of images of a class, with importance and maps.

    Crops of the images are resized to the model's input. The means over positions of
    their activations, A (n, C) >= 0, are factorised as U W by scikit-learn's NMF. The
    importance of a concept is the total Sobol index of its strength for the logit, by
    Jansen's estimator with factors in [0, 1] from a Sobol sequence.

    Args:
        model: A model of images that TensorFlow can differentiate, or what `wrap`
            returned.
        x: Images, most often those that the model assigns to the class, (B, H, W, C).
        at: A layer whose output (B, h, w, C) is not negative: its name, its number in
            `model.layers`, or the layer.
        target: The class, the same for all images.
        n_concepts: Number of factors.
        patch: Side of a crop in sides of the image.
        n_masks: Number of points of the Sobol sequence for each image; each takes
            n_concepts + 1 evaluations of the layers behind `at`.
        seed: Seed of factorisation and sequence.
        preprocess: `raw batch -> network input`, in TensorFlow operations.
        output: The number or the name of the output, where the model has several.
        batch_size: How many samples are computed at once.

    Raises:
        InputError: x holds no images.
        ModelError: The activations are negative, or have no positions on two axes.
        OptionError: An option is out of range.
        UnknownNameError: There is no such layer.

    References:
        Fel et al. 2023, arXiv:2211.10154, sections 3.1 to 3.4.

    Example:
        >>> found = tfxai.craft(model, zebras, at="block3", target=340)
        >>> found.plot().savefig("concepts.png")
    """
    for name, value in (("n_concepts", n_concepts), ("n_masks", n_masks)):
        whole_number(name, value, 1)
    whole_number("seed", seed, 0)
    above("patch", patch)
    if patch > 1:
        raise OptionError(f"patch={patch!r}.", "a number above 0, at most 1")
    wrapped = wrap(model, preprocess, output)
    wrapped.check_differentiable()
    wrapped.check_channels_last("craft")
    inputs = wrapped.checked(x)
    if len(inputs) > 1 or inputs[0].ndim != 4:
        raise InputError(
            f"x has the shapes {[v.shape for v in inputs]}.",
            "one batch of images, (B, H, W, channels)",
        )
    images = inputs[0]
    goal = wrapped.goal(target, inputs)
    classes = goal.indices
    if goal.target_fn is None and not goal.axes and (classes < 0).any():
        classes = wrapped.logits(x, batch_size).argmax(-1)
    if goal.target_fn is not None or goal.axes or len(np.unique(classes)) > 1:
        raise OptionError(f"target={target!r}.", "one class of all images", "target=0")
    layer = _Layer(wrapped, at, inputs, int(classes.flat[0]), batch_size)
    crops = crops_of(images, patch)
    size = images.shape[1:3]
    rows = np.concatenate(
        [
            layer.activations(tf.image.resize(crops[s], size).numpy()).mean((1, 2))
            for s in chunks(len(crops), batch_size)
        ]
    )
    if n_concepts > min(rows.shape):
        raise OptionError(
            f"n_concepts={n_concepts} for {rows.shape[0]} crops of {rows.shape[1]} "
            "channels.",
            f"at most {min(rows.shape)}",
        )
    nmf, strength = _factorised(rows, n_concepts, seed)
    own = layer.activations(images)
    flat = nmf.transform(own.reshape(-1, own.shape[-1]))
    maps = flat.reshape(*own.shape[:-1], n_concepts)
    importance = np.mean(
        [
            total_indices(
                lambda m, i=i: layer.scores(  # type: ignore[misc]
                    m, maps[i], nmf.components_, images[i]
                ),
                n_concepts, n_masks, seed,
            )
            for i in range(len(images))
        ],
        0,
    )  # fmt: skip
    error = np.linalg.norm(rows - strength @ nmf.components_) / np.linalg.norm(rows)
    return Craft(
        nmf.components_, importance, maps, crops, strength, float(error), layer.name
    )


class _Layer:
    """The activations of a layer, and the score of a class from them."""

    def __init__(
        self, wrapped: ModelWrapper, at: Any, inputs: list[Array], target: int,
        batch_size: int,
    ) -> None:  # fmt: skip
        wrapped.confirm(inputs)
        cut: LayerCut = layer_cut(wrapped, at, inputs)
        self.name, self._size, self._target = cut.name, batch_size, target
        (spec,) = signature(wrapped.specs, inputs)
        point = cut.to_points(wrapped.sample(inputs))[0]
        if point.shape.rank != 4:
            raise ModelError(
                f"The output of {self.name!r} has the shape {tuple(point.shape)}.",
                "a layer with positions on two axes, (B, h, w, C)",
                "at=the name of a convolution",
            )
        points = tf.TensorSpec((None, *point.shape[1:]), tf.float32)

        def scores(p: Tensor, v: Tensor) -> Tensor:
            prepared = wrapped.prepared([v])
            classes = tf.fill([tf.shape(p)[0], 1], target)
            return cut.scores([p], prepared, classes, None)[0][:, 0]

        self._read = activations_of(wrapped, at, inputs, batch_size)
        self._scores = compiled(scores, [points, spec])

    def activations(self, images: Array) -> Array:
        """Return the activations (B, h, w, C) of images, which are not negative."""
        found = self._read([images])
        if found.min() < 0:
            raise ModelError(
                f"The output of {self.name!r} is negative ({found.min():.3g}), and NMF "
                "factorises numbers that are not.",
                "a layer behind a ReLU",
                "at=the name of a ReLU, or of a convolution with one",
            )
        return found

    def scores(
        self, masks: Array, maps: Array, components: Array, image: Array
    ) -> Array:
        """Return the scores (n,) of an image for masks (n, k) of its factors."""
        parts = []
        for s in chunks(len(masks), self._size):
            points = (maps * masks[s][:, None, None]) @ components
            part = points.astype(np.float32)
            parts.append(self._scores(part, np.stack([image] * len(part))))
        return np.concatenate([np.asarray(p) for p in parts])


def crops_of(images: Array, patch: float) -> Array:
    """Return square crops (n, side, side, C) of images, 80 % of a side apart."""
    side = max(1, round(min(images.shape[1:3]) * patch))
    step = max(1, int(side * STRIDE))
    rows, columns = (range(0, n - side + 1, step) for n in images.shape[1:3])
    parts = [images[:, i : i + side, j : j + side] for i in rows for j in columns]
    return np.concatenate(parts)


def total_indices(values: Callable[[Array], Array], d: int, n: int, seed: int) -> Array:
    """Return the total Sobol indices (d,) of a function of masks (m, d) in [0, 1].

    E[(f(A) - f(A with column i of B))^2] / (2 Var f(A)), Jansen's estimator; 0 where f
    does not vary.
    """
    from scipy.stats import qmc

    count = 1 << (n - 1).bit_length()  # a power of two keeps the sequence balanced
    points = qmc.Sobol(2 * d, seed=np.random.default_rng(seed)).random(count)[:n]
    a, b = points[:, :d], points[:, d:]
    changed = np.repeat(a[None], d, 0)
    for i in range(d):
        changed[i, :, i] = b[:, i]
    found = values(np.concatenate([a, changed.reshape(-1, d)])).astype(np.float64)
    first, other = found[:n], found[n:].reshape(d, n)
    variance = first.var()
    if variance == 0:
        return np.zeros(d)
    return np.asarray(((first - other) ** 2).mean(1) / (2 * variance))


def _factorised(rows: Array, count: int, seed: int) -> tuple[Any, Array]:
    """Return the NMF of rows (n, C), and the strengths (n, count)."""
    from sklearn.decomposition import NMF

    nmf = NMF(count, max_iter=1000, random_state=seed % 2**32)
    return nmf, nmf.fit_transform(rows)
