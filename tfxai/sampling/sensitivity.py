"""Sensitivity of the output to quasi-random masks: Sobol indices and HSIC.

Each segment is kept or covered with probability 1/2. The masks are points of a
scrambled Sobol sequence, rounded; the masks of Fel et al. 2021 are not rounded. One
sequence does not tell how far its estimate is from the long-run value: standard errors
need independent masks.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfxai.base.errors import OptionError
from tfxai.base.validation import one_of, whole_number
from tfxai.core.analyzer import Analyzer
from tfxai.core.intervals import with_interval
from tfxai.core.model import ModelWrapper
from tfxai.core.registry import MethodSpec, register
from tfxai.sampling.games import Game, Solve
from tfxai.sampling.masked import MaskingConfig
from tfxai.sampling.shapley import NEEDS, shapley_analyzer

#: Smallest number of points of the sequence.
LEAST = 8
#: Largest number of groups of points for the errors of Sobol indices.
GROUPS = 10
#: How masks are drawn.
SAMPLINGS = ("quasi_random", "independent")


def masks_of(sampling: str, seed: int, count: int, d: int) -> np.ndarray:
    """Return masks (count, d) by the name of the sampling."""
    if sampling == "independent":
        return np.random.default_rng(seed).random((count, d)) < 0.5
    return quasi_random_masks(seed, count, d)


def quasi_random_masks(seed: int, count: int, d: int) -> np.ndarray:
    """Return masks (count, d), each segment kept with probability 1/2.

    Args:
        seed: Seed of the scrambling.
        count: Number of masks.
        d: Number of segments.
    """
    from scipy.stats import qmc

    most = int(qmc.Sobol.MAXDIM)
    if d > most:
        raise OptionError(
            f"{d} segments, and a Sobol sequence has at most {most} dimensions.",
            'fewer segments: "grid" for images, or an array that numbers them',
            f"segmenter=np.arange({d}) // {-(-d // most)}",
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numbers that are no power of two
        points = qmc.Sobol(d, seed=np.random.default_rng(seed)).random(count)
    return np.asarray(points >= 0.5)


def total_indices(v: np.ndarray, flipped: np.ndarray) -> np.ndarray:
    """Return total Sobol indices (d, T).

    The index of i is E[Var(v | the other segments)] / Var(v): the mean square of the
    change by i, divided by 4 Var(v). That is Jansen's estimator, where the second value
    of i always differs from the first.

    Args:
        v: Outputs (n, T) of masks.
        flipped: Outputs (n, d, T) where segment i is kept instead of covered, or the
            reverse.
    """
    every = np.concatenate([v[:, None], flipped], 1)
    variance = every.var((0, 1))
    parts = ((flipped - v[:, None]) ** 2 / 4).mean(0)
    safe = np.where(variance > 0, variance, 1)
    return np.asarray(np.where(variance > 0, parts / safe, 0.0))


def left_out_error(v: np.ndarray, flipped: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the standard errors (d, T) of `total_indices`, and the number of groups.

    That is the jackknife of at most `GROUPS` groups of independent points: the indices
    are computed without each group.

    References:
        Efron and Stein 1981, Annals of Statistics 9.
    """
    n = len(v)
    groups = min(GROUPS, n // 2)
    rest = [
        np.delete(np.arange(n), part) for part in np.array_split(np.arange(n), groups)
    ]
    found = np.stack([total_indices(v[r], flipped[r]) for r in rest])
    return found.std(0) * np.sqrt(groups - 1), groups


@dataclass(frozen=True)
class Sobol:
    """Total Sobol indices. A call solves one game."""

    n_samples: int
    seed: int
    sampling: str = "quasi_random"

    def __call__(self, game: Game) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return the indices (d, T), and errors (T, d) of independent masks."""
        d, targets = len(game.varying), len(game.score)
        n = max(LEAST, self.n_samples // (d + 1))
        found = error = np.zeros((d, targets))
        groups = GROUPS
        if d:
            masks = masks_of(self.sampling, self.seed, n, d)
            changed = masks[:, None] ^ np.eye(d, dtype=bool)
            every = np.concatenate([masks[:, None], changed], 1).reshape(-1, d)
            v = game.values_of_varying(every).reshape(n, d + 1, targets)
            found = total_indices(v[:, 0], v[:, 1:])
            error, groups = left_out_error(v[:, 0], v[:, 1:])
        value, count = game.spread(found), np.full(targets, n * (d + 1) * (d > 0))
        if self.sampling != "independent":
            return value, {"evaluations": count}
        more = with_interval(value.T, game.spread(error).T, groups - 1)
        return value, {**more, "evaluations": count}


def dependence(masks: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return HSIC (d, T) of each segment's mask and the output, and standard errors.

    That is tr(K H L H) / (n - 1)^2 with K = 1 where two masks agree in the segment,
    else 0, L = exp(-(y - y')^2 / (2 w^2)), H = 1 - 1/n, and w the median of |y - y'|.
    The errors are those of a jackknife, from the share of each mask in the trace. They
    hold for independent masks; those of quasi-random masks are several times smaller.

    Args:
        masks: Masks (n, d).
        values: Outputs (n, T).
    """
    n = len(masks)
    signs = np.where(masks, 1.0, -1.0)  # K = (1 + s s^T) / 2, and H removes the 1
    signs -= signs.mean(0)
    found, errors = np.zeros((2, masks.shape[1], values.shape[1]))
    for t, y in enumerate(values.T):
        distance = np.abs(y[:, None] - y)
        width = np.median(distance[np.triu_indices(n, 1)]) or distance.max()
        if width > 0:
            kernel = np.exp(-((distance / width) ** 2) / 2)
            shares = (kernel @ signs - kernel.mean(0) @ signs) * signs
            found[:, t] = shares.sum(0) / 2 / (n - 1) ** 2
            errors[:, t] = shares.std(0, ddof=1) / n**1.5
    return found, errors


@dataclass(frozen=True)
class Hsic:
    """HSIC of masks and outputs. A call solves one game."""

    n_samples: int
    seed: int
    sampling: str = "quasi_random"

    def __call__(self, game: Game) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return HSIC (d, T), and errors (T, d) of independent masks."""
        d, n = len(game.varying), self.n_samples
        masks = masks_of(self.sampling, self.seed, n, max(d, 1))[:, :d]
        values = game.values_of_varying(masks) if d else np.zeros((0, 0))
        none = np.zeros((0, len(game.score)))
        found, errors = dependence(masks, values) if d else (none, none)
        value, count = game.spread(found), np.full(len(game.score), n * (d > 0))
        if self.sampling != "independent":
            return value, {"evaluations": count}
        more = with_interval(value.T, game.spread(errors).T, n - 1)
        return value, {**more, "evaluations": count}


def sobol(
    wrapped: ModelWrapper,
    n_samples: int = 1000,
    seed: int = 0,
    segmenter: Any = "auto",
    segmenter_options: dict[str, Any] | None = None,
    baseline: Any = "auto",
    background: Any = None,
    scale: str = "auto",
    precision: str = "float32",
    target: Any = None,
    sampling: str = "quasi_random",
) -> Analyzer:
    """Return an analyzer for total Sobol indices of the segments.

    The index of a segment is the share of the output's variance over random masks that
    is lost where the segment is fixed, with all its interactions: it is not negative,
    and the indices add up to 1 or more. `extra` holds segments and coefficients (B, d),
    baseline_score and evaluations (B,), and with `sampling="independent"`
    standard_error, interval_low and interval_high (B, d), of 95 %.

    Args:
        wrapped: The wrapped model.
        n_samples: Number of model evaluations. A point of the quasi-random sequence
            needs d + 1 of them; there are at least 8 points.
        seed: Seed of the sequence.
        segmenter: How inputs are segmented: a name, an array of whole numbers or a
            function, as for `lime`; a list with one for each of several inputs.
        segmenter_options: Keyword arguments of the segmenter.
        baseline: What covers a segment. A name, a number or an array, as for `lime`.
        background: Examples like `x`, in place of a baseline; see `kernel_shap`.
        scale: Scale of the explained output: "auto", "probability", "logit" or
            "log_odds"; see `output_scale.scaled`.
        precision: Precision of the model's evaluations: "float32" or "bfloat16".
        target: What to explain. None is the top class; see `Analyzer.analyze`.
        sampling: How masks are drawn. "quasi_random" is more accurate, and has no
            standard errors; "independent" has them.

    Returns:
        The analyzer.

    Raises:
        OptionError: An option is out of range, or there are too many segments.

    Warns:
        MoreEvaluationsWarning: Eight points take more than n_samples evaluations.

    References:
        Fel et al. 2021, arXiv:2111.04138. Jansen 1999, Computer Physics Communications
        117.
    """
    given = wrapped, segmenter, segmenter_options, baseline, scale, precision
    solve = Sobol(n_samples, seed, sampling)
    return _analyzer("sobol", MaskingConfig(*given, background), solve, target)


def hsic(
    wrapped: ModelWrapper,
    n_samples: int = 1000,
    seed: int = 0,
    segmenter: Any = "auto",
    segmenter_options: dict[str, Any] | None = None,
    baseline: Any = "auto",
    background: Any = None,
    scale: str = "auto",
    precision: str = "float32",
    target: Any = None,
    sampling: str = "quasi_random",
) -> Analyzer:
    """Return an analyzer for the dependence of the output on each segment, HSIC.

    HSIC, the Hilbert-Schmidt independence criterion, is not negative, and small where
    the output does not depend on whether the segment is kept. `extra` holds segments
    and coefficients (B, d), baseline_score and evaluations (B,), and with
    `sampling="independent"` standard_error, interval_low and interval_high (B, d), of
    95 %.

    Args:
        wrapped: The wrapped model.
        n_samples: Number of quasi-random masks, and of model evaluations.
        seed: Seed of the sequence.
        segmenter: How inputs are segmented: a name, an array of whole numbers or a
            function, as for `lime`; a list with one for each of several inputs.
        segmenter_options: Keyword arguments of the segmenter.
        baseline: What covers a segment. A name, a number or an array, as for `lime`.
        background: Examples like `x`, in place of a baseline; see `kernel_shap`.
        scale: Scale of the explained output: "auto", "probability", "logit" or
            "log_odds"; see `output_scale.scaled`.
        precision: Precision of the model's evaluations: "float32" or "bfloat16".
        target: What to explain. None is the top class; see `Analyzer.analyze`.
        sampling: How masks are drawn. "quasi_random" is more accurate, and has no
            standard errors; "independent" has them.

    Returns:
        The analyzer.

    Raises:
        OptionError: An option is out of range, or there are too many segments.

    References:
        Novello, Fel and Vigouroux 2022, arXiv:2206.06219, equation 4.
    """
    given = wrapped, segmenter, segmenter_options, baseline, scale, precision
    solve = Hsic(n_samples, seed, sampling)
    return _analyzer("hsic", MaskingConfig(*given, background), solve, target)


def _analyzer(method: str, config: MaskingConfig, solve: Any, target: Any) -> Analyzer:
    whole_number("n_samples", solve.n_samples, 4)
    one_of("sampling", solve.sampling, SAMPLINGS)
    settings = {k: getattr(solve, k) for k in ("n_samples", "seed", "sampling")}
    solved: Solve = solve
    return shapley_analyzer(method, config, solved, settings, None, target, None)


for _row in (
    MethodSpec("sobol", "sampling",
        "total Sobol indices of segments: shares of the output's variance",
        NEEDS, "Fel et al. 2021, arXiv:2111.04138", sobol,
        formula="R_i = mean over masks of Var(f_t | all segments but i) / Var(f_t)",
        limits="It has no sign, so evidence against the class looks like evidence for "
        "it. A score that hardly varies gives a quotient of small numbers. "
        "Quasi-random masks have no standard errors.",
        also_in="Xplique",
    ),
    MethodSpec("hsic", "sampling",
        "the dependence (HSIC) of the output on whether a segment is kept",
        NEEDS, "Novello et al. 2022, arXiv:2206.06219", hsic,
        formula="R_i = HSIC(whether segment i is kept, f_t), over masks",
        limits="It has no sign. It sees the dependence on one segment alone: two "
        "segments that act only together get small values. Quasi-random masks have no "
        "standard errors.",
        also_in="Xplique",
    ),
):  # fmt: skip
    register(_row)
