"""Heads: the relevance of the output, from which propagation starts.

A head is a function `(logits, target) -> seeds`:

- `logits` (B, ..., n) is an `Activation`. Write `logits * t`: then a rule that divides
  by the logits cancels exactly;
- `target` (T, B, ..., n) is one-hot; of one sigmoid z, (T, B, ..., 1), it is 1 for
  class 1 and -1 for class 0, whose logit is -z;
- the seeds, the relevance of the logits, are (T, B, ..., n), or several of them, as the
  two halves of CLRP. The head's `merge` combines the relevance of all seeds.

The published code of CLRP and SGLRP applies a ReLU to the logits f: its softmax is that
of max(f, 0), and a class with f <= 0 gets no seed. `relu_logits=True` does the same.
"""

# A product with a tensor has the type Any, since TensorFlow has no types:
# mypy: disable-error-code="no-any-return"

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any

import tensorflow as tf

from tfxai.base.errors import ModelError, OptionError
from tfxai.base.options import read_options
from tfxai.base.registry import Registry
from tfxai.base.tensors import Tensor, positive
from tfxai.base.validation import check_options
from tfxai.relevance.algebra import Activation, Relevance
from tfxai.relevance.registry import config_of, entry_of

#: (relevance of each seed, ...) -> relevance. All are lists of tensors (T, B, ...), one
#: per input of the model.
Merge = Callable[..., list[Tensor]]
#: Heads that start from max(f_t, 0), so that a logit f_t <= 0 has no relevance.
NONNEGATIVE = ("masked", "contrastive", "contrastive_difference")


@dataclass(frozen=True)
class Head:
    """The start of propagation, by name.

    Attributes:
        name: The name, also of a saved graph.
        function: (logits, target, **options) -> seeds; see the module.
        merge: The relevance of several seeds -> the relevance; None for one seed.
        needs_class: True if it sets one class against the others, so that no function
            of the outputs can take the place of a class.
        link: "softmax" for a head that starts from the gradient of a softmax; else "".
        options: Those that are given.
    """

    name: str
    function: Callable[..., Any]
    merge: Merge | None = None
    needs_class: bool = False
    link: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    def __call__(self, **options: Any) -> "Head":
        known = read_options(self.function)
        check_options(f"The head {self.name!r}", options, known)
        return replace(self, options={**self.options, **options})

    def get_config(self) -> list[Any]:
        """Return the head as plain data: its name and options."""
        return config_of(HEADS, self, self.options)

    def seeds(self, logits: Activation, target: Tensor) -> tuple[Any, int]:
        """Return the seeds, and how many there are per target.

        One seed is a `Relevance` or a tensor (T, B, ..., n); several are stacked along
        the first axis.

        Raises:
            ModelError: The seeds do not have the shape of `target`.
        """
        seeds = self.function(logits, target, **self.options)
        if isinstance(seeds, Relevance) and _of_rank(seeds, target.shape.rank):
            return seeds, 1
        several = list(seeds) if isinstance(seeds, tuple | list) else [seeds]
        formed = [self._shaped(s, target) for s in several]
        return formed[0] if len(formed) == 1 else tf.concat(formed, 0), len(formed)

    def merged_rows(self, rows: Tensor, parts: list[list[Tensor]]) -> Tensor:
        """Return sums (steps, T, B) of relevance, from those of all seeds.

        Args:
            rows: (steps, n T, B), the sums of each seed.
            parts: The relevance at the inputs, of each seed.

        Raises:
            OptionError: The head merges by a function of its own, and sums of its
                result do not follow from sums of its arguments.
        """
        ours, *others = tf.split(rows, len(parts), 1)
        if self.merge is not balanced_difference or len(others) != 1:
            raise OptionError(
                f"The head {self.name!r} merges several seeds by its own function, so "
                "that no table of losses follows from theirs.",
                "a head with one seed",
                'method="lrp"',
            )
        return ours - balance(*parts) * others[0]

    def _shaped(self, seed: Any, target: Tensor) -> Tensor:
        """A seed of the shape of `target`; (B, ..., n) is repeated for all targets."""
        if isinstance(seed, Relevance):
            seed = seed.tensor
        seed = tf.convert_to_tensor(seed)
        if seed.shape.rank and seed.shape.as_list() == target.shape.as_list():
            return seed
        try:
            return tf.broadcast_to(tf.cast(seed, target.dtype), tf.shape(target))
        except (ValueError, tf.errors.InvalidArgumentError) as error:
            raise ModelError(
                f"The head {self.name!r} returned a seed of shape {seed.shape} for "
                f"targets of shape {target.shape}.",
                "relevance of the outputs, (B, n), or (T, B, n) for T targets",
                "return logits * target",
            ) from error


HEADS: Registry[str, Head] = Registry("head")


def head(
    name: str,
    merge: Merge | None = None,
    needs_class: bool = False,
    link: str = "",
    replace: bool = False,
) -> Callable[[Callable[..., Any]], Head]:
    """Return a decorator that registers a function as the head `name`.

    Args:
        name: Name of the head.
        merge: Function that combines the relevance of several seeds; None for one.
        needs_class: True if the head contrasts one class with the others, so that no
            function of the outputs can replace the class.
        link: Function behind the logits whose gradient the head takes: "softmax", or ""
            for none.
        replace: Exchange a head of the same name; else that is an OptionError.
    """

    def put(function: Callable[..., Any]) -> Head:
        made = Head(name, function, merge, needs_class, link)
        return HEADS.register(name, made, replace)

    return put


def of_tensors(
    name: str,
    function: Callable[..., Any],
    merge: Merge | None = None,
    needs_class: bool = False,
    link: str = "",
) -> Head:
    """Return the head of a function that receives the logits as a tensor.

    Arguments as for `head`. It is not registered.
    """

    @wraps(function)
    def seeds(logits: Activation, target: Tensor, **options: Any) -> Any:
        result = function(tf.convert_to_tensor(logits), target, **options)
        if isinstance(result, tuple | list) and len(result) > 1 and merge is None:
            raise OptionError(
                f"The head {name!r} returned {len(result)} seeds, and has no merge.",
                "a function of the relevance of each seed",
                "merge=extend.balanced_difference",
            )
        return result

    return Head(name, seeds, merge, needs_class, link)


def configurable(head: Head) -> Callable[..., Head]:
    """Return a function of a head's options that returns the head with them."""

    def build(**options: Any) -> Head:
        return head(**options) if options else head

    known = [
        inspect.Parameter(o.name, inspect.Parameter.KEYWORD_ONLY, default=o.default)
        for o in read_options(head.function).values()
    ]
    build.__signature__ = inspect.Signature(known)  # type: ignore[attr-defined]
    build.__doc__ = head.function.__doc__
    return build


def find(value: Any) -> Head:
    """Return a head.

    Args:
        value: A head, the name of one, or a function `(logits, target) -> seed`.
    """
    if isinstance(value, Head):
        return value
    if callable(value):
        return of_tensors(getattr(value, "__name__", "head"), value)
    return HEADS[value]


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


def _of_rank(seeds: Relevance, rank: int) -> bool:
    """True if relevance has the axes (T, B, ...)."""
    parts = (seeds.ratio, seeds.plain)
    return all(p is None or p[0].shape.rank == rank for p in parts)


def split_seeds(maps: list[Tensor], n_seeds: int) -> list[list[Tensor]]:
    """Return the relevance (T, B, ...) of each seed, from that of all (n T, B, ...)."""
    parts = [tf.split(m, n_seeds) for m in maps]
    return [list(p) for p in zip(*parts, strict=True)]


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
    """Return the head of a config.

    Raises:
        UnknownNameError: The head is not registered; the error says what to import.
    """
    return entry_of(HEADS, config)(**config[1])


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
    """max(f_t, 0) at the target: deep Taylor decomposes non-negative functions.

    A target function has the weights t = dT/df, of any sign: max(f t, 0).
    """
    f = tf.convert_to_tensor(logits)
    return logits * tf.where(f * target > 0, target, tf.zeros_like(target))


def signed_difference(function: Callable[..., Any]) -> Callable[..., Tensor]:
    """Return a head with one signed seed, the difference of `function`'s two halves.

    Relevance is linear in the seed, so that one backward pass is enough.
    """

    @wraps(function)
    def signed(logits: Activation, target: Tensor, **options: Any) -> Tensor:
        halves = function(logits, target, **options)
        return halves[0] - halves[1] if isinstance(halves, tuple) else halves

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
) -> tuple[Tensor, Tensor] | Tensor:
    """p_t (1 - p_t) at the target; p_t p_j at every other class j.

    This is the gradient of p_t with respect to the logits, in two non-negative halves.
    Of one sigmoid it is p (1 - p) for class 1 and -p (1 - p) for class 0, one seed.
    1 - p_t is computed as the sum over the other classes, so that a p_t that rounds to
    1 leaves a small seed and not zero.

    Args:
        relu_logits: Use max(f, 0) as logits; a class with f <= 0 gets no seed.
    """
    f, alive = _logits_and_mask(logits, relu_logits)
    if f.shape.rank < 2 or f.shape[-1] == 1:
        z = target * tf.convert_to_tensor(logits)
        seed = target * tf.sigmoid(z) * tf.sigmoid(-z)
        return tf.where(z > 0, seed, tf.zeros_like(seed)) if relu_logits else seed
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
