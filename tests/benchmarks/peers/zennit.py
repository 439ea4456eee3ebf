"""The worker of Zennit: composites by module type, batch normalisation merged."""

import numpy as np
import torch
from torch import nn

from tests.benchmarks.peers.torchnet import Forward, Net, Sum, array, tensor, vision

vision()  # before Zennit, which imports it

from zennit.attribution import Gradient  # noqa: E402
from zennit.canonizers import NamedMergeBatchNorm  # noqa: E402
from zennit.composites import (  # noqa: E402
    EpsilonAlpha2Beta1,
    EpsilonAlpha2Beta1Flat,
    EpsilonGammaBox,
    EpsilonPlus,
    EpsilonPlusFlat,
    ExcitationBackprop,
    GuidedBackprop,
    LayerMapComposite,
    layer_map_base,
)
from zennit.layer import Sum as ZennitSum  # noqa: E402
from zennit.rules import AlphaBeta, Epsilon  # noqa: E402
from zennit.types import Linear  # noqa: E402

from tests.benchmarks.peers.protocol import (  # noqa: E402
    SAME_NETWORK,
    Job,
    Work,
    serve,
)


class Stacked(nn.Module):
    """Zennit's sum for stacked tensors: its rule only sees the first argument."""

    def __init__(self) -> None:
        super().__init__()
        self.sum = ZennitSum(-1)

    def forward(self, *tensors):
        """The sum."""
        return self.sum(torch.stack(tensors, self.sum.dim))


def everywhere(rule):
    """Return a composite with one rule for all layers with weights."""

    def made(job, canonizers):
        layers = [(Linear, rule())]
        return LayerMapComposite(layers + layer_map_base(), canonizers)

    return made


def box(job: Job, canonizers: list):
    """The box rule at the first layer, with a bound for each channel."""
    low, high = (torch.from_numpy(v).reshape(1, -1, 1, 1) for v in (job.low, job.high))
    return EpsilonGammaBox(low, high, canonizers=canonizers)


#: name -> (job, canonizers) -> composite; None is the plain gradient.
METHODS = {
    "gradient": lambda job, c: None,
    "guided": lambda job, c: GuidedBackprop(canonizers=c),
    "epsilon": everywhere(lambda: Epsilon(1e-6)),
    "alpha_beta": everywhere(lambda: AlphaBeta(2, 1)),
    "epsilon_plus": lambda job, c: EpsilonPlus(canonizers=c),
    "epsilon_alpha2_beta1": lambda job, c: EpsilonAlpha2Beta1(canonizers=c),
    "epsilon_gamma_box": box,
    "epsilon_plus_flat": lambda job, c: EpsilonPlusFlat(canonizers=c),
    "epsilon_alpha2_beta1_flat": lambda job, c: EpsilonAlpha2Beta1Flat(canonizers=c),
    "excitation_backprop": lambda job, c: ExcitationBackprop(canonizers=c),
}
#: Methods that start from 1; relevance methods start from the class's logit.
SLOPES = ("gradient", "guided")


def prepare(job: Job) -> Work:
    """Construct the attributor once, as for many images."""
    net, x = Net(job, Sum if job.how in SLOPES else Stacked), tensor(job.x)
    plain = Forward(job, net)
    wanted = plain()
    one_hot = torch.eye(job.plan["layers"][-1]["shape"][-1])[job.target]

    def make():
        merge = [NamedMergeBatchNorm([([c], b) for c, b in net.merged])]
        composite = METHODS[job.how](job, merge)
        attributor = Gradient(net, composite)
        attributor.__enter__()
        for _, name in net.merged if composite else ():
            getattr(net, name).eps = 0.0  # Zennit leaves it: a factor, of Keras' 1e-3

        def start(outputs):
            return one_hot if job.how in SLOPES else one_hot * outputs

        def run() -> np.ndarray:
            outputs, relevance = attributor(x, start)
            check(outputs.detach().numpy(), wanted)
            return array(relevance)

        return run

    return Work(plain, make)


def check(outputs: np.ndarray, wanted: np.ndarray) -> None:
    """Raise RuntimeError if the explained model has other outputs than the network."""
    gap = np.abs(outputs - wanted).max() / np.abs(wanted).max()
    if gap > SAME_NETWORK:
        raise RuntimeError(f"the network with rules answers otherwise, by {gap:.0e}")


if __name__ == "__main__":
    serve(prepare)
