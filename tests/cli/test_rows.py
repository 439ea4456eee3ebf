"""`tfxai explain` of tables and texts; preprocessing by numbers; `tfxai methods`."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from keras import layers as L

import tfxai
from tfxai.base import catalogue
from tfxai.cli.main import main
from tfxai.cli.preprocessing import check_range
from tfxai.core.model import wrap
from tfxai.errors import OptionError
from tfxai.io.scaling import Scaling, read_number, read_numbers


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a network of a table, one of tokens, a table and a vocabulary."""
    folder = tmp_path_factory.mktemp("rows")
    i = keras.Input((3,))
    model = keras.Model(i, L.Dense(2)(i))
    model.set_weights([np.array([[0, 2.0], [0, -1], [1, 0]]), np.zeros(2)])
    model.save(folder / "table.keras")
    ids = keras.Input((6,), dtype="int32")
    model = keras.Model(
        ids, L.Flatten()(L.GlobalAveragePooling1D()(L.Embedding(5, 1)(ids)))
    )
    model.set_weights([np.array([[0.0], [0], [1], [3], [-2]])])
    model.save(folder / "text.keras")
    (folder / "v.txt").write_text("[PAD]\n[UNK]\nfilm\ngood\nbad\n")
    (folder / "r.csv").write_text("age,fare,deck\n39,2,5\n1,20,-3\n")
    (folder / "labels.txt").write_text("drowned\nsaved\n")
    return folder


def test_a_table_is_explained_with_the_names_of_its_columns(home, tmp_path):
    result = run(
        "explain", "--model", home / "table.keras", "--method", "input_t_gradient",
        "--labels", home / "labels.txt", "--target", "saved", "--out", tmp_path,
        home / "r.csv",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    words = " ".join(result.stdout.split())
    assert "0 saved 76 age=39 +78, fare=2 -2" in words
    assert "1 saved -18 fare=20 -20, age=1 +2" in words
    e = tfxai.load(tmp_path / "r.input_t_gradient.npz")
    assert e.features == ["age", "fare", "deck"] and e.names == ["drowned", "saved"]
    np.testing.assert_allclose(e.relevance[:, 0], [[78, -2, 0], [2, -20, 0]])
    picture = tmp_path / "r.input_t_gradient.png"
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a,b\n1,2\n", "2 columns, but the network takes 3"),
        ("a,b,c\n1,x,3\n", "row 1 below the header: the cell 'x'"),
        ("a,b,c\n1,2,3\n1,2\n", "row 2 below the header: 2 cells"),
        ("a,b,c\n", "holds no row"),
    ],
)
def test_a_table_that_does_not_fit_is_an_error(home, tmp_path, text, found):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    result = run(
        "explain", "--model", home / "table.keras", "--method", "gradient", path
    )
    assert result.exit_code == 2 and found in " ".join(result.stderr.split())


def test_a_text_is_explained_with_its_words(home, tmp_path):
    result = run(
        "explain", "--model", home / "text.keras", "--method", "input_t_gradient",
        "--tokenizer", home / "v.txt", "--text", "A good film, not BAD!", "--out",
        tmp_path, "--target", 0,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    e = tfxai.load(tmp_path / "text.input_t_gradient.npz")
    assert e.tokens == [["a", "good", "film", ",", "not", "bad"]]
    assert e.inputs.tolist() == [[1, 3, 2, 1, 1, 4]]
    strongest = " ".join(result.stdout.split())
    assert "good +" in strongest and "bad -" in strongest
    assert "first 6 of 7 tokens" in result.stderr
    page = (tmp_path / "text.input_t_gradient.html").read_text("utf-8")
    assert ">good</span>" in page


def test_a_text_needs_a_tokenizer(home):
    result = run("explain", "--model", home / "text.keras", "--method", "gradient",
                 "--text", "good")  # fmt: skip
    assert result.exit_code == 2 and "--tokenizer vocabulary.txt" in result.stderr


# -- preprocessing by numbers --------------------------------------------------------


def test_scaling_multiplies_reverses_subtracts_and_divides():
    x = np.array([[[[10.0, 20, 40]]]], np.float32)
    found = Scaling(0.5, (1.0, 2.0, 3.0), (1.0, 2.0, 4.0), bgr=True)(x)
    np.testing.assert_allclose(found, [[[[20 - 1, (10 - 2) / 2, (5 - 3) / 4]]]])
    assert read_number("--scale", "1/255") == 1 / 255
    assert read_numbers("--mean", "0.485, 1/2,0.4") == (0.485, 0.5, 0.4)
    for wrong in ("0", "1/0", "x", "-1"):
        with pytest.raises(OptionError, match=r"--scale 1/255"):
            read_number("--scale", wrong)
    for option, wrong in (("--mean", "1,2"), ("--std", "1,0,1"), ("--mean", "a")):
        with pytest.raises(OptionError, match=f"{option} 0.485,0.456,0.406"):
            read_numbers(option, wrong)


def test_preprocess_and_scale_exclude_each_other(home):
    given = ["--preprocess", "vgg16", "--scale", "1/255", "--method", "gradient"]
    result = run("explain", "--model", home / "table.keras", *given, home / "r.csv")
    assert result.exit_code == 2
    assert "--preprocess is given with --scale" in result.stderr


def network(mean, variance):
    i = keras.Input((4, 4, 3))
    norm = L.BatchNormalization(name="norm")
    model = keras.Model(i, L.GlobalAveragePooling2D()(norm(i)))
    norm.moving_mean.assign(np.full(3, mean))
    norm.moving_variance.assign(np.full(3, variance))
    return model


def test_a_range_far_from_that_of_the_training_is_a_warning():
    x = np.random.default_rng(0).uniform(0, 255, (2, 4, 4, 3)).astype("float32")
    trained = network(0.5, 0.08)  # on images from 0 to 1
    assert check_range(wrap(trained, lambda v: v / 255), x) is None
    warning = check_range(wrap(trained), x)
    assert (
        "'norm' has" in warning and "times as far" in warning and "--scale" in warning
    )
    other = network(127, 5000)  # on images from 0 to 255
    assert check_range(wrap(other), x) is None
    assert "times as much variance" in check_range(wrap(other, lambda v: v / 255), x)
    i = keras.Input((4, 4, 3))
    assert check_range(wrap(keras.Model(i, L.GlobalAveragePooling2D()(i))), x) is None


# -- tfxai methods -------------------------------------------------------------------


def test_a_method_is_described_with_types_cost_and_an_example():
    text = run("methods", "lime").stdout
    for part in (
        "n_samples=1000\n        Number of masked copies per input. (int)",
        "cost:    n_samples (1000) evaluations of the model",
        "paper:   Ribeiro", '    e = tfxai.explain(model, x, "lime")\n',
        "    tfxai explain --model net.keras --method lime image.jpg\n",
    ):  # fmt: skip
        assert part in text
    needed = run("methods", "expected_gradients").stdout
    assert 'explain(model, x, "expected_gradients", background=x_train[:100])' in needed
    for e in catalogue.stored():
        compile(
            catalogue.text_of(e).split("example:\n")[1].split("\n")[0].strip(),
            "",
            "exec",
        )
        assert e["cost"] and "many" not in e["cost"], e["name"]


def test_the_search_and_its_errors():
    found = run("methods", "--search", "Shapley segments").stdout
    assert "kernel_shap" in found and "gradcam" not in found
    texts, tables = (run("methods", "--search", w).stdout for w in ("text", "table"))
    assert "kernel_shap" in texts and "lrp.epsilon" in texts
    assert "gradcam" not in texts and "smoothgrad" not in texts
    assert "smoothgrad" in tables and "layercam" not in tables
    assert "takes:   images, series\n" in run("methods", "gradcam").stdout
    assert "No method mentions 'xyzzy'" in run("methods", "--search", "xyzzy").stderr
    wrong = run("methods", "kernelshap").stderr
    assert "perhaps kernel_shap" in wrong and "tfxai methods kernel_shap" in wrong
    both = run("methods", "lime", "--family", "cam")
    assert both.exit_code == 2 and "lime and --family" in both.stderr


def test_help_version_and_methods_do_not_import_tensorflow():
    code = (
        "import sys\nfrom tfxai.cli.main import main\n"
        "for line in (['--version'], ['--help'], ['explain', '--help'], ['methods'],\n"
        "             ['methods', 'sglrp'], ['methods', '--search', 'path']):\n"
        "    main(line, standalone_mode=False)\n"
        "heavy = {'tensorflow', 'keras', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    assert not process.stderr.replace(
        "tfxai methods METHOD prints the options of a method", ""
    ).strip()


@pytest.mark.slow
def test_a_command_shows_none_of_the_lines_of_tensorflow(home, tmp_path):
    command = [sys.executable, "-m", "tfxai.cli.main", "explain", "--model"]
    command += [home / "table.keras", "--method", "gradient", "--out", tmp_path]
    process = subprocess.run(
        [*command, home / "r.csv"], capture_output=True, text=True, check=True
    )
    assert not process.stderr.strip()
