"""Reads a program from TensorFlow's trace of a model."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import tensorflow as tf

from tfxai.base.errors import UnsupportedLayerError, first_line
from tfxai.base.tensors import Tensor
from tfxai.graph.fold import fold_batch_norm
from tfxai.graph.program import Program
from tfxai.graph.step import MOVES, Step
from tfxai.graph.trace.endings import with_sigmoid
from tfxai.graph.trace.flow import Trace, needed
from tfxai.graph.trace.normal_form import NormalForm
from tfxai.graph.trace.reader import Reader
from tfxai.graph.trace.scopes import Scopes
from tfxai.graph.trace.steps import Steps
from tfxai.graph.trace.table import FIXED
from tfxai.graph.trace.tracing import trace


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
) -> Program:
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
    return Program(
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
        (source,), shapes[:1], tuple(kept), logits, shapes[1], link, finish,
        frozenset(), dtypes=(tf.float32,),
    )  # fmt: skip


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


def _strip(
    steps: list[Step], output: int
) -> tuple[list[Step], int, tuple[Any, ...], str]:
    """Take a final softmax or sigmoid off, also behind steps that only move values.

    The steps that are left, the explained tensor, the steps that were taken off, and
    the link. A softmax over another axis than the last stays: "answer".
    """
    made_by = {s.output: s for s in steps}
    behind: list[Step] = []
    step = made_by.get(output)
    while step is not None and step.kind in MOVES and len(step.inputs) == 1:
        behind.insert(0, step)
        step = made_by.get(step.inputs[0])
    if step is None or step.layer not in ("softmax", "log_softmax", "sigmoid"):
        whole = step is not None and step.kind == "softmax"
        return steps, output, (), "answer" if whole else "linear"
    finish = (step, *behind)
    steps = [s for s in steps if s is not step]
    if not behind:
        return steps, step.inputs[0], finish, step.layer
    moved = replace(behind[0], inputs=step.inputs)
    left = [moved if s is behind[0] else s for s in steps]
    return left, output, finish, step.layer


def _needed(steps: list[Step], output: int) -> list[Step]:
    """Only the steps on which the output depends."""
    wanted, kept = {output}, []
    for step in reversed(steps):
        if step.output in wanted:
            wanted.update(step.inputs)
            kept.append(step)
    return kept[::-1]


def _nonnegative(steps: list[Step]) -> frozenset[int]:
    """The tensors that cannot be negative, whatever the weights."""
    known: set[int] = set()
    for step in steps:
        kept = step.nonnegative == "kept" and known.issuperset(step.inputs)
        if step.nonnegative == "yes" or kept:
            known.add(step.output)
    return frozenset(known)
