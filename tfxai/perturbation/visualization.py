"""Feature visualisation: images that maximise a class, a channel, or a direction.

References:
    Fourier: Olah, Mordvintsev and Schubert 2017, Feature Visualization, Distill.
    MaCo: Fel et al. 2023, arXiv:2306.06805.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfxai.base.errors import StuckWarning
from tfxai.base.validation import above, at_least, is_int, one_of, whole_number
from tfxai.core.model import wrap
from tfxai.perturbation.augmentation import random_crops
from tfxai.perturbation.descent import Array
from tfxai.perturbation.search import Search, wanted_look
from tfxai.perturbation.spectra import PARAMETRISATIONS

#: method -> (mean side of crops at the first and last iteration, spread of centres).
CROPS = {"fourier": ((0.9, 0.9), 0.05), "maco": ((0.5, 0.05), 0.15)}


@dataclass(frozen=True)
class Visualization:
    """The images that `tfxai.visualize` found.

    Attributes:
        images: The images (N, H, W, C) in [low, high], one for each target.
        activation: What was maximised, at each image, (N,).
        history: Activation before every iteration, (N, n_iterations).
        transparency: Mean |d activation / d image| over noisy copies of the image,
            channels added up, (N, H, W). It marks what the activation depends on.
        target: The targets, as given.
        at: The layer, or None for the output.
        method: "fourier" or "maco".
        low: Smallest value of an image.
        high: Largest value of an image.
    """

    images: Array
    activation: Array
    history: Array
    transparency: Array
    target: list[Any]
    at: Any
    method: str
    low: float
    high: float

    def __len__(self) -> int:
        return len(self.images)

    def plot(self, names: Any = None, opaque: bool = True) -> Any:
        """Return a figure of the images, with target and activation as titles.

        Args:
            names: The names of the classes or channels by index.
            opaque: False lets the parts of small `transparency` fade to white.
        """
        from tfxai.viz import plot

        scaled = (self.images - self.low) / (self.high - self.low)
        if not opaque:
            strength = self.transparency[..., None]
            top = np.percentile(strength, 99, (1, 2, 3), keepdims=True)
            alpha = np.clip(strength / np.maximum(top, 1e-12), 0, 1)
            scaled = alpha * scaled + (1 - alpha)
        pairs = zip(self.target, self.activation, strict=True)
        titles = [f"{_title(t, self.at, names)}\n{a:.4g}" for t, a in pairs]
        return plot.grid([list(scaled)], column_names=titles)


def visualize(
    model: Any,
    target: Any = None,
    at: Any = None,
    method: str = "fourier",
    *,
    low: float | None = None,
    high: float | None = None,
    images: Any = None,
    shape: Any = None,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    n_iterations: int = 256,
    learning_rate: float | None = None,
    starts: int = 8,
    kept: int = 3,
    views: int = 2,
    noise: float = 0.02,
    seed: int = 0,
    batch_size: int = 16,
    progress: bool | None = None,
) -> Visualization:
    """Return images that maximise a class, or a channel or direction of a layer.

    Args:
        model: A model of images that TensorFlow can differentiate, or what `wrap`
            returned.
        target: What is maximised; a list gives one image for each. Of the output
            (`at=None`): a class, whose logit is maximised, an index, or a function of
            the outputs. Of a layer: the number of a channel or unit (its mean over all
            positions), an index (y, x, channel) of one neuron, an array (C,) of floats
            (the mean product with this direction), a function of the activations (B,
            ...), or None for the mean square of the whole layer.
        at: The layer: its name, its number in `model.layers`, or the layer. None is the
            output.
        method: "fourier" optimises the spectrum of the image, "maco" its phase, with
            the magnitude of `images` or of natural images.
        low: Smallest value of an image, before `preprocess`. None is that of `images`.
        high: Largest value of an image. None is that of `images`.
        images: Example images (B, H, W, C), for the range, colours and magnitudes. None
            takes the colours of ImageNet and the magnitude 1 / f.
        shape: (H, W) of an image, for a model that takes any size.
        preprocess: `raw batch -> network input`, in TensorFlow operations.
        output: The number or the name of the output, where the model has several.
        n_iterations: Number of iterations.
        learning_rate: Factor of each update of Adam. None is 0.4 of "fourier", 0.3 of
            "maco"; it falls to 0 as half a cosine.
        starts: Number of random starts of each target, which run an eighth of the
            iterations. The `kept` best of them run all, and the best is returned.
        kept: Number of starts that run all iterations.
        views: Number of random crops whose activation is maximised beside that of the
            image.
        noise: Standard deviation of the noise of crops, in units of high - low.
        seed: Seed of starts, crops and noise.
        batch_size: How many images are optimised at once.
        progress: Show a progress bar; None shows one on a terminal.

    Raises:
        InputError: The model takes no images of floats, or `images` do not fit it.
        OptionError: An option is out of range, or the range or size of an image is not
            known.
        TargetError: The target does not fit the output or the layer.
        UnknownNameError: There is no such layer.
        BlackBoxError: The model is a plain callable.

    Warns:
        StuckWarning: An activation did not rise.

    References:
        Olah et al. 2017, Feature Visualization, Distill; Fel et al. 2023,
        arXiv:2306.06805.

    Example:
        >>> v = tfxai.visualize(model, 340, low=-1, high=1)
        >>> v.plot().savefig("zebra.png")
    """
    one_of("method", method, PARAMETRISATIONS)
    for name, value in (
        ("n_iterations", n_iterations),
        ("starts", starts),
        ("kept", kept),
        ("batch_size", batch_size),
    ):
        whole_number(name, value, 1)
    whole_number("views", views, 0)
    whole_number("seed", seed, 0)
    at_least("noise", noise, 0)
    if learning_rate is not None:
        above("learning_rate", learning_rate)
    wrapped = wrap(model, preprocess, output)
    wrapped.check_differentiable()
    wrapped.check_channels_last("visualize")
    look = wanted_look(wrapped, low, high, images, shape)
    search = Search(
        wrapped, look, target, at, PARAMETRISATIONS[method](look),
        random_crops(
            *CROPS[method], noise * (look.high - look.low), n_iterations, seed
        ),
        views, n_iterations, learning_rate,
    )  # fmt: skip
    found = search.run(starts, kept, seed, batch_size, progress)
    _, activation, history, _ = found
    stuck = np.flatnonzero(~(activation > history[:, 0]))
    if len(stuck) and n_iterations > 1:
        warnings.warn(
            f"visualize: the activation of target {search.targets[stuck[0]]!r} did not "
            "rise: its gradient is zero at the starts, as behind a ReLU that is zero "
            "everywhere. Increase starts, or choose the layer before the activation.",
            StuckWarning,
            stacklevel=2,
        )
    return Visualization(*found, search.targets, at, method, look.low, look.high)


def _title(target: Any, at: Any, names: Any) -> str:
    """Return the title of one image."""
    if names is not None and is_int(target) and target < len(names):
        return str(names[target])
    if target is None:
        return f"layer {at}"
    if callable(target):
        return getattr(target, "__name__", "function")
    if isinstance(target, np.ndarray):
        return f"direction at {at}"
    return f"class {target}" if at is None else f"{target} at {at}"
