"""SmoothGrad and variants: statistics of a base method over noisy copies of the input.

    tfxai.create_analyzer(
        "smoothgrad", model, base_method="sglrp", n_samples=50, noise=0.1
    )

The explained classes are those of the input without noise. The noise is sampled inside
the compiled graph; draw number i is the same for every sample and batch size.
"""

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from tfxai.base.errors import ModelError, OptionError
from tfxai.base.tensors import Tensor, positive
from tfxai.base.validation import at_least, whole_number
from tfxai.core.analyzer import Analyzer
from tfxai.core.compilation import compiled, compiling_by_xla
from tfxai.core.embedding_cut import TargetFn, select_scores
from tfxai.core.inputs import signature
from tfxai.core.layer_cut import layer_cut
from tfxai.core.model import ModelWrapper
from tfxai.core.registry import build, lookup
from tfxai.gradient.base import row
from tfxai.gradient.noise import NoisyCopies, error_of_mean, interval, sum_moments

#: Families whose methods run inside one compiled graph, where the noise is sampled.
FAMILIES = ("gradient", "path", "cam", "relevance")

#: (sums of R - c, sums of its square, c, number of draws) -> relevance.
Statistic = Callable[[list[Tensor], list[Tensor], list[Tensor], int], list[Tensor]]


def _mean(
    sums: list[Tensor], squares: list[Tensor], centres: list[Tensor], n: int
) -> list[Tensor]:
    """Return the mean of R."""
    return [c + a / n for a, c in zip(sums, centres, strict=True)]


def _mean_square(
    sums: list[Tensor], squares: list[Tensor], centres: list[Tensor], n: int
) -> list[Tensor]:
    """Return the mean of R squared, where c is 0."""
    return [b / n for b in squares]


def _variance(
    sums: list[Tensor], squares: list[Tensor], centres: list[Tensor], n: int
) -> list[Tensor]:
    """Return the variance of R."""
    return [b / n - tf.square(a / n) for a, b in zip(sums, squares, strict=True)]


def smooth(
    name: str,
    statistic: Statistic,
    wrapped: ModelWrapper,
    base_method: str = "gradient",
    base_options: Mapping[str, Any] | None = None,
    n_samples: int = 25,
    noise: float = 0.15,
    seed: int = 0,
    target: Any = None,
    centred: bool = False,
    relu: bool = False,
) -> Analyzer:
    """Return an analyzer of a statistic of R over noisy copies of the input.

    Args:
        name: Name of the method.
        statistic: Function of the sums of R, the sums of R squared and `n_samples`.
        wrapped: The model.
        base_method: Method that computes R.
        base_options: Options of the base method.
        n_samples: Number of random draws.
        noise: Standard deviation, in units of each sample's range (max - min).
        seed: Seed of the noise.
        target: Default target of `analyze`.
        centred: Subtract the mean of the first draws before summing; see `sum_moments`.
        relu: Keep positive values of the result only.

    Raises:
        OptionError: An option is out of range, or the base method does not run inside
            a compiled graph.
    """
    base_options = dict(base_options or {})
    _check_options(name, base_method, base_options, n_samples, noise)
    wrapped.check_differentiable()
    base = build(base_method, wrapped, base_options)
    inner = base.inner

    def make(
        inputs: list[Any], target_fn: TargetFn, single_target: bool
    ) -> Callable[..., Any]:
        input_specs = signature(wrapped.specs, inputs)
        _check_floats(name, base_method, wrapped, inputs, input_specs)
        base_relevance = base.make(inputs, target_fn, single_target)
        at = base.options["at"] if inner else None
        cut = layer_cut(wrapped, at, inputs) if inner else None

        def explain(max_batch: Tensor, target: Tensor, *xs: Tensor) -> dict[str, Any]:
            outputs = wrapped.outputs_of(wrapped.prepared(list(xs)))
            score, target = select_scores(outputs, target, target_fn)
            draws = NoisyCopies(list(xs), noise, seed)
            sums, squares, centres = sum_moments(
                base_relevance, draws, target, n_samples, max_batch, centred
            )
            relevance = statistic(sums, squares, centres, n_samples)
            errors = {}
            if statistic is _mean:
                found = [
                    error_of_mean(tf.maximum(b - a * a / n_samples, 0.0), n_samples)
                    for a, b in zip(sums, squares, strict=True)
                ]
                errors = interval(relevance, found, n_samples - 1)
            if relu:
                relevance = [positive(r) for r in relevance]
            result = {"relevance": relevance, "score": score, "target": target}
            if cut is not None:
                result["each"] = {
                    "values": cut.to_points(wrapped.prepared(list(xs)))[0]
                }
            return result | errors

        target_spec = tf.TensorSpec((None, 1 if single_target else None), tf.int32)
        specs = [tf.TensorSpec((), tf.int32), target_spec, *input_specs]
        with compiling_by_xla(False):  # XLA draws other numbers from the same seed
            run = compiled(explain, specs)
        return lambda batch, target, max_batch: run(max_batch, target, *batch)

    options = {
        "base_method": base_method,
        "base_options": base_options,
        "n_samples": n_samples,
        "noise": noise,
        "seed": seed,
        **({"relu": True} if relu else {}),
    }
    made = Analyzer(name, wrapped, make, target, options)
    made.inner = inner
    made.per_sample = base.per_sample
    return made


def _check_options(
    name: str,
    base_method: str,
    base_options: dict[str, Any],
    n_samples: Any,
    noise: Any,
) -> None:
    """Raise OptionError for options out of range and unsuitable base methods."""
    whole_number("n_samples", n_samples, 1)
    at_least("noise", noise, 0)
    if lookup(base_method).family not in FAMILIES:
        raise OptionError(
            f"base_method={base_method!r} evaluates the model outside a compiled "
            "graph, and the noise is sampled inside one.",
            f"a method of the families {', '.join(FAMILIES[:-1])} or {FAMILIES[-1]}",
            'base_method="integrated_gradients"',
        )
    check_base_options(name, base_method, base_options)


def check_base_options(name: str, method: str, options: Mapping[str, Any]) -> None:
    """Raise OptionError for options that do not change the relevance of a method."""
    for option in ("target", "jit_compile", "recompute"):
        if option in options:
            raise OptionError(
                f"base_options={{{option!r}: ...}}.",
                f"options of {method!r} that change its relevance; all draws have "
                "the same target",
                f'create_analyzer("{name}", model, base_method={method!r}, target=...)',
            )


def _check_floats(
    name: str, base_method: str, wrapped: ModelWrapper, inputs: list[Any], specs: Any
) -> None:
    """Raise ModelError for tokens and for inputs of an integer dtype."""
    integer = any(s.dtype.is_integer for s in specs)
    if integer or any(wrapped.embedding_cut(inputs).tokens):
        raise ModelError(
            f"{name} adds noise to the input, and the model takes whole numbers: "
            "tokens or integer images.",
            'inputs of floats, keras.Input(..., dtype="float32")',
            f"create_analyzer({base_method!r}, model)",
        )


@row(
    "smoothgrad", "noise", "the mean of a base method's relevance under noise",
    "Smilkov et al. 2017, arXiv:1706.03825",
    formula="R = mean over n of R_base(x + n), n ~ N(0, noise^2)",
    limits="Much noise explains inputs unlike all data; little noise removes nothing. "
    "Details finer than the noise disappear.",
    also_in="iNNvestigate, Zennit, Captum, Xplique, tf-keras-vis, saliency, "
    "tf-explain",
)  # fmt: skip
def smoothgrad(
    wrapped: ModelWrapper,
    base_method: str = "gradient",
    base_options: Mapping[str, Any] | None = None,
    n_samples: int = 25,
    noise: float = 0.15,
    seed: int = 0,
    target: Any = None,
    relu: bool = False,
) -> Analyzer:
    """Return an analyzer of the mean of R(x + noise).

    The base method, by default the gradient, explains noisy copies of the input. What
    differs between the copies cancels in the mean of their maps.

    extra["standard_error"], "interval_low" and "interval_high" (B, ...), of 95 %, are
    those of the mean (before `relu`), of several inputs "standard_error_0" and so on.

    Args:
        wrapped: The model.
        base_method: Method that computes R. It belongs to one of the families gradient,
            path, cam and relevance.
        base_options: Options of the base method, a dict.
        n_samples: Number of noisy copies of each input.
        noise: Standard deviation of the noise, in units of each sample's range
            (max - min).
        seed: Seed of the noise.
        target: Default target of `analyze`.
        relu: Keep positive values of the mean only, as the SGLRP repository.

    References:
        Smilkov et al. 2017, arXiv:1706.03825.
    """
    return smooth("smoothgrad", _mean, wrapped, base_method, base_options, n_samples,
                  noise, seed, target, centred=True, relu=relu)  # fmt: skip


@row(
    "squaregrad", "noise", "the mean square of a base method's relevance under noise",
    "Hooker et al. 2019, arXiv:1806.10758",
    formula="R = mean over n of R_base(x + n)^2, n ~ N(0, noise^2)",
    limits="It has no sign, so evidence against the class looks like evidence for it.",
    also_in="Captum, Xplique, saliency (magnitude=True)",
)  # fmt: skip
def squaregrad(
    wrapped: ModelWrapper,
    base_method: str = "gradient",
    base_options: Mapping[str, Any] | None = None,
    n_samples: int = 25,
    noise: float = 0.15,
    seed: int = 0,
    target: Any = None,
) -> Analyzer:
    """Return an analyzer of the mean of R(x + noise)^2.

    Large values count more than in `smoothgrad`, and opposite signs do not cancel.

    Args:
        wrapped: The model.
        base_method: Method that computes R. It belongs to one of the families gradient,
            path, cam and relevance.
        base_options: Options of the base method, a dict.
        n_samples: Number of noisy copies of each input.
        noise: Standard deviation of the noise, in units of each sample's range
            (max - min).
        seed: Seed of the noise.
        target: Default target of `analyze`.

    References:
        Hooker et al. 2019, arXiv:1806.10758.
    """
    return smooth("squaregrad", _mean_square, wrapped, base_method, base_options,
                  n_samples, noise, seed, target)  # fmt: skip


@row(
    "vargrad", "noise", "the variance of a base method's relevance under noise",
    "Adebayo et al. 2018, arXiv:1810.03292",
    formula="R = variance over n of R_base(x + n), n ~ N(0, noise^2)",
    limits="It has no sign. An input with a large and constant gradient gets 0.",
    also_in="Captum, Xplique",
)  # fmt: skip
def vargrad(
    wrapped: ModelWrapper,
    base_method: str = "gradient",
    base_options: Mapping[str, Any] | None = None,
    n_samples: int = 25,
    noise: float = 0.15,
    seed: int = 0,
    target: Any = None,
) -> Analyzer:
    """Return an analyzer of the variance of R(x + noise).

    It shows where the relevance of the base method changes most under noise.

    Args:
        wrapped: The model.
        base_method: Method that computes R. It belongs to one of the families gradient,
            path, cam and relevance.
        base_options: Options of the base method, a dict.
        n_samples: Number of noisy copies of each input.
        noise: Standard deviation of the noise, in units of each sample's range
            (max - min).
        seed: Seed of the noise.
        target: Default target of `analyze`.

    References:
        Adebayo et al. 2018, arXiv:1810.03292.
    """
    return smooth("vargrad", _variance, wrapped, base_method, base_options, n_samples,
                  noise, seed, target, centred=True)  # fmt: skip
