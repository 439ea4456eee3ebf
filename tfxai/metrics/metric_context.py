"""The context that every metric receives: a checked explanation and its model."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.errors import InputError, ModelError, NothingToExplainWarning
from tfxai.base.tensors import chunks
from tfxai.base.validation import one_of, whole_number
from tfxai.core.explanation import Explanation
from tfxai.core.inputs import check_batch_size
from tfxai.core.model import LINKS, ModelWrapper
from tfxai.core.output_scale import scaled
from tfxai.core.queries import Probe, check_finite
from tfxai.metrics.boxes import masks_from_boxes
from tfxai.metrics.masking import check_classes, finite_logits, warn_not_top_class

#: The model outputs that a metric can use: probabilities, or logits before the softmax.
OUTPUTS = ("probability", "logit")
#: Returns the changed copies (n, H, W, C) of a slice of range(count).
CopyBuilder = Callable[[slice], Any]


@dataclass(frozen=True, eq=False)
class MetricContext:
    """A checked explanation of images, and what a metric needs to evaluate it.

    Attributes:
        wrapped: The model that was explained.
        x: The images, float32 (B, H, W, C); float64 where a callable gets float64 or
            wide whole numbers.
        heatmaps: The relevance without channels, float64 (B, H, W).
        target: The class of each sample, int (B,); an index of the flattened output.
        logits: The logits of the images, (B, ...).
        explanation: The explanation itself.
        masks: The pixels inside the boxes, bool (B, H, W), or None without boxes.
        analyzer: The analyzer that returned the explanation, or None.
        batch_size: The largest batch of a forward pass.
        seed: The seed of all random draws.
        dtype: The dtype in which a callable gets images.
    """

    wrapped: ModelWrapper
    x: np.ndarray
    heatmaps: np.ndarray
    target: np.ndarray
    logits: np.ndarray
    explanation: Explanation
    masks: np.ndarray | None = None
    analyzer: Any = None
    batch_size: int = 32
    seed: int = 0
    dtype: Any = np.float32

    def given(self, x: np.ndarray) -> np.ndarray:
        """Return images in the dtype in which the model takes them."""
        return self.wrapped.given(x, self.dtype)

    def rng(self) -> np.random.Generator:
        """Return a new generator with the seed.

        Each sample uses a new one, so a batch gives the same numbers as its samples
        one by one.
        """
        return np.random.default_rng(self.seed)

    def outputs(
        self, i: int, count: int, build: CopyBuilder, output: str, classes: Any = ...
    ) -> np.ndarray:
        """Return the flattened model outputs of changed copies of one sample.

        Args:
            i: Index of the sample.
            count: Number of copies.
            build: Function that returns the copies (n, H, W, C) of a slice.
            output: "probability" or "logit".
            classes: Indices of the outputs to return; all by default.

        Returns:
            An array (count, n).

        Raises:
            ModelError: An output is not finite.
        """
        outputs = [
            self._outputs(i, np.asarray(build(s)), output)
            for s in chunks(count, self.batch_size)
        ]
        flat = np.concatenate(outputs).reshape(count, -1)[:, classes].astype(float)
        check_finite(flat, np.full(count, i))
        return flat

    def _outputs(self, i: int, x: np.ndarray, output: str) -> np.ndarray:
        """Return the model outputs (n, ...) of x, which holds copies of sample i.

        Raises:
            OptionError: `output` is unknown.
            ModelError: The model has no probabilities.
        """
        one_of("output", output, OUTPUTS)
        x = self.given(x)
        if output == "logit":
            return self.wrapped.logits(x, self.batch_size)
        try:
            return self.wrapped.probabilities(x, self.batch_size)
        except ModelError as error:
            finite_logits(self.wrapped, x, self.batch_size, i)
            raise ModelError(
                error.seen,
                f"{error.wanted}, or a metric of the logit",
                'compute("deletion", model, e, output="logit")',
            ) from error

    def check_classes(self, metric: str) -> None:
        """Check that the model has classes, for metrics that use the top class.

        Raises:
            InputError: The output is not one number for each of two or more classes.

        Warns:
            UncertainClassWarning: The explained class of a sample is not its top class.
        """
        y = self.logits
        if y.ndim != 2 or y.shape[1] < 2:
            raise InputError(
                f"{metric} needs the top class, and the model's output for each image "
                f"has shape {y.shape[1:]}.",
                "one number for each of two or more classes",
                'compute("deletion", model, e)',
            )
        warn_not_top_class(metric, np.flatnonzero(y.argmax(1) != self.target), 5)

    def scores(self, i: int, count: int, build: CopyBuilder, output: str) -> np.ndarray:
        """Return the target's outputs of changed copies of sample i, (count,)."""
        return self.outputs(i, count, build, output, [self.target[i]])[:, 0]

    def blends(
        self, orders: np.ndarray, counts: np.ndarray, first: np.ndarray,
        then: np.ndarray, output: str,
    ) -> np.ndarray:  # fmt: skip
        """Return the targets' outputs of mixtures of two images, at each pixel count.

        One compiled function evaluates all samples in full batches.

        Args:
            orders: Order of each pixel, int (B, H, W).
            counts: Pixel counts, int (n,).
            first: Images (B, H, W, C) that show where the order is below the count.
            then: Images (B, H, W, C) that show elsewhere.
            output: "probability" or "logit".

        Returns:
            An array (B, n).
        """
        one_of("output", output, OUTPUTS)
        if output == "probability":
            self._outputs(0, self.x[:1], output)  # raises without probabilities
        values: list[Any] = [self.given(v) for v in (then, first)]
        values.append(np.asarray(orders, np.int32)[..., None])
        shape = self.x.shape[1:]
        probe = self.wrapped.once(
            ("blends", output, shape), lambda: _blend_probe(self.wrapped, shape, output)
        )  # a callable's probe has no specs, and takes any dtype
        which = np.repeat(np.arange(len(orders)), len(counts))
        scores: np.ndarray = probe.evaluate(
            [tf.constant(v) for v in values], which,
            [np.tile(counts, len(orders)).astype(np.int32)],
            self.target[:, None].astype(np.int32), self.batch_size,
        )  # fmt: skip
        return scores.reshape(len(orders), len(counts)).astype(float)


def _blend_probe(wrapped: ModelWrapper, shape: tuple[int, ...], output: str) -> Probe:
    """Return the compiled query of `MetricContext.blends` for images of one shape."""
    image = np.zeros((1, *shape), np.float32)
    beside = [
        tf.TensorSpec((None, *shape), tf.float32),
        tf.TensorSpec((None, *shape[:2], 1), tf.int32),
    ]
    return Probe(
        wrapped, _blend, [image], [tf.TensorSpec((None,), tf.int32)], None,
        scaled(wrapped, output)[1], per_sample=beside, fused=True, exchange=_exchange,
    )  # fmt: skip


def _exchange(values: list[Any], parameters: list[Any]) -> list[Any]:
    """`_blend` on arrays of any dtype."""
    then, first, order = values
    return [np.where(order < parameters[0][:, None, None, None], first, then)]


def _blend(values: list[Any], parameters: list[Any]) -> list[Any]:
    then, first, order = values
    return [tf.where(order < parameters[0][:, None, None, None], first, then)]


def metric_context(
    wrapped: ModelWrapper,
    e: Explanation,
    boxes: Any = None,
    analyzer: Any = None,
    batch_size: int = 32,
    seed: int = 0,
) -> MetricContext:
    """Check an explanation of images and return the context for a metric.

    Args:
        wrapped: The model that was explained.
        e: An explanation of images with one class per sample.
        boxes: Location of the objects; see `compute`.
        analyzer: The analyzer that returned `e`, or None.
        batch_size: The largest batch of a forward pass.
        seed: The seed of all random draws.

    Raises:
        InputError: The explanation is not one of images, is of another model, or the
            analyzer did not make it.
        ModelError: The model reads channels first, or its outputs are not finite.

    Warns:
        NothingToExplainWarning: A heatmap is constant.
    """
    wrapped.check_channels_last("metric")
    check_batch_size(batch_size)
    whole_number("seed", seed, 0)
    _check_explanation(e)
    x, heatmaps = wrapped.checked(e.inputs)[0], np.asarray(e.heatmap(), float)
    if x.ndim != 4 or heatmaps.shape != x.shape[:3] or len(e.target) != len(x):
        raise InputError(
            f"Heatmaps of shape {heatmaps.shape} and {len(e.target)} target(s) for "
            f"inputs of shape {x.shape}.",
            "images (B, H, W, C), and one heatmap (B, H, W) for each",
        )
    if analyzer is not None:
        _check_analyzer(analyzer, wrapped, e)
    _check_heatmaps(heatmaps)
    y = finite_logits(wrapped, x, batch_size)
    _check_model(wrapped, x, e, y, batch_size)
    masks = None if boxes is None else masks_from_boxes(boxes, heatmaps.shape)
    wide = not wrapped.differentiable and x.dtype.itemsize > (4 if x.dtype.kind == "f"
                                                             else 2)  # fmt: skip
    return MetricContext(
        wrapped, x.astype(np.float64 if wide else np.float32), heatmaps,
        np.asarray(e.target), y, e, masks, analyzer, batch_size, seed, x.dtype,
    )  # fmt: skip


def _check_explanation(e: Any) -> None:
    """Check that `e` is an explanation of one input, with one class per sample."""
    if not isinstance(e, Explanation) or isinstance(e.relevance, list):
        raise InputError(
            f"{type(e).__name__} is no explanation of one input.",
            "an Explanation of images",
            "e = tfxai.explain(model, x)",
        )
    check_classes(e)
    if np.ndim(e.target) != 1 or np.min(e.target) < 0:
        raise InputError(
            f"The explanation's target has shape {np.shape(e.target)}: {e.target!r}.",
            "one class per sample, (B,)",
            "analyzer.analyze(x, target=340)",
        )


def _check_analyzer(analyzer: Any, wrapped: ModelWrapper, e: Explanation) -> None:
    """Check that the analyzer has the method, the model and the options of `e`."""
    own = getattr(analyzer, "wrapped", wrapped)  # control explainers have none
    other = getattr(analyzer, "method", None) != e.method
    if other or own.model is not wrapped.model:
        raise InputError(
            f"The analyzer {analyzer!r} did not make this explanation of {e.method!r}.",
            "the analyzer that returned the explanation",
            f"analyzer=tfxai.create_analyzer({e.method!r}, model)",
        )
    for name, value in getattr(analyzer, "options", {}).items():
        plain = isinstance(value, str | int | float)
        if plain and name in e.extra and e.extra[name] != value:
            raise InputError(
                f"The analyzer has {name}={value!r}, and the explanation was computed "
                f"with {name}={e.extra[name]!r}.",
                "the analyzer that returned the explanation",
                f"create_analyzer({e.method!r}, model, {name}={e.extra[name]!r})",
            )


def _check_heatmaps(heatmaps: np.ndarray) -> None:
    """Raise for NaN and infinity, and warn of constant heatmaps."""
    flat = heatmaps.reshape(len(heatmaps), -1)
    bad = np.flatnonzero(~np.isfinite(flat).all(-1))
    if len(bad):
        raise InputError(
            f"The heatmap of sample(s) {bad[:5].tolist()} holds NaN or infinity.",
            "finite heatmaps",
            "np.isfinite(e.relevance)  # False at these values",
        )
    constant = np.flatnonzero(np.ptp(flat, axis=-1) == 0)
    if len(constant):
        warnings.warn(
            f"The heatmap of sample(s) {constant[:5].tolist()} is constant. Its pixels "
            "are ordered row by row, so the metric does not evaluate an explanation.",
            NothingToExplainWarning,
            stacklevel=4,
        )


def _check_model(
    wrapped: ModelWrapper, x: np.ndarray, e: Explanation, y: np.ndarray, batch_size: int
) -> None:
    """Check that the model gives these images the scores of the explanation."""
    logits, y = y, y.reshape(len(x), -1)
    if np.max(e.target) >= y.shape[1]:
        raise InputError(
            f"The explanation is of class {np.max(e.target)}.",
            f"a class of this model, which has {y.shape[1]} outputs",
        )
    differs = _score_differs(y, e)
    if differs.any() and wrapped.link in LINKS:  # RISE explains the probability
        p = wrapped.probabilities(x, batch_size).reshape(len(x), -1)
        differs &= _score_differs(p, e)
        if e.extra.get("scale") == "log_odds":
            odds = scaled(wrapped, "log_odds")[1](tf.constant(logits))
            differs &= _score_differs(np.reshape(odds, y.shape), e)
    if differs.any():
        i = int(np.argmax(differs))
        raise InputError(
            f"The explanation gives sample {i} the score {e.score[i]:.4g}; this model "
            f"gives it {y[i, e.target[i]]:.4g}.",
            "the model, the preprocess and the images that were explained, and a "
            "class as its target",
        )


def _score_differs(y: np.ndarray, e: Explanation) -> np.ndarray:
    """Return (B,), True where y differs from the score by more than bfloat16 does."""
    score = np.take_along_axis(y, np.asarray(e.target, int)[:, None], 1)[:, 0]
    far: np.ndarray = np.abs(score - e.score) > 0.05 * np.abs(y).max(1) + 1e-3
    return far
