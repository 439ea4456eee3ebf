"""Shapley values of segments: a segment's mean contribution over all orders.

v(S) is the output where the segments in S are kept and the others are covered. Kernel
SHAP (Lundberg and Lee 2017, arXiv:1705.07874), sampling of orders (Castro et al. 2009),
and C-Shapley over connected segments (Chen et al. 2018, arXiv:1808.02610).
"""

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from tfxai.base.errors import InexactWarning, MoreEvaluationsWarning, OptionError
from tfxai.base.validation import above, one_of, whole_number
from tfxai.core.analyzer import Analyzer
from tfxai.core.embedding_cut import TargetFn
from tfxai.core.explanation import Explanation
from tfxai.core.model import ModelWrapper
from tfxai.core.registry import MethodSpec, register
from tfxai.sampling.games import CShapley, Game, KernelShap, ShapleySampling, Solve
from tfxai.sampling.groups import labels_of_inputs
from tfxai.sampling.intervals import warn_tolerance
from tfxai.sampling.masked import (
    MaskedModel,
    MaskedSample,
    MaskingConfig,
    SampleResult,
    assemble_batch,
)

#: Largest gap between the sum of the values and f(x) - f(baseline), relative to them.
MAX_GAP = 1e-4


class Shapley:
    """A Shapley method, compiled for inputs of one shape. A call explains a batch."""

    def __init__(
        self,
        config: MaskingConfig,
        solve: Solve,
        grouped: list[int],
        inputs: list[np.ndarray],
        target_fn: TargetFn,
        single_target: bool,
        names: Any = None,
    ) -> None:
        self._solve, self._grouped, self._names = solve, grouped, names
        self._model = MaskedModel(config, inputs, target_fn)

    def __call__(
        self, batch: list[np.ndarray], target: np.ndarray, max_batch: int
    ) -> dict[str, Any]:
        """Return the relevance of a batch."""
        samples = self._model.samples(batch, target, max_batch)
        found = assemble_batch(samples, [self._explain(s) for s in samples])
        for i in self._grouped:
            found["relevance"][i] = _shared_equally(found, i)
        return found

    def _explain(self, sample: MaskedSample) -> SampleResult:
        """The values of the segments of one sample."""
        game = Game(sample, self._names)
        phi, more = self._solve(game)
        values = {"coefficients": phi.T, "baseline_score": game.baseline_score, **more}
        return SampleResult(values, {})


def shapley_analyzer(
    method: str,
    config: MaskingConfig,
    solve: Solve,
    settings: dict[str, Any],
    groups: Any,
    target: Any,
    check: Callable[[Explanation], None] | None,
) -> Analyzer:
    """Return the analyzer of a method that solves the game of each sample.

    Args:
        method: The name of the method.
        config: How inputs are segmented and covered.
        solve: The method.
        settings: What `extra` records of it.
        groups: Columns that are one segment; see `kernel_shap`.
        target: What to explain where `analyze` gets no target.
        check: What is warned of.

    Raises:
        OptionError: Groups and a segmenter are given.
    """
    settings = {**settings, "scale": config.scale_name}
    if "seed" in settings:
        whole_number("seed", settings["seed"], 0)
    if groups is not None and not _is_auto(config.segmenter):
        raise OptionError(
            "segmenter and groups are both given.",
            "what is covered together: one of them",
            'groups={"address": [2, 3, 4]}',
        )

    def make(inputs: list[Any], target_fn: TargetFn, single: bool) -> Shapley:
        names = config.wrapped.input_names
        labels = labels_of_inputs(groups, inputs, names, analyzer.columns)
        own, grouped = config, [i for i, v in enumerate(labels) if v is not None]
        if grouped:
            several: Any = ["auto" if v is None else v for v in labels]
            segmenter = several if len(several) > 1 else several[0]
            own = replace(config, segmenter=segmenter)
        columns = analyzer.columns
        return Shapley(own, solve, grouped, inputs, target_fn, single, columns)

    def warn(e: Explanation) -> None:
        _warn_of_more(e, settings.get("n_samples"))
        if check is not None:
            check(e)

    analyzer = Analyzer(
        method, config.wrapped, make, target, settings, warn, together=True
    )
    return analyzer


def _warn_of_more(e: Explanation, n_samples: int | None) -> None:
    """Warn where the smallest estimate takes more evaluations than n_samples."""
    used = int(np.max(e.extra["evaluations"]))
    if n_samples is not None and used > n_samples:
        warnings.warn(
            f"{e.method}: n_samples={n_samples}, and the smallest estimate of so many "
            f"segments takes {used} evaluations. Larger segments need fewer. "
            f"Write: n_samples={used}",
            MoreEvaluationsWarning,
            stacklevel=5,
        )


def _is_auto(segmenter: Any) -> bool:
    return isinstance(segmenter, str) and segmenter == "auto"


def _shared_equally(found: dict[str, Any], number: int) -> np.ndarray:
    """The relevance of an input in which the columns of a group share its value."""
    several = len(found["relevance"]) > 1
    segments = found["each"][f"segments_{number}" if several else "segments"]
    sizes = (segments[:, :, None] == segments[:, None, :]).sum(-1)
    return np.asarray(found["relevance"][number] / sizes, np.float32)


def _warn_incomplete(e: Explanation) -> None:
    """Warn of samples whose values do not add up to f(x) - f(baseline)."""
    values = np.asarray(e.extra["coefficients"], float)
    total = e.score - e.extra["baseline_score"]
    gap = np.abs(np.nansum(values, -1) - total)
    size = np.abs(np.asarray(e.score, float)) + np.nansum(np.abs(values), -1)
    wrong = np.unique(np.argwhere(gap > MAX_GAP * size)[:, 0])[:5].tolist()
    if wrong:
        warnings.warn(
            f"{e.method}: the values of sample(s) {wrong} do not add up to f(x) - "
            f"f(baseline): the gap is {gap.max():.2g}. More samples may help.",
            InexactWarning,
            stacklevel=5,
        )


def _checks(tolerance: float | None) -> Callable[[Explanation], None]:
    """What warns of values that do not add up, or miss the tolerance."""
    if tolerance is not None:
        above("tolerance", tolerance)

    def check(e: Explanation) -> None:
        _warn_incomplete(e)
        if tolerance is not None and "standard_error" in e.extra:
            values, errors = (
                np.asarray(e.extra[k], float)
                for k in ("coefficients", "standard_error")
            )
            warn_tolerance(e.method, values, errors, tolerance, np.ndim(e.target) > 1)

    return check


def kernel_shap(
    wrapped: ModelWrapper,
    n_samples: int = 1000,
    seed: int = 0,
    segmenter: Any = "auto",
    segmenter_options: dict[str, Any] | None = None,
    baseline: Any = "auto",
    background: Any = None,
    groups: Any = None,
    n_features: int | None = None,
    estimator: str = "gaussian_process",
    scale: str = "auto",
    precision: str = "float32",
    tolerance: float | None = None,
    target: Any = None,
) -> Analyzer:
    """Return an analyzer for Shapley values from a part of all subsets of the segments.

    The Shapley value of a segment (of a table: a column) is the mean change of the
    output when it is added, over all orders in which the segments can be added to the
    baseline. It is estimated from a part of all subsets.

    The values add up to v(all segments) - v(no segment); that of a segment that equals
    the baseline is 0. `extra` holds segments, coefficients (B, d), standard_error,
    interval_low and interval_high (B, d), of 95 %, and baseline_score (B,), the output
    where all is covered.

    Args:
        wrapped: The wrapped model.
        n_samples: Number of subsets of the segments that differ from the baseline.
            Where there are no more subsets (9 segments have 510) the values are exact;
            otherwise subsets are evaluated in pairs with their complements.
        seed: Seed of the subsets.
        segmenter: How inputs are segmented: a name, an array of whole numbers or a
            function, as for `lime`; a list with one for each of several inputs.
        segmenter_options: Keyword arguments of the segmenter.
        baseline: What covers a segment. A name, a number or an array, as for `lime`.
        background: Examples like `x`, in place of a baseline: an array (m, ...), a
            `tf.data.Dataset`, or ("kmeans", 20, rows), the weighted centres of 20
            clusters. v(S) is the mean output over them, as in the package shap, and m
            times as many evaluations.
        groups: Columns that are kept and covered together, as a mapping from the name
            of a group to its columns, by number or by name (`features`). The columns of
            a group share its value equally: `e.sum_by(groups)` returns it. For several
            inputs a mapping from the name or number of an input to such mappings.
        n_features: Largest number of segments with a value other than 0, which the LARS
            path selects; None is all. Then n_samples may be smaller than the number of
            segments, and there are no intervals.
        estimator: How values follow from a part of the subsets. "gaussian_process":
            the mean of a process through all of them, which are chosen to lower its
            variance; see `tfxai.sampling.gaussian`. "least_squares": the regression of
            the paper on random subsets, which `n_features` uses.
        scale: Scale of the explained output: "auto", "probability", "logit" or
            "log_odds"; see `output_scale.scaled`.
        precision: Precision of the model's evaluations: "float32" or "bfloat16".
        tolerance: Relative standard error of the values at which sampling stops, before
            n_samples. None uses all n_samples.
        target: What to explain. None is the top class; see `Analyzer.analyze`.

    Returns:
        The analyzer.

    Raises:
        OptionError: An option is out of range, or n_samples is too small.

    Warns:
        WeakBaselineWarning: The baseline changes the output far less than black does.
        InexactWarning: The values do not add up to f(x) - f(baseline).

    References:
        Lundberg and Lee 2017, arXiv:1705.07874, Theorem 2. O'Hagan 1991, Journal of
        Statistical Planning and Inference 29.
    """
    whole_number("n_samples", n_samples, 2)
    one_of("estimator", estimator, ("gaussian_process", "least_squares"))
    config = MaskingConfig(
        wrapped, segmenter, segmenter_options, baseline, scale, precision, background
    )
    settings: dict[str, Any] = {"n_samples": n_samples, "seed": seed}
    checks = _checks(tolerance)
    if n_features is not None:
        whole_number("n_features", n_features, 1)
        if tolerance is not None:
            raise OptionError(
                f"tolerance={tolerance!r} with n_features={n_features}: the values of "
                "selected segments have no standard error.",
                "one of the two options",
                "n_features=None",
            )
        settings["n_features"] = n_features
    if estimator != "gaussian_process":
        settings["estimator"] = estimator
    solve = KernelShap(n_samples, seed, n_features, tolerance, estimator)
    return shapley_analyzer(
        "kernel_shap", config, solve, settings, groups, target, checks
    )


def shapley_sampling(
    wrapped: ModelWrapper,
    n_samples: int = 1000,
    seed: int = 0,
    segmenter: Any = "auto",
    segmenter_options: dict[str, Any] | None = None,
    baseline: Any = "auto",
    background: Any = None,
    groups: Any = None,
    scale: str = "auto",
    precision: str = "float32",
    tolerance: float | None = None,
    target: Any = None,
) -> Analyzer:
    """Return an analyzer for Shapley values as means over random orders.

    Segments are added to the baseline one after another, in random orders. The value of
    a segment is the mean change of the output when it is added.

    Each order is followed by its reverse. The values add up to v(all segments) - v(no
    segment). `extra` holds segments, coefficients, standard_error, interval_low and
    interval_high (B, d), of 95 %, and baseline_score (B,).

    Args:
        wrapped: The wrapped model.
        n_samples: Number of model evaluations per input. An order of d segments needs
            d - 1; as many pairs of an order and its reverse as fit are sampled, and at
            least two.
        seed: Seed of the random orders.
        segmenter: How inputs are segmented: a name, an array of whole numbers or a
            function, as for `lime`; a list with one for each of several inputs.
        segmenter_options: Keyword arguments of the segmenter.
        baseline: What covers a segment. A name, a number or an array, as for `lime`.
        background: Examples like `x`, in place of a baseline: an array (m, ...), a
            `tf.data.Dataset`, or ("kmeans", 20, rows), the weighted centres of 20
            clusters. v(S) is the mean output over them, as in the package shap, and m
            times as many evaluations.
        groups: Columns that are kept and covered together, as a mapping from the name
            of a group to its columns, by number or by name (`features`). The columns of
            a group share its value equally: `e.sum_by(groups)` returns it. For several
            inputs a mapping from the name or number of an input to such mappings.
        scale: Scale of the explained output: "auto", "probability", "logit" or
            "log_odds"; see `output_scale.scaled`.
        precision: Precision of the model's evaluations: "float32" or "bfloat16".
        tolerance: Relative standard error of the values at which sampling stops, before
            n_samples. None uses all n_samples.
        target: What to explain. None is the top class; see `Analyzer.analyze`.

    Returns:
        The analyzer.

    Raises:
        OptionError: An option is out of range.

    Warns:
        MoreEvaluationsWarning: Two pairs of orders take more than n_samples.

    References:
        Castro, Gomez and Tejada 2009, Computers and Operations Research 36.
    """
    whole_number("n_samples", n_samples, 2)
    config = MaskingConfig(
        wrapped, segmenter, segmenter_options, baseline, scale, precision, background
    )
    settings = {"n_samples": n_samples, "seed": seed}
    checks = _checks(tolerance)
    solve = ShapleySampling(n_samples, seed, tolerance)
    return shapley_analyzer(
        "shapley_sampling", config, solve, settings, groups, target, checks
    )


def c_shapley(
    wrapped: ModelWrapper,
    max_size: int = 3,
    diagonal: bool = False,
    segmenter: Any = "auto",
    segmenter_options: dict[str, Any] | None = None,
    baseline: Any = "auto",
    background: Any = None,
    groups: Any = None,
    scale: str = "auto",
    precision: str = "float32",
    target: Any = None,
) -> Analyzer:
    """Return an analyzer for a segment's contributions to small connected sets.

    The change of the output by a segment is averaged over the small connected sets of
    segments around it, in place of all sets: neighbours interact, distant ones do not.

    Segments of different inputs are no neighbours, so that no set has both.
    `extra` holds segments, coefficients (B, d), baseline_score and evaluations (B,).

    Args:
        wrapped: The wrapped model.
        max_size: Largest number of segments in a connected set. The weights of the
            sets are those of `CShapley`.
        diagonal: Segments of an image that share only a corner are neighbours, too: a
            cell of a grid has 8 neighbours in place of 4.
        segmenter: How inputs are segmented: a name ("grid" in the paper), an array of
            whole numbers or a function, as for `lime`; a list of them, one for each of
            several inputs.
        segmenter_options: Keyword arguments of the segmenter.
        baseline: What covers a segment. A name, a number or an array, as for `lime`.
        background: Examples like `x`, in place of a baseline: an array (m, ...), a
            `tf.data.Dataset`, or ("kmeans", 20, rows), the weighted centres of 20
            clusters. v(S) is the mean output over them, as in the package shap, and m
            times as many evaluations.
        groups: Columns that are kept and covered together, as a mapping from the name
            of a group to its columns, by number or by name (`features`). The columns of
            a group share its value equally: `e.sum_by(groups)` returns it. For several
            inputs a mapping from the name or number of an input to such mappings.
        scale: Scale of the explained output: "auto", "probability", "logit" or
            "log_odds"; see `output_scale.scaled`.
        precision: Precision of the model's evaluations: "float32" or "bfloat16".
        target: What to explain. None is the top class; see `Analyzer.analyze`.

    Returns:
        The analyzer.

    Raises:
        OptionError: An option is out of range, or there are too many connected sets.

    References:
        Chen et al. 2018, arXiv:1808.02610.
    """
    whole_number("max_size", max_size, 1)
    config = MaskingConfig(
        wrapped, segmenter, segmenter_options, baseline, scale, precision, background
    )
    settings: dict[str, Any] = {"max_size": max_size}
    one_of("diagonal", diagonal, (False, True))
    if diagonal:
        settings["diagonal"] = True
    solve = CShapley(max_size, diagonal)
    return shapley_analyzer("c_shapley", config, solve, settings, groups, target, None)


NEEDS = "any model, also a plain callable"
for _row in (
    MethodSpec("kernel_shap", "sampling",
        "Shapley values of segments, from a part of all subsets",
        NEEDS, "Lundberg and Lee 2017, arXiv:1705.07874", kernel_shap,
        formula="minimise sum over sets S of k(S) (v(S) - phi_0 - sum_{i in S} "
        "phi_i)^2; R = phi",
        limits='The result depends on the baseline or background, and on the '
        'segments; covered inputs are unlike all data. With few samples the values '
        'are noise: see extra["standard_error"].',
        also_in="SHAP (KernelExplainer), Captum, Xplique, Alibi, shapiq",
    ),
    MethodSpec("shapley_sampling", "sampling",
        "Shapley values of segments, by random orders",
        NEEDS, "Castro et al. 2009, Computers and Operations Research 36",
        shapley_sampling,
        formula="R_i = mean over orders of v(before i and i) - v(before i)",
        limits="It converges slowly: the error falls with the square root of "
        "n_samples. The result depends on the baseline or background.",
        also_in="SHAP (SamplingExplainer, PermutationExplainer), Captum, shapiq",
    ),
    MethodSpec("c_shapley", "sampling",
        "a segment's contributions to small connected sets of segments",
        NEEDS, "Chen et al. 2018, arXiv:1808.02610", c_shapley,
        formula="R_i = sum over connected sets U around i of w(|U|) (v(U) - v(U "
        "without i))",
        limits="Contributions of segments that are far apart, and act only together, "
        "are not seen. The values do not add up to the score.",
        also_in="the code of the authors",
        cost="evaluations of the model on all small connected sets of segments",
    ),
):  # fmt: skip
    register(_row)
