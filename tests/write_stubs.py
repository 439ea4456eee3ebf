"""The type stubs of the package's first level, from the registry.

`tests.write_tables` writes them. `tfxai/__init__.pyi` has one overload of
`create_analyzer` and `explain` for each set of options, so that editors complete the
options of a method; the other files make the aliases of `base.aliases` known to type
checkers.
"""

import re
import subprocess
import sys
from functools import cache

import tfxai
from tfxai.base.aliases import ALIASES
from tfxai.base.options import Option

#: Types that a stub may name; others are Any.
KNOWN = re.compile(
    r"(str|bool|int|float|None|Any|Sequence\[float\]|Mapping\[str, Any\]|"
    r"dict\[str, Any\]|tuple\[float, float\]|[ |])*"
)
HEAD = """# Written by `python -m tests.write_tables`; do not edit.
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypedDict, Unpack, overload

from tfxai import callbacks as callbacks
from tfxai import demo as demo
from tfxai import errors as errors
from tfxai import extend as extend
from tfxai import plot as plot
from tfxai import targets as targets
from tfxai import text as text
from tfxai.api import describe as describe
from tfxai.api import load as load
from tfxai.api import methods as methods
from tfxai.core.analyzer import Analyzer
from tfxai.core.explanation import Explanation as Explanation
from tfxai.core.model import wrap as wrap
from tfxai.core.recommendation import recommend as recommend
from tfxai.core.texts import Tokens
from tfxai.datasets.reference_samples import reference_samples as reference_samples
from tfxai.datasets.run import run as run
from tfxai.gradient.craft import craft as craft
from tfxai.gradient.tcav import tcav as tcav
from tfxai.metrics.compare import compare as compare
from tfxai.metrics.preset_search import search_preset as search_preset
from tfxai.perturbation.visualization import visualize as visualize
from tfxai.sampling.sp_lime import sp_lime as sp_lime

__version__: str
__all__: list[str]
"""
CREATE = """
@overload
def create_analyzer(
    method: {method},
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: {options},
) -> Analyzer: ...
"""
EXPLAIN = """
@overload
def explain(
    model: Any,
    x: Any,
    method: {method},
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: {options},
) -> Explanation: ...
"""


@cache
def stubs() -> dict[str, str]:
    """Return the stub files below tfxai/, name -> text."""
    files = {
        f"{alias.removeprefix('tfxai.')}.pyi": f"from {home} import *  # noqa: F403\n"
        for alias, home in ALIASES.items()
    }
    return {"__init__.pyi": _formatted(_package()), **files}


def _formatted(text: str) -> str:
    """The text as `ruff format` writes it."""
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", "a.pyi", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    assert not done.returncode, done.stderr
    return done.stdout


def _package() -> str:
    """The stub of the package."""
    groups: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for spec in tfxai.methods():
        named = [o for o in spec.options.values() if o.name != "target"]
        options = tuple((o.name, _type(o)) for o in named)
        groups.setdefault(options, []).append(spec.name)
    classes, create, explain = "", "", ""
    for options, names in groups.items():
        name = "_" + "".join(w.capitalize() for w in re.split(r"\W|_", names[0]))
        lines = "".join(f"    {o}: {t}\n" for o, t in options)
        classes += f"\nclass {name}(TypedDict, total=False):\n{lines}"
        method = f"Literal[{', '.join(repr(n) for n in names)}]".replace("'", '"')
        create += CREATE.format(method=method, options=f"Unpack[{name}]")
        explain += EXPLAIN.format(method=method, options=f"Unpack[{name}]")
    create += CREATE.format(method="str", options="Any")
    explain += EXPLAIN.format(method="str | None = None", options="Any")
    return HEAD + classes + create + explain


def _type(option: Option) -> str:
    """The type of an option as the stub writes it."""
    known = option.type and KNOWN.fullmatch(option.type)
    return option.type if known else "Any"
