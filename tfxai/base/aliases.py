"""Names under which modules stay importable wherever they live: `tfxai.plot`, ...

`import tfxai.plot` gives the very module `tfxai.viz.plot`, which is imported only then.
"""

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

#: public name -> where the module lives. A package brings its modules along.
ALIASES = {
    "tfxai.callbacks": "tfxai.training.callback",
    "tfxai.demo": "tfxai.cli.demo",
    "tfxai.errors": "tfxai.base.errors",
    "tfxai.plot": "tfxai.viz.plot",
}


class _Alias(Loader):
    """Loads a module by importing the one that it is another name of."""

    def __init__(self, home: str) -> None:
        self._home = home
        self._spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self._home)
        self._spec = module.__spec__
        # Python makes a module that it imports an attribute of its package, once more
        # under a new name; the package may show a function of that name by now.
        for name in [n for n in sys.modules if n.startswith(f"{self._home}.")]:
            alias = spec.name + name.removeprefix(self._home)
            sys.modules.setdefault(alias, sys.modules[name])
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec  # importing has put the alias's own there


class _Finder(MetaPathFinder):
    """Finds the aliases."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: Any = None
    ) -> ModuleSpec | None:
        if not name.startswith("tfxai."):
            return None
        for alias, home in ALIASES.items():
            if name == alias or name.startswith(f"{alias}."):
                return ModuleSpec(name, _Alias(home + name.removeprefix(alias)))
        return None


def install() -> None:
    """Let `import` find the aliases, once in a process.

    Before Python's own finders, which know the folder of an alias that is a package and
    would import the modules in it a second time.
    """
    if not any(type(f).__qualname__ == _Finder.__qualname__ for f in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
