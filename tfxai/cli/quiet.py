"""TensorFlow without the lines that it writes when it starts.

Its libraries write to the file descriptor of stderr before any setting is read:
"oneDNN custom operations are on", "All log messages before absl::InitializeLog".
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO


def import_tensorflow() -> None:
    """Import TensorFlow and Keras; their lines are shown only after an error."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "tensorflow" in sys.modules:
        return
    with silenced():
        import keras  # noqa: F401


@contextmanager
def silenced() -> Iterator[None]:
    """Keep what is written to the file descriptor 2; write it after an error."""
    with tempfile.TemporaryFile() as kept:
        try:
            sys.stderr.flush()
            stderr = os.dup(2)
        except (OSError, ValueError, AttributeError):  # there is no stderr
            yield
            return
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except BaseException:
            _restore(stderr)
            _copy(kept)
            raise
        _restore(stderr)


def _restore(stderr: int) -> None:
    """Connect the file descriptor 2 again."""
    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.flush()
    os.dup2(stderr, 2)
    os.close(stderr)


def _copy(kept: BinaryIO) -> None:
    """Write what was kept."""
    kept.seek(0)
    with suppress(OSError):
        os.write(2, kept.read())
