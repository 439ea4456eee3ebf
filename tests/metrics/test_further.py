"""Metrics of sets, batches, layers and random weights against their formulas."""

import keras
import numpy as np
import pytest
import scipy.stats

import tfxai
from tests import zoo
from tests.metrics.linear_model import exact, images, linear
from tfxai.errors import BlackBoxError, InputError, OptionError
from tfxai.metrics.randomisation import randomisation
from tfxai.metrics.registry import compute

L = keras.layers


def test_sensitivity_n_averages_the_correlations_over_sizes():
    model, x = linear(), images()
    e = exact(model, x, [0, 1, 2])
    noisy = np.random.default_rng(4).normal(size=x.shape).astype("float32")
    e = tfxai.Explanation(e.relevance + 0.02 * noisy, e.target, e.score, "by hand", x)
    shares = (0.05, 0.3)
    found = compute("sensitivity_n", model, e, shares=shares, n_samples=40)
    each = [
        compute("faithfulness_correlation", model, e, share=s, n_samples=40)
        for s in shares
    ]
    np.testing.assert_allclose(found, np.mean(each, 0))
    assert np.abs(each[0] - each[1]).max() > 1e-3
    exactly = compute("sensitivity_n", model, exact(model, x, [0, 1, 2]))
    np.testing.assert_allclose(exactly, 1, atol=1e-4)
    with pytest.raises(OptionError, match=r"shares=0\.1"):
        compute("sensitivity_n", model, e, shares=0.1)


def test_sufficiency_by_hand():
    model, x = linear(), images(4)
    top = model(x).numpy().argmax(1)
    relevance = np.zeros_like(x)
    relevance[:, 0, 0, 0] = [0, 1, 10, 11]  # two pairs
    relevance[:, 1, 1, 0] = 5  # the same everywhere
    e = exact(model, x, top)
    e = tfxai.Explanation(relevance, top, e.score, "by hand", x)
    found = compute("sufficiency", model, e, threshold=0.2)
    same = [top[0] == top[1], top[0] == top[1], top[2] == top[3], top[2] == top[3]]
    np.testing.assert_array_equal(found, np.float64(same))
    alone = compute("sufficiency", model, e, threshold=0.05)
    np.testing.assert_array_equal(alone, 0)
    every = compute("sufficiency", model, e, threshold=1)
    others = [[top[i] == top[j] for j in range(4) if j != i] for i in range(4)]
    np.testing.assert_allclose(every, np.mean(others, 1))
    one = tfxai.explain(model, x[:1], "gradient")
    with pytest.raises(InputError, match="two samples or more"):
        compute("sufficiency", model, one)


def small():
    """A network whose layer "hidden" is no multiple of its input or output."""
    i = keras.Input((6, 6, 1))
    y = L.Dense(5, "tanh", name="hidden")(L.Flatten(name="flat")(i))
    return zoo.fill(keras.Model(i, L.Dense(3, name="end")(y)))


@pytest.mark.parametrize("layer, name", [(None, "hidden"), ("flat", "flat")])
def test_representation_stability_divides_by_the_change_of_a_layer(layer, name):
    model, x = small(), images(2, 6, 1)
    analyzer = tfxai.create_analyzer("input_t_gradient", model)
    e = analyzer.analyze(x, 1)
    options = {"n_samples": 2, "radius": 0.05}
    found = compute(
        "relative_representation_stability", model, e, analyzer=analyzer, layer=layer,
        seed=3, **options,
    )  # fmt: skip
    inner = keras.Model(model.input, model.get_layer(name).output)
    rng, best = np.random.default_rng(3), np.zeros(2)
    reach = 0.05 * np.ptp(x.reshape(2, -1), axis=1)[:, None, None, None]
    for _ in range(2):
        near = (x + reach * rng.uniform(-1, 1, x.shape[1:])).astype("float32")
        other = analyzer.analyze(near, 1).heatmap()
        above = np.linalg.norm(
            ((e.heatmap() - other) / e.heatmap()).reshape(2, -1), axis=1
        )
        h, g = inner(x).numpy().reshape(2, -1), inner(near).numpy().reshape(2, -1)
        best = np.maximum(best, above / np.linalg.norm((h - g) / h, axis=1))
    np.testing.assert_allclose(found, best, rtol=1e-3)


def test_representation_stability_needs_layers():
    model, x = small(), images(2, 6, 1)
    analyzer = tfxai.create_analyzer("rise", lambda v: model(v).numpy(), n_samples=9)
    e = analyzer.analyze(x, 1)
    with pytest.raises(BlackBoxError):
        compute("relative_representation_stability", analyzer.wrapped, e,
                analyzer=analyzer)  # fmt: skip


def test_the_random_logit_is_of_another_class():
    model, x = linear(), images()
    analyzer = tfxai.create_analyzer("input_t_gradient", model)
    e = analyzer.analyze(x, np.array([0, 1, 2]))
    found = compute("discriminativeness", model, e, analyzer=analyzer, other="random")
    maps = analyzer.analyze(x, [[0, 1, 2]] * 3).heatmap()
    for i, value in enumerate(found):
        pairs = [
            np.corrcoef(maps[i, i].ravel(), maps[i, k].ravel())[0, 1]
            for k in range(3)
            if k != i
        ]
        assert np.abs(np.array(pairs) - value).min() < 1e-5
    with pytest.raises(OptionError, match="other='weakest'"):
        compute("discriminativeness", model, e, analyzer=analyzer, other="weakest")


def test_the_rise_of_complexity_is_the_efficient_mprt():
    model, x = small(), images(2, 6, 1)
    result = randomisation("input_t_gradient", model, x, stages=1)
    assert result.layers == ("hidden",)  # all layers are random

    def entropy(heatmap):
        return scipy.stats.entropy(np.histogram(heatmap, 100)[0])

    for i in range(2):
        before = entropy(result.original[i])
        wanted = (entropy(result.heatmaps[0, i]) - before) / before
        assert result.complexity_rise[0, i] == pytest.approx(wanted, rel=1e-9)
    assert np.abs(result.complexity_rise).max() > 0
    smooth = randomisation(
        "smoothgrad", model, x, stages=1, base_method="input_t_gradient", n_samples=3
    )  # the smooth MPRT
    assert np.abs(smooth.original - result.original).max() > 0


# -- tables, series and texts --------------------------------------------------------


def table_model():
    i = keras.Input((3,))
    return zoo.fill(keras.Model(i, L.Dense(2, "softmax")(L.Dense(4, "tanh")(i))))


def test_one_metric_of_a_table():
    model = table_model()
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    analyzer = tfxai.create_analyzer("input_t_gradient", model)
    e = analyzer.analyze(x)
    c = tfxai.compare(
        model, x, methods=["input_t_gradient"], progress=False,
        metrics=["deletion", "monotonicity", "sensitivity_n", "local_lipschitz"],
    )  # fmt: skip
    assert not c.errors
    for name in c.metrics:
        found = compute(name, model, e, analyzer=analyzer)
        np.testing.assert_allclose(found, c.values["input_t_gradient", name], rtol=1e-6)
    # the Lipschitz estimate by hand
    rng, best = np.random.default_rng(0), np.zeros(4)
    reach = 0.02 * np.ptp(x, axis=1)[:, None]
    for _ in range(10):
        near = (x + reach * rng.uniform(-1, 1, (1, 3, 1))[..., 0]).astype("float32")
        change = analyzer.analyze(near, e.target).relevance - e.relevance
        step = np.linalg.norm(near - x, axis=1)
        best = np.maximum(best, np.linalg.norm(change, axis=1) / step)
    np.testing.assert_allclose(c.values["input_t_gradient", "local_lipschitz"], best,
                               rtol=1e-3)  # fmt: skip
    stable = compute("relative_representation_stability", model, e, analyzer=analyzer)
    assert np.isfinite(stable).all() and (stable > 0).all()


def test_token_ids_have_no_nearby_inputs():
    i = keras.Input((4,), dtype="int32")
    y = L.GlobalAveragePooling1D()(L.Embedding(9, 3)(i))
    model = zoo.fill(keras.Model(i, L.Dense(2)(y)))
    ids = np.array([[1, 5, 3, 7], [2, 2, 8, 4]])
    analyzer = tfxai.create_analyzer("occlusion", model)
    e = analyzer.analyze(ids, 1)
    with pytest.raises(InputError, match="token ids"):
        compute("local_lipschitz", model, e, analyzer=analyzer)
    compute("deletion", model, e, output="logit")
    other = compute("discriminativeness", model, e, analyzer=analyzer)
    maps = analyzer.analyze(ids, 0).relevance
    for i in range(2):
        wanted = np.corrcoef(maps[i].ravel(), e.relevance[i].ravel())[0, 1]
        assert other[i] == pytest.approx(wanted, abs=1e-5)


def test_sensitivity_n_counts_each_size_once():
    """Of five columns, the shares up to .2 are all one column."""
    x = np.random.default_rng(2).normal(size=(4, 5)).astype("float32")
    weights = np.float32([[1], [2], [-1], [0.5], [3]])
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(1)])
    model.set_weights([weights, np.zeros(1)])
    e = tfxai.explain(model, x, "gradient", 0)
    by_default = compute("sensitivity_n", model, e)
    np.testing.assert_array_equal(
        by_default, compute("sensitivity_n", model, e, shares=(0.2, 0.4, 0.8))
    )
