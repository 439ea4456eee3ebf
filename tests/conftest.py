"""What several test files share."""

import os
import random
import zlib
from pathlib import Path

import numpy as np
import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # a worker per core, a thread per worker
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

from tests.default_run import group_of, mark_slow, order, stale

#: Trained networks, pictures and reference values: beside the checkout, not in it.
SHARED = Path(__file__).resolve().parents[2] / "shared"
# A failing `assert` in a helper module shows its values, as in a test file.
pytest.register_assert_rewrite("tests.relevance")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Mark what the default run leaves out; keep the tests of a file on one worker.

    A test may name a group of its own instead of its file.
    """
    wrong = [] if any("::" in a for a in config.args) else stale(items)
    if wrong:
        raise pytest.UsageError(f"No test matches {wrong} of tests/default_run.py.")
    mark_slow(items)
    order(items)
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(group_of(item)))


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makemodule(module_path: Path) -> None:
    """Give a file that builds networks when it is imported the same ones each time."""
    seed(module_path.name)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Give a test and its fixtures the same random numbers each time, in any order."""
    seed(item.nodeid)


def seed(name: str) -> None:
    """Seed the generators that Keras and the tests draw from; TFXAI_SEED draws others.

    `tf.random.set_seed` would empty TensorFlow's cache of kernels: .1 s for each test.
    """
    number = zlib.crc32(f"{name}{os.environ.get('TFXAI_SEED', '')}".encode())
    random.seed(number)
    np.random.seed(number)


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let analyzers run operation by operation, where they would compile.

    For large products whose compiled path other tests run: tracing takes longer than
    the arithmetic of a small network.
    """
    monkeypatch.setattr("tfxai.core.compilation.FIRST_CALLS", 1000)
    monkeypatch.setattr("tfxai.core.compilation.FEW", 1000)


#: Files whose tests run by default with TensorFlow's graph optimiser, as users do.
OPTIMISED = (
    *("test_every_analyzer.py", "test_xla.py", "core/test_first_call.py"),
    *("relevance/test_numbers.py", "relevance/test_references_stored.py"),
    *("relevance/test_serving.py", "sampling/test_precision.py"),
)


@pytest.fixture(autouse=True, scope="module")
def graph_optimiser(request: pytest.FixtureRequest) -> None:
    """Switch TensorFlow's graph optimiser off, but for `OPTIMISED` in the default run.

    It takes a fifth of the time of tests that run a graph a few times.
    """
    import tensorflow as tf

    slow = request.config.getoption("markexpr") == "slow"
    file = request.path.relative_to(Path(__file__).parent).as_posix()
    off = slow or file not in OPTIMISED
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": off})


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


@pytest.fixture(autouse=True, scope="session")
def exact_products(pytestconfig: pytest.Config) -> None:
    """Let GPUs multiply in float32, not in TF32, where maps of devices are compared."""
    if pytestconfig.getoption("markexpr") == "gpu":
        import tensorflow as tf

        tf.config.experimental.enable_tensor_float_32_execution(False)
