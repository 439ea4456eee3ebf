"""Check every file of a run: the work of `tfxai verify`."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfxai.base.errors import BrokenFileError, RecipeError
from tfxai.datasets import own_files, recipe, shard_reader
from tfxai.datasets.shards import FIRST_FORMAT

GOOD, UNCHECKED, MISSING = "undamaged", "readable, without a digest", "missing"


@dataclass(frozen=True)
class CheckedFiles:
    """The state of one file, or of consecutive shards of the same state.

    Args:
        first: The name of the first file.
        last: The name of the last file.
        count: The number of files.
        samples: The number of their explained samples.
        state: `GOOD`, `UNCHECKED`, `MISSING`, or the reason why the file is broken.
        again: Whether the same run computes the file again; False for a file of
            another run or version, which stops the run.
    """

    first: str
    last: str
    count: int
    samples: int
    state: str
    again: bool = True

    @property
    def broken(self) -> bool:
        """True unless the files are readable."""
        return self.state not in (GOOD, UNCHECKED)


def verify(folder: str | os.PathLike[str]) -> list[CheckedFiles]:
    """Return the state of recipe.json and of every shard of a run.

    Every byte is compared with the digest of its file. The number of rows depends on
    the number of existing files only.

    Args:
        folder: The folder that `tfxai run` wrote.

    Raises:
        MissingFileError: The folder has no recipe.json.
        RecipeError: Another version of tfxai wrote the recipe.
    """
    folder = Path(folder)
    try:
        found, state = recipe.read(folder), GOOD
        if found.get("format", FIRST_FORMAT) == FIRST_FORMAT:
            state = UNCHECKED
    except BrokenFileError as error:
        found, state = {}, _reason(error)
    rows = [CheckedFiles(recipe.NAME, recipe.NAME, 1, 0, state)]
    for row in _shards(folder, found):
        last = rows[-1]
        if row.state != last.state or last.first == recipe.NAME:
            rows.append(row)
            continue
        count, samples = last.count + row.count, last.samples + row.samples
        rows[-1] = CheckedFiles(last.first, row.last, count, samples, row.state)
    return rows


def _shards(folder: Path, found: dict[str, Any]) -> Iterator[CheckedFiles]:
    """Yield the state of each shard in order; a gap is one row."""
    files, end = own_files.shard_files(folder), recipe.count_shards(found)
    next_number = 0
    for number, path in files.items():
        if found and number >= end:  # the run does not read it
            break
        if number > next_number:
            yield _gap(next_number, number)
        yield _shard(path, number, found)
        next_number = number + 1
    if next_number < end:
        yield _gap(next_number, end)


def _shard(path: Path, number: int, found: dict[str, Any]) -> CheckedFiles:
    """Return the state of one shard; without a recipe, only its bytes are checked."""
    samples, state, again = 0, GOOD, True
    try:
        expected = recipe.expected_shard(found, number) if found else None
        checked = shard_reader.check_bytes(path)
        if expected is not None and not checked and expected.format != FIRST_FORMAT:
            raise shard_reader.broken(path, "it holds no digest")

        def count(file: Any) -> int:
            return int(file.attrs["count"])

        samples = shard_reader.open_shard(path, count, expected)
        state = GOOD if checked else UNCHECKED
    except RecipeError as error:
        again = isinstance(error, BrokenFileError)
        state = _reason(error)
    return CheckedFiles(path.name, path.name, 1, samples, state, again)


def _gap(start: int, end: int) -> CheckedFiles:
    """Return the row of the missing shards `start` to `end` - 1."""
    names = [f"shard-{n:05d}.h5" for n in (start, end - 1)]
    return CheckedFiles(names[0], names[1], end - start, 0, MISSING)


def _reason(error: RecipeError) -> str:
    """Return what was found, without the path of the file."""
    text = error.seen
    start, end = text.find("("), text.rfind(")")
    if isinstance(error, BrokenFileError) and 0 <= start < end:
        return text[start + 1 : end]
    return text
