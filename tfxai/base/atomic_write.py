"""Atomic writing: a file is either complete or not changed."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path: str | os.PathLike[str], sync: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`, and rename it to `path` on success.

    The temporary name keeps the suffix, since many writers choose the format by it.
    After an error (also Ctrl-C) the temporary file is removed and an existing file at
    `path` is unchanged.

    Args:
        path: The file to write. Missing parent folders are created.
        sync: Flush the file to disk before it is renamed. A power failure then leaves
            either the old file or the new one, never a partial file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(path.suffix, f".{path.stem}-", path.parent)
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
