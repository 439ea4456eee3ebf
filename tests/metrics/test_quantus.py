"""Metrics against those of Quantus, if it is installed."""

import numpy as np
import pytest

from tests.metrics.linear_model import explained, images, linear
from tfxai.metrics.registry import compute

quantus = pytest.importorskip(
    "quantus", reason="pip install quantus, to compare", exc_type=ImportError
)
pytestmark = pytest.mark.filterwarnings("ignore")

SIDE, COUNT = 12, 4
BOXES = [[0, 0, 0.5, 0.5], [0.25, 0.25, 0.75, 1], [0.5, 0.5, 1, 1], [0, 0.5, 1, 1]]
#: (our metric, its options, their class, its options, how to reduce their values)
ROWS = [
    ("sparseness", {}, quantus.Sparseness, {}, None),
    ("complexity", {}, quantus.Complexity, {}, None),
    ("relevance_mass", {}, quantus.RelevanceMassAccuracy, {}, None),
    ("relevance_rank", {}, quantus.RelevanceRankAccuracy, {}, None),
    ("pointing_game", {"tolerance": 0}, quantus.PointingGame, {}, None),
    ("top_k_intersection", {"share": 9 / 144}, quantus.TopKIntersection, {"k": 9},
     None),
    ("localisation_auc", {}, quantus.AUC, {}, None),
    ("relevance_mass", {}, quantus.AttributionLocalisation, {}, None),
    ("sufficiency", {"threshold": 0.95}, quantus.Sufficiency, {"threshold": 0.95},
     None),
    (
        "pixel_flipping", {"n_steps": SIDE**2},
        quantus.PixelFlipping, {"features_in_step": 1}, "curve",
    ),
    (
        "region_perturbation", {"patch": 3, "n_steps": 16},
        quantus.RegionPerturbation, {"patch_size": 3, "regions_evaluation": 16}, "drop",
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def case():
    """Return a one-channel linear model, and positive heatmaps of distinct values."""
    model, x = linear(channels=1), images(COUNT, channels=1)
    target = np.array([0, 1, 2, 1])
    rng = np.random.default_rng(3)
    heatmaps = rng.permutation(np.arange(1, COUNT * SIDE**2 + 1)).reshape(x.shape) / 100
    return model, x, target, np.float32(heatmaps)


@pytest.mark.parametrize("ours, options, theirs, kwargs, kind", ROWS,
                         ids=[r[0] for r in ROWS])  # fmt: skip
def test_quantus_says_the_same(ours, options, theirs, kwargs, kind, case):
    model, x, target, heatmaps = case
    e = explained(model, x, heatmaps, target)
    masks = np.zeros((COUNT, SIDE, SIDE), bool)
    for mask, (y0, x0, y1, x1) in zip(masks, np.array(BOXES) * SIDE, strict=True):
        mask[int(y0) : int(y1), int(x0) : int(x1)] = True
    # The "black" of Quantus is the smallest value of each image.
    black = x.min((1, 2, 3), keepdims=True)
    given = {"boxes": masks} if kind is None else {"baseline": black}
    result = compute(ours, model, e, **given, **options)
    answers = theirs(disable_warnings=True, return_aggregate=False, **kwargs)(
        model=model, x_batch=x, y_batch=target, a_batch=heatmaps[:, None, ..., 0],
        s_batch=masks[:, None], channel_first=False, softmax=True,
    )  # fmt: skip
    answers = np.array([np.squeeze(a) for a in answers], float)
    if kind is not None:
        p = model.predict(x, verbose=0)[np.arange(COUNT), target][:, None]
        drops = p - answers if kind == "curve" else answers
        answers = np.concatenate([np.zeros((COUNT, 1)), drops], 1).mean(1)
    assert np.ptp(result) > 0
    np.testing.assert_allclose(result, answers, rtol=1e-4, atol=1e-6)
