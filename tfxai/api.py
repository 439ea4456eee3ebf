"""The one verb: `create_analyzer`, and `explain` in one line."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from tfxai.base.errors import MissingFileError, ModelError
from tfxai.core import registry
from tfxai.core.explanation import Explanation
from tfxai.core.explanation import load as load_explanation
from tfxai.core.model import wrap
from tfxai.datasets.maps import Maps
from tfxai.gradient import cam as _cam
from tfxai.gradient import guided as _guided
from tfxai.gradient import paths as _paths
from tfxai.gradient import saliency as _plain
from tfxai.gradient import smooth as _smooth
from tfxai.perturbation import cnn as _cnn
from tfxai.relevance import Rewritten
from tfxai.relevance import analyzers as _relevance
from tfxai.sampling import lime as _lime
from tfxai.sampling import occlusion as _occlusion
from tfxai.sampling import rise as _rise
from tfxai.sampling import shapley as _shapley
from tfxai.sampling.leg import analyzer as _leg

#: Importing a family registers its rows, in this order.
_FAMILIES = (
    *(_plain, _paths, _guided, _smooth, _cam, _relevance),
    *(_occlusion, _lime, _shapley, _rise, _leg, _cnn),
)


def analyzers() -> list[registry.Row]:
    """Every analyzer: name, family, summary, needs, paper, options."""
    return registry.rows()


def create_analyzer(
    name: str,
    model: Any,
    preprocess: Callable | None = None,
    output: int = 0,
    **options: Any,
) -> Any:
    """Make the analyzer `name` for `model`; `analyzer.analyze(x)` explains.

    model: a Keras model, a loaded SavedModel, a callable, or what `wrap` returned.
    preprocess: `raw batch -> network input` in TensorFlow operations.
    output: which one, where the model has several.
    options: those of the analyzer, as `tfxai.analyzers()` lists them.

    Raises UnknownNameError, OptionError, ModelError, UnsupportedLayerError,
    BlackBoxError.
    """
    return registry.build(name, wrap(model, preprocess, output), options)


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
    if not isinstance(graph, Rewritten):
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
