"""The generated pages of the site: methods, metrics, errors, API, command line.

`conf.py` calls `write` when a build begins. Nothing of `docs/generated` is committed.
"""

import csv
import importlib
import inspect
import re
import shutil
import textwrap
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pictures

import tfxai
from tfxai.base import catalogue
from tfxai.io.tables import markdown
from tfxai.metrics import registry as metric_registry
from tfxai.relevance.analyzer_table import ANALYZERS
from tfxai.text.analyzer import TextAnalyzer
from tfxai.text.evaluation import TEXT_METRICS, measured
from tfxai.text.games import WordGame

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent

#: Section of the site -> its pages, in the order of the navigation.
SECTIONS: Mapping[str, tuple[str, ...]] = {
    "Start": ("quickstart", "methods", "coming_from", "glossary"),
    "Guides": (
        *("usage", "inputs", "judging", "figures", "model_kinds", "black_box"),
        *("perturbation", "concepts", "text"),
        *("metrics", "training", "datasets", "container", "serving", "extending"),
        "notebooks",
    ),
    "Reference": (
        *("generated/methods/index", "generated/metrics/index", "generated/texts"),
        *("generated/api/index", "generated/command_line"),
        *("errors", "layers", "keras_hub"),
    ),
    "Validation": (
        *("validation", "correctness", "league", "localization"),
        *("metrics_benchmark", "speed", "scaling", "other_tools"),
    ),
    "Project": ("contributing", "security", "roadmap", "changelog", "generated/docker"),
}
TABLES = sorted((DOCS / "tables").glob("*.md"))
#: Modules of the API reference.
MODULES = (
    *("tfxai", "tfxai.targets", "tfxai.plot", "tfxai.callbacks", "tfxai.extend"),
    *("tfxai.relevance.rules", "tfxai.relevance.presets", "tfxai.relevance.heads"),
    *("tfxai.text", "tfxai.metrics.registry"),
)


def write(folder: Path) -> None:
    """Write every generated page into a folder, which is replaced."""
    shutil.rmtree(folder, ignore_errors=True)
    pages: dict[str, str] = {
        **api(),
        "command_line.md": command_line(),
        "texts.md": texts(),
        "docker.md": _moved((ROOT / "docker/README.md").read_text("utf-8"), "docker"),
    }
    scene = pictures.Scene()
    captions = pictures.write(folder / "pictures", scene)
    pictures.write_metrics(folder / "pictures" / "metrics", scene)
    for kind, items, page in (
        ("methods", tfxai.methods(), partial(method_page, captions=captions)),
        ("metrics", metric_registry.metrics(), metric_page),
    ):
        pages |= {f"{kind}/{i.name}.md": page(i) for i in items}  # type: ignore[operator]
        pages[f"{kind}/index.md"] = _index(kind, items)
    for name, text in pages.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    write_csv(folder / "csv")


#: Family of methods -> its title in the list of all methods.
GROUPS = {
    "gradient": "Gradients, attention and patterns",
    "path": "Paths from a baseline",
    "noise": "Means over noise",
    "cam": "Class activation maps",
    "relevance": "Propagation of relevance",
    "sampling": "Sampling, for black boxes too",
    "perturbation": "Mask optimisation",
}


def _index(kind: str, items: Iterable[Any]) -> str:
    """The page that lists the methods or the metrics."""
    groups: dict[str, list[Any]] = {}
    for item in items:
        groups.setdefault(GROUPS.get(getattr(item, "family", ""), ""), []).append(item)
    parts = []
    for title, members in groups.items():
        lines = [f"- [{i.name}]({i.name}.md): {_cell(i.summary)}" for i in members]
        parts += [f"## {title}" if title else "", "\n".join(lines)]
    names = [i.name for i in items]
    return _page(f"{kind.capitalize()}, one page each", *parts, _toctree(names))


# -- one method ----------------------------------------------------------------------

#: Sections of docstrings about errors and warnings.
MESSAGES = ("Raises", "Warns")


def method_page(spec: Any, captions: Mapping[str, str]) -> str:
    """Return the page of a method."""
    body, sections = _docstring(spec.build)
    example, *command = catalogue.example(catalogue.entry(spec))
    example = sections.get("Example", f"{example}\ne.plot()")
    rules = _rules(spec.name)
    facts = [
        ("Family", spec.family),
        ("Needs", spec.needs),
        ("Cost of one explanation", catalogue.entry(spec)["cost"]),
        ("Paper", spec.paper),
        ("Other libraries", f"{spec.also_in}; {OTHERS}"),
    ]
    return _page(
        spec.name,
        f"![{captions[spec.name]}](../pictures/{spec.name}.png)",
        f"*{captions[spec.name]}*",
        _sentence(spec.summary) + (f" {_own(spec.name)}" if rules else _detail(body)),
        "\n".join(f"- {name}: {text}" for name, text in facts if text),
        "## Formula",
        f"`{spec.formula}`" if spec.formula else "",
        rules,
        f"## When it fails\n\n{spec.limits}",
        "## Options\n\n" + _options(spec.options.values()),
        *(f"## {t}\n\n{_terms(sections[t])}" for t in MESSAGES if t in sections),
        f"## Kinds of model\n\n{_kinds(spec)}",
        _speed(spec.name),
        f"## Example\n\n```python\n{_code(example)}\n```",
        "```sh\n" + textwrap.dedent("\n".join(command)) + "\n```" if command else "",
        f'`tfxai.describe("{spec.name}")` prints the options in Python, '
        f"`tfxai methods {spec.name}` in a terminal. Which method to choose: "
        "[methods](../../methods.md).",
    )


#: What the pages of methods say of other libraries.
OTHERS = (
    "their defaults differ, see [coming from other libraries](../../coming_from.md)"
)
#: What is common to the relevance methods.
PROPAGATION = (
    "The head sets the relevance of the outputs, from the target and the logits. One "
    "rule per kind of step carries it back through the model to the input in one pass. "
    "`rules=` exchanges the rule of a kind or of a layer, `head=` the head."
)


def _detail(body: str) -> str:
    """The text of a docstring without a first sentence about the returned analyzer."""
    first, _, rest = body.partition("\n\n")
    if not first.startswith("Return an analyzer"):
        return body
    return "\n\n" + rest if rest else ""


def _own(name: str) -> str:
    """What distinguishes a relevance method from its relatives."""
    return next(a.detail for a in ANALYZERS if a.name == name)


def _rules(name: str) -> str:
    """The head and the rules of a relevance method."""
    found = [a for a in ANALYZERS if a.name == name]
    if not found:
        return ""
    preset, head = found[0].preset(), found[0].head()
    seed = f"Relevance of the output, head `{head.name}`: {_formula(head)}"
    by_rule: dict[str, tuple[list[str], Any]] = {}
    for kind, rule in preset.table.items():
        by_rule.setdefault(str(rule), ([], rule))[0].append(f"`{kind}`")
    rows = [(", ".join(kinds), name, r) for name, (kinds, r) in by_rule.items()]
    if preset.first is not None:
        rows.append(("the first layer with a kernel", str(preset.first), preset.first))
    cells = [(k, f"`{r}`", _cell(_formula(rule))) for k, r, rule in rows]
    return "\n".join(
        [
            PROPAGATION,
            "",
            seed,
            "",
            markdown(["kind of step", "rule", "formula"], cells, 3),
            "",
            "[Layers](../../layers.md) lists the layers of each kind, and the rules of "
            "the kinds that are not listed here.",
        ]
    )


def _formula(rule: Any) -> str:
    """The first paragraph of the docstring of a rule or a head."""
    text = inspect.getdoc(rule.function) if rule is not None else "raises an error"
    return " ".join((text or "").split("\n\n")[0].split())


def _options(options: Iterable[Any]) -> str:
    rows = [
        (
            f"`{o.name}`",
            "required" if o.required else f"`{o.default!r}`",
            _cell(o.description),
        )
        for o in options
    ]
    return markdown(["option", "default", "description"], rows, 3)


def _table(name: str) -> tuple[list[str], list[list[str]]]:
    """The head and the rows of one of the tables of `docs/tables`."""
    text = (DOCS / "tables" / f"{name}.md").read_text("utf-8")
    lines = [
        [c.strip() for c in re.split(r"(?<!\\)\|", line.strip()[1:-1])]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    return lines[0], lines[2:]


def write_csv(folder: Path) -> None:
    """Write each table as CSV."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in TABLES:
        head, rows = _table(path.stem)
        with (folder / f"{path.stem}.csv").open("w", encoding="utf-8", newline="") as f:
            plain = [[_plain(cell) for cell in row] for row in (head, *rows)]
            csv.writer(f).writerows(plain)


def _plain(cell: str) -> str:
    """A cell of a table without its Markdown."""
    return cell.replace("`", "").replace("\\|", "|").strip("*")


def _all_tables() -> str:
    """The list of all tables: the CSV, the command, the date and the processor."""
    rows = []
    for path in TABLES:
        text = path.read_text("utf-8").partition("\n|")[0]
        title = text.partition("\n")[0].removeprefix("# ")
        command = re.findall(r"(?:Made|Written) by `([^`]+)`", text)[0]
        measured = re.findall(r"^Measured (\S+) on (.+)\.$", text, re.M)
        date, where = measured[0] if measured else ("", "not a measurement")
        name = path.stem
        link = f"[{title}](tables/{name}.md)"
        numbers = f"{{download}}`CSV <generated/csv/{name}.csv>`"
        rows.append((link, numbers, f"`{' '.join(command.split())}`", date, where))
    head = ["table", "numbers", "command", "measured", "processor"]
    return markdown(head, rows, len(head))


def _kinds(spec: Any) -> str:
    """The kinds of model on which the method works, and the error on the others."""
    head, rows = _table("model_kinds")
    row = next((r for r in rows if f"`{spec.name}`" in r[0].split(", ")), None)
    if row is None:
        return "Not measured."
    pairs = list(zip(head[1:], row[1:], strict=True))
    works = [kind for kind, cell in pairs if cell == "●"]
    refused = [f"{kind} ({cell}Error)" for kind, cell in pairs if cell != "●"]
    if not works:
        return f"It works on {spec.needs}, and on none of the other kinds of model."
    text = "Works on: " + ", ".join(works) + "."
    return text + (
        " Raises an error on: " + ", ".join(refused) + "." if refused else ""
    )


def _speed(name: str) -> str:
    """The measured cost of a method in units of the input gradient, where measured."""
    head, rows = _table("speed")
    row = next((r for r in rows if r[0] == f"`{name}`"), None)
    if row is None:
        return ""
    cells = zip(head[2:], row[2:], strict=True)
    table = markdown(["network", "gradients"], cells, 2)
    return (
        "## Measured cost\n\nTime in units of one input gradient; see "
        f"[Speed and memory](../../speed.md).\n\n{table}"
    )


# -- one metric ----------------------------------------------------------------------


def metric_page(metric: Any) -> str:
    """Return the page of a metric."""
    body, _ = _docstring(metric.function)
    detail = body.partition("\n\n")[2]
    options = pictures.METRIC_OPTIONS.get(metric.name, {})
    given = ", ".join(f"`{k}={v!r}`" for k, v in options.items())
    caption = (
        f"The mean over {pictures.compared(metric.name)} scenes of two digits, for the "
        f"target {pictures.DIGITS[0]} and the network of `tfxai demo`. `random` is "
        "noise: a control." + (f" Options: {given}." if given else "")
    )
    facts = [
        ("Better", metric.better),
        ("Needs", ", ".join(f"`{n}=`" for n in metric.needs) or "the model"),
        ("Cost of one value", metric.cost),
        ("Kinds of input", metric.inputs),
        ("Paper", metric.paper),
        ("Other libraries", f"{metric.also_in}; their defaults differ"),
    ]
    call = "".join(f", {n}={n}" for n in metric.needs)
    return _page(
        metric.name,
        f"![{caption}](../pictures/metrics/{metric.name}.svg)",
        f"*{caption}*",
        _sentence(metric.summary) + (f"\n\n{detail}" if detail else ""),
        "\n".join(f"- {name}: {text}" for name, text in facts if text),
        f"## Formula\n\n`{metric.formula}`",
        "R is the heatmap, f the score, p the probability of the target.",
        f"## How to read it\n\n{metric.how_to_read}",
        f"## A bad explanation\n\n{metric.bad}",
        "## Options\n\n" + _options(metric.options.values()) if metric.options else "",
        "## Example\n\n```python\nfrom tfxai.metrics.registry import compute\n\n"
        f'values = compute("{metric.name}", model, e{call})\n'
        f'tfxai.compare(model, x, ["sglrp"], metrics=["{metric.name}"])\n```',
        "Which metric to choose: [metrics](../../metrics.md).",
    )


# -- reference -----------------------------------------------------------------------


#: What the page of the package says of the class that its functions return.
ANALYZER = (
    "`create_analyzer` returns an [Analyzer](tfxai.extend.md); its method `analyze` "
    "returns the `Explanation`. That of a relevance method also has `coverage`, "
    "`residual`, `relevance_at` and `graph` ([usage](../../usage.md), "
    "[serving](../../serving.md))."
)


def api() -> dict[str, str]:
    """Return the pages of the public modules, and the page that lists them."""
    pages = {}
    for name in MODULES:
        more = ":imported-members:" if name == "tfxai" else ":exclude-members: Step"
        options = "".join(f"   {o}\n" for o in (":members:", more, ":no-index:"))
        text = f"```{{eval-rst}}\n.. automodule:: {name}\n{options}```"
        text = f"{ANALYZER}\n\n{text}" if name == "tfxai" else text
        pages[f"api/{name}.md"] = _page(name, text)
    lines = [f"- [{n}]({n}.md): {_cell(_summary(n))}" for n in MODULES]
    text = "The public modules, from their docstrings."
    pages["api/index.md"] = _page("API", text, "\n".join(lines), _toctree(MODULES))
    return pages


def _summary(module: str) -> str:
    """The first paragraph of the docstring of a module."""
    text = importlib.import_module(module).__doc__ or ""
    return text.split("\n\n")[0].removeprefix("tfxai: ")


def texts() -> str:
    """Return the page of the methods and the metrics of texts."""
    head, rows = _table("model_kinds")
    fits = {
        name
        for row in rows
        if dict(zip(head, row, strict=True))["tokens"] == "●"
        for name in re.findall("`([^`]+)`", row[0])
    } | {"attention_rollout", "attention_relevance"}
    methods = []
    for spec in tfxai.methods():
        if spec.name not in fits:
            continue
        own, words = spec.options, spec.family == "sampling"
        layers = not words and (spec.family == "relevance" or "at" in own)
        methods.append(
            (
                f"[{spec.name}](methods/{spec.name}.md)",
                "words" if words else "tokens",
                "yes" if layers else "",
                "yes" if "recompute" in own else "",
                _cell(spec.summary),
            )
        )
    _, sections = _docstring(WordGame)
    formulas = re.findall(
        r"^- ([a-z, ]+): (.+?)(?=^- |\Z)",
        _docstring(measured)[0].partition("\n\n")[2].partition("\n\n")[2],
        re.M | re.S,
    )
    metrics = [
        (
            ", ".join(f"`{n}`: {TEXT_METRICS[n]}" for n in names.split(", ")),
            _cell(text).rstrip(";."),
        )
        for names, text in formulas
    ]
    return _page(
        "Texts: methods and metrics",
        "What `tfxai.text.create_analyzer(method, model)` takes; "
        "[texts](../text.md) describes models, targets and figures.",
        "## Methods\n\nMethods of tokens return relevance of each token, by the logit. "
        "Methods of words remove words, and their score is a log-probability or a "
        "probability.",
        markdown(
            ["method", "explains", "`at=`", "`recompute=`", "summary"], methods, 5
        ),
        "## Options of methods of words\n\n"
        + " ".join(sections["Args"].partition("Its options; ")[2].split()),
        "## Metrics\n\n`analyzer.evaluate(e)` returns them. p(S) is the probability of "
        "the target with the words S alone.",
        markdown(["metric, and which is better", "formula"], metrics, 2),
        "`analyzer.randomisation(text)`: "
        + _docstring(TextAnalyzer.randomisation)[0].partition("\n\n")[2],
    )


def command_line() -> str:
    """Return the page of the command line, from click."""
    return _page(
        "Command line",
        "```{eval-rst}\n.. click:: tfxai.cli.main:main\n   :prog: tfxai\n"
        "   :nested: full\n```",
    )


# -- text ----------------------------------------------------------------------------


def _page(title: str, *parts: str) -> str:
    return "\n\n".join([f"# {title}", *(p for p in parts if p)]) + "\n"


def _docstring(function: Any) -> tuple[str, dict[str, str]]:
    """The text of a docstring, and its sections (Args, Raises, Example) by title."""
    text = inspect.getdoc(function) or ""
    parts = re.split(
        r"^(Args|Returns|Raises|Warns|References|Example):\n", text, flags=re.M
    )
    sections = dict(
        zip(parts[1::2], (inspect.cleandoc(p) for p in parts[2::2]), strict=True)
    )
    return parts[0].strip(), sections


def _terms(text: str) -> str:
    """A section `Name: description` of a docstring as a list."""
    items = re.split(r"\n(?=\S)", inspect.cleandoc(text))
    pairs = (" ".join(i.split()).partition(": ") for i in items if i.strip())
    return "\n".join(f"- `{name}`: {what}" for name, _, what in pairs)


def _code(text: str) -> str:
    """Code without the prompts of a console."""
    return re.sub(r"^(>>>|\.\.\.) ?", "", text.strip(), flags=re.M)


def _sentence(text: str) -> str:
    text = text.strip()
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _toctree(names: Iterable[str], caption: str = "") -> str:
    """A hidden table of contents: the navigation shows it."""
    options = [f":caption: {caption}"] if caption else []
    return "\n".join(["```{toctree}", *options, ":hidden:", "", *names, "```"])


def _moved(text: str, folder: str) -> str:
    """A page of another folder: its links lead from `docs/generated`."""
    text = text.replace("](../docs/", "](../")
    return re.sub(r"\]\((?!http|\.\.|#)([\w./-]+)\)", rf"](../../{folder}/\1)", text)


def escape(
    app: object, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Escape what reStructuredText reads as markup: |x| and **options.

    An indented block below a paragraph becomes code.
    """
    last = ""
    for i, line in enumerate(list(lines)):
        starts = line.startswith("    ") and i and not lines[i - 1].strip()
        if starts and last and not last.startswith(" ") and not last.endswith("::"):
            lines[i - 1] = "\n::\n"
        last = line or last
    lines[:] = "\n".join(lines).split("\n")
    for i, line in enumerate(lines):
        if line.startswith((">>>", "...")):
            continue
        parts = line.split("`")  # the odd ones are code
        for k in range(0, len(parts), 2):
            parts[k] = parts[k].replace("|", "\\|").replace("**", "\\*\\*")
        lines[i] = "`".join(parts)


#: Pages with tables whose names lead to pages -> the folder, and its registry.
LINKED = {
    "methods": ("generated/methods", tfxai.methods),
    "league": ("generated/methods", tfxai.methods),
    "tables/methods": ("../generated/methods", tfxai.methods),
    "tables/metrics": ("../generated/metrics", metric_registry.metrics),
}


def _linked(text: str, folder: str, items: Callable[[], Iterable[Any]]) -> str:
    """Return a page in whose tables the names of methods or metrics are links."""
    names = {i.name for i in items()}

    def link(found: re.Match[str]) -> str:
        known = found[1] in names
        return f"[{found[0]}]({folder}/{found[1]}.md)" if known else found[0]

    def row(found: re.Match[str]) -> str:
        return re.sub(r"`([^`]+)`", link, found[0])

    return re.sub(r"^\|.*\|$", row, text, flags=re.M)


def complete(app: object, page: str, source: list[str]) -> None:
    """Adapt the source of a page: links to other folders, and the navigation."""
    text = source[0].replace("](../notebooks/", "](generated/notebooks/")
    text = text.replace("](../docker/README.md", "](generated/docker.md")
    if page in LINKED:
        text = _linked(text, *LINKED[page])
    if page == "validation":
        text += f"\n{_all_tables()}\n"
    if page.startswith("tables/"):
        name = page.removeprefix("tables/")
        csv_file = f"{{download}}`{name}.csv <../generated/csv/{name}.csv>`"
        text += f"\nThe table as CSV: {csv_file}.\n"
    if page == "index":
        trees = [_toctree(p, caption) for caption, p in SECTIONS.items()]
        tables = [f"tables/{p.stem}" for p in TABLES]
        notebooks = [
            f"generated/notebooks/{p.stem}"
            for p in sorted((ROOT / "notebooks").glob("*.ipynb"))
        ]
        trees.append(_toctree(notebooks, "Notebooks"))
        trees.append(_toctree(tables, "Tables"))
        text = "\n\n".join([text, *trees]) + "\n"
    source[0] = text
