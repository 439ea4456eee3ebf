"""The worker of Xplique, with all channels and with signs where it keeps them."""

import numpy as np
import tensorflow as tf
import xplique.attributions as attributions
from sklearn.linear_model import Ridge
from xplique.metrics import Deletion

from tests.benchmarks.peers.kerasnet import forward, network
from tests.benchmarks.peers.protocol import Job, Work, proximity, serve

#: Methods that explain probabilities and cut the image into the given squares.
SAMPLED = ("Lime", "KernelShap")
#: Further methods that explain probabilities.
GRIDS = ("Rise", "SobolAttributionMethod", "HsicAttributionMethod")


def evaluations(options: dict) -> dict:
    """Evaluate masks, 32 at a time."""
    return {"nb_samples": options["n_samples"], "batch_size": 32}


def near(picture, masks, pictures):
    """Return the weights of `lime`; Xplique's depend on pixel distances: all 0 here."""
    return tf.constant(proximity(masks.numpy()), tf.float32)


#: Name -> its arguments, from the case's options.
OPTIONS = {
    "Saliency": lambda o: {"reducer": None},
    "GuidedBackprop": lambda o: {"reducer": None},
    "IntegratedGradients": lambda o: {"steps": o["steps"], "reducer": None},
    "GradCAM": lambda o: {},
    "Rise": evaluations,
    "Lime": lambda o: {
        **evaluations(o),
        "interpretable_model": Ridge(alpha=1),
        "similarity_kernel": near,
    },
    "KernelShap": evaluations,
    "GradientInput": lambda o: {"reducer": None},
    "DeconvNet": lambda o: {"reducer": None},
    "GradCAMPP": lambda o: {},
    "Occlusion": lambda o: {"patch_size": o["window"], "patch_stride": 1},
    "SobolAttributionMethod": lambda o: {"grid_size": o["cells"], "nb_design": 16},
    "HsicAttributionMethod": lambda o: {"grid_size": o["cells"], "nb_design": 1000},
    **dict.fromkeys(
        ("SmoothGrad", "SquareGrad", "VarGrad"),
        lambda o: {"nb_samples": 25, "noise": o["noise"], "reducer": None},
    ),
}


def prepare(job: Job) -> Work:
    """Return the explainer of a name; "Deletion" evaluates random heatmaps."""
    model = network(job)
    one_hot = np.eye(job.plan["layers"][-1]["shape"][-1], dtype=np.float32)[job.target]

    def make():
        if job.how == "Deletion":
            return deletion(model, job, one_hot)
        given = dict(job.options)
        if "noise" in given:  # a share of the range, the mean over the samples
            given["noise"] *= float(np.ptp(job.x, axis=(1, 2, 3)).mean())
        options = OPTIONS[job.how](given)
        if job.how.startswith("GradCAM"):
            options["conv_layer"] = job.last
        scored = model
        if job.how in (*SAMPLED, *GRIDS):
            scored = tf.keras.Sequential([model, tf.keras.layers.Softmax()])
        if job.how in SAMPLED:
            segments = tf.constant(job.segments, tf.int32)
            options["map_to_interpret_space"] = lambda x: segments
            options["ref_value"] = np.zeros(job.x.shape[-1], np.float32)
        explainer = getattr(attributions, job.how)(scored, **options)

        def run() -> np.ndarray:
            maps = np.asarray(explainer(job.x, one_hot))
            return maps if maps.ndim == 4 else maps[..., None]

        return run

    return Work(forward(model, job.x), make)


def deletion(model, job: Job, one_hot: np.ndarray):
    """Return the mean deletion score of random heatmaps: the order costs nothing."""
    scored = tf.keras.Sequential([model, tf.keras.layers.Softmax()])
    metric = Deletion(scored, job.x, one_hot, batch_size=32, steps=job.options["steps"])

    return lambda: np.reshape(metric(job.noise), (1,))


if __name__ == "__main__":
    serve(prepare)
