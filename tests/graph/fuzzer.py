"""Random small networks, each written in many ways, with one answer and one map.

`Net` describes a network. `Net.written(None)` is its plain form and `Net.written(seed)`
the same function in a random spelling: `Writer.way` chooses one of several equal forms
of every block. `compare` returns by how much the maps of the two differ.
"""

import random
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from hypothesis import strategies as st

import tfxai
from tests.graph import written
from tests.graph.written import Function, Writer

#: Methods that are compared besides the gradient and AttnLRP; each network takes one.
#: An epsilon is small, since a factor that moves into a kernel changes what it adds to.
METHODS = {
    "lrp.epsilon": {"epsilon": 1e-9},
    "lrp.alpha_2_beta_1": {},
    "lrp.epsilon_gamma_box": {"low": -3.0, "high": 3.0},
    "lrp.w_square": {},
    "deep_taylor": {},
    "sglrp": {},
}
TOLERANCE = 1e-4
CLASSES = 4
#: The shape of a sample, by where a network starts.
SHAPES = {"vector": (16,), "sequence": (4, 16), "picture": (6, 6, 3)}


@dataclass(frozen=True)
class Net:
    """What a network reads, its blocks, how it ends, and the seed of its weights."""

    start: str
    blocks: tuple[str, ...]
    end: str
    soft: bool
    seed: int
    method: str

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a sample."""
        return SHAPES[self.start]

    def written(self, ways: int | None) -> tuple[Any, list[tf.TensorSpec] | None]:
        """Return the model in the spelling `ways`, and the specs of a function."""
        blocks = list(self._functions(ways))
        writer = Writer([self.seed], ways)
        form = writer.way("function", "open", "layers", "nested")
        shape = self.shape
        if form == "open" and self.end != "flatten":
            shape = (*(None for _ in shape[:-1]), shape[-1])
        if form in ("function", "open"):
            return written.chained(blocks), [tf.TensorSpec((None, *shape))]
        return _model(blocks, shape, form == "nested"), None

    def _functions(self, ways: int | None) -> Any:
        kind = self.start
        for number, block in enumerate((*self.blocks, "end")):
            padded = self.method != "lrp.w_square"  # it counts padded values, too
            way = None if ways is None else ways + number
            writer = Writer([self.seed, number], way, padded)
            width = 3 if kind == "picture" and not number else None
            if block == "end":
                yield written.end(
                    writer, kind, self.end, self.shape, CLASSES, self.soft
                )
                return
            yield written.BLOCKS[kind][block](writer, width or written.WIDTHS[kind])

    def inputs(self) -> tf.Tensor:
        """Return two samples."""
        rng = np.random.default_rng([self.seed, 99])
        return tf.constant(rng.normal(size=(2, *self.shape)).clip(-2.5, 2.5), "float32")


def _model(blocks: list[Function], shape: tuple[int, ...], nested: bool) -> Any:
    """A Keras model of a layer per block; nested: those in the middle are a model."""
    first = keras.Input(shape)
    layers = [Block(f, name=f"block_{i}") for i, f in enumerate(blocks)]
    y = layers[0](first)
    if nested and len(layers) > 2:
        inside = keras.Input(y.shape[1:])
        middle = written.chained(layers[1:-1])(inside)
        y = layers[-1](keras.Model(inside, middle, name="inside")(y))
    else:
        y = written.chained(layers[1:])(y)
    return keras.Model(first, y)


class Block(keras.layers.Layer):
    """A layer of TensorFlow's operations."""

    def __init__(self, function: Function, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.function = function

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """The function of x."""
        return self.function(x)


def nets() -> st.SearchStrategy[Net]:
    """Strategy: a network of one to three blocks."""
    return st.integers(0, 2**31).map(drawn)


def drawn(seed: int) -> Net:
    """Return a network by its seed."""
    rng = random.Random(seed)
    start = rng.choice(sorted(SHAPES))
    blocks = rng.choices(sorted(written.BLOCKS[start]), k=rng.choice((1, 2, 2, 3)))
    if start == "picture":
        blocks.insert(0, "conv")
    end, soft = rng.choice(written.ENDS[start]), rng.random() < 0.3
    return Net(start, tuple(blocks), end, soft, seed, rng.choice(sorted(METHODS)))


def maps(net: Net, ways: int | None, noise: int = 0) -> dict[str, np.ndarray]:
    """Return answer, gradient and maps of the network in one spelling.

    The relevance is computed without compiling: a network is used once. With `noise`
    the inputs differ by rounding errors, drawn from that seed.
    """
    model, specs = net.written(ways)
    wrapped = tfxai.wrap(model, specs=specs)
    x = net.inputs()
    if noise:
        x *= 1 + tf.random.stateless_normal(x.shape, [noise, 0], stddev=5e-7)
    inputs = wrapped.prepared([x])
    program = wrapped.program().at([x.shape])
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        logits = program.run(inputs)[program.output]
    found = {"answer": program.answer(inputs), "called": model(x)}
    found["gradient"] = tape.gradient(logits, inputs[0], _second(logits))
    for method, options in (
        ("lrp.attn", {"epsilon": 0.0}),
        (net.method, METHODS[net.method]),
    ):
        analyzer = tfxai.create_analyzer(method, wrapped, **options)
        result = analyzer.graph.propagate(inputs, tf.constant([[1, 2], [1, 2]]))
        found[method] = result["relevance"][0]
    return {name: np.asarray(v) for name, v in found.items()}


def _second(logits: tf.Tensor) -> tf.Tensor:
    return tf.one_hot([1] * len(logits), CLASSES)


def compare(net: Net, ways: int) -> dict[str, float]:
    """Return what differs between the plain form and a spelling: name -> by how much.

    Differences are shares of the largest value. Rules divide, so that rounding can
    grow: a map may differ as much as that of inputs which differ by rounding.
    """
    plain, other = maps(net, None), maps(net, ways)
    plain["called"] = plain["answer"]
    found = {n: _off(other[n], v) for n, v in plain.items()}
    if all(v < TOLERANCE for v in found.values()):
        return {}
    noisy = [maps(net, None, noise) for noise in (1, 2, 3)]
    noise = {n: max(_off(m[n], v) for m in noisy) for n, v in plain.items()}
    return {n: v for n, v in found.items() if not v < TOLERANCE + 10 * noise[n]}


def _off(found: np.ndarray, wanted: np.ndarray) -> float:
    if found.shape != wanted.shape:
        return np.inf
    scale = np.abs(wanted).max() or 1.0
    return float(np.abs(found - wanted).max() / scale)
