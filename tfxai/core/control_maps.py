"""Maps that know nothing of the network: what every explanation must be better than."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tfxai.core.explanation import Explanation
from tfxai.core.model import ModelWrapper


def _random(x: np.ndarray, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.broadcast_to(rng.normal(size=x.shape[1:3]), x.shape[:3])


def _edges(x: np.ndarray, seed: int) -> np.ndarray:
    from skimage.filters import sobel

    return np.stack([sobel(v.mean(-1)) for v in x])


#: name -> (what it is, (pictures, seed) -> maps (B, H, W)).
KNOW_NOTHING: dict[str, tuple[str, Callable]] = {
    "random": ("noise: what is not better than this explains nothing", _random),
    "edges": ("the edges of the picture: pleasing, and blind to the network", _edges),
}


class ControlExplainer:
    """What stands in for an analyzer: `analyze` as an analyzer's."""

    def __init__(self, wrapped: ModelWrapper, name: str, seed: int) -> None:
        self._wrapped, self.method, self._seed = wrapped, name, seed

    def analyze(
        self, x: Any, target: Any, batch_size: int = 32, progress: Any = None
    ) -> Explanation:
        x = np.asarray(x, np.float32)
        maps = KNOW_NOTHING[self.method][1](x, self._seed)
        goal = np.broadcast_to(np.asarray(target, int), len(x))
        y = self._wrapped.logits(x, batch_size)
        score = np.take_along_axis(y, goal[:, None], -1)[:, 0]
        return Explanation(np.float32(maps[..., None]), goal, score, self.method, x)
