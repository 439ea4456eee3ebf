"""Figures, tables and notebook views of the results of a run."""

import keras
import numpy as np
import pytest

import tfxai
from tests.viz.test_plot import texts
from tfxai.errors import InputError


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    x = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
    out = tmp_path_factory.mktemp("run") / "maps"
    result = tfxai.run(model, x, "gradient", out, target=1, shard_size=4)
    return x, tfxai.load(out), result


def test_some_samples_are_an_explanation_with_figures_and_tables(run):
    x, maps, _ = run
    e = maps[2:5].explanation(x[2:5], features=["a", "b", "c"], names=["no", "yes"])
    np.testing.assert_array_equal(e.relevance, maps[2:5].relevance)
    assert (len(e), e.method, e.target.tolist()) == (3, "gradient", [1, 1, 1])
    assert texts(tfxai.plot.waterfall(e, 1))[:2] == ["gradient", "yes"]
    assert "3 samples" in texts(tfxai.plot.beeswarm(e))
    assert len(maps[0:3].to_dataframe()) == 9
    one = maps[4]
    assert len(one) == 1 and one.explanation(x[4:5]).relevance.shape == (1, 3)
    assert texts(one.plot(x[4:5]))[0] == texts(maps[0:1].plot())[0] == "gradient"
    assert "6 samples" in texts(tfxai.plot.importance(maps[:]))
    with pytest.raises(InputError, match="x holds 6 samples for 3 maps"):
        maps[:3].plot(x)


def test_a_notebook_shows_a_run_as_a_table(run):
    _, maps, result = run
    assert all(f">{cell}</td>" in maps._repr_html_() for cell in ("gradient", "6"))
    assert ">shards computed</th>" in result._repr_html_()
    assert "<img" in maps[:2]._repr_html_()
