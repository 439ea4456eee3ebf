"""Certificates: which pixels stay in the top k of a map under changes of the input.

    tfxai.explain(model, x, "certified", base_method="sglrp", sigma=0.15)

A pixel belongs to the smoothed top k of x if it is in the top k of the base method's
map of x + noise with a probability above 1/2. Where that probability is p > 1/2, it is
above 1/2 for every input within sigma * F(p) of x, F the inverse of the normal
distribution function (Cohen et al. 2019, theorem 1, with two classes). p is unknown; a
lower bound follows from the number of draws in which the pixel is in the top k.
"""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tfxai.base.errors import ModelError, NotFiniteWarning, OptionError
from tfxai.base.validation import above, finite, whole_number
from tfxai.core.analyzer import Analyzer
from tfxai.core.embedding_cut import TargetFn
from tfxai.core.model import ModelWrapper
from tfxai.core.registry import build
from tfxai.gradient.base import row
from tfxai.gradient.smooth import check_base_options

Array = np.ndarray[Any, Any]


@row(
    "certified", "noise", "which pixels stay in the top k of a base method's map under "
    "any change of the input within a radius",
    "Anani et al. 2025, arXiv:2506.15499",
    "what its base method needs; inputs of floats",
    formula="R = 1 or -1 where a lower bound of max(p, 1 - p) is at least tau, else 0; "
    "p the probability that a pixel is in the top k of R_base(x + n), n ~ "
    "N(0, sigma^2)",
    limits="It certifies the smoothed top k, which differs from that of the map of x. "
    "Noisy maps abstain nearly everywhere. The radius is that of the L2 norm: a change "
    "of the contrast of an image is larger.",
    also_in="the authors' code",
    cost="n_samples maps (100) of the base method",
)  # fmt: skip
def certified(
    wrapped: ModelWrapper,
    base_method: str = "gradient",
    base_options: Mapping[str, Any] | None = None,
    fraction: float = 0.25,
    sigma: float = 0.15,
    tau: float = 0.75,
    alpha: float = 0.001,
    n_samples: int = 100,
    seed: int = 0,
    target: Any = None,
) -> Analyzer:
    """Return an analyzer of certificates: 1 in the top k, -1 outside, 0 abstained.

    The certificates hold for the smoothed top k and for every change of the input of an
    L2 norm below extra["certified_radius"] = sigma * F(tau): within it, a pixel of 1 is
    in the smoothed top k, and a pixel of -1 is not. All certificates of a map hold
    together with a probability of 1 - alpha over the draws: the bounds of Clopper and
    Pearson, at the level alpha / (2 N) for N pixels. The base method explains the same
    target for each draw. extra["radius"] (B, ..., 1) is the radius of each pixel, 0
    where its bound is below 1/2; extra["in_top"] (B, ..., 1) the share of the draws in
    which it is in the top k; extra["abstained"] (B,) the share of the pixels of 0. Of
    several inputs these are "radius_0" and so on, and each input has its own top k.

    Relevance is summed over the channels first, so certificates have one channel. Of
    pixels with equal relevance at the end of the top k, none is in it.

    Args:
        wrapped: The model.
        base_method: Method whose maps are ranked. It may be of any family.
        base_options: Options of the base method, a dict.
        fraction: Share k / N of the pixels in the top k, in (0, 1).
        sigma: Standard deviation of the noise, in units of the input. It is the same
            for all inputs.
        tau: Least probability for a certificate, in (1/2, 1). A larger one enlarges the
            radius, and more pixels abstain.
        alpha: Probability that a certificate of the map is wrong, in (0, 1).
        n_samples: Number of noisy copies of each input.
        seed: Seed of the noise.
        target: Default target of `analyze`.

    Raises:
        OptionError: An option is out of range, or too few draws can certify a pixel.
        ModelError: The model takes whole numbers, to which no noise can be added.

    References:
        Anani et al. 2025, arXiv:2506.15499 (sigma, tau, alpha, n_samples); Cohen,
        Rosenfeld and Kolter 2019, arXiv:1902.02918; Fischer, Baader and Vechev 2021,
        arXiv:2107.00228.
    """
    from scipy.stats import norm

    base_options = dict(base_options or {})
    whole_number("n_samples", n_samples, 1)
    above("sigma", sigma)
    for name, value, low in (
        ("fraction", fraction, 0), ("tau", tau, 0.5), ("alpha", alpha, 0),
    ):  # fmt: skip
        finite(name, value)
        if not low < value < 1:
            raise OptionError(f"{name}={value!r}.", f"a number between {low} and 1")
    if base_method == "certified":
        raise OptionError(
            'base_method="certified".', "a method whose maps have an order",
            'base_method="integrated_gradients"',
        )  # fmt: skip
    check_base_options("certified", base_method, base_options)
    base = build(base_method, wrapped, base_options)
    inner = base.inner
    draws = Draws(sigma, n_samples, seed)
    level = sigma * float(norm.ppf(tau))

    def make(
        inputs: list[Any], target_fn: TargetFn, single: bool
    ) -> Callable[..., Any]:
        _check_floats(base_method, inputs)
        function = base.make(inputs, target_fn, single)

        def explain(batch: list[Any], target: Any, max_batch: int) -> dict[str, Any]:
            batch = [np.asarray(v) for v in batch]
            clean = function(batch, target, max_batch)
            target = np.asarray(clean["target"], np.int32)
            counts = draws.counts(
                function, batch, target, max_batch,
                lambda m: in_top(per_pixel(m, bool(wrapped.channels_first)), fraction),
            )  # fmt: skip
            result = {"score": clean["score"], "target": target}
            result["each"] = clean.get("each", {}) if inner else {}
            return result | certificates(counts, n_samples, sigma, tau, alpha)

        return explain

    options = {
        "base_method": base_method, "base_options": base_options, "fraction": fraction,
        "sigma": sigma, "tau": tau, "alpha": alpha, "n_samples": n_samples,
        "seed": seed, "certified_radius": level,
    }  # fmt: skip
    made = Analyzer("certified", wrapped, make, target, options)
    made.inner, made.per_sample = inner, base.per_sample
    return made


def _check_floats(base_method: str, inputs: list[Any]) -> None:
    """Raise ModelError for inputs of whole numbers."""
    if any(np.asarray(v).dtype.kind != "f" for v in inputs):
        raise ModelError(
            "certified adds noise to the input, and the input holds whole numbers: "
            "tokens or integer images.",
            'inputs of floats, x.astype("float32")',
            f"create_analyzer({base_method!r}, model)",
        )


class Draws:
    """Normal noise; draw i of a seed is the same for all samples and batches."""

    def __init__(self, sigma: float, count: int, seed: int) -> None:
        self.sigma, self.count, self.seed = sigma, count, seed

    def noise(self, i: int, shapes: list[tuple[int, ...]]) -> list[Array]:
        """Return draw i for inputs of these shapes."""
        rng = np.random.default_rng([self.seed, i])
        return [self.sigma * rng.standard_normal(s, np.float32) for s in shapes]

    def counts(
        self,
        function: Callable[..., Any],
        batch: list[Array],
        target: Array,
        max_batch: int,
        chosen: Callable[[Array], Array],
    ) -> list[Array]:
        """Return in how many draws each pixel is chosen, (T, B, ...) per input.

        Args:
            function: The base method's (inputs, target, max_batch) -> result.
            batch: Inputs (B, ...).
            target: Targets (B, T).
            max_batch: How many samples times targets are explained at once.
            chosen: Function of maps (T, N, ...) that returns booleans.
        """
        shapes = [v.shape[1:] for v in batch]
        step = max(1, int(max_batch) // target.size)
        total: list[Any] = [0] * len(batch)
        bad = np.zeros(len(target), bool)
        for start in range(0, self.count, step):
            drawn = [
                self.noise(i, shapes)
                for i in range(start, min(start + step, self.count))
            ]
            copies = [
                np.concatenate([x + d[n] for d in drawn]) for n, x in enumerate(batch)
            ]
            targets = np.tile(target, (len(drawn), 1))
            maps = function(copies, targets, max_batch)["relevance"]
            for n, m in enumerate(maps):
                m = np.asarray(m)
                known = np.isfinite(m).reshape(len(m), len(drawn), len(target), -1)
                bad |= ~known.all((0, 1, 3))
                found = chosen(m)
                apart = found.reshape(
                    len(found), len(drawn), len(target), *found.shape[2:]
                )
                total[n] = total[n] + apart.sum(1)
        if bad.any():
            warnings.warn(
                f"certified: the map of sample(s) {np.flatnonzero(bad).tolist()} is "
                "not finite under noise; none of their pixels is certified.",
                NotFiniteWarning,
                stacklevel=2,
            )
            for counted in total:
                counted[:, bad] = self.count // 2
        return total


def per_pixel(maps: Array, channels_first: bool) -> Array:
    """Return maps (T, N, ...) summed over the channels, which become one."""
    if maps.ndim < 4:
        return maps
    return np.asarray(maps.sum(2 if channels_first else -1, keepdims=True))


def in_top(maps: Array, fraction: float) -> Array:
    """Return which elements of maps (T, N, ...) are in the top k; k is at least 1.

    They are larger than the largest one outside; of equal elements, none is in the top.
    """
    rows = maps.reshape(*maps.shape[:2], -1)
    size = rows.shape[-1]
    k = max(1, round(fraction * size))
    if k >= size:
        return np.ones(maps.shape, bool)
    outside = np.partition(rows, size - k - 1, -1)[..., size - k - 1 : size - k]
    return np.asarray((rows > outside).reshape(maps.shape))


def certificates(
    counts: list[Array], n: int, sigma: float, tau: float, alpha: float
) -> dict[str, Any]:
    """Return certificates (T, B, ...), and radius, share and abstentions for `extra`.

    Args:
        counts: In how many of n draws each pixel is in the top k, (T, B, ...).
        n: Number of draws.
        sigma: Standard deviation of the noise.
        tau: Least probability for a certificate.
        alpha: Probability that a certificate is wrong.

    Raises:
        OptionError: Not even a pixel that is in the top k of all draws is certified.
    """
    pixels = sum(int(np.prod(c.shape[2:])) for c in counts)
    bounds = lower_bounds(n, alpha / (2 * pixels))
    if bounds[-1] < tau:
        least = int(np.ceil(np.log(alpha / (2 * pixels)) / np.log(tau)))
        raise OptionError(
            f"n_samples={n} draws certify none of {pixels} pixels with tau={tau} and "
            f"alpha={alpha}.",
            f"at least {least} draws",
            f"n_samples={least}",
        )
    from scipy.stats import norm

    radii = sigma * norm.ppf(np.maximum(bounds, 0.5))
    several = len(counts) > 1
    relevance, extra, abstained = [], {}, 0
    for i, inside in enumerate(counts):
        end = f"_{i}" if several else ""
        certain = np.maximum(inside, n - inside)
        sign = np.where(bounds[certain] >= tau, np.sign(2 * inside - n), 0)
        relevance.append(sign.astype(np.float32))
        extra["radius" + end] = _batch_first(radii[certain])
        extra["in_top" + end] = _batch_first(inside / n)
        abstained = abstained + (sign == 0).sum(tuple(range(2, sign.ndim)))
    extra["abstained"] = np.asarray(abstained).T / pixels
    return {"relevance": relevance, **extra}


def lower_bounds(n: int, level: float) -> Array:
    """Return the bounds of Clopper and Pearson of 0 to n successes, (n + 1,)."""
    from scipy.stats import beta

    k = np.arange(1, n + 1)
    return np.concatenate([[0.0], beta.ppf(level, k, n - k + 1)])


def _batch_first(v: Array) -> Array:
    """(T, B, ...) -> (B, T, ...), float32."""
    return np.swapaxes(v, 0, 1).astype(np.float32)
