"""The command line: its files equal the results of the API, its errors are messages."""

import ast
import json
import re
import shlex
import subprocess
import sys
import types
from pathlib import Path

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib.figure import Figure
from PIL import Image

import tfxai
from tests.zoo import fill
from tfxai.cli import explain
from tfxai.cli.main import main
from tfxai.errors import OptionError, TfxaiError
from tfxai.io import images, networks

ROOT = Path(__file__).parents[2]
LABELS = ["zebra", "African elephant, Loxodonta", "crane", "crane", "tench"]
L = keras.layers


def small(size=16, channels=3, softmax=True):
    """Convolution, pooling, five classes."""
    x = keras.Input((size, size, channels))
    h = L.Conv2D(6, 3, activation="relu", name="conv")(x)
    h = L.GlobalAveragePooling2D(name="pool")(h)
    h = L.Dense(5, activation="softmax" if softmax else None, name="classes")(h)
    model = fill(keras.Model(x, h))
    model.get_layer("conv").kernel.assign(model.get_layer("conv").kernel / 100)
    return model


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a network, labels, preprocessing and three images."""
    home = tmp_path_factory.mktemp("home")
    small().save(home / "net.keras")
    (home / "labels.json").write_text(json.dumps(LABELS))
    (home / "prep.py").write_text("def bgr(x):\n    return x[..., ::-1] - [1., 2, 3]\n")
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        pixels = rng.integers(0, 256, (20, 24, 3), np.uint8)
        Image.fromarray(pixels).save(home / f"{name}.png")
    return home


@pytest.fixture
def tfxai_run(home, tmp_path, monkeypatch):
    """Run `tfxai explain --model net.keras` with arguments; {} is the home folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words, model="{}/net.keras"):
        words = ["explain", "--model", model, *words]
        return CliRunner().invoke(main, [str(w).format(home) for w in words])

    return run


def read(home, name="a"):
    return images.read(home / f"{name}.png", (16, 16))[None]


def same(a, b):
    """Check that two explanations are equal bit by bit, with method and extra."""
    for name in ("relevance", "target", "score", "inputs"):
        assert np.array_equal(getattr(a, name), getattr(b, name)), name
    assert a.relevance.dtype == b.relevance.dtype
    assert (a.method, dict(a.extra)) == (b.method, dict(b.extra))


# -- output files --------------------------------------------------------------------


def test_the_top_class_bit_by_bit(home, tfxai_run, tmp_path):
    result = tfxai_run("{}/a.png", "--labels", "{}/labels.json")
    assert result.exit_code == 0, result.output
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.sglrp.npz", "a.sglrp.png"]
    model = networks.load(home / "net.keras")
    e = tfxai.explain(model, read(home), "sglrp", low=0.0, high=255.0)
    same(tfxai.load(tmp_path / "a.sglrp.npz"), e)
    assert "bounds: low 0, high 255 (no --preprocess)" in result.stderr
    probability = model(read(home)).numpy()[0, e.target[0]]
    row = next(line for line in result.stdout.split("\n") if "a.png" in line)
    words = [
        LABELS[e.target[0]].split(",")[0],
        f"{probability:.1%}",
        f"{e.score[0]:.4g}",
    ]
    assert all(word in row for word in words)
    assert "→ a.sglrp.png" in result.stdout
    assert Image.open(tmp_path / "a.sglrp.png").size[0] > 700


def test_several_classes_with_preprocess_and_bounds_of_its_own(home, tfxai_run):
    words = ["--target", "african_elephant", "--target", "4", "--target", "ZEBRA"]
    words += ["--target", "zebra", "--labels", "{}/labels.json"]
    result = tfxai_run("{}/b.png", "--preprocess", "{}/prep.py:bgr", *words)
    assert result.exit_code == 0, result.output
    assert "bounds: low -1 -2 -3, high 254 253 252 ([0, 255] as pre" in result.stderr
    e = tfxai.explain(
        networks.load(home / "net.keras"),
        read(home, "b"),
        "sglrp",
        target=[[1, 4, 0]],  # in the given order, without duplicates
        preprocess=networks.preprocess(f"{home}/prep.py:bgr"),
        low=[-1.0, -2.0, -3.0],
        high=[254.0, 253.0, 252.0],
    )
    same(tfxai.load("b.sglrp.npz"), e)


def test_the_first_three_classes_are_three_runs(home, tfxai_run):
    assert tfxai_run("{}/a.png", "--top", "3").exit_code == 0
    three = tfxai.load("a.sglrp.npz")
    logits = tfxai.wrap(networks.load(home / "net.keras")).logits(read(home))[0]
    assert three.target.tolist() == [np.argsort(-logits)[:3].tolist()]
    assert np.array_equal(three.score[0], logits[three.target[0]])
    for i, target in enumerate(three.target[0]):
        assert tfxai_run("{}/a.png", "--target", target).exit_code == 0
        one = tfxai.load("a.sglrp.npz")
        assert one.relevance.shape == (1, 16, 16, 3) and one.target == [target]
        assert np.allclose(one.relevance, three.relevance[:, i], rtol=1e-5, atol=1e-7)


def test_a_batch_is_one_by_one(home, tfxai_run, tmp_path):
    options = ["--method", "gradient", "--target", "2"]
    assert tfxai_run("{}", *options, "--out", "all", "--batch-size", 2).exit_code == 0
    assert len(list((tmp_path / "all").iterdir())) == 6
    for name in "abc":
        assert tfxai_run(f"{{}}/{name}.png", *options).exit_code == 0
        one = tfxai.load(f"{name}.gradient.npz")
        batch = tfxai.load(tmp_path / "all" / f"{name}.gradient.npz")
        assert (batch.inputs == read(home, name)).all()
        assert np.allclose(one.relevance, batch.relevance, rtol=1e-5, atol=1e-8)
        assert batch.target.tolist() == one.target.tolist() == [2]
        assert batch.score.shape == (1,)


def test_options_reach_the_method(home, tfxai_run):
    words = ["--option", "scaling=false", "--option", "batch-norm=rule", "--relu"]
    result = tfxai_run("{}/a.png", *words, "--low", -10, "--high", 300)
    assert result.exit_code == 0 and "bounds" not in result.stderr
    options = {"scaling": False, "batch_norm": "rule", "relu": True}
    model = networks.load(home / "net.keras")
    e = tfxai.explain(model, read(home), "sglrp", low=-10.0, high=300.0, **options)
    same(tfxai.load("a.sglrp.npz"), e)
    assert e.relevance.min() == 0


@pytest.mark.parametrize(
    "method, given",
    [
        ("lime", {"segmenter": "grid", "n_samples": 80, "baseline": 0}),
        ("kernel_shap", {"segmenter": "grid", "segmenter_options": {"cells": 3}}),
        ("rise", {"n_samples": 20}),
        ("leg", {"base_size": 4, "n_samples": 8}),
        ("leg_tv", {"base_size": 4, "n_samples": 8, "lambdas": [0.2]}),
        ("occlusion", {"window": 5}),
    ],
)
def test_the_sampling_methods(home, tfxai_run, tmp_path, method, given):
    words = [f"--option={k}={json.dumps(v)}" for k, v in given.items()]
    run = [w.replace("{", "{{").replace("}", "}}") for w in words]
    result = tfxai_run("{}/a.png", "--method", method, "--target", "3", *run)
    assert result.exit_code == 0, result.output
    e = tfxai.explain(networks.load(home / "net.keras"), read(home), method, 3, **given)
    loaded = tfxai.load(tmp_path / f"a.{method}.npz")
    np.testing.assert_allclose(loaded.relevance, e.relevance, atol=1e-6)
    np.testing.assert_allclose(loaded.heatmap(), e.heatmap(), atol=1e-6)
    assert set(loaded.extra) == set(e.extra)
    assert Image.open(tmp_path / f"a.{method}.png").size[0] > 700


def test_the_first_classes_before_and_after(home, tfxai_run, tmp_path):
    words = ("--method", "perturbation_cnn", "--option", "n_iterations=3", "--option")
    result = tfxai_run(
        *words, "restarts=0", "--labels", "{}/labels.json", "{}/a.png", "{}/b.png"
    )
    assert result.exit_code == 0, result.output
    for name in ("a", "b"):
        e = tfxai.load(tmp_path / f"{name}.perturbation_cnn.npz")
        assert f"highest classes of {name}.png" in result.output
        part = result.output.split(f"highest classes of {name}.png")[1].split("\n\n")[0]
        lines = [line.split() for line in part.splitlines() if line.strip()][2:7]
        table = zip(
            *(e.extra[f"top_{n}"][0] for n in ("classes", "before", "after")),
            strict=True,
        )
        wanted = [
            [*LABELS[k].split(",")[0].split(), f"{b:.3g}", f"{a:.3g}"]
            for k, b, a in table
        ]
        assert lines == wanted


def test_pictures_of_their_own_size(home, tfxai_run, tmp_path):
    small(None).save(tmp_path / "any.keras")
    Image.new("RGB", (9, 31), "red").save(tmp_path / "tall.png")
    result = tfxai_run("{}/a.png", "tall.png", "{}/b.png", model="any.keras")
    assert result.exit_code == 0, result.output
    shapes = [tfxai.load(f"{n}.sglrp.npz").relevance.shape for n in ("a", "tall", "b")]
    assert shapes == [(1, 20, 24, 3), (1, 31, 9, 3), (1, 20, 24, 3)]


def test_a_network_of_grey_pictures_that_ends_in_logits(home, tfxai_run, tmp_path):
    small(16, 1, softmax=False).save(tmp_path / "grey.keras")
    result = tfxai_run("{}/a.png", model="grey.keras")
    assert result.exit_code == 0 and "%" not in result.stdout
    grey = np.asarray(Image.open(home / "a.png").convert("L").resize((16, 16), 2))
    assert np.abs(tfxai.load("a.sglrp.npz").inputs[0, ..., 0] - grey).max() < 2


def test_a_saved_model(home, tfxai_run, tmp_path):
    model = networks.load(home / "net.keras")
    model.export("folder", verbose=False)
    result = tfxai_run("{}/a.png", "--method", "gradient", model="folder")
    assert result.exit_code == 0, result.output
    e = tfxai.load("a.gradient.npz")
    assert e.relevance.shape == (1, 16, 16, 3)
    assert e.target == model(read(home)).numpy().argmax()


def test_what_tfxai_wrote_is_not_explained_again(tfxai_run, home, tmp_path):
    assert tfxai_run("{}/a.png", "--method", "gradient").exit_code == 0
    result = tfxai_run("{}/b.png", tmp_path, "--method", "gradient")
    assert "left out: 1 image" in result.stderr and result.exit_code == 0
    names = sorted(p.stem for p in tmp_path.glob("*.png"))
    assert names == ["a.gradient", "b.gradient"]


# -- names ---------------------------------------------------------------------------


def test_images_of_one_stem_get_different_files(tmp_path):
    names = ["x/a.png", "y/a.jpg", "y/a.png", "y/B.png", "x/b.png", "x/c.png"]
    paths = [tmp_path / n for n in names]
    outputs = images.output_paths(paths, Path("out"), "m")
    stems = ["x-a", "y-a-jpg", "y-a-png", "y-B", "x-b", "c"]
    assert [outputs[p] for p in paths] == [Path(f"out/{s}.m") for s in stems]


def test_two_images_of_one_output_file_are_an_error(tmp_path):
    paths = [tmp_path / "1" / "x" / "a.png", tmp_path / "2" / "x" / "a.png"]
    with pytest.raises(OptionError, match="same file"):
        images.output_paths(paths, Path("out"), "m")


# -- errors -------------------------------------------------------------------------


def test_a_broken_picture_does_not_stop_the_others(tfxai_run, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"<html>")
    (tmp_path / "empty.jpg").touch()
    result = tfxai_run("broken.jpg", "{}/a.png", "empty.jpg", "{}/b.png")
    assert result.exit_code == 1
    assert "'broken.jpg'" in result.stderr and "begins with b'<html>'" in result.stderr
    assert "'empty.jpg'" in result.stderr and "it is empty" in result.stderr
    written = {p.name for p in tmp_path.iterdir()}
    files = {f"{n}.sglrp.{s}" for n in "ab" for s in ("png", "npz")}
    assert written == {"broken.jpg", "empty.jpg", *files}


def test_a_picture_that_the_method_refuses_does_not_stop_the_others(
    home, tfxai_run, tmp_path
):
    for name in ("flat", "plain"):
        Image.new("RGB", (20, 24), "gray").save(tmp_path / f"{name}.png")
    (tmp_path / "broken.jpg").write_bytes(b"<html>")
    words = ("--method", "perturbation_cnn", "--option=n_iterations=2")
    words += ("--option=restarts=0",)
    names = ["{}/a.png", "flat.png", "broken.jpg", "plain.png", "{}/b.png"]
    for size in (1, 8):
        result = tfxai_run(*names, *words, "--batch-size", size, "--out", size)
        assert result.exit_code == 1, result.output
        for name in ("flat", "plain"):
            text = f"'{name}.png': Sample(s) {name}.png are of one colour"
            assert result.stderr.count(text) == 1
        assert "[0] are" not in result.stderr and "b'<html>'" in result.stderr
        stems = {p.name.split(".")[0] for p in (tmp_path / str(size)).iterdir()}
        assert stems == {"a", "b"}
        for name in "ab":
            lines = result.stdout.split("\n")
            (row,) = [line for line in lines if line.split()[:1] == [f"{name}.png"]]
            one = tfxai.load(f"{size}/{name}.perturbation_cnn.npz")
            assert f"{one.score[0]:.4g}" in row
            assert (one.inputs == read(home, name)).all()
    result = tfxai_run("flat.png", "plain.png", *words, "--out", "none")
    assert result.exit_code == 2 and result.stdout == ""
    assert "are of one colour, which no perturbation changes" in result.stderr
    assert list((tmp_path / "none").iterdir()) == []


def test_what_the_command_has_a_flag_for_is_no_option_of_the_method(tfxai_run):
    for name, line in (
        ("target", "--target VALUE"),
        ("batch-size", "--batch-size VALUE"),
        ("unsafe", "--unsafe"),
    ):
        result = tfxai_run("{}/a.png", "--method", "gradient", f"--option={name}=2")
        assert result.exit_code == 2 and f"Write: {line}\n" in result.stderr
    for name in ("model", "name", "output", "paths", "options"):
        result = tfxai_run("{}/a.png", "--method", "gradient", f"--option={name}=2")
        assert result.exit_code == 2 and f"no option '{name}'" in result.stderr


@pytest.mark.parametrize(
    ("error", "code", "seen"),
    [
        (OSError("no space left"), 2, "no space left"),
        (KeyboardInterrupt(), 130, "stop"),
    ],
)
def test_nothing_is_half_written(tfxai_run, tmp_path, monkeypatch, error, code, seen):
    def half(self, file, **options):
        Path(file).write_bytes(b"\x89PNG")
        raise error

    monkeypatch.setattr(Figure, "savefig", half)
    (tmp_path / "b.sglrp.png").write_text("an older file")
    result = tfxai_run("{}/b.png", "{}/a.png")
    assert result.exit_code == code and seen in result.stderr
    assert "Traceback" not in result.output
    assert {p.name for p in tmp_path.iterdir()} == {"b.sglrp.npz", "b.sglrp.png"}
    assert (tmp_path / "b.sglrp.png").read_text() == "an older file"
    tfxai.load(tmp_path / "b.sglrp.npz")  # whole


WITH_LABELS = ["--labels", "{}/labels.json"]


@pytest.mark.parametrize(
    ("words", "seen"),
    [
        ([], "nothing to explain"),
        (["{}/a.png", "--target", "1", "--top", "2"], "one of the two"),
        (["{}/a.png", "--low", "0"], "both, or none"),
        (["{}/no.png"], "no.png"),
        (["{}/a.png", "--method", "sgrlp"], "perhaps sglrp"),
        (["{}/a.png", "--option", "relu"], "NAME=VALUE"),
        (["{}/a.png", "--option", "scalign=1"], "perhaps scaling"),
        (["{}/a.png", "--preprocess", "mobilnet"], "mobilenet"),
        (["{}/a.png", "--preprocess", "{}/bad.py:resize"], "(None, 16, 8, 3)"),
        (["{}/a.png", "--preprocess", "{}/bad.py:by_numpy"], "TensorFlow operations"),
        (["{}/a.png", "--labels", "{}/six.txt"], "6 labels, but the network has 5"),
        (["{}/a.png", "--target", "crane", *WITH_LABELS], "2 (crane), 3 (crane)"),
        (["{}/a.png", "--target", "zebr", *WITH_LABELS], "perhaps 'zebra'"),
        (["{}/a.png", "--target", "5"], "at most 4"),
        (["{}/a.png", "--top", "6"], "5 classes"),
        (["{}/a.png", "--out", "{}/a.png"], "--out"),
        (["--method", "gradient", "--explain-rules"], "has no rules"),
    ],
)
def test_an_error_is_a_message(home, tfxai_run, words, seen, tmp_path):
    (home / "six.txt").write_text("\n".join("abcdef"))
    (home / "bad.py").write_text(
        "import numpy as np\n"
        "def by_numpy(x): return np.asarray(x) / 255\n"
        "def resize(x): return x[:, :, ::2]\n"
    )
    result = tfxai_run(*words)
    assert result.exit_code == 2
    assert seen in result.stderr and result.stdout == ""
    assert isinstance(result.exception, SystemExit)  # without a traceback
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_takes_no_pictures(tfxai_run, tmp_path):
    x = keras.Input((4,))
    keras.Model(x, L.Dense(2)(x)).save("table.keras")
    result = tfxai_run("{}/a.png", model="table.keras")
    assert result.exit_code == 2 and "(None, 4): not images" in result.stderr


def test_a_warning_of_the_library_is_a_line(home, tfxai_run):
    x = np.concatenate([read(home, "a"), read(home, "b")])
    logits = tfxai.wrap(networks.load(home / "net.keras")).logits(x)
    target = logits.max(0).argmin()
    assert logits[:, target].max() < 0
    result = tfxai_run("{}/a.png", "{}/b.png", "--method", "lrp", "--target", target)
    assert result.exit_code == 0
    text = "a.png to b.png: lrp: the relevance of sample(s) [0, 1] is zero"
    assert text in result.stderr
    assert ".py" not in result.stderr


def test_a_bug_is_not_hidden(tfxai_run, monkeypatch):
    def bug(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr(explain, "explain_files", bug)
    assert isinstance(tfxai_run("{}/a.png").exception, RuntimeError)


# -- the other commands --------------------------------------------------------------


def test_the_rules_of_every_layer(tfxai_run, tmp_path):
    result = tfxai_run("--explain-rules")
    assert result.exit_code == 0 and list(tmp_path.iterdir()) == []
    rows = [line.split() for line in result.stdout.split("\n")]
    assert ["conv", "conv", "z_box(low=0.0,", "high=255.0)"] in rows
    assert ["classes", "dense", "z_plus"] in rows


def test_every_method_is_listed(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    result = CliRunner().invoke(main, ["methods"])
    assert result.exit_code == 0
    assert max(map(len, result.stdout.split("\n"))) <= 80
    words = set(result.stdout.split())
    for row in tfxai.methods():
        assert {row.name, *row.summary.split(), *row.paper.split()} <= words


def test_the_methods_of_a_family():
    result = CliRunner().invoke(main, ["methods", "--family", "gradient"])
    assert "input_t_gradient" in result.stdout and "sglrp" not in result.stdout
    result = CliRunner().invoke(main, ["methods", "--family", "gradients"])
    assert result.exit_code == 2 and "--family gradient" in result.stderr


def test_the_demo_is_run_with_what_was_typed(monkeypatch, tmp_path):
    calls = []

    def run(out, retrain):
        calls.append((out, retrain))
        return out, []

    page = types.ModuleType("tfxai.cli.demo.page")
    page.write_page = run
    monkeypatch.setitem(
        sys.modules, "tfxai.cli.demo", types.ModuleType("tfxai.cli.demo")
    )
    monkeypatch.setitem(sys.modules, "tfxai.cli.demo.page", page)
    result = CliRunner().invoke(main, ["demo", "--retrain", "--out", "x.html"])
    assert result.exit_code == 0 and "x.html" in result.stdout
    assert CliRunner().invoke(main, ["demo"]).exit_code == 0
    assert calls == [(Path("x.html"), True), (Path("tfxai-demo.html"), False)]


@pytest.mark.parametrize(
    ("python", "typed"),
    [
        ("Write: tfxai.create_analyzer('sglrp', model)", "Write: --method sglrp"),
        ('method="lrp.epsilon"', "--method lrp.epsilon"),
        ("Write: low=0", "Write: --low 0"),
        ('Write: resize="nearest"', "Write: --option resize=nearest"),
        (
            'create_analyzer("leg", model, unit=1.0)',
            "--method leg --option unit=1.0",
        ),
        (
            "Write: tfxai.create_analyzer('sglrp', model, rules={'conv': 'flat'})",
            """Write: --method sglrp --option 'rules={"conv": "flat"}'""",
        ),
        (
            'create_analyzer(..., rules={"a": "gradient"}), or another rule',
            """--option 'rules={"a": "gradient"}', or another rule""",
        ),
        (
            'Write: method="lrp.epsilon", or target=340',
            "Write: --method lrp.epsilon, or --target 340",
        ),
        (
            "Write: input_layer_rule=(-1, 1)",
            "Write: --option 'input_layer_rule=[-1, 1]'",
        ),
        ("Write: relu=True", "Write: --relu"),
        ("Write: model=clf.predict_proba", "Write: model=clf.predict_proba"),
        ("found, as f(x)=3", "found, as f(x)=3"),
        ("one of tfxai.methods()", 'a method that "tfxai methods" lists'),
    ],
)
def test_the_command_line_suggests_its_own_syntax(python, typed):
    from tfxai.cli.terminal import command_line

    assert command_line(python) == typed


def test_a_suggestion_of_the_command_line_is_typed(tfxai_run):
    words = ("{}/a.png", "--method", "sglrp", "--low", "0", "--high", "255")
    result = tfxai_run(*words, "--option", 'rules={{"conv": "flat", "classes": "z"}}')
    assert result.exit_code == 0 and "low and high not used" in result.stderr
    line = re.search(r"Write: (.+)", result.stderr)[1]
    assert line == "--method sglrp --low 0.0 --high 255.0"
    result = tfxai_run("{}/a.png", *shlex.split(line))
    assert result.exit_code == 0 and "not used" not in result.stderr


def test_version_and_help():
    result = CliRunner().invoke(main, ["--version"])
    assert result.stdout == f"tfxai {tfxai.__version__}\n"
    for words in ([], *([c] for c in main.commands)):
        result = CliRunner().invoke(main, [*words, "--help"])
        assert result.exit_code == 0 and "Usage" in result.stdout


def test_the_command_line_imports_no_tensorflow():
    """The package is replaced by one whose __init__ imports nothing."""
    code = (
        "import sys, types; package = types.ModuleType('tfxai')\n"
        f"package.__path__ = [{str(ROOT / 'tfxai')!r}]\n"
        "sys.modules['tfxai'] = package\n"
        "import tfxai.cli.main\n"
        "slow = {'tensorflow', 'keras', 'numpy', 'matplotlib', 'rich', 'PIL'}\n"
        "assert not slow & set(sys.modules), slow & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_every_error_of_the_package_has_the_same_base():
    """Every error that is raised on purpose is a TfxaiError."""
    names = (
        "cli/main",
        "cli/arguments",
        "cli/explain",
        "cli/preprocessing",
        "io/networks",
        "io/images",
        "viz/cells",
        "viz/overlays",
        "viz/plot",
        "viz/colours",
    )
    for name in names:
        tree = ast.parse((ROOT / "tfxai" / f"{name}.py").read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                error = ast.unparse(node.exc.func)
                if error not in ("ValueError", "click.MissingParameter"):
                    # A ValueError is caught in the same file, the other one by click.
                    assert issubclass(getattr(tfxai.errors, error), TfxaiError)


# -- real networks -------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.shared
def test_a_zebra_and_an_elephant(tfxai_run, shared):
    result = tfxai_run(
        shared / "images" / "sglrp_zebra_elephant1.jpg",
        *("--labels", shared / "images" / "imagenet_labels.json"),
        *("--preprocess", "mobilenet_v2"),
        *("--target", "zebra", "--target", "African elephant"),
        model=str(shared / "models" / "mobilenet_v2.keras"),
    )
    assert result.exit_code == 0, result.output
    assert "bounds: low -1, high 1 ([0, 255] as preprocessed)" in result.stderr
    e = tfxai.load("sglrp_zebra_elephant1.sglrp.npz")
    assert e.target.tolist() == [[340, 386]]
    boxes = json.loads((shared / "images" / "boxes.json").read_text())
    boxes = {o["index"]: o["boxes"] for o in boxes["sglrp_zebra_elephant1.jpg"]}
    for map, target in zip(e.heatmap()[0], e.target[0], strict=True):
        y, x = np.unravel_index(map.argmax(), map.shape)
        at = (np.array([y, x]) + 0.5) / map.shape
        inside = [(at > b[:2]).all() and (at < b[2:]).all() for b in boxes[target]]
        assert any(inside), (target, at)
