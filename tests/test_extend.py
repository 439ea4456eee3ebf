"""What a user adds by `tfxai.extend` passes the checks of the names of this package.

Of the package this file imports `tfxai` and `tfxai.extend` alone. The checks are those
of the other test files.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tests import test_every_analyzer as methods
from tests import zoo
from tests.metrics import test_every_metric as metrics
from tests.relevance import layer_zoo
from tests.relevance import test_layers_networks as layers
from tests.relevance import test_rules_formulas as formulas
from tfxai import extend
from tfxai.errors import (
    ModelError,
    OptionError,
    UnknownNameError,
    UnsupportedLayerError,
)

pytestmark = pytest.mark.filterwarnings("ignore::tfxai.errors.TfxaiWarning")


# -- what the user writes ------------------------------------------------------------


def absolute(linear, x, r, *, eps=0.0):
    """Shares by the size of each contribution: R' = |x| |W|^T (R / |W| |x|).

    Args:
        eps: Added to every denominator.
    """
    sizes, weights = tf.abs(x.values[0]), linear.map(tf.abs, bias=False)
    return sizes * weights.T(tf.math.divide_no_nan(r.tensor, weights(sizes) + eps))


def margin(logits, target, *, power=1.0):
    """The target's logit, and a share of it at every other class.

    Args:
        power: The exponent of the probabilities.
    """
    weights = (1 - target) * tf.nn.softmax(logits) ** power
    score = tf.reduce_sum(target * logits, -1, keepdims=True)
    shares = weights / tf.reduce_sum(weights, -1, keepdims=True)
    return target * score, shares * score


def difference(ours, others):
    return [a - b for a, b in zip(ours, others, strict=True)]


class Halve(keras.layers.Layer):
    """Divide negative values by two, in raw TensorFlow."""

    def call(self, x):
        return tf.where(x > 0, x, x / 2)


class Mixed(keras.layers.Layer):
    """Raw TensorFlow with weights: x W, and then a kind of its own."""

    def build(self, shape):
        self.w = self.add_weight(shape=(shape[-1], 5), name="kernel")

    def call(self, x):
        return tf.math.asinh(tf.matmul(x, self.w))


def ablation(wrapped, baseline=0.0, scale="auto", target=None):
    """What the score loses where one value is replaced.

    Args:
        baseline: The value that stands for absence.
        scale: The explained number.
        target: What to explain.
    """

    def explain(x, scores):
        inputs = x if isinstance(x, list) else [x]
        results = []
        for i, v in enumerate(inputs):
            copies = [np.repeat(u[None], v.size, 0) for u in inputs]
            copies[i].reshape(v.size, -1)[np.diag_indices(v.size)] = baseline
            whole = scores([u[None] for u in inputs] if len(inputs) > 1 else x[None])
            less = scores(copies if len(inputs) > 1 else copies[0])
            results.append((whole - less).T.reshape(-1, *v.shape))
        return results if len(inputs) > 1 else results[0]

    given = {"baseline": baseline}
    return extend.sampling_analyzer(
        "mine.ablation", wrapped, explain, target, given, scale
    )


def positive_share(context, *, power=1.0):
    """The share of the relevance that is positive.

    Args:
        power: The exponent of the relevance.
    """
    sizes = np.abs(context.heatmaps) ** power
    kept = np.where(context.heatmaps > 0, sizes, 0).sum((1, 2))
    return kept / np.maximum(sizes.sum((1, 2)), 1e-9)


def halves(x, parts=2):
    """Stripes of equal width along the first axis."""
    rows = np.arange(x.shape[0]) * parts // x.shape[0]
    shape = [-1] + [1] * (x.ndim - 2)
    return np.broadcast_to(rows.reshape(shape), x.shape[:-1])


@pytest.fixture(scope="module", autouse=True)
def registered():
    """One of each, for the tests of this file."""
    with extend.restored():
        extend.rule("mine.absolute", absolute)
        extend.head("mine.margin", margin, merge=difference, needs_class=True)
        extend.layer(Halve, kind="activation")

        @extend.layer(Mixed, new_kinds={"squashed": "an inverse hyperbolic sine"})
        def mixed(layer, call, arguments):
            return [extend.Step("", "squashed", call)]

        extend.analyzer(
            "mine.preset",
            preset=lambda epsilon=1e-3: extend.presets.epsilon(epsilon).replace(
                conv="mine.absolute"
            ),
            head="mine.margin",
            summary="a preset and a head of the user",
            paper="Nobody 2026",
        )
        extend.analyzer("mine.ablation", ablation, family="mine", paper="Nobody 2026")
        extend.metric(
            "mine.share", positive_share, better="higher", paper="Nobody 2026",
            how_to_read="0 to 1.", bad="None by this number alone.",
        )  # fmt: skip
        extend.segmenter("mine.halves", halves, images=False)
        yield


def test_the_registries_are_restored():
    def names():
        return {m.name for m in tfxai.methods()}

    before = names()
    with extend.restored():
        extend.analyzer("mine.other", preset=extend.presets.epsilon())
        extend.rule("mine.rule", absolute)
        assert names() == before | {"mine.other"}
    assert names() == before
    with pytest.raises(UnknownNameError, match=r"no rule 'mine\.rule'"):
        extend.presets.epsilon().replace(conv="mine.rule")


# -- the checks of every name of the package -----------------------------------------


@pytest.mark.parametrize("layer", ["dense", "conv2d_same", "depthwise1d"])
def test_a_rule(layer, monkeypatch):
    def formula(x, m, r):
        weights, sizes = np.abs(m.W), np.abs(x)
        return sizes * ((r / (sizes @ weights + 0.01)) @ weights.T)

    mine = tfxai.create_analyzer(
        "lrp.epsilon", zoo.network("mlp"), rules={"dense": "mine.absolute"}
    ).graph.plan[0].rule(eps=0.01)  # fmt: skip
    monkeypatch.setattr(formulas, "RULES", {"mine": (mine, formula)})
    for signed in (True, False):
        formulas.test_a_rule_is_its_matrix_formula(layer, signed)


@pytest.mark.parametrize("name", ["mlp_softmax", "two_inputs", "residual"])
def test_a_head(name, monkeypatch):
    def formula(f, t):
        weights = (1 - t) * np.exp(f - f.max(-1, keepdims=True))
        score = (t * f).sum(-1, keepdims=True)
        return t * score, weights / weights.sum(-1, keepdims=True) * score

    model = zoo.network(name)
    mine = tfxai.create_analyzer("lrp", model, head="mine.margin").graph.head
    monkeypatch.setitem(formulas.HEADS, "mine", (mine, formula, False))
    formulas.test_a_head_is_its_formula(name, "mine")


@pytest.mark.parametrize("layer", [Halve, Mixed])
def test_a_layer_in_raw_tensorflow(layer, monkeypatch):
    name = f"mine.{layer.__name__}"

    def net():
        return layer_zoo.vector(lambda x: layer()(keras.layers.Dense(4)(x)))

    if layer is Mixed:
        with pytest.raises(UnsupportedLayerError, match="of kind 'squashed'"):
            tfxai.create_analyzer("lrp.epsilon", net())
        rules = {"squashed": "gradient"}
        assert tfxai.explain(
            net(), np.ones((2, 6), "float32"), "lrp.epsilon", rules=rules
        ).relevance.any()
        preset = extend.presets.epsilon().replace(squashed="gradient")
        a = tfxai.create_analyzer("lrp.epsilon", net(), preset=preset)
        assert [r["rule"] for r in a.coverage()][1] == "gradient"
        return
    monkeypatch.setitem(layer_zoo.NETS, name, net)
    layers.test_the_logits_are_the_models_own_and_live(name)
    layers.test_many_targets_are_one_by_one_and_a_batch_is_its_samples(name)
    layers.test_without_biases_only_softmax_steps_absorb(name)


#: Kinds of model that a method of the user refuses, and the error.
REFUSED = {
    ("mine.preset", "regression"): ModelError,
}


@pytest.mark.parametrize("kind", methods.KINDS)
@pytest.mark.parametrize("name", ["mine.preset", "mine.ablation"])
def test_a_method(name, kind):
    methods.check(name, kind, REFUSED.get((name, kind)))


def test_a_metric():
    model = metrics.linear()
    analyzer = tfxai.create_analyzer("input_t_gradient", model)
    for options in ({}, {"power": 2.0}):
        row = ("mine.share", options, 0 if options else None)
        metrics.test_finite_the_same_again_and_one_by_one(*row, model, analyzer)
        metrics.test_a_map_of_zeros_gives_a_number(*row, model, analyzer)
    x = metrics.images()
    c = tfxai.compare(model, x, methods=["gradient"], metrics=["mine.share"])
    assert 0 < float(c.rows()[0]["mine.share"]) < 1


@pytest.mark.parametrize("method", ["lime", "kernel_shap", "c_shapley"])
def test_a_segmenter(method):
    k = methods.kind_of("functional")
    options = {"segmenter": "mine.halves", "segmenter_options": {"parts": 4}}
    analyzer = tfxai.create_analyzer(method, k.model, **options, scale="logit")
    e = analyzer.analyze(k.x, k.target)
    wanted = np.repeat(np.arange(4), 2)[:, None] * np.ones(8, int)
    np.testing.assert_array_equal(e.extra["segments"], [wanted] * len(k.x))
    methods._follows_the_target(e, k)
    methods._is_its_samples(analyzer, e, k)


# -- names ---------------------------------------------------------------------------


def test_a_name_that_exists_is_an_error_unless_replaced():
    with extend.restored():
        for put, name in (
            (lambda **o: extend.rule("epsilon", absolute, **o), "rule 'epsilon'"),
            (lambda **o: extend.head("one_hot", margin, **o), "head 'one_hot'"),
            (lambda **o: extend.layer(Halve, kind="activation", **o), "layer Halve"),
            (lambda **o: extend.analyzer("lime", ablation, **o), "method 'lime'"),
            (
                lambda **o: extend.metric("road", positive_share, better="lower", **o),
                "metric 'road'",
            ),
            (lambda **o: extend.segmenter("slic", halves, **o), "segmenter 'slic'"),
        ):
            with pytest.raises(OptionError, match=f"a {name} already") as caught:
                put()
            assert "replace=True" in caught.value.write
            put(replace=True)
        assert (
            tfxai.create_analyzer("lime", zoo.network("mlp")).method == "mine.ablation"
        )
    assert tfxai.create_analyzer("lime", zoo.network("mlp")).method == "lime"


def test_decorators_are_calls():
    with extend.restored():
        assert extend.rule("mine.a")(absolute).name == "mine.a"
        assert extend.head("mine.a")(margin).name == "mine.a"
        assert extend.segmenter("mine.a")(halves) is halves
        assert extend.metric("mine.a", better="higher")(positive_share)
        assert extend.analyzer("mine.a")(ablation) is ablation
        assert {"mine.a"} <= {m.name for m in tfxai.methods()}
    for wrong in (extend.rule, extend.head, extend.segmenter, extend.analyzer):
        with pytest.raises(OptionError, match="a name"):
            wrong(absolute)


def test_wrong_registrations_are_named():
    with pytest.raises(OptionError, match="layer classes"):
        extend.layer()
    with pytest.raises(UnknownNameError, match="perhaps activation"):
        extend.layer(keras.layers.Layer, kind="activaton")
    with pytest.raises(OptionError, match='"higher" or "lower"'):
        extend.metric("mine.b", better="more")
    with pytest.raises(OptionError, match=r"rule 'mine\.rule' cannot be called"):
        extend.rule("mine.rule", lambda linear, x: x)
    with pytest.raises(OptionError, match=r"head 'mine\.head' cannot be called"):
        extend.head("mine.head", lambda logits: logits)
    with pytest.raises(OptionError, match="cannot be called"):
        extend.analyzer("mine.b", lambda wrapped, option: None)
    with pytest.raises(OptionError, match="a builder and a preset"):
        extend.analyzer("mine.b", ablation, preset=extend.presets.epsilon())
    with extend.restored():
        extend.analyzer("mine.b", lambda wrapped: "no analyzer")
        with pytest.raises(OptionError, match="returned a str"):
            tfxai.create_analyzer("mine.b", zoo.network("mlp"))


def test_any_family_is_listed_and_every_option_is_described():
    assert [m.name for m in tfxai.methods()][-1] == "mine.ablation"
    text = tfxai.describe("mine.ablation")
    for part in (
        "mine.ablation: What the score loses where one value is replaced",
        "family:  mine", "needs:   any model", "paper:   Nobody 2026",
        "    baseline=0.0\n        The value that stands for absence.",
        "    scale='auto'\n        The explained number.",
    ):  # fmt: skip
        assert part in text
    assert repr(text) == text
    text = tfxai.describe("mine.preset")
    assert "    epsilon=0.001" in text
    assert "    power=1.0\n        The exponent of the probabilities." in text


# -- a head of the user --------------------------------------------------------------


def test_a_function_is_a_head():
    model = zoo.network("mlp")
    (x,) = zoo.inputs(model)
    target = np.array([1, 2])
    e = tfxai.explain(model, x, "lrp.epsilon", target)
    same = tfxai.explain(model, x, "lrp.epsilon", target, head=lambda f, t: f * t)
    np.testing.assert_allclose(same.relevance, e.relevance, rtol=1e-5, atol=1e-7)
    # All logits at once, whatever the target: relevance is linear in the seed.
    every = tfxai.explain(model, x, "lrp.epsilon", "all").relevance.sum(1)
    whole = tfxai.explain(model, x, "lrp.epsilon", [[0, 1]] * 2, head=lambda f, t: f)
    for t in (0, 1):
        np.testing.assert_allclose(whole.relevance[:, t], every, rtol=1e-4, atol=1e-6)


def test_three_seeds_and_their_merge():
    model = zoo.network("two_inputs")
    x, target = zoo.inputs(model), np.array([1, 2])

    def merge(*parts):
        return [sum(w * p for w, p in zip((1, 2, -1), ps, strict=True))
                for ps in zip(*parts, strict=True)]  # fmt: skip

    with extend.restored():
        mine = extend.head(
            "mine.three", lambda f, t: [f * t, f * 0 + t, f * t * 3], merge=merge
        )
        e = tfxai.explain(model, x, "lrp.epsilon", target, head=mine)
        a = tfxai.create_analyzer("lrp.epsilon", model, head="mine.three")
        with pytest.raises(OptionError, match="merges several seeds"):
            a.residual(x, target)
    one = tfxai.explain(model, x, "lrp.epsilon", target)
    unit = tfxai.explain(
        model, x, "lrp.epsilon", target, head=lambda f, t: t + 0 * f
    )  # fmt: skip
    for r, a, b in zip(e.relevance, one.relevance, unit.relevance, strict=True):
        np.testing.assert_allclose(r, 2 * b - 2 * a, rtol=1e-4, atol=1e-5)


def test_heads_that_cannot_be():
    model = zoo.network("mlp")
    (x,) = zoo.inputs(model)
    with pytest.raises(OptionError, match=r"returned 2 seeds, and has no merge"):
        tfxai.explain(model, x, "lrp", head=lambda f, t: (f * t, t))
    with pytest.raises(ModelError, match="returned a seed of shape"):
        tfxai.explain(model, x, "lrp", head=lambda f, t: (f * t)[..., :3])
    with pytest.raises(UnknownNameError, match=r"no head 'one_hott'.*\n.*one_hot"):
        tfxai.create_analyzer("lrp", model, head="one_hott")
    with pytest.raises(OptionError, match=r"'scaling'.*own head"):
        tfxai.create_analyzer("sglrp", model, head="one_hot", scaling=False)
    mine = tfxai.create_analyzer("lrp", model, head="mine.margin").graph.head
    with pytest.raises(OptionError, match=r"'mine\.margin' has no option 'powr'"):
        mine(powr=2)


# -- files ---------------------------------------------------------------------------


def test_a_graph_with_names_of_the_user_is_saved_and_loaded(tmp_path):
    model = zoo.network("cnn")
    (x,) = zoo.inputs(model)
    a = tfxai.create_analyzer("mine.preset", model, power=0.5)
    path = tmp_path / "mine.keras"
    a.graph.save(path)
    target = np.array([1, 2])
    again = tfxai.load(path)
    np.testing.assert_allclose(
        again(x, target)["relevance"], a.analyze(x, target).relevance, atol=1e-6
    )
    a = tfxai.create_analyzer("lrp", model, head="mine.margin")
    a.graph.save(path)
    np.testing.assert_allclose(
        tfxai.load(path)(x, target)["relevance"],
        a.analyze(x, target).relevance,
        atol=1e-6,
    )


def test_an_unknown_name_in_a_file_says_what_to_import(tmp_path):
    model = zoo.network("cnn")
    paths = tmp_path / "head.keras", tmp_path / "rule.keras"
    with extend.restored():
        extend.head("mine.gone", margin, merge=difference)
        extend.rule("mine.gone", absolute)
        tfxai.create_analyzer("lrp", model, head="mine.gone").graph.save(paths[0])
        rules = {"conv": "mine.gone"}
        tfxai.create_analyzer("lrp", model, rules=rules).graph.save(paths[1])
    for path, kind in zip(paths, ("head", "rule"), strict=True):
        with pytest.raises(UnknownNameError, match=f"{kind} 'mine.gone'") as caught:
            tfxai.load(path)
        assert caught.value.write == f"import {__name__}"
        assert f"@extend.{kind}('mine.gone')" in caught.value.wanted


def test_what_is_not_registered_is_not_saved(tmp_path):
    model = zoo.network("cnn")
    path = tmp_path / "mine.keras"

    def mine(logits, target):
        return logits * target

    for a in (
        tfxai.create_analyzer("lrp", model, head=mine),
        tfxai.create_analyzer("lrp", model, rules={"conv": absolute}),
    ):
        with pytest.raises(OptionError, match="so it cannot be saved") as caught:
            a.graph.save(path)
        assert caught.value.write.startswith("from tfxai import extend, and then @")
    with extend.restored():
        extend.head("mine", mine)
        with pytest.raises(OptionError, match="not the same object") as caught:
            tfxai.create_analyzer("lrp", model, head=mine).graph.save(path)
        assert caught.value.write.startswith("'mine' in place of")


def test_a_rule_is_given_by_its_name_and_options():
    from tfxai.relevance.registry import find

    assert str(find(("gamma", {"gamma": 0.5}))) == "gamma(gamma=0.5)"
    with pytest.raises(OptionError, match="rule 'gamma' has no option 'gama'"):
        find(("gamma", {"gama": 0.5}))
