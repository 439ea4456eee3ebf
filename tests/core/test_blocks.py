"""Attention in blocks of query rows, of passes that recompute: the same maps."""

import keras
import numpy as np
import pytest
from keras import layers as L

import tfxai
from tests import zoo
from tests.core.test_recompute import LENGTH, decoder, padded, program_of
from tfxai.core import memory
from tfxai.graph import blocks

#: Bytes of a block: five rows of two heads, so that the first block is smaller.
SMALL = 2 * 4 * LENGTH * 5


@pytest.fixture(scope="module")
def wrapped():
    return tfxai.wrap(zoo.fill(decoder(1)))


@pytest.fixture(scope="module")
def x():
    return padded()


@pytest.fixture
def small(wrapped, x, monkeypatch):
    """Blocks of five rows."""
    program = program_of(wrapped, x)
    program.__dict__.pop("blocked", None)
    monkeypatch.setattr(blocks, "BLOCK", SMALL)
    yield program
    program.__dict__.pop("blocked", None)


def blocked(wrapped, x):
    """The steps of a model that are computed in blocks."""
    program = program_of(wrapped, x)
    return [s for s in program.in_blocks().steps if isinstance(s, blocks.Blocked)]


@pytest.mark.parametrize("method", ["lrp.attn", "input_t_gradient"])
def test_maps_are_those_of_all_rows_at_once(wrapped, x, small, method):
    (step,) = blocked(wrapped, x)
    assert (step.rows, step.block) == (LENGTH, 5)
    plain = tfxai.create_analyzer(method, wrapped)
    again = tfxai.create_analyzer(method, wrapped, recompute=True)
    for target in ((12, 3), [[(12, 3), (9, 2)]] * 2):
        e, other = (a.analyze(x, target=target) for a in (plain, again))
        size = np.abs(e["token_ids"].relevance).max()
        np.testing.assert_allclose(
            other["token_ids"].relevance, e["token_ids"].relevance, atol=1e-6 * size
        )
        np.testing.assert_allclose(other.score, e.score, rtol=1e-6)


def test_what_is_read_elsewhere_stays_whole(wrapped, x, small):
    softmax = next(s for s in small.steps if s.kind == "softmax")
    assert small.in_blocks(softmax.output) is small
    analyzer = tfxai.create_analyzer("lrp.attn", wrapped, recompute=True)
    e = analyzer.relevance_at(softmax.name, x, (12, 3))
    assert e.relevance.shape == (2, 2, LENGTH, LENGTH)
    wanted = tfxai.create_analyzer("lrp.attn", wrapped)
    wanted = wanted.relevance_at(softmax.name, x, (12, 3)).relevance
    size = np.abs(wanted).max()
    np.testing.assert_allclose(e.relevance, wanted, atol=1e-6 * size)


def test_queries_that_read_each_other_stay_whole(monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK", SMALL)
    i = keras.Input((LENGTH, 4))
    pairs = keras.ops.matmul(i, keras.ops.swapaxes(L.Dense(4)(i), 1, 2))
    weights = keras.ops.softmax(pairs, 1)  # over the queries
    y = L.Flatten()(keras.ops.matmul(weights, L.Dense(4)(i)))
    wrapped = tfxai.wrap(zoo.fill(keras.Model(i, L.Dense(2)(y))))
    assert not blocked(wrapped, np.zeros((1, LENGTH, 4), "float32"))


def test_the_warning_knows_of_blocks(wrapped, x, small, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK", SMALL // 5)
    fewer = memory.needed(small, 1, 1, True)
    (step,) = blocked(wrapped, x)
    every = sum(4 * np.prod(s.shape) for s in step.inner[:-1])
    assert step.work == every // LENGTH
    small.__dict__.pop("blocked")
    monkeypatch.undo()
    assert not blocked(wrapped, x) and fewer < memory.needed(small, 1, 1, True)
