"""LEG and LEG-TV: the mean gradient of the output under structured noise.

Luo, Barut and Jin 2021, *Statistically Consistent Saliency Estimation*. On a base grid
over the image, noise z of covariance noise^2 Sigma (`grid.py`) is added to one channel
at a time. LEG is (noise^2 Sigma)^-1 mean (f(x + z) - f(x)) z, the gradient of the best
linear approximation of f under such noise. LEG-TV is the relevance of least total
variation near it. By Stein's identity LEG is also the mean of the gradients of f.
"""

import warnings
from collections.abc import Sequence
from functools import partial
from numbers import Real
from typing import Any

import numpy as np

from tfxai.base.errors import InexactWarning, OptionError
from tfxai.core.analyzer import Analyzer
from tfxai.core.explanation import Explanation
from tfxai.core.model import ModelWrapper
from tfxai.core.registry import MethodSpec, register
from tfxai.sampling.leg.compiled import CompiledLeg, channel_relevance
from tfxai.sampling.leg.config import LegConfig
from tfxai.sampling.leg.grid import Grid
from tfxai.sampling.leg.total_variation import least_variation, resolve_solver

PAPER = "Luo, Barut and Jin 2021, Statistically Consistent Saliency Estimation"


def leg(
    wrapped: ModelWrapper,
    target: Any = None,
    contrast: int | None = None,
    scale: str = "auto",
    base_size: Any = 28,
    bordered: bool = True,
    noise: float = 0.02,
    unit: float | None = None,
    n_samples: int | None = None,
    sampling: str = "auto",
    estimator: str = "auto",
    tolerance: float | None = None,
    clip: tuple[float, float] | None = None,
    truncate: bool = False,
    seed: int = 0,
    precision: str = "float32",
    covariance: Any = None,
) -> Analyzer:
    """Return an analyzer for the linearly estimated gradient of every channel.

    Noise with the structure of a coarse grid is added to the input, one channel at a
    time. The relevance is the slope of the linear function that fits the outputs best.

    `relevance` is the estimate of each channel, upsampled to the input. extra["base"]
    is the estimate on the base grid, extra["standard_error"] its error (NaN after one
    draw, or one pair), "interval_low" and "interval_high" the ends of its interval of
    95 %, extra["evaluations"] (B, C) the number of model evaluations.
    `heatmap()` is that of the original code: the mean of |relevance| over channels; of
    a single channel the relevance itself.

    Args:
        wrapped: The wrapped model of images or series.
        target: What to explain. None is the top class; see `Analyzer.analyze`.
        contrast: Class whose output is subtracted from the target's. None subtracts
            nothing.
        scale: Scale of the explained output: "auto", "probability", "logit" or
            "log_odds"; see `output_scale.scaled`.
        base_size: Number of cells of the base grid along each side. One number, or one
            for each side; it does not have to divide the side. The default, 28, is the
            side itself where it is shorter.
        bordered: Whether the grid has a border of zeros. See `Grid`.
        noise: Scale of the noise. A cell of the grid has a standard deviation of about
            2 noise, in units of `unit`.
        unit: Unit of the noise. None is the extent of a sample (the larger one of its
            range and its largest absolute value), and 255 where that is above 16, as of
            images in 0..255.
        n_samples: Number of model evaluations per channel. None is 64 with the
            "gradient" estimator, otherwise 2000.
        sampling: How noise is sampled. "plain" draws independently, as the original
            does; "antithetic" evaluates z and -z; "orthogonal" evaluates such pairs in
            orthogonal directions. "auto" is "orthogonal" for a regression with at least
            1.2 pairs per cell, otherwise "antithetic".
        estimator: How LEG is estimated. "score" is the mean that defines LEG,
            "regression" a ridge regression of the output on the noise, "gradient" the
            mean of gradients (Stein's identity), "absolute" the mean with absolute
            values of the change and of the noise (`gradient_scheme="abs"` of the
            original). "auto" is "gradient" where the model
            is differentiable, otherwise "regression".
        tolerance: Relative standard error at which a channel stops. None uses all
            n_samples.
        clip: Range (low, high) to which noisy inputs are clipped. None does not clip.
        truncate: Whether noisy inputs are truncated to whole numbers, as in the
            original.
        seed: Seed of the noise.
        precision: Precision of the model's evaluations: "float32", or "bfloat16" for
            half the bytes, which is faster on processors that support it.
        covariance: Covariance of the noise on the base grid, (n, n), in units of `unit`
            squared, in place of noise^2 Sigma. None is that of the grid.

    Returns:
        The analyzer.

    Raises:
        OptionError: An option is out of range.

    Warns:
        InexactWarning: The standard error is above `tolerance` after all n_samples.

    References:
        Luo, Barut and Jin 2021, Statistically Consistent Saliency Estimation.
    """
    config = LegConfig(
        wrapped, contrast, scale, base_size, bordered, noise, unit, n_samples, sampling,
        estimator, tolerance, clip, truncate, seed, precision, covariance,
    )  # fmt: skip
    make = partial(CompiledLeg, config, _upsampled)
    check = partial(_warn, config)
    return Analyzer("leg", wrapped, make, target, config.settings, check, together=True)


def _upsampled(
    base: np.ndarray, grid: Grid, spatial: tuple[int, ...]
) -> dict[str, Any]:
    """The relevance of LEG, from LEG (B, T, C, *grid)."""
    return channel_relevance(base, spatial)


def leg_tv(
    wrapped: ModelWrapper,
    lambdas: Sequence[float] = (0.1, 0.3),
    solver: str = "auto",
    target: Any = None,
    contrast: int | None = None,
    scale: str = "auto",
    base_size: Any = 28,
    bordered: bool = True,
    noise: float = 0.02,
    unit: float | None = None,
    n_samples: int | None = None,
    sampling: str = "auto",
    estimator: str = "auto",
    tolerance: float | None = None,
    clip: tuple[float, float] | None = None,
    truncate: bool = False,
    seed: int = 0,
    precision: str = "float32",
) -> Analyzer:
    """Return an analyzer for the relevance of least total variation near LEG.

    The estimate of LEG is noisy. A linear program finds the map with the least total
    variation, few edges and constant areas, that agrees with it up to lambda.

    All lambdas share one estimate of LEG. `relevance` is that of the first lambda;
    extra["by_lambda"] (lambdas, C, *grid) holds all on the base grid, and
    extra["violation"] the largest violation of the constraint, relative to its bound.

    Args:
        wrapped: The wrapped model of images or series.
        lambdas: Largest distances from LEG, between 0 and 1. One number or several.
        solver: Name of a solver of cvxpy. "auto" is MOSEK where it has a licence,
            otherwise a free solver.
        target: What to explain. None is the top class; see `Analyzer.analyze`.
        contrast: Class whose output is subtracted from the target's. None subtracts
            nothing.
        scale: Scale of the explained output, as for `leg`.
        base_size: Number of cells of the base grid along each side. As for `leg`.
        bordered: Whether the grid has a border of zeros. See `Grid`.
        noise: Scale of the noise. As for `leg`.
        unit: Unit of the noise. None is the extent of a sample (the larger one of its
            range and its largest absolute value), and 255 where that is above 16, as of
            images in 0..255.
        n_samples: Number of model evaluations per channel. As for `leg`.
        sampling: How noise is sampled. As for `leg`.
        estimator: How LEG is estimated. As for `leg`.
        tolerance: Relative standard error of LEG at which a channel stops. None uses
            all n_samples.
        clip: Range (low, high) to which noisy inputs are clipped. None does not clip.
        truncate: Whether noisy inputs are truncated to whole numbers, as in the
            original.
        seed: Seed of the noise.
        precision: Precision of the model's evaluations: "float32" or "bfloat16".

    Returns:
        The analyzer.

    Raises:
        OptionError: An option is out of range, or the solver is not installed.

    Warns:
        InexactWarning: The standard error is above `tolerance` after all n_samples.

    References:
        Luo, Barut and Jin 2021, Statistically Consistent Saliency Estimation, eq. 8.
    """
    config = LegConfig(
        wrapped, contrast, scale, base_size, bordered, noise, unit, n_samples, sampling,
        estimator, tolerance, clip, truncate, seed, precision,
    )  # fmt: skip
    solver, strengths = resolve_solver(solver), _strengths(lambdas)
    make = partial(CompiledLeg, config, partial(_minimise_variation, strengths, solver))
    settings = {**config.settings, "lambdas": strengths, "solver": solver}
    check = partial(_warn, config)
    return Analyzer("leg_tv", wrapped, make, target, settings, check, together=True)


def _strengths(lambdas: Any) -> list[float]:
    """The lambdas as a list of numbers between 0 and 1."""
    strengths = list(lambdas) if np.iterable(lambdas) else [lambdas]
    for strength in strengths or [0]:
        if not isinstance(strength, Real) or not 0 < float(strength) < 1:
            raise OptionError(
                f"lambdas={lambdas!r}.", "numbers between 0 and 1", "lambdas=[0.1, 0.3]"
            )
    return strengths


def _minimise_variation(
    strengths: list[float],
    solver: str,
    base: np.ndarray,
    grid: Grid,
    spatial: tuple[int, ...],
) -> dict[str, Any]:
    """The relevance of LEG-TV, from LEG (B, T, C, *grid), for every lambda."""
    fields = base.reshape(-1, *grid.shape)
    solutions = [
        [least_variation(g, grid, s, solver) for g in fields] for s in strengths
    ]
    relevance = np.array([[v.relevance for v in row] for row in solutions])
    relevance = relevance.reshape(len(strengths), *base.shape)
    by_lambda = np.moveaxis(relevance, 0, 2)
    worst = max(v.violation for row in solutions for v in row)
    return {
        **channel_relevance(by_lambda[:, :, 0], spatial),
        "by_lambda": by_lambda,
        "each": {"violation": np.full(len(base), worst)},
    }


def _warn(config: LegConfig, e: Explanation) -> None:
    """Warn of an unmet tolerance."""
    if config.tolerance is not None:
        _warn_tolerance(config, config.tolerance, e)


def _warn_tolerance(config: LegConfig, tolerance: float, e: Explanation) -> None:
    """Warn of standard errors above the tolerance."""
    size, error = (_norms(e, name) for name in ("base", "standard_error"))
    unmet = ~(error <= tolerance * size)  # also where the error is NaN
    if not unmet.any():
        return
    with np.errstate(divide="ignore"):
        worst = float((error[unmet] / size[unmet]).max())
    amount = "unknown" if np.isnan(worst) else f"{worst:.2g} of the relevance"
    warnings.warn(
        f"{e.method}: after n_samples={config.count} for each channel the standard "
        f"error of sample(s) {np.flatnonzero(unmet.any(1))[:5].tolist()} is {amount}, "
        f"above tolerance={tolerance:g}. Increase n_samples, or the tolerance.",
        InexactWarning,
        stacklevel=5,
    )


def _norms(e: Explanation, name: str) -> np.ndarray:
    """The norm (B, C) of an array of `extra` for each channel, over all targets."""
    values = np.moveaxis(np.asarray(e.extra[name], float), np.ndim(e.target), 1)
    norms = np.linalg.norm(values.reshape(*values.shape[:2], -1), axis=-1)
    return np.asarray(norms)


NEEDS = "any model of images or series, also a plain callable"
for _row in (
    MethodSpec("leg", "sampling",
        "the mean gradient of the output under structured noise",
        NEEDS, PAPER, leg,
        formula="R = cov(Z)^-1 mean over Z of f_t(x + Z) Z, Z noise with the "
        "structure of the base grid",
        limits='The map is as coarse as the base grid. With few samples it is noise: '
        'see extra["standard_error"]. A noise that is too small sees rounding errors '
        'of the model, one that is too large leaves the data.',
        also_in="the LEG repository",
        cost="n_samples gradients (64) or evaluations (2000) of the model per channel",
    ),
    MethodSpec("leg_tv", "sampling", "LEG, sharpened by a linear program",
        NEEDS, PAPER, leg_tv,
        formula="minimise TV(R) subject to |D^T (R_leg - R)| <= lambda",
        limits="`lambdas` decides how much is smoothed away: a large one returns a "
        "constant map. Noise in the estimate of LEG remains as patches.",
        also_in="the LEG repository",
        cost="that of leg, and a linear program for each channel",
    ),
):  # fmt: skip
    register(_row)
