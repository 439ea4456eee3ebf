"""A plan as a Keras model, for Keras 3 and for the Keras 2 of older TensorFlows."""

from collections import Counter

import numpy as np
import tensorflow as tf

from tests.benchmarks.peers.protocol import Job

MERGES = ("Add", "Concatenate")


KERNELS = ("Conv2D", "Dense")


def with_relu(rows: list[dict]) -> set[str]:
    """Return the layers with kernels whose output only goes into a ReLU."""
    reads = Counter(n for r in rows for n in r["inputs"])
    kinds = {r["name"]: r["kind"] for r in rows}
    sources = {r["inputs"][0] for r in rows if plain_relu(r)}
    return {n for n in sources if kinds.get(n) in KERNELS and reads[n] == 1}


def plain_relu(row: dict) -> bool:
    """Return True for a ReLU without an upper bound."""
    return row["kind"] == "ReLU" and row["config"]["max_value"] is None


def network(job: Job, fused: bool = False) -> tf.keras.Model:
    """Return the network with its weights; it returns logits.

    fused: a ReLU behind a layer with a kernel is that layer's activation, as networks
    are mostly written: iNNvestigate's deep Taylor looks there for it.
    """
    own = with_relu(job.plan["layers"]) if fused else set()
    L = tf.keras.layers
    x = tf.keras.Input(tuple(job.plan["shape"]))
    made = {"input": x}
    layers = {}
    for row in job.plan["layers"]:
        kind, config = row["kind"], dict(row["config"])
        if row["name"] in own:
            config["activation"] = "relu"
        if plain_relu(row) and row["inputs"][0] in own:
            made[row["name"]] = made[row["inputs"][0]]
            continue
        if plain_relu(row):
            # iNNvestigate gates a ReLU layer, but has a rule for this one.
            kind, config = "Activation", {"activation": "relu"}
        if kind == "BatchNormalization" and isinstance(config["axis"], list):
            config["axis"] = config["axis"][0]
        layer = layers[row["name"]] = getattr(L, kind)(name=row["name"], **config)
        inputs = [made[n] for n in row["inputs"]]
        made[row["name"]] = layer(inputs if kind in MERGES else inputs[0])
    model = tf.keras.Model(x, made[job.plan["layers"][-1]["name"]])
    for name, layer in layers.items():
        if layer.weights:
            layer.set_weights(job.weights(name))
    return model


def forward(model, x: np.ndarray):
    """Return the compiled forward pass of a batch: () -> (B, classes)."""
    answer = tf.function(lambda v: model(v, training=False))
    batch = tf.constant(x)
    return lambda: answer(batch).numpy()


def answers(model, size: int = 32):
    """Return a black box: a batch of any length -> probabilities, `size` at a time."""
    evaluate = tf.function(
        lambda v: tf.nn.softmax(model(v, training=False)),
        input_signature=[tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)],
    )

    def answer(batch) -> np.ndarray:
        batch = np.asarray(batch, np.float32)
        parts = [batch[i : i + size] for i in range(0, len(batch), size)]
        return np.concatenate([evaluate(tf.constant(p)).numpy() for p in parts])

    return answer
