"""The worker of Xplique, on the TensorFlow with Keras 2 that it was written for."""

import numpy as np
import tensorflow as tf
import xplique.attributions as attributions
from xplique.metrics import Deletion

from tests.benchmarks.peers.kerasnet import forward, network
from tests.benchmarks.peers.protocol import Job, Work, serve

#: Those that ask about probabilities, and cut the picture into the given squares.
SAMPLED = ("Lime", "KernelShap")
#: name -> what it is made with, from the case's options.
OPTIONS = {
    "IntegratedGradients": lambda o: {"steps": o["steps"]},
    "Rise": lambda o: {"nb_samples": o["n_samples"]},
    "Lime": lambda o: {"nb_samples": o["n_samples"], "batch_size": 32},
    "KernelShap": lambda o: {"nb_samples": o["n_samples"], "batch_size": 32},
}


def prepare(job: Job) -> Work:
    """The explainer of a class's name; "Deletion" measures the gradient's maps."""
    model = network(job)
    one_hot = np.eye(job.plan["layers"][-1]["shape"][-1], dtype=np.float32)[job.target]

    def make():
        if job.how == "Deletion":
            return deletion(model, job, one_hot)
        options = OPTIONS.get(job.how, lambda o: {})(job.options)
        asked = model
        if job.how in (*SAMPLED, "Rise"):
            asked = tf.keras.Sequential([model, tf.keras.layers.Softmax()])
        if job.how in SAMPLED:
            segments = tf.constant(job.segments, tf.int32)
            options["map_to_interpret_space"] = lambda x: segments
            options["ref_value"] = np.zeros(3, np.float32)
        explainer = getattr(attributions, job.how)(asked, **options)

        def run() -> np.ndarray:
            maps = np.asarray(explainer(job.x, one_hot))
            return maps if maps.ndim == 4 else maps[..., None]

        return run

    return Work(forward(model, job.x), make)


def deletion(model, job: Job, one_hot: np.ndarray):
    """The deletion score of random maps: the order changes no cost."""
    asked = tf.keras.Sequential([model, tf.keras.layers.Softmax()])
    maps = np.random.default_rng(0).random(job.x.shape[:3]).astype("float32")
    metric = Deletion(asked, job.x, one_hot, batch_size=32, steps=job.options["steps"])

    def run() -> None:
        metric(maps)

    return run


if __name__ == "__main__":
    serve(prepare)
