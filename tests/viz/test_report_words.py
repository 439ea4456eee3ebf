"""What the page of a comparison says about files, doubtful numbers and its origin."""

from importlib.resources import files
from types import SimpleNamespace

import numpy as np
import pytest

from tfxai.viz import report


def comparison(a, b, better="higher"):
    return SimpleNamespace(
        methods=("a", "b", "c"),
        values={("a", "m"): np.array(a), ("b", "m"): np.array(b)},
        metric=lambda name: SimpleNamespace(better=better),
        settings={"model": "net<1>"},
    )


@pytest.mark.parametrize(
    ("a", "b", "better", "clear"),
    [
        ([0.5, 0.6, 0.7], [0.4, 0.5, 0.6], "higher", True),  # always .1 above
        ([0.5, 0.6, 0.7], [0.4, 0.9, 0.4], "higher", False),  # .03, error .2
        ([0.1, 0.2, 0.1], [0.9, 0.8, 0.7], "lower", True),
        ([0.5], [0.4], "higher", True),
        ([0.5], [0.5], "higher", False),
    ],
)
def test_a_best_value_is_clear_above_its_standard_error(a, b, better, clear):
    assert report._is_clear(comparison(a, b, better), "m", "a") is clear


def test_a_file_that_is_named_after_another_class_is_marked():
    names = ["deer", "horse, Equus", "cat"]
    text = report._named("0_horse.png", "deer", names)
    assert "explained deer, but the file is named horse, Equus" in text
    for file, label, known in (
        ("0_horse.png", "horse, Equus", names), ("1.png", "deer", names),
        ("0_horse.png", "class 0", None), ("deer_horse.png", "deer", names),
    ):  # fmt: skip
        assert report._named(file, label, known) == ""


def test_the_page_names_model_date_and_versions_and_allows_no_script():
    about = report._about(comparison([1], [1]))
    assert about.startswith("Model net<1> · 20") and "keras 3." in about
    page = files("tfxai.viz.assets").joinpath("report.html").read_text("utf-8")
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert f'http-equiv="Content-Security-Policy" content="{policy}"' in page
