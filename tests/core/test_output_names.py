"""Outputs of a model by name: the key in a dict, the name of a layer or a signature."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as L

import tfxai
from tfxai.errors import OptionError

X = np.array([[1.0, -2.0, 3.0]], "float32")


@pytest.fixture(scope="module")
def parts():
    i = keras.Input((3,))
    sex = L.Dense(2, name="sex_head", bias_initializer="ones")(i)
    return i, sex, L.Dense(1, name="age_head")(i)


def gradient(model, output, target=0):
    return tfxai.explain(model, X, "gradient", target, output=output).relevance[0]


def kernel(tensor, column=0):
    return tensor._keras_history.operation.kernel.numpy()[:, column]


def test_outputs_of_a_dict_by_key_or_layer(parts):
    i, sex, age = parts
    model = keras.Model(i, {"sex": sex, "age": age})
    for name in ("sex", "sex_head"):
        np.testing.assert_allclose(gradient(model, name, 1), kernel(sex, 1))
    np.testing.assert_allclose(gradient(model, "age"), kernel(age))


def test_outputs_of_a_list_keep_its_order(parts):
    i, sex, age = parts
    model = keras.Model(i, [sex, age])
    np.testing.assert_allclose(gradient(model, "age_head"), kernel(age))
    np.testing.assert_allclose(gradient(model, "sex_head"), kernel(sex))
    np.testing.assert_allclose(gradient(model, 1), kernel(age))


def test_an_unknown_name_lists_the_names(parts):
    i, sex, age = parts
    model = keras.Model(i, {"sex": sex, "age": age})
    with pytest.raises(OptionError, match=r"'sx'.*\n.*\['age', 'sex'\](.*\n)*.*'age'"):
        tfxai.wrap(model, output="sx")


def test_outputs_of_a_saved_model(parts, tmp_path):
    i, sex, age = parts
    model = keras.Model(i, {"sex": sex, "age": age})
    model.export(tmp_path / "net", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "net"))
    np.testing.assert_allclose(gradient(loaded, "sex", 1), kernel(sex, 1), rtol=1e-6)


def test_a_callable_has_one_output():
    def predict(x):
        return [x, x[:, :1]]

    with pytest.raises(OptionError, match="have no names"):
        tfxai.wrap(predict, output="sex")
    with pytest.raises(OptionError, match=r"lambda x: model\(x\)\[1\]"):
        tfxai.wrap(predict, output=1)
