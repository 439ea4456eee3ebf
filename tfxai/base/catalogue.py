"""The methods as plain data, which are read without TensorFlow.

`methods.json` is written by `python -m tests.write_tables`; a test compares it with the
registry. `tfxai.describe` formats a method of the registry in the same way.
"""

import json
import textwrap
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any

from tfxai.base.errors import OptionError, UnknownNameError
from tfxai.base.options import Option
from tfxai.base.validation import nearest

WIDTH = 88
#: Labels of nine characters, below which a text is indented.
LABELS = ("formula: ", "also in: ")
#: Family -> what an explanation of one sample costs.
COSTS = {
    "gradient": "one forward and one backward pass of the model",
    "path": "{n} forward and backward passes of the model",
    "noise": "{n} explanations by the base method",
    "cam": "one forward pass, and one backward pass to the layer",
    "relevance": "one forward and one backward pass, the backward one by the rules",
    "sampling": "{n} evaluations of the model, for all targets together",
    "perturbation": "{n} forward and backward passes of the model",
}
#: Options that count evaluations, samples or steps.
COUNTS = ("n_samples", "n_steps", "n_iterations")
#: Method -> the options without which it raises an error.
NEEDED = {
    "expected_gradients": "background=x_train[:100]",
    "deepshap": "background=x_train[:100]",
    "d_rise": "boxes=[[12, 30, 80, 95]]",
}


def entry(spec: Any) -> dict[str, Any]:
    """Return a method of the registry as plain data."""
    options = list(spec.options.values())
    return {
        "name": spec.name,
        "family": spec.family,
        "summary": spec.summary,
        "needs": spec.needs,
        "paper": spec.paper,
        "cost": spec.cost or _cost(spec.family, options),
        "formula": spec.formula,
        "limits": spec.limits,
        "also_in": spec.also_in,
        "options": [
            {
                "text": str(o), "type": o.type, "required": o.required,
                "description": o.description,
            }
            for o in options
        ],
    }  # fmt: skip


def stored() -> list[dict[str, Any]]:
    """Return the methods of this package as plain data, without TensorFlow."""
    text = files("tfxai.base").joinpath("methods.json").read_text("utf-8")
    found: list[dict[str, Any]] = json.loads(text)
    return found


def takes(name: str) -> list[str]:
    """Return the kinds of input of a method of this package; of others none."""
    return next((e["takes"] for e in stored() if e["name"] == name), [])


def find(name: str) -> dict[str, Any]:
    """Return a method of this package.

    Raises:
        UnknownNameError: There is no such method; the error suggests the nearest ones.
    """
    entries = {e["name"]: e for e in stored()}
    if name in entries:
        return entries[name]
    close = nearest(name, entries)
    raise UnknownNameError(
        f"There is no method {name!r}.",
        'a method that "tfxai methods" lists'
        + (f", perhaps {', '.join(close)}" if close else ""),
        f"tfxai methods {close[0] if close else '--search ' + name}",
    )


def listed(family: str | None, search: str | None) -> list[dict[str, Any]]:
    """Return the methods of a family, or those that mention a text.

    Raises:
        OptionError: There is no such family, or no method mentions the text.
    """
    entries = stored()
    families = list(dict.fromkeys(e["family"] for e in entries))
    if family is not None and family not in families:
        close = nearest(family, families)
        raise OptionError(
            f"There is no family {family!r}.",
            f"one of {', '.join(families)}",
            f"tfxai methods --family {(close or families)[0]}",
        )
    found = [e for e in entries if family in (None, e["family"])]
    words = (search or "").lower().split()
    found = [e for e in found if all(w in text_of(e).lower() for w in words)]
    if not found:
        raise OptionError(
            f"No method mentions {search!r}.",
            "a word of a summary, an option or a publication",
            "tfxai methods --search shapley",
        )
    return found


def text_of(e: Mapping[str, Any]) -> str:
    """Return the description of a method, ready to print."""
    lines = [
        *_wrapped(f"{e['name']}: ", e["summary"]),
        "",
        *_wrapped("family:  ", e["family"]),
        *_wrapped("needs:   ", e["needs"]),
        *(_wrapped("takes:   ", ", ".join(e["takes"])) if e.get("takes") else []),
        *(_wrapped("cost:    ", e["cost"]) if e["cost"] else []),
        *(_wrapped("formula: ", e["formula"]) if e["formula"] else []),
        *(_wrapped("fails:   ", e["limits"]) if e["limits"] else []),
        *_wrapped("paper:   ", e["paper"]),
        *(_wrapped("also in: ", e["also_in"]) if e["also_in"] else []),
    ]
    if e["options"]:
        lines += ["", "options:"]
        for option in e["options"]:
            lines += _wrapped(
                "    ", option["text"] + " (required)" * option["required"]
            )
            kind = f" ({option['type']})" if option["type"] else ""
            lines += _wrapped("        ", option["description"] + kind)
    return "\n".join([*lines, "", "example:", *example(e)])


def example(e: Mapping[str, Any]) -> list[str]:
    """Return lines to paste: of Python, and of the command where it suffices."""
    name = e["name"]
    required = [f"{o['text']}=..." for o in e["options"] if o["required"]]
    options = [NEEDED[name]] if name in NEEDED else required
    call = ", ".join(["model", "x", repr(name).replace("'", '"'), *options])
    lines = [f"    e = tfxai.explain({call})"]
    if not options and e["family"] != "mine":
        line = f"    tfxai explain --model net.keras --method {name} image.jpg"
        cut = line.replace(" --method", " \\\n        --method")
        lines.append(line if len(line) <= WIDTH else cut)
    return lines


def _cost(family: str, options: Iterable[Option]) -> str:
    """What an explanation of one sample costs; "" for a family of the user."""
    counts = {o.name: o.default for o in options if o.name in COUNTS}
    n = "".join(f"{k} ({v})" for k, v in counts.items() if isinstance(v, int))
    return COSTS.get(family, "").format(n=n or "many")


def _wrapped(head: str, text: str) -> list[str]:
    """A text behind a head, wrapped, the following lines indented below it."""
    below = " " * (9 if head.endswith("  ") or head in LABELS else 4)
    below = head if not head.strip() else below
    return textwrap.wrap(text, WIDTH, initial_indent=head, subsequent_indent=below)
