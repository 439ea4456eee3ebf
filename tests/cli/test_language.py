"""`tfxai explain --text` of language models."""

import numpy as np
import pytest

import tfxai
from tests.cli.test_rows import run
from tests.core.test_sequence_targets import language_model
from tests.text.test_text import OTHER, PROMPT, WORDS, decode, encode


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a language model and its vocabulary."""
    folder = tmp_path_factory.mktemp("language")
    language_model().save(folder / "lm.keras")
    (folder / "v.txt").write_text("\n".join(WORDS))
    return folder


def test_a_prompt_is_explained(home, tmp_path):
    common = ["explain", "--model", home / "lm.keras", "--method", "input_t_gradient",
              "--tokenizer", home / "v.txt", "--out", tmp_path]  # fmt: skip
    result = run(*common, "--text", PROMPT, "--tokens", 2)
    assert result.exit_code == 0, result.output
    lm = language_model(), encode, decode
    wanted = tfxai.text.explain(lm, PROMPT, 2, "input_t_gradient")
    e = tfxai.load(tmp_path / "text.input_t_gradient.npz")
    np.testing.assert_allclose(e.relevance, wanted.relevance, rtol=1e-4, atol=1e-6)
    assert e.tokens == wanted.tokens and WORDS[e.target[0]] in result.stdout
    page = (tmp_path / "text.input_t_gradient.html").read_text("utf-8")
    assert ">cabinet</span>" in page
    picture = tmp_path / "text.input_t_gradient.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    result = run(
        *common,
        "--text",
        PROMPT,
        "--text",
        OTHER,
        "--answer",
        "are",
        "--contrast",
        "is",
    )
    assert result.exit_code == 0, result.output
    wanted = tfxai.text.explain(
        lm, [PROMPT, OTHER], method="input_t_gradient", answer="are", contrast="is"
    )
    e = tfxai.load(tmp_path / "text.input_t_gradient.npz")
    np.testing.assert_allclose(e.relevance, wanted.relevance, rtol=1e-4, atol=1e-6)
    result = run(*common, "--text", "the nonsense")
    assert result.exit_code == 2 and "not in the vocabulary" in result.stderr
    result = run(*common[:-4], "--text", PROMPT, "--answer", "are")
    assert result.exit_code == 2 and "no preprocessor" in result.stderr
    result = run(*common, "--text", PROMPT, "--top", 2)
    assert result.exit_code == 2 and "--top 2 is given" in result.stderr
    result = run(*common, "--text", PROMPT, "--target", 2)
    assert result.exit_code == 2 and "Write: --answer ' is'" in result.stderr
    result = run("explain", "--model", "net.keras", "--answer", "are", "image.jpg")
    assert result.exit_code == 2 and "--answer is given without" in result.stderr


def test_contrast_of_an_image_is_the_option_of_the_method():
    from tfxai.cli.arguments import _method_options

    given = {"options": (), "relu": False, "low": None, "contrast": "3", "texts": ()}
    assert _method_options(given) == {"contrast": 3}
    given |= {"contrast": None, "options": ("contrast=3",)}
    assert _method_options(given) == {"contrast": 3}
