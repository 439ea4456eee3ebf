"""The worker of tf-explain, which returns drawn heatmaps."""

import numpy as np
from tf_explain.core.grad_cam import GradCAM
from tf_explain.core.vanilla_gradients import VanillaGradients

from tests.benchmarks.peers.kerasnet import forward, network
from tests.benchmarks.peers.protocol import Job, Work, serve

#: name -> its class, and what keeps it from making another method of it.
METHODS = {
    "gradients": (VanillaGradients, {}),
    "gradcam": (GradCAM, {"use_guided_grads": False, "image_weight": 0.0}),
}


def prepare(job: Job) -> Work:
    """Explain one image after another: it accepts one class per batch."""
    model = network(job)

    def make():
        kind, options = METHODS[job.how]
        explainer = kind()

        def one(x, target) -> np.ndarray:
            made = explainer.explain(
                (x[None], None), model, class_index=int(target), **options
            )
            made = np.asarray(made, np.float32)
            return made if made.ndim == 3 else made[..., None]

        return lambda: np.stack(
            [one(x, t) for x, t in zip(job.x, job.target, strict=True)]
        )

    return Work(forward(model, job.x), make)


if __name__ == "__main__":
    serve(prepare)
