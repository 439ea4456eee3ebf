"""Atomic writing: a file is either complete or not changed."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = 24  # characters of the name that a temporary file repeats


@contextmanager
def atomic_write(
    path: str | os.PathLike[str], sync: bool = False, create: bool = True
) -> Iterator[Path]:
    """Yield a temporary path beside `path`, and rename it to `path` on success.

    The temporary name keeps the suffix, since many writers choose the format by it.
    After an error (also Ctrl-C) the temporary file is removed and an existing file at
    `path` is unchanged.

    Args:
        path: The file to write.
        sync: Flush the file to disk before it is renamed. A power failure then leaves
            either the old file or the new one, never a partial file.
        create: Create missing parent folders. False: a missing folder is an error,
            such as one that was deleted during a run.

    Raises:
        OSError: The file cannot be written.
    """
    path = Path(path)
    if create:
        path.parent.mkdir(parents=True, exist_ok=True)
    start = f".{path.stem[:PREFIX]}-"  # a long name has no room for a longer one
    handle, name = tempfile.mkstemp(path.suffix, start, path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        os.chmod(temporary, 0o666 & ~_umask())
        if sync:
            _sync(temporary)
        os.replace(temporary, path)
        if sync:
            _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
