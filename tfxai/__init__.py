"""tfxai: explanations of the outputs of Keras 3 and TensorFlow models.

    analyzer = tfxai.create_analyzer("sglrp", model, low=-1, high=1)
    e = analyzer.analyze(x)              # -> Explanation
    e.plot()

`tfxai.methods()` lists every method, its requirements and its publication.

Importing this package is cheap: TensorFlow is imported when the first name is used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from tfxai.base import aliases, environment

__version__ = "0.2.0"

if TYPE_CHECKING:
    from tfxai import extend as extend
    from tfxai import text as text
    from tfxai.api import create_analyzer, describe, explain, load, methods
    from tfxai.base import errors as errors
    from tfxai.cli import demo as demo
    from tfxai.core import target_functions
    from tfxai.core.explanation import Explanation
    from tfxai.core.model import wrap
    from tfxai.datasets.run import run
    from tfxai.metrics.compare import compare
    from tfxai.sampling.sp_lime import sp_lime
    from tfxai.training import callback
    from tfxai.viz import plot as plot

    callbacks = callback
    targets = target_functions

_HOMES = {
    "Explanation": "core.explanation",
    "compare": "metrics.compare",
    "create_analyzer": "api",
    "describe": "api",
    "explain": "api",
    "load": "api",
    "methods": "api",
    "run": "datasets.run",
    "sp_lime": "sampling.sp_lime",
    "wrap": "core.model",
}
#: Modules, most of which `base.aliases` makes importable under these names.
_SUBMODULES = ("callbacks", "demo", "errors", "extend", "plot", "targets", "text")
__all__ = [
    "Explanation",
    "compare",
    "create_analyzer",
    "describe",
    "explain",
    "load",
    "methods",
    "run",
    "sp_lime",
    "wrap",
]

environment.check_tensorflow()
aliases.install()


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"tfxai.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'tfxai' has no attribute {name!r}")
    environment.check_backend()
    return getattr(importlib.import_module(f"tfxai.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES, *_SUBMODULES])
