"""A dict of arrays goes by the names of the inputs, whatever their order."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tfxai.errors import InputError

L = keras.layers
X = {"width": np.float32([[2.0], [4.0]]), "height": np.float32([[3.0], [5.0]])}


def model(order, as_dict=False):
    """Width and ten heights, its inputs in some order."""
    inputs = {n: keras.Input((1,), name=n) for n in order}
    both = L.Concatenate()([inputs["width"], inputs["height"]])
    y = L.Dense(1, use_bias=False, name="sum")(both)
    made = keras.Model(inputs if as_dict else list(inputs.values()), y)
    made.get_layer("sum").kernel.assign([[1.0], [10.0]])
    return made


@pytest.mark.parametrize("as_dict", [False, True])
@pytest.mark.parametrize("order", [("width", "height"), ("height", "width")])
@pytest.mark.parametrize("method", ["lrp.z", "input_t_gradient"])
def test_a_dict_goes_by_name(method, order, as_dict):
    named = model(order, as_dict)
    e = tfxai.explain(named, X, method, target=0)
    np.testing.assert_allclose(e.score, [32, 54])
    np.testing.assert_allclose(tfxai.wrap(named).logits(X)[:, 0], [32, 54])
    names = sorted(order) if as_dict else order
    wanted = {"width": [[2], [4]], "height": [[30], [50]]}
    for name, found in zip(names, keras.tree.flatten(e.relevance), strict=True):
        np.testing.assert_allclose(found, wanted[name])


def test_batches_of_dicts_and_what_else_they_hold():
    batches = tf.data.Dataset.from_tensor_slices({**X, "label": [0, 1]}).batch(1)
    e = tfxai.explain(model(("width", "height")), batches, "lrp.z", target=0)
    np.testing.assert_allclose(e.score, [32, 54])


def test_one_input_by_name():
    i = keras.Input((2,), name="all")
    one = keras.Model(i, L.Dense(1, use_bias=False, kernel_initializer="ones")(i))
    e = tfxai.explain(one, {"all": np.float32([[1, 2]])}, "lrp.z", target=0)
    np.testing.assert_allclose(e.relevance, [[1, 2]])


def test_a_name_that_is_missing():
    x = {"width": X["width"], "depth": X["height"]}
    with pytest.raises(InputError) as error:
        tfxai.explain(model(("width", "height")), x, "lrp.z", target=0)
    for names in ("['depth', 'width']", "['width', 'height']"):
        assert names in str(error.value)
