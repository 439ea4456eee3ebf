"""Maps on the second of two devices: GPUs, or two logical CPUs where there is none.

`python -m pytest -m gpu -n 0` runs this file and the other tests that want a GPU.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = """
import json
import threading
import warnings

import keras
import numpy as np
import tensorflow as tf
from tests.two_devices import split

two = split()
import tfxai
from tfxai.cli import device_checks

warnings.simplefilter("ignore", tfxai.errors.TfxaiWarning)
# other methods than those of `tfxai doctor`
x, background = device_checks.images(2), device_checks.images(4)
device_checks.COMPARED = {
    "relevance": ("lrp.alpha_2_beta_1", {}),
    "path": ("expected_gradients", {"n_samples": 4, "background": background}),
    "sampling": ("occlusion", {"window": 16}),
}
device_checks.pair = lambda: two
maps = [[f.name, f.value, f.ok, f.note] for f in device_checks.maps(lambda *_: None)]

models = {d: device_checks._network(d) for d in two}
before = {d: [w.value.device for w in m.weights] for d, m in models.items()}
analyzers = {d: tfxai.create_analyzer("sglrp", m, low=0, high=1)
             for d, m in models.items()}
found = {d: [] for d in two}

def explain(device):
    for _ in range(3):
        with tf.device(device):
            found[device].append(analyzers[device].analyze(x, [1, 2]).relevance)

threads = [threading.Thread(target=explain, args=(d,)) for d in two]
for t in threads:
    t.start()
for t in threads:
    t.join()
wanted = tfxai.explain(models[two[0]], x, "sglrp", [1, 2], low=0, high=1).relevance
size = np.abs(wanted).max()
together = {d: [float(np.abs(m - wanted).max() / size) for m in maps_of]
            for d, maps_of in found.items()}
kept = all([w.value.device for w in m.weights] == before[d] for d, m in models.items())

keras.mixed_precision.set_global_policy("mixed_float16")
with tf.device(two[1]):
    half = device_checks.build()
half.set_weights(models[two[0]].get_weights())
rough = tfxai.explain(half, x, "sglrp", [1, 2], low=0, high=1).relevance
alike = float(np.corrcoef(rough.ravel(), wanted.ravel())[0, 1])
places = [before[d][0][-5:] for d in two]
print(json.dumps([two, maps, places, kept, together, str(rough.dtype), alike]))
"""


pytestmark = [pytest.mark.slow, pytest.mark.gpu]


@pytest.fixture(scope="module")
def child():
    """What a fresh process printed."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    return json.loads(process.stdout.splitlines()[-1])


def test_the_maps_of_two_devices_are_equal(child):
    two, maps, *_ = child
    checks = [row for row in maps if row[2] is not None]  # no limit with TF32
    assert len(checks) == 4 and two[0] != two[1]  # three methods, one compiled by XLA
    for name, gap, ok, note in checks:
        assert ok and gap <= 1e-4, (name, gap, note)


def test_two_threads_explain_on_two_devices_at_once(child):
    two, _, places, kept, together, *_ = child
    assert places == two and kept  # the variables stay where the user put them
    assert np.shape(list(together.values())) == (2, 3)
    assert max(map(max, together.values())) <= 1e-4


def test_half_precision_on_a_device(child):
    *_, dtype, alike = child
    assert dtype == "float32" and alike >= 0.999
