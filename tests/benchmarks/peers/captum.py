"""The worker of Captum."""

import numpy as np
import torch
from captum._utils.models.linear_model import SkLearnRidge
from captum.attr import (
    GuidedBackprop,
    IntegratedGradients,
    KernelShap,
    LayerGradCam,
    Lime,
    Saliency,
)

from tests.benchmarks.peers.protocol import Job, Work, proximity, serve
from tests.benchmarks.peers.torchnet import Forward, Net, array, tensor


def saliency(net, job, x, target):
    """The gradient, signed."""
    made = Saliency(net)
    return lambda: array(made.attribute(x.requires_grad_(), target, abs=False))


def guided(net, job, x, target):
    """Guided backpropagation."""
    made = GuidedBackprop(net)
    return lambda: array(made.attribute(x.requires_grad_(), target))


def integrated(net, job, x, target):
    """Integrated gradients with Gauss-Legendre nodes, 32 images at a time like ours."""
    made = IntegratedGradients(net)
    options = {"n_steps": job.options["steps"], "method": "gausslegendre"}
    return lambda: array(
        made.attribute(x, target=target, internal_batch_size=32, **options)
    )


def gradcam(net, job, x, target):
    """Grad-CAM, not enlarged."""
    made = LayerGradCam(net, getattr(net, job.last))
    return lambda: array(made.attribute(x, target))


def lime(predict) -> Lime:
    """LIME with the weights and the regression of `lime` instead of a Lasso of .01."""

    def weight(original, seen, mask, **more):
        return torch.from_numpy(proximity(mask.numpy()))

    return Lime(predict, SkLearnRidge(alpha=1.0), weight)


def sampled(explainer):
    """LIME or Kernel SHAP on the squares of a grid, with a black baseline."""

    def made(net, job, x, target):
        def predict(v):
            with torch.inference_mode():
                return torch.softmax(net(v), -1)

        explain = explainer(predict)
        mask = torch.from_numpy(job.segments)[None, None]
        given = {"n_samples": job.options["n_samples"], "perturbations_per_eval": 32}

        def run() -> np.ndarray:
            parts = [
                explain.attribute(v[None], target=int(t), feature_mask=mask, **given)
                for v, t in zip(x, target, strict=True)
            ]
            return array(torch.cat(parts)[:, :1])

        return run

    return made


METHODS = {
    "saliency": saliency,
    "guided": guided,
    "integrated": integrated,
    "gradcam": gradcam,
    "lime": sampled(lime),
    "kernel_shap": sampled(KernelShap),
}


def prepare(job: Job) -> Work:
    """Return the attribution method of a name."""
    net, x, target = Net(job), tensor(job.x), torch.from_numpy(job.target)
    return Work(Forward(job, net), lambda: METHODS[job.how](net, job, x, target))


if __name__ == "__main__":
    serve(prepare)
