"""The table of key sizes against `masking.key_size` and numpy."""

import csv

import numpy as np
import pytest

import tfxai
from tests.metrics.linear_model import exact, explained, images, linear
from tfxai.errors import OptionError, UncertainClassWarning
from tfxai.metrics import masking
from tfxai.metrics.key_size import key_sizes
from tfxai.metrics.registry import compute

COLUMNS = ["count", "mean", "std", "min", "25%", "50%", "75%", "max"]


@pytest.fixture(scope="module")
def heatmaps():
    model, x = linear(), images(5)
    top = model.predict(x, verbose=0).argmax(1)
    rng = np.random.default_rng(0)
    return {
        "truth": exact(model, x, top),
        "random": explained(model, x, rng.normal(size=x.shape), top),
    }


def test_every_row_of_the_table(heatmaps, tmp_path):
    model, x = linear(), images(5)
    result = key_sizes(model, heatmaps, ["mean", "noise"], batch_size=300, seed=2)
    lines = list(csv.reader(result.csv(tmp_path / "keys.csv").open()))
    assert lines[0][1:] == ["truth/mean", "truth/noise", "random/mean", "random/noise"]
    described = list(csv.DictReader((tmp_path / "keys.describe.csv").open()))
    for column, row in enumerate(result.rows(), 1):
        name, baseline = row.pop("method"), row.pop("baseline")
        sizes = masking.key_size(model, x, heatmaps[name], baseline, seed=2)
        q = np.quantile(sizes, [0, 0.25, 0.5, 0.75, 1])
        wanted = [5, sizes.mean(), np.sqrt(sizes.var() * 5 / 4), *q]
        assert list(row) == COLUMNS
        np.testing.assert_allclose(list(row.values()), wanted, rtol=1e-9)
        np.testing.assert_allclose([float(v[column]) for v in lines[1:]], sizes)
        stored = described[column - 1]
        assert (stored["method"], stored["background"]) == (name, baseline)
        np.testing.assert_allclose([float(stored[n]) for n in COLUMNS], wanted)
        cells = [name, baseline, *(f"{v:.3g}" for v in wanted)]
        assert f"| {' | '.join(cells)} |" in result.markdown()
    truth, noise = (result.values[m, "mean"] for m in ("truth", "random"))
    assert truth.mean() < noise.mean()


def test_an_improbable_class_is_a_warning():
    model, x = linear(), images(2)
    least = model.predict(x, verbose=0).argmin(1)
    e = tfxai.explain(model, x, "gradient", least)
    with pytest.warns(UncertainClassWarning, match=r"sample\(s\) \[0, 1\] is not the"):
        assert (compute("key_size", model, e) == 0).all()


def test_explanations_of_other_pictures_are_refused(heatmaps):
    model = linear()
    other = tfxai.explain(model, images(2), "gradient")
    with pytest.raises(OptionError, match="the same images"):
        key_sizes(model, {**heatmaps, "other": other})
    with pytest.raises(OptionError, match="one or more baselines"):
        key_sizes(model, heatmaps, [])
