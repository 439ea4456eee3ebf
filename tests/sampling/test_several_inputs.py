"""Callables of several inputs: tuples, lists and dicts of any dtype."""

import numpy as np
import pytest

import tfxai
from tfxai.errors import InputError

RNG = np.random.default_rng(0)
IMAGE, TABLE = RNG.random((2, 4, 4, 1)), RNG.random((2, 3))
OPTIONS = {"window": 1, "baseline": 0}


def both(inputs):
    """mean(image) t0 + t1, (B, 1)."""
    image, table = inputs
    return image.mean((1, 2)) * table[:, :1] + table[:, 1:2]


def named(inputs):
    assert list(inputs) == ["image", "table"]
    return both(inputs.values())


def wanted():
    """What covering one pixel, or one column, by 0 takes away."""
    mean = IMAGE.mean((1, 2))
    columns = [mean * TABLE[:, :1], TABLE[:, 1:2], 0 * mean]
    return IMAGE / 16 * TABLE[:, :1, None, None], np.concatenate(columns, 1)


@pytest.mark.parametrize("kind", [tuple, list])
def test_a_tuple_or_a_list_of_arrays(kind):
    e = tfxai.explain(both, kind([IMAGE, TABLE]), "occlusion", 0, **OPTIONS)
    for found, known in zip(e.relevance, wanted(), strict=True):
        np.testing.assert_allclose(found, known, atol=1e-7)
    np.testing.assert_allclose(e.score, both((IMAGE, TABLE))[:, 0])


def test_a_dict_arrives_as_a_dict_in_any_order():
    analyzer = tfxai.create_analyzer("occlusion", named, **OPTIONS)
    for x in ({"image": IMAGE, "table": TABLE}, {"table": TABLE, "image": IMAGE}):
        e = analyzer.analyze(x, 0, batch_size=1)
        assert e.input_names == ["image", "table"]
        for name, known in zip(e.input_names, wanted(), strict=True):
            np.testing.assert_allclose(e[name].relevance, known, atol=1e-7)


def test_two_inputs_of_one_shape_are_a_tuple():
    e = tfxai.explain(
        lambda v: v[0][:, :1] * v[1][:, :1], (TABLE, 2 * TABLE), "occlusion", 0,
        **OPTIONS,
    )  # fmt: skip
    assert len(e.relevance) == 2
    np.testing.assert_allclose(e.relevance[0][:, 0], 2 * TABLE[:, 0] ** 2, rtol=1e-6)
    batch = tfxai.explain(lambda v: v[:, :1], [*TABLE], "occlusion", 0, **OPTIONS)
    np.testing.assert_allclose(batch.relevance[:, 0], TABLE[:, 0], rtol=1e-6)


def test_text_beside_numbers_and_work_in_place():
    words = np.array([["red", "a"], ["blue", "b"]])

    def f(inputs):
        word, table = inputs["word"], inputs["table"]
        assert word.dtype.kind == "U" and table.dtype == np.float64
        y = (word[:, :1] == "red") * table[:, :1]
        table[:], word[:] = -1, "z"
        return y

    x = {"word": words, "table": TABLE.copy()}
    e = tfxai.explain(f, x, "occlusion", 0, window=1, baseline=["", 0])
    known = np.array([[TABLE[0, 0], 0], [0, 0]])
    np.testing.assert_allclose(e["word"].relevance, known, rtol=1e-6)
    np.testing.assert_array_equal(x["table"], TABLE)
    np.testing.assert_array_equal(x["word"], [["red", "a"], ["blue", "b"]])


def test_inputs_of_different_batches_are_refused():
    with pytest.raises(InputError, match=r"batches of \[2, 1\]"):
        tfxai.explain(both, (IMAGE, TABLE[:1]), "occlusion", 0)
