"""tfxai: explanations of the outputs of Keras 3 and TensorFlow models.

    analyzer = tfxai.create_analyzer("sglrp", model, low=-1, high=1)
    e = analyzer.analyze(x)              # -> Explanation
    e.plot()

`tfxai.methods()` lists every method, its requirements and its publication.

Importing this package is cheap: TensorFlow is imported when the first name is used.
"""

import importlib
from typing import Any

from tfxai.base import aliases, environment

__version__ = "0.2.0"

_HOMES = {
    "Explanation": "core.explanation",
    "compare": "metrics.compare",
    "craft": "gradient.craft",
    "create_analyzer": "api",
    "describe": "api",
    "explain": "api",
    "load": "api",
    "methods": "api",
    "recommend": "core.recommendation",
    "reference_samples": "datasets.reference_samples",
    "run": "datasets.run",
    "search_preset": "metrics.preset_search",
    "sp_lime": "sampling.sp_lime",
    "tcav": "gradient.tcav",
    "visualize": "perturbation.visualization",
    "wrap": "core.model",
}
#: Modules, most of which `base.aliases` makes importable under these names.
_SUBMODULES = ("callbacks", "demo", "errors", "extend", "plot", "targets", "text")
__all__ = [
    "Explanation",
    "compare",
    "craft",
    "create_analyzer",
    "describe",
    "explain",
    "load",
    "methods",
    "recommend",
    "reference_samples",
    "run",
    "search_preset",
    "sp_lime",
    "tcav",
    "visualize",
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
