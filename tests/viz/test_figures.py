"""Figures of every kind of input: their texts, numbers, colours and options."""

from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

import tfxai
from tests.viz.test_plot import explained, noise, shown, texts, ticks
from tfxai import plot
from tfxai.core.explanation import Explanation
from tfxai.errors import InputError, OptionError

FEATURES = [f"f{i}" for i in range(25)]
RED, BLUE = np.array([0xD7, 0x26, 0x3D]) / 255, np.array([0x21, 0x66, 0xD6]) / 255


def row_names(axes):
    return [t.get_text() for t in axes.get_yticklabels()]


def table(rows=1, columns=25, **fields):
    x, map = noise(rows, columns), noise(rows, columns, seed=1)
    given = {"features": FEATURES[:columns], "names": ["no", "yes"], **fields}
    return Explanation(map, np.ones(rows, int), map.sum(1) + 0.5, "m", x, **given)


# -- tables --------------------------------------------------------------------------


def test_a_table_is_bars_sorted_by_strength_with_values_and_numbers():
    e = table()
    (axes,) = e.plot().axes
    order = np.argsort(-np.abs(e.relevance[0]))
    kept, rest = order[:11], order[11:]
    names = [f"f{i} = {e.inputs[0, i]:.3g}" for i in kept]
    assert row_names(axes) == [*names, "14 other features"]
    widths = [b.get_width() for b in axes.patches]
    assert np.allclose(widths, [*e.relevance[0, kept], e.relevance[0, rest].sum()])
    for bar in axes.patches:
        wanted = RED if bar.get_width() > 0 else BLUE
        assert np.allclose(bar.get_facecolor()[:3], wanted)
    numbers = [t.get_text() for t in axes.texts]
    assert numbers == [f"{w:+.3g}" for w in widths]
    assert axes.get_xlabel() == "relevance"
    assert texts(e.plot()) == ["m", "yes", f"score {e.score[0]:.4g}"]


def test_a_long_name_is_not_cut_and_a_few_features_have_no_rest():
    name = "the median income of a household of the block group, in dollars" * 2
    e = table(columns=3, features=["a", name, "b"])
    figure = e.plot()
    found = row_names(figure.axes[0])
    assert len(found) == 3
    assert any(n.replace("\n", "").replace(" ", "").startswith(name.replace(" ", ""))
               for n in found)  # fmt: skip
    figure.savefig("/dev/null", format="png")
    for label in figure.axes[0].get_yticklabels():
        assert label.get_window_extent().x0 >= 0  # inside the figure


def test_whole_numbers_have_no_point():
    e = Explanation(noise(1, 2), np.zeros(1, int), np.ones(1), "m",
                    np.array([[39.0, -1.5]]), features=["age", "z"])  # fmt: skip
    assert {"age = 39", "z = -1.5"} == set(row_names(e.plot().axes[0]))


@pytest.mark.parametrize("number", [24, 26])
def test_a_wrong_number_of_names_is_an_error(number):
    e = table()
    with pytest.raises(OptionError, match=f"{number} names of features.*25 columns"):
        e.plot(features=[str(i) for i in range(number)])
    for draw in (plot.beeswarm, plot.importance, plot.scatter):
        with pytest.raises(OptionError, match=f"{number} names of features"):
            draw(table(rows=3), features=[str(i) for i in range(number)])


def test_a_waterfall_runs_from_the_base_value_to_the_score():
    e = table(rows=2, columns=4, extra={"baseline_score": np.array([0.5, 0.5])})
    figure = plot.waterfall(e, sample=1, most=3)
    (axes,) = figure.axes
    order = np.argsort(-np.abs(e.relevance[1]))
    steps = [*e.relevance[1, order[:2]], e.relevance[1, order[2:]].sum()]
    assert np.allclose([b.get_width() for b in axes.patches], steps)
    ends = [b.get_x() + b.get_width() for b in axes.patches]
    assert np.isclose(ends[0], e.score[1])
    assert np.isclose(axes.patches[-1].get_x(), 0.5)
    assert np.allclose([b.get_x() for b in axes.patches][:-1], ends[1:])
    assert row_names(axes)[-1] == "2 other features"
    assert axes.get_xlabel() == f"base value 0.5  →  score {e.score[1]:.3g}"
    assert texts(figure)[:2] == ["m", "yes"]


def test_what_a_waterfall_leaves_unexplained_is_a_bar():
    e = table(columns=2, extra={"change": np.array([3.0])})
    axes = plot.waterfall(e).axes[0]
    assert row_names(axes)[-1] == "not explained"
    gap = 3 - e.relevance.sum()
    assert np.isclose(axes.patches[-1].get_width(), gap)
    plain = plot.waterfall(table(columns=2)).axes[0]
    assert plain.get_xlabel().startswith("score minus sum of relevance 0.5 ")


def test_a_beeswarm_has_a_point_per_row_and_feature():
    e = table(rows=30, columns=4)
    figure = plot.beeswarm(e, most=3)
    axes, bar = figure.axes
    order = np.argsort(-np.abs(e.relevance).mean(0))
    assert row_names(axes) == [f"f{i}" for i in order[:2]] + ["sum of 2 other features"]
    for row, dots in enumerate(axes.collections[:2]):
        values = e.relevance[:, order[row]]
        assert np.allclose(dots.get_offsets()[:, 0], values)
        assert np.abs(dots.get_offsets()[:, 1] - row).max() < 0.5
        colours = dots.get_facecolors()
        low, high = (f(e.inputs[:, order[row]]) for f in (np.argmin, np.argmax))
        ends = matplotlib.colormaps["cividis"]([0.0, 1.0])
        assert np.allclose(colours[[low, high]], ends)
    assert ticks(bar) == ["low value of the feature", "high value"]
    assert "30 samples" in texts(figure)


def test_importance_is_the_mean_of_the_absolute_relevance():
    e = table(rows=7, columns=5)
    (axes,) = plot.importance(e).axes
    mean = np.abs(e.relevance).mean(0)
    assert np.allclose([b.get_width() for b in axes.patches], np.sort(mean)[::-1])
    assert row_names(axes) == [f"f{i}" for i in np.argsort(-mean)]
    assert axes.get_xlabel() == "mean |relevance|"
    assert next(t.get_text().strip() for t in axes.texts) == f"{mean.max():.3g}"


def test_a_scatter_of_values_against_relevance():
    e = table(rows=9, columns=3)
    (axes,) = plot.scatter(e, "f1").axes
    offsets = axes.collections[0].get_offsets()
    assert np.allclose(offsets, np.stack([e.inputs[:, 1], e.relevance[:, 1]], 1))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("f1", "relevance of f1")
    with pytest.raises(OptionError, match=r"feature='f11'.*\n.*perhaps f1"):
        plot.scatter(e, "f11")


def test_figures_of_many_rows_refuse_images_and_single_rows():
    image = explained(noise(3, 4, 4, 3), noise(3, 4, 4, 3))
    for draw in (plot.beeswarm, plot.importance, plot.scatter, plot.waterfall):
        with pytest.raises(InputError, match="that of a table"):
            draw(image)
    with pytest.raises(InputError, match="one sample"):
        plot.beeswarm(table())


# -- series, volumes, several inputs, segmentation -----------------------------------


def test_a_series_is_a_curve_on_the_colours_of_its_relevance():
    x, map = noise(1, 30, 1), np.zeros((1, 30, 1))
    map[0, 3], map[0, 20] = 2, -2
    e = Explanation(map, np.zeros(1, int), np.ones(1), "m", x, features=["volts"])
    figure = plot.series(
        e, times=np.arange(30) / 10, events={1.5: "stop"}, time_name="seconds"
    )
    axes, bar = figure.axes
    assert np.allclose(axes.lines[0].get_ydata(), x[0, :, 0])
    assert np.allclose(axes.lines[0].get_xdata(), np.arange(30) / 10)
    mesh = np.asarray(axes.collections[0].get_array()).reshape(30, 3)
    assert mesh[3, 0] > 0.7 > 0.2 > mesh[3, 2] and mesh[20, 2] > 0.7 > mesh[20, 0]
    assert np.allclose(np.delete(mesh, [3, 20], 0), 1)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("seconds", "volts")
    assert [t.get_text() for t in axes.texts] == ["stop"]
    assert ticks(bar) == ["-2 against", "0", "2 for"]
    with pytest.raises(OptionError, match=r"times has the shape \(3,\).*30 positions"):
        plot.series(e, times=[1, 2, 3])


def test_the_channels_of_a_series_have_lanes_with_names():
    x, map = noise(1, 20, 3), noise(1, 20, 3, seed=2)
    e = Explanation(map, np.zeros(1, int), np.ones(1), "m", x, features=["x", "y", "z"])
    axes = e.plot().axes[0]
    assert row_names(axes) == ["x", "y", "z"]
    assert len(axes.lines) == 3
    for lane, line in enumerate(axes.lines):
        assert np.corrcoef(line.get_ydata(), x[0, :, lane])[0, 1] > 0.999
        assert -lane - 1 < line.get_ydata().min() < line.get_ydata().max() < -lane
    many = Explanation(
        noise(1, 9, 40), np.zeros(1, int), np.ones(1), "m", noise(1, 9, 40)
    )
    strength = np.abs(many.relevance).sum((0, 1))
    kept = sorted(np.argsort(-strength)[:12])
    assert row_names(many.plot().axes[0]) == [f"channel {i}" for i in kept]


def test_a_volume_is_its_strongest_slices():
    x = np.abs(noise(1, 6, 5, 4, 1))
    map = (
        noise(1, 6, 5, 4, 1) * np.array([1, 9, 2, 8, 7, 6.0])[None, :, None, None, None]
    )
    e = Explanation(map, np.array([2]), np.ones(1), "m", x, names=list("abc"))
    figure = e.plot()
    inputs, overlays = figure.axes[:4], [a for a in figure.axes[4:] if len(a.images)]
    assert np.allclose(shown(inputs)[0], plot.image(x[0, 1]))
    limit = plot.limit_of(map)
    wanted = plot.overlay(x[0, 1], map[0, 1, ..., 0], limit)
    assert np.allclose(shown(overlays)[0], wanted)
    found = texts(figure)
    assert found[:5] == ["m", *(f"input, slice {z}" for z in (1, 3, 4, 5))]
    assert "c, score 1" in found and "slice 4" in found


def test_inputs_are_below_each_other_and_a_mask_is_left_out():
    rgb = noise(1, 5, 4, 3)
    row = noise(1, 3)
    both = Explanation(
        [rgb, row, np.zeros((1, 6))], np.array([1]), np.ones(1), "m",
        [np.abs(rgb), row, np.ones((1, 6))], names=["no", "yes"],
        features={"clinic": ["age", "sex", "fare"]},
        input_names=["image", "clinic", "mask"],
    )  # fmt: skip
    figure = both.plot()
    found = [t for part in figure.subfigs for t in texts(part)]
    assert "m · image" in found and "m · clinic" in found
    assert not any("mask" in t for t in found)
    assert len(figure.subfigs[1].axes[0].patches) == 3
    names = row_names(both.plot(which="clinic").axes[0])
    assert {n.split(" ")[0] for n in names} == {"age", "sex", "fare"}
    with pytest.raises(OptionError, match=r"which='mas'.*\n.*'mask'"):
        both.plot(which="mas")
    with pytest.raises(OptionError, match="ax for 2 inputs"):
        both.plot(ax=Figure().add_subplot())


def test_a_segmentation_shows_its_mask_and_the_position_of_its_target():
    x, map = np.abs(noise(1, 8, 8, 3)), noise(1, 8, 8, 3)
    target = np.array([(1 * 4 + 3) * 2 + 1])  # row 1, column 3 of 4 x 4, class 1
    mask = np.zeros((1, 8, 8), bool)
    mask[0, 2:5, 2:6] = True
    extra = {"output_shape": [4, 4, 2]}
    e = Explanation(map, target, np.ones(1), "m", x, extra, names=["road", "cat"])
    figure = e.plot(mask=mask)
    axes = figure.axes[1]
    assert "cat at (1, 3)" in texts(figure)
    crosses = [c.get_offsets().tolist() for c in axes.collections
               if len(c.get_offsets()) == 1]  # fmt: skip
    assert crosses[-1] == [[6.5, 2.5]]
    outline = np.concatenate([p.vertices for p in axes.collections[0].get_paths()])
    assert np.allclose(outline.min(0), [1.5, 1.5]) and np.allclose(
        outline.max(0), [5.5, 4.5]
    )
    with pytest.raises(OptionError, match="mask has 2 entries for 1 samples"):
        e.plot(mask=np.zeros((2, 8, 8)))


# -- options -------------------------------------------------------------------------


def kinds():
    series = Explanation(
        noise(1, 9, 2), np.zeros(1, int), np.ones(1), "m", noise(1, 9, 2)
    )
    tokens = Explanation(noise(1, 3), np.zeros(1, int), np.ones(1), "m",
                         np.arange(3)[None], tokens=[["a", "b", "c"]])  # fmt: skip
    volume = noise(1, 2, 4, 4, 1)
    return {
        "image": explained(noise(1, 5, 5, 3), noise(1, 5, 5, 3)),
        "table": table(), "series": series, "text": tokens,
        "volume": explained(np.abs(volume), volume),
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["image", "table", "series", "text", "volume"])
def test_every_figure_takes_the_same_options(kind):
    e = kinds()[kind]
    figure = e.plot(
        title="why", cmap="PuOr_r", alpha=0.5, limit="shared", figsize=(7, 5)
    )
    assert texts(figure)[0] == "why" and tuple(figure.get_size_inches()) == (7, 5)
    assert "m" not in texts(figure) and texts(e.plot())[0] == "m"
    for option, value in (
        ("limit", "own"), ("limit", 0), ("alpha", 2), ("cmap", "no such map"),
        ("figsize", (1,)), ("contours", 3),
    ):  # fmt: skip
        with pytest.raises(OptionError, match=option):
            e.plot(**{option: value})
    if kind != "volume":
        axes = Figure().add_subplot()
        assert e.plot(ax=axes) is axes.figure
        assert axes.get_title("left").startswith("m: ")


def test_axes_of_the_caller_are_counted():
    e = explained(noise(2, 5, 5, 3), noise(2, 5, 5, 3))
    axes = Figure().subplots(1, 3)
    with pytest.raises(OptionError, match="ax holds 3 axes for 2 cells"):
        e.plot(ax=axes)


def test_a_shared_limit_gives_all_targets_the_same_colours():
    map = np.zeros((1, 4, 4, 1))
    map[0, 0, 0] = 1
    e = explained(np.ones((1, 4, 4, 3)), map, 10 * map)
    own, shared = e.plot(), e.plot(limit="shared")
    first, second = (shown(f.axes[1:2])[0][0, 0] for f in (own, shared))
    assert np.allclose(first, plot.overlay([[1.0]], [[1.0]], 1.0)[0, 0])
    limit = plot.limit_of(e.heatmap())
    assert np.allclose(second, plot.overlay([[1.0]], [[1.0]], limit)[0, 0])
    assert ticks(shared.axes[2]) == ticks(shared.axes[4])
    fixed = e.plot(limit=4).axes[2]
    assert ticks(fixed) == ["0", "4 for"]


def test_contours_outline_the_strongest_share():
    map = np.zeros((20, 20))
    map[2:6, 2:6], map[12:16, 12:16] = 3, -3
    map += 0.01 * noise(20, 20)
    e = explained(np.ones((1, 20, 20, 3)), map[None, ..., None])
    towards, against = e.plot(contours=0.05).axes[1].collections
    box = towards.get_paths()[0].vertices
    assert box.min() > 0.5 and box.max() < 6.5
    assert against.get_paths()[0].vertices.min() > 10.5
    assert towards.get_linestyle()[0][1] is None  # solid
    assert against.get_linestyle()[0][1] is not None  # dashed
    assert len(e.plot().axes[1].collections) == 0


def test_an_explanation_without_its_inputs_is_drawn_alone():
    e = explained(noise(1, 5, 5, 3), noise(1, 5, 5, 3))
    alone = Explanation(e.relevance, e.target, e.score, "m", None)
    figure = alone.plot()
    assert "input" not in texts(figure)
    wanted = plot.overlay(np.ones((5, 5)), e.heatmap()[0, 0])
    assert np.allclose(shown(figure.axes[:1])[0], wanted)


def test_names_given_once_are_in_the_figure():
    import keras

    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    names = {"names": ["ham", "spam"], "features": ["links", "length", "caps"]}
    e = tfxai.explain(model, noise(2, 3), "gradient", **names)
    figure = e[0].plot()
    assert texts(figure)[1] == names["names"][e.target[0]]
    assert {n.split(" = ")[0] for n in row_names(figure.axes[0])} == set(
        names["features"]
    )


@pytest.mark.parametrize("method", ["gradcam", "layercam"])
def test_cams_are_drawn_as_in_their_papers(method):
    r = np.array([[[3.0, -2], [-9, 1]]])[..., None]  # the 99.5 percentile: 2.97
    e = replace(explained(noise(1, 2, 2, 3), r), method=method)
    bar = e.plot().axes[-1]
    assert [t.get_text() for t in bar.get_xticklabels()] == ["0", "2.97 for"]
    both = e.plot(reduce="sum").axes[-1]
    assert [t.get_text().split()[-1] for t in both.get_xticklabels()] == [
        "against", "0", "for",
    ]  # fmt: skip
    np.testing.assert_array_equal(e.heatmap()[0, 0], r[0, ..., 0])


def test_sheets_and_callbacks_draw_a_cam_as_its_own_figure_does():
    import io

    from PIL import Image

    from tfxai.viz import sheet, thumbnails

    x, r = np.ones((1, 44, 44, 1)), noise(1, 44, 44, 1)
    e = Explanation(r, np.zeros(1, int), np.ones(1), "gradcam", x)
    wanted = plot.overlay(x[0], np.maximum(r[0, ..., 0], 0))
    page = sheet.Sheet("gradcam")
    page.add("a.png", e, ["class 0"])
    tile = np.asarray(Image.open(io.BytesIO(page.cards[0].tiles[1])))
    np.testing.assert_allclose(tile[2::4, 2::4] / 255, wanted, atol=0.003)
    small = thumbnails.overlays_of(e)["gradcam/0"]
    np.testing.assert_allclose(small / 255, wanted, atol=0.003)
    assert (r < 0).any()
