"""Any gradient, path, CAM or relevance analyzer, asked about noisy copies of x.

    tfxai.create_analyzer("smoothgrad", model, of="sglrp", n=50, noise=0.1)

The classes that are explained are those of the clean input. The noise is made inside
the graph; draw number i is the same for every sample, whatever the batch.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.errors import ModelError, OptionError
from tfxai.base.tensors import Tensor, size
from tfxai.core.analyzer import Analyzer
from tfxai.core.embedding_cut import Function, scored
from tfxai.core.inputs import compiled, signature
from tfxai.core.model import ModelWrapper
from tfxai.core.registry import build, lookup
from tfxai.gradient.base import row
from tfxai.gradient.paths import check_count


def _mean(one: list, two: list, n: int) -> list:
    return [a / n for a in one]


def _mean_square(one: list, two: list, n: int) -> list:
    return [b / n for b in two]


def _variance(one: list, two: list, n: int) -> list:
    return [b / n - tf.square(a / n) for a, b in zip(one, two, strict=True)]


def smooth(
    name: str,
    finish: Callable[[list, list, int], list],
    wrapped: ModelWrapper,
    of: str = "gradient",
    of_options: Mapping | None = None,
    n: int = 25,
    noise: float = 0.15,
    seed: int = 0,
    target: Any = None,
    centred: bool = False,
) -> Analyzer:
    """`finish` of the sums of R and of R squared over n noisy copies.

    of, of_options: the analyzer that makes R, and its options.
    noise: the standard deviation, in units of each sample's own range (max - min).
    centred: see `_sums`.
    """
    check_count("n", n)
    number = isinstance(noise, int | float) and not isinstance(noise, bool)
    if not number or not 0 <= noise < np.inf:
        raise OptionError(f"noise={noise!r}.", "a number of at least 0")
    if lookup(of).family not in ("gradient", "path", "cam", "relevance"):
        raise OptionError(
            f"of={of!r} asks outside a compiled graph, where the noise is made.",
            "an analyzer of the families gradient, path, cam or relevance",
            'of="integrated_gradients"',
        )
    for option in ("target", "jit_compile"):
        if option in (of_options or {}):
            raise OptionError(
                f"of_options={{{option!r}: ...}}.",
                f"options of {of!r} that change its maps; what is explained is one for "
                "all draws",
                f'create_analyzer("{name}", model, of={of!r}, target=...)',
            )
    wrapped.check_differentiable()
    inner = build(of, wrapped, dict(of_options or {}))

    def make(inputs: list, function: Function, one: bool) -> Callable:
        whole = [s.dtype.is_integer for s in signature(wrapped.specs, inputs)]
        if any(whole) or any(wrapped.entrance(inputs).tokens):
            raise ModelError(
                f"{name} adds noise to the input, and tokens are whole numbers, as are "
                "pictures of a model whose input is.",
                'inputs of floats, keras.Input(..., dtype="float32")',
                f"create_analyzer({of!r}, model)",
            )
        ask = inner.make(inputs, function, one)

        def maps(max_batch: Tensor, target: Tensor, *xs: Tensor) -> dict[str, Any]:
            outputs = wrapped.outputs_of(wrapped.prepared(list(xs)))
            score, target = scored(outputs, target, function)
            draws = _Draws(list(xs), noise, seed)
            sums = _sums(ask, draws, target, n, max_batch, centred)
            return {"relevance": finish(*sums, n), "score": score, "target": target}

        goal = tf.TensorSpec((None, 1 if one else None), tf.int32)
        specs = [tf.TensorSpec((), tf.int32), goal, *signature(wrapped.specs, inputs)]
        run = compiled(maps, specs)
        return lambda batch, target, max_batch: run(max_batch, target, *batch)

    options = {"of": of, "n": n, "noise": noise, "seed": seed}
    options["of_options"] = dict(of_options or {})
    return Analyzer(name, wrapped, make, target, options)


class _Draws:
    """Noisy copies of inputs (B, ...); draw i does not depend on how they are cut."""

    def __init__(self, inputs: list[Tensor], noise: float, seed: int) -> None:
        self.inputs, self.seed = [tf.cast(x, tf.float32) for x in inputs], seed
        self.spreads = []
        for x in self.inputs:
            axes = list(range(1, len(x.shape)))
            high, low = (
                f(x, axes, keepdims=True) for f in (tf.reduce_max, tf.reduce_min)
            )
            self.spreads.append(noise * (high - low))

    def __call__(self, i: Tensor) -> list[Tensor]:
        """Draws i (k,) of every sample, merged: (k B, ...)."""
        copies = []
        for number, (x, spread) in enumerate(
            zip(self.inputs, self.spreads, strict=True)
        ):
            shape = size(x, 1)
            drawn = tf.map_fn(
                lambda j, number=number, shape=shape: tf.random.stateless_normal(
                    shape, [self.seed + 7919 * number, j]
                ),
                i,
                fn_output_signature=tf.float32,
            )
            noisy = x + spread * drawn[:, None]
            copies.append(tf.reshape(noisy, [-1, *shape]))
        return copies


def _sums(
    ask: Callable,
    draws: _Draws,
    target: Tensor,
    n: int,
    max_batch: Tensor,
    centred: bool,
) -> tuple[list, list]:
    """The sums over n draws of R, and of R squared, (T, B, ...) for each map.

    centred: of R minus the mean of the first draws, where only differences count.
    """
    batch, targets = size(target)
    per = tf.maximum(max_batch // (batch * targets), 1)

    def asked(start: Tensor) -> list[Tensor]:
        """The maps (T, k, B, ...) of the draws from `start` on."""
        i = tf.range(start, tf.minimum(start + per, n))
        (k,) = size(i)
        maps = ask(draws(i), tf.tile(target, [k, 1]), max_batch)["relevance"]
        return [tf.reshape(m, [targets, k, batch, *size(m, 2)]) for m in maps]

    first = asked(tf.constant(0))
    middles = [tf.reduce_mean(m, 1, keepdims=True) if centred else 0.0 for m in first]

    def sums(maps: list[Tensor]) -> tuple[list, list]:
        moved = [m - c for m, c in zip(maps, middles, strict=True)]
        return (
            [tf.reduce_sum(m, 1) for m in moved],
            [tf.reduce_sum(tf.square(m), 1) for m in moved],
        )

    def more(done: Tensor, one: list, two: list) -> tuple:
        made = sums(asked(done))
        one, two = (
            [tf.ensure_shape(a + b, a.shape) for a, b in zip(*pair, strict=True)]
            for pair in zip((one, two), made, strict=True)
        )
        return done + per, one, two

    start = (per, *sums(first))
    _, one, two = tf.while_loop(
        lambda done, *_: done < n, more, start, parallel_iterations=1
    )
    return one, two


@row(
    "smoothgrad", "noise", "the mean of another's maps under noise",
    "Smilkov et al. 2017, arXiv:1706.03825", forwards=(smooth,), internal=("centred",),
)  # fmt: skip
def smoothgrad(wrapped: ModelWrapper, **options: Any) -> Analyzer:
    """mean R(x + noise); options as in `smooth`."""
    return smooth("smoothgrad", _mean, wrapped, **options)


@row(
    "squaregrad", "noise", "the mean square of another's maps under noise",
    "Hooker et al. 2019, arXiv:1806.10758", forwards=(smooth,), internal=("centred",),
)  # fmt: skip
def squaregrad(wrapped: ModelWrapper, **options: Any) -> Analyzer:
    """mean R(x + noise)^2; options as in `smooth`."""
    return smooth("squaregrad", _mean_square, wrapped, **options)


@row(
    "vargrad", "noise", "the variance of another's maps under noise",
    "Adebayo et al. 2018, arXiv:1810.03292", forwards=(smooth,), internal=("centred",),
)  # fmt: skip
def vargrad(wrapped: ModelWrapper, **options: Any) -> Analyzer:
    """mean (R(x + noise) - mean R)^2; options as in `smooth`."""
    return smooth("vargrad", _variance, wrapped, centred=True, **options)
