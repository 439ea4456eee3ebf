"""The page of the demo: its metrics, and its HTML."""

import base64
import re

import numpy as np
import pytest

from tests.conftest import shared_path
from tfxai.cli.demo import page
from tfxai.demo import network, scenes
from tfxai.demo.evaluation import correlation, share
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
        page.write_page(tmp_path / "page.pdf")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The text of the page, and its metrics by (method, note)."""
    path, scores = page.write_page(
        tmp_path_factory.mktemp("demo") / "d.html", progress=False
    )
    return path.read_text(), {(m.method, m.note): m for m in scores}


@pytest.mark.slow
def test_the_class_discriminative_methods_find_the_right_digit(results):
    _, by = results
    lrp, sglrp, clrp = (by[m, ""] for m in ("lrp", "sglrp", "clrp"))
    assert min(sglrp.explained, clrp.explained) > lrp.explained + 0.05
    assert max(sglrp.other, clrp.other) < lrp.other / 2
    assert max(sglrp.correlation, clrp.correlation) < lrp.correlation - 0.5
    area = page.inside(scenes(64, seed=1).boxes, (64, 64)).mean()
    assert all(m.explained > 3 * area for m in by.values())


@pytest.mark.slow
def test_the_numbers_are_those_of_the_maps(results):
    _, by = results
    s, model = scenes(page.EVALUATED, seed=1), network(progress=False)
    e = page.api.explain(model, s.images, "sglrp", s.labels, low=0, high=1)
    masks = page.inside(s.boxes, (64, 64))
    positive = np.maximum(e.relevance.sum(-1), 0)
    shares = (positive * masks).sum((2, 3)) / positive.sum((2, 3))
    assert by["sglrp", ""].explained == pytest.approx(shares.mean(), rel=1e-5)


@pytest.mark.slow
def test_the_page_is_whole_and_fetches_nothing(results):
    text, by = results
    assert "{{" not in text and "<script" not in text
    sources = re.findall(r'src="([^"]*)"', text)
    assert len(sources) == page.SHOWN * (1 + 2 * len(page.ROWS))
    start = "data:image/png;base64,"
    assert all(s.startswith(start) for s in sources)
    assert all(base64.b64decode(s[22:])[:4] == b"\x89PNG" for s in sources)
    assert "http" not in re.sub(r"arXiv:|doi:", "", text).replace("charset", "")
    for (method, _), m in by.items():
        assert f"<b>{method}</b>" in text and f"{m.explained:.0%}" in text


@pytest.mark.slow
@pytest.mark.shared
def test_the_table_of_two_classes_is_what_is_measured():
    from tests.benchmarks.two_classes import lines, table
    from tests.test_docs import PAGES

    rows = table(shared_path(), ["squeezenet_v1_0"])
    assert "\n".join(lines(rows)) in PAGES["docs/tables/two_classes.md"]
    by = {r["method"]: r for r in rows}
    for name in ("clrp", "sglrp"):
        assert by[name]["right"] > by["lrp"]["right"] + 0.1
        assert by[name]["correlation"] < by["lrp"]["correlation"] - 0.5
