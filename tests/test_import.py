"""`import tfxai` is cheap and silent, and says in one line what it misses."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tfxai

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {
    *("matplotlib", "skimage", "sklearn", "cvxpy", "scipy"),
    *("rich", "click", "h5py", "PIL", "tqdm", "IPython"),
}
COST = """
import json, sys, time
start = time.process_time()
import tfxai
alone, modules = time.process_time() - start, sorted(sys.modules)
import keras
before = set(sys.modules)
start = time.process_time()
tfxai.create_analyzer, tfxai.load, tfxai.plot
names = time.process_time() - start
print(json.dumps([alone, modules, names, sorted(set(sys.modules) - before)]))
"""
OTHER_SETTINGS = """
import keras
keras.config.backend = lambda: "jax"  # as ~/.keras/keras.json would have it
import tfxai
tfxai.create_analyzer
"""
NO_TENSORFLOW = """
import importlib.util, sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "tensorflow":
            raise ModuleNotFoundError("No module named 'tensorflow'")
sys.meta_path.insert(0, Blocker())
find = importlib.util.find_spec
importlib.util.find_spec = (
    lambda name, *rest: None if name == "tensorflow" else find(name, *rest)
)
import tfxai
"""


def python(code, **environment):
    """Run `code` in a fresh interpreter that finds this checkout first."""
    env = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}
    env |= {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True
    )


def error(process):
    """The one line that the failed process ends with."""
    assert process.returncode == 1
    assert process.stdout == ""
    lines = process.stderr.strip().splitlines()
    assert [line for line in lines if re.match(r"\w+Error:", line)] == lines[-1:]
    return lines[-1]


@pytest.fixture(scope="module")
def costs():
    """One or two runs of COST, in seconds of the processor; the second is cached."""
    runs = []
    while len(runs) < 2 and not (runs and runs[-1][0] + runs[-1][2] < 0.5):
        process = python(COST)
        assert process.returncode == 0, process.stderr
        runs.append(json.loads(process.stdout.splitlines()[-1]))
    return runs


@pytest.mark.parametrize(
    "before, after",
    [
        ("", "import tfxai"),
        # TensorFlow tells some processors of oneDNN, whatever its log level.
        ("import keras", "import tfxai; tfxai.create_analyzer"),
    ],
)
def test_importing_prints_nothing(before, after):
    mark = "import sys; print('imported', file=sys.stderr, flush=True)"
    process = python("\n".join([before, mark, after]))
    assert process.returncode == 0
    assert process.stdout == ""
    assert process.stderr.endswith("imported\n")


def test_importing_takes_next_to_no_time(costs):
    # About 0.01 s, and 0.1 s beside Keras; the bound is for a busy machine.
    assert min(run[0] for run in costs) < 1.0
    assert min(run[2] for run in costs) < 1.0


def test_importing_loads_nothing_heavy(costs):
    _, alone, _, by_names = costs[0]
    assert {"tensorflow", "keras", *HEAVY}.isdisjoint(alone)
    assert "tfxai.relevance.relevance_model" in by_names
    # Keras loads some of these itself, where they are installed.
    assert HEAVY.isdisjoint(name.split(".")[0] for name in by_names)
    assert {"tfxai.cli.main", "tfxai.viz.report"}.isdisjoint(by_names)


PUBLIC = {
    "callbacks": "training.callback",
    "demo": "cli.demo",
    "demo.evaluation": "cli.demo.evaluation",
    "demo.network": "cli.demo.network",
    "errors": "base.errors",
    "plot": "viz.plot",
}
SAME = """
import importlib, importlib.util, sys
import tfxai
for name, home in {names!r}.items():
    old, new = f"tfxai.{{name}}", f"tfxai.{{home}}"
    first, second = (old, new) if {first!r} == "old" else (new, old)
    first, second = importlib.import_module(first), importlib.import_module(second)
    assert first is second is sys.modules[old] is sys.modules[new]
    assert first.__name__ == first.__spec__.name == new
    assert importlib.util.find_spec(old).name == new
"""


@pytest.mark.parametrize("first", ["old", "new"])
def test_public_modules_are_the_very_same_as_internal_ones(first):
    process = python(SAME.format(names=PUBLIC, first=first))
    assert process.returncode == 0, process.stderr


ATTRIBUTES = """
import tfxai.plot, tfxai.callbacks
from tfxai import demo, errors
from tfxai.errors import InputError
from tfxai.base.errors import InputError as Same
from tfxai.demo.network import CacheWarning
import tfxai.demo.network, tfxai.demo.scenes, tfxai.cli.demo.network, tfxai.cli.demo
assert tfxai.plot is tfxai.viz.plot
assert tfxai.callbacks is tfxai.training.callback
assert tfxai.errors is errors is tfxai.base.errors and InputError is Same
assert tfxai.demo is demo is tfxai.cli.demo
assert callable(demo.network) and callable(demo.scenes)  # functions, and no modules
assert CacheWarning is errors.CacheWarning
"""


def test_public_modules_are_attributes_and_the_demo_shows_its_functions():
    process = python(ATTRIBUTES)
    assert process.returncode == 0, process.stderr


def test_public_modules_are_not_loaded_before_they_are_used(costs):
    _, alone, _, _ = costs[0]
    homes = {f"tfxai.{name}" for name in PUBLIC.values()} - {"tfxai.base.errors"}
    assert homes.isdisjoint(alone)
    assert {"callbacks", "demo", "errors", "plot"} <= set(dir(tfxai))


@pytest.mark.parametrize("backend", ["numpy", "torch", "jax"])
def test_another_keras_backend_is_named(backend):
    line = error(python("import tfxai", KERAS_BACKEND=backend))
    assert line == (
        "ImportError: tfxai works on TensorFlow, but the Keras backend is "
        f"{backend!r}: set KERAS_BACKEND=tensorflow before import keras."
    )


def test_another_keras_backend_by_its_settings_file_is_named():
    line = error(python(OTHER_SETTINGS))
    assert "the Keras backend is 'jax'" in line
    assert "KERAS_BACKEND=tensorflow before import keras" in line


def test_a_missing_tensorflow_is_named():
    line = error(python(NO_TENSORFLOW))
    assert line.startswith("ImportError: tfxai needs TensorFlow:")
    assert "pip install tensorflow-cpu " in line
    assert '"tensorflow[and-cuda]"' in line


def test_an_unknown_name_is_an_attribute_error_that_names_it():
    line = error(python("import tfxai; tfxai.create_analyser"))
    assert line.startswith(
        "AttributeError: module 'tfxai' has no attribute 'create_analyser'"
    )
