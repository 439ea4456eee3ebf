"""The heads: where relevance starts, and how the maps of several seeds become one.

A head is a function `(logits, target) -> seeds`. `logits` (B, ..., n) is a `Activation`
(write `logits * t`, and a rule that divides by the logits cancels exactly), `target`
(T, B, ..., n) is one-hot. The seeds are (T, B, ..., n), or a pair of such halves, whose
maps the head's `merge` makes one again.

The published code of CLRP and SGLRP put a ReLU on the logits: its softmax is that of
max(f, 0), and a class with f <= 0 gets no seed. `relu_logits=True` does the same.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any

import tensorflow as tf

from tfxai.base.errors import OptionError
from tfxai.base.tensors import Tensor, positive
from tfxai.relevance.algebra import Activation

Merge = Callable[[list[Tensor], list[Tensor]], list[Tensor]]


@dataclass(frozen=True)
class Head:
    """A named head: its function, its options, and the merge of its two halves."""

    name: str
    function: Callable
    merge: Merge | None = None
    needs_class: bool = False
    link: str = ""
    options: dict = field(default_factory=dict)

    def __call__(self, **options: Any) -> "Head":
        return replace(self, options={**self.options, **options})

    def get_config(self) -> list:
        """The head as plain data: its name and options."""
        if HEADS.get(self.name) is None or HEADS[self.name].function != self.function:
            raise OptionError(
                f"The head {self.name!r} is not registered, so it cannot be saved.",
                "a head that has a name of its own",
                f"from tfxai.relevance.heads import head, and then "
                f'@head("{self.name}") above its function',
            )
        return [self.name, dict(self.options)]

    def seeds(self, logits: Activation, target: Tensor) -> Any:
        """What the relevance of the logits starts from."""
        seeds = self.function(logits, target, **self.options)
        return tf.stack(seeds) if isinstance(seeds, tuple) else seeds


HEADS: dict[str, Head] = {}


def head(
    name: str,
    merge: Merge | None = None,
    needs_class: bool = False,
    link: str = "",
) -> Callable[[Callable], Head]:
    """Make a function the head `name`.

    needs_class: does it set one class against the others, so that no function of the
        outputs can take the class's place? link: the function behind the logits whose
        slope it takes, "softmax"; "" if it takes none.
    """

    def put(function: Callable) -> Head:
        HEADS[name] = Head(name, function, merge, needs_class, link)
        return HEADS[name]

    return put


def balanced_difference(ours: list[Tensor], theirs: list[Tensor]) -> list[Tensor]:
    """A - k B, k = sum A / sum B per map: the two halves cancel in the sum.

    Lists hold one (T, B, ...) tensor per input of the model; sums run over all inputs
    and all axes but the first two. Where sum B is 0, there is no k and A stays alone.
    """
    k = balance(ours, theirs)
    return [a - _fit(k, b) * b for a, b in zip(ours, theirs, strict=True)]


def balance(ours: list[Tensor], theirs: list[Tensor]) -> Tensor:
    """k = sum A / sum B, (T, B)."""
    return tf.math.divide_no_nan(_total(ours), _total(theirs))


def _total(maps: list[Tensor]) -> Tensor:
    return tf.add_n([tf.reduce_sum(m, list(range(2, len(m.shape)))) for m in maps])


def _fit(k: Tensor, v: Tensor) -> Tensor:
    return tf.reshape(k, tf.concat([tf.shape(k), [1] * (len(v.shape) - 2)], 0))


def from_config(config: list) -> Head:
    """The head of a config."""
    return HEADS[config[0]](**config[1])


@head("one_hot")
def one_hot(logits: Activation, target: Tensor):
    """The target's logit, f_t. Bach et al. 2015."""
    return logits * target


@head("unit")
def unit(logits: Activation, target: Tensor):
    """1 at the target: the start of a gradient."""
    return target


@head("masked")
def masked(logits: Activation, target: Tensor):
    """max(f_t, 0) at the target, as Deep Taylor asks of what it decomposes."""
    return logits.positive * target


def difference(function: Callable) -> Callable:
    """One signed seed for two halves: relevance is linear in it, one pass is enough."""

    @wraps(function)
    def signed(logits: Activation, target: Tensor, **options: Any) -> Tensor:
        ours, theirs = function(logits, target, **options)
        return ours - theirs

    return signed


def contrast(logits: Activation, target: Tensor, *, relu_logits=False):
    """f_t at the target; the same amount, shared evenly, at all other classes."""
    f, alive = _read(logits, relu_logits)
    n = tf.cast(tf.shape(f)[-1], f.dtype)
    f_t = tf.reduce_sum(target * positive(f), -1, keepdims=True)
    here = tf.reduce_max(target, -1, keepdims=True)
    others = here * (1 - target) * tf.math.divide_no_nan(f_t, n - 1)
    return f_t * target, others * alive


def probability_gradient(logits: Activation, target: Tensor, *, relu_logits=False):
    """p_t (1 - p_t) at the target, p_t p_j at every other class j.

    The gradient of p_t by the logits, in two non-negative parts. 1 - p_t is summed from
    the other classes, so that a p_t that rounds to 1 leaves a small seed and not zero.
    """
    f, alive = _read(logits, relu_logits)
    p = tf.nn.softmax(f)
    p_t = tf.reduce_sum(p * target, -1, keepdims=True)
    others = (1 - target) * p * p_t
    return target * tf.reduce_sum(others, -1, keepdims=True) * alive, others * alive


def _read(logits: Activation, relu: bool) -> tuple[Tensor, Any]:
    """The logits, and a mask of the classes that may get a seed."""
    f = tf.convert_to_tensor(logits)
    return (positive(f), tf.cast(f > 0, f.dtype)) if relu else (f, 1.0)


#: CLRP, Gu et al. 2018, section 3: the target against the even mean of the others.
contrastive = head("contrastive", balanced_difference, needs_class=True)(contrast)
#: CLRP without rescaling.
contrastive_difference = head("contrastive_difference", needs_class=True)(
    difference(contrast)
)
#: SGLRP, Iwana et al. 2019, section 3: the gradient of the target's probability.
softmax_gradient = head(
    "softmax_gradient", balanced_difference, needs_class=True, link="softmax"
)(probability_gradient)
#: SGLRP without rescaling.
softmax_gradient_difference = head(
    "softmax_gradient_difference", needs_class=True, link="softmax"
)(difference(probability_gradient))
