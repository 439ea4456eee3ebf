"""Heads: the relevance of the output, from which propagation starts.

A head is a function `(logits, target) -> seeds`:

- `logits` (B, ..., n) is an `Activation`. Write `logits * t`: then a rule that divides
  by the logits cancels exactly;
- `target` (T, B, ..., n) is one-hot;
- the seeds, the relevance of the logits, are (T, B, ..., n), or a pair of such halves.
  The head's `merge` combines the relevance of the two halves.

The published code of CLRP and SGLRP applies a ReLU to the logits f: its softmax is that
of max(f, 0), and a class with f <= 0 gets no seed. `relu_logits=True` does the same.
"""

# A product with a tensor has the type Any, since TensorFlow has no types:
# mypy: disable-error-code="no-any-return"

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any

import tensorflow as tf

from tfxai.base.errors import OptionError
from tfxai.base.tensors import Tensor, positive
from tfxai.relevance.algebra import Activation, Relevance

#: (relevance of the first half, of the second half) -> relevance, per model input.
Merge = Callable[[list[Tensor], list[Tensor]], list[Tensor]]


@dataclass(frozen=True)
class Head:
    """A head with its name and options.

    Args:
        name: Name of the head.
        function: Function `(logits, target, **options) -> seeds`.
        merge: Function that combines the relevance of two halves; None for one seed.
        needs_class: True if the head contrasts one class with the others, so that no
            function of the outputs can replace the class.
        link: Function behind the logits whose gradient the head takes: "softmax", or ""
            for none.
        options: Options of `function`.
    """

    name: str
    function: Callable[..., Any]
    merge: Merge | None = None
    needs_class: bool = False
    link: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    def __call__(self, **options: Any) -> "Head":
        return replace(self, options={**self.options, **options})

    def get_config(self) -> list[Any]:
        """Return the head as plain data: its name and options."""
        if HEADS.get(self.name) is None or HEADS[self.name].function != self.function:
            raise OptionError(
                f"The head {self.name!r} is not registered, so it cannot be saved.",
                "a registered head",
                f"from tfxai.relevance.heads import head, and then "
                f'@head("{self.name}") above its function',
            )
        return [self.name, dict(self.options)]

    def seeds(self, logits: Activation, target: Tensor) -> Any:
        """Return the relevance of the logits, two halves stacked as (2, T, B, ..., n).

        Args:
            logits: Logits (B, ..., n).
            target: One-hot targets (T, B, ..., n).
        """
        seeds = self.function(logits, target, **self.options)
        return tf.stack(seeds) if isinstance(seeds, tuple) else seeds


HEADS: dict[str, Head] = {}


def head(
    name: str,
    merge: Merge | None = None,
    needs_class: bool = False,
    link: str = "",
) -> Callable[[Callable[..., Any]], Head]:
    """Return a decorator that registers a function as the head `name`.

    Args:
        name: Name of the head.
        merge: Function that combines the relevance of two halves; None for one seed.
        needs_class: True if the head contrasts one class with the others, so that no
            function of the outputs can replace the class.
        link: Function behind the logits whose gradient the head takes: "softmax", or ""
            for none.
    """

    def put(function: Callable[..., Any]) -> Head:
        HEADS[name] = Head(name, function, merge, needs_class, link)
        return HEADS[name]

    return put


def balanced_difference(target: list[Tensor], dual: list[Tensor]) -> list[Tensor]:
    """Return A - k B, k = sum A / sum B: the sum of the result is 0.

    The sums of each target and sample run over all inputs. Where sum B is 0, k is 0
    and the result is A.

    Args:
        target: Relevance A of the target's half, (T, B, ...) for each model input.
        dual: Relevance B of the other half, of the same shapes.
    """
    k = balance(target, dual)
    return [a - _broadcastable(k, b) * b for a, b in zip(target, dual, strict=True)]


def balance(target: list[Tensor], dual: list[Tensor]) -> Tensor:
    """Return k = sum A / sum B, (T, B)."""
    return tf.math.divide_no_nan(_total(target), _total(dual))


def _total(relevance: list[Tensor]) -> Tensor:
    """Return the sum (T, B) of relevance (T, B, ...) over all inputs."""
    sums = [tf.reduce_sum(r, list(range(2, len(r.shape)))) for r in relevance]
    return tf.add_n(sums)


def _broadcastable(k: Tensor, v: Tensor) -> Tensor:
    """Return k (T, B) with the rank of v (T, B, ...)."""
    return tf.reshape(k, tf.concat([tf.shape(k), [1] * (len(v.shape) - 2)], 0))


def from_config(config: list[Any]) -> Head:
    """Return the head of a config."""
    return HEADS[config[0]](**config[1])


@head("one_hot")
def one_hot(logits: Activation, target: Tensor) -> Relevance:
    """f_t at the target t, f the logits.

    References:
        Bach et al. 2015.
    """
    return logits * target


@head("unit")
def unit(logits: Activation, target: Tensor) -> Tensor:
    """1 at the target: the seed of a gradient."""
    return target


@head("masked")
def masked(logits: Activation, target: Tensor) -> Relevance:
    """max(f_t, 0) at the target: deep Taylor decomposes non-negative functions."""
    return logits.positive * target


def signed_difference(function: Callable[..., Any]) -> Callable[..., Tensor]:
    """Return a head with one signed seed, the difference of `function`'s two halves.

    Relevance is linear in the seed, so that one backward pass is enough.
    """

    @wraps(function)
    def signed(logits: Activation, target: Tensor, **options: Any) -> Tensor:
        target_half, dual_half = function(logits, target, **options)
        return target_half - dual_half

    return signed


def contrast(
    logits: Activation, target: Tensor, *, relu_logits: bool = False
) -> tuple[Tensor, Tensor]:
    """max(f_t, 0) at the target; the same amount, divided evenly, at the other classes.

    Args:
        relu_logits: Use max(f, 0) as logits; a class with f <= 0 gets no seed.
    """
    f, alive = _logits_and_mask(logits, relu_logits)
    n = tf.cast(tf.shape(f)[-1], f.dtype)
    f_t = tf.reduce_sum(target * positive(f), -1, keepdims=True)
    here = tf.reduce_max(target, -1, keepdims=True)
    others = here * (1 - target) * tf.math.divide_no_nan(f_t, n - 1)
    return f_t * target, others * alive


def probability_gradient(
    logits: Activation, target: Tensor, *, relu_logits: bool = False
) -> tuple[Tensor, Tensor]:
    """p_t (1 - p_t) at the target; p_t p_j at every other class j.

    This is the gradient of p_t with respect to the logits, in two non-negative halves.
    1 - p_t is computed as the sum over the other classes, so that a p_t that rounds to
    1 leaves a small seed and not zero.

    Args:
        relu_logits: Use max(f, 0) as logits; a class with f <= 0 gets no seed.
    """
    f, alive = _logits_and_mask(logits, relu_logits)
    p = tf.nn.softmax(f)
    p_t = tf.reduce_sum(p * target, -1, keepdims=True)
    others = (1 - target) * p * p_t
    return target * tf.reduce_sum(others, -1, keepdims=True) * alive, others * alive


def _logits_and_mask(logits: Activation, relu: bool) -> tuple[Tensor, Any]:
    """Return the logits, and a mask (or 1) of the classes that can get a seed."""
    f = tf.convert_to_tensor(logits)
    return (positive(f), tf.cast(f > 0, f.dtype)) if relu else (f, 1.0)


#: CLRP, Gu et al. 2018, section 3: the target minus the mean of the other classes.
contrastive = head("contrastive", balanced_difference, needs_class=True)(contrast)
#: CLRP without rescaling.
contrastive_difference = head("contrastive_difference", needs_class=True)(
    signed_difference(contrast)
)
#: SGLRP, Iwana et al. 2019, section 3: the gradient of the target's probability.
softmax_gradient = head(
    "softmax_gradient", balanced_difference, needs_class=True, link="softmax"
)(probability_gradient)
#: SGLRP without rescaling.
softmax_gradient_difference = head(
    "softmax_gradient_difference", needs_class=True, link="softmax"
)(signed_difference(probability_gradient))
