"""The worker of Captum."""

import numpy as np
import torch
from captum._utils.models.linear_model import SkLearnRidge
from captum.attr import (
    DeepLift,
    DeepLiftShap,
    FeatureAblation,
    GradientShap,
    GuidedBackprop,
    GuidedGradCam,
    InputXGradient,
    IntegratedGradients,
    KernelShap,
    LayerAttribution,
    LayerGradCam,
    Lime,
    NoiseTunnel,
    Occlusion,
    Saliency,
    ShapleyValueSampling,
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


def enlarged(net, job, x, target):
    """Grad-CAM, enlarged to the image."""
    made = LayerGradCam(net, getattr(net, job.last))
    return lambda: array(
        LayerAttribution.interpolate(
            made.attribute(x, target), tuple(x.shape[2:]), "bilinear"
        )
    )


def plain(explainer, **options):
    """A method of the network alone, with these options."""

    def made(net, job, x, target):
        explain = explainer(net)
        given = {**options, "target": target}
        return lambda: array(explain.attribute(x.requires_grad_(), **given))

    return made


def guided_gradcam(net, job, x, target):
    """Guided Grad-CAM of the last layer with spatial axes."""
    made = GuidedGradCam(net, getattr(net, job.last))
    return lambda: array(made.attribute(x.requires_grad_(), target))


def of_background(explainer, **options):
    """A method of the network and samples of reference."""

    def made(net, job, x, target):
        explain, reference = explainer(net), tensor(job.background)
        given = {**options, "target": target}
        return lambda: array(explain.attribute(x, reference, **given))

    return made


def windows(net, job, x, target):
    """Occlusion by squares of zeros, one after another."""
    made, n = Occlusion(net), job.options["window"]
    shape = (x.shape[1], n, n)
    return lambda: array(
        made.attribute(x, shape, strides=(x.shape[1], 1, 1), target=target)
    )


def noisy(kind: str):
    """The gradient at noisy inputs: 25 draws, .15 of the range of each sample."""

    def made(net, job, x, target):
        tunnel = NoiseTunnel(Saliency(net))

        def one(v, t):
            deviation = 0.15 * float(v.max() - v.min())
            return tunnel.attribute(
                v[None].requires_grad_(), nt_type=kind, nt_samples=25,
                stdevs=deviation, target=int(t), abs=False,
            )  # fmt: skip

        pairs = list(zip(x, target, strict=True))
        return lambda: array(torch.cat([one(v, t) for v, t in pairs]))

    return made


def permutations(net, job, x, target):
    """Shapley values of the squares of a grid, from random orders of them."""
    mask = torch.from_numpy(job.segments)[None, None]

    def predict(v):
        with torch.inference_mode():
            return torch.softmax(net(v), -1)

    made, count = ShapleyValueSampling(predict), int(mask.max()) + 1
    options = {"n_samples": job.options["n_samples"] // count, "feature_mask": mask}
    return lambda: array(
        made.attribute(x, target=target, perturbations_per_eval=32, **options)[:, :1]
    )


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
    "shapley_sampling": permutations,
    "input_x_gradient": plain(InputXGradient),
    "deeplift": plain(DeepLift),
    "ablation": plain(FeatureAblation),
    "deepshap": of_background(DeepLiftShap),
    "gradient_shap": of_background(GradientShap, n_samples=100),
    "occlusion": windows,
    "smoothgrad": noisy("smoothgrad"),
    "squaregrad": noisy("smoothgrad_sq"),
    "vargrad": noisy("vargrad"),
    "enlarged_gradcam": enlarged,
    "guided_gradcam": guided_gradcam,
}


def prepare(job: Job) -> Work:
    """Return the attribution method of a name."""
    net, x, target = Net(job), tensor(job.x), torch.from_numpy(job.target)
    return Work(Forward(job, net), lambda: METHODS[job.how](net, job, x, target))


if __name__ == "__main__":
    serve(prepare)
