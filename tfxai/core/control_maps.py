"""Control explanations, which ignore the model; a method must be better than these."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tfxai.base.errors import InputError
from tfxai.core.explanation import Explanation
from tfxai.core.model import ModelWrapper

Array = np.ndarray[Any, Any]


def _random(x: Array, seed: int) -> Array:
    """The same normal noise for all images."""
    rng = np.random.default_rng(seed)
    return np.broadcast_to(rng.normal(size=x.shape[1:3]), x.shape[:3])


def _edges(x: Array, seed: int) -> Array:
    """The strength of the edges of each image."""
    from skimage import filters

    sobel: Callable[[Array], Array] = filters.sobel  # has no types
    return np.stack([sobel(v.mean(-1)) for v in x])


#: name -> (description, (images, seed) -> heatmaps (B, H, W)).
CONTROLS: dict[str, tuple[str, Callable[[Array, int], Array]]] = {
    "random": ("random noise; a method that is not better explains nothing", _random),
    "edges": ("the edges of the image, which do not depend on the model", _edges),
}


class ControlExplainer:
    """A control explanation with the interface of an analyzer.

    Args:
        wrapped: The wrapped model, which computes the scores.
        name: A name of `CONTROLS`.
        seed: Seed of the noise.
    """

    def __init__(self, wrapped: ModelWrapper, name: str, seed: int) -> None:
        self._wrapped, self.method, self._seed = wrapped, name, seed

    def analyze(
        self, x: Any, target: Any, batch_size: int = 32, progress: Any = None,
        **texts: Any,
    ) -> Explanation:  # fmt: skip
        """Return the control explanation of inputs; arguments as for `Analyzer`."""
        x = self._wrapped.given(x, np.asarray(x).dtype)
        if self.method == "edges" and x.ndim != 4:
            raise InputError(
                f"Inputs of shape {x.shape} have no edges.",
                "images (B, H, W, channels)",
            )
        heatmaps = CONTROLS[self.method][1](np.asarray(x, np.float32), self._seed)
        relevance = np.float32(heatmaps[..., None] if x.ndim == 4 else heatmaps)
        goal = np.broadcast_to(np.asarray(target, int), len(x))
        y = self._wrapped.logits(x, batch_size)
        score = np.take_along_axis(y, goal[:, None], -1)[:, 0]
        return Explanation(relevance, goal, score, self.method, x, **texts)
