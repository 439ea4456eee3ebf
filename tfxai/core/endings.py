"""The last step of a model whose other steps cannot be read: softmax or sigmoid.

TensorFlow's own graph of the model tells it, so that the logits are explained as those
of any other model, with TensorFlow's own gradient.
"""

from collections.abc import Callable, Sequence

import tensorflow as tf

from tfxai.base.tensors import Tensor
from tfxai.graph.program import Program
from tfxai.graph.step import Step

#: Type of the last operation -> the link, and the function that it computes.
ENDINGS: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {
    "Softmax": ("softmax", tf.nn.softmax),
    "LogSoftmax": ("log_softmax", tf.nn.log_softmax),
    "Sigmoid": ("sigmoid", tf.sigmoid),
}
_ALIASES = ("Identity", "Cast")


def last_of(outputs: Tensor) -> tf.Operation | None:
    """Return the softmax or sigmoid that makes a tensor of a graph, or None."""
    op = outputs.op
    while op.type in _ALIASES and op.inputs and op.inputs[0].dtype.is_floating:
        op = op.inputs[0].op
    return op if op.type in ENDINGS else None


def without_ending(call: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return the function `call(inputs)` without its final softmax or sigmoid."""

    def logits(inputs: list[Tensor]) -> Tensor:
        outputs = call(inputs)
        last = last_of(outputs)
        return outputs if last is None else tf.cast(last.inputs[0], tf.float32)

    result: Callable[..., Tensor] = tf.function(logits, autograph=False)
    return result


def ending_of(
    call: Callable[..., Tensor], specs: Sequence[tf.TensorSpec], output: int
) -> Program | None:
    """Return a program of the last step alone; None where it is another one.

    Args:
        call: (flat inputs) -> the explained output.
        specs: The specs of the inputs.
        output: The number of that output.
    """

    def answer(*inputs: Tensor) -> Tensor:
        return call(list(inputs))

    try:
        concrete = tf.function(answer, autograph=False).get_concrete_function(*specs)
    except Exception:  # a model of Python code, or of sizes that are not known
        return None
    (outputs,) = concrete.outputs[:1]
    source = concrete.graph.outputs[0]
    last = last_of(source)
    if last is None:
        return None
    link, function = ENDINGS[last.type]
    shape = tuple(outputs.shape.as_list()) if outputs.shape.rank else ()
    step = Step(
        "last", "softmax" if "soft" in link else "activation",
        lambda v: function(v[0]), layer=link, shape=shape[1:], inputs=(0,), output=1,
    )  # fmt: skip
    return Program((), (), (), 0, shape, link, (step,), frozenset(), output)
