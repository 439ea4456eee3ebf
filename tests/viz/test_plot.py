"""Colours at known positions, and the content of figures."""

from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest

from tfxai import plot
from tfxai.core.explanation import Explanation
from tfxai.errors import InputError, OptionError
from tfxai.viz.superpixels import best_segments

RED, WHITE, BLUE, GREEN = "67001f", "f7f7f7", "053061", "2ca02c"


def colour(text):
    return np.array([int(text[i : i + 2], 16) / 255 for i in (0, 2, 4)])


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def explained(x, *maps, score=None):
    """An explanation with the given relevance (B, T, ...)."""
    relevance = np.stack(maps, 1).astype(np.float32)
    target = np.tile(np.arange(len(maps)), (len(x), 1))
    score = target + 0.25 if score is None else score
    return Explanation(relevance, target, score, "m", x)


def texts(figure):
    return [t.get_text() for t in figure.texts if t.get_text()]


def ticks(axes):
    return [t.get_text() for t in axes.get_xticklabels()]


def shown(axes):
    return [np.asarray(a.images[0].get_array()) for a in axes]


# -- relevance to colours ------------------------------------------------------------


def test_a_signed_map_is_red_white_blue_and_symmetric_around_zero():
    drawn = plot.heatmap([[-4.0, 0.0, 2.0, 4.0]], limit=4)
    assert np.allclose(drawn[0, [0, 1, 3]], [colour(c) for c in (BLUE, WHITE, RED)])
    assert np.allclose(drawn[0, 2], colour("d6604d"))  # half way
    small = plot.heatmap([[-0.001, 4.0]])  # a small negative value is not full blue
    assert np.allclose(small[0, 0], colour(WHITE), atol=0.01)


def test_a_map_without_negative_values_runs_from_white_to_red():
    drawn = plot.heatmap(np.linspace(0, 3, 50)[None], limit=3)[0]
    assert np.allclose(drawn[[0, -1]], [colour(WHITE), colour(RED)])
    assert (drawn[:, 0] >= drawn[:, 2]).all()  # never blue
    assert (np.diff(drawn.sum(-1)) < 0).all()  # always darker


def test_only_the_shape_of_a_map_counts():
    map = noise(9, 9)
    assert np.allclose(plot.heatmap(map), plot.heatmap(1e-9 * map))
    assert plot.heatmap(noise(2, 3, 4)).shape == (2, 3, 4, 3)


def test_a_single_outlier_does_not_blank_the_picture():
    map = noise(100, 100)
    map[3, 4] = 1e6
    assert plot.limit_of(map) == np.percentile(np.abs(map), 99.5) < 5
    assert np.allclose(plot.heatmap(map)[3, 4], colour(RED))


@pytest.mark.parametrize(
    ("map", "limit"),
    [
        (np.zeros((5, 5)), 1),
        (np.eye(300)[:1], 1),  # its percentile is zero, its maximum is not
        (np.array([-3.0, np.nan, np.inf]), 3),
        (np.array([np.nan]), 1),
    ],
)
def test_limits_of_strange_maps(map, limit):
    assert plot.limit_of(map) == limit
    assert np.isfinite(plot.heatmap(map)).all()


@pytest.mark.parametrize("limit", [0, -1, np.nan])
def test_a_limit_is_above_zero(limit):
    with pytest.raises(OptionError, match="above 0"):
        plot.heatmap(noise(3, 3), limit)


def test_what_is_not_finite_is_green():
    map = np.array([[1.0, np.nan], [np.inf, -1.0]])
    for drawn in (plot.heatmap(map), plot.overlay(np.zeros((2, 2)), map)):
        assert np.allclose(drawn[[0, 1], [1, 0]], colour(GREEN))
        assert not np.allclose(drawn[0, 0], colour(GREEN))


# -- images --------------------------------------------------------------------------

GREY = np.linspace(0, 1, 12).reshape(3, 4)
RGB = np.random.default_rng(3).integers(0, 256, (5, 4, 3))


@pytest.mark.parametrize(
    ("x", "wanted"),
    [
        (RGB.astype(np.uint8), RGB / 255),
        (RGB.astype(np.float32), RGB / 255),
        (RGB, RGB / 255),
        (RGB / 255, RGB / 255),
        (RGB / 127.5 - 1, RGB / 255),
        (GREY, GREY[..., None].repeat(3, -1)),
        (GREY[..., None], GREY[..., None].repeat(3, -1)),
        (np.dstack([RGB, RGB[..., :1]]) / 255, RGB / 255),  # alpha is left out
        (np.stack([GREY, 1 - GREY], -1), np.full((3, 4, 3), 0.5)),
        (np.zeros((2, 2), np.uint8) + 1, np.full((2, 2, 3), 1 / 255)),
    ],
)
def test_every_range_and_number_of_channels(x, wanted):
    assert np.allclose(plot.image(x), wanted, atol=1e-6)


def test_a_picture_minus_its_mean_is_stretched():
    x = RGB[..., ::-1] - np.array([104.0, 117, 123])
    drawn = plot.image(x)
    assert drawn.min() == 0 and drawn.max() == 1
    assert np.unravel_index(drawn.argmax(), x.shape) == np.unravel_index(
        x.argmax(), x.shape
    )


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4, 3), (0, 4, 3)])
def test_no_picture(shape):
    with pytest.raises(InputError, match="H, W"):
        plot.image(np.zeros(shape))


# -- overlays ------------------------------------------------------------------------


def test_red_is_for_and_blue_against_and_nothing_is_grey():
    map = np.zeros((4, 5))
    map[1, 2], map[3, 4], map[0, 0] = 2, -2, 0.1
    drawn = plot.overlay(RGB[:4].repeat(2, 1)[:, :5], map)
    red, green, blue = np.moveaxis(drawn, -1, 0)
    assert red[1, 2] > 0.45 and max(green[1, 2], blue[1, 2]) < 0.15
    assert blue[3, 4] > 0.4 and red[3, 4] < 0.2 and green[3, 4] < 0.35
    grey = drawn[map == 0]
    assert np.allclose(grey, grey[:, :1]) and grey.min() >= 0.6  # light
    assert 0.02 < red[0, 0] - green[0, 0] < red[1, 2] - green[1, 2]


@pytest.mark.parametrize("alpha", [None, 0.2, 1.0])
def test_hue_and_saturation_do_not_depend_on_the_image(alpha):
    map = np.tile(np.linspace(-1, 1, 9), (2, 1))
    x = np.stack([np.zeros(9), np.ones(9)])  # a black row and a white row
    black, white = plot.overlay(x, map, limit=1, alpha=alpha)
    share = {None: 0.65}.get(alpha, alpha)
    assert np.allclose(black, share * white)
    assert np.ptp(white, -1)[0] > 0.6 and np.ptp(white, -1)[4] == 0  # saturated; white
    steps = np.diff(np.ptp(white, -1)[4:])
    assert (steps[:3] > 0.1).all()  # weak relevance is visible on white, too


def test_the_heatmap_alone():
    map = noise(4, 5)
    drawn = plot.overlay(RGB[:4].repeat(2, 1)[:, :5], map, alpha=1)
    assert np.allclose(drawn, plot.overlay(np.ones((4, 5)), map))
    named = plot.overlay(np.ones((4, 5)), map, limit=2, cmap="PuOr_r")
    wanted = matplotlib.colormaps["PuOr_r"]((np.clip(map / 2, -1, 1) + 1) / 2)
    assert np.allclose(named, wanted[..., :3])


def seen_without(colours, missing):
    """Linear colours as people without red or green cones see them (Machado 2009)."""
    matrix = {
        "red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                [-0.003882, -0.048116, 1.051998]],
        "green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                  [-0.011820, 0.042940, 0.968881]],
    }[missing]  # fmt: skip
    return np.asarray(colours) ** 2.2 @ np.array(matrix).T


@pytest.mark.parametrize("missing", ["red", "green"])
def test_the_colour_blind_distinguish_for_and_against(missing):
    for strength in (0.3, 1.0):
        drawn = plot.overlay(np.ones((1, 2)), [[strength, -strength]], limit=1)[0]
        towards, against = seen_without(drawn, missing)
        assert against[2] - towards[2] > 0.2  # blue is left


def test_the_reddest_pixel_is_the_maximum():
    map = noise(20, 20)
    drawn = plot.overlay(np.full((20, 20), 0.5), map, limit=10 * np.abs(map).max())
    redness = drawn[..., 0] - drawn[..., 2]
    assert redness.argmax() == map.argmax() and redness.argmin() == map.argmin()


def test_a_map_of_zeros_leaves_the_light_picture():
    drawn = plot.overlay(GREY, np.zeros_like(GREY))
    assert np.allclose(drawn, 0.65 + 0.35 * GREY[..., None])


def test_boxes_are_outlines_of_one_pixel():
    x = np.zeros((10, 20, 3))
    drawn = plot.overlay(x, x[..., 0], boxes=[[0.2, 0.1, 0.7, 0.5], [0, 0.9, 2, 2]])
    boxed = np.ptp(drawn, axis=-1) > 0.5
    wanted = np.zeros((10, 20), bool)
    wanted[2:7, 2:10] = True
    wanted[3:6, 3:9] = False
    wanted[:, 18:] = True  # the box exceeds the image
    assert (boxed == wanted).all()
    assert (x == 0).all()  # the caller's array is not drawn on


def test_a_map_of_another_size_is_an_error():
    with pytest.raises(InputError, match=r"\(4, 4\).*\(3, 4\)"):
        plot.overlay(GREY, np.zeros((4, 4)))


# -- figures -------------------------------------------------------------------------


def test_pictures_beside_their_overlays():
    x, a, b = RGB[None] * np.ones((2, 1, 1, 1)), noise(2, 5, 4, 3), noise(2, 5, 4, 3)
    e = explained(x, a, b)
    figure = e.plot(names=["cat", "dog"], boxes=[[], [[0, 0, 1, 1]]])
    bars = figure.axes[2::2][:2] + figure.axes[7::2]
    cells = [a for a in figure.axes if a not in bars]
    assert len(cells) == 2 * 3
    assert np.allclose(shown(cells)[0], x[0] / 255)
    maps = e.heatmap()
    assert np.allclose(shown(cells)[2], plot.overlay(x[0], maps[0, 1]))
    boxed = plot.overlay(x[1], maps[1, 0], boxes=[[0, 0, 1, 1]])
    assert np.allclose(shown(cells)[4], boxed)
    assert texts(figure)[:6] == ["m", "input", "cat", "score 0.25", "dog", "score 1.25"]
    ramp = shown(bars[:1])[0][0]
    assert ramp[0, 2] > ramp[0, 0] and ramp[-1, 0] > ramp[-1, 2]
    limit = plot.limit_of(maps[0, 0])
    assert ticks(bars[0]) == [f"{-limit:.3g} against", "0", f"{limit:.3g} for"]


def test_unsigned_maps_have_an_unsigned_legend():
    figure = explained(RGB[None], np.abs(noise(1, 5, 4, 3))).plot()
    low, high = ticks(figure.axes[2])
    assert low == "0" and high.endswith(" for")
    assert "class 0" in texts(figure)


def test_one_target_without_an_axis_and_one_channel():
    e = Explanation(noise(2, 5, 4, 1), np.array([7, 0]), np.ones(2), "m", RGB[[0, 0]])
    e = Explanation(e.relevance, e.target, e.score, "m", np.stack([RGB, RGB]))
    figure = e.plot(names=["only"], reduce="abs_max")
    assert len(figure.axes) == 2 * 3
    assert {"class 7", "only", "score 1"} <= set(texts(figure))


def test_titles_of_ones_own():
    figure = explained(RGB[None], noise(1, 5, 4, 3)).plot(columns=["$5 or _$\n12.0%"])
    assert "$5 or _$" in texts(figure) and "12.0%" in texts(figure)
    png = figure._repr_png_()
    assert png.startswith(b"\x89PNG")  # the title is not parsed as a formula


def test_a_long_title_is_cut():
    figure = explained(RGB[None], noise(1, 5, 4, 3)).plot(names=["x" * 200])
    cut = next(t for t in texts(figure) if t.startswith("xx"))
    assert cut.endswith("…") and len(cut) < 40


def test_a_grid_of_pictures():
    map = plot.heatmap(noise(5, 4))
    figure = plot.grid([[RGB, map], [None, GREY]], ["one", "two"], ["a", "b"])
    assert len(figure.axes) == 3
    assert np.allclose(shown(figure.axes)[1], map)
    assert texts(figure) == ["a", "b", "one", "two"]


def test_no_global_state_is_touched():
    import matplotlib.pyplot as plt

    before, backend = dict(matplotlib.rcParams), matplotlib.get_backend()
    figure = explained(RGB[None], noise(1, 5, 4, 3)).plot()
    figure._repr_png_()
    assert plt.get_fignums() == []
    assert dict(matplotlib.rcParams) == before
    assert matplotlib.get_backend() == backend


# -- the styles of the LEG repository ------------------------------------------------


@pytest.mark.parametrize(
    "direction, wanted",
    [("all", [1, 0, 0.5]), ("positive", [0, 0, 1]), ("negative", [1, 0, 0])],
)
def test_styles_and_directions_of_the_leg_repository(direction, wanted):
    x, map = np.full((1, 3, 3), 255.0), np.array([[-4.0, 0, 2]])
    for style, name, part in (
        ("heatmap_only", "hot", 0.0),
        ("gray", "gray", 0.2),
        ("overlay", "jet", 0.5),
    ):
        figure = plot.styled(x, map, style, direction)
        ramp = matplotlib.colormaps[name](np.array(wanted, float))[:, :3]
        (drawn,) = shown(figure.axes[:1])
        assert np.allclose(drawn[0], part + (1 - part) * ramp)
        assert any(f"largest {4 if direction != 'positive' else 2}" in t
                   for t in texts(figure))  # fmt: skip


def test_a_wrong_style_is_named():
    x, map = np.zeros((2, 2, 3)), np.zeros((2, 2))
    with pytest.raises(OptionError, match="style='jet'"):
        plot.styled(x, map, "jet")
    with pytest.raises(OptionError, match="direction='up'"):
        plot.styled(x, map, direction="up")
    with pytest.raises(InputError, match="Relevance of shape"):
        plot.styled(x, np.zeros((3, 2)))


# -- superpixels -------------------------------------------------------------------


def pieces():
    """An explanation of two 4 x 6 images with four and two segments."""
    x = np.full((2, 4, 6, 3), 200.0)
    segments = np.array([[[0, 0, 0, 1, 1, 1]] * 2 + [[2, 2, 2, 3, 3, 3]] * 2,
                         [[0, 0, 0, 1, 1, 1]] * 4])  # fmt: skip
    coefficients = np.array([[0.1, -0.9, 0.5, 0.2], [-1, 2, np.nan, np.nan]])
    relevance = np.zeros((2, 4, 6, 1), np.float32)
    extra = {"segments": segments, "coefficients": coefficients}
    return Explanation(relevance, np.array([3, 4]), np.ones(2), "lime", x, extra)


def test_the_best_superpixels():
    e = pieces()
    values, at = e.extra["coefficients"], e.extra["segments"]
    cells = [(0, 0), (0, 5), (3, 0), (3, 5)]

    def signs(*given):
        drawn = best_segments(*given)
        return [int(drawn[c]) for c in cells]

    assert signs(values[0], at[0], 2) == [0, 0, 1, 1]
    assert signs(values[0], at[0], 9) == [1, 0, 1, 1]
    assert signs(values[0], at[0], 2, False) == [0, -1, 1, 0]
    assert signs(values[1], at[1], 2) == [0, 1, 0, 1]


def test_superpixels_alone():
    figure = plot.superpixels(pieces(), top=1, names=list("abcde"))
    assert texts(figure)[0] == "lime"
    times = round(256 / 6)  # enlarged, so that lines are thin
    first, alone, _, second = (
        v[times // 2 :: times, times // 2 :: times] for v in shown(figure.axes)
    )
    assert {"4 segments", "2 segments", "d", "e"} <= set(texts(figure))
    grey = np.full(3, 200 / 255)
    assert np.allclose(alone[3, 0], grey) and np.allclose(alone[0, 0], 0.93)
    assert np.allclose(second[0, 5], grey) and np.allclose(second[0, 0], 0.93)
    assert np.allclose(first[0, 0], grey)
    both = shown(
        plot.superpixels(pieces(), top=2, positive_only=False, hide_rest=False).axes[:2]
    )[1][times // 2 :: times, times // 2 :: times]
    blue = both[0, 5]
    assert blue[2] > blue[0] + 0.2  # against: blue
    assert np.allclose(both[0, 0], 0.6 + 0.4 * 200 / 255)  # the rest: pale


def test_what_has_no_superpixels_is_named():
    e = explained(np.zeros((1, 4, 4, 3)), np.zeros((1, 4, 4, 3)))
    with pytest.raises(InputError, match="has no superpixels"):
        plot.superpixels(e)
    with pytest.raises(OptionError, match="top=0"):
        plot.superpixels(pieces(), top=0)


# -- perturbed inputs ----------------------------------------------------------------


def rewritten():
    """An explanation by optimisation of two images with two targets each."""
    rng = np.random.default_rng(3)
    x = rng.uniform(0, 1, (2, 12, 16, 3))
    perturbed = rng.uniform(0, 1, (2, 2, 12, 16, 3))
    losses = np.full((2, 2, 5), np.nan)
    losses[..., :4] = [[[4, 3, 1, 2], [9, 8, 7, 6]], [[1, 2, 3, 4], [5, 4, 3, 3.5]]]
    extra = {
        "perturbed": perturbed, "heatmap": rng.uniform(0, 1, (2, 2, 12, 16)),
        "loss_history": losses, "score_history": losses / 10,
        "score_before": np.full((2, 2), 0.75), "score_after": np.full((2, 2), 0.125),
        "best_iteration": np.array([[2, 3], [0, 2]]), "l1": np.full((2, 2), 0.5),
        "center_of_mass": np.full((2, 2, 2), [3.0, 9.0]),
    }  # fmt: skip
    extra["center_of_mass"][1, 1] = np.nan
    target = np.array([[0, 1], [1, 0]])
    return Explanation(x[:, None] - perturbed, target, target + 0.5, "m", x, extra)


def test_what_was_changed_and_where_its_centre_is():
    e = rewritten()
    figure = plot.perturbation(e, ["cat", "dog"])
    assert len(figure.axes) == 3 * 4
    for i in range(4):
        cells = figure.axes[3 * i : 3 * i + 3]
        drawn = shown(cells)
        assert np.allclose(drawn[0], e.inputs[i // 2])
        assert np.allclose(drawn[1], e.extra["perturbed"].reshape(-1, 12, 16, 3)[i])
        map = e.heatmap().reshape(-1, 12, 16)[i]
        assert np.allclose(drawn[2], plot.overlay(e.inputs[i // 2], map))
        marks = [c.get_offsets()[0].tolist() for c in cells[2].collections]
        assert marks == ([[9.0, 3.0]] * 2 if i < 3 else [])  # x is the column
    titles = texts(figure)
    assert [t for t in titles if t in ("cat", "dog")] == ["cat", "dog", "dog", "cat"]
    assert titles.count("score 0.75") == titles.count("score 0.125") == 4


def test_the_loss_and_the_score_at_every_step():
    e = rewritten()
    figure = plot.history(e)
    for i, axes in enumerate(figure.axes):
        loss, score, best = axes.lines
        wanted = e.extra["loss_history"].reshape(4, 5)[i]
        assert np.array_equal(loss.get_ydata(), wanted, equal_nan=True)
        assert np.array_equal(score.get_ydata(), wanted / 10, equal_nan=True)
        assert best.get_xdata()[0] == [2, 3, 0, 2][i]
        assert best.get_ydata()[0] == [1, 6, 1, 3][i]


def test_what_was_not_changed_is_named():
    e = explained(noise(1, 8, 8, 3), noise(1, 8, 8, 3))
    for draw in (plot.perturbation, plot.history):
        with pytest.raises(InputError, match="no history of an optimisation"):
            draw(e)


# -- parameter randomisation ---------------------------------------------------------


def forgotten(stages=10):
    rng = np.random.default_rng(0)
    return SimpleNamespace(
        layers=tuple(f"layer{i}" for i in range(stages)),
        original=rng.normal(size=(2, 12, 9)),
        heatmaps=rng.normal(size=(stages, 2, 12, 9)),
        rank_correlation=rng.uniform(-0.2, 1, (stages, 2)),
        ssim=rng.uniform(0, 1, (stages, 2)),
    )


def test_what_becomes_of_a_map_as_the_network_forgets():
    r, x = forgotten(), noise(2, 12, 9, 3)
    figure = plot.randomisation(r, x, columns=4)
    stages = [0, 3, 6, 9]
    for row in range(2):
        cells = figure.axes[5 * row : 5 * row + 5]
        maps = [r.original[row], *(r.heatmaps[s, row] for s in stages)]
        for seen, map in zip(shown(cells), maps, strict=True):
            assert np.allclose(seen, plot.overlay(x[row], map))
        for s in stages:
            assert f"rank corr. {r.rank_correlation[s, row]:.2f}" in texts(figure)
    assert texts(figure).count("layer6") == 2 and "layer5" not in texts(figure)
    with pytest.raises(InputError, match="images that were explained"):
        plot.randomisation(r, x[:, 1:])
    assert len(plot.randomisation(r, x[:1], columns=4).axes) == 5


def test_how_like_the_first_map_each_stage_is():
    r = forgotten()
    rank, ssim, _ = plot.randomisation_curve(r).axes[0].lines
    assert np.allclose(rank.get_ydata(), r.rank_correlation.mean(1))
    assert np.allclose(ssim.get_ydata(), r.ssim.mean(1))
