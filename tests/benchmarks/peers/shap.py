"""The worker of `shap`: its explainers of squares of a grid and of gradients."""

import numpy as np
import shap

from tests.benchmarks.peers.kerasnet import answers, forward, network
from tests.benchmarks.peers.protocol import Job, Work, serve

#: Explainers of pixels, with samples of reference.
OF_PIXELS = {"gradient": shap.GradientExplainer, "deep": shap.DeepExplainer}


def of_pixels(model, job: Job):
    """Return the relevance of the target by an explainer of `OF_PIXELS`."""
    explainer = OF_PIXELS[job.how](model, job.background)
    given = {"nsamples": 100, "rseed": 0} if job.how == "gradient" else {}

    def run() -> np.ndarray:
        values = np.asarray(explainer.shap_values(job.x, **given))
        return values[np.arange(len(job.x)), ..., job.target]

    return run


def prepare(job: Job) -> Work:
    """Explain one image after another; each segment gets its value."""
    model = network(job)

    def make():
        if job.how in OF_PIXELS:
            return of_pixels(model, job)
        evaluate, segments = answers(model), job.segments
        count = int(segments.max()) + 1

        def one(x, target) -> np.ndarray:
            def covered(rows: np.ndarray) -> np.ndarray:
                """(n, segments) of 0 and 1 -> the probability (n,), 32 at a time."""
                rows = rows.astype(np.float32)
                parts = [
                    evaluate(x * rows[i : i + 32, segments][..., None])[:, target]
                    for i in range(0, len(rows), 32)
                ]
                return np.concatenate(parts)

            explainer = shap.KernelExplainer(covered, np.zeros((1, count)))
            # By default it keeps ten features and drops the others.
            options = {"nsamples": job.options["n_samples"], "l1_reg": False}
            values = explainer.shap_values(np.ones((1, count)), silent=True, **options)
            return np.asarray(values).reshape(count)[segments][..., None]

        return lambda: np.stack(
            [one(x, t) for x, t in zip(job.x, job.target, strict=True)]
        )

    return Work(forward(model, job.x), make)


if __name__ == "__main__":
    serve(prepare)
