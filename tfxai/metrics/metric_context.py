"""What every measure is given: a checked explanation, and the model to ask."""

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
from tfxai.metrics.masking import answered, tell_lost

#: What a measure may ask of the model: its answer, or the number before softmax.
OUTPUTS = ("probability", "logit")


@dataclass(frozen=True, eq=False)
class Asked:
    """An explanation of pictures, checked, and all that a measure may use.

    x: float32 (B, H, W, C). maps: float64 (B, H, W). target: int (B,), into the
        flattened output. logits: (B, ...), what the model answers to the pictures.
    masks: bool (B, H, W), what `boxes` cover, or None.
    """

    wrapped: ModelWrapper
    x: np.ndarray
    maps: np.ndarray
    target: np.ndarray
    logits: np.ndarray
    explanation: Explanation
    masks: np.ndarray | None = None
    analyzer: Any = None
    batch_size: int = 32
    seed: int = 0

    def rng(self) -> np.random.Generator:
        """Fresh draws, the same for each sample: a batch is its samples one by one."""
        return np.random.default_rng(self.seed)

    def outputs(
        self, i: int, count: int, make: Callable, output: str, classes: Any = ...
    ) -> np.ndarray:
        """(count, n): the flat answers to `make(slice)`, copies (n, H, W, C) of sample
        `i`; of these `classes` alone.

        Raises ModelError where one is not finite.
        """
        made = [
            self._answer(i, np.asarray(make(s), np.float32), output)
            for s in chunks(count, self.batch_size)
        ]
        flat = np.concatenate(made).reshape(count, -1)[:, classes].astype(float)
        check_finite(flat, np.full(count, i))
        return flat

    def _answer(self, i: int, x: np.ndarray, output: str) -> np.ndarray:
        """(n, ...): the answers to x, copies of sample `i`.

        Raises OptionError, or ModelError where there are no probabilities.
        """
        one_of("output", output, OUTPUTS)
        if output == "logit":
            return self.wrapped.logits(x, self.batch_size)
        try:
            return self.wrapped.probabilities(x, self.batch_size)
        except ModelError as error:
            answered(self.wrapped, x, self.batch_size, i)
            raise ModelError(
                error.seen,
                f"{error.wanted}, or a measure of the logit",
                'compute("deletion", model, e, output="logit")',
            ) from error

    def check_classes(self, measure: str) -> None:
        """Refuse what has no top class; tell of samples whose class is not the top one.

        Raises InputError; warns UncertainClassWarning.
        """
        y = self.logits
        if y.ndim != 2 or y.shape[1] < 2:
            raise InputError(
                f"{measure} asks which class is on top, and the model answers "
                f"{y.shape[1:]} to each picture.",
                "one number for each of two or more classes",
                'compute("deletion", model, e)',
            )
        tell_lost(measure, np.flatnonzero(y.argmax(1) != self.target), 5)

    def scores(self, i: int, count: int, make: Callable, output: str) -> np.ndarray:
        """(count,): what the model answers of the target of sample `i`."""
        return self.outputs(i, count, make, output, [self.target[i]])[:, 0]

    def blends(
        self, orders: np.ndarray, counts: np.ndarray, first: np.ndarray,
        then: np.ndarray, output: str,
    ) -> np.ndarray:  # fmt: skip
        """(B, n): what the model answers of the targets at each of n counts.

        Of each picture `first` is shown where its order (H, W) is below the count, else
        `then`. One compiled function for all, its batches full.
        """
        one_of("output", output, OUTPUTS)
        if output == "probability":
            self._answer(0, self.x[:1], output)  # where there are none, it says so
        given: list[Any] = [np.asarray(v, np.float32) for v in (then, first)]
        given.append(np.asarray(orders, np.int32)[..., None])
        shape = self.x.shape[1:]
        probe = self.wrapped.once(
            ("blends", output, shape), lambda: _blender(self.wrapped, shape, output)
        )
        which = np.repeat(np.arange(len(orders)), len(counts))
        made = probe.ask(
            [tf.constant(v) for v in given], which,
            [np.tile(counts, len(orders)).astype(np.int32)],
            self.target[:, None].astype(np.int32), self.batch_size,
        )  # fmt: skip
        return made.reshape(len(orders), len(counts)).astype(float)


def _blender(wrapped: ModelWrapper, shape: tuple, output: str) -> Probe:
    """What shows one of two pictures (H, W, C) where an order is below a count."""
    one = np.zeros((1, *shape), np.float32)
    beside = [
        tf.TensorSpec((None, *shape), tf.float32),
        tf.TensorSpec((None, *shape[:2], 1), tf.int32),
    ]
    return Probe(
        wrapped, _blended, [one], [tf.TensorSpec((None,), tf.int32)], None,
        scaled(wrapped, output)[1], beside=beside, fused=True,
    )  # fmt: skip


def _blended(values: list, parameters: list) -> list:
    then, first, order = values
    return [tf.where(order < parameters[0][:, None, None, None], first, then)]


def ask(
    wrapped: ModelWrapper,
    e: Explanation,
    boxes: Any = None,
    analyzer: Any = None,
    batch_size: int = 32,
    seed: int = 0,
) -> Asked:
    """Check an explanation of pictures: one finite map for each, and of this model.

    Raises InputError; ModelError for a model of pictures (B, C, H, W), and for answers
    that are not finite.
    """
    wrapped.check_channels_last("measure")
    check_batch_size(batch_size)
    whole_number("seed", seed, 0)
    if not isinstance(e, Explanation) or isinstance(e.relevance, list):
        raise InputError(
            f"{type(e).__name__} is no explanation of one input.",
            "an Explanation of pictures",
            "e = tfxai.explain(model, x)",
        )
    if np.ndim(e.target) != 1 or np.min(e.target) < 0:
        raise InputError(
            f"The explanation's target has shape {np.shape(e.target)}: {e.target!r}.",
            "one class per sample, (B,)",
            "analyzer.analyze(x, target=340)",
        )
    x, maps = wrapped.checked(e.inputs)[0], np.asarray(e.heatmap(), float)
    if x.ndim != 4 or maps.shape != x.shape[:3] or len(e.target) != len(x):
        raise InputError(
            f"Maps of shape {maps.shape} and {len(e.target)} target(s) for inputs of "
            f"shape {x.shape}.",
            "pictures (B, H, W, C), and one map (B, H, W) for each",
        )
    method = getattr(analyzer, "method", None)
    own = getattr(analyzer, "wrapped", wrapped)  # what stands in for one has none
    other = method != e.method or own.model is not wrapped.model
    if analyzer is not None and other:
        raise InputError(
            f"The analyzer {analyzer!r} did not make this explanation of {e.method!r}.",
            "the analyzer that explained",
            f"analyzer=tfxai.create_analyzer({e.method!r}, model)",
        )
    if analyzer is not None:
        _check_options(analyzer, e)
    _check_maps(maps)
    y = answered(wrapped, x, batch_size)
    _check_model(wrapped, x, e, y, batch_size)
    masks = None if boxes is None else masks_of(boxes, maps.shape)
    x = x.astype(np.float32)
    return Asked(
        wrapped, x, maps, np.asarray(e.target), y, e, masks, analyzer, batch_size, seed
    )


def _check_options(analyzer: Any, e: Explanation) -> None:
    """Was the explanation made by these options? `extra` holds those it was made by."""
    for name, value in getattr(analyzer, "options", {}).items():
        plain = isinstance(value, str | int | float)
        if plain and name in e.extra and e.extra[name] != value:
            raise InputError(
                f"The analyzer has {name}={value!r}, and the explanation was made with "
                f"{name}={e.extra[name]!r}.",
                "the analyzer that explained",
                f"create_analyzer({e.method!r}, model, {name}={e.extra[name]!r})",
            )


def _check_maps(maps: np.ndarray) -> None:
    flat = maps.reshape(len(maps), -1)
    bad = np.flatnonzero(~np.isfinite(flat).all(-1))
    if len(bad):
        raise InputError(
            f"The map of sample(s) {bad[:5].tolist()} holds NaN or infinity.",
            "finite maps",
            "np.isfinite(e.relevance) shows where",
        )
    even = np.flatnonzero(np.ptp(flat, axis=-1) == 0)
    if len(even):
        warnings.warn(
            f"The map of sample(s) {even[:5].tolist()} is the same everywhere: its "
            "pixels are taken in the order of their rows, which says nothing of them.",
            NothingToExplainWarning,
            stacklevel=4,
        )


def _check_model(
    wrapped: ModelWrapper, x: np.ndarray, e: Explanation, y: np.ndarray, batch_size: int
) -> None:
    """Are these logits, of these pictures, what the explanation says they were?"""
    logits, y = y, y.reshape(len(x), -1)
    if np.max(e.target) >= y.shape[1]:
        raise InputError(
            f"The explanation is of class {np.max(e.target)}.",
            f"a class of this model, which has {y.shape[1]} outputs",
        )
    far = _far(y, e)
    if far.any() and wrapped.link in LINKS:  # RISE explains the probability
        far &= _far(wrapped.probabilities(x, batch_size).reshape(len(x), -1), e)
        if e.extra.get("scale") == "log_odds":
            odds = scaled(wrapped, "log_odds")[1](tf.constant(logits))
            far &= _far(np.reshape(odds, y.shape), e)
    if far.any():
        i = int(np.argmax(far))
        raise InputError(
            f"The explanation says that sample {i} scored {e.score[i]:.4g}; this model "
            f"gives it {y[i, e.target[i]]:.4g}.",
            "the model, the preprocess and the pictures that were explained, and a "
            "class as its target",
        )


def _far(y: np.ndarray, e: Explanation) -> np.ndarray:
    """Which samples (B,) scored otherwise; a probe in bfloat16 is off by a little."""
    made = np.take_along_axis(y, np.asarray(e.target, int)[:, None], 1)[:, 0]
    return np.abs(made - e.score) > 0.05 * np.abs(y).max(1) + 1e-3


def masks_of(boxes: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Masks bool (B, H, W) of boxes: [y0, x0, y1, x1] in fractions, one or a list of
    them for each sample; or masks (B, H, W) bool as they are.

    A pixel lies in a box if its centre does.
    """
    count, height, width = shape
    if getattr(boxes, "dtype", np.dtype(object)).kind == "b":
        masks = np.asarray(boxes)
    else:
        if len(boxes) != count:
            raise _wrong(f"boxes for {len(boxes)} sample(s), of {count}")
        rows, columns = (np.arange(n)[:, None] + 0.5 for n in (height, width))
        listed = []
        for given in boxes:
            y0, x0, y1, x1 = _corners(given)
            tall = (rows >= y0 * height) & (rows < y1 * height)
            wide = (columns >= x0 * width) & (columns < x1 * width)
            listed.append((tall[:, None] & wide[None]).any(-1))
        masks = np.array(listed)
    if masks.shape != shape:
        raise _wrong(f"masks of shape {masks.shape} for maps of shape {shape}")
    empty = np.flatnonzero(~masks.any((1, 2)))
    if len(empty):
        raise _wrong(f"no pixel in the box of sample(s) {empty[:5].tolist()}")
    return masks


def _corners(given: Any) -> np.ndarray:
    """The y0, x0, y1 and x1 of one sample's boxes, (4, n)."""
    try:
        corners = np.atleast_2d(np.asarray(given, float)).T
    except (ValueError, TypeError):
        raise _wrong(f"{given!r}") from None
    inside = len(corners) == 4 and corners.min() >= 0 and corners.max() <= 1
    if not inside or not (corners[2:] > corners[:2]).all():
        raise _wrong(f"{given!r}")
    return corners


def _wrong(seen: str) -> InputError:
    return InputError(
        f"boxes: {seen}.",
        "[y0, x0, y1, x1] in fractions of the picture for each sample, or masks "
        "(B, H, W) of bool, none of them empty",
        "boxes=[[0.25, 0.1, 0.75, 0.5], ...]",
    )
