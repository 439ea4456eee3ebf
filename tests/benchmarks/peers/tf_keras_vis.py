"""The worker of tf-keras-vis, without absolute values and scaling."""

from tf_keras_vis.gradcam import Gradcam
from tf_keras_vis.gradcam_plus_plus import GradcamPlusPlus
from tf_keras_vis.layercam import Layercam
from tf_keras_vis.saliency import Saliency
from tf_keras_vis.utils.scores import CategoricalScore

from tests.benchmarks.peers.kerasnet import forward, network
from tests.benchmarks.peers.protocol import Job, Work, serve


def slopes(job: Job) -> dict:
    """Return the options of a gradient, with signs and all channels."""
    return {"keepdims": True, "gradient_modifier": None, "normalize_map": False}


def maps(job: Job) -> dict:
    """Return the options of a class activation map of the last layer, with signs."""
    return {
        "penultimate_layer": job.last,
        "seek_penultimate_conv_layer": False,
        "normalize_cam": False,
        "activation_modifier": None,
    }


def noisy(job: Job) -> dict:
    """Return the options of a gradient at 25 noisy inputs."""
    return {**slopes(job), "smooth_samples": 25, "smooth_noise": 0.15}


#: Name -> its class, and the options that disable postprocessing.
METHODS = {
    "saliency": (Saliency, slopes),
    "smoothgrad": (Saliency, noisy),
    "gradcam": (Gradcam, maps),
    "gradcam_plus_plus": (GradcamPlusPlus, maps),
    "layercam": (Layercam, maps),
}


def prepare(job: Job) -> Work:
    """Construct one explainer for the batch."""
    model = network(job)

    def make():
        kind, options_of = METHODS[job.how]
        options = options_of(job)
        explainer = kind(model, clone=True)
        score = CategoricalScore(job.target.tolist())

        def run():
            maps = explainer(score, job.x, **options)
            return maps if maps.ndim == 4 else maps[..., None]

        return run

    return Work(forward(model, job.x), make)


if __name__ == "__main__":
    serve(prepare)
