"""LIME against stored references, scikit-learn, and networks with known results."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
import skimage.data

import tfxai
from tests import zoo
from tests.conftest import SHARED, shared_path
from tfxai.base.cache import Cache
from tfxai.errors import (
    InputError,
    LowFidelityWarning,
    ModelError,
    OptionError,
)
from tfxai.sampling import lime as module
from tfxai.sampling import segments as cutting
from tfxai.sampling.covers import resolve_baseline
from tfxai.sampling.lime import SEED
from tfxai.sampling.regression import fit_linear_model, proximity
from tfxai.sampling.sp_lime import sp_lime
from tfxai.viz.superpixels import best_segments

L = keras.layers
FOLDER = "references/sampling"
SELECTIONS = {
    "lasso_path": "k_lasso",
    "highest_weights": "highest_weights",
    "forward_selection": "forward",
}


def cases():
    found = sorted((SHARED / FOLDER).glob("lime_*.json")) or [SHARED / "absent.json"]
    return [f.stem for f in found]


def stored(name):
    folder = shared_path(FOLDER)
    facts = json.loads((folder / f"{name}.json").read_text())
    return facts, dict(np.load(folder / f"{name}.npz"))


# -- the stored cases ----------------------------------------------------------------


@pytest.mark.shared
@pytest.mark.parametrize("name", cases())
def test_regressions_of_the_stored_answers(name):
    facts, arrays = stored(name)
    masks = arrays["perturbations"].astype(bool)
    y = arrays["predictions"][:, facts["target_class"]]
    weights = proximity(masks, "cosine", facts["kernel_width"])
    np.testing.assert_allclose(weights, arrays["weights"], atol=1e-12)
    for regressor, known in (("linear", "linear"), ("ridge", "ridge1")):
        fit = fit_linear_model(masks, y, weights, regressor)
        np.testing.assert_allclose(fit.coefficients, arrays[f"coef_{known}"], atol=1e-8)
        assert fit.intercept == pytest.approx(facts[f"intercept_{known}"], abs=1e-8)
        assert fit.score == pytest.approx(facts[f"score_{known}"], abs=1e-8)
    for count, ways in facts["selection"].items():
        for way, known in ways.items():
            fit = fit_linear_model(
                masks, y, weights, "ridge", SELECTIONS[way], int(count)
            )
            assert fit.selected.tolist() == known["features"]
            np.testing.assert_allclose(
                fit.coefficients[fit.selected], known["coef_ridge1"], atol=1e-8
            )
            assert fit.intercept == pytest.approx(known["intercept"], abs=1e-8)
            assert fit.score == pytest.approx(known["score"], abs=1e-8)


@pytest.mark.shared
@pytest.mark.parametrize("name", cases())
def test_the_stored_masks_asked_again(name, monkeypatch):
    facts, arrays = stored(name)
    model = keras.models.load_model(shared_path(FOLDER) / "models" / facts["model"])
    masks = arrays["perturbations"].astype(bool)
    monkeypatch.setattr(module, "bernoulli", lambda rng, count, d: masks)
    baseline = {"black": "black", "segment_mean": "mean"}[facts["fill"]]
    e = tfxai.explain(
        model, np.float32(arrays["image"])[None], "lime", facts["target_class"],
        segmenter=arrays["segments"].astype(int), n_samples=len(masks),
        baseline=baseline, scale="probability",
    )  # fmt: skip
    target = facts["target_class"]
    np.testing.assert_allclose(
        e.extra["predictions"][0], arrays["predictions"][:, target], atol=1e-5
    )
    np.testing.assert_allclose(
        e.extra["coefficients"][0], arrays["coef_linear"], atol=1e-5
    )
    np.testing.assert_allclose(
        e.relevance[0, ..., 0], arrays["coef_linear"][arrays["segments"]], atol=1e-5
    )
    assert e.extra["intercept"][0] == pytest.approx(facts["intercept_linear"], abs=1e-5)
    assert e.extra["fidelity"][0] == pytest.approx(facts["score_linear"], abs=1e-4)
    signs = best_segments(e.extra["coefficients"][0], e.extra["segments"][0], 4)
    np.testing.assert_array_equal(signs, arrays["top4_mask"])


@pytest.mark.shared
def test_the_stored_pick():
    facts, arrays = stored("splime_pick")
    pick = sp_lime(arrays["W"], facts["budget"])
    assert pick.picks == facts["picks"]
    wanted = [c["coverage"] for c in facts["coverage"]]
    np.testing.assert_allclose(pick.coverage, wanted, rtol=1e-9)
    np.testing.assert_allclose(pick.importance, arrays["importance"], rtol=1e-9)
    assert pick.total == pytest.approx(arrays["importance"].sum())


# -- networks with known results -----------------------------------------------------


def linear(shape, classes=2):
    """f = W x + b."""
    x = keras.Input(shape)
    return zoo.fill(keras.Model(x, L.Dense(classes)(L.Flatten()(x))))


FILLS = [0.25, "black", "array", "mean"]  # columns have no mean of their segment
LINES = [(s, f) for s in ((8, 6, 3), (12, 2)) for f in FILLS]
LINES += [((5,), f) for f in FILLS[:-1]]


@pytest.mark.parametrize("shape, fill", LINES)
def test_coefficients_of_a_line(shape, fill):
    """Each segment's sum of w (x - baseline), for any masks."""
    model = linear(shape)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, *shape)).astype("float32")
    value = rng.normal(size=shape).astype("float32") if fill == "array" else fill
    cells = {4: (2, 3), 3: (4,)}.get(x.ndim)
    options = {} if cells is None else {"segmenter": "grid"}
    if cells is not None:
        options["segmenter_options"] = {"cells": cells}
    e = tfxai.explain(
        model, x, "lime", [[0, 1]] * 2, n_samples=60, baseline=value, **options
    )
    w = model.layers[-1].kernel.numpy().reshape(*shape, 2)
    segments = e.extra["segments"]
    cover = resolve_baseline(value, x, segments)
    for b in range(2):
        for t in range(2):
            parts = w[..., t] * (x[b] - cover[b])
            parts = parts.sum(-1) if len(shape) > 1 else parts
            wanted = np.bincount(segments[b].ravel(), parts.ravel())
            coefficients = e.extra["coefficients"][b, t]
            np.testing.assert_allclose(coefficients, wanted, atol=1e-4)
            painted = e.relevance[b, t]
            painted = painted[..., 0] if len(shape) > 1 else painted
            np.testing.assert_allclose(painted, wanted[segments[b]], atol=1e-4)
    np.testing.assert_allclose(e.extra["fidelity"], 1, atol=1e-6)
    np.testing.assert_allclose(e.extra["predictions"][..., 0], e.score, atol=1e-5)


def test_tokens_by_their_number():
    x = keras.Input((5,), dtype="int32")
    y = L.Flatten()(L.Embedding(9, 2)(x))
    model = zoo.fill(keras.Model(x, L.Dense(2)(y)))
    data = np.array([[1, 2, 3, 4, 5], [8, 7, 6, 5, 4]], np.int32)
    e = tfxai.explain(model, data, "lime", 1, n_samples=80, baseline=0)
    for b, row in enumerate(data):
        for i in range(5):
            other = row.copy()
            other[i] = 0
            change = model(row[None]).numpy() - model(other[None]).numpy()
            assert e.relevance[b, i] == pytest.approx(change[0, 1], abs=1e-4)


def test_one_set_of_samples_serves_all_targets():
    batch_sizes = []

    def predict(batch):
        batch_sizes.append(len(batch))
        flat = batch.reshape(len(batch), -1)
        return np.stack([flat[:, i] for i in range(40)], 1)

    x = np.random.default_rng(0).normal(size=(1, 64)).astype("float32")
    e = tfxai.explain(
        predict, x, "lime", "all", n_samples=200, baseline=0, batch_size=16
    )
    assert sum(batch_sizes) == 200 + 2 and max(batch_sizes) <= 16
    np.testing.assert_allclose(e.relevance[0], np.eye(64)[:40] * x[0], atol=1e-4)


def test_batches_and_pictures_of_other_segments():
    model = linear((8, 8, 1))
    x = np.random.default_rng(0).normal(size=(3, 8, 8, 1)).astype("float32")
    segments = np.zeros((3, 8, 8), int)
    for b, cut in enumerate((2, 3, 5)):
        segments[b] = np.arange(8) * cut // 8
    analyzer = tfxai.create_analyzer("lime", model, segmenter=segments[:1])
    every = analyzer.analyze(x, 0)  # the segments of one image, for all
    assert (every.extra["segments"] == segments[0]).all()
    with pytest.raises(InputError, match="segmenter holds"):
        tfxai.explain(model, x, "lime", 0, segmenter=segments[:2])
    with pytest.raises(OptionError, match="segmenter is an array"):
        tfxai.explain(
            model, x, "lime", 0, segmenter=segments, segmenter_options={"cells": 2}
        )
    analyzer = tfxai.create_analyzer(
        "lime", model, baseline=0, n_samples=50, seed=3,
        segmenter=lambda v: np.arange(64).reshape(8, 8) // int(8 + 4 * abs(v[0, 0, 0])),
    )  # fmt: skip
    e = analyzer.analyze(x, 0)
    again = analyzer.analyze(x, 0, batch_size=1)
    np.testing.assert_allclose(e.relevance, again.relevance, atol=1e-5)
    np.testing.assert_array_equal(
        np.isnan(e.extra["coefficients"]), np.isnan(again.extra["coefficients"])
    )
    counts = e.extra["segments"].max((1, 2)) + 1
    assert len(set(counts)) > 1
    assert (np.isfinite(e.extra["coefficients"]).sum(-1) == counts).all()


@pytest.mark.parametrize("listed", [False, True])
def test_options_that_are_long_arrays_are_told_apart(listed):
    """The repr of an array with more than 1000 numbers leaves most of them out."""
    x = np.random.default_rng(0).uniform(size=(1, 40, 40, 3)).astype("float32")
    differs = []
    for column in (15, 25):
        markers = np.zeros((40, 40), int)
        markers[20, 5], markers[20, column] = 1, 2
        assert "..." in repr(markers)
        given = {"markers": markers, "compactness": 1e9}
        if listed:  # nested, and of another type
            given["markers"] = list(markers)
        for _ in range(2):  # computed, and cached
            found = cutting.segment_inputs(x, "watershed", given)[0][0]
            differs.append([found[20, 5] != found[20, at] for at in (12, 18)])
    assert np.array(differs).tolist() == [[True, True]] * 2 + [[False, True]] * 2


def test_threads_share_what_was_cut(monkeypatch):
    monkeypatch.setattr(cutting, "_CACHE", Cache(1))
    x = np.random.default_rng(0).normal(size=(3, 4, 4, 1)).astype("float32")

    def segment(number):
        cells = 2 + number % 3
        found, counts = cutting.segment_inputs(
            x[number % 3 :][:1], "grid", {"cells": cells}
        )
        return cells, int(counts[0]), found[0, 0].tolist()

    wanted = [segment(n) for n in range(3)]
    assert wanted[0] == (2, 4, [0, 0, 1, 1]) and wanted[2][:2] == (4, 16)
    pause = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(segment, range(3000)))
    finally:
        sys.setswitchinterval(pause)
    assert results == [wanted[n % 3] for n in range(3000)]
    assert len(cutting._CACHE) == 1


def test_selected_segments_alone_are_painted():
    model = linear((6, 6, 1))
    x = np.random.default_rng(0).normal(size=(1, 6, 6, 1)).astype("float32")
    given = {"segmenter": "grid", "segmenter_options": {"cells": 6}, "baseline": 0}
    full = tfxai.explain(model, x, "lime", 0, n_samples=300, **given)
    for way in ("k_lasso", "forward", "highest_weights"):
        e = tfxai.explain(
            model, x, "lime", 0, n_samples=300, n_features=4, feature_selection=way,
            **given,
        )  # fmt: skip
        chosen = np.flatnonzero(e.relevance)
        assert len(chosen) == 4
        largest = np.argsort(-np.abs(full.relevance.ravel()))
        assert set(chosen) <= set(largest[:8].tolist())


def test_a_lasso_and_a_ridge_shrink():
    model = linear((6,))
    x = np.random.default_rng(0).normal(size=(1, 6)).astype("float32")
    sizes = [
        np.abs(
            tfxai.explain(model, x, "lime", 0, regressor=r, baseline=0, n_samples=60)
            .relevance
        ).sum()
        for r in ("linear", "ridge", "lasso")
    ]  # fmt: skip
    assert sizes[1] < sizes[0] and sizes[2] < sizes[0]


def test_the_options_of_the_page():
    assert SEED["segmenter_options"] == {
        "kernel_size": 6,
        "max_dist": 200,
        "ratio": 0.2,
    }
    x = keras.Input((150, 226, 3))
    model = zoo.fill(keras.Model(x, L.Dense(3, "softmax")(L.Flatten()(x))))
    data = np.float32(skimage.data.chelsea()[None, ::2, ::2])
    e = tfxai.explain(model, data, "lime", preprocess=lambda v: v / 2550, **SEED)
    assert e.extra["predictions"].shape == (1, 150)
    weights = e.extra["weights"][0]
    assert e.extra["segments"].max() > 5
    assert weights[0] == 1 and (weights < 1).mean() > 0.9


def test_sp_lime_of_explanations():
    model = linear((6,))
    x = np.zeros((4, 6), np.float32)
    for b, columns in enumerate([[0], [0, 1], [2, 3, 4], [5]]):
        x[b, columns] = 1
    e = tfxai.explain(model, x, "lime", 0, baseline=0, n_samples=80)
    e.extra["coefficients"][np.abs(e.extra["coefficients"]) < 1e-6] = 0
    pick = tfxai.sp_lime(e, 2)
    w = np.abs(model.layers[-1].kernel.numpy()[:, 0])
    importance = np.sqrt(w * np.array([2, 1, 1, 1, 1, 1]))
    np.testing.assert_allclose(pick.importance, importance, rtol=1e-3)
    shows = [importance[:1].sum(), importance[:2].sum(), importance[2:5].sum(),
             importance[5]]  # fmt: skip
    assert pick.picks[0] == int(np.argmax(shows))
    again = tfxai.sp_lime([e, e], np.int64(2))
    assert again.picks == pick.picks
    with pytest.raises(OptionError, match="budget=9"):
        tfxai.sp_lime(e, 9)
    with pytest.raises(InputError, match="An explanation by 'list'"):
        tfxai.sp_lime([[1, 0], [0, 1]], 1)
    with pytest.raises(InputError, match="An explanation by 'gradient'"):
        tfxai.sp_lime(tfxai.explain(model, x, "gradient"), 1)


# -- errors and warnings -------------------------------------------------------------


@pytest.mark.parametrize(
    "options, seen",
    [
        ({"n_samples": 1}, "n_samples=1"),
        ({"seed": None}, "seed=None"),
        ({"n_samples": 3}, "n_samples=3 for 6 segments"),
        ({"kernel_width": 0}, "kernel_width=0"),
        ({"kernel_width": 1e-3}, "the input itself has all the weight"),
        ({"kernel_width": 0.02}, "the input itself has all the weight"),
        ({"distance": "manhattan"}, "distance='manhattan'"),
        ({"regressor": "forest"}, "regressor='forest'"),
        ({"feature_selection": "best"}, "feature_selection='best'"),
        ({"n_features": 3}, "n_features=3"),
        ({"feature_selection": "forward"}, "n_features=None"),
        ({"baseline": "white"}, "baseline='white'"),
        ({"baseline": np.nan}, "baseline=nan"),
        ({"segmenter": "snake"}, "segmenter='snake'"),
        ({"scale": "odds"}, "scale='odds'"),
        ({"segmenter_options": {"cellls": 3}}, "cellls"),
        ({"segmenter_options": {"cells": 0}}, "cells=0"),
    ],
)
def test_a_wrong_option_is_named(options, seen):
    x = np.random.default_rng(0).normal(size=(1, 6, 6, 1)).astype("float32")
    given = {"segmenter": "grid", "segmenter_options": {"cells": (2, 3)}, **options}
    with pytest.raises(OptionError) as caught:
        tfxai.explain(linear((6, 6, 1)), x, "lime", 0, **given)
    assert seen in caught.value.seen


def test_wrong_inputs_are_named():
    model, x = linear((6, 6, 1)), np.zeros((1, 6, 6, 1), np.float32)
    for segments, seen in (
        (np.zeros((6, 6), int), "one single segment"),
        (np.zeros((5, 6), int), "segmenter holds int64"),
        (np.zeros((2, 6, 6), int), "segmenter holds int64"),
        (np.zeros((6, 6)), "segmenter holds float64"),
        (lambda v: np.zeros((3, 3), int), "The segmenter returned"),
    ):
        with pytest.raises(InputError, match=seen):
            tfxai.explain(model, x, "lime", 0, segmenter=segments)
    with pytest.raises(InputError, match="baseline has shape"):
        tfxai.explain(model, x, "lime", 0, segmenter="grid", baseline=np.zeros(4))
    with pytest.raises(InputError, match="one for each sample"):
        tfxai.explain(
            model, np.zeros((2, 6, 6, 1), np.float32), "lime", 0, segmenter="grid",
            baseline=np.zeros((2, 6, 6, 1)),
        )  # fmt: skip
    with pytest.raises(OptionError, match="no neighbours"):
        tfxai.explain(linear((6,)), np.zeros((1, 6), "float32"), "lime", 0)


def test_probabilities_that_are_none_are_refused():
    x = np.ones((1, 6), np.float32)
    with pytest.raises(ModelError, match="does not end in softmax"):
        tfxai.explain(linear((6,)), x, "lime", 0, baseline=0, scale="probability")
    with pytest.raises(ModelError, match="add up to 3"):
        tfxai.explain(lambda v: v[:, :3], x, "lime", 0, baseline=0, scale="probability")
    good = tfxai.explain(
        lambda v: np.full((len(v), 4), 0.25), x, "lime", 0,
        baseline=0, scale="probability", n_samples=20,
    )  # fmt: skip
    assert good.score[0] == 0.25


def test_whole_numbers_are_covered_as_the_network_reads_them():
    """A mean of 3.5 is 3.5, for every type of image."""
    model = linear((4, 6, 1))
    x = np.arange(24).reshape(1, 4, 6, 1)
    options = {"segmenter": "grid", "segmenter_options": {"cells": 2}}
    for method in ("lime", "kernel_shap"):
        maps = [
            tfxai.explain(model, x.astype(d), method, 0, **options).relevance
            for d in ("float32", "uint8", "int64")
        ]
        np.testing.assert_allclose(maps[1], maps[0], atol=1e-5)
        np.testing.assert_allclose(maps[2], maps[0], atol=1e-5)


def test_a_constant_answer_selects_nothing():
    x = np.ones((1, 6), np.float32)
    e = tfxai.explain(
        lambda v: np.full((len(v), 2), 0.5), x, "lime", 0, baseline=0, n_samples=50,
        n_features=2, feature_selection="k_lasso",
    )  # fmt: skip
    assert (e.relevance == 0).all() and e.extra["intercept"][0] == 0.5


@pytest.mark.parametrize("p", [0.6, 1 - 1e-6, 1.0])
def test_log_odds_of_a_sure_network(p):
    """log p / (1 - p) of logits is exact where p is 1 in float32."""
    gap = {0.6: np.log(1.5), 1 - 1e-6: np.log(1e6), 1.0: 40.0}[p]
    x = keras.Input((2,))
    model = keras.Model(x, L.Softmax()(L.Dense(3)(x)))
    kernel = np.array([[gap, 0, -1], [0, 0, 0]], np.float32)
    model.layers[1].set_weights([kernel, np.zeros(3)])
    data = np.float32([[1, 0]])
    e = tfxai.explain(
        model, data, "kernel_shap", [[0, 1]], baseline=0, scale="log_odds"
    )
    z = kernel[0].astype(float)
    for t in (0, 1):
        others = np.log(np.exp(np.delete(z, t)).sum())
        assert e.score[0, t] == pytest.approx(z[t] - others, rel=1e-5)
        start = e.extra["baseline_score"][0, t]
        assert start == pytest.approx(-np.log(2), rel=1e-5)
        assert e.relevance[0, t, 0] == pytest.approx(z[t] - others - start, rel=1e-4)


def test_probabilities_behind_steps_that_move_them():
    x = keras.Input((4,))
    y = L.Softmax()(L.Reshape((2, 5))(L.Dense(10)(x)))
    model = zoo.fill(keras.Model(x, L.Flatten()(y)))
    data = np.random.default_rng(0).normal(size=(2, 4)).astype("float32")
    e = tfxai.explain(model, data, "kernel_shap", [[1, 7]] * 2, baseline=0)
    logits = tfxai.wrap(model).logits(data)[:, [1, 7]]
    assert e.extra["scale"] == "logit"
    np.testing.assert_allclose(e.score, logits, rtol=1e-4)
    for scale in ("probability", "log_odds"):
        with pytest.raises(ModelError, match="rearranges its softmax"):
            tfxai.explain(model, data, "kernel_shap", 0, baseline=0, scale=scale)


def test_a_poor_fit_is_said():
    def parity(batch):
        return np.prod(np.sign(batch), -1, keepdims=True)

    x = np.ones((2, 6), np.float32)
    with pytest.warns(LowFidelityWarning, match=r"near sample\(s\) \[0, 1\]"):
        tfxai.explain(parity, x, "lime", 0, baseline=-1, n_samples=200)


def test_a_callable_that_fails_is_named():
    def predict(batch):
        y = batch.copy()
        y[(batch == 0).any(-1)] = np.nan
        return y

    with pytest.raises(ModelError, match=r"changed copy of sample\(s\) \[0\]"):
        tfxai.explain(predict, np.ones((2, 4), "float32"), "lime", 0, baseline=0)


def test_tokens_are_features_by_their_number_when_asked():
    data = np.array([[1, 2, 3], [3, 1, 2]], np.int32)
    e = tfxai.explain(
        lambda v: (v * [3.0, 2, 1]).sum(-1, keepdims=True), data, "lime", 0, baseline=0,
        n_samples=60,
    )  # fmt: skip
    columns = tfxai.sp_lime(e, 1).importance
    np.testing.assert_allclose(columns, np.sqrt([12, 6, 5]), rtol=1e-4)
    tokens = tfxai.sp_lime(e, 1, tokens=True).importance  # of 1, 2 and 3
    np.testing.assert_allclose(tokens, np.sqrt([3 + 2, 4 + 2, 3 + 9]), rtol=1e-4)
