"""Tables, texts and series as images, so that the metrics of images evaluate them.

A row (F,) is an image (1, F, 1), a series (L, C) one of (L, C, 1): every feature, token
or value of a channel is a pixel. The model is a callable that gets the rows back.
"""

from dataclasses import dataclass, replace

import numpy as np

from tfxai.base.errors import InputError, ModelError
from tfxai.core.explanation import Explanation
from tfxai.core.model import ModelWrapper, wrap


def kind_of(x: np.ndarray, ids: bool) -> str:
    """Return the kind of a batch: a key of `tfxai.viz.report.WORDS`.

    Args:
        x: The batch.
        ids: An array (B, L) holds token ids.

    Raises:
        InputError: There is none.
    """
    kinds = {4: "images", 3: "series", 2: "texts" if ids else "tables"}
    if x.ndim not in kinds or x.dtype.kind not in "fiub":
        raise InputError(
            f"compare received inputs of shape {x.shape} and type {x.dtype}.",
            "numbers: images (B, H, W, channels), series (B, L, channels), a table "
            "(B, features) or token ids (B, L)",
        )
    return kinds[x.ndim]


@dataclass(frozen=True, eq=False)
class View:
    """A model and its inputs, seen as images.

    Attributes:
        wrapped: The model of the images: its probabilities, or logits without them.
        x: The images.
        baseline: What replaces a masked pixel: of a table the mean of its column, of a
            series that of its channel, of token ids 0.
        output: "probability" or "logit".
    """

    wrapped: ModelWrapper
    x: np.ndarray
    baseline: np.ndarray
    output: str

    def of(self, e: Explanation, batch_size: int) -> Explanation:
        """Return an explanation as one of the images."""
        relevance = np.asarray(e.relevance)
        rows = self.x.shape[0], *self.x.shape[1:3]
        if relevance.ndim == 2:
            relevance = relevance[:, None]
        heatmaps = np.broadcast_to(relevance, rows)
        y = self.wrapped.logits(self.x, batch_size)
        score = np.take_along_axis(y, np.asarray(e.target)[:, None], -1)[:, 0]
        return replace(
            e, relevance=heatmaps[..., None], inputs=self.x, score=score, extra={},
            features=None, tokens=None, option_names=(),
        )  # fmt: skip


def view(wrapped: ModelWrapper, x: np.ndarray, kind: str, batch_size: int) -> View:
    """Return tables, texts or series and their model as images.

    Raises:
        InputError: A table has a single row, which is the mean of its columns.
    """
    if kind == "tables" and len(x) < 2:
        raise InputError(
            "compare received a table of one row, and replaces a feature by the mean "
            "of its column: no output would change.",
            "two rows or more, such as those of a test set",
            "tfxai.compare(model, x_test[:50])",
        )
    shape = x.shape[1:]
    pixels = (1, *shape, 1) if len(shape) == 1 else (*shape, 1)
    try:
        wrapped.probabilities(x, batch_size)
        answers, output = wrapped.probabilities, "probability"
    except ModelError:
        answers, output = wrapped.logits, "logit"

    def answer(images: np.ndarray) -> np.ndarray:
        rows = np.asarray(images).reshape(len(images), *shape)
        return answers(wrapped.given(rows, x.dtype), batch_size)

    images = x.reshape(len(x), *pixels)
    axis = 1 if kind == "series" else 0
    mean = x.mean(axis, keepdims=True) if kind != "texts" else np.zeros(1)
    baseline = np.broadcast_to(mean, x.shape)
    return View(
        wrap(answer), images, baseline.reshape(images.shape).astype(float), output
    )
