"""Random networks for Hypothesis, and helpers of the property tests."""

import re
import zlib
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

import tfxai
from tests.relevance.programs import program_of
from tfxai.relevance import presets as P
from tfxai.relevance import rules as R
from tfxai.relevance.relevance_model import RelevanceModel

L = keras.layers
ops = keras.ops

CLASSES = 4
RELEVANCE = [row.name for row in tfxai.methods() if row.family == "relevance"]
RELEVANCE.remove("deepshap")  # means of `deeplift`
#: Without methods that count `model.layers`, which depends on the spelling.
UNCOUNTED = [name for name in RELEVANCE if "until" not in name]
DIRECT = ["gradient", "input_t_gradient", *RELEVANCE]
BOUNDED = {"low": -1.0, "high": 1.0}

PRESETS = {
    "z": P.every_kernel(R.z_rule),
    "epsilon": P.epsilon(),
    "z_plus": P.every_kernel(R.z_plus),
    "deep_taylor": P.deep_taylor(),
    "bounded": P.bounded(-1.0, 1.0),
    "alpha_beta": P.every_kernel(R.alpha_beta),
    "flat": P.every_kernel(R.flat, add=R.flat, average=R.flat),
    "w_square": P.every_kernel(R.w_square, add=R.w_square, average=R.w_square),
}


def examples(count):
    """Return Hypothesis settings with the same `count` examples in every run.

    Examples are not shrunk: a network of three blocks is readable and takes a second.
    """
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow],
    )


def fill(model, seed=0, bias=True):
    """Set every variable to values that depend on `seed` and on the layer's name.

    The number that Keras appends to a layer without a name of its own is ignored.
    """
    for v in model.weights:
        layer, name = v.path.split("/")[-2:]
        layer = re.sub(r"^(dense|conv\dd|batch_normalization)_\d+$", r"\1", layer)
        rng = np.random.default_rng([seed, zlib.crc32(f"{layer}/{name}".encode())])
        value = rng.normal(size=v.shape)
        if name.endswith("kernel"):
            value *= np.sqrt(2 / np.prod(v.shape[:-1]))
        elif name == "gamma":
            value = np.sign(value) * rng.uniform(0.5, 1.5, v.shape)
        elif name == "moving_variance":
            value = rng.uniform(0.5, 2.0, v.shape)
        else:  # bias, beta, moving_mean
            value *= 0.3 * bias
        v.assign(value.astype("float32"))
    return model


@dataclass(frozen=True)
class Net:
    """Description of a random network, readable in the report of a failing test."""

    blocks: tuple[str, ...]
    end: str
    bias: bool
    seed: int
    stem: bool = True

    def model(self):
        """Return the model: image (8, 8, 2) -> CLASSES logits."""
        i = keras.Input((8, 8, 2))
        blocks = ("conv", *self.blocks) if self.stem else self.blocks
        x = i
        for number, block in enumerate(blocks):
            x = self._block(block, x, f"{number}_{block}")
        x = {
            "flatten": L.Flatten,
            "average": L.GlobalAveragePooling2D,
            "max": L.GlobalMaxPooling2D,
        }[self.end]()(x)
        x = L.Dense(8, "relu", use_bias=self.bias, name="hidden")(x)
        o = L.Dense(CLASSES, use_bias=self.bias, name="logits")(x)
        return fill(keras.Model(i, o), self.seed, self.bias)

    def _block(self, block, x, name):
        def conv(x, name, activation="relu", padding="same", size=3, width=4):
            return L.Conv2D(
                width, min(size, x.shape[1]), padding=padding, activation=activation,
                use_bias=self.bias, name=name,
            )(x)  # fmt: skip

        if block == "conv":
            return conv(x, name, padding="valid")
        if block == "strided":
            layer = L.Conv2D(4, 3, 2, "same", use_bias=self.bias, name=name)
            return L.ReLU()(layer(x))
        if block == "depthwise":
            layer = L.DepthwiseConv2D(
                3, padding="same", depth_multiplier=2, use_bias=self.bias, name=name
            )
            return ops.relu(layer(x))
        if block == "norm":  # merged into the convolution before it
            x = conv(x, name, None)
            return L.ReLU()(L.BatchNormalization(name=f"{name}_norm")(x))
        if block == "norm_first":  # merged into the convolution after it
            return conv(L.BatchNormalization(name=f"{name}_norm")(x), name)
        if block == "residual":
            return x + conv(x, name, width=x.shape[-1])
        if block == "concat":
            return L.Concatenate()([conv(x, f"{name}_a"), conv(x, f"{name}_b", size=1)])
        if block == "dropout":
            return L.Dropout(0.5)(x)
        pool = {"max": L.MaxPooling2D, "average": L.AveragePooling2D}[block]
        return pool(2, padding="same")(x)

    def inputs(self, count=2):
        """Return a batch of inputs in (-1, 1)."""
        rng = np.random.default_rng(self.seed + 1)
        return rng.uniform(-0.95, 0.95, (count, 8, 8, 2)).astype("float32")


BLOCKS = (
    *("conv", "strided", "depthwise", "norm", "norm_first"),
    *("residual", "concat", "dropout", "max", "average"),
)


def nets(bias=None, stem=True):
    """Strategy: a network with biases, without, or (None) either."""
    return st.builds(
        Net,
        blocks=st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=3).map(tuple),
        end=st.sampled_from(("flatten", "average", "max")),
        bias=st.booleans() if bias is None else st.just(bias),
        seed=st.integers(0, 2**16),
        stem=st.just(stem) if stem is not None else st.booleans(),
    )


def propagate(model, preset, head, x, target):
    """Return relevance (T, B, ...) of every input, eagerly and without an analyzer."""
    graph = RelevanceModel(model, program_of(model), preset, head)
    result = graph.propagate(
        x if isinstance(x, list) else [x], tf.constant(target, tf.int32)
    )
    return [m.numpy() for m in result["relevance"]], result["logits"].numpy()


def totals(maps):
    """Return the sum of the relevance over all inputs, (T, B), in float64."""
    return sum(m.astype("float64").sum(tuple(range(2, m.ndim))) for m in maps)


def close(actual, wanted, tolerance=1e-5, noise=1e-12):
    """Assert equality up to `tolerance` times the largest wanted value, or `noise`."""
    assert actual.shape == wanted.shape
    slack = tolerance * np.abs(wanted).max() + noise
    np.testing.assert_allclose(actual, wanted, rtol=0, atol=slack)


def conserved(maps, wanted, tolerance=2e-5):
    """Assert that the relevance sums to `wanted` (T, B), up to rounding."""
    slack = tolerance * totals([np.abs(m) for m in maps]) + 1e-9
    difference = np.abs(totals(maps) - wanted)
    assert (difference <= slack).all(), (totals(maps), wanted)


def conv(name, activation=None):
    return L.Conv2D(4, 3, padding="same", activation=activation, name=name)


def dense(name, units, activation=None):
    return L.Dense(units, activation, name=name)


def soft_inputs():
    return np.random.default_rng(0).uniform(-0.9, 0.9, (3, 6)).astype("float32")
