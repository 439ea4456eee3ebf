"""The last step of a model whose other steps cannot be read: softmax or sigmoid.

TensorFlow's own graph of the model shows it, so that the logits are explained as those
of any other model, with TensorFlow's own gradient.
"""

from collections.abc import Callable, Sequence

import tensorflow as tf

from tfxai.base.tensors import Tensor
from tfxai.graph.program import Program
from tfxai.graph.step import Step
from tfxai.graph.trace.program import ending_program

#: Type of the last operation -> the link, and the function that it computes.
ENDINGS: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {
    "Softmax": ("softmax", tf.nn.softmax),
    "LogSoftmax": ("log_softmax", tf.nn.log_softmax),
    "Sigmoid": ("sigmoid", tf.sigmoid),
}
_ALIASES = ("Identity", "Cast")
#: The most operations that a softmax or sigmoid is searched in.
MOST = 32
#: Types of operations that are no part of a softmax or sigmoid, however it is written.
_OUTSIDE = frozenset({"Placeholder", "BiasAdd"})


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
        if last is not None:
            return tf.cast(last.inputs[0], tf.float32)
        found = _written(outputs)
        if found is None:
            return outputs
        entry, program = found
        return tf.cast(program.run([entry])[program.output], tf.float32)

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
        found = _written(source)
        return None if found is None else found[1]
    link, function = ENDINGS[last.type]
    shape = tuple(outputs.shape.as_list()) if outputs.shape.rank else ()
    step = Step(
        "last", "softmax" if "soft" in link else "activation",
        lambda v: function(v[0]), layer=link, shape=shape[1:], inputs=(0,), output=1,
    )  # fmt: skip
    return Program((), (), (), 0, shape, link, (step,), frozenset(), output)


def _written(outputs: Tensor) -> tuple[Tensor, Program] | None:
    """A softmax or sigmoid that several operations write: its entry, and its steps.

    The operations behind the output are taken one by one; whenever they read one value
    alone, besides constants, they are tried. The largest ones that are found count:
    the shift by the maximum belongs to a softmax.
    """
    order = {op.name: i for i, op in enumerate(outputs.graph.get_operations())}
    held: set[str] = set()
    ways, found = {outputs.ref()}, None
    while ways and len(held) < MOST:
        last = max(ways, key=lambda t: order[t.deref().op.name])
        op = last.deref().op
        if op.type in _OUTSIDE or len(op.outputs) != 1:
            break
        held.add(op.name)
        ways.remove(last)
        for value in op.inputs:
            constants = _constants(value)
            if constants is None:
                ways.add(value.ref())
            else:
                held |= constants
        if len(ways) == 1:
            (entry,) = (t.deref() for t in ways)
            operations = [o for o in outputs.graph.get_operations() if o.name in held]
            program = ending_program(operations, entry, outputs)
            found = found if program is None else (entry, program)
    return found


def _constants(value: Tensor) -> set[str] | None:
    """The names of the operations that make a constant; None for another value."""
    names, todo = set(), [value.op]
    while todo:
        op = todo.pop()
        if not op.inputs and op.type != "Const":
            return None
        if op.name not in names:
            names.add(op.name)
            todo += [t.op for t in op.inputs]
    return names
