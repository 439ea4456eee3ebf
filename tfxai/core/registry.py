"""Name -> row: what an analyzer is called, what it needs, where it is published."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tfxai.base.validation import check_options, look_up
from tfxai.core.model import wrap


@dataclass(frozen=True)
class MethodSpec:
    """One analyzer.

    `build(model, **options)` returns the analyzer, `options` are the options that it
    knows besides `preprocess`, `needs` says what the model must offer.
    """

    name: str
    family: str
    summary: str
    needs: str
    paper: str
    build: Callable
    options: tuple[str, ...] = ()


#: The order in which families are listed.
FAMILIES = ("gradient", "path", "noise", "cam", "relevance", "sampling", "perturbation")
#: Those that ask where in a picture something is, and take its last axis for channels.
SPATIAL = ("cam", "sampling", "perturbation")
#: Importing one of these registers its rows; they are listed in this order.
MODULES = (
    "tfxai.gradient.saliency",
    "tfxai.gradient.paths",
    "tfxai.gradient.guided",
    "tfxai.gradient.smooth",
    "tfxai.gradient.cam",
    "tfxai.relevance.analyzers",
    "tfxai.sampling.leg.analyzer",
    "tfxai.sampling.lime",
    "tfxai.sampling.occlusion",
    "tfxai.sampling.rise",
    "tfxai.sampling.shapley",
    "tfxai.perturbation.cnn",
)
_ROWS: dict[str, MethodSpec] = {}


def register(row: MethodSpec) -> MethodSpec:
    """Make `row` known under its name."""
    _ROWS[row.name] = row
    return row


def lookup(name: str) -> MethodSpec:
    """The row called `name`; an unknown name is an error with the nearest ones."""
    line = "tfxai.create_analyzer({!r}, model)"
    return look_up("analyzer", name, _known(), "one of tfxai.analyzers()", line)


def build(name: str, wrapped: Any, options: Mapping[str, Any]) -> Any:
    """The analyzer `name` of a wrapped model; an option that it does not know is an
    error with the nearest ones.
    """
    row = lookup(name)
    check_options(f"The analyzer {name!r}", options, row.options)
    if row.family in SPATIAL:
        wrapped.check_channels_last(name)
    return row.build(wrapped, **options)


def rows() -> list[MethodSpec]:
    """Every row: family by family, in the order of `MODULES`, then of registration."""

    def place(row: MethodSpec) -> tuple[int, int]:
        home = getattr(row.build, "__module__", "")
        own = MODULES.index(home) if home in MODULES else len(MODULES)
        return FAMILIES.index(row.family), own

    return sorted(_known().values(), key=place)


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
    return build(name, wrap(model, preprocess, output), options)


def _known() -> dict[str, MethodSpec]:
    """The table; the modules of all families are imported first, and add their rows."""
    for module in MODULES:
        importlib.import_module(module)
    return _ROWS
