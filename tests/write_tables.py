"""Write the generated tables of the documentation.

    python -m tests.write_tables

Each table is a file of `docs/tables`. `tests/test_docs.py` asserts that the files on
disk are what this command writes.
"""

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tfxai
from tests.test_every_analyzer import refusal
from tests.test_every_analyzer import table as model_kinds
from tests.write_stubs import stubs
from tfxai.base import errors
from tfxai.base.catalogue import entry
from tfxai.metrics import registry as metric_registry

ROOT = Path(__file__).resolve().parents[1]
TABLES = ROOT / "docs" / "tables"
CATALOGUE = ROOT / "tfxai" / "base" / "methods.json"


#: Kind of model -> what it takes, as `tfxai methods METHOD` says it.
INPUTS = {
    "functional": "images", "series": "series", "tabular": "tables",
    "tokens": "texts (token ids)",
}  # fmt: skip


def methods() -> list[str]:
    """The table of methods, from the registry."""
    rows = [
        f"| `{r.name}` | {r.summary} | {r.needs} | {r.paper} | {r.also_in} |"
        for r in tfxai.methods()
    ]
    head = "| method | what it computes | needs | paper | also in |"
    return [head, "|---|---|---|---|---|", *rows]


def metrics() -> list[str]:
    """The table of metrics, from their registry."""
    rows = [
        f"| `{m.name}` | {m.better} | {m.summary} | {m.paper} | {m.also_in} |"
        for m in metric_registry.metrics()
    ]
    return [
        "| metric | better | what it computes | paper | also in |",
        "|---|---|---|---|---|",
        *rows,
    ]


ERRORS = ROOT / "docs" / "errors.md"


ERRORS_HEAD = """# Errors and warnings

Written by `python -m tests.write_tables`; do not edit.

The message of an error says what was found, what is wanted, and a line to type. The
traceback of an error and the message of a warning end with a line that names a heading
of this page, `Help: docs/errors.md#inputerror`. All names are in `tfxai.errors`. All
errors derive from `TfxaiError` and from the built-in error of their kind, all warnings
from `TfxaiWarning`.

To hide one kind of warning:
`warnings.simplefilter("ignore", tfxai.errors.InexactWarning)`. To make warnings errors:
`warnings.simplefilter("error", tfxai.errors.TfxaiWarning)`."""


def errors_page() -> str:
    """The whole file `docs/errors.md`, from the docstrings of the classes."""
    parts = [ERRORS_HEAD]
    classes = [c for c in vars(errors).values() if isinstance(c, type)]
    for title, base in (
        ("Errors", errors.TfxaiError),
        ("Warnings", errors.TfxaiWarning),
    ):
        parts.append(f"## {title}")
        for c in classes:
            if issubclass(c, base) and c is not base:
                cause, _, cure = (c.__doc__ or "").partition("\n\n")
                cure = " ".join(cure.split()).removeprefix("Cure: ")
                cure = re.sub(r"docs/(\w+)\.md", r"[\1](\1.md)", cure)
                cause = " ".join(cause.split())
                parts.append(
                    f"### {c.__name__}\n\n**Cause.** {cause}\n\n**Cure.** {cure}"
                )
    return "\n\n".join(parts) + "\n"


#: name -> (title, lines); the page of the same name describes the table.
GENERATED: Mapping[str, tuple[str, Callable[[], list[str]]]] = {
    "methods": ("Methods", methods),
    "metrics": ("Metrics", metrics),
    "model_kinds": ("Methods and kinds of model", model_kinds),
}


def text(name: str) -> str:
    """The whole file `docs/tables/NAME.md`."""
    title, lines = GENERATED[name]
    return (
        f"# {title}\n\nWritten by `python -m tests.write_tables`; do not edit.\n"
        f"Description: [{name}.md](../{name}.md).\n\n" + "\n".join(lines()) + "\n"
    )


def catalogue() -> str:
    """The whole file `tfxai/base/methods.json`, which is read without TensorFlow."""
    entries = []
    for spec in tfxai.methods():
        takes = [text for kind, text in INPUTS.items() if not refusal(spec.name, kind)]
        entries.append({**entry(spec), "takes": takes})
    return json.dumps(entries, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write every generated table."""
    CATALOGUE.write_text(catalogue(), "utf-8")
    print(CATALOGUE)
    for name, stub in stubs().items():
        (ROOT / "tfxai" / name).write_text(stub, "utf-8")
    ERRORS.write_text(errors_page(), "utf-8")
    TABLES.mkdir(parents=True, exist_ok=True)
    for name in GENERATED:
        (TABLES / f"{name}.md").write_text(text(name), "utf-8")
        print(TABLES / f"{name}.md")


if __name__ == "__main__":
    main()
