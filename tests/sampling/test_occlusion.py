"""Occlusion against a loop over windows."""

import keras
import numpy as np
import pytest

import tfxai
from tests import zoo
from tfxai.errors import InputError, OptionError

L = keras.layers


@pytest.fixture(scope="module")
def model():
    x = keras.Input((7, 6, 2))
    y = L.Conv2D(4, 3, activation="relu")(x)
    return zoo.fill(keras.Model(x, L.Dense(3)(L.Flatten()(y))))


def images(count=2):
    rng = np.random.default_rng(1)
    return rng.uniform(-1, 1, (count, 7, 6, 2)).astype("float32")


def by_hand(f, x, window, stride, cover, target):
    """f_t(x) - f_t(covered), averaged over the windows that cover a value."""
    total, times = np.zeros(x.shape), np.zeros(x.shape)
    shape = x.shape[1:]
    counts = [
        1 + int(np.ceil(max(n - w, 0) / s))
        for n, w, s in zip(shape, window, stride, strict=True)
    ]
    plain = f(x)[:, target]
    for place in np.ndindex(*counts):
        box = tuple(
            slice(p * s, p * s + w)
            for p, s, w in zip(place, stride, window, strict=True)
        )
        covered = x.copy()
        covered[(slice(None), *box)] = cover
        loss = plain - f(covered)[:, target]
        total[(slice(None), *box)] += loss.reshape(-1, *[1] * len(shape))
        times[(slice(None), *box)] += 1
    return np.divide(total, times, out=np.zeros(x.shape), where=times > 0)


@pytest.mark.parametrize(
    "window, stride",
    [
        ((3, 3, 2), (2, 2, 2)),
        ((4, 2, 1), (3, 1, 1)),
        ((7, 6, 2), (1, 1, 1)),
        ((2, 2, 2), (3, 3, 2)),
    ],
)
@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_windows_are_a_loop(model, window, stride, batch_size):
    x = images()
    wanted = by_hand(lambda v: model(v).numpy(), x, window, stride, 0.25, 1)
    analyzer = tfxai.create_analyzer(
        "occlusion", model, window=window, stride=stride, baseline=0.25
    )
    ours = analyzer.analyze(x, 1, batch_size).relevance
    assert ours.shape[-1] == (1 if window[2] == 2 else 2)
    np.testing.assert_allclose(
        np.broadcast_to(ours, wanted.shape), wanted, rtol=1e-4, atol=1e-6
    )


def test_a_callable_is_asked_as_a_model_is(model):
    x = images()
    ours, batch_sizes = tfxai.explain(model, x, "occlusion", [[0, 2]] * 2, window=3), []

    def predict(batch):
        batch_sizes.append(len(batch))
        return model(batch).numpy()

    box = tfxai.explain(predict, x, "occlusion", [[0, 2]] * 2, window=3, batch_size=8)
    np.testing.assert_allclose(box.relevance, ours.relevance, atol=1e-6)
    np.testing.assert_allclose(box.score, ours.score, rtol=1e-5)
    assert max(batch_sizes) <= 8


def test_the_answer_of_a_function(model):
    x = images()
    e = tfxai.explain(model, x, "occlusion", lambda y: y[:, 0] - y[:, 1], window=2)
    both = tfxai.explain(model, x, "occlusion", [[0, 1]] * 2, window=2).relevance
    np.testing.assert_allclose(e.relevance, both[:, 0] - both[:, 1], atol=1e-5)


def test_columns_one_at_a_time():
    x = keras.Input((5,))
    table = zoo.fill(keras.Model(x, L.Dense(2)(L.Dense(4, "relu")(x))))
    rows = np.random.default_rng(0).normal(size=(3, 5)).astype("float32")
    e = tfxai.explain(table, rows, "occlusion", 0, baseline=rows.mean(0))
    for j in range(5):
        without = rows.copy()
        without[:, j] = rows.mean(0)[j]
        loss = (table(rows) - table(without)).numpy()[:, 0]
        np.testing.assert_allclose(e.relevance[:, j], loss, atol=1e-6)


def test_tokens_one_at_a_time():
    x = keras.Input((4,), dtype="int32")
    y = L.GlobalAveragePooling1D()(L.Embedding(9, 3)(x))
    model = zoo.fill(keras.Model(x, L.Dense(2)(y)))
    words = np.array([[1, 2, 3, 4], [5, 5, 0, 8]])
    e = tfxai.explain(model, words, "occlusion", 1, baseline=7)
    for j in range(4):
        without = words.copy()
        without[:, j] = 7
        loss = (model(words) - model(without)).numpy()[:, 1]
        np.testing.assert_allclose(e.relevance[:, j], loss, atol=1e-6)


def test_segments_are_covered_as_a_whole(model):
    x = images()
    segments = np.add.outer(np.arange(7) // 3, np.arange(6) // 3)[..., None]
    e = tfxai.explain(model, x, "occlusion", 1, segments=segments)
    for number in np.unique(segments):
        here = np.broadcast_to(segments == number, x.shape)
        loss = (model(x) - model(np.where(here, 0, x))).numpy()[:, 1]
        wanted = np.broadcast_to(loss[:, None, None, None], x.shape)
        np.testing.assert_allclose(e.relevance[here], wanted[here], atol=1e-6)


@pytest.mark.parametrize(
    "options, error, seen",
    [
        ({"window": 0}, OptionError, "window=0"),
        ({"window": (2, 2, 2, 2)}, OptionError, "window=(2, 2, 2, 2)"),
        ({"stride": -1}, OptionError, "stride=-1"),
        ({"window": 2, "segments": np.zeros((7, 6, 2), int)}, OptionError, "both"),
        ({"segments": np.zeros((3, 3), int)}, InputError, "(3, 3)"),
        ({"segments": np.zeros((7, 6, 2))}, InputError, "float64"),
    ],
)
def test_a_wrong_option_is_named(model, options, error, seen):
    with pytest.raises(error) as caught:
        tfxai.explain(model, images(), "occlusion", 0, **options)
    assert seen in caught.value.seen
