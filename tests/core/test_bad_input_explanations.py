"""Explanations that are saved, loaded and reduced, and files that are none."""

import json

import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tests.core import bad_inputs
from tests.core.bad_inputs import inputs, raises
from tfxai.core import explanation
from tfxai.errors import InputError, MissingFileError, OptionError

#: A fixture of this file, made anew for it.
model = bad_inputs.model

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
    with raises(InputError, "bomb.npz", "not an explanation of tfxai", "allow_pickle"):
        tfxai.load(path)
    hidden = explained(inputs(2, 3)).save(tmp_path / "hidden.npz")
    with np.load(hidden) as data:
        arrays = dict(data)
    np.savez(path, **{**arrays, "extra/x": np.array([Bomb()], dtype=object)})
    with raises(InputError, "bomb.npz", "not an explanation of tfxai"):
        tfxai.load(path)
    assert ran == []


@pytest.fixture
def saved(tmp_path):
    return explained(inputs(2, 30, 30)).save(tmp_path / "map.npz")


@pytest.mark.parametrize("kept", [0, 10, 0.5, -1])
def test_a_truncated_file_is_named(kept, saved):
    data = saved.read_bytes()
    saved.write_bytes(data[: int(len(data) * kept) if kept == 0.5 else kept])
    with raises(
        InputError, "map.npz", "not an explanation of tfxai", "Explanation.save"
    ):
        tfxai.load(saved)


def test_a_damaged_file_is_named(saved):
    data = bytearray(saved.read_bytes())
    data[len(data) // 3] ^= 0xFF
    saved.write_bytes(data)
    with raises(InputError, "map.npz", "not an explanation of tfxai"):
        tfxai.load(saved)


def test_what_is_no_explanation_is_named(tmp_path):
    with raises(MissingFileError, "none.npz", "an .npz of tfxai") as caught:
        tfxai.load(tmp_path / "none.npz")
    assert isinstance(caught.value, FileNotFoundError)
    np.savez(tmp_path / "other.npz", a=inputs(2))
    with raises(InputError, "other.npz", "not an explanation of tfxai", "'meta'"):
        tfxai.load(tmp_path / "other.npz")
    newer = {"format": "tfxai-explanation/99", "method": "x", "extra": {}}
    np.savez(tmp_path / "newer.npz", meta=np.array(json.dumps(newer)))
    with raises(InputError, "newer.npz", "tfxai-explanation/1"):
        tfxai.load(tmp_path / "newer.npz")
    (tmp_path / "text.npz").write_text("hello")
    with raises(InputError, "text.npz", "not an explanation of tfxai"):
        tfxai.load(tmp_path / "text.npz")
    with raises(MissingFileError, "holds no recipe.json", "tfxai run wrote"):
        tfxai.load(tmp_path)


def test_an_array_file_is_no_explanation(tmp_path):
    np.save(tmp_path / "array.npy", inputs(2, 3))
    with raises(InputError, "array.npy", "not an explanation of tfxai"):
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
