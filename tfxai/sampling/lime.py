"""LIME: a weighted linear model of the output, as a function of the kept segments.

Ribeiro, Singh and Guestrin 2016, arXiv:1602.04938. One set of samples serves all
targets. Segments are superpixels of images, intervals of series, columns of tables, or
tokens.
"""

import warnings
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from tfxai.base.errors import LowFidelityWarning, OptionError
from tfxai.base.progress import bar
from tfxai.base.validation import above, one_of, whole_number
from tfxai.core.analyzer import Analyzer
from tfxai.core.embedding_cut import TargetFn
from tfxai.core.explanation import Explanation
from tfxai.core.intervals import with_interval
from tfxai.core.model import ModelWrapper
from tfxai.core.registry import MethodSpec, register
from tfxai.sampling.intervals import (
    near_enough,
    regression_error,
    stages,
    warn_tolerance,
)
from tfxai.sampling.masked import (
    Advance,
    MaskedModel,
    MaskedSample,
    MaskingConfig,
    SampleResult,
    assemble_batch,
)
from tfxai.sampling.masks import bernoulli, in_pairs
from tfxai.sampling.regression import (
    DISTANCES,
    REGRESSORS,
    SELECTIONS,
    Fit,
    fit_linear_model,
    proximity,
)

PAPER = "Ribeiro, Singh and Guestrin 2016, arXiv:1602.04938"
#: The options of the page *Interpretable Machine Learning for Image Classification with
#: LIME*: explain(model, x, "lime", **SEED), and plot.superpixels(e, top=4).
SEED = MappingProxyType(
    {
        "segmenter": "quickshift",
        "segmenter_options": {"kernel_size": 6, "max_dist": 200, "ratio": 0.2},
        "n_samples": 150,
        "baseline": "black",
        "kernel_width": 0.25,
        "distance": "cosine",
        "regressor": "linear",
        "scale": "probability",
    }
)
#: Smallest share of the total weight that the covered samples must have.
MIN_COVERED_WEIGHT = 0.01
#: Below this weighted R^2 the linear model explains less than half of the variance.
MIN_FIDELITY = 0.5


@dataclass(frozen=True)
class LimeConfig:
    """The options of LIME, validated; see `lime`."""

    masking: MaskingConfig
    n_samples: int
    kernel_width: float
    distance: str
    regressor: str
    n_features: int | None
    feature_selection: str
    seed: int
    tolerance: float | None = None

    def __post_init__(self) -> None:
        if self.tolerance is not None:
            above("tolerance", self.tolerance)
            if not self.has_errors:
                raise OptionError(
                    f"tolerance={self.tolerance!r} with a penalty or a selection, "
                    "whose coefficients have no standard error.",
                    "the linear regression of all segments",
                    'regressor="linear", without n_features',
                )
        one_of("distance", self.distance, tuple(DISTANCES))
        one_of("regressor", self.regressor, tuple(REGRESSORS))
        one_of("feature_selection", self.feature_selection, tuple(SELECTIONS))
        above("kernel_width", self.kernel_width)
        whole_number("seed", self.seed, 0)
        whole_number("n_samples", self.n_samples, 2)
        if (self.n_features is None) != (self.feature_selection == "none"):
            raise OptionError(
                f"n_features={self.n_features!r} with "
                f"feature_selection={self.feature_selection!r}.",
                "both, or neither",
                'n_features=5, feature_selection="k_lasso"',
            )
        if self.n_features is not None:
            whole_number("n_features", self.n_features, 1)

    @property
    def has_errors(self) -> bool:
        """Whether the coefficients have standard errors."""
        return self.regressor == "linear" and self.feature_selection == "none"

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that an explanation records in `extra`."""
        return {
            "n_samples": self.n_samples, "kernel_width": self.kernel_width,
            "distance": self.distance, "scale": self.masking.scale_name,
            "regressor": self.regressor, "feature_selection": self.feature_selection,
            "seed": self.seed, "n_features": self.n_features,
        }  # fmt: skip


class Lime:
    """LIME, compiled for inputs of one shape. A call explains a batch."""

    def __init__(
        self,
        config: LimeConfig,
        inputs: list[np.ndarray],
        target_fn: TargetFn,
        single_target: bool,
    ) -> None:
        self._config = config
        self._model = MaskedModel(config.masking, inputs, target_fn)

    def __call__(
        self, batch: list[np.ndarray], target: np.ndarray, max_batch: int
    ) -> dict[str, Any]:
        """Return the relevance and the linear models of a batch."""
        samples = self._model.samples(batch, target, max_batch)
        self._check_determined(max(s.n_segments for s in samples))
        with bar("samples", len(samples) * self._config.n_samples) as advance:
            results = [self._fit(s, advance) for s in samples]
        return assemble_batch(samples, results)

    def _check_determined(self, n_segments: int) -> None:
        """Raise OptionError where least squares has too few samples."""
        config = self._config
        if config.regressor != "linear":
            return
        if (config.n_features or n_segments) >= config.n_samples:
            raise OptionError(
                f"n_samples={config.n_samples} for {n_segments} segments: a linear "
                "regression without a penalty is not determined.",
                "more samples than segments, or a penalty",
                f'n_samples={10 * n_segments}, or regressor="ridge"',
            )

    def _fit(self, sample: MaskedSample, advance: Advance) -> SampleResult:
        """The linear models of one sample, one for each target."""
        config = self._config
        rng = np.random.default_rng(config.seed)
        every = bernoulli(rng, config.n_samples, sample.n_segments)
        least = max(32, 2 * sample.n_segments)
        y = np.zeros((0, len(sample.score)))
        for used in stages(len(every), least, config.tolerance):
            y = np.concatenate([y, sample.evaluate(every[len(y) : used], advance)])
            masks = every[:used]
            weights = _sample_weights(masks, config)
            found = self._fitted(sample, masks, y, weights)
            if config.tolerance and near_enough(
                found["coefficients"], found["standard_error"], config.tolerance
            ):
                break
        found["evaluations"] = np.full(len(sample.score), len(y))
        return SampleResult(found, {"weights": weights})

    def _fitted(
        self,
        sample: MaskedSample,
        masks: np.ndarray,
        y: np.ndarray,
        weights: np.ndarray,
    ) -> dict[str, np.ndarray]:
        """The linear models of masks (n, d) and their outputs (n, T)."""
        config = self._config
        varying = np.flatnonzero(sample.varies)
        fits = [
            fit_linear_model(
                masks[:, varying], column, weights, config.regressor,
                config.feature_selection, config.n_features,
            ).among(varying, sample.n_segments)
            for column in y.T.astype(float)
        ]  # fmt: skip
        found = _describe_fits(fits, y)
        if not config.has_errors:
            return found
        left = [
            y[:, i] - f.intercept - masks @ f.coefficients for i, f in enumerate(fits)
        ]
        errors = np.zeros((len(left), sample.n_segments))
        pairs = in_pairs(config.n_samples, sample.n_segments)
        errors[:, varying] = [
            regression_error(masks[:, varying], r, weights, pairs) for r in left
        ]
        freedom = len(masks) // 2 if pairs else len(masks) - len(varying) - 1
        return found | with_interval(found["coefficients"], errors, freedom)


def lime(
    wrapped: ModelWrapper,
    segmenter: Any = "auto",
    segmenter_options: dict[str, Any] | None = None,
    n_samples: int = 1000,
    baseline: Any = "auto",
    background: Any = None,
    kernel_width: float = 0.25,
    distance: str = "cosine",
    regressor: str = "linear",
    n_features: int | None = None,
    feature_selection: str = "none",
    scale: str = "auto",
    seed: int = 0,
    precision: str = "float32",
    tolerance: float | None = None,
    target: Any = None,
) -> Analyzer:
    """Return an analyzer that fits a linear model of the output near each input.

    The input is divided into segments. Random masks cover some of them by the baseline,
    and a linear regression predicts the output from the mask, with larger weights for
    masks that cover less. Its coefficients are the explanation.

    `relevance` is each segment's coefficient, at every position of the segment.
    `extra` holds segments (B, ...), of several inputs segments_0 and so on,
    coefficients (B, d), NaN where an input has fewer segments, intercept, fidelity
    (weighted R^2), weights (B, n) and predictions (B, n); of the regressor "linear"
    with all segments also standard_error, interval_low and interval_high (B, d). A
    segment that equals its baseline changes nothing: its coefficient is 0, and no part
    of the regression.

    Args:
        wrapped: The wrapped model.
        segmenter: How inputs are segmented: "quickshift", "slic", "felzenszwalb",
            "watershed", "grid", an array of whole numbers, or a function of one input;
            see `segments.segment_inputs`. "auto" is quickshift for images,
            and a grid of 8 x 8 cells for images with a side below 32. A list has
            one for each of several inputs, whose segments are numbered together. Texts
            have "words", "sentences" or a function that returns the pieces of a text.
        segmenter_options: Keyword arguments of the segmenter.
        n_samples: Number of masked copies per input. Each segment is covered with
            probability 1/2; the first copy is the input itself.
        baseline: What covers a segment: "mean" of the segment (which changes nothing
            where a segment has one colour), "input_mean" (the mean of the input, per
            channel), "black", "blur", a number (the mask token, for tokens) or an
            array. "auto" is "mean" where segments have 16 positions or more on average,
            otherwise "input_mean". For several inputs one for all, or a list with one
            for each; None never covers an input, such as a mask of padding. Pieces of
            texts are removed, or replaced by a text, "[MASK]".
        background: Examples like `x`, in place of a baseline: an array (m, ...), a
            `tf.data.Dataset`, or ("kmeans", 20, rows), the weighted centres of 20
            clusters. The output of a copy is the mean over them, in m times as many
            evaluations.
        kernel_width: Width of the kernel that weights the samples. A sample has the
            weight sqrt(exp(-distance^2 / kernel_width^2)).
        distance: Distance of a mask from the input itself: "cosine" or "euclidean".
        regressor: Kind of linear model: "linear", "ridge" (penalty 1) or "lasso"
            (penalty 0.001).
        n_features: Number of segments with a coefficient; None is all; needs
            `feature_selection`.
        feature_selection: How these segments are selected: "none", "k_lasso",
            "forward" or "highest_weights".
        scale: Scale of the explained output: "auto", "probability", "logit" or
            "log_odds"; see `output_scale.scaled`.
        seed: Seed of the random masks.
        precision: Precision of the model's evaluations: "float32" or "bfloat16".
        tolerance: Relative standard error of the coefficients at which sampling stops,
            before n_samples. None uses all n_samples.
        target: What to explain. None is the top class; see `Analyzer.analyze`.

    Returns:
        The analyzer.

    Raises:
        OptionError: An option is out of range, or n_samples is too small.

    Warns:
        InexactWarning: The standard error is above `tolerance` after all n_samples.
        LowFidelityWarning: A linear model has a weighted R^2 below 0.5.

    References:
        Ribeiro, Singh and Guestrin 2016, arXiv:1602.04938.

    Example:
        >>> e = tfxai.explain(model, x, "lime", segmenter="slic")
        >>> tfxai.plot.superpixels(e, top=4)
    """
    config = LimeConfig(
        MaskingConfig(
            wrapped, segmenter, segmenter_options, baseline, scale, precision,
            background,
        ),
        n_samples, kernel_width, distance, regressor, n_features, feature_selection,
        seed, tolerance,
    )  # fmt: skip
    make = partial(Lime, config)

    def check(e: Explanation) -> None:
        _warn_fidelity(e)
        if tolerance is not None:
            values, errors = (e.extra[k] for k in ("coefficients", "standard_error"))
            warn_tolerance("lime", values, errors, tolerance, np.ndim(e.target) > 1)

    return Analyzer(
        "lime", wrapped, make, target, config.settings, check, together=True
    )


def _sample_weights(masks: np.ndarray, config: LimeConfig) -> np.ndarray:
    """The weights (n,) of the samples, if the covered ones have any weight."""
    weights = proximity(masks, config.distance, config.kernel_width)
    covered = weights[~masks.all(-1)].sum()
    several = masks.shape[1] > 1  # of one segment two values determine the line
    if several and covered < MIN_COVERED_WEIGHT * weights.sum():
        raise OptionError(
            f"kernel_width={config.kernel_width}: the input itself has all the weight, "
            f"the covered samples have {covered / weights.sum():.1g} of it.",
            "a wider kernel",
            f"kernel_width={10 * config.kernel_width:g}",
        )
    return weights


def _describe_fits(fits: list[Fit], y: np.ndarray) -> dict[str, np.ndarray]:
    """What `extra` holds of the linear models, (T, ...)."""
    return {
        "coefficients": np.stack([f.coefficients for f in fits]),
        "intercept": np.array([f.intercept for f in fits]),
        "fidelity": np.array([f.score for f in fits]),
        "predictions": y.T,
    }


def _warn_fidelity(e: Explanation) -> None:
    """Warn of linear models that fit the network poorly."""
    fidelity = np.asarray(e.extra["fidelity"])
    low = np.unique(np.argwhere(fidelity < MIN_FIDELITY)[:, 0])[:5].tolist()
    if low:
        warnings.warn(
            f"lime: the linear model fits the network poorly near sample(s) {low}: its "
            f"weighted R^2 is {fidelity[low].min():.2f}, below {MIN_FIDELITY}. More or "
            "other segments, or a larger kernel_width, may help.",
            LowFidelityWarning,
            stacklevel=5,
        )


register(
    MethodSpec(
        "lime", "sampling", "a linear model of the output in the kept segments",
        "any model, also a plain callable", PAPER, lime,
        formula="minimise sum over masks m of k(m) (f_t(x masked by m) - w m - "
        "w_0)^2; R = w of the segment",
        limits="A linear model may fit poorly: then `LowFidelityWarning` reports the "
        "R^2. Segments, baseline and kernel width change the result; with few samples "
        "two seeds give two maps.",
        also_in="lime, Captum, Xplique",
    )
)  # fmt: skip
