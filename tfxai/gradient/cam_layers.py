"""The layers whose activations a class activation map weights, and their gradients."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from tfxai.base.cache import Cache
from tfxai.base.errors import ModelError, OptionError, TargetError
from tfxai.base.tensors import Tensor, positive, size
from tfxai.core.embedding_cut import gradients_of, select_scores
from tfxai.core.layer_choice import steps_of
from tfxai.core.model import ModelWrapper
from tfxai.core.target_functions import on_program
from tfxai.core.targets import explained_outputs
from tfxai.gradient.base import GradientContext
from tfxai.gradient.resize import RESIZES, resized
from tfxai.gradient.token_grids import TokenGrid, is_of_tokens, token_grids
from tfxai.graph.private import layers_within
from tfxai.graph.program import Program
from tfxai.graph.step import MOVES, Step

Shape = tuple[Any, ...]
#: For how many shapes of inputs sites are kept.
SHAPES = 8
#: (explained outputs (B, ...), scores (B, T), targets (B, T)) -> the numbers (B, T)
#: whose gradient is taken.
Utility = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Site:
    """The output of a step that is laid over input `number`.

    Attributes:
        number: The number of the input.
        step: The step.
        grid: Where its tokens are; None where the output has spatial axes.
        frames: The steps of a layer that is called for each frame apart, as inside
            `TimeDistributed`; empty for one step.
    """

    number: int
    step: Step
    grid: TokenGrid | None = None
    frames: tuple[Step, ...] = ()

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps whose outputs are laid over the input."""
        return self.frames or (self.step,)

    def joined(self, parts: list[Tensor], axis: int) -> Tensor:
        """Return one tensor of those of `steps`, whose axis `axis` is the frames."""
        return tf.stack(parts, axis) if self.frames else parts[0]

    def value(self, values: dict[int, Tensor]) -> Tensor:
        """Return the activations (B, ..., C)."""
        return self.joined([values[s.output] for s in self.steps], 1)

    def known(self, v: Tensor) -> dict[int, Tensor]:
        """Return the tensors of the steps for activations (B, ..., C)."""
        parts = tf.unstack(v, len(self.frames), 1) if self.frames else [v]
        return {s.output: p for s, p in zip(self.steps, parts, strict=True)}

    def spatial(self, v: Tensor, axis: int) -> Tensor:
        """Return a tensor with spatial axes in place of its axis of tokens."""
        return v if self.grid is None else self.grid.spread(v, axis)


class CamLayers:
    """The selected layers of a model, with their activations and gradients."""

    def __init__(self, wrapped: ModelWrapper, layer: Any, resize: str) -> None:
        # In the "rule" program, each layer has an output of its own.
        self._wrapped, self._program = wrapped, wrapped.program("rule")
        if not isinstance(resize, str) or resize not in RESIZES:
            raise OptionError(f"resize={resize!r}.", f"one of {list(RESIZES)}")
        self.resize = RESIZES[resize]
        self._layers = list(layer) if isinstance(layer, list | tuple) else [layer]
        if not self._layers:
            raise OptionError("layer=[].", "one layer or more", "layer=-2")
        if len(self._layers) > 1 and resize == "none":
            raise OptionError(
                f'resize="none" with {len(self._layers)} layers.',
                "one size for the mean over the layers",
                'resize="linear"',
            )
        self._own = self._select(self._program)
        self._found = Cache(SHAPES)

    def _select(self, program: Program) -> list[list[Site]]:
        return [select(program, self._wrapped.model, v) for v in self._layers]

    def at(self, context: GradientContext) -> tuple[Program, list[Site]]:
        """Return the program for the sizes of the inputs, and the sites in it."""
        shapes = [v.shape for v in context.model_inputs]
        program = self._program
        if all(s.rank is not None and None not in s[1:] for s in shapes):
            program = program.at(shapes)
        found = self._own
        if program is not self._program:
            found = self._found.get(program, lambda: self._select(program))
        return program, [site for sites in found for site in sites]

    @property
    def layer(self) -> Any:
        """The name of the step; a list where there are several inputs or layers."""
        names: list[Any] = []
        for sites in self._own:
            by_input = {s.number: s.steps[0].name for s in sites}
            inputs = range(len(self._program.inputs))
            names.append([by_input.get(i) for i in inputs])
        if len(self._program.inputs) == 1:
            names = [n for (n,) in names]
        return names[0] if len(names) == 1 else names

    def activations(self, context: GradientContext) -> list[Tensor]:
        """Return the activations A (B, ..., C) of each site."""
        program, sites = self.at(context)
        values = program.run(context.model_inputs)
        return [s.spatial(s.value(values), 1) for s in sites]

    def activations_and_gradients(
        self, context: GradientContext, utility: Utility | None = None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return A (B, ..., C) and d f_t / d A (T, B, ..., C) of each site.

        Sets `score` and `target` of the context.

        Args:
            context: The context of the batch.
            utility: What to differentiate in place of the score of a class.
        """
        program, sites = self.at(context)
        numbers = [[s.output for s in site.steps] for site in sites]
        flat = [n for part in numbers for n in part]
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            values = program.run(context.model_inputs, seen=watching(tape, {*flat}))
            number = explained(program, values, context, utility)
        found = gradients_of(tape, number, [values[n] for n in flat])
        slopes = dict(zip(flat, found, strict=True))
        g = [
            s.spatial(s.joined([slopes[n] for n in part], 2), 2)
            for s, part in zip(sites, numbers, strict=True)
        ]
        return [s.spatial(s.value(values), 1) for s in sites], g

    def resized_to_inputs(
        self, maps: list[Tensor], context: GradientContext, relu: bool | str
    ) -> list[Tensor]:
        """Return maps (T, B, ...) as relevance (T, B, ..., 1) of the inputs' sizes.

        With several layers it is the mean of their maps. An input without a layer gets
        zeros.

        Args:
            maps: A map for each site.
            context: The context of the batch.
            relu: True keeps positive values of the resized maps, "layer" resizes the
                positive values of the maps.
        """
        pairs = list(zip(self.at(context)[1], maps, strict=True))
        relevance = []
        for number, x in enumerate(context.model_inputs):
            mine = [m for site, m in pairs if site.number == number]
            if not mine:
                relevance.append(tf.zeros([size(context.target)[1], *size(x)]))
                continue
            mine = [positive(m) for m in mine] if relu == "layer" else mine
            parts = [resized(m, size(x)[1:-1], self.resize) for m in mine]
            r = parts[0] if len(parts) == 1 else tf.add_n(parts) / len(parts)
            relevance.append(positive(r[..., None]) if relu else r[..., None])
        return relevance


def watching(tape: tf.GradientTape, numbers: set[int]) -> Callable[[int, Tensor], None]:
    """Return a function for `Program.run` that lets a tape watch tensors."""

    def watch(number: int, value: Tensor) -> None:
        if number in numbers:
            tape.watch(value)

    return watch


def explained(
    program: Program,
    values: dict[int, Tensor],
    context: GradientContext,
    utility: Utility | None = None,
    slope: bool = True,
) -> Tensor:
    """Return the numbers (B, T) to differentiate; set `score` and `target`.

    slope: Whether a target function needs a gradient.
    """
    number, context.score, context.target = scored(
        program, values, context, context.target, utility, slope
    )
    return number


def scored(
    program: Program,
    values: dict[int, Tensor],
    context: GradientContext,
    target: Tensor,
    utility: Utility | None = None,
    slope: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the numbers to differentiate, the scores and the targets, all (B, T).

    Args:
        program: The steps of the model.
        values: Their tensors.
        context: The context of the batch.
        target: Class indices (B, T), -1 for the top class.
        utility: Computes the numbers; None takes the scores.
        slope: Whether a target function needs a gradient.

    Raises:
        TargetError: There is a utility, and the target is a function.
    """
    if utility is not None and context.target_fn is not None:
        raise TargetError(
            "The method compares one class with the others, and a target function "
            "selects no class.",
            "a class index",
            'method="gradcam", or target=340',
        )
    outputs = explained_outputs(program, values[program.output])
    function = on_program(context.target_fn, program)
    score, target = select_scores(outputs, target, function, slope)
    number = score if utility is None else utility(outputs, score, target)
    return number, score, target


def of_classes(outputs: Tensor, target: Tensor) -> Tensor:
    """Return the outputs of all classes (B, T, n) where each target is.

    Args:
        outputs: Explained outputs (B, ..., n), of n classes.
        target: Indices (B, T) into the flattened outputs of a sample.
    """
    n = outputs.shape[-1]
    rows = tf.reshape(outputs, [size(outputs)[0], -1, n])
    return tf.gather(rows, target // n, batch_dims=1)


def check_relu(relu: Any) -> None:
    """Raise OptionError unless `relu` is False, True or "layer"."""
    if not isinstance(relu, bool) and not (isinstance(relu, str) and relu == "layer"):
        raise OptionError(
            f"relu={relu!r}.",
            'False, True, or "layer" for the positive values before resizing',
            "relu=True",
        )


def select(program: Program, model: Any, layer: Any) -> list[Site]:
    """Return the step for each input whose output is resized to that input.

    For several inputs, this is the last step that depends on that input alone, or else
    the last that depends on it at all. An input without spatial axes has none.

    Args:
        program: The steps of the model.
        model: The model.
        layer: See `steps_of`. None selects the last step with spatial axes; where
            tokens other than patches leave the network, the last step with patches
            that an attention reads.

    Raises:
        ModelError: No input has such a step.
        UnknownNameError, OptionError: See `steps_of`.
    """
    if layer is None:
        end = _output_steps(program)
        steps = [s for s in program.steps if s.kind != "fixed" and s not in end]
    else:
        steps = steps_of(program, model, layer)
    found = [
        site
        for i, shape in enumerate(program.input_shapes)
        if (
            site := _last_spatial(program, steps, i, shape, layer is None)
            or _every_frame(program, steps, model, i, shape)
        )
    ]
    if not found:
        names = ", ".join(s.name for s in steps[-5:])
        raise ModelError(
            f"The inputs have shapes {list(program.input_shapes)}, and none of the "
            f"layers ({names}) keeps their spatial axes.",
            "images, volumes or series, and a layer with an output of their rank, or "
            "with a token for each patch",
            'layer="..." (analyzer.coverage() of "lrp.epsilon" lists them)',
        )
    return found


def _last_spatial(
    program: Program, steps: list[Step], number: int, shape: Shape, by_default: bool
) -> Site | None:
    """Return the last step with positions of input `number` that depends on it."""
    reads, rank = program.reads, len(shape) - 1
    tokens = token_grids(program, number)
    grids, sites = tokens.grids, []
    for s in steps:
        if s.output in tokens.windows:
            continue
        spatial = len(s.shape) == rank and rank > 1 and _has_positions(s.shape)
        grid = grids.get(s.output)
        if spatial and not program.batch_axis(s.output):
            before = (
                [grids[i] for i in _above(program, s) if i in grids] if grids else []
            )
            if not is_of_tokens(s, before):
                sites.append(Site(number, s))
        elif grid is not None:
            sites.append(Site(number, s, grid))
    dependent = [s for s in sites if number in reads[s.step.output]]
    alone = [s for s in dependent if len(reads[s.step.output]) == 1]
    found = alone or dependent
    if by_default and found and found[-1].grid and found[-1].grid.has_others:
        attended = _attended(program)
        found = [s for s in found if s.step.output in attended] or found
    return found[-1] if found else None


def _every_frame(
    program: Program, steps: list[Step], model: Any, number: int, shape: Shape
) -> Site | None:
    """Return the last layer inside `TimeDistributed` with positions in each frame.

    Such a layer is called once for each frame of an input (B, frames, ..., C), in their
    order.
    """
    if not isinstance(model, keras.Model) or len(shape) < 4:
        return None
    inner = layers_within(model)
    wrappers = {v.name for v in inner if isinstance(v, keras.layers.TimeDistributed)}
    calls: dict[Any, list[Step]] = {}
    for s in steps:
        path = s.names[1].partition(":")[0].split("@")[0]
        framed = (
            wrappers.intersection(path.split("/")) and len(s.shape) == len(shape) - 2
        )
        if framed and _has_positions(s.shape) and number in program.reads[s.output]:
            calls.setdefault((path, s.shape), []).append(s)
    sites = []
    for found in calls.values():
        each, rest = divmod(len(found), shape[1] or 0) if shape[1] else (0, 1)
        if not rest and not any(program.batch_axis(s.output) for s in found):
            frames = tuple(found[each - 1 :: each])  # the last step of each call
            sites.append(Site(number, frames[-1], frames=frames))
    order = {s.output: i for i, s in enumerate(program.steps)}
    return max(sites, key=lambda s: order[s.step.output], default=None)


def _above(program: Program, step: Step) -> set[int]:
    """Return the tensors that a step depends on."""
    wanted = set(step.inputs)
    for s in reversed(program.steps):
        if s.output in wanted:
            wanted.update(s.inputs)
    return wanted


def _attended(program: Program) -> set[int]:
    """Return the tensors that the last attention depends on; none without attention."""
    softmax = [s for s in program.steps if s.kind == "softmax"]
    return _above(program, softmax[-1]) if softmax else set()


def _has_positions(shape: Shape) -> bool:
    """Return True if the spatial axes hold more than one position."""
    return any(n is None or n > 1 for n in shape[:-1])


def _output_steps(program: Program) -> list[Step]:
    """Return the step that computes the output, and those that only rearrange it."""
    by_output = {s.output: s for s in program.steps}
    step, end = by_output.get(program.output), []
    while step is not None:
        end.append(step)
        step = by_output.get(step.inputs[0]) if step.kind in MOVES else None
    return end
