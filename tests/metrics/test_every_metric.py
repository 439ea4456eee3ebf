"""Properties that every metric has; each metric has a row of `ROWS`."""

import warnings
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tests.metrics.linear_model import exact, explained, images, linear, weights
from tfxai.errors import (
    InputError,
    ModelError,
    NothingToExplainWarning,
    OptionError,
    UnknownNameError,
)
from tfxai.metrics.information import information_curves
from tfxai.metrics.masking import sensitivity
from tfxai.metrics.registry import compute, lookup, metrics

BOXES = [[0, 0, 0.5, 0.5], [[0.25, 0.25, 0.75, 0.75], [0, 0, 0.2, 0.2]], [0, 0, 1, 1]]
TARGET = [0, 1, 2]
N = 144
#: The share of each image that its boxes cover: the value of a constant heatmap.
SHARES = [0.25, (36 + 4) / N, 1]

#: (metric, options, the value for a heatmap of zeros if it is known, else None).
ROWS = [
    ("aic", {}, None),
    ("average_drop", {}, None),
    ("average_gain", {}, None),
    ("completeness", {}, 1),
    ("complexity", {}, np.log(N)),
    ("deletion", {"n_steps": 20}, None),
    ("discriminativeness", {}, 0),
    ("faithfulness_correlation", {}, 0),
    ("infidelity", {}, None),
    ("infidelity", {"perturb": "gaussian"}, None),
    ("insertion", {"n_steps": 20}, None),
    ("irof", {}, None),
    ("key_size", {}, None),
    ("local_lipschitz", {"n_samples": 3}, None),
    ("localisation_auc", {}, [0.5, 0.5, 1]),
    ("max_sensitivity", {}, None),
    ("monotonicity", {"n_steps": 20}, None),
    ("monotonicity_correlation", {}, 0),
    ("mufidelity", {"grid": 4}, 0),
    ("pixel_flipping", {}, None),
    ("pointing_game", {"tolerance": 0}, SHARES),
    ("region_perturbation", {"patch": 3}, None),
    ("relative_input_stability", {"n_samples": 3}, None),
    ("relative_output_stability", {"n_samples": 3}, None),
    ("relative_representation_stability", {"n_samples": 3, "layer": 1}, None),
    ("relevance_mass", {}, SHARES),
    ("relevance_rank", {}, SHARES),
    ("road", {}, None),
    ("sensitivity_n", {"n_samples": 20}, 0),
    ("sic", {}, None),
    ("sparseness", {}, 0),
    ("sufficiency", {}, None),
    ("symmetric_relevance_gain", {"n_steps": 20}, None),
    ("top_k_intersection", {}, SHARES),
]
#: Metrics that compare the samples of a batch.
OF_A_BATCH = {"sufficiency"}
#: Metrics that divide by a small difference of logits, which are float32.
NEAR = {"relative_output_stability": 1e-3}
IDS = [f"{name}-{'-'.join(map(str, options.values()))}" for name, options, _ in ROWS]


@pytest.fixture(scope="module")
def model():
    return linear()


@pytest.fixture(scope="module")
def analyzer(model):
    return tfxai.create_analyzer("input_t_gradient", model)


def compute_with_needs(name, model, e, analyzer, rows=slice(None), **options):
    needs = lookup(name).needs
    given = {"boxes": BOXES[rows], "analyzer": analyzer}
    given = {k: v for k, v in given.items() if k in needs}
    return compute(name, model, e, **given, **options)


def test_every_measure_has_a_row():
    assert sorted({name for name, *_ in ROWS}) == [m.name for m in metrics()]
    for m in metrics():
        assert m.better in ("higher", "lower")
        assert m.paper and m.how_to_read and m.bad and m.summary.endswith((".", "?"))


@pytest.mark.parametrize("name, options, _", ROWS, ids=IDS)
def test_finite_the_same_again_and_one_by_one(name, options, _, model, analyzer):
    x = images()
    e = analyzer.analyze(x, np.array(TARGET))
    result = compute_with_needs(name, model, e, analyzer, **options)
    assert result.shape == (3,) and result.dtype == float and np.isfinite(result).all()
    again = compute_with_needs(name, model, e, analyzer, batch_size=7, **options)
    near = NEAR.get(name, 1e-5)
    np.testing.assert_allclose(again, result, rtol=near, atol=1e-6)
    for i in range(3 if name not in OF_A_BATCH else 0):
        one = analyzer.analyze(x[i : i + 1], TARGET[i])
        alone = compute_with_needs(
            name, model, one, analyzer, slice(i, i + 1), **options
        )
        np.testing.assert_allclose(alone, result[i : i + 1], rtol=near, atol=1e-6)


@pytest.mark.parametrize("name, options, wanted", ROWS, ids=IDS)
def test_a_map_of_zeros_gives_a_number(name, options, wanted, model, analyzer):
    x = images()
    e = explained(model, x, np.zeros_like(x), TARGET)
    e = replace(e, method=analyzer.method)
    with pytest.warns(NothingToExplainWarning, match=r"sample\(s\) \[0, 1, 2\]"):
        result = compute_with_needs(name, model, e, analyzer, **options)
    assert np.isfinite(result).all()
    for value, known in zip(result, np.broadcast_to(wanted, 3), strict=True):
        assert known is None or value == pytest.approx(known, abs=1e-9)
    if name in ("deletion", "insertion", "road", "aic", "sic", "pixel_flipping"):
        falling = np.linspace(2, 1, N).reshape(1, 12, 12, 1) * np.ones_like(x)
        rows = explained(model, x, falling, TARGET)
        same = compute_with_needs(name, model, rows, analyzer, **options)
        np.testing.assert_allclose(result, same, atol=1e-9)


#: Metrics that use the seed.
DRAWING = [
    *("faithfulness_correlation", "infidelity", "local_lipschitz", "max_sensitivity"),
    *("monotonicity_correlation", "mufidelity", "relative_input_stability"),
    *("relative_output_stability", "relative_representation_stability"),
    "sensitivity_n",
]


@pytest.mark.parametrize("name", [*DRAWING, "road"])
def test_another_seed_draws_otherwise(name, model, analyzer):
    e = analyzer.analyze(images(), np.array(TARGET))
    first = compute_with_needs(name, model, e, analyzer, seed=0)
    assert (first == compute_with_needs(name, model, e, analyzer, seed=0)).all()
    assert (first != compute_with_needs(name, model, e, analyzer, seed=1)).all()


#: Metrics in which the exact relevance must beat permuted or negated relevance.
TRUE = [
    ("deletion", {}),
    ("insertion", {"baseline": "mean"}),
    ("pixel_flipping", {}),
    ("region_perturbation", {"patch": 2}),
    ("road", {}),
    ("faithfulness_correlation", {}),
    ("mufidelity", {}),
    ("infidelity", {"scaling": False}),
    ("irof", {}),
    ("sensitivity_n", {}),
    ("symmetric_relevance_gain", {}),
]


@pytest.mark.parametrize("name, options", TRUE, ids=[n for n, _ in TRUE])
def test_the_truth_beats_a_random_map_and_the_reversed_one(name, options, model):
    x = images(4)
    true = exact(model, x, [0, 1, 2, 0])
    shuffled = np.random.default_rng(5).permutation(
        true.relevance.reshape(4, -1, 3), axis=1
    ).reshape(x.shape)  # fmt: skip
    sign = 1 if lookup(name).better == "higher" else -1
    best = sign * compute(name, model, true, **options)
    for other in (shuffled, -true.relevance):
        e = explained(model, x, other, true.target)
        assert (best > sign * compute(name, model, e, **options)).all()


def test_what_is_refused(model, analyzer):
    x = images()
    e = exact(model, x, TARGET)
    with pytest.raises(UnknownNameError, match="perhaps deletion"):
        compute("deletoin", model, e)
    with pytest.raises(OptionError, match=r"no option 'step'.*\n.*perhaps n_steps"):
        compute("deletion", model, e, step=3)
    with pytest.raises(OptionError, match="n_steps=0"):
        compute("deletion", model, e, n_steps=0)
    with pytest.raises(OptionError, match="output='odds'"):
        compute("deletion", model, e, output="odds")
    with pytest.raises(OptionError, match="shares"):
        compute("road", model, e, shares=[0.5, 1])
    with pytest.raises(InputError, match="given no boxes"):
        compute("pointing_game", model, e)
    with pytest.raises(InputError, match="given no analyzer"):
        compute("max_sensitivity", model, e)
    with pytest.raises(InputError, match="did not make this explanation of 'by hand'"):
        compute("max_sensitivity", model, e, analyzer=analyzer)
    with pytest.raises(InputError, match="no explanation"):
        compute("sparseness", model, e.relevance)
    several = analyzer.analyze(x, [[0, 1]] * 3)
    with pytest.raises(InputError, match="one class per sample"):
        compute("sparseness", model, several)
    broken = e.relevance.copy()
    broken[1, 2, 3] = np.nan
    with pytest.raises(InputError, match=r"sample\(s\) \[1\] holds NaN"):
        compute("sparseness", model, explained(model, x, broken, TARGET))
    with pytest.raises(InputError, match="Heatmaps of shape"):
        compute("sparseness", model, explained(model, x, e.relevance[:, :5], TARGET))


@pytest.mark.parametrize("activation", ["softmax", None], ids=["softmax", "linear"])
def test_an_explanation_of_another_model_is_refused(activation):
    model = linear(activation)
    e = exact(model, images(), TARGET)
    with pytest.raises(
        InputError, match=r"gives sample . the score .*this model gives"
    ):
        compute("sparseness", linear(activation, seed=9), e)
    with pytest.raises(InputError, match="this model gives"):
        compute("sparseness", model, e, preprocess=lambda v: 3 * v)
    with pytest.raises(InputError, match=r"class 7.*\n.*3 outputs"):
        compute("sparseness", model, replace(e, target=np.array([7, 0, 0])))
    x = images()
    of_two = tfxai.explain(model, x, "gradient", lambda y: y[:, 0] - 9 * y[:, 1])
    with pytest.raises(InputError, match="of a function, not of a class"):
        compute("deletion", model, of_two)


@pytest.mark.parametrize(
    "name, options",
    [
        ("rise", {"n_samples": 50}),  # explains the probability
        ("lime", {"segmenter": "grid"}),  # one channel
        ("leg", {"base_size": 6, "unit": 1.0}),  # has its own image
        ("leg", {"base_size": 6, "unit": 1.0, "scale": "log_odds"}),
        ("occlusion", {"window": 4}),
    ],
)
def test_maps_of_every_shape_are_measured(name, options, model):
    x = images()
    analyzer = tfxai.create_analyzer(name, model, **options)
    e = analyzer.analyze(x, np.array(TARGET))
    v = np.abs(np.asarray(e.heatmap(), float)).reshape(3, -1)
    p = v / v.sum(1, keepdims=True)
    wanted = -(p * np.log(np.maximum(p, 1e-300))).sum(1)
    np.testing.assert_allclose(compute("complexity", model, e), wanted, rtol=1e-6)
    for other in ("max_sensitivity", "discriminativeness"):
        result = compute(other, model, e, analyzer=analyzer, **(
            {"n_samples": 2} if other == "max_sensitivity" else {}
        ))  # fmt: skip
        assert np.isfinite(result).all()


@pytest.mark.parametrize(
    "boxes, seen",
    [
        (BOXES[:2], "2 sample"),
        ([[0, 0, 0.5]] * 3, "0.5"),
        ([[0.5, 0, 0.2, 1]] * 3, "0.5"),
        ([[0, 0, 6, 6]] * 3, "6"),
        ([[0.5, 0.5, 0.51, 0.51]] * 3, r"no pixel .* \[0, 1, 2\]"),
        (np.ones((3, 4, 4), bool), "masks of shape"),
        (["left"] * 3, "left"),
    ],
)
def test_boxes_that_are_none(model, boxes, seen):
    e = exact(model, images(), TARGET)
    with pytest.raises(InputError, match=f"boxes: .*{seen}"):
        compute("relevance_mass", model, e, boxes=boxes)


def test_a_callable_and_a_preprocess_are_asked_alike(model):
    x = images()
    e = exact(model, x, TARGET)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wanted = compute("deletion", model, e, n_steps=9)
    seen = []

    def predict(batch):
        seen.append(len(batch))
        return model(batch).numpy()

    w, p = weights(model, TARGET), model(x).numpy()[range(3), TARGET]
    box = explained(model, x, (x - x.mean((1, 2), keepdims=True)) * w, TARGET)
    box = replace(box, score=p)
    result = compute("deletion", predict, box, n_steps=9, batch_size=4)
    np.testing.assert_allclose(result, wanted, rtol=1e-5)
    assert max(seen) <= 4
    half = replace(e, inputs=x / 2)
    result = compute("deletion", model, half, preprocess=lambda v: 2 * v, n_steps=9)
    np.testing.assert_allclose(result, wanted, rtol=1e-5)


def test_another_analyzer_of_the_name_is_no_witness(model):
    x = images()
    first, other = (
        tfxai.create_analyzer("rise", model, n_samples=20, seed=s) for s in (0, 1)
    )
    e = first.analyze(x, np.array(TARGET))
    assert compute("max_sensitivity", model, e, analyzer=first, n_samples=1).all()
    with pytest.raises(InputError, match=r"seed=1, and .* computed with seed=0"):
        compute("max_sensitivity", model, e, analyzer=other, n_samples=1)


def test_a_constant_map_is_a_warning(model):
    x = images()
    e = explained(model, x, 2 * np.ones_like(x), TARGET)
    with pytest.warns(NothingToExplainWarning, match="is constant"):
        result = compute("pointing_game", model, e, boxes=BOXES, tolerance=0)
    np.testing.assert_allclose(result, SHARES)


def test_the_error_for_a_model_of_logits_names_the_option():
    x = images()
    model = linear(None)
    e = exact(model, x, TARGET)
    for name in ("deletion", "pixel_flipping", "road"):
        with pytest.raises(ModelError, match='output="logit"'):
            compute(name, model, e)


#: Metrics that evaluate changed images, and options for which the logarithm of some
#: changed images is not finite.
BLACK = {"baseline": "black"}
CHANGING = [
    ("aic", BLACK),
    ("deletion", BLACK),
    ("faithfulness_correlation", BLACK),
    ("infidelity", BLACK),
    ("infidelity", {"perturb": "gaussian", "sigma": 1.0}),
    ("insertion", BLACK),
    ("key_size", BLACK),
    ("mufidelity", BLACK),
    ("pixel_flipping", BLACK),
    ("region_perturbation", BLACK),
    ("road", {"noise": 9.0}),
    ("sic", BLACK),
]


@pytest.mark.parametrize(
    "name, options", CHANGING, ids=[f"{n}-{next(iter(o))}" for n, o in CHANGING]
)
def test_answers_that_are_not_finite_are_named(name, options, model):
    e = tfxai.explain(model, images(2), "gradient", preprocess=tf.math.log)
    text = r"NaN or infinity for a changed copy of sample\(s\) \["
    with pytest.raises(ModelError, match=text):
        compute(name, model, e, preprocess=tf.math.log, **options)


def test_pictures_whose_answer_is_not_finite_are_named():
    x = images()
    model = linear(None)
    e = exact(model, x, TARGET)
    wanted = compute("sparseness", model, e)

    def predict(batch, value, where):
        y = model(batch).numpy()
        y[where(batch), 1] = value
        return y

    def second(batch):
        return (batch == x[1]).all((1, 2, 3))

    for value in (np.nan, np.inf):
        with pytest.raises(ModelError, match=r"for sample\(s\) \[1\] themselves"):
            compute("sparseness", lambda v, y=value: predict(v, y, second), e)
    # A logit of -inf is valid: the class is impossible.
    first = replace(e, target=np.array([0, 0, 2]), score=model(x).numpy()[
        range(3), [0, 0, 2]
    ])  # fmt: skip
    result = compute("sparseness", lambda v: predict(v, -np.inf, second), first)
    np.testing.assert_array_equal(result, wanted)


@pytest.mark.parametrize("name", ["sparseness", "deletion", "key_size"])
def test_pictures_with_channels_first_are_refused(name):
    i = keras.Input((2, 3, 4))
    pooled = keras.layers.GlobalAveragePooling2D("channels_first", name="g")(i)
    model = keras.Model(i, keras.layers.Dense(3, "softmax")(pooled))
    x = np.random.default_rng(0).uniform(size=(2, 2, 3, 4)).astype("float32")
    e = tfxai.explain(model, x, "input_t_gradient")
    text = "'g' reads channels first, and 'metric'"
    with pytest.raises(ModelError, match=text):
        compute(name, model, e)
    with pytest.raises(ModelError, match=text):
        information_curves(model, e)
    with pytest.raises(ModelError, match="'g' reads channels first, and 'masking'"):
        sensitivity(model, x, e, [0, 0.5])
