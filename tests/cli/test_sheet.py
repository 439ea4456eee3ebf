"""`tfxai explain --html` and `--contact-sheet`: all images of a folder at once."""

import base64
import io
import re

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import tfxai
from tests.zoo import fill
from tfxai.cli.main import main
from tfxai.viz.sheet import TILE

NAMES = ["cat", "<dog>"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a network, two images and labels, explained once."""
    home = tmp_path_factory.mktemp("sheet")
    i = keras.Input((8, 8, 3))
    y = keras.layers.Dense(2, "softmax")(keras.layers.Flatten()(i))
    fill(keras.Model(i, y)).save(home / "net.keras")
    (home / "labels.txt").write_text("\n".join(NAMES))
    rng = np.random.default_rng(0)
    (home / "in").mkdir()
    for name in ("a&b", "c"):
        pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(home / "in" / f"{name}.png")
    return home


def run(folder, *words):
    line = ["explain", "--model", str(folder / "net.keras"), "--method", "gradient"]
    line += ["--labels", str(folder / "labels.txt"), "--out", str(folder / "out")]
    return CliRunner().invoke(main, [*line, *map(str, words)])


def test_the_page_and_the_picture_of_a_folder(folder):
    page, picture = folder / "all.html", folder / "in" / "all.png"
    words = ["--top", 2, "--html", page, "--contact-sheet", picture, folder / "in"]
    result = run(folder, *words)
    assert result.exit_code == 0, result.output
    text = page.read_text("utf-8")
    assert "default-src 'none'" in text and "<script" not in text
    assert re.findall(r'<a href="(.*?)">(.*?)</a>', text) == [
        ("out/a%26b.gradient.png", "a&amp;b.png"), ("out/c.gradient.png", "c.png"),
    ]  # fmt: skip
    assert (folder / "out" / "a&b.gradient.png").is_file()
    heads = re.findall(r"<b>(.*?)</b>", text)
    assert heads[0] == "input" and set(heads[1:3]) == {"cat", "&lt;dog&gt;"}
    data = re.findall(r'src="data:image/png;base64,(.*?)"', text)
    tiles = [np.asarray(Image.open(io.BytesIO(base64.b64decode(d)))) for d in data]
    assert len(tiles) == 6 and {t.shape for t in tiles} == {(TILE, TILE, 3)}
    e = tfxai.load(folder / "out" / "c.gradient.npz")
    wanted = tfxai.plot.overlay(e.inputs[0], e.heatmap()[0, 0])
    times = TILE // 8
    drawn = tiles[4].reshape(8, times, 8, times, 3)[:, times // 2, :, times // 2]
    np.testing.assert_allclose(drawn / 255, wanted, atol=1 / 255)

    sheet = np.asarray(Image.open(picture).convert("RGB"))
    first = tiles[0][TILE // 2]
    rows = np.lib.stride_tricks.sliding_window_view(sheet, (1, TILE, 3))
    assert (rows[..., 0, :, :] == first).all((-1, -2)).any()

    again = run(folder, *words)
    assert "left out: 1 image(s)" in again.output
    assert text.count("<figure>") == page.read_text("utf-8").count("<figure>") == 2


def test_the_names_of_the_files_are_checked_first(folder):
    result = run(folder, "--html", folder / "all.pdf", folder / "in")
    assert result.exit_code == 2 and "ends in .html" in result.output
    result = run(folder, "--contact-sheet", folder / "all.jpg", folder / "in")
    assert result.exit_code == 2 and "--contact-sheet all.png" in result.output


def test_tables_have_no_such_page(folder):
    (folder / "rows.csv").write_text("a,b\n1,2\n")
    result = run(folder, "--html", folder / "t.html", folder / "rows.csv")
    assert result.exit_code == 2 and "with a table or texts" in result.output
