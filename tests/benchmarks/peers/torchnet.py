"""A plan as a `torch.nn.Module`: modules by kind, called in the plan's order."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn.functional import pad

from tests.benchmarks.peers.protocol import Job


def vision() -> None:
    """Make `torchvision` importable beside a torch that its own binary does not fit.

    PyPI has it only for the torch with CUDA; beside the CPU wheel its two operators are
    missing, which Zennit never calls (it reads the names of a few classes).
    """
    try:
        import torchvision
    except RuntimeError:
        operators = torch.library.Library("torchvision", "DEF")
        boxes = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        for name in ("nms", "qnms"):
            operators.define(f"{name}{boxes}")
        import torchvision  # noqa: F401


class Sum(nn.Module):
    """a + b; Zennit has its own class, with a rule."""

    def forward(self, *tensors):
        """The sum."""
        return torch.add(*tensors)


class Joined(nn.Module):
    """Channels side by side."""

    def forward(self, *tensors):
        """The concatenation."""
        return torch.cat(tensors, 1)


class PaddedConv2d(nn.Conv2d):
    """A convolution with unequal padding, as in TensorFlow's "same"."""

    border = (0, 0, 0, 0)

    def forward(self, x):
        """The convolution of the padded input."""
        return super().forward(pad(x, self.border))


class PaddedMaxPool2d(nn.MaxPool2d):
    """Pooling with unequal padding."""

    border = (0, 0, 0, 0)

    def forward(self, x):
        """The maximum over the pixels inside the image."""
        return super().forward(pad(x, self.border, value=float("-inf")))


class GlobalAverage(nn.AdaptiveAvgPool2d):
    """(B, C, H, W) -> (B, C)."""

    def __init__(self) -> None:
        super().__init__(1)

    def forward(self, x):
        """The mean over positions."""
        return super().forward(x).flatten(1)


def borders(row: dict, before: list) -> tuple:
    """(left, right, top, bottom) that TensorFlow pads: "same" depends on the size."""
    if row["config"]["padding"] != "same":
        return (0, 0, 0, 0)
    size = row["config"].get("kernel_size") or row["config"]["pool_size"]
    found: tuple = ()
    for n, k, s in zip(
        before[1::-1], size[::-1], row["config"]["strides"][::-1], strict=True
    ):
        total = max(0, (-(-n // s) - 1) * s + k - n)
        found += (total // 2, total - total // 2)
    return found


class Net(nn.Module):
    """The plan. `names`: layer -> module; `merged`: (convolution, its normalisation).

    add: makes the module of a sum.
    """

    def __init__(self, job: Job, add: Callable[[], nn.Module] = Sum) -> None:
        super().__init__()
        self.rows, self.skipped = [], {}
        rows = job.plan["layers"]
        self.shapes = {
            "input": job.plan["shape"],
            **{r["name"]: r["shape"] for r in rows},
        }
        self.kinds = {r["name"]: r["kind"] for r in rows}
        padding = {}
        for row in rows:
            name, source = row["name"], row["inputs"][0]
            reads = [r for r in rows if name in r["inputs"]]
            if (
                row["kind"] == "ZeroPadding2D"
                and len(reads) == 1
                and "Conv" in reads[0]["kind"]
            ):
                (top, bottom), (left, right) = row["config"]["padding"]
                padding[name] = (left, right, top, bottom)  # part of the convolution
                self.skipped[name] = source
                continue
            inputs = [self.skipped.get(n, n) for n in row["inputs"]]
            more = padding.get(source, (0, 0, 0, 0))
            module = MODULES[row["kind"]](row, self.shapes[source], more, add)
            load(module, job.weights(name), row, self, source)
            self.add_module(name, module)
            self.rows.append((name, inputs))
        self.merged = [
            (r["inputs"][0], r["name"])
            for r in rows
            if r["kind"] == "BatchNormalization"
        ]
        self.eval()

    def forward(self, x):
        """(B, C, H, W) -> logits (B, classes)."""
        made = {"input": x}
        for name, inputs in self.rows:
            made[name] = getattr(self, name)(*(made[n] for n in inputs))
        return made[self.rows[-1][0]]


def convolution(row, before, more, add, groups=1):
    """A convolution; with even borders a plain one."""
    c, channels = row["config"], before[-1]
    border = tuple(a + b for a, b in zip(borders(row, before), more, strict=True))
    out = c.get("filters") or channels
    even = border[0] == border[1] and border[2] == border[3]
    options = {"stride": tuple(c["strides"]), "bias": c["use_bias"], "groups": groups}
    size = tuple(c["kernel_size"])
    if even:
        return nn.Conv2d(channels, out, size, padding=(border[2], border[0]), **options)
    module = PaddedConv2d(channels, out, size, **options)
    module.border = border
    return module


def depthwise(row, before, more, add):
    """A convolution of each channel alone."""
    return convolution(row, before, more, add, before[-1])


def pooling(row, before, more, add):
    """The largest of each window."""
    c, border = row["config"], borders(row, before)
    module = PaddedMaxPool2d if any(border) else nn.MaxPool2d
    made = module(tuple(c["pool_size"]), tuple(c["strides"]))
    made.border = border
    return made


def clipped(row, before, more, add):
    """ReLU, or ReLU6."""
    return nn.ReLU6() if row["config"]["max_value"] else nn.ReLU()


def padded(row, before, more, add):
    """Zeros around."""
    (top, bottom), (left, right) = row["config"]["padding"]
    return nn.ZeroPad2d((left, right, top, bottom))


#: kind -> (row, the input's shape, padding before it, the sum's maker) -> module.
MODULES: dict[str, Callable] = {
    "Conv2D": convolution,
    "DepthwiseConv2D": depthwise,
    "MaxPooling2D": pooling,
    "ReLU": clipped,
    "ZeroPadding2D": padded,
    "Dense": lambda r, s, m, a: nn.Linear(s[-1], r["config"]["units"]),
    "BatchNormalization": lambda r, s, m, a: nn.BatchNorm2d(
        s[-1], r["config"]["epsilon"]
    ),
    "GlobalAveragePooling2D": lambda r, s, m, a: GlobalAverage(),
    "Flatten": lambda r, s, m, a: nn.Flatten(),
    "Concatenate": lambda r, s, m, a: Joined(),
    "Add": lambda r, s, m, a: a(),
}


def load(module, arrays: list, row: dict, net: Net, source: str) -> None:
    """Put Keras' arrays into a module, in its order of axes."""
    if row["kind"] == "BatchNormalization":
        names = ("weight", "bias", "running_mean", "running_var")
    else:
        names = ("weight", "bias")
    if not arrays:
        return
    arrays = list(arrays)
    if row["kind"] == "Conv2D":
        arrays[0] = arrays[0].transpose(3, 2, 0, 1)
    elif row["kind"] == "DepthwiseConv2D":
        arrays[0] = arrays[0].transpose(2, 3, 0, 1)
    elif row["kind"] == "Dense":
        arrays[0] = dense(arrays[0], net, source)
    with torch.no_grad():
        for name, array in zip(names, arrays, strict=False):
            getattr(module, name).copy_(torch.from_numpy(np.ascontiguousarray(array)))


def dense(kernel: np.ndarray, net: Net, source: str) -> np.ndarray:
    """Return (out, in); behind a flattened image reorder (H, W, C) to (C, H, W)."""
    if net.kinds.get(source) == "Flatten":
        before = next(i for n, i in net.rows if n == source)[0]
        h, w, c = net.shapes[before]
        kernel = (
            kernel.reshape(h, w, c, -1).transpose(2, 0, 1, 3).reshape(h * w * c, -1)
        )
    return kernel.T


def tensor(x: np.ndarray) -> torch.Tensor:
    """(B, H, W, C) -> (B, C, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, -1, 1)))


def array(x: torch.Tensor) -> np.ndarray:
    """(B, C, H, W) -> (B, H, W, C)."""
    return np.moveaxis(x.detach().numpy(), 1, -1)


class Forward:
    """The forward pass of a network without hooks, with the weights of `net`."""

    def __init__(self, job: Job, net: Net) -> None:
        self.net, self.x = Net(job), tensor(job.x)
        self.net.load_state_dict(net.state_dict(), assign=True)

    def __call__(self) -> np.ndarray:
        """(B, classes)."""
        with torch.inference_mode():
            return self.net(self.x).numpy()
