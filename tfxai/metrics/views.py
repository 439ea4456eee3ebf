"""Tables, texts and series as images, so that the metrics of images evaluate them.

A row (F,) is an image (1, F, 1), a series (L, C) one of (L, C, 1): every feature, token
or value of a channel is a pixel. The model is a callable that gets the rows back.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tfxai.base.errors import InputError, ModelError, TfxaiError
from tfxai.core.explanation import Explanation
from tfxai.core.inputs import signature
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
            f"The inputs have shape {x.shape} and type {x.dtype}.",
            "numbers: images (B, H, W, channels), series (B, L, channels), a table "
            "(B, features) or token ids (B, L)",
        )
    return kinds[x.ndim]


def are_ids(x: np.ndarray, wrapped: ModelWrapper) -> bool:
    """Whether whole numbers are token ids: the model looks them up, or takes no others.

    Those of a model that cannot be read are token ids.
    """
    if not wrapped.differentiable or x.dtype.kind not in "iu":
        return False
    try:
        program = wrapped.program()
    except TfxaiError:
        return True
    whole = signature(wrapped.specs, [x])[0].dtype.is_integer
    return whole or any(program.lookups.values())


@dataclass(frozen=True, eq=False)
class View:
    """A model and its inputs, seen as images.

    Attributes:
        wrapped: The model of the images: its probabilities, or logits without them.
        x: The images.
        baseline: What replaces a masked pixel: of a table the mean of its column, of a
            series that of its channel, of token ids 0.
        output: "probability" or "logit".
        shape: The shape of a row.
        kind: "tables", "texts" or "series".
    """

    wrapped: ModelWrapper
    x: np.ndarray
    baseline: np.ndarray
    output: str
    shape: tuple[int, ...]
    kind: str

    def of(self, e: Explanation, batch_size: int, x: Any = None) -> Explanation:
        """Return an explanation as one of the images, or of nearby images `x`."""
        x = self.x if x is None else x
        relevance = np.asarray(e.relevance)
        if relevance.ndim == 2:
            relevance = relevance[:, None]
        heatmaps = np.broadcast_to(relevance, x.shape[:3])
        y = self.wrapped.logits(x, batch_size)
        score = np.take_along_axis(y, np.asarray(e.target)[:, None], -1)[:, 0]
        return replace(
            e, relevance=heatmaps[..., None], inputs=x, score=score, extra={},
            features=None, tokens=None, option_names=(),
        )  # fmt: skip


class RowAnalyzer:
    """An analyzer of rows that explains them as images, for metrics that repeat it.

    Attributes:
        of_rows: The analyzer.
        wrapped: The model of the images.
        method: The name of the method.
        kind: "tables", "texts" or "series".
    """

    def __init__(self, of_rows: Any, view: View) -> None:
        self.of_rows, self._view = of_rows, view
        self.wrapped, self.method = view.wrapped, of_rows.method
        self.kind = view.kind

    def rows(self, x: np.ndarray) -> np.ndarray:
        """Return images as rows."""
        return np.asarray(x).reshape(len(x), *self._view.shape)

    def analyze(
        self, x: np.ndarray, target: Any, batch_size: int = 32, progress: Any = None
    ) -> Explanation:
        """Return the explanation of images; arguments as for `Analyzer`."""
        rows = self.rows(x)
        if self.kind == "texts":
            rows = rows.astype(np.int32)
        e = self.of_rows.analyze(rows, target, batch_size, progress)
        return self._view.of(e, batch_size, np.asarray(x))


def view(wrapped: ModelWrapper, x: np.ndarray, kind: str, batch_size: int) -> View:
    """Return tables, texts or series and their model as images.

    Raises:
        InputError: A table has a single row, which is the mean of its columns.
    """
    if kind == "tables" and len(x) < 2:
        raise InputError(
            "The table has one row, and a feature is replaced by the mean of its "
            "column: no output would change.",
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
        wrap(answer), images, baseline.reshape(images.shape).astype(float), output,
        shape, kind,
    )  # fmt: skip
