"""`tfxai.compare`: its numbers against `compute`, its report and its command."""

import base64
import csv
import html
import io
import json
import re
import shutil
import subprocess

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from skimage.filters import sobel

import tfxai
from tests import zoo
from tests.datasets.batches import small
from tfxai.cli import compare
from tfxai.cli.main import main
from tfxai.core.control_maps import CONTROLS
from tfxai.errors import (
    InputError,
    ModelError,
    OptionError,
    TfxaiError,
    UncertainClassWarning,
    UnknownNameError,
)
from tfxai.metrics import compare as comparison
from tfxai.metrics import comparison as results
from tfxai.metrics.masking import sensitivity
from tfxai.metrics.randomisation import randomisation
from tfxai.metrics.registry import compute, lookup

L = keras.layers
METHODS = {
    "product": "input_t_gradient",
    "cam": "gradcam",
    "noise": "random",
    "edges": "edges",
    "<b>lrp</b>": ("lrp.epsilon", {"epsilon": 0.5}),
}
METRICS = ("deletion", "sparseness", "relevance_mass")


def network():
    """Return a model without convolutions, which GradCAM needs."""
    x = keras.Input((12, 14, 3))
    return zoo.fill(keras.Model(x, L.Dense(4, "softmax")(L.Flatten()(x))))


def data(count=2):
    rng = np.random.default_rng(5)
    return rng.uniform(0, 1, (count, 12, 14, 3)).astype("float32")


BOXES = [[[0.1, 0.1, 0.6, 0.9]], [[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]]]


@pytest.fixture(scope="module")
def result():
    return tfxai.compare(
        network(), data(), methods=METHODS, metrics=METRICS, boxes=BOXES, seed=3
    )


def test_the_numbers_are_the_measures_own(result):
    model, x = network(), data()
    top = model.predict(x, verbose=0).argmax(-1)
    np.testing.assert_array_equal(result.target, top)
    for label, (name, options) in {
        "product": ("input_t_gradient", {}), "<b>lrp</b>": METHODS["<b>lrp</b>"],
    }.items():  # fmt: skip
        e = tfxai.explain(model, x, name, top, **options)
        np.testing.assert_allclose(result.explanations[label].relevance, e.relevance)
        for m in METRICS:
            wanted = compute(m, model, e, boxes=BOXES, seed=3)
            np.testing.assert_allclose(result.values[label, m], wanted, rtol=1e-6)
            assert result.mean(label, m) == pytest.approx(wanted.mean())
        at = np.round(np.linspace(0, 168, 21)) / 168  # of whole pixels
        exact = sensitivity(model, x, e, at, order="signed")
        curve = [np.interp(comparison.SHARES, at, v) for v in exact]
        np.testing.assert_allclose(result.curves[label], curve, atol=1e-6)
    p = model.predict(x, verbose=0)
    np.testing.assert_allclose(result.score, p.max(-1), atol=1e-6)


def test_maps_that_know_nothing(result):
    x = data()
    noise = result.explanations["noise"].relevance[..., 0]
    np.testing.assert_array_equal(noise[0], noise[1])
    rng = np.random.default_rng(3)
    np.testing.assert_allclose(noise[0], rng.normal(size=(12, 14)), rtol=1e-6)
    edges = result.explanations["edges"].relevance[1, ..., 0]
    np.testing.assert_allclose(edges, sobel(x[1].mean(-1)), rtol=1e-5)
    assert result.mean("product", "deletion") < result.mean("noise", "deletion")
    assert set(CONTROLS) == {"random", "edges"}


def test_an_error_of_one_method_does_not_stop_the_others(result):
    assert list(result.errors) == ["cam"] and "spatial" in result.errors["cam"]
    assert "cam" not in result.explanations
    (row,) = [r for r in result.rows() if r["method"] == "cam"]
    assert [row[m] for m in METRICS] == [None] * 3
    without = tfxai.compare(
        network(), data(), methods=["random"], metrics=["sparseness", "pointing_game"]
    )
    assert list(without.errors) == [("random", "pointing_game")]
    assert without.mean("random", "sparseness") is not None


def test_what_is_warned_of_stands_beside_the_numbers(tmp_path):
    model, x = network(), data()
    lost = model.predict(x, verbose=0).argmin(-1)
    with pytest.warns(UncertainClassWarning):
        c = tfxai.compare(
            model, x, lost, ["random", "edges"], ["key_size", "sparseness"]
        )
    assert list(c.warnings) == [("random", "key_size"), ("edges", "key_size")]
    ((text, where),) = c.warnings_by_text().items()
    assert "sample(s) [0, 1] is not the top class" in text
    assert where == ["random, key_size", "edges, key_size"]
    page = c.report(tmp_path / "r.html").read_text()
    assert f"<li>{html.escape(text)} <span>({'; '.join(where)})</span></li>" in page
    plain = tfxai.compare(model, x, methods=["random"], metrics=["sparseness"])
    assert "What to know" not in plain.report(tmp_path / "r.html").read_text()


def test_curves_of_logits_and_why_there_are_none(monkeypatch):
    def failing(*_, **__):
        raise ModelError("The model answered NaN.", "finite answers")

    x = data(1)
    linear = keras.Sequential([keras.Input(x.shape[1:]), L.Flatten(), L.Dense(2)])
    c = tfxai.compare(linear, x, None, ["gradient"], ["sparseness"])
    curve, logits = c.curves["gradient"][0], linear.predict(x, verbose=0)[0]
    assert c.warnings == {} and c.settings["curve"] == "logit"
    masked = np.broadcast_to(x.mean((1, 2)), x.shape)
    last = linear.predict(masked, verbose=0)[0, c.target[0]]
    np.testing.assert_allclose(curve[[0, -1]], [logits.max(), last], rtol=1e-5)
    monkeypatch.setattr(comparison, "curves", failing)
    c = tfxai.compare(network(), x, None, ["gradient"], ["sparseness"])
    assert c.warnings == {("gradient", "curves"): ["The model answered NaN."]}
    assert np.isnan(c.curves["gradient"]).all() and not c.errors


def test_measures_may_have_options_and_labels_of_their_own(tmp_path):
    model, x = network(), data()
    chosen = {"few steps": ("deletion", {"n_steps": 3}), "insertion": "insertion"}
    c = tfxai.compare(model, x, methods=["gradient"], metrics=chosen)
    assert c.metrics == ("few steps", "insertion")
    e = c.explanations["gradient"]
    for label, options in (("few steps", {"n_steps": 3}), ("insertion", {})):
        name = "deletion" if options else label
        wanted = compute(name, model, e, **options)
        np.testing.assert_allclose(c.values["gradient", label], wanted, rtol=1e-6)
    assert c.markdown().splitlines()[0] == "| method | few steps ↓ | insertion ↑ |"
    text = c.report(tmp_path / "r.html").read_text()
    assert "few steps ↓</b>" in text and "deletion: n_steps=3" in text
    with pytest.raises(OptionError, match="step"):
        tfxai.compare(
            model, x, methods=["gradient"], metrics={"a": ("deletion", {"step": 3})}
        )


def test_a_model_that_ends_in_logits_is_measured_by_them():
    x, inputs = data(), keras.Input((12, 14, 3))
    model = zoo.fill(keras.Model(inputs, L.Dense(4)(L.Flatten()(inputs))))
    c = tfxai.compare(model, x, methods=["gradient"], progress=False)
    assert c.metrics == (
        "deletion of the logit", "insertion of the logit",
        "region_perturbation of the logit", "sparseness",
    )  # fmt: skip
    wanted = compute("deletion", model, c.explanations["gradient"], output="logit")
    np.testing.assert_array_equal(c.values["gradient", c.metrics[0]], wanted)
    assert not c.errors


def test_a_network_that_forgets_is_shown(tmp_path):
    model, x = network(), data(3)
    kept = model.get_weights()
    methods = {"product": "gradient", "edges": "edges", "cam": "gradcam"}
    c = tfxai.compare(
        model, x, methods=methods, metrics=["sparseness"], randomise=2, seed=5
    )
    for old, new in zip(kept, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert list(c.randomised) == ["product", "edges"] and list(c.errors) == ["cam"]
    wanted = randomisation("gradient", model, x[:2], c.target[:2], stages=4, seed=5)
    np.testing.assert_allclose(
        c.randomised["product"].heatmaps, wanted.heatmaps, atol=1e-6
    )
    np.testing.assert_allclose(c.randomised["edges"].rank_correlation, 1)
    assert c.randomised["edges"].layers == wanted.layers
    text = c.report(tmp_path / "r.html").read_text()
    part = text[text.index("Parameter randomisation test") : text.index("How to read")]
    assert part.count("<img ") == 2 * 2 * (1 + len(wanted.layers))
    rank, own, like = (v[0, 1] for v in (wanted.rank_correlation, wanted.signed,
                                         wanted.ssim))  # fmt: skip
    assert f"<span>rank {rank:.2f}, signed {own:.2f}, SSIM {like:.2f}</span>" in part
    same = "<span>rank 1.00, signed 1.00, SSIM 1.00</span>"
    assert part.count(same) == 2 * len(wanted.layers)
    other = tfxai.compare(
        lambda v: model.predict(v, verbose=0), x, methods=["random"],
        metrics=["sparseness"], randomise=1,
    )  # fmt: skip
    assert list(other.errors) == [("random", "randomisation")]
    text = other.report(tmp_path / "r.html").read_text()
    assert "Parameter randomisation test" not in text


def test_the_best_is_marked_by_its_direction(result):
    for name in METRICS:
        means = {m: result.mean(m, name) for m in METHODS if m != "cam"}
        pick = max if lookup(name).better == "higher" else min
        assert result.best(name) == [
            m for m, v in means.items() if v == pick(means.values())
        ]
    lines = result.markdown().splitlines()
    assert lines[0] == "| method | deletion ↓ | sparseness ↑ | relevance_mass ↑ |"
    cells = {
        line.split(" | ")[0][2:]: line[2:-2].split(" | ")[1:] for line in lines[2:]
    }
    assert cells["cam"] == ["-", "-", "-"]
    for i, name in enumerate(METRICS):
        bold = [m for m, row in cells.items() if row[i].startswith("**")]
        assert bold == result.best(name)
        plain = cells["product"][i].strip("*")
        assert plain == f"{result.mean('product', name):.3g}"


def test_every_number_is_in_the_csv(result, tmp_path):
    path = result.csv(tmp_path / "all.csv")
    rows = list(csv.DictReader(path.open()))
    assert len(rows) == 4 * 3 * 2
    for row in rows:
        value = result.values[row["method"], row["metric"]][int(row["sample"])]
        assert float(row["value"]) == value
        assert int(row["target"]) == result.target[int(row["sample"])]


def test_what_cannot_be_compared():
    model, x = network(), data()
    with pytest.raises(UnknownNameError, match="gradient"):
        tfxai.compare(model, x, methods=["gradien"])
    with pytest.raises(UnknownNameError, match="deletion"):
        tfxai.compare(model, x, methods=["random"], metrics=["deletoin"])
    with pytest.raises(OptionError, match="a list of names"):
        tfxai.compare(model, x, methods="random")
    with pytest.raises(InputError, match="shape"):
        tfxai.compare(model, x[0], methods=["random"])
    for wrong in (9, [0, 1], [[0, 1], [1, 2], [0, 3]], 1.7):
        with pytest.raises(TfxaiError, match="target"):
            tfxai.compare(model, data(3), wrong, methods=["random"])
    for wrong in ("all", lambda y: y[:, 0]):
        with pytest.raises(InputError, match="one class per image"):
            tfxai.compare(model, x, wrong, methods=["random"])
    for wrong in ({"a": 3}, {"a": ("gradient",)}, [3]):
        with pytest.raises(TfxaiError, match="name"):
            tfxai.compare(model, x, methods=wrong)
    with pytest.raises(OptionError, match="samplez"):
        tfxai.compare(model, x, methods={"a": ("random", {"samplez": 3})})
    with pytest.raises(InputError, match="boxes"):
        tfxai.compare(model, x, methods=["random"], boxes=BOXES[:1])


def test_the_seed_reaches_the_methods_that_draw():
    model, x = network(), data()
    few = {"n_samples": 40}
    given = {"own": ("rise", {"seed": 7, **few}), "given": ("rise", few)}
    result = [
        tfxai.compare(model, x, 0, given, ["sparseness"], seed=s).explanations
        for s in (0, 1)
    ]
    for label, name in (("own", 7), ("given", 1)):
        e = tfxai.explain(model, x, "rise", 0, seed=name, **few)
        np.testing.assert_allclose(result[1][label].relevance, e.relevance, atol=1e-6)
    assert not np.allclose(result[0]["given"].relevance, result[1]["given"].relevance)


def test_many_methods_have_their_lines_named_in_the_figure(tmp_path):
    methods = {f"noise {i}": "random" for i in range(16)}
    methods["cam"] = "gradcam"
    c = tfxai.compare(network(), data(), methods=methods, metrics=["sparseness"])
    text = c.report(tmp_path / "r.html", title="{{settings}}").read_text()
    assert "<title>{{settings}}</title>" in text
    svg = text[text.index("<svg") : text.index("</svg>")]
    assert float(re.search(r'height="([\d.]+)pt"', svg)[1]) > 72 * 0.25 * 16
    part = text[text.index("<h2>Errors</h2>") :]
    assert f"<dt>cam</dt><dd>{html.escape(c.errors['cam'])}</dd>" in part


# -- the page ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def page(result, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    names = ["<script>alert(1)</script>", "a & b", "c", "d"]
    called = ['"><img src=x>.png', "two.png"]
    return result.report(path, names=names, file_names=called)


def test_the_page_is_whole_escaped_and_fetches_nothing(page, result):
    text = page.read_text()
    assert "{{" not in text and "<script" not in text and "<img src=x" not in text
    assert "<b>lrp</b></th>" not in text and "&lt;b&gt;lrp&lt;/b&gt;" in text
    sources = re.findall(r'<img src="([^"]*)"', text)
    assert len(sources) == 2 * (1 + 4)
    assert all(s.startswith("data:image/png;base64,") for s in sources)
    links = re.findall(r'(?:src|href)="(?!data:|#)([^"]*)"', text)
    assert not links and "@import" not in text and "url(http" not in text
    for (m, n), values in result.values.items():
        mark = ' class="best"' if m in result.best(n) else ""
        assert f"<td{mark}>{values.mean():.3g}<span>± {values.std():.2g}</span>" in text
        for sentence in (lookup(n).how_to_read, lookup(n).bad):
            assert sentence[:40] in text.replace("&#x27;", "'")
    assert text.count(">error</td>") == 2 + 3  # its heatmaps and its numbers
    assert "epsilon=0.5" in text and f"keras {keras.__version__}" in text
    assert "seed</dt><dd>3" in text


def test_the_pictures_are_the_overlays(page, result):
    sources = re.findall(r'src="data:image/png;base64,([^"]*)"', page.read_text())
    first = np.asarray(Image.open(io.BytesIO(base64.b64decode(sources[1]))))
    wanted = tfxai.plot.overlay(
        data()[0], result.explanations["product"].heatmap()[0], boxes=BOXES[0]
    )
    times = len(first) // 12
    np.testing.assert_allclose(first[::times, ::times] / 255, wanted, atol=1 / 255)


def test_a_browser_shows_pictures_and_figures(page, tmp_path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("there is no browser (Debian: apt install chromium)")
    shot = tmp_path / "shot.png"
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
        f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1300,2200",
        f"--screenshot={shot}", page.as_uri(),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    seen = np.asarray(Image.open(shot).convert("RGB"), int)
    assert seen.shape == (2200, 1300, 3)
    red = (seen[..., 0] > 150) & (seen[..., 1:].max(-1) < 80)
    dark = seen.max(-1) < 90
    assert red[:900].sum() > 500  # the overlays, and red text
    assert dark[:900].sum() > 1000 and dark[900:].sum() > 1000  # text, above and below
    curve = np.abs(seen - [200, 30, 46]).max(-1) < 12  # the first line of the figure
    assert curve[900:].sum() > 200
    assert (seen[:, :20] == 255).all()  # the margin is empty


# -- the command ---------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    network().save(tmp_path / "net.keras")
    for name, x in zip("ab", data(), strict=True):
        Image.fromarray(np.uint8(x * 255)).save(tmp_path / f"{name}.png")
    boxes = {f"{n}.png": b for n, b in zip("ab", BOXES, strict=True)}
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    return tmp_path


def run(folder, *words):
    given = ["compare", "--model", folder / "net.keras", *words]
    return CliRunner().invoke(main, [str(w) for w in given])


def test_the_command_prints_and_writes(folder, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    result = run(
        folder, "--methods", "input_t_gradient,random", "--boxes",
        folder / "boxes.json", "--report", folder / "r.html", "--csv",
        folder / "r.csv", "--metrics",
        "sparseness,relevance_mass", folder / "a.png", folder / "b.png",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    x = np.stack([np.asarray(Image.open(folder / f"{n}.png"), "f") for n in "ab"])
    c = tfxai.compare(
        network(), x, methods=["input_t_gradient", "random"], boxes=BOXES,
        metrics=["sparseness", "relevance_mass"],
    )  # fmt: skip
    for row in c.rows():
        (line,) = [t for t in result.output.splitlines() if row["method"] in t.split()]
        numbers = [f"{row[n]:.3g}" for n in c.metrics]
        assert line.split()[1:] == numbers
    assert "b.png" in (folder / "r.html").read_text()
    assert len((folder / "r.csv").read_text().splitlines()) == 1 + 2 * 2 * 2


def numbers_of(output, name):
    """Return the words after the name in its line of a table."""
    (line,) = [t for t in output.splitlines() if t.split()[:1] == [name]]
    return line.split()[1:]


def test_the_command_and_explain_give_a_method_the_same_bounds(folder, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    model = small((12, 14))
    model.save(folder / "net.keras")
    (folder / "prep.py").write_text("def third(x):\n    return x / 3. - 1.\n")
    words = ("--preprocess", f"{folder}/prep.py:third", folder / "a.png")
    bounded = ("lrp", "lrp.epsilon_gamma_box")
    chosen = ("--metrics", "sparseness", "--csv", folder / "r.csv")
    result = run(folder, *chosen, "--methods", ",".join((*bounded, "random")), *words)
    assert result.exit_code == 0, result.output
    part = "bounds: low -1, high 84 ([0, 255] as preprocessed)"
    assert result.stderr.count(part) == result.stderr.count("bounds:") == 1
    with (folder / "r.csv").open() as file:
        values = {row["method"]: float(row["value"]) for row in csv.DictReader(file)}
    for name in bounded:
        given = ["explain", "--model", folder / "net.keras", "--method", name]
        given = [str(w) for w in (*given, "--out", folder / "out", *words)]
        assert CliRunner().invoke(main, given).exit_code == 0
        e = tfxai.load(folder / "out" / f"a.{name}.npz")
        (value,) = compute("sparseness", model, e, preprocess=third)
        assert values[name] == pytest.approx(value, rel=1e-6)
    free = tfxai.explain(model, e.inputs, "lrp", preprocess=third)
    (value,) = compute("sparseness", model, free, preprocess=third)
    assert abs(values["lrp"] - value) > 5e-5
    result = run(folder, *chosen, "--methods", "gradient,edges", *words)
    assert "bounds" not in result.stderr


def third(x):
    return x / 3.0 - 1.0


def test_the_command_prints_how_methods_forget(folder, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    words = ("--metrics", "sparseness", folder / "a.png", folder / "b.png")
    result = run(folder, "--methods", "gradient,edges", "--randomise", 2, *words)
    assert result.exit_code == 0, result.output
    x = np.stack([np.asarray(Image.open(folder / f"{n}.png"), "f") for n in "ab"])
    part = result.stdout[result.stdout.index("randomised weights") :]
    assert part.split("\n")[0].split()[-5:] == [
        *("rank", "of", "|relevance|", "signed", "SSIM")
    ]
    model = keras.models.load_model(folder / "net.keras")
    for name in ("gradient", "edges"):
        c = tfxai.compare(model, x, None, [name], ["sparseness"], randomise=2)
        r = c.randomised[name]
        measured = (r.rank_correlation, r.signed, r.ssim)
        assert numbers_of(part, name) == [
            *r.layers, *(f"{m[0].mean():.2f}" for m in measured)
        ]  # fmt: skip
    assert numbers_of(part, "edges")[1:] == ["1.00"] * 3
    result = run(folder, "--methods", "gradient", *words)
    assert "randomised weights" not in result.stdout


def test_a_folder_without_permission_is_an_error_before_the_work(folder, monkeypatch):
    def compared(*_, **__):
        raise AssertionError("it computed")

    monkeypatch.setattr(compare, "compare", compared)
    (folder / "a file").touch()
    for words, expected in (
        (("--report", folder / "r.pdf"), "--report r.html"),
        (("--report", folder / "a file" / "r.html"), "--report"),
        (("--csv", folder / "a file" / "r.csv"), "r.csv: File exists"),
        (("--csv", folder), "it is a folder"),
    ):
        result = run(folder, "--methods", "random", *words, folder / "a.png")
        assert result.exit_code == 2 and isinstance(result.exception, SystemExit)
        assert expected in result.stderr and result.stdout == ""


def test_a_page_is_written_where_the_numbers_cannot_be(folder, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    words = ("--methods", "random", "--metrics", "sparseness", folder / "a.png")
    places = ("--report", folder / "new" / "r.html", "--csv", folder / "r.csv")
    monkeypatch.setattr(results, "write_csv", full)
    result = run(folder, *words, *places)
    assert result.exit_code == 2 and isinstance(result.exception, SystemExit)
    assert f"'{folder}/r.csv': [Errno 28] No space left" in result.stderr
    assert "sparseness" in result.stdout and "The page: " in result.stdout
    assert "random" in (folder / "new" / "r.html").read_text()
    monkeypatch.setattr(results, "write", full)
    result = run(folder, *words, *places)
    assert result.exit_code == 2 and result.stderr.count("No space left") == 2


def test_boxes_of_pictures_of_one_name_are_refused(folder):
    (folder / "sub").mkdir()
    shutil.copy(folder / "b.png", folder / "sub" / "a.png")
    paths = (folder / "a.png", folder / "sub" / "a.png")
    words = ("--methods", "random", "--metrics", "relevance_mass")
    result = run(folder, *words, "--boxes", folder / "boxes.json", *paths)
    assert result.exit_code == 2 and result.stdout == ""
    assert f"of the same name: {paths[0]}, {paths[1]}." in result.stderr


def test_the_command_says_what_is_wrong(folder):
    (folder / "boxes.json").write_text('{"a.png": []}')
    words = ("--boxes", folder / "boxes.json", folder / "a.png", folder / "b.png")
    result = run(folder, "--methods", "random", *words)
    assert result.exit_code == 2 and "--boxes" in result.stderr
    result = run(folder, "--methods", "gradcam", "--metrics", "sparseness", folder)
    assert result.exit_code == 1 and "gradcam:" in result.stderr
    (folder / "c.png").write_text("no image")
    result = run(folder, "--methods", "random", "--metrics", "sparseness", folder)
    assert result.exit_code == 1 and "c.png" in result.stderr
