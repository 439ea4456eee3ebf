"""What is wrong is said by name: what was seen, what was wanted, what to type."""

import json
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tfxai import explanation
from tfxai.errors import (
    BlackBoxError,
    InputError,
    MissingFileError,
    ModelError,
    NothingToExplainWarning,
    OptionError,
    OutOfBoundsWarning,
    TargetError,
    TfxaiError,
    TfxaiWarning,
    UnknownNameError,
    UnsupportedLayerError,
)
from tfxai.graph import kinds
from tfxai.relevance import rules as R
from tfxai.relevance.presets import Preset

L = keras.layers


def filled(model, seed=0):
    """The model with random weights."""
    rng = np.random.default_rng(seed)
    for v in model.weights:
        v.assign(rng.normal(size=v.shape) / np.sqrt(max(1, np.prod(v.shape[:-1]))))
    return model


def inputs(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype("float32")


def raises(error, *parts):
    """Expect `error`, a TfxaiError, with these telling parts in this order."""
    assert issubclass(error, TfxaiError)
    return pytest.raises(error, match="(?s)" + ".*".join(map(re.escape, parts)))


@pytest.fixture(scope="module")
def model():
    i = keras.Input((4, 4, 2))
    x = L.Conv2D(3, 3, activation="relu", name="conv")(i)
    return filled(keras.Model(i, L.Dense(6, "softmax")(L.Flatten()(x)), name="net"))


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
    "too large": (6, ["target 6 is no class", "6 outputs", "at most 5"]),
    "negative": (-1, ["target -1 is no class", "at least 0"]),
    "one too large": ([0, 9, 1], ["target 9 is no class", "at most 5"]),
    "one negative": ([0, -4, 1], ["target -4 is no class", "at least 0"]),
    "pair too large": ([[0, 7]] * 3, ["target 7 is no class", "at most 5"]),
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
    with raises(TargetError, "target 7 is no class"):
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
    with raises(UnknownNameError, "'sglpr'", "tfxai.analyzers()", "sglrp") as caught:
        tfxai.create_analyzer("sglpr", model)
    assert isinstance(caught.value, KeyError)
    assert caught.value.write == "tfxai.create_analyzer('sglrp', model)"
    with raises(UnknownNameError, "'lrp.epsilom'", "perhaps lrp.epsilon"):
        tfxai.explain(model, inputs(1, 4, 4, 2), "lrp.epsilom")
    with raises(UnknownNameError, "no analyzer 3", "tfxai.analyzers()"):
        tfxai.create_analyzer(3, model)


def test_an_unknown_option_comes_with_the_nearest_names(model):
    with raises(OptionError, "'sglrp' has no option 'lo'", "'low'", "perhaps low"):
        tfxai.create_analyzer("sglrp", model, lo=-1)
    with raises(OptionError, "'gradient' has no option 'rules'", "['jit_compile'"):
        tfxai.create_analyzer("gradient", model, rules={})
    with raises(OptionError, "'lrp.epsilon' has no option 'epsilom'", "epsilon"):
        tfxai.explain(model, inputs(1, 4, 4, 2), "lrp.epsilon", epsilom=1)


def test_an_unknown_layer_or_kind_in_rules_is_named(model):
    with raises(OptionError, "'cnov'", "no kind and no layer", "'dense'", "'conv'"):
        tfxai.create_analyzer("sglrp", model, rules={"cnov": "z"})
    analyzer = tfxai.create_analyzer("sglrp", model, rules={"conv": "flat"})
    assert {r["rule"] for r in analyzer.coverage() if r["kind"] == "conv"} == {"flat"}


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
    assert str(caught.value).startswith("The box rule stands")


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


# -- layers that no rule covers ------------------------------------------------------


class Halve(L.Layer):
    """Divide negative values by two, in raw TensorFlow: no row, and not to be read."""

    def call(self, x):
        """Keep x > 0."""
        return tf.where(x > 0, x, x / 2)


def halving(layer):
    i = keras.Input((4,))
    return filled(keras.Model(i, L.Dense(3)(layer(L.Dense(5)(i)))), 2)


@pytest.fixture
def registered():
    """The table of operations, put back afterwards."""
    before = dict(kinds._ROWS)
    yield kinds._ROWS
    kinds._ROWS.clear()
    kinds._ROWS.update(before)


def as_shown(line, **names):
    """The decorator that an error shows, typed as it stands, and the Step beside it."""
    imports, then = line.split(", and then ")
    exec(imports, names)
    return eval(then.split(" above ")[0].removeprefix("@"), names), names["Step"]


def test_a_custom_layer_is_named_and_the_shown_line_makes_it_work(registered):
    model, x = halving(Halve(name="mine")), inputs(3, 4)
    with raises(UnsupportedLayerError, "'mine' is a Halve", "no relevance") as caught:
        tfxai.create_analyzer("lrp.epsilon", model)
    assert isinstance(caught.value, NotImplementedError)
    assert caught.value.write == (
        "from tfxai.graph.kinds import Step, operation, and then @operation(Halve) "
        "above a function (layer, call, arguments) -> [Step('', 'activation', call)]"
    )

    put, step = as_shown(caught.value.write, Halve=Halve)

    @put
    def halve(layer, call, arguments):
        return [step("", "activation", call)]

    e = tfxai.explain(model, x, "lrp.epsilon", target=1)
    known = halving(L.LeakyReLU(0.5))
    wanted = tfxai.explain(known, x, "lrp.epsilon", target=1)
    assert np.abs(wanted.relevance).max() > 0.1
    np.testing.assert_allclose(e.relevance, wanted.relevance, rtol=1e-5)
    np.testing.assert_allclose(e.score, model(x).numpy()[:, 1], rtol=1e-5)


def test_a_layer_that_fails_without_a_word_is_named():
    class Silent(L.Layer):
        def call(self, x):
            if isinstance(x, keras.KerasTensor):
                raise ValueError
            return x * 2

    with raises(UnsupportedLayerError, "'mine' is a Silent", "(ValueError: )"):
        tfxai.create_analyzer("lrp.epsilon", halving(Silent(name="mine")))


def test_a_subclass_with_its_own_call_is_a_layer_of_its_own():
    class Doubled(L.Dense):
        def call(self, x, training=None):
            return super().call(x) * 2

    model = filled(keras.Model(i := keras.Input((4,)), Doubled(3, name="twice")(i)))
    x = inputs(3, 4)
    e = tfxai.explain(model, x, "lrp.epsilon", target=1, epsilon=1e-9)
    w, b = model.layers[-1].get_weights()
    np.testing.assert_allclose(e.score, (2 * (x @ w + b))[:, 1], rtol=1e-5)
    np.testing.assert_allclose(e.relevance, 2 * x * w[:, 1], rtol=1e-4, atol=1e-6)


def test_a_recurrent_layer_is_named_and_its_gradient_still_works():
    i = keras.Input((None, 2))  # steps that cannot be unrolled
    model = filled(keras.Model(i, L.Dense(2)(L.LSTM(3, name="memory")(i))))
    seen = "'memory' is a LSTM", "for a sequence of unknown length", "operation(LSTM)"
    with raises(UnsupportedLayerError, *seen):
        tfxai.create_analyzer("sglrp", model)
    x = inputs(2, 4, 2)
    e = tfxai.explain(model, x, "gradient", target=1)
    step = np.zeros_like(x)
    step[:, 2, 1] = 1e-2
    rise = (model(x + step) - model(x - step)).numpy()[:, 1] / 2e-2
    assert np.abs(rise).max() > 1e-3
    np.testing.assert_allclose(e.relevance[:, 2, 1], rise, rtol=1e-2, atol=1e-5)


@pytest.mark.parametrize(
    "function, name",
    [(keras.ops.erfinv, "Erfinv"), (keras.ops.sort, "Sort")],
    ids=["erfinv", "sort"],
)
def test_an_operation_without_a_row_is_named(function, name):
    i = keras.Input((4,))
    model = keras.Model(i, L.Dense(3)(function(i)))
    with raises(UnsupportedLayerError, f"is a {name}", "no relevance rule covers it"):
        tfxai.create_analyzer("sglrp", model)


def test_the_line_for_an_operation_can_be_typed(registered):
    i = keras.Input((4,))
    model = keras.Model(i, L.Dense(3)(keras.ops.erfinv(i)))
    with pytest.raises(UnsupportedLayerError) as caught:
        tfxai.create_analyzer("sglrp", model)
    put, step = as_shown(caught.value.write)  # the class of erfinv is private
    put(lambda op, call, arguments: [step("", "activation", call)])
    assert tfxai.create_analyzer("sglrp", model).coverage()[0]["kind"] == "activation"


def test_a_kind_without_a_rule_is_named_and_the_shown_rule_makes_it_work():
    i = keras.Input((4,))
    first, last = L.Dense(5, name="hidden"), L.Dense(3)
    model = filled(keras.Model(i, last(L.Softmax(name="gate")(first(i)))))
    with raises(
        UnsupportedLayerError, "'hidden' (Dense)", "rules={'hidden': \"gradient\"}"
    ):
        tfxai.create_analyzer("lrp.epsilon", model, preset=Preset({}))
    x, t = inputs(3, 4), 2
    e = tfxai.explain(
        model, x, "lrp.epsilon", target=t, epsilon=1e-12, rules={"gate": "gradient"}
    )
    w, b = first.get_weights()
    v, c = last.get_weights()
    z = x @ w + b
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    f = p @ v + c
    r = p * v[:, t]  # epsilon rule: R = p * V (f / f)
    r = p * (r - (p * r).sum(-1, keepdims=True))  # the Jacobian of softmax
    wanted = x * ((r / z) @ w.T)
    np.testing.assert_allclose(e.score, f[:, t], rtol=1e-5)
    np.testing.assert_allclose(e.relevance, wanted, rtol=1e-3, atol=1e-5)


# -- models --------------------------------------------------------------------------


class Subclassed(keras.Model):
    """A model that is only code."""

    def __init__(self):
        super().__init__(name="coded")
        self.dense = L.Dense(3)

    def call(self, x):
        """Three answers."""
        return self.dense(x)


class RawCode(keras.Model):
    """A subclassed model in raw TensorFlow."""

    def __init__(self):
        super().__init__(name="raw")
        self.dense = L.Dense(3)

    def call(self, x):
        """Three answers."""
        return self.dense(tf.nn.relu(x))


class TwoArguments(keras.Model):
    """A subclassed model that is called with two tensors."""

    def __init__(self):
        super().__init__(name="pair")
        self.dense = L.Dense(3)

    def call(self, a, b):
        """Three answers."""
        return self.dense(a + b)


@pytest.mark.parametrize("method", ["sglrp", "lrp.epsilon", "gradient"])
def test_a_black_box_gives_no_relevance_and_no_gradient(method):
    def answer(x):
        return x.reshape(len(x), -1)[:, :3]

    with raises(BlackBoxError, "function is a black box", "differentiate"):
        tfxai.create_analyzer(method, answer)
    wrapped, x = tfxai.wrap(answer), inputs(2, 4)
    np.testing.assert_array_equal(wrapped.logits(x), x[:, :3])
    with raises(BlackBoxError, "function is a black box"):
        wrapped.gradient(x)


@pytest.mark.parametrize(
    "answer, shape", [(lambda x: 3.0, "()"), (lambda x: x[:1], "(1, 4)")]
)
def test_a_black_box_must_answer_every_sample(answer, shape):
    with raises(ModelError, f"answered shape {shape} to 3 sample(s)", "(B, ...)"):
        tfxai.wrap(answer).logits(inputs(3, 4))


@pytest.mark.parametrize("method", ["sglrp", "gradient"])
@pytest.mark.parametrize(
    "given, seen",
    [
        (keras.Model, "type is no model"),
        (keras.Sequential, "type is no model"),
        (Subclassed, "type is no model"),
        ("net.keras", "str is no model"),
        (None, "NoneType is no model"),
        ([1], "list is no model"),
        (inputs(2, 4), "ndarray is no model"),
    ],
    ids=["Model", "Sequential", "own class", "path", "None", "list", "array"],
)
def test_what_is_no_model_is_named(given, seen, method):
    with raises(ModelError, seen, "a Keras model", "load_model"):
        tfxai.create_analyzer(method, given)


@pytest.mark.parametrize("method", ["sglrp", "gradient"])
def test_a_model_that_is_not_built_is_named(method):
    unbuilt = keras.Sequential([L.Dense(3)], name="unbuilt")
    with raises(ModelError, "'unbuilt' is not built", "model.build((None"):
        tfxai.create_analyzer(method, unbuilt)
    with raises(ModelError, "'coded' is not built", "model(x[:1])"):
        tfxai.create_analyzer(method, Subclassed())


def test_following_the_advice_makes_an_unbuilt_model_work():
    sequential, coded, x = keras.Sequential([L.Dense(3)]), Subclassed(), inputs(2, 4)
    sequential.build((None, 4))
    coded(x[:1])
    coded.dense.set_weights(sequential.get_weights())
    kernel = sequential.layers[0].kernel.numpy()
    for model in (sequential, coded):
        e = tfxai.explain(model, x, "gradient", target=1)
        np.testing.assert_allclose(e.relevance, [kernel[:, 1]] * 2, rtol=1e-6)


def test_a_subclassed_model_that_cannot_be_read_is_named():
    x = inputs(2, 4)
    raw, pair = RawCode(), TwoArguments()
    raw(x)
    pair(x, x)
    line = "keras.Model(inputs, model.call(inputs))"
    with raises(UnsupportedLayerError, "'raw' is a RawCode", "A KerasTensor", line):
        tfxai.create_analyzer("lrp.epsilon", raw)
    with raises(UnsupportedLayerError, "'pair' is a TwoArguments", "'b'", line):
        tfxai.create_analyzer("lrp.epsilon", pair)
    e = tfxai.explain(raw, np.abs(x), "input_t_gradient", target=1)
    wanted = np.abs(x) * raw.dense.kernel.numpy()[:, 1]
    np.testing.assert_allclose(e.relevance, wanted, rtol=1e-5, atol=1e-6)


def test_the_shown_line_gives_a_subclassed_model_a_graph():
    pair, a, b = TwoArguments(), inputs(2, 4), inputs(2, 4, seed=3)
    pair(a, b)
    i, j = keras.Input((4,)), keras.Input((4,))
    model = keras.Model([i, j], pair.call(i, j))
    e = tfxai.explain(model, [a, b], "lrp.epsilon", target=1, epsilon=1e-9)
    for ours, x in zip(e.relevance, (a, b), strict=True):
        wanted = x * pair.dense.kernel.numpy()[:, 1]
        np.testing.assert_allclose(ours, wanted, rtol=1e-3, atol=1e-5)


def test_probabilities_of_a_model_that_ends_in_none_are_refused():
    model = filled(keras.Model(i := keras.Input((4,)), L.Dense(3)(i), name="linear"))
    with raises(ModelError, "'linear'", "softmax or sigmoid", "wrapped.logits(x)"):
        tfxai.wrap(model).probabilities(inputs(2, 4))


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
    assert message.startswith(f"{method}: the map of sample(s) [1] is zero everywhere")
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


# -- the explanation and its file ----------------------------------------------------


def explained(relevance, extra=None, x=None, target=(1, 0), method="test"):
    score = np.array([0.1, 1 / 3], "float32")
    x = relevance if x is None else x
    return tfxai.Explanation(
        relevance, np.array(target, "int32"), score, method, x, extra or {}
    )


def test_a_saved_explanation_comes_back_bit_for_bit(tmp_path):
    r, x = inputs(2, 3, 3, 2), inputs(2, 3, 3, 2, seed=1)
    r[0, 0, 0] = [np.nan, -0.0]
    extra = {
        "loss": np.array([1e-300, np.pi]),
        "segments": np.arange(18).reshape(2, 3, 3),
        "residual": np.float32(0.1),
        "epsilon": 0.1,
        "low": None,
        "note": "déjà vu",
        "list": [1, "two", None],
    }
    e = explained(r, extra, x, method="sglrp")
    path = e.save(tmp_path / "new" / "map.npz")
    assert path == tmp_path / "new" / "map.npz"
    back = tfxai.load(path)
    for name in ("relevance", "target", "score", "inputs"):
        before, after = getattr(e, name), getattr(back, name)
        assert before.dtype == after.dtype
        assert before.tobytes() == after.tobytes()
        assert before.shape == after.shape
    assert back.method == "sglrp"
    assert back.extra.keys() == extra.keys()
    for name in ("loss", "segments", "residual"):
        assert back.extra[name].dtype == extra[name].dtype
        np.testing.assert_array_equal(back.extra[name], extra[name])
    for name in ("epsilon", "low", "note", "list"):
        assert back.extra[name] == extra[name]


def test_several_inputs_are_saved_as_several(tmp_path):
    maps, xs = [inputs(2, 3), inputs(2, 4, 4)], [inputs(2, 3, seed=1), inputs(2, 4, 4)]
    e = explained(maps, x=xs)
    back = tfxai.load(e.save(tmp_path / "two.npz"))
    assert isinstance(back.relevance, list)
    assert isinstance(back.inputs, list)
    for before, after in zip(maps + xs, back.relevance + back.inputs, strict=True):
        np.testing.assert_array_equal(before, after)


def test_more_than_ten_inputs_keep_their_order(tmp_path):
    maps = [np.full((2, 1), i, "float32") for i in range(12)]
    back = tfxai.load(explained(maps).save(tmp_path / "many.npz"))
    assert [r[0, 0] for r in back.relevance] == list(range(12))


def test_what_an_analyzer_returns_can_be_saved(model, tmp_path):
    e = tfxai.explain(
        model, inputs(2, 4, 4, 2), "sglrp", target=[[0, 1]] * 2, low=[-1, -1], high=1
    )
    back = tfxai.load(e.save(tmp_path / "e.npz"))
    np.testing.assert_array_equal(np.asarray(back), np.asarray(e))
    np.testing.assert_array_equal(back.target, [[0, 1]] * 2)
    assert back.extra["low"] == [-1, -1]
    assert back.extra["high"] == 1


def test_an_explanation_with_a_tensor_for_an_option_can_be_saved(model, tmp_path):
    e = tfxai.explain(
        model, inputs(1, 4, 4, 2), "sglrp", target=1, low=tf.constant(-1.0), high=1
    )
    back = tfxai.load(e.save(tmp_path / "e.npz"))
    assert back.extra["low"] == -1


def test_a_pickle_is_refused_and_never_run(tmp_path):
    ran = []

    class Bomb:
        def __reduce__(self):
            return ran.append, (1,)

    path = tmp_path / "bomb.npz"
    np.savez(path, meta=np.array([Bomb()], dtype=object))
    ran.clear()
    with raises(InputError, "bomb.npz", "no explanation of tfxai", "allow_pickle"):
        tfxai.load(path)
    hidden = explained(inputs(2, 3)).save(tmp_path / "hidden.npz")
    with np.load(hidden) as data:
        arrays = dict(data)
    np.savez(path, **{**arrays, "extra/x": np.array([Bomb()], dtype=object)})
    with raises(InputError, "bomb.npz", "no explanation of tfxai"):
        tfxai.load(path)
    assert ran == []


@pytest.fixture
def saved(tmp_path):
    return explained(inputs(2, 30, 30)).save(tmp_path / "map.npz")


@pytest.mark.parametrize("kept", [0, 10, 0.5, -1])
def test_a_truncated_file_is_named(kept, saved):
    data = saved.read_bytes()
    saved.write_bytes(data[: int(len(data) * kept) if kept == 0.5 else kept])
    with raises(InputError, "map.npz", "no explanation of tfxai", "Explanation.save"):
        tfxai.load(saved)


def test_a_damaged_file_is_named(saved):
    data = bytearray(saved.read_bytes())
    data[len(data) // 3] ^= 0xFF
    saved.write_bytes(data)
    with raises(InputError, "map.npz", "no explanation of tfxai"):
        tfxai.load(saved)


def test_what_is_no_explanation_is_named(tmp_path):
    with raises(MissingFileError, "none.npz", "an .npz of tfxai") as caught:
        tfxai.load(tmp_path / "none.npz")
    assert isinstance(caught.value, FileNotFoundError)
    np.savez(tmp_path / "other.npz", a=inputs(2))
    with raises(InputError, "other.npz", "no explanation of tfxai", "'meta'"):
        tfxai.load(tmp_path / "other.npz")
    newer = {"format": "tfxai-explanation/99", "method": "x", "extra": {}}
    np.savez(tmp_path / "newer.npz", meta=np.array(json.dumps(newer)))
    with raises(InputError, "newer.npz", "tfxai-explanation/1"):
        tfxai.load(tmp_path / "newer.npz")
    (tmp_path / "text.npz").write_text("hello")
    with raises(InputError, "text.npz", "no explanation of tfxai"):
        tfxai.load(tmp_path / "text.npz")
    with raises(MissingFileError, "holds no recipe.json", "tfxai run wrote"):
        tfxai.load(tmp_path)


def test_an_array_file_is_no_explanation(tmp_path):
    np.save(tmp_path / "array.npy", inputs(2, 3))
    with raises(InputError, "array.npy", "no explanation of tfxai"):
        tfxai.load(tmp_path / "array.npy")


@pytest.mark.parametrize("name", ["map.txt", "map", "map.npy", "map.npz.gz"])
def test_a_wrong_suffix_is_named(name, tmp_path):
    with raises(OptionError, name, "ends in .npz"):
        explained(inputs(2, 3)).save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_nothing_half_written_is_left_when_saving_fails(error, saved, monkeypatch):
    old = saved.read_bytes()

    def half(path, **arrays):
        path.write_bytes(b"PK half")
        raise error

    monkeypatch.setattr(explanation.np, "savez_compressed", half)
    with pytest.raises(type(error)):
        explained(inputs(2, 3)).save(saved)
    assert [p.name for p in saved.parent.iterdir()] == ["map.npz"]
    assert saved.read_bytes() == old
    with pytest.raises(type(error)):
        explained(inputs(2, 3)).save(saved.parent / "new.npz")
    assert [p.name for p in saved.parent.iterdir()] == ["map.npz"]


def test_saving_again_replaces_the_file(saved):
    explained(np.ones((2, 5), "float32")).save(saved)
    np.testing.assert_array_equal(tfxai.load(saved).relevance, np.ones((2, 5)))
    assert [p.name for p in saved.parent.iterdir()] == ["map.npz"]


# -- reading an explanation ----------------------------------------------------------

MAP = np.array([[[3.0, -4.0, 0.0], [1.0, 1.0, -5.0]]], "float32")  # (1, 2, 3)
REDUCED = {
    "sum": [-1, -3],
    "mean": [-1 / 3, -1],
    "abs_sum": [7, 7],
    "abs_mean": [7 / 3, 7 / 3],
    "abs_max": [4, 5],
    "norm": [5, 27**0.5],
}


@pytest.mark.parametrize("reduce", explanation.REDUCTIONS)
def test_a_heatmap_reduces_the_channels(reduce):
    image = np.stack([MAP, 2 * MAP])  # (B, H, W, C) = (2, 1, 2, 3)
    e = explained(image)
    wanted = np.array([[REDUCED[reduce]]]) * [[[1]], [[2]]]
    np.testing.assert_allclose(e.heatmap(reduce), wanted, rtol=1e-6)
    several = explained(image[:, None], target=[[0], [1]])  # (B, T, H, W, C)
    np.testing.assert_allclose(several.heatmap(reduce), wanted[:, None], rtol=1e-6)
    both = explained([image, -3 * image])
    wanted = -3 * wanted if reduce in ("sum", "mean") else 3 * wanted
    np.testing.assert_allclose(both.heatmap(reduce, which=1), wanted, rtol=1e-6)


def test_a_heatmap_of_features_is_the_map_itself():
    table = inputs(2, 5)
    np.testing.assert_array_equal(explained(table).heatmap("norm"), table)
    several = explained(inputs(2, 3, 5), target=[[0, 1, 2]] * 2)
    np.testing.assert_array_equal(several.heatmap(), inputs(2, 3, 5))


def test_the_default_heatmap_keeps_the_total():
    e = explained(inputs(2, 4, 4, 3))
    np.testing.assert_allclose(
        e.heatmap().sum((1, 2)), e.relevance.sum((1, 2, 3)), rtol=1e-5
    )


def test_an_unknown_reduction_is_named():
    with raises(OptionError, "reduce='max'", "'abs_max'", "'sum'"):
        explained(inputs(2, 4, 4, 3)).heatmap("max")


def test_an_explanation_is_an_array():
    r = inputs(2, 3)
    e = explained(r)
    np.testing.assert_array_equal(np.asarray(e), r)
    assert np.asarray(e).dtype == np.float32
    np.testing.assert_array_equal(np.asarray(e, "float64"), r.astype("float64"))
    copied = np.array(e)
    copied[:] = 9
    np.testing.assert_array_equal(e.relevance, inputs(2, 3))
    np.testing.assert_allclose(np.abs(e).sum(), np.abs(r).sum(), rtol=1e-6)


def test_several_maps_are_not_one_array():
    e = explained([inputs(2, 3), inputs(2, 4)])
    with raises(InputError, "2 relevance arrays", "explanation.relevance[0]"):
        np.asarray(e)


def test_an_explanation_cannot_be_changed_by_accident():
    with pytest.raises(AttributeError):
        explained(inputs(2, 3)).method = "other"
