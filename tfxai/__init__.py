"""tfxai: why did this network answer that? Explanations for Keras 3 and TensorFlow.

    analyzer = tfxai.create_analyzer("sglrp", model, low=-1, high=1)
    e = analyzer.analyze(x)              # -> Explanation
    e.plot()

`tfxai.analyzers()` lists every method, what it needs and where it is published.

Importing this package is cheap; TensorFlow is imported by the first name that is used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from tfxai import _checks

__version__ = "0.1.0"

if TYPE_CHECKING:
    from tfxai.api import analyzers, create_analyzer, explain, load
    from tfxai.batch.run import run
    from tfxai.comparison import compare
    from tfxai.explanation import Explanation
    from tfxai.model import wrap
    from tfxai.sampling.pick import sp_lime

_HOMES = {
    "Explanation": "explanation",
    "analyzers": "api",
    "compare": "comparison",
    "create_analyzer": "api",
    "explain": "api",
    "load": "api",
    "run": "batch.run",
    "sp_lime": "sampling.pick",
    "wrap": "model",
}
_SUBMODULES = ("callbacks", "demo", "errors", "plot")
__all__ = [
    "Explanation",
    "analyzers",
    "compare",
    "create_analyzer",
    "explain",
    "load",
    "run",
    "sp_lime",
    "wrap",
]

_checks.tensorflow()


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"tfxai.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'tfxai' has no attribute {name!r}")
    _checks.backend()
    return getattr(importlib.import_module(f"tfxai.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES, *_SUBMODULES])
