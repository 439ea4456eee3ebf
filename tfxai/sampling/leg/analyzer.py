"""LEG and LEG-TV: how the answer changes with structured noise on the picture.

Luo, Barut and Jin 2021, *Statistically Consistent Saliency Estimation*. On a base grid
laid over the picture, noise z of covariance noise^2 Sigma (`grid.py`) is added to one
channel at a time; LEG is (noise^2 Sigma)^-1 mean (f(x + z) - f(x)) z, the slope of f in
the mean over such noise, and LEG-TV the map of least total variation near it. By
Stein's identity LEG is also the mean of the slopes themselves.
"""

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from numbers import Real
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.errors import (
    InexactWarning,
    InputError,
    OptionError,
    OutOfBoundsWarning,
)
from tfxai.base.progress import bar
from tfxai.base.validation import whole_number
from tfxai.core.analyzer import Analyzer
from tfxai.core.embedding_cut import Function
from tfxai.core.explanation import Explanation
from tfxai.core.model import ModelWrapper
from tfxai.core.output_scale import check_rows
from tfxai.core.queries import Probe
from tfxai.core.registry import MethodSpec, register
from tfxai.sampling.leg.batch import Asked, slopes_of
from tfxai.sampling.leg.config import Question
from tfxai.sampling.leg.grid import Grid
from tfxai.sampling.leg.total_variation import chosen, least_variation

PAPER = "Luo, Barut and Jin 2021, Statistically Consistent Saliency Estimation"


def _maker(question: Question, finish: Callable) -> Callable:
    """inputs -> the maps of a batch: LEG of every picture, target and channel."""
    wrapped = question.wrapped

    def make(inputs: list, function: Function, one: bool) -> Callable:
        if len(inputs) > 1 or inputs[0].ndim < 3:
            raise InputError(
                f"LEG was asked about inputs of shapes {[v.shape for v in inputs]}.",
                "one batch of pictures or series, (B, ..., channels)",
                'method="occlusion"',
            )
        shape = inputs[0].shape[1:]
        grid = question.grid(shape)
        check_rows(wrapped, question.scale, inputs)
        _check_opposite(question.opposite, wrapped.output_shape(inputs), function)
        specs = [
            tf.TensorSpec((None, *grid.shape), tf.float32),
            tf.TensorSpec((None,), tf.int32),
        ]

        def change(xs: list, parameters: list) -> list:
            x = tf.cast(xs[0], tf.float32)
            return [question.changed(x, parameters[0], parameters[1], shape[:-1])]

        probe = Probe(
            wrapped, change, inputs, specs, function, question.number,
            question.precision, single=True,
        )  # fmt: skip
        slopes = None
        if question.estimator == "gradient":
            slopes = slopes_of(question, probe, inputs, specs)

        def maps(batch: list, target: np.ndarray, max_batch: int) -> dict[str, Any]:
            goal = target
            if question.opposite is not None:
                other = np.full((len(target), 1), question.opposite, np.int32)
                goal = np.concatenate([target, other], 1)
            score, goal = probe.plain(batch, goal, max_batch)
            asked = Asked(question, grid, probe, slopes, batch, goal, score, max_batch)
            total = len(target) * shape[-1] * question.count
            with bar("evaluations", total) as advance:
                parts = [
                    [asked.channel(b, c, advance) for c in range(shape[-1])]
                    for b in range(len(target))
                ]
            base, error = (  # (B, T, C, *grid)
                np.stack([np.stack([p[k] for p in row], 1) for row in parts])
                for k in (0, 1)
            )
            made = finish(base, grid, shape[:-1])
            kept = {"base": base, "standard_error": error, **made}
            evaluations = np.array([[p[2] for p in row] for row in parts])
            kept["each"] = {"evaluations": evaluations, **made.get("each", {})}
            score = asked.less(score)
            return {**kept, "score": score, "target": goal[:, : score.shape[1]]}

        return maps

    return make


def _check_opposite(opposite: Any, outputs: tuple, function: Function) -> None:
    """Refuse what is no class beside the target."""
    if opposite is None:
        return
    whole_number("opposite", opposite, 0)
    if function is not None or opposite >= (outputs[-1] or np.inf):
        raise OptionError(
            f"opposite={opposite!r} for outputs {outputs}"
            + (", and the target is a function." if function is not None else "."),
            "a class, beside a class",
            "opposite=0, or target=lambda y: y[:, 1] - y[:, 0]",
        )


def _shown(base: np.ndarray, spatial: Sequence[int]) -> dict[str, Any]:
    """The map of each channel, and the original's picture of them all."""
    mean = base if base.shape[2] == 1 else np.abs(base).mean(2, keepdims=True)
    heatmap = np.moveaxis(_enlarged(mean, spatial)[..., 0], 0, 1)
    return {"relevance": [_enlarged(base, spatial)], "heatmap": heatmap}


def _enlarged(base: np.ndarray, spatial: Sequence[int]) -> np.ndarray:
    """(B, T, C, *grid) -> (T, B, *spatial, C), linear between the cells' centres."""
    made = base
    for axis, n in enumerate(spatial, 3):
        p = made.shape[axis]
        at = np.clip((np.arange(n) + 0.5) * p / n - 0.5, 0, p - 1)
        low = np.minimum(at.astype(int), max(p - 2, 0))
        high, part = np.minimum(low + 1, p - 1), at - low
        shape = [1] * made.ndim
        shape[axis] = n
        a, b = (np.take(made, i, axis) for i in (low, high))
        made = a + (b - a) * part.reshape(shape)
    made = np.moveaxis(made, 2, -1)
    return np.ascontiguousarray(np.moveaxis(made, 1, 0), np.float32)


def _doubt(question: Question, unit_given: bool, e: Explanation) -> None:
    """Warn of noise that drowns the pictures, and of a tolerance that was not met."""
    low, high = float(np.min(e.inputs)), float(np.max(e.inputs))
    away = 2 * question.noise * question.unit
    if -1 <= low < high <= 1 and away > high - low and not unit_given:
        warnings.warn(
            f"{e.method}: unit={question.unit:g} is for pictures in 0..255, and these "
            f"lie in {low:.3g}..{high:.3g}: noise that deviates by {away:.3g} drowns "
            "them. Give unit=1.0.",
            OutOfBoundsWarning,
            stacklevel=4,
        )
    if question.tolerance is not None:
        _doubt_errors(question, question.tolerance, e)


def _doubt_errors(question: Question, tolerance: float, e: Explanation) -> None:
    size, error = (_lengths(e, name) for name in ("base", "standard_error"))
    far = ~(error <= tolerance * size)  # NaN is far, too
    if not far.any():
        return
    with np.errstate(divide="ignore"):
        worst = float((error[far] / size[far]).max())
    much = "not known" if np.isnan(worst) else f"{worst:.2g} of the map"
    warnings.warn(
        f"{e.method}: after n_samples={question.count} for each channel the standard "
        f"error of sample(s) {np.flatnonzero(far.any(1))[:5].tolist()} is {much}, and "
        f"tolerance={tolerance:g} was wanted. Give more n_samples, or a larger "
        "tolerance.",
        InexactWarning,
        stacklevel=5,
    )


def _lengths(e: Explanation, name: str) -> np.ndarray:
    """The length (B, C) of what there is for each channel, over all targets."""
    each = np.moveaxis(np.asarray(e.extra[name], float), np.ndim(e.target), 1)
    return np.linalg.norm(each.reshape(*each.shape[:2], -1), axis=-1)


def leg(wrapped: ModelWrapper, target: Any = None, **options: Any) -> Analyzer:
    """The linearly estimated gradient of every channel.

    target, opposite: what is explained, P(target) or P(target) - P(opposite). scale:
        "probability", "logit" or "log_odds"; see `scale.scaled`.
    base_size: places of the base grid along each side, or one number per side; it need
        not divide the side. bordered: see `Grid`.
    noise: a place of the grid deviates by 2 noise, in units of `unit` (255: pictures in
        0..255; give 1.0 for those in 0..1).
    n_samples: model evaluations for each channel (of slopes 64, else 2000).
    sampling: "plain" independent draws as the original, "antithetic" asks about z and
        -z, "orthogonal" such pairs along orthogonal directions. "auto" is the last for
        a regression with at least 1.2 pairs for each place, else the second.
    estimator: "score" the mean that defines LEG, "regression" of the answers on the
        noise, "gradient" the mean of slopes (Stein's identity). "auto" is the last
        where the model can be differentiated, else the second.
    tolerance: stop a channel when its standard error is this share of its map.
        InexactWarning where it is larger after all n_samples.
    precision: "bfloat16" asks the network in half the bytes, on processors that can.
    clip, cut: clip the noisy picture to (low, high), cut it to whole numbers (as the
        original).

    `relevance` is the map of each channel, enlarged; extra["base"] the map on the grid
    and extra["standard_error"] its error (NaN after one draw, or one pair),
    extra["evaluations"] (B, C) what was asked. `heatmap()` is the original's picture:
    the mean of |map| over channels, enlarged; of one channel the map itself.
    """
    question = Question(wrapped, **options)

    def finish(base: np.ndarray, grid: Grid, spatial: tuple) -> dict[str, Any]:
        return _shown(base, spatial)

    told = question.told
    return Analyzer(
        "leg",
        wrapped,
        _maker(question, finish),
        target,
        {**options, **told},
        partial(_doubt, question, "unit" in options),
        together=True,
    )


def leg_tv(
    wrapped: ModelWrapper,
    lambdas: Sequence[float] = (0.1, 0.3),
    solver: str = "auto",
    target: Any = None,
    **options: Any,
) -> Analyzer:
    """LEG's map of least total variation; one pass of sampling for all lambdas.

    lambdas: how far from LEG, in (0, 1); `relevance` is the first one's map, and
        extra["by_lambda"] (lambdas, C, *grid) holds all. solver: a solver of cvxpy, or
        "auto". The other options are those of `leg`.
    """
    question, chosen_one = Question(wrapped, **options), chosen(solver)
    strengths = list(lambdas) if np.iterable(lambdas) else [lambdas]
    for strength in strengths or [0]:
        if not isinstance(strength, Real) or not 0 < float(strength) < 1:
            raise OptionError(
                f"lambdas={lambdas!r}.", "numbers between 0 and 1", "lambdas=[0.1, 0.3]"
            )

    def finish(base: np.ndarray, grid: Grid, spatial: tuple) -> dict[str, Any]:
        flat = base.reshape(-1, *grid.shape)
        made = [
            [least_variation(g, grid, s, chosen_one) for g in flat] for s in strengths
        ]
        maps = np.array([[v.map for v in row] for row in made])
        maps = np.moveaxis(maps.reshape(len(strengths), *base.shape), 0, 2)
        worst = max(v.violation for row in made for v in row)
        return {
            **_shown(maps[:, :, 0], spatial),
            "by_lambda": maps,
            "each": {"violation": np.full(len(base), worst)},
        }

    told = question.told
    told |= {"lambdas": strengths, "solver": chosen_one}
    return Analyzer(
        "leg_tv",
        wrapped,
        _maker(question, finish),
        target,
        {**options, **told},
        partial(_doubt, question, "unit" in options),
        together=True,
    )


NEEDS = "any model of pictures or series, also a plain callable"
for _row in (
    MethodSpec("leg", "sampling",
        "the slope of the answer in its mean over structured noise",
        NEEDS, PAPER, leg, (Question,)),
    MethodSpec("leg_tv", "sampling", "LEG, sharpened by a linear program",
        NEEDS, PAPER, leg_tv, (Question, leg)),
):  # fmt: skip
    register(_row)
