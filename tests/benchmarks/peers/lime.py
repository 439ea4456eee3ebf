"""The worker of the `lime` package, with a Keras 3 network."""

import numpy as np
from lime.lime_image import LimeImageExplainer

from tests.benchmarks.peers.kerasnet import answers, forward, network
from tests.benchmarks.peers.protocol import Job, Work, serve


def prepare(job: Job) -> Work:
    """Explain one image after another; each segment gets its coefficient."""
    model = network(job)

    def make():
        explainer, evaluate = LimeImageExplainer(random_state=0), answers(model)

        def one(x, target) -> np.ndarray:
            made = explainer.explain_instance(
                x.astype(float), evaluate, labels=[int(target)], top_labels=None,
                hide_color=0, num_samples=job.options["n_samples"], batch_size=32,
                num_features=100_000, segmentation_fn=lambda v: job.segments,
            )  # fmt: skip
            weights = dict(made.local_exp[int(target)])
            return np.vectorize(weights.get)(job.segments)[..., None]

        return lambda: np.stack(
            [one(x, t) for x, t in zip(job.x, job.target, strict=True)]
        )

    return Work(forward(model, job.x), make)


if __name__ == "__main__":
    serve(prepare)
