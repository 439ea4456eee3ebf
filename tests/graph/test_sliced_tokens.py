"""Lookups of parts of the tokens: the relevance of every token, as of one lookup."""

import keras
import numpy as np
import pytest
from keras import layers as L
from keras import ops

import tfxai
from tests import zoo

IDS = np.array([[3, 1, 4, 1, 5], [2, 6, 0, 5, 3]], "int32")


def network(parts):
    """Logits of token ids, looked up as a whole or first and rest apart."""
    ids = keras.Input((None,), dtype="int32")
    table = L.Embedding(7, 4)
    x = table(ids)
    if parts:
        x = ops.concatenate([table(ids[:, :1]), table(ids[:, 1:])], 1)
    x = L.Conv1D(5, 2, activation="tanh")(x)
    return zoo.fill(keras.Model(ids, L.Dense(3)(ops.sum(x, 1))))


@pytest.mark.parametrize("method", ["input_t_gradient", "lrp.epsilon"])
def test_tokens_that_are_looked_up_in_parts_have_relevance(method):
    one, two = (tfxai.explain(network(p), IDS, method, 1) for p in (False, True))
    assert two.relevance.shape == IDS.shape and np.abs(two.relevance).min() > 0
    np.testing.assert_allclose(two.score, one.score, rtol=1e-5)
    np.testing.assert_allclose(two.relevance, one.relevance, rtol=1e-4, atol=1e-6)
