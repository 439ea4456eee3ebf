"""The demo's page: what it measures, and what a browser gets."""

import base64
import re

import numpy as np
import pytest

from tests.conftest import shared_path
from tfxai.cli.demo import page
from tfxai.demo import network, scenes
from tfxai.demo.measure import correlation, share
from tfxai.errors import OptionError


def test_share_is_the_positive_relevance_inside():
    maps = np.array([[[3.0, -5], [1, 0]], [[0, -1], [0, 0]]])
    masks = np.array([[[True, True], [False, False]]] * 2)
    np.testing.assert_allclose(share(maps, masks), [0.75, np.nan])


def test_correlation_is_pearsons():
    a, b = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    wanted = [
        np.corrcoef(v.ravel(), w.ravel())[0, 1] for v, w in zip(a, b, strict=True)
    ]
    np.testing.assert_allclose(correlation(a, b), wanted)
    assert np.isnan(correlation(np.ones((2, 2)), np.eye(2)))


def test_the_page_must_be_html(tmp_path):
    with pytest.raises(OptionError, match="html"):
        page.run(tmp_path / "page.pdf")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The page, its text and its numbers by (method, note)."""
    path, measured = page.run(
        tmp_path_factory.mktemp("demo") / "d.html", progress=False
    )
    return path.read_text(), {(m.method, m.note): m for m in measured}


@pytest.mark.slow
def test_the_class_discriminative_methods_find_the_right_digit(made):
    _, by = made
    lrp, sglrp, clrp = (by[m, ""] for m in ("lrp", "sglrp", "clrp"))
    assert min(sglrp.right, clrp.right) > lrp.right + 0.05
    assert max(sglrp.wrong, clrp.wrong) < lrp.wrong / 2
    assert max(sglrp.alike, clrp.alike) < lrp.alike - 0.5
    chance = page.inside(scenes(64, seed=1).boxes, (64, 64)).mean()
    assert all(m.right > 3 * chance for m in by.values())


@pytest.mark.slow
def test_the_numbers_are_those_of_the_maps(made):
    _, by = made
    s, model = scenes(page.MEASURED, seed=1), network(progress=False)
    e = page.api.explain(model, s.images, "sglrp", s.labels, low=0, high=1)
    masks = page.inside(s.boxes, (64, 64))
    up = np.maximum(e.relevance.sum(-1), 0)
    right = (up * masks).sum((2, 3)) / up.sum((2, 3))
    assert by["sglrp", ""].right == pytest.approx(right.mean(), rel=1e-5)


@pytest.mark.slow
def test_the_page_is_whole_and_fetches_nothing(made):
    text, by = made
    assert "{{" not in text and "<script" not in text
    sources = re.findall(r'src="([^"]*)"', text)
    assert len(sources) == page.SHOWN * (1 + 2 * len(page.ROWS))
    start = "data:image/png;base64,"
    assert all(s.startswith(start) for s in sources)
    assert all(base64.b64decode(s[22:])[:4] == b"\x89PNG" for s in sources)
    assert "http" not in re.sub(r"arXiv:|doi:", "", text).replace("charset", "")
    for (method, _), m in by.items():
        assert f"<b>{method}</b>" in text and f"{m.right:.0%}" in text


@pytest.mark.slow
@pytest.mark.shared
def test_the_table_of_two_classes_is_what_is_measured():
    from tests.benchmarks.two_classes import lines, table
    from tests.test_docs import PAGES

    rows = table(shared_path())
    assert "\n".join(lines(rows)) in PAGES["docs/tables/two_classes.md"]
    by = {(r["network"], r["method"]): r for r in rows}
    for net in ("squeezenet_v1_0", "mobilenet_v2"):
        lrp, clrp, sglrp = (by[net, m] for m in ("lrp", "clrp", "sglrp"))
        for r in (clrp, sglrp):
            assert r["right"] > lrp["right"] + 0.1
            assert r["correlation"] < lrp["correlation"] - 0.5
