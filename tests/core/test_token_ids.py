"""Token ids outside the vocabulary, and masked arrays."""

import keras
import numpy as np
import pytest

import tfxai
from tests.core.bad_inputs import raises
from tfxai.errors import InputError

SIZE, LENGTH = 20, 6
GOOD = np.arange(12).reshape(2, 6) % SIZE


def tokens(kind="layer", dtype="int32"):
    """A model that looks token ids up."""
    x = keras.Input((LENGTH,), dtype=dtype)
    shifted = x + 1 if kind == "shifted" else x
    v = keras.layers.Embedding(SIZE, 4)(shifted)
    if kind == "two":
        v = keras.layers.Concatenate()([v, keras.layers.Embedding(15, 3)(x)])
    v = keras.layers.GlobalAveragePooling1D()(v)
    return keras.Model(x, keras.layers.Dense(3, "softmax")(v))


def bad(token):
    x = GOOD.copy()
    x[1, 3] = token
    return x


@pytest.mark.parametrize("method", ["gradient", "lrp.epsilon", "occlusion", "deeplift"])
@pytest.mark.parametrize("token", [SIZE, -1, 10**6])
@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_an_id_outside_the_vocabulary_is_named(method, token, dtype):
    analyzer = tfxai.create_analyzer(method, tokens(dtype=dtype))
    with raises(InputError, f"token id {token}, at index [1, 3]", "from 0 to 19"):
        analyzer.analyze(bad(token))
    assert np.isfinite(analyzer.analyze(bad(SIZE - 1)).relevance).all()


def test_the_smallest_of_several_vocabularies_counts():
    with raises(InputError, "token id 15, at index [1, 3]", "from 0 to 14"):
        tfxai.explain(tokens("two"), bad(15), "gradient")


def test_an_id_that_preprocess_makes_is_named():
    with raises(InputError, f"token id {SIZE}", "from 0 to 19"):
        tfxai.explain(tokens(), bad(SIZE - 1), "gradient", preprocess=lambda x: x + 1)


def test_ids_are_checked_under_xla():
    analyzer = tfxai.create_analyzer("gradient", tokens(), jit_compile=True)
    with raises(InputError, "token id 25", "from 0 to 19"):
        analyzer.analyze(bad(25))


def test_an_id_that_the_model_changes_before_the_lookup_is_an_input_error():
    wrapped = tfxai.wrap(tokens("shifted"))
    with raises(InputError, f"token id {SIZE}", "from 0 to 19"):
        wrapped.logits(np.full((1, LENGTH), SIZE - 1))


def test_an_id_outside_the_vocabulary_of_a_saved_model(tmp_path):
    model = tokens()
    model.export(tmp_path / "served", verbose=False)
    import tensorflow as tf

    wrapped = tfxai.wrap(tf.saved_model.load(str(tmp_path / "served")))
    with raises(InputError, "token id 99, at index [1, 3]", "from 0 to 19"):
        wrapped.logits(bad(99).astype("int32"))


@pytest.mark.parametrize("token", [-3, SIZE])
@pytest.mark.parametrize("name", ["occlusion", "kernel_shap", "lime"])
def test_an_id_outside_the_vocabulary_as_a_baseline(name, token):
    """Keras counts a negative id from the end."""
    model, few = tokens(), {"n_samples": 40} if name == "lime" else {}
    with raises(InputError, f"baseline holds the token id {token}", "baseline=0"):
        tfxai.explain(model, GOOD, name, 0, baseline=token, **few)
    assert tfxai.explain(model, GOOD, name, 0, baseline=0, **few).relevance.any()


def test_an_id_outside_the_vocabulary_in_a_background():
    with raises(InputError, f"background holds the token id {SIZE}", "x_train"):
        tfxai.explain(tokens(), GOOD, "kernel_shap", 0, background=bad(SIZE))


@pytest.mark.parametrize("option", ["low", "high"])
def test_an_option_does_not_lose_its_mask(option):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    bounds = {"low": np.zeros(3), "high": np.ones(3)}
    bounds[option] = np.ma.array(bounds[option], mask=[0, 1, 0])
    with raises(InputError, f"{option} is a masked array", f"{option}.filled(0)"):
        tfxai.create_analyzer("lrp", model, **bounds)


def test_a_masked_array_does_not_lose_its_mask():
    x = np.ma.masked_greater(np.float32([[1, 2, 9]]), 5)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    with raises(InputError, "1 of its 3 numbers", "x.filled(0)"):
        tfxai.explain(model, x, "gradient")
    with raises(InputError, "baseline is a masked array", "baseline.filled(0)"):
        tfxai.explain(model, x.filled(0), "integrated_gradients", baseline=x[0])
    e = tfxai.explain(model, x.filled(0), "gradient")
    unmasked = np.ma.array(x.filled(0), mask=False)
    assert (tfxai.explain(model, unmasked, "gradient").relevance == e.relevance).all()


def test_masks_in_lists_and_in_targets_are_not_lost():
    x = np.ma.masked_greater(np.float32([[1, 2, 9], [1, 2, 3]]), 5)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    with raises(InputError, "x[0] is a masked array", "x[0].filled(0)"):
        tfxai.explain(model, [x[0], x[1]], "gradient")
    plain = x.filled(0)
    with raises(InputError, "target is a masked array", "target.filled(0)"):
        tfxai.explain(model, plain, target=np.ma.array([0, 1], mask=[0, 1]))
    weights = np.ma.array([[1.0, 2.0], [3.0, 4.0]], mask=[[0, 0], [0, 1]])
    with raises(InputError, "target is a masked array", "1 of its 4 numbers"):
        tfxai.explain(model, plain, target=weights)
    with raises(InputError, "mask is a masked array", "mask.filled(0)"):
        tfxai.targets.masked_sum(weights)
    e = tfxai.explain(model, plain, "gradient", weights.filled(0))
    wanted = (model.predict(plain, verbose=0) * [[1, 2], [3, 0]]).sum(-1)
    np.testing.assert_allclose(e.score, wanted, rtol=1e-5)


@pytest.mark.parametrize(
    ("x", "seen", "write", "values"),
    [
        (GOOD + 0.25, "x holds 0.25", "np.rint(x)", np.rint),
        (GOOD / 12, "x holds 0.0833", "255 * x", None),
        (GOOD + 2**40, "x holds 1.09951e+12", "keras.Input is float32", None),
    ],
)
def test_numbers_that_are_no_ids_are_an_error_with_a_cure(x, seen, write, values):
    model = tokens()
    with raises(InputError, seen, write) as caught:
        tfxai.explain(model, x, "gradient")
    if write != "255 * x":
        assert "255" not in str(caught.value)
    if values is not None:
        found = tfxai.explain(model, values(x), "gradient", 0)
        np.testing.assert_array_equal(
            found.score, tfxai.explain(model, GOOD, "gradient", 0).score
        )
