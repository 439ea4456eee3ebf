"""The perturbation CNN, meaningful perturbation and extremal perturbation."""

import warnings
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.errors import EvenKernelWarning, OptionError
from tfxai.base.tensors import Tensor
from tfxai.base.validation import above, at_least, one_of, whole_number
from tfxai.core.analyzer import Analyzer
from tfxai.core.model import ModelWrapper
from tfxai.core.registry import MethodSpec, register
from tfxai.perturbation import mask
from tfxai.perturbation.generator import (
    NORMALISED,
    STARTS,
    Generator,
    convolutional,
    shared,
    unshared,
)
from tfxai.perturbation.optimisation import learnt
from tfxai.perturbation.postprocess import processed

NEEDS = "pictures, and a model that TensorFlow can differentiate"


def perturbation_cnn(
    wrapped: ModelWrapper,
    kernel_size: int = 3,
    n_blocks: int = 3,
    n_layers: int = 3,
    steps: int = 500,
    learning_rate: float = 0.001,
    l1: float = 1.0,
    shared_kernel: bool = True,
    width: int = 16,
    start: str = "identity",
    normalise: str = "range",
    unit: float | None = None,
    tolerance: float = 1e-3,
    restarts: int = 2,
    power: float | None = 6,
    border: float | None = 0.1,
    dilation: int | None = None,
    scale: str = "auto",
    seed: int = 0,
    target: Any = None,
) -> Analyzer:
    """A small CNN rewrites the picture until the class is gone; what it changed counts.

    It minimises score + l1 mean|x - x'| / unit by Adam, from the best of 1 + `restarts`
    random starts. `relevance` is x - x', (B, H, W, C), with its sign; x is the input
    before `preprocess`.

    kernel_size, n_blocks, n_layers: blocks of n_layers convolutions and a ReLU; an even
    size is made odd, with a warning. shared_kernel: one kernel for all of them as
    published; else `width` channels lie between the first and the last.
    start: "random" as published, or "identity": near a network that changes nothing,
        from the third start on three times as far as the one before.
    normalise: what the CNN sees, the picture in [0, 1] ("range"), less its mean and by
    its deviation ("standard", as published), or as it is ("none").
    unit: of the differences; None is each picture's range.
    tolerance: a sample ends when 100 steps have not made its loss smaller by this
    share; 0 never. restarts: new starts for samples whose score has not fallen by 90 %,
    or whose picture lost a colour: behind a dead ReLU nothing brings it back.
    As published: start="random", normalise="standard", learning_rate=0.01, l1=4 (the
    network's input was divided by about a quarter of the range), tolerance=0,
    restarts=0.
    power, border, dilation: of `heatmap()`; see `process.processed`.
    scale: "probability", "logit" or "log_odds"; see `scale.scaled`.

    extra: perturbed, loss, score_before, score_after, probability (of the class; NaN
    where there is none), loss_history and score_history (B, steps; NaN after the last),
    steps_taken, best_step, center_of_mass (row, column) in pixels, l1 (mean |x - x'|),
    channels_lost (how many came out flat), seconds, top_classes with top_before and
    top_after, heatmap.

    Warns UncertainClassWarning where the class's probability is below 0.5 (on any
    scale), and StuckWarning where the score has not fallen by half of its size (in
    `extremal_perturbation`, where it is to stay: where it has), or where a channel came
    out flat.
    """
    size = _odd(kernel_size)
    for name, value in (("n_blocks", n_blocks), ("n_layers", n_layers)):
        whole_number(name, value, 1)
    whole_number("width", width, 1)
    at_least("l1", l1, 0)
    one_of("start", start, STARTS)
    one_of("normalise", normalise, tuple(NORMALISED))
    if unit is not None:
        above("unit", unit)
    _check_process(power, border, dilation)
    layers = [n_layers] * n_blocks

    def generator(shape: tuple) -> Generator:
        if size > 2 * max(shape[:2]):
            raise OptionError(
                f"kernel_size={size} for pictures of {shape[0]} x {shape[1]}.",
                "a kernel that is smaller than the picture",
                "kernel_size=3",
            )
        own = (size, layers, shape[-1], start)
        one = shared(*own) if shared_kernel else unshared(*own, width)
        return convolutional(one, normalise, l1, unit)

    def picture(difference: np.ndarray) -> np.ndarray:
        return processed(difference, power, border, dilation)

    options = {
        "kernel_size": size, "n_blocks": n_blocks, "n_layers": n_layers,
        "l1_weight": l1, "shared_kernel": bool(shared_kernel), "width": width,
        "start": start,
        "normalise": normalise, "unit": unit, "power": power, "border": border,
        "dilation": dilation,
    }  # fmt: skip
    return learnt(
        "perturbation_cnn", wrapped, generator, picture,
        steps, learning_rate, tolerance, restarts, seed, scale, target, options,
    )  # fmt: skip


def meaningful_perturbation(
    wrapped: ModelWrapper,
    cells: int = 28,
    blur: float = 10.0,
    l1: float = 0.5,
    tv: float = 8.0,
    beta: float = 3.0,
    jitter: int = 4,
    steps: int = 300,
    learning_rate: float = 0.1,
    tolerance: float = 0.0,
    restarts: int = 0,
    scale: str = "auto",
    seed: int = 0,
    target: Any = None,
) -> Analyzer:
    """The least mask whose blurred places make the score fall.

    Fong and Vedaldi 2017, equation 4: a coarse mask m of `cells` along the longer side
    is enlarged; x' = m x + (1 - m) blurred x, moved by up to `jitter` pixels at each
    step; score(x') + l1 mean|1 - m| + tv mean|grad m|^beta is minimised.
    `relevance` (B, H, W, 1) is 1 - m: how much of a place must go.

    blur: the Gaussian's deviation in pixels. l1, tv: as published 0.08 and 7.8; there
    the sums over 28 x 28 cells had the weights 1e-4 and 1e-2. The other options and
    extra: see `perturbation_cnn`.
    """
    whole_number("cells", cells, 1)
    whole_number("jitter", jitter, 0)
    above("blur", blur)
    for name, value in (("l1", l1), ("tv", tv)):
        at_least(name, value, 0)
    at_least("beta", beta, 1)

    def generator(shape: tuple) -> Generator:
        coarse = min(cells, max(shape[:2]))
        return mask.deletion(
            shape[:2], coarse, blur, l1, tv, beta, _moved(jitter, seed)
        )

    options = {"cells": cells, "blur": blur, "l1_weight": l1, "tv": tv, "beta": beta}
    return learnt(
        "meaningful_perturbation", wrapped, generator, None, steps,
        learning_rate, tolerance, restarts, seed, scale, target,
        options | {"jitter": jitter},
    )  # fmt: skip


def extremal_perturbation(
    wrapped: ModelWrapper,
    area: float = 0.1,
    step: int | None = None,
    sigma: float | None = None,
    blur: float = 20.0,
    levels: int = 8,
    area_weight: float = 300.0,
    flip: bool = True,
    steps: int = 400,
    learning_rate: float = 0.01,
    tolerance: float = 0.0,
    scale: str = "logit",
    seed: int = 0,
    target: Any = None,
) -> Analyzer:
    """The place of a given area that keeps the score highest, all else blurred.

    Fong, Patrick and Vedaldi 2019, equations 2 to 5: a smooth mask m of parameters
    `step` pixels apart and radius `sigma` (None: 7 and 21 of 224 pixels) chooses
    between `levels` blurs up to `blur` pixels; score(x') - area_weight 1.0035^t
    mean(sorted m - r)^2 is maximised, by momentum as published. `relevance`
    (B, H, W, 1) is m.

    area: the share that is kept. flip: mirror every other step. The other options and
    extra: see `perturbation_cnn`.
    """
    above("area", area)
    if area >= 1:
        raise OptionError(f"area={area!r}.", "a share below 1", "area=0.1")
    if step is not None:
        whole_number("step", step, 1)
    for name, value in (("sigma", sigma), ("blur", blur), ("area_weight", area_weight)):
        if value is not None:
            above(name, value)
    whole_number("levels", levels, 2)

    def generator(shape: tuple) -> Generator:
        side = min(shape[:2])
        pixels = max(1, round(7 / 224 * side)) if step is None else step
        radius = max(1.0, 21 / 224 * side) if sigma is None else sigma
        return mask.preservation(
            shape[:2], area, pixels, radius, blur, levels, area_weight, seed,
            _mirrored if flip else _still,
        )  # fmt: skip

    options = {"area": area, "step": step, "sigma": sigma, "blur": blur}
    options |= {"levels": levels, "area_weight": area_weight, "flip": flip}
    return learnt(
        "extremal_perturbation", wrapped, generator, None, steps,
        learning_rate, tolerance, 0, seed, scale, target, options,
    )  # fmt: skip


def _odd(kernel_size: Any) -> int:
    whole_number("kernel_size", kernel_size, 1)
    if kernel_size % 2:
        return kernel_size
    warnings.warn(
        f"kernel_size={kernel_size} is even, and a kernel needs a middle: "
        f"{kernel_size + 1} is taken.",
        EvenKernelWarning,
        stacklevel=5,
    )
    return kernel_size + 1


def _check_process(power: Any, border: Any, dilation: Any) -> None:
    if power is not None:
        above("power", power)
    if border is not None:
        at_least("border", border, 0)
        if border >= 0.5:
            raise OptionError(f"border={border!r}.", "a share below 0.5, of each side")
    if dilation is not None:
        whole_number("dilation", dilation, 0)


def _moved(most: int, seed: int):
    """Pictures rolled by up to `most` pixels each way, anew at every step."""

    def shake(x: Tensor, step: Tensor) -> Tensor:
        by = tf.random.stateless_uniform(
            [2], tf.stack([seed, step]), -most, most + 1, tf.int32
        )
        return tf.roll(x, by, [1, 2])

    return shake


def _still(x: Tensor, step: Tensor) -> Tensor:
    return x


def _mirrored(x: Tensor, step: Tensor) -> Tensor:
    return tf.cond(step % 2 == 0, lambda: tf.reverse(x, [2]), lambda: x)


def _row(name: str, summary: str, paper: str, build: Any) -> None:
    register(MethodSpec(name, "perturbation", summary, NEEDS, paper, build))


_row(
    "perturbation_cnn", "a CNN that learns what to destroy",
    "Rodriguez 2018, Deep Explanation (github.com/roberto1648)", perturbation_cnn,
)  # fmt: skip
_row(
    "meaningful_perturbation", "the least mask whose blurring takes the class away",
    "Fong and Vedaldi 2017, arXiv:1704.03296", meaningful_perturbation,
)  # fmt: skip
_row(
    "extremal_perturbation", "the place of a given area that keeps the class",
    "Fong et al. 2019, arXiv:1910.08485", extremal_perturbation,
)  # fmt: skip
