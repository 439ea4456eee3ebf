"""The table of key sizes: every number is that of its pictures."""

import csv

import numpy as np
import pytest

import tfxai
from tests.metrics.pictures import exact, explained, linear, pictures
from tfxai.errors import OptionError, UncertainClassWarning
from tfxai.metrics import masking
from tfxai.metrics.key_size import key_sizes
from tfxai.metrics.registry import compute

TOLD = ["count", "mean", "std", "min", "25%", "50%", "75%", "max"]


@pytest.fixture(scope="module")
def maps():
    model, x = linear(), pictures(5)
    top = model.predict(x, verbose=0).argmax(1)
    rng = np.random.default_rng(0)
    return {
        "truth": exact(model, x, top),
        "random": explained(model, x, rng.normal(size=x.shape), top),
    }


def test_every_row_of_the_table(maps, tmp_path):
    model, x = linear(), pictures(5)
    made = key_sizes(model, maps, ["mean", "noise"], batch_size=300, seed=2)
    lines = list(csv.reader(made.csv(tmp_path / "keys.csv").open()))
    assert lines[0][1:] == ["truth/mean", "truth/noise", "random/mean", "random/noise"]
    described = list(csv.DictReader((tmp_path / "keys.describe.csv").open()))
    for column, row in enumerate(made.rows(), 1):
        name, background = row.pop("method"), row.pop("background")
        sizes = masking.key_size(model, x, maps[name], background, seed=2)
        q = np.quantile(sizes, [0, 0.25, 0.5, 0.75, 1])
        wanted = [5, sizes.mean(), np.sqrt(sizes.var() * 5 / 4), *q]
        assert list(row) == TOLD
        np.testing.assert_allclose(list(row.values()), wanted, rtol=1e-9)
        np.testing.assert_allclose([float(v[column]) for v in lines[1:]], sizes)
        told = described[column - 1]
        assert (told["method"], told["background"]) == (name, background)
        np.testing.assert_allclose([float(told[n]) for n in TOLD], wanted)
        cells = [name, background, *(f"{v:.3g}" for v in wanted)]
        assert f"| {' | '.join(cells)} |" in made.markdown()
    truth, noise = (made.values[m, "mean"] for m in ("truth", "random"))
    assert truth.mean() < noise.mean()


def test_a_class_that_is_lost_already_is_told():
    model, x = linear(), pictures(2)
    least = model.predict(x, verbose=0).argmin(1)
    e = tfxai.explain(model, x, "gradient", least)
    with pytest.warns(UncertainClassWarning, match=r"sample\(s\) \[0, 1\] is not the"):
        assert (compute("key_size", model, e) == 0).all()


def test_explanations_of_other_pictures_are_refused(maps):
    model = linear()
    other = tfxai.explain(model, pictures(2), "gradient")
    with pytest.raises(OptionError, match="the same pictures"):
        key_sizes(model, {**maps, "other": other})
    with pytest.raises(OptionError, match="one or more backgrounds"):
        key_sizes(model, maps, [])
