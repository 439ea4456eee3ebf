"""Import aliases: public names of modules such as `tfxai.plot`.

`import tfxai.plot` imports the module `tfxai.viz.plot`; both names are one module.
"""

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

#: Public name -> full name of the module. Submodules of a package get aliases too.
ALIASES = {
    "tfxai.callbacks": "tfxai.training.callback",
    "tfxai.demo": "tfxai.cli.demo",
    "tfxai.errors": "tfxai.base.errors",
    "tfxai.plot": "tfxai.viz.plot",
    "tfxai.targets": "tfxai.core.target_functions",
}


class _Alias(Loader):
    """Loads an alias by importing the module that it stands for."""

    def __init__(self, home: str) -> None:
        self._home = home
        self._spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self._home)
        self._spec = module.__spec__
        # Python sets every imported module as an attribute of its package. Importing a
        # submodule again under its alias would overwrite a function of the same name.
        for name in [n for n in sys.modules if n.startswith(f"{self._home}.")]:
            alias = spec.name + name.removeprefix(self._home)
            sys.modules.setdefault(alias, sys.modules[name])
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec  # the import has set the spec of the alias


class _Finder(MetaPathFinder):
    """Finds the modules of `ALIASES`."""

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
    """Add the finder of the aliases to `sys.meta_path`, once per process.

    It precedes Python's own finders: they would find the folder of an aliased package
    and import the modules in it a second time.
    """
    if not any(type(f).__qualname__ == _Finder.__qualname__ for f in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
