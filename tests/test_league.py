"""The league: its scores by hand, its truths by brute force, and a short run."""

from itertools import product
from math import factorial

import keras
import numpy as np
import pytest
from scipy.stats import wasserstein_distance_nd
from sklearn.datasets import load_digits

import tfxai
from tests.benchmarks.league import (
    columns,
    digits,
    images,
    planted,
    scores,
    series,
    tokens,
)
from tests.benchmarks.league.entries import CONTROLS
from tests.benchmarks.league.intervals import league
from tests.benchmarks.league.measure import Folder, explained, run
from tests.benchmarks.league.networks import NETWORKS
from tests.benchmarks.league.scored import scored

TRUTH = np.array([[1, 1, 0, 0, 0, 0]], bool)


def rng():
    return np.random.default_rng(0)


# -- scores --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "relevance, wanted",
    [
        # precision, AUC, mass, place
        ([5, -4, 1, 0, 0, 0], (1, 1, 0.9, 1)),
        ([0, 0, 0, 0, 0, 0], (1 / 3, 0.5, 1 / 3, 3)),
        ([2, 1, 3, 1, 1, 0], (1 / 2, 5 / 8, 3 / 8, 2)),
        ([3, 2, 2, 2, 2, 0], ((1 + 1 / 4) / 2, 1 - 1.5 / 8, 5 / 11, 1)),
    ],
)
def test_scores_by_hand(relevance, wanted):
    maps = np.array([relevance], float)
    found = [f(maps, TRUTH)[0] for f in scores.SCORES.values()]
    assert found == pytest.approx(wanted)


def test_precision_is_the_mean_over_all_orders_of_equal_values():
    draw = rng()
    maps = draw.integers(0, 3, (20, 12)).astype(float)
    truth = draw.random((20, 12)) < 0.4
    found = scores.precision(maps, truth)
    for r, t, f in zip(maps, truth, found, strict=True):
        k = t.sum()
        orders = [np.lexsort((draw.random(12), -r))[:k] for _ in range(600)]
        assert f == pytest.approx(np.mean([t[o].mean() for o in orders]), abs=0.06)


def test_the_way_to_the_truth_is_that_of_the_linear_program():
    draw = rng()
    maps = draw.random((3, 6, 6)) ** 3
    truth = draw.random((3, 6, 6)) < 0.2
    places = np.argwhere(np.ones((6, 6)))
    for m, t, found in zip(maps, truth, scores.earth_mover(maps, truth), strict=True):
        way = wasserstein_distance_nd(places, np.argwhere(t), m.ravel())
        assert found == pytest.approx(1 - way / np.hypot(5, 5), abs=0.01)
    assert scores.earth_mover(truth * 2.0, truth) == pytest.approx(1)
    line = np.zeros((1, 5))
    line[0, 0] = 1  # the whole mass moves along the whole line
    assert scores.earth_mover(line, line[:, ::-1] > 0) == pytest.approx(0)


def test_groups_hold_what_the_bootstrap_does_not_tell_apart():
    draw = rng()
    noise = draw.normal(0, 0.1, (3, 20))
    made = {"good": 0.8 + noise, "same": 0.8 + draw.permutation(noise, axis=1)}
    made |= {"worse": 0.5 + noise, "worst": 0.2 + noise}
    found = league({("a", "cnn"): made, ("b", "cnn"): made})
    assert found.groups() == {"good": 1, "same": 1, "worse": 2, "worst": 3}
    gap, low, high = found.difference("good", "worse")
    assert gap == pytest.approx(low) == pytest.approx(high) == pytest.approx(0.3)
    low, high = found.interval("good")
    assert low < found.mean("good") < high
    assert high - low == pytest.approx(4 * 0.1 / np.sqrt(60 * 2), rel=0.5)


# -- generators ----------------------------------------------------------------------


def test_suppressors_tell_nothing_and_the_signal_does():
    x, y, seen = columns.suppressors(rng(), 20_000)
    gaps = x[y == 1].mean(0) - x[y == 0].mean(0)
    np.testing.assert_allclose(gaps, [1.2] * 3 + [0] * 9, atol=0.06)
    # the signal without its noise is better than the signal
    alone, cleaned = (np.mean((v > 0) == y) for v in (x[:, 0], x[:, 0] - x[:, 3]))
    assert alone < 0.75 and cleaned > 0.9
    assert seen.sum(0).tolist() == [20_000] * 3 + [0] * 9


@pytest.mark.parametrize("rule", images.RULES)
def test_only_the_truth_of_an_image_depends_on_the_class(rule):
    x, y, seen = images.tetrominoes(rng(), 6000, rule, "white", 0.6)
    other = np.abs(x[..., 0]).copy()
    strength = [(other[y == c]).mean(0) for c in (0, 1)]
    outside = ~seen.any(0)
    if rule == "xor":  # no pixel alone tells the class, the product of two does
        gaps = x[y == 1].mean(0) - x[y == 0].mean(0)
        assert np.abs(gaps).max() < 0.12
        assert np.mean((x[:, 1, 1, 0] * x[:, 4, 5, 0] > 0) == (y == 0)) > 0.8
    elif rule != "moved":
        gaps = np.abs(strength[1] - strength[0])
        assert gaps[seen[0]].min() > 0.2 > 0.1 > gaps[outside].max()
    else:
        assert set(seen.sum((1, 2)).tolist()) == {4} and outside.sum() == 0
        assert other[seen].mean() > 2 * other[~seen].mean()


def test_the_red_object_is_left_of_the_blue_one():
    x, y, seen = images.scenes(rng(), 50)
    for image, c, truth in zip(x, y, seen, strict=True):
        red, blue = (
            np.average(np.arange(16), weights=(image[..., k] > 0.7).sum(0))
            for k in (0, 2)
        )
        assert (red < blue) == c
        green = image[..., 1] > 0.7
        assert green.any() and not (green & truth).any()
        assert truth.sum() == 32


@pytest.mark.parametrize("draw, other", [(digits.red, 1), (digits.bright, 0)])
def test_the_truth_of_a_scene_is_the_ink_of_the_digit_of_its_class(draw, other):
    known, classes = load_digits(return_X_y=True)
    x, y, seen = draw(rng(), 40)
    for image, c, truth in zip(x, y, seen, strict=True):
        top, left = (8 * (i // 8) for i in np.argwhere(truth)[0])
        box = slice(top, top + 8), slice(left, left + 8)
        assert truth[box].sum() == truth.sum()  # within one quarter
        near = np.abs(known / 16 - image[box][..., 0].ravel()).mean(1).argmin()
        assert classes[near] == c
        np.testing.assert_array_equal(truth[box], known[near].reshape(8, 8) >= 4)
        distractor = image[..., other] > 0.4
        distractor[box] = False
        assert distractor.any()


def test_large_images_are_the_small_ones_enlarged():
    x, _, seen = images.tetrominoes(rng(), 40, "moved", "white", 0.9, side=64)
    cells = x[..., 0].reshape(40, 8, 8, 8, 8).mean((2, 4))
    inside = seen.reshape(40, 8, 8, 8, 8).mean((2, 4)) > 0.9
    assert inside.sum((1, 2)).tolist() == [4] * 40
    assert cells[inside].min() > 2 * np.abs(cells[~inside]).mean()


def test_series_and_tokens_follow_their_rules():
    x, y, seen = series.order(rng(), 400)
    assert (seen.sum(1) == 8).all()
    first = np.argsort(~seen, 1, kind="stable")[:, :4]
    line = np.take_along_axis(x[..., 0], first, 1)
    rising = line[:, 2:].sum(1) > line[:, :2].sum(1) + 1.5  # a ramp, not a bump
    assert np.mean(rising == y) > 0.9  # distractors lie over some of them
    # the class does not tell where the series is large
    share = scores.precision(np.abs(x[..., 0]), seen).mean()
    assert 0.25 < share < 0.65
    ids, y, seen = tokens.negation(rng(), 200)
    for line, c, truth in zip(ids, y, seen, strict=True):
        good = np.isin(line, tokens.GOOD).any()
        assert c == (good != (line == tokens.NOT).any())
        assert set(line[truth]) <= {tokens.NOT, *tokens.GOOD, *tokens.BAD}
    ids, y, seen = tokens.counting(rng(), 200)
    gap = np.isin(ids, tokens.GOOD).sum(1) - np.isin(ids, tokens.BAD).sum(1)
    assert ((gap > 0) == y).all() and (gap != 0).all()
    ids, y, seen = tokens.agreement(rng(), 200)
    nouns = np.isin(ids, tokens.SINGULAR + tokens.PLURAL)
    assert (nouns.argmax(1) == seen.argmax(1)).all() and (seen.sum(1) == 1).all()
    assert (np.isin(ids[seen], tokens.PLURAL) == y).all()


# -- networks of known truth ---------------------------------------------------------


@pytest.mark.parametrize("name", planted.PLANTED)
def test_planted_contributions_are_shapley_values(name):
    model, x, truth = planted.PLANTED[name](rng(), 1)
    used = np.flatnonzero(truth[0])
    sets = np.array(list(product([0, 1], repeat=len(used))), bool)
    inputs = np.zeros((len(sets), columns.COLUMNS), np.float32)
    inputs[:, used] = sets * x[0, used]
    value = dict(zip(map(tuple, sets), np.asarray(model(inputs))[:, 1], strict=True))
    n = len(used)
    for i, column in enumerate(used):
        total = 0.0
        for s in sets[~sets[:, i]]:
            k = int(s.sum())
            weight = factorial(k) * factorial(n - k - 1) / factorial(n)
            with_i = tuple(np.where(np.arange(n) == i, True, s))
            total += weight * (value[with_i] - value[tuple(s)])
        assert total == pytest.approx(truth[0, column], abs=1e-4)
    # nothing else counts
    full = np.asarray(model(x))[0, 1] - np.asarray(model(0 * x))[0, 1]
    assert truth.sum() == pytest.approx(full, abs=1e-4)


# -- the run -------------------------------------------------------------------------

TASKS = ("linear-white", "xor-white", "suppressors")
#: method -> the best and the worst place that it may have among these, of images.
PLACES = {
    "squaregrad": (1, 2), "smoothgrad": (1, 3), "gradient": (3, 6),
    "integrated_gradients": (2, 6), "lrp.epsilon": (2, 6), "occlusion": (2, 6),
    "lrp.flat": (7, 10),
}  # fmt: skip
METHODS = (*PLACES, "gradcam")


@pytest.mark.slow
def test_a_short_run_ranks_the_methods_as_the_league_does(tmp_path):
    folder = Folder(tmp_path, 8)
    run(folder, range(1), TASKS, METHODS, smoke=True)
    of = scored(folder, "images", range(1))
    assert min(of.accuracy[t, "cnn"][0] for t in TASKS[:2]) > 0.93
    found = league(of.of["precision"])
    who = [name for name in found.names if name in METHODS or name in CONTROLS]
    assert len(who) == len(METHODS) + len(CONTROLS)
    place = {name: i + 1 for i, name in enumerate(who)}
    for name, (best, worst) in PLACES.items():
        assert best <= place[name] <= worst, place
    assert found.difference("squaregrad", "random")[1] > 0.2
    # no method tells suppressors from the signal
    tables = scored(folder, "tables", range(1))
    assert 0.3 < league(tables.of["mass"]).mean("integrated_gradients") < 0.85
    # a constant map is announced
    assert tables.constant["lrp.flat"] == (8, 8)
    assert not any([*tables.silent.values(), *of.silent.values()])
    _goes_on(folder, of)
    _are_those_of_a_new_model(folder)


def _goes_on(folder, of):
    """A second run changes no file, and reads the same scores."""
    before = {p: p.stat().st_mtime_ns for p in folder.path.rglob("*.npz")}
    run(Folder(folder.path, 8), range(1), TASKS, METHODS, smoke=True)
    assert before == {p: p.stat().st_mtime_ns for p in folder.path.rglob("*.npz")}
    again = scored(Folder(folder.path, 8), "images", range(1)).of["precision"]
    for cell, entries in of.of["precision"].items():
        for entry, values in entries.items():
            np.testing.assert_array_equal(values, again[cell][entry])


def _are_those_of_a_new_model(folder):
    """One analyzer explains several networks, whose weights its model gets in turn."""
    places = [("linear-white", 0), ("xor-white", 0)]
    model, _ = folder.model("cnn", places[0])
    for method in ("lrp.epsilon", "integrated_gradients"):
        made = explained(folder, tfxai.wrap(model), "cnn", places, method, {})
        for place in places:
            x, y, _ = folder.samples("cnn", place)
            fresh = NETWORKS["images", "cnn"]()
            fresh.set_weights(folder.model("cnn", place)[0].get_weights())
            wanted = tfxai.explain(fresh, x, method, y).relevance[..., 0]
            found = made[f"{place[0]}/{place[1]}"]
            np.testing.assert_allclose(found, wanted, atol=1e-4 * np.abs(wanted).max())
    keras.backend.clear_session()
