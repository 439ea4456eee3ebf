"""The work of `tfxai explain --text` for language models: prompts in, words out."""

from collections.abc import Mapping
from typing import Any

from tfxai.base.atomic_write import atomic_write
from tfxai.base.errors import OptionError
from tfxai.cli import arguments, rows
from tfxai.cli.terminal import print_line
from tfxai.cli.tokenizers import tokenizer_of
from tfxai.viz import plot

#: Arguments that a language model alone takes.
ONLY = ("tokens", "contrast", "answer")


def is_language(given: Mapping[str, Any], model: Any) -> bool:
    """Return whether texts are given, and the model returns logits of tokens.

    Raises:
        OptionError: An argument of language models is given for another model.
    """
    outputs = model.outputs or ()
    reads = bool(given["texts"]) and (
        len(outputs) == 3 or (_has_preprocessor(model) and given["tokenizer"] is None)
    )
    wrong = [f"--{n}" for n in ONLY if given.get(n) is not None]
    if wrong and not reads:
        raise OptionError(
            f"{wrong[0]} is given, and the network is no language model, or there is "
            "no --text.",
            "--text, and a network that returns logits of tokens",
        )
    return reads


def explain_texts(given: Mapping[str, Any]) -> None:
    """Explain tables and texts: those of a language model here, others as rows.

    Args:
        given: The arguments of the command.
    """
    resolved = arguments.resolve(given, images=False)
    if is_language(given, resolved[1]) and not given["paths"]:
        explain_language(given, *resolved)
    else:
        rows.explain_rows(given, resolved)


def explain_language(
    given: Mapping[str, Any], name: str, model: Any, options: dict[str, Any]
) -> None:
    """Explain prompts, or the texts of a classifier with its own preprocessor.

    Args:
        given: The arguments of the command.
        name: The method.
        model: The wrapped model.
        options: The options of the method.
    """
    from tfxai.io import networks
    from tfxai.text import create_analyzer

    if given["top"]:
        raise OptionError(
            f"--top {given['top']} is given with a network that reads texts.",
            "the tokens that it writes, or a class",
            "--tokens 3, or --target 0",
        )
    own = given["tokenizer"] is None
    parts = model if own else (model, *tokenizer_of(given["tokenizer"]).functions)
    analyzer = create_analyzer(name, parts, **options)
    texts = list(given["texts"])
    writes: dict[str, Any] = {}
    if given["targets"]:
        labels = [] if given["labels"] is None else networks.labels(given["labels"])
        found = [networks.find_label(t, labels) for t in given["targets"]]
        writes["target"] = found[0] if len(found) == 1 else [found] * len(texts)
    writes |= {n: given[n] for n in ("contrast", "answer") if given[n] is not None}
    if given["tokens"] is not None:
        writes["n_tokens"] = given["tokens"]
    one = len(texts) == 1
    e = analyzer.analyze(
        texts[0] if one else texts, batch_size=given["batch_size"], **writes
    )
    arguments.make_folder(given["out"])
    path = given["out"] / f"text.{e.method}"
    e.save(f"{path}.npz")
    plot.text(e).save(f"{path}.html")
    matrix = one and e.target.ndim == 1 and "answer" in e.extra
    with atomic_write(f"{path}.png") as temporary:
        figure = plot.generated(e) if matrix else plot.text(e[: rows.DRAWN]).figure()
        figure.savefig(temporary, dpi=rows.DPI, format="png")
    rows.print_strongest(e, "token" if "answer" in e.extra else "class")
    _print_words(e)
    print_line(f"written to {given['out'].resolve()}: text.{e.method}.npz, .html, .png")


def _has_preprocessor(model: Any) -> bool:
    return getattr(model.model, "preprocessor", None) is not None


def _print_words(e: Any) -> None:
    """Print the coloured words in a terminal that shows colours, where rich is."""
    try:
        from rich.console import Console
    except ImportError:
        return
    console = Console()
    if console.is_terminal and console.color_system:
        console.print(plot.text(e))
