"""The search of a preset: what it returns, and that it finds a planted best rule."""

import keras
import numpy as np
import pytest

import tfxai
from tests import zoo
from tfxai.errors import InputError, ModelError, OptionError, UnknownNameError
from tfxai.metrics import preset_judge
from tfxai.metrics.registry import compute
from tfxai.relevance import rules as R

L = keras.layers


def network(end):
    x = keras.Input((8, 8, 1))
    y = L.Conv2D(4, 3, activation="relu", name="one")(x)
    y = L.Conv2D(4, 3, activation="relu", name="two")(y)
    y = L.Dense(3, activation=end, name="out")(L.Flatten()(y))
    return tfxai.wrap(zoo.fill(keras.Model(x, y)))


@pytest.fixture(scope="module")
def model():
    return network("softmax")


@pytest.fixture(scope="module")
def images():
    return np.float32(np.random.default_rng(2).uniform(0, 1, (12, 8, 8, 1)))


CHEAP = {"metric": "deletion", "n_steps": 4, "progress": False}


#: The fixed presets of these tests; the rows that are left out are not.
FEW = {"lrp.epsilon", "lrp.flat", "lrp.epsilon_plus", "deep_taylor"}
LEFT_OUT = {"sglrp", "gradient", "lrp.rule_until_index", "deeplift"}


@pytest.fixture(scope="module", autouse=True)
def few_presets():
    with pytest.MonkeyPatch.context() as patch:
        rows = [a for a in preset_judge.ANALYZERS if a.name in FEW | LEFT_OUT]
        patch.setattr(preset_judge, "ANALYZERS", rows)
        yield


@pytest.fixture(scope="module")
def found(model, images):
    candidates = ["flat", R.epsilon_rule(epsilon=1e-6), ("gamma", {"gamma": 0.5})]
    return tfxai.search_preset(
        model, images, candidates=candidates, seconds=600, **CHEAP
    )


def test_the_rows_are_the_metric_over_the_images_held_out(model, images, found):
    held_out = np.random.default_rng(0).permutation(12)[6:]
    x, values = images[held_out], dict(found.rows)
    target = model.logits(x).argmax(1)
    for name, options in (("lrp.epsilon", found.options), ("lrp.flat", {})):
        e = tfxai.explain(model, x, name, target, **options)
        wanted = compute("deletion", model, e, n_steps=4).mean()
        key = "found" if options else name
        assert values[key] == pytest.approx(wanted, rel=1e-4), name
    assert [v for _, v in found.rows] == sorted(v for _, v in found.rows)
    best = min(v for n, v in found.rows if n != "found")
    assert found.gain == pytest.approx((best - values["found"]) / best)
    assert set(values) == FEW | {"found"}


def test_no_single_change_is_better_on_the_images_of_the_search(model, images, found):
    """The search has ended: the rules are a local optimum, by the layers alone."""
    assert found.complete
    assert list(found.rules) == ["one", "two", "out"]
    order = np.random.default_rng(0).permutation(12)[:6]
    x = images[order]
    target = model.logits(x).argmax(1)

    def value(rules):
        e = tfxai.explain(
            model, x, "lrp.epsilon", target, preset=found.preset, rules=rules
        )
        return compute("deletion", model, e, n_steps=4).mean()

    own = value(found.rules)
    for layer in found.rules:
        changed = {**found.rules, layer: "flat"}
        assert value(changed) > own - 1e-6, layer


def test_the_table(found):
    lines = str(found).splitlines()
    assert lines[0] == "| preset | deletion, held out |"
    assert len(lines) == 2 + len(found.rows)
    assert f"| found | {dict(found.rows)['found']:.4f} |" in lines


def test_a_model_that_ends_in_logits_is_judged_by_the_logit(images):
    plain = network(None)
    found = tfxai.search_preset(plain, images, seconds=1e-3, **CHEAP)
    assert found.metric == "deletion of the logit"
    x = images[np.random.default_rng(0).permutation(12)[6:]]
    e = tfxai.explain(plain, x, "lrp.epsilon")
    wanted = compute("deletion", plain, e, n_steps=4, output="logit").mean()
    assert dict(found.rows)["lrp.epsilon"] == pytest.approx(wanted, rel=1e-4)


def test_the_time_ends_the_search(model, images):
    found = tfxai.search_preset(model, images, seconds=1e-3, **CHEAP)
    assert not found.complete
    assert {n for n, _ in found.rows} == {"lrp.epsilon", "found"}
    assert found.gain == 0


def test_errors(model, images):
    for options, error, text in (
        ({"metric": "rode"}, UnknownNameError, "road"),
        ({"seconds": 0}, OptionError, "seconds=0"),
        ({"groups": 0}, OptionError, "groups=0"),
        ({"metric": "road", "steps": 3}, OptionError, "no option 'steps'"),
        ({"candidates": ["flut"]}, UnknownNameError, "flat"),
    ):
        with pytest.raises(error, match=text):
            tfxai.search_preset(model, images, progress=False, **options)
    with pytest.raises(InputError, match="at least four"):
        tfxai.search_preset(model, images[:3], **CHEAP)
    x = keras.Input((4, 4, 3))
    plain = keras.Model(x, L.Softmax()(L.GlobalAveragePooling2D()(x)))
    with pytest.raises(ModelError, match="no layer with a kernel"):
        tfxai.search_preset(
            plain, np.random.default_rng(0).random((6, 4, 4, 3)), **CHEAP
        )


def test_boxes_belong_to_their_images_and_a_rule_may_not_fit():
    x = keras.Input((8, 8, 3))
    y = L.Conv2D(5, 3, activation="relu")(L.Conv2D(4, 3, activation="relu")(x))
    model = zoo.fill(keras.Model(x, L.Dense(3)(L.Flatten()(y))))
    images = np.random.default_rng(0).normal(size=(6, 8, 8, 3)).astype("float32")
    boxes = [[[0.1, 0.1, 0.5 + k / 20, 0.8]] for k in range(6)]
    found = tfxai.search_preset(
        model, images, metric="relevance_mass", boxes=boxes, seconds=0.01,
        candidates=["z_box", "gamma"], progress=False,
    )  # fmt: skip
    assert found.rows and all(0 <= v <= 1 for _, v in found.rows)
    two = keras.Model([x, keras.Input((2,))], model.output)
    with pytest.raises(InputError, match="2 inputs"):
        tfxai.search_preset(two, [images, np.ones((6, 2))], progress=False)
