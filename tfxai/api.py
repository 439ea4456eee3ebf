"""The public functions: `create_analyzer`, `explain`, `load`, `methods`, `describe`."""

import json
import os
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tfxai.base.errors import MissingFileError, ModelError
from tfxai.core.describe import describe
from tfxai.core.explanation import Explanation
from tfxai.core.explanation import load as load_explanation
from tfxai.core.model import wrap
from tfxai.core.recommendation import recommend
from tfxai.core.registry import create_analyzer, methods
from tfxai.core.texts import Tokens
from tfxai.datasets.maps import Maps
from tfxai.io import networks
from tfxai.relevance import RelevanceModel

__all__ = ["create_analyzer", "describe", "explain", "load", "methods"]


def load(
    path: str | os.PathLike[str], **options: Any
) -> Explanation | RelevanceModel | Maps:
    """Read an explanation (.npz), an `analyzer.graph` (.keras), or a folder of a run.

    A folder that `tfxai.run` wrote is read lazily: `tfxai.datasets.maps.Maps`.

    Args:
        path: The file or the folder.
        **options: Options of `keras.models.load_model`, for a graph with custom layers.

    Raises:
        MissingFileError: There is no such file.
        InputError: The .npz file is not an explanation.
        ModelError: The .keras file holds another model.
        UnknownNameError: The graph has a rule or a head that is not registered.
    """
    if Path(path).is_dir():
        return Maps(path)
    if Path(path).suffix != ".keras":
        return load_explanation(path)
    if not os.path.exists(path):
        raise MissingFileError(f"There is no file {str(path)!r}.", "a .keras file")
    _check_version(Path(path))
    graph = networks.load_file(Path(path), **{"compile": True, **options})
    if not isinstance(graph, RelevanceModel):
        raise ModelError(
            f"{str(path)!r} holds a model, but not one that explains.",
            "a file that analyzer.graph.save wrote",
            "model = keras.models.load_model(path)",
        )
    return graph


def _check_version(path: Path) -> None:
    """Raise ModelError for a graph of version 0.1, whose classes do not exist."""
    try:
        with zipfile.ZipFile(path) as archive:
            module = json.loads(archive.read("config.json"))["module"]
    except (OSError, zipfile.BadZipFile, KeyError, ValueError, TypeError):
        return  # not a file of Keras: its own error follows
    if module == "tfxai.relevance.rewrite":
        raise ModelError(
            f"Version 0.1 of tfxai wrote the graph {str(path)!r}, in another format.",
            "a graph of this version, created from the model and saved again",
            'tfxai.create_analyzer("sglrp", model).graph.save("why.keras")',
        )


def explain(
    model: Any,
    x: Any,
    method: str | None = None,
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Any,
) -> Explanation:
    """Return the explanation of a batch by a method, without a separate analyzer.

    Args:
        model: A Keras model, a loaded SavedModel, a callable, or what `wrap` returned.
        x: Inputs; see `Analyzer.analyze`.
        method: The name of a method; `tfxai.methods()` lists them. None is the first
            one of `tfxai.recommend(model, x)`; `extra["default_for"]` says for what.
        target: What to explain; None is the top class.
        preprocess: `raw batch -> network input`, in TensorFlow operations.
        batch_size: How many samples times targets are computed at once.
        progress: Show a progress bar; None shows one on a terminal for several batches.
        names: The names of the classes, for figures, tables and files.
        features: The names of the columns of a table or the channels of a series; see
            `create_analyzer`.
        tokens: The texts of the tokens of each sample, or a function of their ids.
        output: The number or the name of the output to explain, where the model has
            several.
        **options: The options of the method; `tfxai.describe(method)` and, in a
            terminal, `tfxai methods METHOD` list them.

    Raises:
        InputError: x is not a batch that the model takes.
        TargetError: The target does not fit the model's output.
        TfxaiError: As for `create_analyzer`.

    Example:
        >>> e = tfxai.explain(model, x, "sglrp", target=340)
    """
    wrapped = wrap(model, preprocess, output)
    found = None
    if method is None:
        found = recommend(wrapped, x)
        method = found[0].method
    analyzer = create_analyzer(
        method, wrapped, names=names, features=features, tokens=tokens, **options
    )
    e = analyzer.analyze(x, target, batch_size, progress)
    return replace(e, extra={**e.extra, "default_for": found.of}) if found else e
