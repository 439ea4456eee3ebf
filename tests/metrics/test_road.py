"""ROAD's linear imputation against a dense system, and its curve by loops."""

import numpy as np
import pytest

from tests.metrics.linear_model import exact, images, linear, softmax
from tfxai.metrics.registry import compute
from tfxai.metrics.road import imputed


def dense(x, removed):
    """Return x with each removed pixel as the weighted mean of its neighbours."""
    places = [tuple(p) for p in np.argwhere(removed)]
    a, b = np.zeros((len(places),) * 2), np.zeros((len(places), x.shape[-1]))
    for i, (r, c) in enumerate(places):
        for dr in (-1, 0, 1):
            for dc in (-1, 0, 1):
                p = r + dr, c + dc
                inside = 0 <= p[0] < x.shape[0] and 0 <= p[1] < x.shape[1]
                if (dr or dc) and inside:
                    w = 1 / 12 if dr and dc else 1 / 6
                    a[i, i] += w
                    if removed[p]:
                        a[i, places.index(p)] -= w
                    else:
                        b[i] += w * x[p]
    result = x.astype(float)
    result[removed] = np.linalg.solve(a, b)
    return result


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("channels", [1, 3])
def test_imputation_is_the_dense_system(share, channels):
    x = images(1, 9, channels)[0]
    removed = np.random.default_rng(2).random((9, 9)) < share
    result = imputed(x, removed)
    np.testing.assert_allclose(result, dense(x, removed), atol=1e-9)
    assert (result[~removed] == x[~removed]).all()


def test_a_ramp_is_restored():
    """The mean of a plane's neighbours is the plane: a hole inside is filled."""
    x = (np.arange(8)[:, None] * 2.0 + np.arange(7) + 1)[..., None]
    removed = np.zeros((8, 7), bool)
    removed[2:6, 1:5] = True
    hole = np.where(removed[..., None], -100, x)
    np.testing.assert_allclose(imputed(hole, removed), x, atol=1e-9)


def test_road_is_a_loop():
    model, x, target = linear(side=6, channels=2), images(2, 6, 2), [1, 2]
    e = exact(model, x, target)
    result = compute("road", model, e, shares=[0.2, 0.6], noise=0)
    noisy = compute("road", model, e, shares=[0.2, 0.6], noise=0.3)
    w = np.asarray(model.weights[0]).astype(float)
    for i, k in enumerate(target):
        order = np.argsort(-e.heatmap()[i].ravel(), kind="stable")
        p, rng, drawn = [], np.random.default_rng(0), []
        for count in (7, 22):  # of 36
            removed = np.zeros(36, bool)
            removed[order[:count]] = True
            removed = removed.reshape(6, 6)
            filled = dense(x[i], removed)
            p.append(softmax(filled.ravel() @ w)[k])
            filled[removed] += 0.3 * np.ptp(x[i]) * rng.standard_normal((count, 2))
            drawn.append(softmax(filled.ravel() @ w)[k])
        assert result[i] == pytest.approx(np.mean(p), abs=1e-6)
        assert noisy[i] == pytest.approx(np.mean(drawn), abs=1e-6)
