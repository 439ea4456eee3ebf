"""The worker of iNNvestigate 2.1.2: TensorFlow 2.14, without eager execution."""

import numpy as np
import tensorflow as tf

tf.compat.v1.disable_eager_execution()

import innvestigate  # noqa: E402
from innvestigate.analyzer import BoundedDeepTaylor  # noqa: E402

from tests.benchmarks.peers.kerasnet import network  # noqa: E402
from tests.benchmarks.peers.protocol import Job, Work, serve  # noqa: E402

#: Methods that start from the class's logit, not from 1.
TIMES_LOGIT = ("guided_backprop", "deconvnet")


class Seeded(BoundedDeepTaylor):
    """Bounded Deep Taylor with a custom head, as in the SGLRP repository."""

    def __init__(self, model, head, **options) -> None:
        super().__init__(model, neuron_selection_mode="all", **options)
        self._head = head

    def _head_mapping(self, x):
        return self._head(x)


def halves(kind: str, target: np.ndarray, classes: int):
    """The two heads of CLRP and SGLRP, for the target classes, of relu(logits)."""
    one = tf.constant(np.eye(classes, dtype=np.float32)[target])

    def ours(u):
        u = tf.nn.relu(u)
        if kind == "clrp":
            return u * one
        p = tf.nn.softmax(u)
        return p * tf.reduce_sum(p * (1 - one), -1, keepdims=True) * one

    def others(u):
        u = tf.nn.relu(u)
        if kind == "clrp":
            f = tf.reduce_sum(u * one, -1, keepdims=True)
            return f * (1 - one) / (classes - 1)
        p = tf.nn.softmax(u)
        return tf.reduce_sum(p * one, -1, keepdims=True) * p * (1 - one)

    return ours, others


def contrasted(model, job: Job):
    """Return A - k B from two analyzers, as published."""
    classes = job.plan["layers"][-1]["shape"][-1]
    made = [
        Seeded(model, head, low=job.low, high=job.high, disable_model_checks=True)
        for head in halves(job.how, job.target, classes)
    ]

    def run() -> np.ndarray:
        a, b = (m.analyze(job.x) for m in made)
        k = a.sum((1, 2, 3), keepdims=True) / b.sum((1, 2, 3), keepdims=True)
        return a - k * b

    return run


def prepare(job: Job) -> Work:
    """Return the analyzer of a name, for the class with the largest logit."""
    model = network(job, fused=True)

    def make():
        if job.how in ("clrp", "sglrp"):
            return contrasted(model, job)
        options = dict(job.options)
        if "low" in options:
            options |= {"low": job.low, "high": job.high}
        analyzer = innvestigate.create_analyzer(
            job.how, model, neuron_selection_mode="max_activation",
            disable_model_checks=True, **options,
        )  # fmt: skip
        if job.how not in TIMES_LOGIT:
            return lambda: analyzer.analyze(job.x)
        logit = model.predict_on_batch(job.x).max(-1).reshape(-1, 1, 1, 1)
        return lambda: analyzer.analyze(job.x) / logit

    return Work(lambda: model.predict_on_batch(job.x), make)


if __name__ == "__main__":
    serve(prepare)
