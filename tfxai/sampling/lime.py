"""LIME: a weighted linear model of the answer, on which segments are kept.

Ribeiro, Singh and Guestrin 2016, arXiv:1602.04938. One set of samples serves all
targets; superpixels of pictures, pieces of series, columns of tables, tokens.
"""

import warnings
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import numpy as np

from tfxai.base.errors import LowFidelityWarning, OptionError
from tfxai.base.progress import bar
from tfxai.base.validation import above, one_of, whole_number
from tfxai.core.analyzer import Analyzer
from tfxai.core.embedding_cut import Function
from tfxai.core.explanation import Explanation
from tfxai.core.model import ModelWrapper
from tfxai.core.output_scale import scaled
from tfxai.core.registry import MethodSpec, register
from tfxai.sampling.masked import Masked
from tfxai.sampling.masks import bernoulli
from tfxai.sampling.regression import (
    DISTANCES,
    REGRESSORS,
    SELECTIONS,
    Fit,
    proximity,
    regressed,
)

PAPER = "Ribeiro, Singh and Guestrin 2016, arXiv:1602.04938"
#: The options of the page *Interpretable Machine Learning for Image Classification with
#: LIME*: explain(model, x, "lime", **SEED), and plot.superpixels(e, top=4).
SEED = MappingProxyType(
    {
        "segmenter": "quickshift",
        "segmenter_options": {"kernel_size": 6, "max_dist": 200, "ratio": 0.2},
        "n_samples": 150,
        "fill": "black",
        "kernel_width": 0.25,
        "distance": "cosine",
        "regressor": "linear",
        "scale": "probability",
    }
)
#: The least share of the weight that covered samples must have.
COUNTED = 0.01
#: Below this weighted R^2 the linear model says less than half of what happens.
FAITHFUL = 0.5


def lime(
    wrapped: ModelWrapper,
    segmenter: Any = "auto",
    segmenter_options: dict | None = None,
    n_samples: int = 1000,
    fill: Any = "mean",
    kernel_width: float = 0.25,
    distance: str = "cosine",
    regressor: str = "linear",
    n_features: int | None = None,
    feature_selection: str = "none",
    scale: str = "auto",
    seed: int = 0,
    precision: str = "float32",
    target: Any = None,
) -> Analyzer:
    """A linear model of the answer near the input: each segment's coefficient.

    segmenter: "quickshift", "slic", "felzenszwalb", "watershed", "grid", an array of
        whole numbers, or a function of one input; see `segments.segmented`. "auto" is
        quickshift for pictures. segmenter_options: what it is called with.
    n_samples: copies of which half of the segments, by a coin, are covered; the first
        is the input itself.
    fill: what covers: "mean" of the segment (which covers nothing where a segment has
        one colour), "black", "blur", a number (the mask token, for tokens) or an array
        (a background sample, for tables).
    kernel_width, distance: samples weigh sqrt(exp(-distance^2 / width^2)).
    regressor: "linear", "ridge" (1) or "lasso" (.001).
    n_features, feature_selection: how many segments, chosen by "k_lasso", "forward" or
        "highest_weights".
    scale: "probability", "logit" or "log_odds"; see `scale.scaled`.

    `relevance` is each segment's coefficient, painted on it. extra: segments (B, ...),
    coefficients (B, d), NaN where a picture has fewer, intercept, fidelity (weighted
    R^2), weights (B, n) and predictions (B, n).
    """
    one_of("distance", distance, tuple(DISTANCES))
    one_of("regressor", regressor, tuple(REGRESSORS))
    one_of("feature_selection", feature_selection, tuple(SELECTIONS))
    above("kernel_width", kernel_width)
    whole_number("seed", seed, 0)
    whole_number("n_samples", n_samples, 2)
    if (n_features is None) != (feature_selection == "none"):
        raise OptionError(
            f"n_features={n_features!r} with feature_selection={feature_selection!r}.",
            "both, or neither",
            'n_features=5, feature_selection="k_lasso"',
        )
    if n_features is not None:
        whole_number("n_features", n_features, 1)
    wrapped.check_precision(precision)

    def make(inputs: list, function: Function, one: bool) -> Callable:
        masked = Masked(wrapped, inputs, function, scale, precision)

        def maps(batch: list, target: np.ndarray, max_batch: int) -> dict[str, Any]:
            everything, counts = masked.cut(
                batch[0], segmenter, segmenter_options, fill
            )
            if regressor == "linear" and (n_features or counts.max()) >= n_samples:
                raise OptionError(
                    f"n_samples={n_samples} for {counts.max()} segments: a plain "
                    "regression is not determined.",
                    "more samples than segments, or a penalty",
                    f'n_samples={10 * counts.max()}, or regressor="ridge"',
                )
            with bar("samples", len(counts) * n_samples) as advance:

                def fitted(ask: Callable, labels: Any, d: int, score: Any) -> tuple:
                    masks = bernoulli(np.random.default_rng(seed), n_samples, d)
                    weights = _weights(masks, distance, kernel_width)
                    y = ask(masks, advance)
                    fits = [
                        regressed(
                            masks, v, weights, regressor, feature_selection, n_features
                        )
                        for v in y.T.astype(float)
                    ]
                    return _told(fits, y), {"weights": weights}

                return masked.explained(everything, counts, target, max_batch, fitted)

        return maps

    options = {
        "n_samples": n_samples, "kernel_width": kernel_width, "distance": distance,
        "scale": scaled(wrapped, scale)[0],
        "regressor": regressor, "feature_selection": feature_selection, "seed": seed,
        "n_features": n_features,
    }  # fmt: skip
    return Analyzer("lime", wrapped, make, target, options, _warn, together=True)


def _weights(masks: np.ndarray, distance: str, width: float) -> np.ndarray:
    weights = proximity(masks, distance, width)
    covered = weights[~masks.all(-1)].sum()
    if covered < COUNTED * weights.sum():
        raise OptionError(
            f"kernel_width={width}: the input itself has all the weight, the samples "
            f"that are covered have {covered / weights.sum():.1g} of it.",
            "a wider kernel",
            f"kernel_width={10 * width:g}",
        )
    return weights


def _told(fits: list[Fit], y: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "coefficients": np.stack([f.coefficients for f in fits]),
        "intercept": np.array([f.intercept for f in fits]),
        "fidelity": np.array([f.score for f in fits]),
        "predictions": y.T,
    }


def _warn(e: Explanation) -> None:
    """Say which linear models say little of what the network does."""
    fidelity = np.asarray(e.extra["fidelity"])
    low = np.unique(np.argwhere(fidelity < FAITHFUL)[:, 0])[:5].tolist()
    if low:
        warnings.warn(
            f"lime: the linear model explains little of what the network does near "
            f"sample(s) {low}: its weighted R^2 is {fidelity[low].min():.2f}, wanted "
            f"{FAITHFUL}. More or other segments, or a larger kernel_width, may help.",
            LowFidelityWarning,
            stacklevel=4,
        )


register(
    MethodSpec(
        "lime", "sampling", "a linear model of the answer, on which segments are kept",
        "any model with one input, also a plain callable", PAPER, lime,
    )
)  # fmt: skip
