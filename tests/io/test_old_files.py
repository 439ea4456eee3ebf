"""Files that version 0.1 wrote (commit 3be9447): read, or refused with the reason."""

from pathlib import Path

import keras
import numpy as np
import pytest

import tfxai
from tfxai.errors import ModelError, UncheckedWarning

OLD = Path(__file__).parents[1] / "files" / "version_0_1"


@pytest.fixture(scope="module")
def wanted():
    """What 0.1 computed: the inputs, and the relevance of three methods."""
    with np.load(OLD / "expected.npz") as file:
        return dict(file)


@pytest.mark.parametrize("name", ["gradient", "sglrp"])
def test_explanations_are_read(wanted, name):
    e = tfxai.load(OLD / f"{name}.npz")
    np.testing.assert_array_equal(e.relevance, wanted[name])
    np.testing.assert_array_equal(e.inputs, wanted["x"])
    assert e.method == name and len(e) == 3
    target = [1, 1, 1] if name == "gradient" else [[0, 1]] * 3
    assert e.target.tolist() == target and e.score.shape == np.shape(target)


def test_a_run_is_read_with_a_warning(wanted):
    with pytest.warns(UncheckedWarning, match="Version 0.1"):
        maps = tfxai.load(OLD / "run")
    np.testing.assert_array_equal(maps[:].relevance, wanted["gradient"])


def test_a_graph_is_refused_with_the_reason(wanted, tmp_path, monkeypatch):
    with pytest.raises(ModelError, match=r"Version 0\.1 of tfxai wrote") as caught:
        tfxai.load(OLD / "graph.keras")
    model = keras.models.load_model(OLD / "model.keras")
    monkeypatch.chdir(tmp_path)
    exec(caught.value.write, {"tfxai": tfxai, "model": model})  # what it says to type
    graph = tfxai.load("why.keras")
    shape = graph(wanted["x"], target=[1, 1, 1])["relevance"].shape
    assert tuple(shape)[-4:] == wanted["x"].shape


def test_the_model_has_the_same_maps_today(wanted):
    model, x = keras.models.load_model(OLD / "model.keras"), wanted["x"]
    for method, name in (("gradient", "gradient"), ("lrp.epsilon", "epsilon")):
        now = tfxai.explain(model, x, method, target=1).relevance
        gap = np.abs(now - wanted[name]).max() / np.abs(wanted[name]).max()
        assert gap <= 1e-5, method
