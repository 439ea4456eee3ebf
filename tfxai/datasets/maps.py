"""`Maps`: the relevance arrays that `tfxai run` wrote, read lazily.

maps = tfxai.load("maps/")
maps[10:20].relevance           # reads only these ten samples
"""

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tfxai.base.errors import IncompleteWarning, InputError, RecipeError
from tfxai.datasets import recipe, shards
from tfxai.datasets.shards import Failure


@dataclass(frozen=True, eq=False)
class MapSlice:
    """Some samples of a folder, in the order of the data.

    `np.asarray` returns the relevance. For one sample, `maps[3]`, every field lacks
    the axis B.

    Args:
        relevance: The relevance, float32 (B, ...), or (B, T, ...) for T targets.
        target: The explained targets, (B,) or (B, T).
        score: The scores of the targets, (B,) or (B, T).
        label: The true classes, (B,), -1 where unknown; None for data without labels.
        name: The B names of the samples.
        index: The numbers of the samples in the data set, (B,).
    """

    relevance: np.ndarray
    target: np.ndarray
    score: np.ndarray
    label: Any
    name: Any
    index: Any

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.relevance, dtype=dtype, copy=copy)


class Maps:
    """The results of a run, in the order of the data, without samples that failed.

    `maps[3]` and `maps[10:20]` return a `MapSlice`; `len(maps)` is the number of
    explained samples.

    Attributes:
        folder: The folder of the run.
        recipe: The content of recipe.json: model, data, method, options, versions.
        total: The number of samples of the data set.
        missing: The numbers of the shards that do not exist yet.

    Args:
        folder: The folder that `tfxai run` wrote.

    Raises:
        MissingFileError: The folder has no recipe.json.
        RecipeError: The recipe or a shard cannot be read.

    Warns:
        IncompleteWarning: Shards are missing.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.recipe: Mapping[str, Any] = recipe.read(self.folder)
        self.total, size = self._sizes()
        numbers = range(-(-self.total // size))
        paths = {n: shards.path_of(self.folder, n) for n in numbers}
        existing = {n: path for n, path in paths.items() if path.exists()}
        self.missing = [n for n in numbers if n not in existing]
        self._paths = list(existing.values())
        counts = [shards.read_shard(p, lambda f: f.attrs["count"]) for p in self._paths]
        self._ends = np.cumsum(counts, dtype=np.int64)
        if self.missing:
            warnings.warn(
                f"{str(self.folder)!r}: {len(self.missing)} of {len(numbers)} shards "
                f"are missing (the first: {self.missing[:5]}); run the same command "
                "again to compute them.",
                IncompleteWarning,
                stacklevel=3,
            )

    def _sizes(self) -> tuple[int, int]:
        """Return the number of samples, and of samples per shard."""
        try:
            str(self.recipe["method"])
            total = int(self.recipe["source"]["count"])
            return total, int(self.recipe["shard_size"])
        except (KeyError, TypeError, ValueError) as error:
            raise RecipeError(
                f"The recipe of {str(self.folder)!r} is incomplete ({error!r}).",
                "a folder that tfxai run wrote",
            ) from error

    def __repr__(self) -> str:
        left = f", {len(self.missing)} shards missing" if self.missing else ""
        return f"<maps {str(self.folder)!r}: {len(self)} by {self.method!r}{left}>"

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, which: Any) -> MapSlice:
        if isinstance(which, slice):
            return self._read(range(*which.indices(len(self))))
        if not isinstance(which, int | np.integer):
            raise InputError(f"maps[{which!r}].", "a number or a slice", "maps[10:20]")
        if not -len(self) <= which < len(self):
            raise IndexError(f"maps[{which}] of {len(self)}")
        one = self._read(range(which % len(self), which % len(self) + 1))
        first: dict[str, Any] = {
            k: None if v is None else v[0] for k, v in vars(one).items()
        }
        return MapSlice(**first)

    @property
    def method(self) -> str:
        """The name of the method."""
        return str(self.recipe["method"])

    @property
    def complete(self) -> bool:
        """True if no shard is missing."""
        return not self.missing

    @property
    def failures(self) -> list[Failure]:
        """The samples without an explanation, with the reasons."""
        return [
            f for path in self._paths for f in shards.read_shard(path, read_failures)
        ]

    @property
    def warnings(self) -> list[str]:
        """The texts of the warnings during the run."""
        found = [
            shards.read_shard(p, lambda f: read_texts(f["warnings"]))
            for p in self._paths
        ]
        return [text for texts in found for text in texts]

    def _read(self, rows: range) -> MapSlice:
        """Read the samples `rows`, opening only the shards that hold them."""
        if not rows:
            raise InputError(
                f"An empty slice of {len(self)} samples.", "at least one sample"
            )
        order = np.array(rows)
        files = np.searchsorted(self._ends, order, "right")
        parts: list[dict[str, Any]] = [{} for _ in order]
        for file in np.unique(files):
            start = 0 if file == 0 else self._ends[file - 1]
            positions = np.flatnonzero(files == file)
            read = partial(_read_rows, at=order[positions] - start)
            found = shards.read_shard(self._paths[file], read)
            for i, position in enumerate(positions):
                parts[position] = {k: v[i] for k, v in found.items()}
        names = [p.pop("name") for p in parts]
        arrays: dict[str, Any] = {k: np.stack([p[k] for p in parts]) for k in parts[0]}
        return MapSlice(**{"label": None, **arrays}, name=names)


def _read_rows(file: Any, at: np.ndarray) -> dict[str, Any]:
    """Return the columns of the rows `at` of an open shard, in the order of `at`."""
    low, high = int(at.min()), int(at.max()) + 1
    columns = ("index", "label", "relevance", "scale", "target", "score")
    found = {n: file[n][low:high][at - low] for n in columns if n in file}
    found["relevance"] = shards.decode(found["relevance"], found.pop("scale"))
    names = read_texts(file["name"], slice(low, high))
    return {**found, "name": [names[i] for i in at - low]}


def read_failures(file: Any) -> list[Failure]:
    """Return the samples of an open shard that have no explanation."""
    names, reasons = read_texts(file["failed/name"]), read_texts(file["failed/reason"])
    indices = file["failed/index"][:].tolist()
    return [Failure(*row) for row in zip(indices, names, reasons, strict=True)]


def read_texts(dataset: Any, rows: slice = slice(None)) -> list[str]:
    """Return the rows of an HDF5 data set of strings."""
    return list(dataset.asstr()[rows]) if len(dataset) else []
