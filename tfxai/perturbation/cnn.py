"""The perturbation CNN, meaningful perturbation and extremal perturbation."""

import warnings
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from tfxai.base.errors import EvenKernelWarning, OptionError
from tfxai.base.validation import above, at_least, one_of, whole_number
from tfxai.core.analyzer import Analyzer
from tfxai.core.model import ModelWrapper
from tfxai.core.registry import MethodSpec, register
from tfxai.perturbation import mask
from tfxai.perturbation.augmentation import alternate_flip, random_shift, unchanged
from tfxai.perturbation.generator import (
    NORMALISED,
    STARTS,
    Generator,
    convolutional,
    shared,
    unshared,
)
from tfxai.perturbation.optimisation import OptimisationConfig, optimise
from tfxai.perturbation.postprocess import processed

NEEDS = "images, and a model that TensorFlow can differentiate"


def perturbation_cnn(
    wrapped: ModelWrapper,
    kernel_size: int = 3,
    n_blocks: int = 3,
    n_layers: int = 3,
    n_iterations: int = 500,
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
    """Return an analyzer that optimises a small CNN to remove the class from the image.

    Adam minimises score + l1 mean|x - x'| / unit, and the best of 1 + `restarts` random
    starts is returned. `relevance` is x - x', (B, H, W, C), with its sign; x is the
    input before `preprocess`.

    The published settings are start="random", normalise="standard",
    learning_rate=0.01, l1=4 (the network's input was divided by about a quarter of the
    range), tolerance=0, restarts=0.

    Args:
        wrapped: The model.
        kernel_size: Size of the convolution kernel in pixels. An even size is increased
            by one, with a warning.
        n_blocks: Number of blocks. A block is `n_layers` convolutions and a ReLU.
        n_layers: Number of convolutions in a block.
        n_iterations: Largest number of iterations of a start.
        learning_rate: Learning rate of Adam.
        l1: Weight of the mean absolute difference.
        shared_kernel: Use one kernel for all convolutions, as published. Otherwise
            each has its own, with `width` channels between the first and the last.
        width: Number of channels between convolutions without a shared kernel.
        start: Initial parameters, "identity" or "random". "random" is as published;
            "identity" is near a network that changes nothing, with noise that grows by
            a factor of three with each start from the third on.
        normalise: Normalisation of the CNN's input, "range", "standard" or "none". The
            image is scaled to [0, 1], or to mean 0 and standard deviation 1 (as
            published), or used as it is.
        unit: Unit of the differences. None is the range of each image.
        tolerance: Share by which the loss must fall in 100 iterations, or the sample
            stops. 0 never stops.
        restarts: Largest number of further starts of a sample. A sample is restarted if
            its score has not fallen by 90 %, or if a channel of the image became flat:
            after a ReLU that is zero everywhere, no gradient restores it.
        power: Exponent of the difference in `heatmap()`; see `postprocess.processed`.
        border: Share of each side that is zero in `heatmap()`.
        dilation: Side in pixels of the square that dilates `heatmap()`. None is
            20 / 224 of the shorter side.
        scale: Explained output, "auto", "probability", "logit" or "log_odds"; see
            `output_scale.scaled`.
        seed: Seed of the starts.
        target: Default target of `analyze`.

    Returns:
        An analyzer whose explanations have in `extra`: perturbed, loss, score_before,
        score_after, probability (of the class; NaN where there is none), loss_history
        and score_history (B, n_iterations; NaN after the last), iterations_taken,
        best_iteration, center_of_mass (row, column) in pixels, l1 (mean |x - x'|),
        channels_lost (number of flat channels), seconds, top_classes with top_before
        and top_after, heatmap.

    Raises:
        OptionError: An option is out of range.
        InputError: The inputs are no images, or have one colour (raised by `analyze`).

    Warns:
        EvenKernelWarning: `kernel_size` is even.
        UncertainClassWarning: The probability of the class is below 0.5 (on any scale).
        StuckWarning: The score has not fallen by half of its size (in
            `extremal_perturbation`, which keeps the score: it has), or a channel became
            flat.

    References:
        Rodriguez 2018, Deep Explanation (github.com/roberto1648).
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
    _check_postprocess(power, border, dilation)

    def generator(shape: tuple[int, ...]) -> Generator:
        if size > 2 * max(shape[:2]):
            raise OptionError(
                f"kernel_size={size} for images of {shape[0]} x {shape[1]}.",
                "a kernel that is smaller than the image",
                "kernel_size=3",
            )
        kernels = None if shared_kernel else width
        return _generator(
            size, n_blocks, n_layers, shape[-1], start, kernels, normalise, l1, unit
        )

    def heatmap(difference: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return processed(difference, power, border, dilation)

    options = {
        "kernel_size": size, "n_blocks": n_blocks, "n_layers": n_layers,
        "l1_weight": l1, "shared_kernel": bool(shared_kernel), "width": width,
        "start": start,
        "normalise": normalise, "unit": unit, "power": power, "border": border,
        "dilation": dilation,
    }  # fmt: skip
    config = OptimisationConfig(
        n_iterations, learning_rate, tolerance, restarts, seed, scale
    )
    return optimise(
        "perturbation_cnn", wrapped, generator, config, target, options, heatmap
    )


def meaningful_perturbation(
    wrapped: ModelWrapper,
    cells: int = 28,
    blur: float = 10.0,
    l1: float = 0.5,
    tv: float = 8.0,
    beta: float = 3.0,
    jitter: int | None = None,
    n_iterations: int = 300,
    learning_rate: float = 0.1,
    tolerance: float = 0.0,
    restarts: int = 0,
    scale: str = "auto",
    seed: int = 0,
    target: Any = None,
) -> Analyzer:
    """Return an analyzer of the smallest mask whose blurring lowers the score.

    A coarse mask m is enlarged to the image, and x' = m x + (1 - m) blurred x. Adam
    minimises score(x') + l1 mean|1 - m| + tv mean|grad m|^beta. `relevance`
    (B, H, W, 1) is 1 - m: how strongly a position is blurred.

    Args:
        wrapped: The model.
        cells: Cells of the coarse mask along the longer side.
        blur: Standard deviation of the Gaussian in pixels.
        l1: Weight of the mask's area. As published it is 0.08: there the sum over
            28 x 28 cells had the weight 1e-4.
        tv: Weight of the total variation of the mask. As published it is 7.8: there the
            sum over 28 x 28 cells had the weight 1e-2.
        beta: Exponent of the total variation, at least 1.
        jitter: Largest shift of x' in pixels, sampled at every iteration. None is 4 for
            images of 224 pixels or more, and 4 / 224 of the shorter side for others.
        n_iterations: Number of iterations.
        learning_rate: Learning rate of Adam.
        tolerance: Share by which the loss must fall in 100 iterations, or the sample
            stops. 0 never stops.
        restarts: Largest number of further starts of a sample.
        scale: Explained output, "auto", "probability", "logit" or "log_odds"; see
            `output_scale.scaled`.
        seed: Seed of the starts and of the jitter.
        target: Default target of `analyze`.

    Returns:
        An analyzer; for `extra` and warnings see `perturbation_cnn`.

    References:
        Fong and Vedaldi 2017, arXiv:1704.03296, eq. 4.
    """
    whole_number("cells", cells, 1)
    if jitter is not None:
        whole_number("jitter", jitter, 0)
    above("blur", blur)
    for name, value in (("l1", l1), ("tv", tv)):
        at_least(name, value, 0)
    at_least("beta", beta, 1)

    def generator(shape: tuple[int, ...]) -> Generator:
        coarse = min(cells, max(shape[:2]))
        most = min(4, round(4 / 224 * min(shape[:2]))) if jitter is None else jitter
        return mask.deletion(
            (shape[0], shape[1]), coarse, blur, l1, tv, beta, random_shift(most, seed)
        )

    options = {"cells": cells, "blur": blur, "l1_weight": l1, "tv": tv, "beta": beta}
    config = OptimisationConfig(
        n_iterations, learning_rate, tolerance, restarts, seed, scale
    )
    return optimise(
        "meaningful_perturbation", wrapped, generator, config, target,
        options | {"jitter": jitter},
    )  # fmt: skip


def extremal_perturbation(
    wrapped: ModelWrapper,
    area: float = 0.1,
    stride: int | None = None,
    sigma: float | None = None,
    blur: float = 20.0,
    levels: int = 8,
    area_weight: float = 300.0,
    flip: bool = True,
    n_iterations: int = 400,
    learning_rate: float = 0.01,
    tolerance: float = 0.0,
    scale: str = "logit",
    seed: int = 0,
    target: Any = None,
) -> Analyzer:
    """Return an analyzer of the region of a given area that keeps the score highest.

    Everything else is blurred: a smooth mask m selects between `levels` blurs up to
    `blur` pixels. Momentum, as published, maximises
    score(x') - area_weight 1.0035^t mean(sorted m - r)^2 at iteration t. `relevance`
    (B, H, W, 1) is m.

    Args:
        wrapped: The model.
        area: Share of the image that is kept, between 0 and 1.
        stride: Distance between parameters of the mask in pixels. None is 7 / 224 of
            the shorter side.
        sigma: Radius of the smooth mask in pixels. None is 21 / 224 of the shorter
            side.
        blur: Standard deviation of the strongest Gaussian in pixels.
        levels: Number of blur levels, at least 2.
        area_weight: Weight of the area constraint.
        flip: Mirror the image at every other iteration.
        n_iterations: Number of iterations.
        learning_rate: Learning rate of the optimiser.
        tolerance: Share by which the loss must fall in 100 iterations, or the sample
            stops. 0 never stops.
        scale: Explained output, "auto", "probability", "logit" or "log_odds"; see
            `output_scale.scaled`.
        seed: Seed of the random order of equal mask values.
        target: Default target of `analyze`.

    Returns:
        An analyzer; for `extra` and warnings see `perturbation_cnn`.

    References:
        Fong, Patrick and Vedaldi 2019, arXiv:1910.08485, eq. 2 to 5.
    """
    above("area", area)
    if area >= 1:
        raise OptionError(f"area={area!r}.", "a share below 1", "area=0.1")
    if stride is not None:
        whole_number("stride", stride, 1)
    for name, value in (("sigma", sigma), ("blur", blur), ("area_weight", area_weight)):
        if value is not None:
            above(name, value)
    whole_number("levels", levels, 2)

    def generator(shape: tuple[int, ...]) -> Generator:
        side = min(shape[:2])
        pixels = max(1, round(7 / 224 * side)) if stride is None else stride
        radius = max(1.0, 21 / 224 * side) if sigma is None else sigma
        return mask.preservation(
            (shape[0], shape[1]), area, pixels, radius, blur, levels, area_weight, seed,
            alternate_flip if flip else unchanged,
        )  # fmt: skip

    options = {"area": area, "stride": stride, "sigma": sigma, "blur": blur}
    options |= {"levels": levels, "area_weight": area_weight, "flip": flip}
    config = OptimisationConfig(n_iterations, learning_rate, tolerance, 0, seed, scale)
    return optimise(
        "extremal_perturbation", wrapped, generator, config, target, options
    )


@lru_cache(maxsize=16)
def _generator(
    size: int, n_blocks: int, n_layers: int, channels: int, start: str,
    width: int | None, normalise: str, l1: float, unit: float | None,
) -> Generator:  # fmt: skip
    """The generator; one kernel for all layers where there is no width.

    It is shared by equal options, since XLA frees no executable.
    """
    layers = [n_layers] * n_blocks
    own = (size, layers, channels, start)
    network = shared(*own) if width is None else unshared(*own, width)
    return convolutional(network, normalise, l1, unit)


def _odd(kernel_size: Any) -> int:
    """Return an odd kernel size; warn if it was even."""
    whole_number("kernel_size", kernel_size, 1)
    size = int(kernel_size)
    if size % 2:
        return size
    warnings.warn(
        f"kernel_size={size} is even, and a kernel needs a centre pixel: "
        f"kernel_size={size + 1} is used.",
        EvenKernelWarning,
        stacklevel=5,
    )
    return size + 1


def _check_postprocess(power: Any, border: Any, dilation: Any) -> None:
    """Raise OptionError for options of `processed` that are out of range."""
    if power is not None:
        above("power", power)
    if border is not None:
        at_least("border", border, 0)
        if border >= 0.5:
            raise OptionError(f"border={border!r}.", "a share below 0.5, of each side")
    if dilation is not None:
        whole_number("dilation", dilation, 0)


def _row(
    name: str, summary: str, paper: str, build: Any, not_xla: str = "", **more: Any
) -> None:
    """Register a builder function; its options are its parameters."""
    spec = MethodSpec(name, "perturbation", summary, NEEDS, paper, build, **more)
    register(replace(spec, not_xla=not_xla))


_row(
    "perturbation_cnn", "a CNN, optimised to remove the class from the image",
    "Rodriguez 2018, Deep Explanation (github.com/roberto1648)", perturbation_cnn,
    formula="minimise f_t(x') + l1 mean |x - x'| / unit, x' = CNN(noise); R = x - x'",
    limits="The result depends on the seed and the settings, and the change may be an "
    "adversarial one that no person sees. `StuckWarning` reports a class that was not "
    "removed.",
    also_in="the repository of the author",
)  # fmt: skip
_row(
    "meaningful_perturbation", "the smallest mask whose blurring removes the class",
    "Fong and Vedaldi 2017, arXiv:1704.03296", meaningful_perturbation,
    formula="minimise f_t(x') + l1 mean |1 - m| + tv mean |grad m|^beta, x' = m x + "
    "(1 - m) blur(x); R = 1 - m",
    limits="Evidence that blurring keeps, such as colour, cannot be removed. The "
    "penalties decide how large the mask is; a fine mask may be adversarial.",
    also_in="the code of the authors",
)  # fmt: skip
_row(
    "extremal_perturbation", "the region of a given area that keeps the class",
    "Fong et al. 2019, arXiv:1910.08485", extremal_perturbation,
    "it sorts nearly equal pixels, and their order depends on rounding",
    formula="maximise f_t(x') - area_weight mean (sorted m - r)^2, x' = x blurred "
    "where m is small; R = m",
    limits="The area must be given: an object that is smaller or larger is cut or "
    "padded. It always marks that area, also where the model uses nothing.",
    also_in="TorchRay",
)  # fmt: skip
