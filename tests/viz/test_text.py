"""Words on the colours of their relevance: HTML and figures."""

import dataclasses
import html
import io
import re

import numpy as np
import pytest

from tests.viz.test_plot import noise, texts, ticks
from tfxai import plot
from tfxai.core.explanation import Explanation
from tfxai.errors import InputError, OptionError

TOKENS = ["[CLS]", "un", "##believ", "##able", "<b>", "&", "film", "[SEP]", "[PAD]"]
WORDS = ["[CLS]", "unbelievable", "<b>", "&", "film", "[SEP]"]


def explained(targets=1, **fields):
    relevance = noise(1, targets, len(TOKENS)).astype(np.float32)
    target = np.arange(targets)[None]
    given = {"tokens": [TOKENS], "names": ["bad <1>", "good"], **fields}
    return Explanation(
        relevance, target, target + 0.5, "attnlrp", np.arange(9)[None], **given
    )


def spans(text):
    """(word, tooltip, background) of each word."""
    found = re.findall(r'<span style="background:(#\w+)[^>]*title="(.*?)">(.*?)<', text)
    return [(html.unescape(w), float(t), c) for c, t, w in found]


def test_words_are_joined_escaped_and_coloured():
    e = explained()
    text = plot.text(e)
    r = e.relevance[0, 0]
    sums = [r[0], r[1:4].sum(), *r[4:8]]
    assert [w for w, _, _ in spans(text)] == WORDS  # no padding
    assert np.allclose([t for _, t, _ in spans(text)], sums, rtol=6e-3)
    largest = int(np.abs(sums).argmax())
    red, _, blue = (int(spans(text)[largest][2][i : i + 2], 16) for i in (1, 3, 5))
    assert (red > blue) == (sums[largest] > 0) and abs(red - blue) > 120
    assert "&lt;b&gt;" in text and "<b>film" not in text and "<script" not in text
    assert "bad &lt;1&gt;" in text and "attnlrp" in text
    limit = np.abs(sums).max()
    assert f"{-limit:.3g} against" in text and f"{limit:.3g} for" in text
    assert not re.search(r"(src|href)=", text)  # self-contained
    assert text._repr_html_() == text


def test_targets_are_below_each_other_with_their_own_or_a_shared_limit():
    e = explained(2)
    assert [w for w, _, _ in spans(plot.text(e))] == WORDS * 2
    own = re.findall(r"<span>([\d.e-]+) for", plot.text(e))
    shared = re.findall(r"<span>([\d.e-]+) for", plot.text(e, limit="shared"))
    assert len(set(own)) == 2 and len(set(shared)) == 1
    assert max(own, key=float) == shared[0]


def test_the_figure_has_the_same_words_on_lines():
    e = explained(2)
    figure = plot.text(e).figure()
    assert texts(figure)[:3] == ["attnlrp", "bad <1>", "score 0.5"]
    words, bar, *_ = figure.axes
    assert [t.get_text() for t in words.texts] == WORDS
    limit = max(abs(t) for _, t, _ in spans(plot.text(e[0]))[: len(WORDS)])
    assert float(ticks(bar)[-1].split()[0]) == pytest.approx(limit, rel=6e-3)
    assert texts(e.plot()) == texts(figure)  # not bars of ids
    long = ["word"] * 90
    many = Explanation(noise(1, 90), np.zeros(1, int), np.ones(1), "m",
                       np.arange(90)[None], tokens=[long])  # fmt: skip
    figure = many.plot()
    figure.savefig("/dev/null", format="png")
    width = figure.get_size_inches()[0] * figure.dpi
    boxes = [t.get_window_extent() for t in figure.axes[0].texts]
    assert max(b.x1 for b in boxes) <= width
    assert len({round(b.y0) for b in boxes}) >= 5  # lines


def test_tokens_are_given_with_the_explanation_or_with_the_figure(tmp_path):
    bare = explained(tokens=None)
    with pytest.raises(InputError, match="without tokens"):
        plot.text(bare)
    assert plot.text(bare, TOKENS) == plot.text(explained())
    with pytest.raises(OptionError, match=r"10 texts.*1 samples of 9 positions"):
        plot.text(bare, [[*TOKENS, "x"]])
    image = Explanation(
        noise(1, 4, 4, 3), np.zeros(1, int), np.ones(1), "m", noise(1, 4, 4, 3)
    )
    with pytest.raises(InputError, match=r"Relevance of shape \(4, 4\) per sample"):
        plot.text(image, [["a"]])


def test_a_page_and_a_picture_are_written(tmp_path):
    text = plot.text(explained())
    page = text.save(tmp_path / "why.html").read_text("utf-8")
    assert str(text) in page and "Content-Security-Policy" in page
    assert text.save(tmp_path / "why.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(OptionError, match=r"ends in .html or .png"):
        text.save(tmp_path / "why.txt")


def test_ids_beside_a_mask():
    e = explained()
    both = Explanation(
        [np.zeros((1, 9)), e.relevance[:, 0]], np.zeros(1, int), np.ones(1), "m",
        [np.ones((1, 9), int), np.arange(9)[None]], tokens=[TOKENS],
        input_names=["padding_mask", "token_ids"],
    )  # fmt: skip
    assert [w for w, _, _ in spans(plot.text(both))] == WORDS
    figure = both.plot()
    assert [t.get_text() for t in figure.axes[0].texts] == WORDS
    rows = both.to_dataframe()
    assert rows[rows["input"] == "token_ids"]["token"].tolist() == TOKENS


def generated():
    """Three generated tokens: each row holds its own prefix."""
    words = ["<s>", "the", "keys", "are", "here"]
    relevance = np.array(
        [[9, 1, -2, 0, 0], [8, 1, 3, -4, 0], [7, 1, 2, 6, 5]], np.float32
    )
    return Explanation(
        relevance, np.array([3, 4, 1]), np.ones(3), "attnlrp",
        np.ones((3, 5), np.int32), tokens=[words[:3], words[:4], words],
        names=["<s>", "the", "keys", "are", "here"],
    )  # fmt: skip


def test_a_matrix_of_generated_tokens():
    figure = plot.generated(generated())
    axes = figure.axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["are", "here", "the"]
    columns = [t.get_text() for t in axes.get_xticklabels()]
    assert columns == ["<s>", "the", "keys", "are", "here"]
    drawn = np.asarray(axes.images[0].get_array())
    assert (drawn[0, 3:] == 1).all() and (drawn[0, :3] != 1).any(-1).all()
    red, _, blue = drawn[0, 0]
    assert red > blue and drawn[0, 2, 0] < drawn[0, 2, 2]  # for and against
    with pytest.raises(InputError, match="one prompt"):
        plot.generated(explained(2))


def test_bars_of_the_strongest_words():
    axes = plot.strongest(generated()[1:], top=2).axes
    assert [t.get_text() for t in axes[0].get_yticklabels()] == ["are", "keys"]
    assert [b.get_width() for b in axes[0].patches] == [-4, 3]
    assert [t.get_text() for t in axes[1].get_yticklabels()] == ["are", "here"]


def test_several_methods_below_each_other():
    e = generated()[:1]
    other = dataclasses.replace(e, relevance=-2 * e.relevance, method="gradient")
    text = plot.text([e, other])
    assert [t for _, t, _ in spans(text)] == [9, 1, -2, -18, -2, 4]
    assert text.index("attnlrp: ") < text.index("gradient: ")
    text = plot.text({"one": e, "two": other})
    assert "one: " in text and "two: " in text
    with pytest.raises(OptionError, match="No explanation"):
        plot.text([])


@pytest.mark.parametrize("source", [2, 0])
def test_source_and_written_words_have_lines_of_their_own(source):
    e = generated()
    e = dataclasses.replace(e, extra={"source_tokens": np.full(3, source)})
    lines = re.findall(r"anywhere.>(.*?)</div>", plot.text([e[2:], e[2:]]))
    found = [html.unescape(re.sub("<.*?>", "", line)) for line in lines]
    want = ["source <s> the", "written keys are here"] if source else [
        "written <s> the keys are here"]  # fmt: skip
    assert found == want * 2
    begun = dataclasses.replace(e[:1], tokens=[["<s>", "the", "<pad>"]])
    assert ("&lt;pad&gt;" in plot.text(begun)) == bool(source)  # what a decoder reads
    drawn = {t.get_text(): t.get_position() for t in e[2:].plot().axes[0].texts}
    assert (
        (drawn["source"][1] < drawn["written"][1]) if source else "source" not in drawn
    )
    assert drawn["keys"][1] == drawn["written"][1] and drawn["keys"][0] > 0.5
    assert len(plot.generated(e).axes[0].lines) == bool(source)


def test_the_signs_of_word_beginnings_are_not_drawn():
    names = ["<s>", "▁the", "▁keys", "Ġare", "Ġ"]
    e = dataclasses.replace(
        generated(), tokens=[names[:3], names[:4], names], names=names,
        extra={"answer": ["are  the"], "contrast_token": np.array([1, 2, 0])},
    )  # fmt: skip
    for title in ("are rather than the", "Ġ rather than keys", "the rather than <s>"):
        assert title.replace("<", "&lt;").replace(">", "&gt;") in plot.text(e)
    axes = plot.generated(e).axes[0]
    columns = [t.get_text() for t in axes.get_xticklabels()]
    assert columns == ["<s>", "the", "keys", "are", "Ġ"]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["are", "Ġ", "the"]


def test_a_run_of_one_special_token_is_drawn_as_one_word():
    tokens = ["a", *["<img>"] * 4, "b", "b", *["<s>"] * 3]
    e = Explanation(
        np.arange(10.0)[None], np.zeros(1, int), np.ones(1), "m",
        np.ones((1, 10), int), {"source_tokens": np.array([5])}, tokens=[tokens],
    )  # fmt: skip
    found = [(w, t) for w, t, _ in spans(plot.text(e))]
    shown = ["a", "<img x 4>", "b", "b", "<s>", "<s>", "<s>"]
    assert found == list(zip(shown, [0, 10, 5, 6, 7, 8, 9], strict=True))
    axes = plot.generated(e).axes[0]
    assert [t.get_text() for t in axes.get_xticklabels()] == shown
    assert axes.lines[0].get_xdata()[0] == 1.5  # behind the source
    assert plot.strongest(e).axes[0].get_yticklabels()[0].get_text() == "b"


def test_special_tokens_alone_have_bars():
    e = dataclasses.replace(generated()[:1], tokens=[["<s>", "[A]"]])
    bars = plot.strongest(e).axes[0].patches
    assert [b.get_width() for b in bars] == [9, 1]


def test_words_in_a_terminal():
    rich = pytest.importorskip("rich.console")
    out = io.StringIO()
    given = {"force_terminal": True, "color_system": "truecolor", "width": 60}
    rich.Console(file=out, **given).print(plot.text(generated()[:1]))
    inks = re.findall(r"48;2;(\d+);(\d+);(\d+)m([^\x1b ]+)", out.getvalue())
    found = {word: tuple(map(int, ink)) for *ink, word in inks}
    assert list(found) == ["<s>", "the", "keys"]
    assert found["<s>"][0] > found["<s>"][2] and found["keys"][0] < found["keys"][2]
