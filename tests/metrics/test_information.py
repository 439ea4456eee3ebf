"""AIC and SIC against loops over the curve."""

import zlib

import numpy as np
import pytest
from PIL import Image

from tests.metrics.linear_model import exact, explained, images, linear, softmax
from tfxai.errors import InputError, OptionError
from tfxai.metrics.information import (
    InformationCurves,
    compressed_size,
    information_curves,
)
from tfxai.metrics.registry import compute


def test_sizes(tmp_path):
    x = images(1)[0] * 3 - 1
    levels = np.round(255 * (x - x.min()) / np.ptp(x)).astype(np.uint8)
    assert compressed_size(x, x, "zlib") == len(zlib.compress(levels.tobytes(), 9))
    Image.fromarray(levels).save(tmp_path / "a.webp", lossless=True, quality=100)
    assert compressed_size(x, x, "webp") == (tmp_path / "a.webp").stat().st_size
    read = np.asarray(Image.open(tmp_path / "a.webp"))
    assert (read == levels).all()  # without loss
    assert compressed_size(np.full_like(x, 0.5), x, "webp") < compressed_size(
        x, x, "webp"
    )
    assert compressed_size(x[..., :1], x, "webp") < compressed_size(
        x[..., :2], x, "webp"
    )


def test_the_curves_are_loops():
    model, x = linear(), images(2)
    target = model(x).numpy().argmax(1)
    e = exact(model, x, target)
    mean = x.mean((1, 2), keepdims=True) * np.ones_like(x)
    options = {"shares": [0.1, 0.5], "baseline": "mean", "codec": "zlib"}
    result = {n: compute(n, model, e, **options) for n in ("aic", "sic")}
    curves = information_curves(model, e, **options)
    w = np.asarray(model.weights[0]).astype(float)
    for i, k in enumerate(target):
        order = np.argsort(-e.heatmap()[i].ravel(), kind="stable")
        known, top, part = [], [], []
        for count in (0, 14, 72, 144):
            shown = mean[i].copy().reshape(144, 3)
            shown[order[:count]] = x[i].reshape(144, 3)[order[:count]]
            p = softmax(shown.ravel() @ w)
            known.append(compressed_size(shown.reshape(x[i].shape), x[i], "zlib"))
            top.append(float(p.argmax() == k))
            part.append(p[k])
        known = (np.array(known) - known[0]) / (known[-1] - known[0])
        assert (np.diff(known) > 0).all()
        part = np.minimum(np.array(part) / part[-1], 1)
        assert result["aic"][i] == pytest.approx(np.trapezoid(top, known), abs=1e-6)
        assert result["sic"][i] == pytest.approx(np.trapezoid(part, known), abs=1e-5)
        np.testing.assert_allclose(curves.information[i], known, atol=1e-9)
        np.testing.assert_array_equal(curves.accuracy[i], top)
        np.testing.assert_allclose(curves.softmax[i], part, atol=1e-5)


def test_the_curve_over_a_data_set_is_a_mean_and_a_median():
    """The grid has points between those of three curves."""
    known = np.array([[0, 0.5, 1], [0, 0.25, 1], [0, 0.5, 1]])
    on_top = np.array([[0.0, 1, 1], [0, 0, 1], [1, 1, 1]])
    likely = np.array([[0, 0.4, 1], [0.2, 0.2, 1], [0, 1, 1]])
    curves = InformationCurves(known, on_top, likely)
    result = curves.pooled("accuracy", [0, 0.25, 1])
    np.testing.assert_allclose(result, [1 / 3, (0.5 + 0 + 1) / 3, 1])
    np.testing.assert_allclose(curves.pooled("softmax", [0, 0.25, 1]), [0, 0.2, 1])
    np.testing.assert_allclose(curves.areas("accuracy"), [0.75, 0.375, 1])


def test_more_pixels_never_say_less(monkeypatch):
    """Sizes 10, 30, 20, 50 are 0, 1/2, 1/2 and 1 of the information."""
    sizes = iter([10, 30, 20, 50])
    monkeypatch.setattr(
        "tfxai.metrics.information.compressed_size", lambda *_: next(sizes)
    )
    model, x = linear(side=2, channels=1), images(1, 2, 1)
    e = exact(model, x, [0])
    order = np.argsort(-e.heatmap()[0].ravel(), kind="stable")
    shown = np.zeros((4, 4))
    for row, count in zip(shown, (0, 1, 2, 4), strict=True):
        row[order[:count]] = x.ravel()[order[:count]]
    p = softmax(shown @ np.asarray(model.weights[0]))[:, 0]
    p = np.minimum(p / p[3], 1)
    result = compute("sic", model, e, shares=[0.25, 0.5], baseline=0)
    wanted = (p[0] + p[1]) / 2 / 2 + (p[2] + p[3]) / 2 / 2
    assert result[0] == pytest.approx(wanted, abs=1e-6)


def test_the_truth_needs_fewer_bytes_than_its_opposite():
    model, x = linear(), images(4)
    target = model(x).numpy().argmax(1)
    true = exact(model, x, target)
    against = explained(model, x, -true.relevance, target)
    for name in ("aic", "sic"):
        ours, theirs = (compute(name, model, e) for e in (true, against))
        assert (ours >= theirs).all() and (ours > theirs).any()


def test_a_picture_without_information_is_refused():
    model, x = linear(), np.full((1, 12, 12, 3), 0.5, np.float32)
    e = explained(model, x, images(1), [0])
    with pytest.raises(InputError, match="no information to show"):
        compute("aic", model, e)
    with pytest.raises(OptionError, match="codec='gif'"):
        compute("aic", model, e, codec="gif")
    with pytest.raises(OptionError, match="shares"):
        compute("sic", model, e, shares=[0, 0.5])
