"""Reference samples of channels, from a resumed run and against a plain formula."""

import html
import re

import keras
import numpy as np
import pytest

import tfxai
from tests import zoo
from tfxai.errors import InputError, OptionError

L = keras.layers
N = 11


@pytest.fixture(scope="module")
def images():
    return np.float32(np.random.default_rng(4).uniform(0, 1, (N, 8, 8, 2)))


@pytest.fixture(scope="module")
def model():
    x = keras.Input((8, 8, 2))
    y = L.Conv2D(5, 3, activation="relu", name="block")(x)
    y = L.Conv2D(4, 3, activation="relu")(y)
    return zoo.fill(keras.Model(x, L.Dense(3)(L.GlobalAveragePooling2D()(y))))


@pytest.fixture(scope="module")
def folder(model, images, tmp_path_factory):
    """The relevance of a layer over the images; the second call resumes the first."""
    out = tmp_path_factory.mktemp("run") / "maps"
    run = {"at": "block", "shard_size": 4}
    tfxai.run(model, images, "lrp.epsilon", out, **run)
    gone = sorted(out.rglob("*.h5"))[1]
    gone.unlink()
    again = tfxai.run(model, images, "lrp.epsilon", out, **run)
    assert again.explained == 4
    return out


@pytest.mark.parametrize("by", ["sum", "max"])
@pytest.mark.parametrize("absolute", [True, False])
def test_the_order_of_the_samples_by_formula(model, images, folder, by, absolute):
    r = tfxai.create_analyzer("lrp.epsilon", model).relevance_at("block", images)
    found = tfxai.reference_samples(folder, 3, by, absolute)
    relevance = r.relevance.astype(np.float64)
    value = relevance.sum((1, 2)) if by == "sum" else relevance.max((1, 2))
    if absolute:
        value = value / (np.abs(value).sum(1, keepdims=True) + 1e-10)
    assert len(found) == 5
    for c in range(5):
        order = np.argsort(-value[:, c], kind="stable")[:3]
        np.testing.assert_array_equal(found.index[c], order)
        np.testing.assert_allclose(found.relevance[c], value[order, c], rtol=1e-4)
        np.testing.assert_allclose(
            found.maps[c], relevance[order, ..., c], rtol=1e-4, atol=1e-6
        )
        flat = relevance[order, ..., c].reshape(3, -1)
        np.testing.assert_array_equal(found.position[c], flat.argmax(1))
        np.testing.assert_array_equal(found.target[c], np.asarray(r.target)[order])
    np.testing.assert_allclose(found.total, value.mean(0), rtol=1e-3, atol=1e-6)
    assert found.top(2) == np.argsort(-value.mean(0))[:2].tolist()


def test_an_explanation_of_a_layer_serves_too(model, images, folder, monkeypatch):
    monkeypatch.setattr("tfxai.datasets.reference_samples.READ", 4)
    e = tfxai.explain(model, images, "lrp.epsilon", at="block")
    assert e.relevance.shape == (N, 6, 6, 5)
    assert e.inputs.shape == (N, 6, 6, 5)
    a, b = tfxai.reference_samples(e, 4), tfxai.reference_samples(tfxai.load(folder), 4)
    np.testing.assert_array_equal(a.index, b.index)
    np.testing.assert_allclose(a.relevance, b.relevance, rtol=1e-4)


def test_the_atlas_has_a_row_for_each_channel(images, folder):
    found = tfxai.reference_samples(folder, 3)
    figure = found.plot(images, channels=[4, 1])
    assert len(figure.axes) == 6
    texts = [t.get_text() for t in figure.texts]
    assert [t.split(" (")[0] for t in texts if "channel" in t] == [
        "channel 4", "channel 1",
    ]  # fmt: skip
    assert len(found.plot(lambda i: images[i]).axes) == 15


def test_the_page_has_a_card_for_each_channel(model, images, folder, tmp_path):
    found = tfxai.reference_samples(folder, 3)
    names = ["a & b", "c", "d"]
    path = found.page(tmp_path / "atlas.html", images, names=names, title="<Atlas>")
    text = path.read_text("utf-8")
    assert text.count("data:image/png") == 15 and "&lt;Atlas&gt;" in text
    cards = re.findall(r"<figcaption>channel (\d)", text)
    assert [int(c) for c in cards] == found.top(5)
    first = found.top(1)[0]
    sample = f"sample {found.index[first][0]}, {100 * found.relevance[first][0]:.2g} %"
    assert sample in text.split("</figure>")[0]
    label = html.escape(names[found.target[first][0]])
    assert f"<b>{label}</b><span>{sample}" in text
    small = found.page(tmp_path / "one.html", lambda i: images[i], channels=[2])
    assert re.findall(r"<figcaption>channel (\d)", small.read_text("utf-8")) == ["2"]
    with pytest.raises(OptionError, match=r"ends in \.html"):
        found.page(tmp_path / "atlas.png", images)


def test_errors(model, images, tmp_path):
    tfxai.run(model, images[:2], "lrp.epsilon", tmp_path / "maps")
    with pytest.raises(InputError, match='at="block3"'):
        tfxai.reference_samples(tmp_path / "maps")
    with pytest.raises(OptionError, match="'sum', 'max'"):
        tfxai.reference_samples(tmp_path / "maps", by="mean")
    for name in ("lrp.epsilon", "gradient"):
        plain = tfxai.explain(model, images[:2], name)
        with pytest.raises(InputError, match="The explanation holds the relevance of"):
            tfxai.reference_samples(plain)
    inner = tfxai.create_analyzer("lrp.epsilon", model).relevance_at("block", images)
    assert len(tfxai.reference_samples(inner, 2)) == 5
    several = tfxai.explain(model, images[:1], "lrp.epsilon", [[0, 1]], at="block")
    with pytest.raises(InputError, match="one target"):
        tfxai.reference_samples(several)
