"""What several test files share."""

import os
from pathlib import Path

import pytest

#: Trained networks, pictures and reference values: beside the checkout, not in it.
SHARED = Path(__file__).resolve().parents[2] / "shared"
# A failing `assert` in a helper module shows its values, as in a test file.
pytest.register_assert_rewrite("tests.relevance")


def shared_path(name: str = "") -> Path:
    """The path of `../shared/name`; without it skip, and where CI=true fail."""
    path = SHARED / name
    if not path.exists():
        why = f"{path} is absent; tests marked `shared` read what is stored there."
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(why)
        pytest.skip(why)
    return path


@pytest.fixture
def shared() -> Path:
    """The path of `../shared`."""
    return shared_path()
