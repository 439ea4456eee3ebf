"""Class activation maps: what an inner layer says, weighted, laid over the input.

A map has one channel, (B, height, width, 1), and is signed: `relu=True` keeps what
speaks for the class, as most of the papers do. The layer is the last one with the
input's spatial axes, also inside a nested model; `layer=` names another.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfxai.base.errors import ModelError, OptionError
from tfxai.base.tensors import Tensor, positive, size
from tfxai.core.analyzer import Analyzer
from tfxai.core.embedding_cut import pulled, scored
from tfxai.core.model import ModelWrapper
from tfxai.core.registry import build as build_analyzer
from tfxai.gradient.base import Asked, analyzer, row
from tfxai.gradient.resize import RESIZES, resized
from tfxai.graph.program import Program
from tfxai.graph.step import MOVES, Step

NEEDS = "a Keras model made of Keras layers and ops, with spatial axes inside"
OPTIONS = "layer relu"
ALL = f"{OPTIONS} resize jit_compile"
SELVARAJU = "Selvaraju et al. 2017, arXiv:1610.02391"


# -- which layer ---------------------------------------------------------------------


def layers_of(program: Program, layer: str | None) -> list[Step | None]:
    """The step whose output is laid over each input; None for one without spatial axes.

    For several inputs, the last step that depends on that input alone, or else the last
    that depends on it at all. Raises ModelError where there is none at all.
    """
    end = _ending(program)
    steps = [s for s in program.steps if s.kind != "fixed" and s not in end]
    if layer is not None:
        steps = [s for s in program.steps if layer in (*s.names, s.call.split("@")[0])]
        steps = steps or [program.find(layer)]
    found = [
        _fitting(program, steps, i, shape)
        for i, shape in enumerate(program.input_shapes)
    ]
    if not any(found):
        names = ", ".join(s.name for s in steps[-5:])
        raise ModelError(
            f"The inputs have shapes {list(program.input_shapes)}, and no layer asked "
            f"about ({names}) keeps their spatial axes.",
            "pictures, volumes or series, and a layer with an output of their rank",
            'layer="..." (analyzer.coverage() of "lrp.epsilon" lists them)',
        )
    return found


def _fitting(
    program: Program, steps: list[Step], number: int, shape: tuple
) -> Step | None:
    reads, rank = program.reads, len(shape) - 1
    spatial = [s for s in steps if len(s.shape) == rank and rank > 1 and _wide(s.shape)]
    seen = [s for s in spatial if number in reads[s.output]]
    alone = [s for s in seen if len(reads[s.output]) == 1]
    found = alone or seen
    return found[-1] if found else None


def _wide(shape: tuple) -> bool:
    """Is there more than one place?"""
    return any(n is None or n > 1 for n in shape[:-1])


def _ending(program: Program) -> list[Step]:
    """The step that makes the output, and those that only move what it makes."""
    made = {s.output: s for s in program.steps}
    step, end = made.get(program.output), []
    while step is not None:
        end.append(step)
        step = made.get(step.inputs[0]) if step.kind in MOVES else None
    return end


# -- weights -------------------------------------------------------------------------


def _places(v: Tensor) -> list[int]:
    """The spatial axes of (T, B, ..., C)."""
    return list(range(2, len(v.shape) - 1))


def mean_slope(a: Tensor, g: Tensor) -> Tensor:
    """w_c = mean of d f_t / d A_c over all places; eq. 1."""
    return tf.reduce_mean(g, _places(g), keepdims=True)


def plus_plus(a: Tensor, g: Tensor) -> Tensor:
    """w_c = sum of alpha_c relu(g_c), alpha = g^2 / (2 g^2 + sum(A_c) g^3); eq. 19.

    As in the paper for A >= 0, behind a ReLU; elsewhere alpha can be of either sign.
    """
    total = tf.reduce_sum(a, _places(g), keepdims=True)
    alpha = tf.math.divide_no_nan(1.0, 2 + total * g)
    return tf.reduce_sum(alpha * positive(g), _places(g), keepdims=True)


def each_place(a: Tensor, g: Tensor) -> Tensor:
    """w_c = relu(g_c), place by place; eq. 6."""
    return positive(g)


# -- analyzers -----------------------------------------------------------------------


class Cam:
    """What the chosen layers of a network say, laid over its inputs."""

    def __init__(self, wrapped: ModelWrapper, layer: str | None, resize: str) -> None:
        self.program = wrapped.program("rule")  # each layer has an output of its own
        if not isinstance(resize, str) or resize not in RESIZES:
            raise OptionError(f"resize={resize!r}.", f"one of {list(RESIZES)}")
        self.resize = RESIZES[resize]
        self.steps = layers_of(self.program, layer)

    @property
    def layer(self) -> Any:
        """The step's name, or one for each input."""
        names = [s and s.name for s in self.steps]
        return names[0] if len(names) == 1 else names

    def activations(self, asked: Asked) -> list[Tensor]:
        """A (B, ..., C) for each input."""
        values = self.program.run(asked.seen)
        return [values[s.output] for s in self.steps if s is not None]

    def slopes(self, asked: Asked) -> tuple[list[Tensor], list[Tensor]]:
        """A (B, ..., C) and d f_t / d A (T, B, ..., C) for each input with a layer."""
        wanted = {s.output for s in self.steps if s is not None}
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:

            def seen(number: int, value: Tensor) -> None:
                if number in wanted:
                    tape.watch(value)

            values = self.program.run(asked.seen, seen=seen)
            outputs = values[self.program.output]
            asked.score, asked.target = scored(outputs, asked.target, asked.function)
        a = [values[s.output] for s in self.steps if s is not None]
        return a, pulled(tape, asked.score, a)

    def laid_over(self, maps: list[Tensor], asked: Asked, relu: bool) -> list[Tensor]:
        """(T, B, ...) -> (T, B, ..., 1) of the inputs' sizes; else zeros."""
        rest, made = iter(maps), []
        for step, x in zip(self.steps, asked.seen, strict=True):
            if step is None:
                made.append(tf.zeros([size(asked.target)[1], *size(x)]))
                continue
            m = positive(next(rest)) if relu else next(rest)
            made.append(resized(m, size(x)[1:-1], self.resize)[..., None])
        return made


def build(
    name: str,
    weigh: Callable[[Tensor, Tensor], Tensor],
    wrapped: ModelWrapper,
    layer: str | None = None,
    relu: bool = False,
    resize: str = "linear",
    target: Any = None,
    jit_compile: bool = False,
    times: Callable | None = None,
) -> Analyzer:
    """sum over c of weigh(A, dA)_c A_c, laid over the input.

    layer: its name; None finds the last with spatial axes. relu: only what is positive.
    resize: "linear" (with anti-aliasing, where a map is made smaller), "nearest", or
        "none": the map keeps the size of its layer.
    times: (asked) -> relevance that the map is multiplied with.
    """
    wrapped.check_differentiable()
    cam = Cam(wrapped, layer, resize)

    def explain(asked: Asked) -> dict[str, Any]:
        pairs = zip(*cam.slopes(asked), strict=True)
        maps = [tf.reduce_sum(weigh(v[None], g) * v, -1) for v, g in pairs]
        made = cam.laid_over(maps, asked, relu)
        if times is not None:
            made = [m * r for m, r in zip(made, times(asked), strict=True)]
        return {"relevance": made, "score": asked.score, "target": asked.target}

    options = {"layer": cam.layer, "relu": relu}
    return analyzer(name, wrapped, explain, target, options, jit_compile)


@row("gradcam", "cam", "an inner layer, weighted by its mean slopes", SELVARAJU,
     ALL, NEEDS)  # fmt: skip
def gradcam(wrapped: ModelWrapper, **options: Any) -> Analyzer:
    """Grad-CAM; with several inputs, a map each (the SGLRP repository's MultiGradCAM).

    Options as in `build`.
    """
    return build("gradcam", mean_slope, wrapped, **options)


@row("gradcam_plus_plus", "cam", "an inner layer, weighted by its positive slopes",
     "Chattopadhay et al. 2018, arXiv:1710.11063", ALL, NEEDS,
)  # fmt: skip
def gradcam_plus_plus(wrapped: ModelWrapper, **options: Any) -> Analyzer:
    """Grad-CAM++ of the logit; options as in `build`."""
    return build("gradcam_plus_plus", plus_plus, wrapped, **options)


@row("layercam", "cam", "an inner layer, weighted place by place",
     "Jiang et al. 2021, doi:10.1109/TIP.2021.3089943", ALL, NEEDS,
)  # fmt: skip
def layercam(wrapped: ModelWrapper, **options: Any) -> Analyzer:
    """LayerCAM; options as in `build`."""
    return build("layercam", each_place, wrapped, **options)


@row("guided_gradcam", "cam", "Grad-CAM times guided backpropagation", SELVARAJU,
     ALL, NEEDS)  # fmt: skip
def guided_gradcam(wrapped: ModelWrapper, **options: Any) -> Analyzer:
    """Grad-CAM times guided backprop, a map like the input; options as in `build`."""
    if options.get("resize") == "none":
        raise OptionError(
            'guided_gradcam with resize="none".',
            "a map of the input's size, to multiply with",
            'resize="nearest"',
        )
    guided = build_analyzer("guided_backprop", wrapped, {})

    def times(asked: Asked) -> list[Tensor]:
        graph = guided.graph_for(asked.function)
        return graph.propagate(asked.seen, asked.target)["relevance"]

    return build("guided_gradcam", mean_slope, wrapped, times=times, **options)


@row("scorecam", "cam", "an inner layer's channels as masks, weighted by the answer",
     "Wang et al. 2020, arXiv:1910.01279", OPTIONS, NEEDS)  # fmt: skip
def scorecam(
    wrapped: ModelWrapper,
    layer: str | None = None,
    relu: bool = False,
    target: Any = None,
) -> Analyzer:
    """sum over c of w_c A_c, w = softmax over c of f_t(x * H_c); eq. 7 and 8.

    H_c is A_c laid over the input, then scaled to [0, 1]. One forward pass for each
    channel.
    """
    wrapped.check_differentiable()
    cam = Cam(wrapped, layer, "linear")

    def explain(asked: Asked) -> dict[str, Any]:
        asked.resolve()
        numbers = [i for i, s in enumerate(cam.steps) if s is not None]
        made = []
        for number, a in zip(numbers, cam.activations(asked), strict=True):
            scores = tf.nn.softmax(_masked(asked, number, a, cam.resize), 0)
            w = tf.transpose(scores, [2, 1, 0])  # (T, B, C)
            w = tf.reshape(w, [*size(w)[:2], *[1] * (len(a.shape) - 2), size(w)[2]])
            made.append(tf.reduce_sum(w * a, -1))
        maps = cam.laid_over(made, asked, relu)
        return {"relevance": maps, "score": asked.score, "target": asked.target}

    options = {"layer": cam.layer, "relu": relu}
    return analyzer("scorecam", wrapped, explain, target, options)


def _masked(asked: Asked, number: int, a: Tensor, resize: Callable) -> Tensor:
    """f_t(x * H_c) for all channels c, (C, B, T)."""
    x = asked.points[number]
    sizes, channels = size(x)[1:-1], a.shape[-1]
    channel_first = tf.transpose(a, [len(a.shape) - 1, *range(len(a.shape) - 1)])
    per = tf.maximum(asked.max_batch // asked.batch, 1)

    def ask(done: Tensor, kept: Tensor) -> tuple:
        part = resized(channel_first[done : done + per], sizes, resize)
        k, places = size(part)[0], list(range(2, len(part.shape)))
        low, high = (
            f(part, places, keepdims=True) for f in (tf.reduce_min, tf.reduce_max)
        )
        seen = x * tf.math.divide_no_nan(part - low, high - low)[..., None]
        points = [tf.tile(p, [k, *[1] * (len(p.shape) - 1)]) for p in asked.points]
        points[number] = tf.reshape(seen, [-1, *size(x, 1)])
        inputs = [tf.tile(v, [k, *[1] * (len(v.shape) - 1)]) for v in asked.seen]
        target = tf.tile(asked.target, [k, 1])
        made, _ = asked.entry.scores(points, inputs, target, asked.function)
        made = tf.reshape(made, [k, asked.batch, -1])
        return done + per, tf.concat([kept, made], 0)

    start = tf.zeros([0, asked.batch, size(asked.target)[1]])
    shapes = (tf.TensorShape([]), tf.TensorShape([None, None, asked.target.shape[1]]))
    _, scores = tf.while_loop(
        lambda done, _: done < channels, ask, (tf.constant(0), start), shapes,
        parallel_iterations=1,
    )  # fmt: skip
    return scores
