"""A plan as a Keras model, for Keras 3 and for the Keras 2 of older TensorFlows."""

import numpy as np
import tensorflow as tf

from tests.benchmarks.peers.protocol import Job

MERGES = ("Add", "Concatenate")


def network(job: Job) -> tf.keras.Model:
    """The network, with its weights; answers logits."""
    L = tf.keras.layers
    x = tf.keras.Input(tuple(job.plan["shape"]))
    made = {"input": x}
    layers = {}
    for row in job.plan["layers"]:
        kind, config = row["kind"], dict(row["config"])
        if kind == "ReLU" and config["max_value"] is None:
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
    """The compiled forward pass of a batch: () -> (B, classes)."""
    answer = tf.function(lambda v: model(v, training=False))
    batch = tf.constant(x)
    return lambda: answer(batch).numpy()


def answers(model, size: int = 32):
    """A black box: a batch of any length -> probabilities, `size` at a time."""
    ask = tf.function(
        lambda v: tf.nn.softmax(model(v, training=False)),
        input_signature=[tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)],
    )

    def answer(batch) -> np.ndarray:
        batch = np.asarray(batch, np.float32)
        parts = [batch[i : i + size] for i in range(0, len(batch), size)]
        return np.concatenate([ask(tf.constant(p)).numpy() for p in parts])

    return answer
