"""Bad inputs, targets, names and options: what was seen, wanted, and is to be typed."""

import re
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tests.core import bad_inputs
from tests.core.bad_inputs import Subclassed, filled, inputs, raises
from tfxai.errors import (
    InputError,
    NothingToExplainWarning,
    OptionError,
    OutOfBoundsWarning,
    TargetError,
    TfxaiError,
    TfxaiWarning,
    UnknownNameError,
    UnusedOptionWarning,
)
from tfxai.metrics.registry import METRICS as metrics_by_name
from tfxai.relevance import presets
from tfxai.relevance import rules as R
from tfxai.relevance.rules import RULES as rules_by_name

L = keras.layers
#: A fixture of this file, made anew for it.
model = bad_inputs.model


@pytest.fixture(scope="module")
def two_inputs():
    a, b = keras.Input((3,)), keras.Input((2,))
    return filled(keras.Model([a, b], L.Dense(3)(L.Concatenate()([a, b]))))


@pytest.fixture(scope="module")
def segmenter():
    i = keras.Input((4, 4, 2))
    return filled(keras.Model(i, L.Conv2D(3, 1, activation="softmax")(i)))


@pytest.fixture(scope="module", params=["sglrp", "gradient"])
def analyzer(request, model):
    return tfxai.create_analyzer(request.param, model)


# -- inputs --------------------------------------------------------------------------


def spoiled(value):
    x = inputs(3, 4, 4, 2)
    x[1, 2, 3, 0] = value
    return x


INPUTS = {
    "no batch axis": (
        inputs(4, 4, 2),
        ["(4, 4, 2)", "no batch axis", "(B, 4, 4, 2)", "analyze(x[None])"],
    ),
    "wrong shape": (inputs(3, 4, 5, 2), ["(3, 4, 5, 2)", "Wanted", "(B, 4, 4, 2)"]),
    "too many axes": (inputs(1, 1, 4, 4, 2), ["(1, 1, 4, 4, 2)", "(B, 4, 4, 2)"]),
    "a number": (3.0, ["shape ()", "(B, 4, 4, 2)"]),
    "NaN": (spoiled(np.nan), ["NaN or infinity", "sample(s) [1]", "isfinite"]),
    "infinity": (spoiled(-np.inf), ["NaN or infinity", "sample(s) [1]", "finite"]),
    "beyond float32": (
        spoiled(0) + np.array([1e300, 0]),
        ["NaN or infinity", "sample(s) [0, 1, 2]"],
    ),
    "empty": (inputs(0, 4, 4, 2), ["(0, 4, 4, 2)", "empty", "(B, 4, 4, 2)"]),
    "a path": ("cat.png", ["x is str", "a batch of numbers"]),
    "strings": (np.full((1, 4, 4, 2), "a"), ["ndarray", "<U1", "a batch of numbers"]),
    "None": (None, ["NoneType", "a batch of numbers"]),
    "objects": (np.array([None, {}]), ["ndarray of dtype object", "numbers"]),
    "ragged": ([[1.0], [1.0, 2.0]], ["x is list", "a batch of numbers"]),
    "complex": (inputs(1, 4, 4, 2) + 1j, ["complex", "a batch of numbers"]),
    "empty dataset": (
        tf.data.Dataset.from_tensor_slices(inputs(0, 4, 4, 2)).batch(2),
        ["dataset is empty", "at least one batch"],
    ),
}


@pytest.mark.parametrize("name", INPUTS)
def test_a_bad_input_is_named(name, analyzer):
    x, parts = INPUTS[name]
    with raises(InputError, *parts):
        analyzer.analyze(x)
    with raises(InputError, *parts):
        analyzer.wrapped.logits(x)


def test_an_input_error_is_a_value_error_with_its_parts_apart(analyzer):
    with pytest.raises(ValueError) as caught:
        analyzer.analyze(inputs(4, 4, 2))
    assert caught.value.seen == "x has shape (4, 4, 2): there is no batch axis."
    assert caught.value.wanted == "shape (B, 4, 4, 2)"
    assert caught.value.write == "analyze(x[None])"
    assert str(caught.value).splitlines() == [
        "x has shape (4, 4, 2): there is no batch axis.",
        "  Wanted: shape (B, 4, 4, 2)",
        "  Write: analyze(x[None])",
    ]


A, B = inputs(4, 3), inputs(4, 2)
SEVERAL = {
    "one of two": (A, ["x holds 1 array(s)", "2 inputs", "analyze([a, b])"]),
    "three": ([A, A, B], ["x holds 3 array(s)", "2 inputs"]),
    "different lengths": ([A, B[:3]], ["batches of [4, 3]", "the same number"]),
    "swapped": ([B, A], ["(4, 2)", "(B, 3)"]),
    "NaN in the second": ([A, np.full((4, 2), np.nan)], ["NaN", "[0, 1, 2, 3]"]),
}


@pytest.mark.parametrize("name", SEVERAL)
def test_bad_inputs_of_a_two_input_model_are_named(name, two_inputs):
    x, parts = SEVERAL[name]
    with raises(InputError, *parts):
        tfxai.explain(two_inputs, x, "sglrp")


def test_inputs_of_a_subclassed_model_are_checked_as_far_as_they_are_known():
    model = Subclassed()
    model(inputs(1, 4))
    analyzer = tfxai.create_analyzer("gradient", model)
    with raises(InputError, "NaN or infinity", "sample(s) [0]"):
        analyzer.analyze([[np.nan, 0, 0, 0]])
    with raises(InputError, "(0, 4)", "empty"):
        analyzer.analyze(inputs(0, 4))


@pytest.mark.parametrize("batch_size", [0, -1, 2.0, "8", None])
def test_a_bad_batch_size_is_named(batch_size, analyzer):
    with raises(InputError, f"batch_size={batch_size!r}", "at least 1"):
        analyzer.analyze(inputs(3, 4, 4, 2), target=1, batch_size=batch_size)


# -- targets -------------------------------------------------------------------------

TARGETS = {
    "too large": (6, ["target 6 is not a class", "6 outputs", "at most 5"]),
    "negative": (-1, ["target -1 is not a class", "at least 0"]),
    "one too large": ([0, 9, 1], ["target 9 is not a class", "at most 5"]),
    "one negative": ([0, -4, 1], ["target -4 is not a class", "at least 0"]),
    "pair too large": ([[0, 7]] * 3, ["target 7 is not a class", "at most 5"]),
    "wrong length": ([0, 1], ["length 2", "3 sample(s)", "target=[[340, 386]]"]),
    "rows of wrong length": ([[0, 1]], ["length 1", "3 sample(s)", "(3, T) ints"]),
    "float": (1.0, ["target=1.0", "an int", "target=340"]),
    "floats": ([0.0, 1.0, 2.0], ["[0.0, 1.0, 2.0]", "an int"]),
    "bool": (True, ["target=True", "an int", "target=340"]),
    "bools": ([True, False, True], ["[True, False, True]", "an int"]),
    "word": ("cat", ["target='cat'", "a class index", 'target="all"']),
    "empty": ([], ["target=[]", "an int"]),
    "three axes": ([[[1]]] * 3, ["an int", "(B, T) ints"]),
    "ragged": ([[1], [1, 2], [3]], ["[[1], [1, 2], [3]]", "(B, T) ints"]),
    "dict": ({"class": 1}, ["{'class': 1}", "an int"]),
}


@pytest.mark.parametrize("name", TARGETS)
def test_a_bad_target_is_named(name, analyzer):
    target, parts = TARGETS[name]
    with raises(TargetError, *parts):
        analyzer.analyze(inputs(3, 4, 4, 2), target=target)
    with raises(TargetError, *parts):
        analyzer.wrapped.scores(inputs(3, 4, 4, 2), target)


INDICES = {
    "no target": (None, ["(None, 4, 4, 3)", "3 numbers", "target=(0, 0, 0)"]),
    "a class": (2, ["target=2", "(4, 4, 3)", "a tuple of 3", "(0, 0, 0)"]),
    "too short": ((0, 0), ["target=(0, 0)", "(4, 4, 3)", "a tuple of 3"]),
    "too large": ((0, 0, 3), ["target=(0, 0, 3)", "(4, 4, 3)", "within"]),
    "negative": ((0, -1, 0), ["target=(0, -1, 0)", "(4, 4, 3)", "within"]),
    "float": ((0.0, 0, 0), ["target=(0.0, 0, 0)", "a tuple of 3 indices"]),
    "bool": ((True, 0, 0), ["target=(True, 0, 0)", "a tuple of 3 indices"]),
    "a list": ([0, 0, 0], ["target=[0, 0, 0]", "a tuple of 3 indices"]),
    "word": ("sky", ["target='sky'", 'target="all"']),
}


@pytest.mark.parametrize("method", ["sglrp", "gradient"])
@pytest.mark.parametrize("name", INDICES)
def test_a_bad_index_into_an_output_with_more_axes_is_named(name, method, segmenter):
    target, parts = INDICES[name]
    with raises(TargetError, *parts):
        tfxai.explain(segmenter, inputs(3, 4, 4, 2), method, target=target)


def test_an_index_tuple_explains_that_very_number(segmenter):
    x = inputs(3, 4, 4, 2)
    e = tfxai.explain(segmenter, x, "input_t_gradient", target=(1, 2, 1))
    layer = segmenter.layers[-1]
    kernel = layer.kernel.numpy()[0, 0, :, 1]
    wanted = np.zeros_like(x)
    wanted[:, 1, 2] = x[:, 1, 2] * kernel
    np.testing.assert_allclose(e.relevance, wanted, rtol=1e-6)
    score = x[:, 1, 2] @ kernel + layer.bias.numpy()[1]
    np.testing.assert_allclose(e.score, score, rtol=1e-5)
    assert e.target.tolist() == [(1 * 4 + 2) * 3 + 1] * 3


@pytest.mark.parametrize("method", ["clrp", "sglrp", "sglrp.sequential_preset_a"])
def test_a_contrast_takes_no_function_for_a_target(method, model):
    with raises(TargetError, "contrasts one class", "a class index", "lrp.epsilon"):
        tfxai.explain(model, inputs(3, 4, 4, 2), method, target=lambda y: y[:, 0])


def test_all_classes_of_a_subclassed_model_are_counted_by_asking_it():
    model, x = Subclassed(), inputs(2, 4)
    model(x)
    every = tfxai.explain(model, x, "gradient", target="all")
    count = model(x).shape[-1]
    assert every.target.tolist() == [list(range(count))] * 2
    for k in range(count):
        one = tfxai.explain(model, x, "gradient", target=k)
        np.testing.assert_allclose(every.relevance[:, k], one.relevance, rtol=1e-6)


def test_a_class_that_a_subclassed_model_does_not_have_is_named():
    model = Subclassed()
    model(inputs(1, 4))
    with raises(TargetError, "target 7 is not a class"):
        tfxai.explain(model, inputs(2, 4), "gradient", target=7)


@pytest.mark.parametrize("method", ["gradient", "lrp.epsilon"])
@pytest.mark.parametrize(
    "function",
    [lambda y: y, lambda y: y[:, :1], tf.reduce_sum, lambda y: tf.zeros([3])],
    ids=["(B, n)", "(B, 1)", "()", "constant"],
)
def test_a_target_function_must_return_one_score_per_sample(function, method, model):
    with raises(TargetError, "(B,)"):
        tfxai.explain(model, inputs(3, 4, 4, 2), method, target=function)


# -- names and options ---------------------------------------------------------------


def test_an_unknown_analyzer_comes_with_the_nearest_names(model):
    with raises(UnknownNameError, "'sglpr'", "tfxai.methods()", "sglrp") as caught:
        tfxai.create_analyzer("sglpr", model)
    assert isinstance(caught.value, KeyError)
    assert caught.value.write == "tfxai.create_analyzer('sglrp', model)"
    with raises(UnknownNameError, "'lrp.epsilom'", "perhaps lrp.epsilon"):
        tfxai.explain(model, inputs(1, 4, 4, 2), "lrp.epsilom")
    with raises(UnknownNameError, "no method 3", "tfxai.methods()"):
        tfxai.create_analyzer(3, model)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("saliency", "gradient"), ("shap", "kernel_shap"), ("grad-cam", "gradcam"),
        ("Grad-CAM++", "gradcam_plus_plus"), ("ig", "integrated_gradients"),
        ("input_x_gradient", "input_t_gradient"), ("gradxinput", "input_t_gradient"),
        ("SmoothGrad", "smoothgrad"),
        ("guided_backpropagation", "guided_backprop"), ("LIME", "lime"),
        ("DeepLift", "deeplift"), ("score-cam", "scorecam"), ("attnlrp", "lrp.attn"),
    ],
)  # fmt: skip
def test_a_synonym_comes_first(name, near, model):
    with raises(UnknownNameError, f"perhaps {near}") as caught:
        tfxai.create_analyzer(name, model)
    assert caught.value.write == f"tfxai.create_analyzer({near!r}, model)"


@pytest.mark.parametrize(
    ("method", "option", "near"),
    [
        ("integrated_gradients", "steps", "n_steps"),
        ("integrated_gradients", "baselines", "baseline"),
        ("lime", "num_samples", "n_samples"), ("lrp.epsilon", "eps", "epsilon"),
        ("smoothgrad", "stdevs", "noise"), ("gradcam", "layer_name", "layer"),
        ("expected_gradients", "baselines", "background"),
        ("occlusion", "patch_size", "window"), ("lime", "segmentation_fn", "segmenter"),
        ("lrp.epsilon", "neuron_selection_mode", "target"),
        ("kernel_shap", "data", "background"),
    ],
)  # fmt: skip
def test_an_option_of_another_tool_is_known(method, option, near, model):
    with raises(OptionError, f"perhaps {near}"):
        tfxai.create_analyzer(method, model, **{option: 1})


@pytest.mark.parametrize(
    ("names", "name", "near"),
    [
        (rules_by_name, "LRP-0", "z"), (rules_by_name, "WSquare", "w_square"),
        (rules_by_name, "zB", "z_box"), (metrics_by_name, "RMA", "relevance_mass"),
        (metrics_by_name, "gini", "sparseness"),
    ],
)  # fmt: skip
def test_a_rule_and_a_metric_of_another_tool_are_known(names, name, near):
    with raises(UnknownNameError, f"perhaps {near}"):
        names[name]


def test_an_unknown_layer_without_a_near_name_has_no_empty_list(model):
    for call in (
        lambda: tfxai.create_analyzer("sglrp", model, rules={"qqqq": "z"}),
        lambda: tfxai.create_analyzer("gradcam", model, layer="qqqq"),
    ):
        with pytest.raises(TfxaiError) as caught:
            call()
        assert "[]" not in str(caught.value) and "perhaps" not in str(caught.value)


def test_nothing_near_is_no_suggestion(model):
    for name in ("foo", "xyz", "banana"):
        with raises(UnknownNameError, "tfxai.methods()") as caught:
            tfxai.create_analyzer(name, model)
        assert "perhaps" not in str(caught.value) and not caught.value.write


def test_a_zero_gradient_does_not_need_a_positive_score():
    x = keras.Input((3,))
    model = keras.Model(x, L.Dense(2)(L.ReLU()(x)))
    with pytest.warns(NothingToExplainWarning) as caught:
        tfxai.explain(model, -np.ones((1, 3)), "gradient", 0)
    assert "needs a score" not in str(caught[0].message)


def test_an_integer_table_with_a_float_baseline():
    x = np.array([[1, 2, 3]])
    with raises(OptionError, "inputs of int64", "whole numbers", 'x.astype("float32")'):
        tfxai.explain(lambda v: v * 1.0, x, "occlusion", 0, baseline=0.5)
    e = tfxai.explain(
        lambda v: v * 1.0, x.astype("float32"), "occlusion", 0, baseline=0.5
    )
    np.testing.assert_allclose(e.relevance, [[0.5, 0, 0]], atol=1e-6)


def test_an_unknown_option_comes_with_the_nearest_names(model):
    with raises(OptionError, "'sglrp' has no option 'lo'", "'low'", "perhaps low"):
        tfxai.create_analyzer("sglrp", model, lo=-1)
    with raises(OptionError, "'gradient' has no option 'rules'", "['at'"):
        tfxai.create_analyzer("gradient", model, rules={})
    with raises(OptionError, "'lrp.epsilon' has no option 'epsilom'", "epsilon"):
        tfxai.explain(model, inputs(1, 4, 4, 2), "lrp.epsilon", epsilom=1)


def test_an_unknown_layer_or_kind_in_rules_is_named(model):
    texts = ("'cnov'", "neither a kind nor a layer", "'dense'", "perhaps conv")
    with raises(OptionError, *texts):
        tfxai.create_analyzer("sglrp", model, rules={"cnov": "z"})
    analyzer = tfxai.create_analyzer("lrp.epsilon", model, rules={"conv": "flat"})
    assert {r["rule"] for r in analyzer.coverage() if r["kind"] == "conv"} == {"flat"}


def first_rule(analyzer):
    """The rule of the first layer with a kernel."""
    return next(r["rule"] for r in analyzer.coverage() if r["first"])


def test_the_most_specific_rule_wins(model):
    create, box = tfxai.create_analyzer, {"low": -1, "high": 1}
    i = keras.Input((4, 4, 2))
    y = L.Conv2D(2, 2, name="two")(L.Conv2D(2, 2, name="one")(i))
    twice = filled(keras.Model(i, L.Dense(3, name="out")(L.Flatten()(y))))
    analyzer = create("sglrp", twice, rules={"conv": "flat", "dense": "z"}, **box)
    rules = {r["step"]: r["rule"] for r in analyzer.coverage()}
    assert rules["one"] == "z_box(low=-1, high=1)"
    assert (rules["two"], rules["out"]) == ("flat", "z")
    until = {"until_layer_idx": 1, "rules": {"conv": "z", "two": "w_square"}}
    analyzer = create("lrp.sequential_preset_b_flat_until_idx", twice, **until)
    rules = {r["step"]: r["rule"] for r in analyzer.coverage()}
    assert (rules["one"], rules["two"]) == ("flat", "w_square")
    with pytest.warns(UnusedOptionWarning, match="low and high not used"):
        analyzer = create("sglrp", model, rules={"conv": "flat"}, **box)
    assert first_rule(analyzer) == "flat"


@pytest.mark.parametrize(
    ("method", "options", "unused"),
    [
        ("sglrp", {"low": -1, "high": 1, "input_layer_rule": "flat"}, "low and high"),
        ("sglrp", {"low": -1, "high": 1, "preset": presets.epsilon()}, "low and high"),
        ("lrp.epsilon", {"epsilon": 0.1, "preset": presets.deep_taylor()}, "epsilon"),
        ("lrp.epsilon", {"epsilon": 0.1, "rules": {"conv": "z", "dense": "z"}},
         "epsilon"),
        ("lrp.gamma", {"gamma": 1.0, "rules": {"conv": "z", "dense": "z"}}, "gamma"),
        ("deeplift", {"baseline": 0.5, "preset": presets.rescale(0.25)}, "baseline"),
    ],
)  # fmt: skip
def test_an_option_that_no_rule_reads_is_a_warning(method, options, unused, model):
    with pytest.warns(UnusedOptionWarning, match=f"{unused} not used"):
        tfxai.create_analyzer(method, model, **options)


def test_an_option_that_one_rule_reads_is_no_warning(model):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for options in (
            {"epsilon": 0.1, "rules": {"conv": "z"}},
            {"epsilon": presets.R.EPSILON, "rules": {"conv": "z", "dense": "z"}},
        ):
            tfxai.create_analyzer("lrp.epsilon", model, **options)
        box = {"low": np.zeros((1, 1, 2)), "high": np.ones((1, 1, 2))}
        tfxai.create_analyzer("sglrp", model, rules={"dense": "z"}, **box)


def test_a_rule_for_a_kind_that_no_step_takes_is_a_warning():
    i = keras.Input((4, 4, 2))
    y = L.Flatten()(L.Conv2D(2, 2, name="one")(i))
    only = filled(keras.Model(i, L.Dense(3, name="out")(y)))
    line = r"model, rules=\{'one': 'flat'\}\)"
    with pytest.warns(
        UnusedOptionWarning, match=f"kind 'conv' is not used.*\n.*{line}"
    ):
        tfxai.create_analyzer("sglrp", only, rules={"conv": "flat"})
    analyzer = tfxai.create_analyzer("sglrp", only, rules={"one": "flat"})
    assert first_rule(analyzer) == "flat"


def test_an_unknown_rule_is_named(model):
    with raises(UnknownNameError, "'zbox'", "'alpha_beta'", "perhaps", "z_box"):
        tfxai.create_analyzer("sglrp", model, input_layer_rule="zbox")
    with raises(UnknownNameError, "no rule 'zplus'", "perhaps", "z_plus"):
        tfxai.create_analyzer("sglrp", model, rules={"conv": "zplus"})
    with raises(UnknownNameError, "no rule (1, 2, 3)", "'z_box'"):
        tfxai.create_analyzer("sglrp", model, input_layer_rule=(1, 2, 3))
    with raises(OptionError, "'z_box' has no option 'lo'", "['low', 'high', 'eps']"):
        R.RULES["z_box"](lo=1)
    with raises(OptionError, "'move' has no option 'low'", "no option"):
        R.RULES["move"](low=1)


def test_a_bad_batch_norm_value_is_named(model):
    with raises(OptionError, "batch_norm='none'", '"fold" or "rule"'):
        tfxai.create_analyzer("sglrp", model, batch_norm="none")


def test_a_preprocess_that_is_no_function_is_named(model):
    with raises(OptionError, "preprocess=127.5", "a function", "preprocess_input"):
        tfxai.create_analyzer("sglrp", model, preprocess=127.5)


@pytest.mark.parametrize("output", [1, -2])
def test_a_bad_output_index_is_named(output, model):
    with raises(OptionError, f"output={output}", "1 output(s)", "from 0 to 0"):
        tfxai.create_analyzer("sglrp", model, output=output)


@pytest.mark.parametrize("alpha, beta", [(2, 0), (1, 1), (0.5, -0.5), (3, 1)])
def test_alpha_and_beta_that_do_not_fit_are_named(alpha, beta, model):
    rule = R.alpha_beta(alpha=alpha, beta=beta)
    wanted = raises(OptionError, f"alpha={alpha}, beta={beta}", "alpha - beta = 1")
    with wanted:
        tfxai.explain(model, inputs(1, 4, 4, 2), "lrp.epsilon", rules={"conv": rule})


def test_the_box_rule_only_stands_at_the_input(model):
    with raises(OptionError, "box rule", "does not read the network's input", "first"):
        tfxai.explain(model, inputs(1, 4, 4, 2), "sglrp", rules={"dense": "z_box"})


def test_an_error_of_a_rule_is_not_buried_in_kerass_own_words(model):
    with pytest.raises(OptionError) as caught:
        tfxai.explain(model, inputs(1, 4, 4, 2), "sglrp", rules={"dense": "z_box"})
    assert caught.value.write == "input_layer_rule=(low, high)"
    assert str(caught.value).startswith("The box rule is set")


def test_preprocess_of_a_wrapped_model_is_not_dropped(model):
    x, wrapped = inputs(2, 4, 4, 2), tfxai.wrap(model)
    try:
        e = tfxai.explain(wrapped, x, "gradient", target=1, preprocess=lambda v: -v)
    except TfxaiError:
        return
    wanted = tfxai.explain(model, -x, "gradient", target=1)
    np.testing.assert_allclose(e.score, wanted.score, rtol=1e-5)


@pytest.mark.parametrize(
    ("dtype", "x", "seen"),
    [
        ("uint8", np.full((1, 3), 0.7), "0.7"),
        ("uint8", np.array([[1, 2, 299]]), "299"),
        ("uint8", np.array([[1, -1, 2]]), "-1"),
        ("int32", np.array([[1, 1.5, 2]]), "1.5"),
        ("int32", np.array([[1, 2, 3e10]]), "3e+10"),
    ],
)
def test_what_a_model_of_whole_numbers_would_cut_off_is_refused(dtype, x, seen):
    i = keras.Input((3,), dtype=dtype)
    model = filled(keras.Model(i, L.Dense(2)(keras.ops.cast(i, "float32"))))
    with raises(InputError, f"x holds {seen}", dtype, f"whole numbers that {dtype}"):
        tfxai.explain(model, x, "lime", n_samples=8)
    whole = np.array([[1, 2, 255]])
    kernel, bias = model.get_weights()
    for held in (whole, whole.astype(dtype), whole.astype("float32")):
        logits = tfxai.wrap(model).logits(held)
        np.testing.assert_allclose(logits, whole @ kernel + bias, rtol=1e-5)


# -- warnings ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def signed():
    """Two classes of known sign: f = (sum x, -sum x) for x >= 0."""
    model = keras.Model(i := keras.Input((3,)), L.Dense(2, use_bias=False)(i))
    model.layers[-1].kernel.assign([[1, -1]] * 3)
    return model


@pytest.mark.parametrize(
    "method", ["deep_taylor", "deep_taylor.bounded", "lrp", "clrp"]
)
def test_a_logit_that_is_not_positive_has_nothing_to_explain(method, signed):
    x = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]], "float32")
    with pytest.warns(NothingToExplainWarning) as caught:
        e = tfxai.explain(signed, x, method, target=[0, 1])
    assert (e.relevance[1] == 0).all()
    assert (e.relevance[0] != 0).any()
    (message,) = [str(w.message) for w in caught]
    start = f"{method}: the relevance of sample(s) [1] is zero everywhere"
    assert message.startswith(start)
    assert "needs a score above 0" in message
    assert "target [1], score [-1.5" in message


def test_what_lies_inside_the_bounds_or_has_none_gives_no_warning(signed, recwarn):
    x = np.array([[-1.0, 0.2, 1.0]], "float32")
    tfxai.explain(signed, x, "deep_taylor.bounded", target=0, low=-1, high=1)
    tfxai.explain(signed, 99 * x, "deep_taylor.bounded", target=0)
    tfxai.explain(signed, 99 * x, "deep_taylor", target=0)
    tfxai.explain(signed, 2 * x, "lrp.epsilon", target=0, input_layer_rule=(-2, 2))
    assert [w for w in recwarn if issubclass(w.category, TfxaiWarning)] == []


@pytest.mark.parametrize(
    "bounds, gap",
    [
        ({"low": -1, "high": 1}, "0.5"),
        ({"low": -1}, "0.25"),
        ({"high": 1.4}, "0.1"),
        ({"low": [-2.0, -2.0, -1.0], "high": [2.0, 2.0, 1.0]}, "0.5"),
    ],
)
def test_an_input_outside_of_its_bounds_is_warned_of(bounds, gap, signed):
    x = np.array([[0.1, 0.2, 0.3], [-1.25, 0.5, 1.5]], "float32")
    with pytest.warns(OutOfBoundsWarning, match=re.escape(f"up to {gap} in 1 sample")):
        tfxai.explain(signed, x, "deep_taylor.bounded", target=0, **bounds)


def test_the_bounds_are_those_of_the_preprocessed_input(signed, recwarn):
    x = np.array([[10.0, 128.0, 250.0]], "float32")
    analyzer = tfxai.create_analyzer(
        "lrp", signed, lambda v: v / 127.5 - 1, low=-1, high=1
    )
    analyzer.analyze(x, target=0)
    assert [w for w in recwarn if issubclass(w.category, OutOfBoundsWarning)] == []
