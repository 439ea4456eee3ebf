"""Options of functions, read from their signatures and docstrings."""

import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

#: Sections of a Google style docstring that describe parameters.
SECTIONS = ("Args:", "Arguments:", "Attributes:")
#: A full stop after one of these does not end a sentence.
ABBREVIATIONS = ("e.g.", "i.e.", "et al.", "eq.", "Eq.", "sec.", "vs.", "cf.", "Fig.")
#: The default of an option that must be given.
REQUIRED = inspect.Parameter.empty
_ENTRY = re.compile(r"(\*{0,2}\w+(?:, *\*{0,2}\w+)*) *(?:\(.*?\))?: *(.*)")


@dataclass(frozen=True)
class Option:
    """An option of a method, a metric, a rule or a head.

    Attributes:
        name: The keyword.
        default: Its default; `REQUIRED` where there is none.
        description: One sentence; "" where the docstring has none.
        type: The type as text; "" where the signature has none.
    """

    name: str
    default: Any = None
    description: str = ""
    type: str = ""

    @property
    def required(self) -> bool:
        """True if there is no default."""
        return self.default is REQUIRED

    def __str__(self) -> str:
        return self.name if self.required else f"{self.name}={_shown(self.default)}"


def read_options(
    *functions: Callable[..., Any], without: Iterable[str] = ()
) -> dict[str, Option]:
    """Return the options of functions by name.

    Options are parameters that have a default, and keyword-only ones. The first
    function that has a parameter gives its default; the first docstring that describes
    it gives the description.

    Args:
        functions: A builder, and the functions to which it passes `**options` on. A
            class stands for its `__init__`.
        without: Names of parameters that are no options.
    """
    defaults: dict[str, Any] = {}
    types: dict[str, str] = {}
    for function in functions:
        for p in inspect.signature(function).parameters.values():
            named = p.default is not p.empty or p.kind is p.KEYWORD_ONLY
            if named and p.name not in without:
                defaults.setdefault(p.name, p.default)
                types.setdefault(p.name, _type_of(p))
    texts: dict[str, str] = {}
    for function in reversed(functions):
        texts |= descriptions(function)
    return {n: Option(n, v, texts.get(n, ""), types[n]) for n, v in defaults.items()}


def descriptions(function: Callable[..., Any]) -> dict[str, str]:
    """Return the first sentence about each parameter, from the docstring."""
    docs = [inspect.getdoc(function) or ""]
    if inspect.isclass(function):
        docs.append(inspect.getdoc(function.__init__) or "")
    texts: dict[str, str] = {}
    for doc in reversed(docs):
        for names, text in _entries(doc):
            texts |= dict.fromkeys(names, first_sentence(text))
    return texts


def summary_of(function: Callable[..., Any]) -> str:
    """Return the first sentence of a docstring, without its full stop."""
    paragraph = (inspect.getdoc(function) or "").split("\n\n")[0]
    return first_sentence(" ".join(paragraph.split())).removesuffix(".")


def first_sentence(text: str) -> str:
    """Return the text up to the first full stop that ends a sentence."""
    for end in re.finditer(r"[.!?](?=\s|$)", text):
        sentence = text[: end.end()]
        if not sentence.endswith(ABBREVIATIONS):
            return sentence
    return text


def _entries(doc: str) -> list[tuple[list[str], str]]:
    """The entries of the sections about parameters: their names, and the text."""
    found: list[tuple[list[str], str]] = []
    inside, indent = False, 0
    for line in doc.splitlines():
        body = line.strip()
        depth = len(line) - len(line.lstrip())
        if body in SECTIONS and depth == 0:
            inside, indent = True, 0
        elif body and depth == 0:
            inside = False
        elif inside and body:
            indent = indent or depth
            entry = _ENTRY.fullmatch(body) if depth == indent else None
            if entry:
                names = [n.strip(" *") for n in entry[1].split(",")]
                found.append((names, entry[2]))
            elif found:
                found[-1] = (found[-1][0], f"{found[-1][1]} {body}".strip())
    return found


def _type_of(parameter: inspect.Parameter) -> str:
    """The annotation of a parameter as text; without one, the type of its default."""
    annotation = parameter.annotation
    if annotation in (Any, "Any"):
        return ""
    if annotation is parameter.empty:
        plain = isinstance(parameter.default, bool | int | float | str)
        return type(parameter.default).__name__ if plain else ""
    text = annotation if isinstance(annotation, str) else ""
    text = text or inspect.formatannotation(annotation)
    return re.sub(r"\b(?:\w+\.)+(?=\w)", "", text)


def _shown(value: Any) -> str:
    """A default as it is written: of a function or a class its name."""
    named = isinstance(value, type) or inspect.isroutine(value)
    return str(value.__name__) if named else repr(value)
