"""Metrics against those of Quantus, if it is installed."""

import keras
import numpy as np
import pytest

import tfxai
from tests import zoo
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
    (
        "region_perturbation", {"patch": 3, "n_steps": 16},
        quantus.Selectivity, {"patch_size": 3}, "curve",
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
                         ids=[r[2].__name__ for r in ROWS])  # fmt: skip
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


def test_focus_is_the_mass_in_the_mosaic_of_the_class(case):
    model, x, target, heatmaps = case
    chosen = np.array([[1, 0, 0, 1], [0, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 1]])
    masks = np.kron(chosen.reshape(-1, 2, 2), np.ones((1, 6, 6))).astype(bool)
    found = compute(
        "relevance_mass", model, explained(model, x, heatmaps, target), boxes=masks
    )
    focus = quantus.Focus(disable_warnings=True, return_aggregate=False)
    wanted = focus(
        model=model, x_batch=x, y_batch=target, a_batch=heatmaps[:, None, ..., 0],
        custom_batch=chosen, channel_first=False,
    )  # fmt: skip
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_the_monotonicity_correlation_of_the_same_draws(case):
    model, x, target, heatmaps = case
    e = explained(model, x, heatmaps, target)
    found = compute("monotonicity_correlation", model, e, n_groups=36, n_samples=5)
    calls = iter(range(36 * 5))
    drawn = np.stack(
        [np.random.default_rng(0).uniform(v.min(), v.max(), (5, v.size)) for v in x]
    )

    def redrawn(arr, indices, **_):
        new, rows = arr.copy(), np.arange(COUNT)[:, None]
        new[rows, indices] = drawn[rows, next(calls) % 5, indices]
        return new

    metric = quantus.MonotonicityCorrelation(
        nr_samples=5, features_in_step=4, normalise=False, perturb_func=redrawn,
        disable_warnings=True, return_aggregate=False,
    )  # fmt: skip
    wanted = metric(
        model=model, x_batch=x, y_batch=target, a_batch=heatmaps[:, None, ..., 0],
        channel_first=False, softmax=True,
    )  # fmt: skip
    assert np.ptp(found) > 0
    np.testing.assert_allclose(found, wanted, atol=1e-5)


# -- metrics of an analyzer, for a table ---------------------------------------------

AGAIN = [
    ("local_lipschitz", quantus.LocalLipschitzEstimate, {}),
    ("max_sensitivity", quantus.MaxSensitivity, {}),
    ("relative_input_stability", quantus.RelativeInputStability, {}),
    ("relative_output_stability", quantus.RelativeOutputStability, {}),
    (
        "relative_representation_stability", quantus.RelativeRepresentationStability,
        {"layer_names": ["hidden"]},
    ),
    (
        "discriminativeness", quantus.RandomLogit,
        {"num_classes": 2, "similarity_func": lambda a, b, **_: pearson(a, b)},
    ),
]  # fmt: skip


def pearson(a, b):
    """Return the correlation of each pair of rows, or of two rows."""
    rows = zip(np.atleast_2d(a), np.atleast_2d(b), strict=True)
    found = [np.corrcoef(u, v)[0, 1] for u, v in rows]
    return np.array(found) if np.ndim(a) > 1 else found[0]


@pytest.mark.parametrize("ours, theirs, kwargs", AGAIN, ids=[r[0] for r in AGAIN])
def test_quantus_says_the_same_of_a_table(ours, theirs, kwargs):
    i = keras.Input((6,))
    h = keras.layers.Dense(5, "tanh", name="hidden")(i)
    model = zoo.fill(keras.Model(i, keras.layers.Dense(2)(h)))
    x = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")
    target = np.array([0, 1, 0, 1])
    analyzer = tfxai.create_analyzer("input_t_gradient", model)
    e = analyzer.analyze(x, target)
    one = ours == "discriminativeness"
    options = {"other": "random"} if one else {"n_samples": 3, "radius": 0.02}
    found = compute(ours, model, e, analyzer=analyzer, **options)
    rng, reach = np.random.default_rng(0), 0.02 * np.ptp(x, axis=1)[:, None]
    near = (np.float32(x + reach * rng.uniform(-1, 1, 6)) for _ in range(3))
    if not one:  # the same nearby rows
        kwargs = {**kwargs, "nr_samples": 3, "perturb_func": lambda **_: next(near)}

    def explain(inputs, targets, **_):
        return analyzer.analyze(np.float32(inputs), np.asarray(targets)).relevance

    metric = theirs(
        normalise=False, disable_warnings=True, return_aggregate=False, **kwargs
    )
    wanted = metric(
        model=model, x_batch=x, y_batch=target, explain_func=lambda model, **k: explain(
            **k), channel_first=False, softmax=False,
    )  # fmt: skip
    assert np.ptp(found) > 0
    np.testing.assert_allclose(found, wanted, rtol=1e-4)
