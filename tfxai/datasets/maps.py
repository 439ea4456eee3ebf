"""A folder of maps, read lazily: what `tfxai run` wrote.

maps = tfxai.load("maps/")
maps[10:20].relevance           # only these are read
"""

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfxai.base.errors import IncompleteWarning, InputError, RecipeError
from tfxai.datasets import recipe, shards
from tfxai.datasets.shards import Failure


@dataclass(frozen=True, eq=False)
class Slice:
    """Some maps of a folder, in the order of the data; `np.asarray` is the relevance.

    relevance: float32 (B, ...), or (B, T, ...) for T targets per sample. target, score:
    (B,) or (B, T). label: (B,), -1 where it is not known, or None where the data say
    none. name: B names. index: (B,), the numbers of the samples in the data.
    Of one map, `maps[3]`, all without the axis B.
    """

    relevance: np.ndarray
    target: np.ndarray
    score: np.ndarray
    label: Any
    name: Any
    index: Any

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.array(self.relevance, dtype=dtype, copy=copy)


class Maps:
    """The maps of a run, in the order of the data; samples that failed are left out.

    recipe: what made them. total: how many samples the data have. missing: the numbers
    of the shards that are not there (yet).
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.folder = Path(folder)
        self.recipe: Mapping[str, Any] = recipe.read(self.folder)
        self.total, size = self._sizes()
        numbers = range(-(-self.total // size))
        paths = {n: shards.path_of(self.folder, n) for n in numbers}
        there = {n: path for n, path in paths.items() if path.exists()}
        self.missing = [n for n in numbers if n not in there]
        self._paths = list(there.values())
        lengths = [shards.opened(p, lambda f: f.attrs["count"]) for p in self._paths]
        self._ends = np.cumsum(lengths, dtype=np.int64)
        if self.missing:
            warnings.warn(
                f"{str(self.folder)!r}: {len(self.missing)} of {len(numbers)} shards "
                f"are not there yet (the first: {self.missing[:5]}); the same command "
                "makes them.",
                IncompleteWarning,
                stacklevel=3,
            )

    def _sizes(self) -> tuple[int, int]:
        """How many samples there are, and in a shard. Raises RecipeError."""
        try:
            str(self.recipe["method"])
            total = int(self.recipe["source"]["count"])
            return total, int(self.recipe["shard_size"])
        except (KeyError, TypeError, ValueError) as error:
            raise RecipeError(
                f"The recipe of {str(self.folder)!r} is not whole ({error!r}).",
                "a folder that tfxai run wrote",
            ) from error

    def __repr__(self) -> str:
        left = f", {len(self.missing)} shards missing" if self.missing else ""
        return f"<maps {str(self.folder)!r}: {len(self)} by {self.method!r}{left}>"

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, which: Any) -> Any:
        if isinstance(which, slice):
            return self._read(range(*which.indices(len(self))))
        if not isinstance(which, int | np.integer):
            raise InputError(f"maps[{which!r}].", "a number or a slice", "maps[10:20]")
        if not -len(self) <= which < len(self):
            raise IndexError(f"maps[{which}] of {len(self)}")
        one = self._read(range(which % len(self), which % len(self) + 1))
        first: dict = {k: None if v is None else v[0] for k, v in vars(one).items()}
        return Slice(**first)

    @property
    def method(self) -> str:
        """The analyzer's name."""
        return str(self.recipe["method"])

    @property
    def complete(self) -> bool:
        """Is every shard there?"""
        return not self.missing

    @property
    def failures(self) -> list[Failure]:
        """The samples without a map, and why."""
        return [f for path in self._paths for f in shards.opened(path, failed_in)]

    @property
    def warnings(self) -> list[str]:
        """What the library warned while the maps were made."""
        found = [shards.opened(p, lambda f: words(f["warnings"])) for p in self._paths]
        return [text for texts in found for text in texts]

    def _read(self, rows: range) -> Slice:
        if not rows:
            raise InputError(f"An empty slice of {len(self)} maps.", "at least one map")
        order = np.array(rows)
        files = np.searchsorted(self._ends, order, "right")
        parts: list[dict] = [{} for _ in order]
        for file in np.unique(files):
            begin = 0 if file == 0 else self._ends[file - 1]
            places = np.flatnonzero(files == file)
            found = shards.opened(
                self._paths[file],
                lambda f, at=order[places] - begin: _rows(f, at),
            )
            for i, place in enumerate(places):
                parts[place] = {k: v[i] for k, v in found.items()}
        names = [p.pop("name") for p in parts]
        arrays: dict = {k: np.stack([p[k] for p in parts]) for k in parts[0]}
        return Slice(**{"label": None, **arrays}, name=names)


def _rows(file: Any, at: np.ndarray) -> dict[str, Any]:
    """The rows `at` of a shard: its columns, in the order of `at`."""
    low, high = int(at.min()), int(at.max()) + 1
    wanted = ("index", "label", "relevance", "scale", "target", "score")
    found = {n: file[n][low:high][at - low] for n in wanted if n in file}
    found["relevance"] = shards.unpacked(found["relevance"], found.pop("scale"))
    names = words(file["name"], slice(low, high))
    return {**found, "name": [names[i] for i in at - low]}


def failed_in(file: Any) -> list[Failure]:
    """The samples of an open shard that have no map."""
    names, reasons = words(file["failed/name"]), words(file["failed/reason"])
    indices = file["failed/index"][:].tolist()
    return [Failure(*row) for row in zip(indices, names, reasons, strict=True)]


def words(dataset: Any, rows: slice = slice(None)) -> list[str]:
    """The rows of a data set of texts."""
    return list(dataset.asstr()[rows]) if len(dataset) else []
