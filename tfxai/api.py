"""The one verb: `create_analyzer`, and `explain` in one line."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from tfxai.base.errors import MissingFileError, ModelError
from tfxai.core.describe import describe
from tfxai.core.explanation import Explanation
from tfxai.core.explanation import load as load_explanation
from tfxai.core.registry import create_analyzer, methods
from tfxai.datasets.maps import Maps
from tfxai.relevance import RelevanceModel

__all__ = ["create_analyzer", "describe", "explain", "load", "methods"]


def load(path: str | os.PathLike, **options: Any) -> Any:
    """Read what was saved: an Explanation (.npz), or an `analyzer.graph` (.keras).

    A folder of maps that `tfxai.run` wrote is read lazily: `tfxai.datasets.maps.Maps`.
    options: those of `keras.models.load_model`, for a graph with custom layers.
    """
    if Path(path).is_dir():
        return Maps(path)
    if Path(path).suffix != ".keras":
        return load_explanation(path)
    if not Path(path).exists():
        raise MissingFileError(f"There is no file {str(path)!r}.", "a .keras file")
    graph = keras.models.load_model(path, **options)
    if not isinstance(graph, RelevanceModel):
        raise ModelError(
            f"{str(path)!r} holds a model, but not one that explains.",
            "what analyzer.graph.save wrote",
            "model = keras.models.load_model(path)",
        )
    return graph


def explain(
    model: Any,
    x: Any,
    method: str = "sglrp",
    target: Any = None,
    preprocess: Callable | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    **options: Any,
) -> Explanation:
    """`create_analyzer(method, model, ...).analyze(x, target)` in one line."""
    analyzer = create_analyzer(method, model, preprocess, **options)
    return analyzer.analyze(x, target, batch_size, progress)
