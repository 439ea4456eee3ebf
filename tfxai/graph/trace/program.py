"""A program read from TensorFlow's trace of a model."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from types import SimpleNamespace
from typing import Any, cast

import tensorflow as tf

from tfxai.base.errors import UnsupportedLayerError, first_line
from tfxai.base.tensors import Tensor
from tfxai.graph.fold import fold_batch_norm
from tfxai.graph.program import Program, _needed, _nonnegative, _strip
from tfxai.graph.step import Step
from tfxai.graph.trace.endings import with_sigmoid
from tfxai.graph.trace.flow import Trace, needed, trace
from tfxai.graph.trace.normal_form import NormalForm
from tfxai.graph.trace.reader import Reader
from tfxai.graph.trace.scopes import Scopes
from tfxai.graph.trace.steps import Steps
from tfxai.graph.trace.table import FIXED


@dataclass(frozen=True, eq=False)
class TracedProgram(Program):
    """A program for one shape of the inputs, with the batch left open.

    dtypes: what the inputs are read as. Steps may have the batch on any axis: several
    targets are explained one by one, over one forward pass.
    family: the programs for other shapes. axes: tensor -> the axis of its batch.
    numeric: the inputs whose tokens are looked up, and computed with as well.
    compiled: the function of the inputs that was traced; it returns the model's output.
    """

    dtypes: tuple[tf.DType, ...] = ()
    family: Any = None  # Shapes
    axes: Mapping[int, int] = field(default_factory=dict)
    numeric: frozenset[int] = frozenset()
    compiled: Any = None  # a ConcreteFunction

    @cached_property
    def elements(self) -> int:
        """The number of elements of the outputs of all steps, for one sample."""
        return sum(prod(s.shape) for s in self.steps if s.shape and None not in s.shape)

    def mixed(self, number: int) -> list[Step]:
        """Steps that read the tokens of input `number` otherwise than by lookup."""
        source = self.inputs[number]
        found = super().mixed(number)
        if source in self.numeric:
            found += [s for s in self.steps if s.kind == "fixed" and source in s.inputs]
        return found

    def batch_axis(self, number: int) -> int:
        """The axis of the batch in a tensor."""
        return self.axes.get(number, 0)

    def at(self, shapes: Iterable[Any]) -> "TracedProgram":
        """The program of the same model for other shapes of its inputs."""
        shapes = list(shapes)
        same = all(
            tuple(a)[1:] == b[1:]
            for a, b in zip(shapes, self.input_shapes, strict=True)
        )
        if same or self.family is None:
            return self
        return cast(TracedProgram, self.family.at(shapes, self.batch_norm))

    def entered(self, inputs: Iterable[Tensor]) -> dict[int, Tensor]:
        """The inputs, by id, as the model reads them."""
        triples = zip(self.inputs, inputs, self.dtypes, strict=True)
        return {i: tf.cast(x, dtype) for i, x, dtype in triples}


def traced_call(
    call: Callable[..., Any],
    specs: Sequence[tf.TensorSpec],
    output: int = 0,
    scopes: Scopes | None = None,
) -> Trace:
    """The trace of `call(*inputs)`. Raises UnsupportedLayerError."""
    try:
        return with_sigmoid(trace(call, specs, output, scopes))
    except UnsupportedLayerError:
        raise
    except Exception as error:
        model = None if scopes is None else scopes.model
        named = "" if model is None else f" {model.name!r} ({type(model).__name__})"
        shapes = [f"{s.dtype.name}{s.shape}" for s in specs]
        raise UnsupportedLayerError(
            f"TensorFlow cannot trace the model{named} for inputs {', '.join(shapes)}: "
            f"{type(error).__name__}: {first_line(error, 300)}",
            "a model of one argument: a tensor, or a list or dict of tensors",
            "keras.Model(inputs, model.call(*inputs))",
        ) from error


def program(
    traced: Trace,
    scopes: Scopes,
    output: int = 0,
    batch_norm: str = "fold",
    family: Any = None,
) -> TracedProgram:
    """The program of a trace; `family` has those for other shapes."""
    _check_reached(traced)
    form, made = NormalForm(traced, scopes), Steps(traced, scopes)
    for node in form.ordered(traced.output):
        made.add(node)
    steps, logits, finish, link = _strip(made.named(), traced.output)
    if batch_norm == "fold":
        steps = fold_batch_norm(steps, logits)
    steps = _needed(made.finished(steps), logits)
    types = [traced.types[i] for i in traced.inputs]
    shapes = tuple((None, *(t.dims or ())[1:]) for t in types)
    last = finish[-1].output if finish else logits
    shape = (None, *(traced.types[last].dims or ())[1:])
    known = _nonnegative(steps)
    return TracedProgram(
        traced.inputs, shapes, tuple(steps), logits, shape, link, finish, known,
        output, batch_norm, tuple(traced.entry(i) for i in traced.inputs), family,
        _axes(traced), traced.numeric, traced.kept,
    )  # fmt: skip


def ending_program(
    operations: list[tf.Operation], entry: Tensor, output: Tensor
) -> Program | None:
    """The program of a final softmax or sigmoid; None if the operations are none.

    operations: those of a graph that make `output` of `entry` and of constants.
    """
    if entry.shape.rank is None or not entry.dtype.is_floating:
        return None
    try:
        with tf.init_scope():  # its constants are read outside of the graph
            return _ending(operations, entry, output)
    except Exception:  # what cannot be read is no softmax or sigmoid that is known
        return None


def _ending(
    operations: list[tf.Operation], entry: Tensor, output: Tensor
) -> Program | None:
    """Return what `ending_program` does, or raise where an operation is not read."""
    reader = Reader()
    source = reader.fresh(entry.dtype, entry.shape)
    reader.inputs.add(source)
    reader.rows.add(source)
    graph = SimpleNamespace(
        inputs=[entry],
        outputs=[output],
        get_operations=lambda: operations,
        _get_function=entry.graph._get_function,
    )
    (last,) = reader.read(graph, [source])
    made = needed(reader.operations, last)
    traced = with_sigmoid(Trace(made, reader.types, (source,), last, {}))
    form, steps = NormalForm(traced), Steps(traced, Scopes(None))
    for node in form.ordered(last):
        steps.add(node)
    kept, logits, finish, link = _strip(steps.named(), last)
    if not finish:
        return None
    kept = _needed(steps.finished(kept), logits)
    shapes = tuple((None, *(traced.types[i].dims or ())[1:]) for i in (source, last))
    return Program(
        (source,), shapes[:1], tuple(kept), logits, shapes[1], link, finish, frozenset()
    )


def _axes(traced: Trace) -> dict[int, int]:
    """The first open axis of each value, where that is not the first; -1: none is."""
    dims = enumerate(t.dims for t in traced.types)
    other = {i: d for i, d in dims if d is not None and (not d or d[0] is not None)}
    return {i: d.index(None) if None in d else -1 for i, d in other.items()}


def _check_reached(traced: Trace) -> None:
    if traced.output in traced.carries:
        return
    fixed = [
        op.name for op in traced.operations
        if op.type in FIXED and traced.depends.intersection(op.inputs)
    ]  # fmt: skip
    raise UnsupportedLayerError(
        "No relevance can reach the input: the output depends on it only through whole "
        f"numbers, masks or operations without a slope (operations {fixed[:5]}).",
        "a model whose output changes smoothly with its inputs",
        "a model that begins behind these steps",
    )
