"""A table of named entries that users can extend: methods, rules, metrics, ..."""

import importlib
import pkgutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tfxai.base.errors import OptionError, UnknownNameError
from tfxai.base.validation import nearest

K = TypeVar("K")
V = TypeVar("V")


class Registry(Mapping[K, V]):
    """Entries by name, in the order of registration.

    A name is registered once; `replace=True` exchanges an entry. Looking up an unknown
    name raises UnknownNameError with the nearest names.

    Args:
        kind: What an entry is, in the singular, for errors ("rule").
        entries: Entries to begin with.
        listing: Where the names are listed, for errors; "" lists them in the error.
        usage: A line to type, with "{!r}" for a name, for errors.
        modules: Returns the names of modules to import before the first lookup. They
            register their entries when they are imported.
        aliases: Names of other tools for entries. They are looked up, and not listed.
    """

    def __init__(
        self,
        kind: str,
        entries: Mapping[K, V] | None = None,
        *,
        listing: str = "",
        usage: str = "",
        modules: Callable[[], Iterable[str]] = tuple,
        aliases: Mapping[Any, K] | None = None,
    ) -> None:
        self.kind, self._listing, self._usage = kind, listing, usage
        self._entries: dict[K, V] = dict(entries or {})
        self._modules, self._lock = modules, threading.RLock()
        self._loading = self._loaded = False
        self._aliases: dict[Any, K] = dict(aliases or {})

    def register(self, name: K, value: V, replace: bool = False) -> V:
        """Add an entry, and return it.

        Raises:
            OptionError: The name exists, and `replace` is False.
        """
        if name in self._entries and not replace:
            raise OptionError(
                f"There is a {self.kind} {_shown(name)} already.",
                "a new name, or replace=True to exchange it",
                "replace=True",
            )
        self._entries[name] = value
        return value

    def load(self) -> None:
        """Import the modules that register entries, once."""
        if self._loaded:
            return
        with self._lock:
            if self._loading or self._loaded:  # a module looks up while it is imported
                return
            self._loading = True
            try:
                for module in self._modules():
                    importlib.import_module(module)
                self._loaded = True
            finally:
                self._loading = False

    @contextmanager
    def restored(self) -> Iterator["Registry[K, V]"]:
        """Return a context after which the entries are those of before, for tests."""
        self.load()
        before = dict(self._entries)
        try:
            yield self
        finally:
            self._entries.clear()
            self._entries.update(before)

    def __getitem__(self, name: K) -> V:
        if name in self:
            return self._entries[self._own(name)]
        close = nearest(str(name), self._entries)
        wanted = self._listing or f"one of {sorted(map(str, self._entries))}"
        if close:
            wanted += f", perhaps {', '.join(close)}"
        raise UnknownNameError(
            f"There is no {self.kind} {_shown(name)}.",
            wanted,
            self._usage.format(close[0]) if close else "",
        )

    def __contains__(self, name: object) -> bool:
        self.load()
        try:
            return self._own(name) in self._entries
        except TypeError:  # a list has no hash
            return False

    def get(self, name: Any, default: Any = None) -> Any:
        """Return an entry, or the default without an error."""
        return self._entries[self._own(name)] if name in self else default

    def _own(self, name: Any) -> Any:
        """Return the name of an entry for a name of another tool."""
        return name if name in self._entries else self._aliases.get(name, name)

    def __iter__(self) -> Iterator[K]:
        self.load()
        return iter(self._entries)

    def __len__(self) -> int:
        self.load()
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<registry of {len(self)} entries of kind {self.kind!r}>"


def modules_of(*packages: str) -> list[str]:
    """Return the names of all modules of packages, in alphabetical order."""
    found = []
    for package in packages:
        folder = Path(str(importlib.import_module(package).__file__)).parent
        walked = pkgutil.walk_packages([str(folder)], f"{package}.")
        found += sorted(module.name for module in walked if not module.ispkg)
    return found


def built_in(*functions: Any) -> bool:
    """Return True if all functions are of this package, and none is a user's."""
    modules = [str(getattr(f, "__module__", "")) for f in functions]
    return all(m.startswith("tfxai.") for m in modules)


def _shown(name: Any) -> str:
    """A name as an error shows it: of a class, its own name."""
    return name.__name__ if isinstance(name, type) else repr(name)
