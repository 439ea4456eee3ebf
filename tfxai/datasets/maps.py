"""`Maps`: the relevance arrays that `tfxai run` wrote, read lazily.

maps = tfxai.load("maps/")
maps[10:20].relevance           # reads only these ten samples
"""

import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from tfxai.base.errors import (
    IncompleteWarning,
    InputError,
    RecipeError,
    UncheckedWarning,
)
from tfxai.core.explanation import Explanation
from tfxai.datasets import own_files, recipe, shard_reader, shards
from tfxai.datasets.shard_reader import read_failures, read_texts
from tfxai.datasets.shards import Failure
from tfxai.viz import summary

Value = TypeVar("Value")


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
        method: The name of the method.
    """

    relevance: np.ndarray
    target: np.ndarray
    score: np.ndarray
    label: Any
    name: Any
    index: Any
    method: str = ""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.relevance, dtype=dtype, copy=copy)

    def __len__(self) -> int:
        return 1 if np.ndim(self.index) == 0 else len(self.index)

    def explanation(self, x: Any = None, **texts: Any) -> Explanation:
        """Return the samples as an `Explanation`, of one sample for `maps[3]`.

        Args:
            x: The inputs of these samples, (B, ...), which a run does not store.
            **texts: The names, features or tokens of the explanation.

        Raises:
            InputError: x does not hold these samples.
        """
        rows = np.s_[None] if np.ndim(self.index) == 0 else np.s_[:]
        if x is not None and len(x) != len(self):
            raise InputError(
                f"x holds {len(x)} samples for {len(self)} maps.",
                "the inputs of these samples",
                "maps[10:20].plot(x[10:20])",
            )
        relevance, target, score = (
            np.asarray(v)[rows] for v in (self.relevance, self.target, self.score)
        )
        return Explanation(relevance, target, score, self.method, x, **texts)

    def plot(self, x: Any = None, **options: Any) -> Any:
        """Return a figure; of the heatmaps alone without the inputs x."""
        return self.explanation(x).plot(**options)

    def to_dataframe(self, x: Any = None) -> Any:
        """Return a `pandas.DataFrame`; see `Explanation.to_dataframe`."""
        return self.explanation(x).to_dataframe()

    def _repr_html_(self) -> str:
        return str(self.explanation()._repr_html_())


class Maps:
    """The results of a run, in the order of the data, without samples that failed.

    `maps[3]` and `maps[10:20]` return a `MapSlice`; `len(maps)` is the number of
    explained samples. Before the first sample of a shard is read, all its bytes are
    compared with its digest.

    Attributes:
        folder: The folder of the run.
        recipe: The content of recipe.json: model, data, method, options, versions.
        total: The number of samples of the data set.

    Args:
        folder: The folder that `tfxai run` wrote.

    Raises:
        MissingFileError: The folder has no recipe.json.
        BrokenFileError: The recipe or a shard is damaged, also later, when the
            samples of a shard are read.
        RecipeError: A shard belongs to another run, or to another version of tfxai.

    Warns:
        IncompleteWarning: Shards are missing.
        UncheckedWarning: Version 0.1 wrote the folder, without digests.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.recipe: Mapping[str, Any] = recipe.read(self.folder)
        self.total = self._check_recipe()
        self._shards = recipe.count_shards(self.recipe)
        files = own_files.shard_files(self.folder)
        self._numbers = [n for n in files if n < self._shards]
        self._paths = [files[n] for n in self._numbers]
        self._checked: set[Path] = set()
        opened = [self._structure(n, files[n]) for n in self._numbers]
        if len(shapes := {s for _, s in opened if s is not None}) > 1:
            raise RecipeError(
                f"The shards of {str(self.folder)!r} have relevance of several shapes: "
                f"{sorted(shapes)}.",
                "one shape for all samples of a run",
            )
        self._ends = np.cumsum([count for count, _ in opened], dtype=np.int64)
        self._warn()

    def _check_recipe(self) -> int:
        """Return the number of samples of the data set."""
        try:
            total, size = self.recipe["source"]["count"], self.recipe["shard_size"]
            text = [self.recipe[name] for name in ("method", "dtype", "format")]
            if not all(isinstance(t, str) for t in text):
                raise TypeError(f"{text} are not texts")
            if type(total) is not int or type(size) is not int or total < 0 or size < 1:
                raise ValueError(f"count {total!r}, shard_size {size!r}")
        except (KeyError, TypeError, ValueError) as error:
            raise RecipeError(
                f"The recipe of {str(self.folder)!r} is incomplete ({error!r}).",
                "a folder that tfxai run wrote",
            ) from error
        return total

    def _structure(self, number: int, path: Path) -> tuple[int, Any]:
        """Return the number of samples of a shard, and the shape of their relevance."""

        def read(file: Any) -> tuple[int, Any]:
            count = int(file.attrs["count"])
            return count, file["relevance"].shape[1:] if count else None

        expected = recipe.expected_shard(self.recipe, number)
        return shard_reader.open_shard(path, read, expected)

    def _warn(self) -> None:
        """Warn of missing shards, and of shards without a digest."""
        if self.recipe["format"] == shards.FIRST_FORMAT:
            warnings.warn(
                f"Version 0.1 of tfxai wrote {str(self.folder)!r}, without digests: "
                "damaged relevance is not noticed. Run again with another --out to "
                "write them.",
                UncheckedWarning,
                stacklevel=4,
            )
        if not self.complete:
            have, count = set(self._numbers), self._shards - len(self._numbers)
            first = list(islice((n for n in range(self._shards) if n not in have), 5))
            warnings.warn(
                f"{str(self.folder)!r}: {count} of {self._shards} shards "
                f"are missing (the first: {first}); run the same command "
                "again to compute them.",
                IncompleteWarning,
                stacklevel=4,
            )

    def __repr__(self) -> str:
        missing = self._shards - len(self._paths)
        left = f", {missing} shards missing" if missing else ""
        return f"<maps {str(self.folder)!r}: {len(self)} by {self.method!r}{left}>"

    def _repr_html_(self) -> str:
        rows = {
            "folder": self.folder, "method": self.method, "samples": len(self),
            "of": self.total,
        }  # fmt: skip
        return summary.wrapped(
            summary.table(list(rows), [[str(v) for v in rows.values()]])
        )

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
            k: None if v is None else v[0]
            for k, v in vars(one).items()
            if k != "method"
        }
        return MapSlice(**first, method=self.method)

    @property
    def method(self) -> str:
        """The name of the method."""
        return str(self.recipe["method"])

    @property
    def complete(self) -> bool:
        """True if no shard is missing."""
        return len(self._paths) == self._shards

    @property
    def missing(self) -> list[int]:
        """The numbers of the shards that do not exist yet."""
        have = set(self._numbers)
        return [n for n in range(self._shards) if n not in have]

    @property
    def failures(self) -> list[Failure]:
        """The samples without an explanation, with the reasons."""
        return [f for path in self._paths for f in self._open(path, read_failures)]

    @property
    def warnings(self) -> list[str]:
        """The texts of the warnings during the run."""
        found = [
            self._open(p, lambda f: read_texts(f["warnings"])) for p in self._paths
        ]
        return [text for texts in found for text in texts]

    def _open(self, path: Path, read: Callable[[Any], Value]) -> Value:
        """Open a shard and read it; the first time, compare all its bytes."""
        if path not in self._checked:
            number = self._numbers[self._paths.index(path)]
            shard_reader.check_shard(path, recipe.expected_shard(self.recipe, number))
            self._checked.add(path)
        return shard_reader.open_shard(path, read)

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
            found = self._open(self._paths[file], read)
            for i, position in enumerate(positions):
                parts[position] = {k: v[i] for k, v in found.items()}
        names = [p.pop("name") for p in parts]
        arrays: dict[str, Any] = {k: np.stack([p[k] for p in parts]) for k in parts[0]}
        return MapSlice(**{"label": None, **arrays}, name=names, method=self.method)


def _read_rows(file: Any, at: np.ndarray) -> dict[str, Any]:
    """Return the columns of the rows `at` of an open shard, in the order of `at`."""
    low, high = int(at.min()), int(at.max()) + 1
    columns = ("index", "label", "relevance", "scale", "target", "score")
    found = {n: file[n][low:high][at - low] for n in columns if n in file}
    found["relevance"] = shards.decode(found["relevance"], found.pop("scale"))
    names = read_texts(file["name"], slice(low, high))
    return {**found, "name": [names[i] for i in at - low]}
