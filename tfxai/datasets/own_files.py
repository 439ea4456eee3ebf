"""Which files of a folder a run wrote: by their numbered names and their content."""

import re
from collections.abc import Iterator
from pathlib import Path

from tfxai.base.errors import RecipeError

RECIPE = "recipe.json"
SHARD = re.compile(r"shard-(\d{5,19})\.h5")
_PARTIAL = re.compile(r"\.shard-\d{5,19}-\w{8}\.h5|\.{1,2}recipe-[\w.-]{8,40}\.json")
_FAILURES = re.compile(r"failures(-\d+-of-\d+)?\.json")
_READ = 1 << 20  # bytes of a JSON file that are searched


def shard_files(folder: Path) -> dict[int, Path]:
    """Return number -> path of the files with the name of a shard, by number."""
    found = {int(m[1]): p for p, m in _named(folder, SHARD) if _numbered(m)}
    return dict(sorted(found.items()))


def delete_run(folder: Path, shards: int) -> None:
    """Delete the files that a run wrote; other files stay.

    Args:
        folder: The folder.
        shards: The number of shards of the next run.

    Raises:
        RecipeError: A file of another program has the name of a file of the next run.
    """
    check_failures(folder)
    recipe = folder / RECIPE
    ours = recipe.exists() and _wrote_json(recipe, b'"tfxai-maps/')
    if recipe.exists() and not ours:
        raise _foreign(recipe)
    found = shard_files(folder)
    kept = {n: p for n, p in found.items() if not _wrote_shard(p, damaged=ours)}
    for number, path in kept.items():
        if number < shards:
            raise _foreign(path)
    delete = [p for n, p in found.items() if n not in kept]
    delete += [p for p, _ in _named(folder, _PARTIAL) if p.is_file()]
    delete += [p for p, _ in _named(folder, _FAILURES)]
    for path in [*delete, *([recipe] if ours else [])]:
        path.unlink(missing_ok=True)


def check_failures(folder: Path) -> None:
    """Raise RecipeError if another program wrote a file that a run would replace."""
    for path, _ in _named(folder, _FAILURES):
        if not all(_wrote_json(path, t) for t in (b'"failed"', b'"unwritten"')):
            raise _foreign(path)


def _named(
    folder: Path, pattern: re.Pattern[str]
) -> Iterator[tuple[Path, re.Match[str]]]:
    """Yield the paths in a folder whose name matches, with the match."""
    for path in folder.iterdir():
        if match := pattern.fullmatch(path.name):
            yield path, match


def _numbered(match: re.Match[str]) -> bool:
    """Return True if the number has no more zeros than `path_of` writes."""
    return match[1] == f"{int(match[1]):05d}"


def _wrote_json(path: Path, text: bytes) -> bool:
    """Return True for a file that contains a text; it need not be valid JSON."""
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        return text in file.read(_READ)


def _wrote_shard(path: Path, damaged: bool) -> bool:
    """Return True for a shard of any version.

    Args:
        path: A file with the name of a shard.
        damaged: Whether a file that HDF5 cannot open counts as a shard.
    """
    import h5py

    if not path.is_file():
        return False
    with open(path, "rb") as file:
        start = file.read(11)
    if not start or start == b"tfxai-maps/":
        return True
    try:
        with h5py.File(path, "r") as file:
            return str(file.attrs.get("format", "")).startswith("tfxai-maps/")
    except Exception:  # HDF5 raises many types for a damaged file
        return damaged


def _foreign(path: Path) -> RecipeError:
    return RecipeError(
        f"{str(path)!r} is not a file of tfxai, and the run would overwrite it.",
        "a folder without files of these names",
        "another --out, or move the file away",
    )
