"""The README and the pages of docs/: code runs, tables are generated, links lead on."""

import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tests import write_tables, zoo
from tests.write_stubs import stubs
from tfxai import errors, extend
from tfxai.base import catalogue
from tfxai.demo import scenes
from tfxai.graph.step import KERNEL, KINDS
from tfxai.metrics import registry as metric_registry
from tfxai.relevance.analyzer_table import ANALYZERS
from tfxai.relevance.presets import DEFAULTS

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
#: Everything that is written in Markdown, by its path in the repository.
PAGES = {
    p.relative_to(ROOT).as_posix(): p.read_text("utf-8")
    for p in (
        ROOT / "README.md",
        *sorted({*DOCS.rglob("*.md")} - {*DOCS.rglob("generated/**/*.md")}),
        ROOT / "docker/README.md",
    )
}
L = keras.layers


def blocks(text: str, language: str = "python") -> list[str]:
    """The code blocks of a page."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.S | re.M)


# -- tables --------------------------------------------------------------------------


def test_the_catalogue_of_the_command_is_that_of_the_registry():
    written = write_tables.CATALOGUE.read_text("utf-8")
    assert written == write_tables.catalogue(), "run python -m tests.write_tables"
    for spec in tfxai.methods():
        assert catalogue.text_of(catalogue.find(spec.name)) == tfxai.describe(spec.name)


def test_the_page_of_errors_has_the_cause_and_the_cure_of_each():
    page = PAGES["docs/errors.md"]
    assert page == write_tables.errors_page(), "run python -m tests.write_tables"
    for name, category in vars(errors).items():
        if isinstance(category, type) and name not in ("TfxaiError", "TfxaiWarning"):
            part = page.split(f"### {name}\n")[1].split("\n#")[0]
            cause, cure = re.findall(r"\*\*(?:Cause|Cure)\.\*\* (.+)", part)
            assert len(cause) > 20 and len(cure) > 20, name
    with pytest.raises(errors.TargetError) as caught:
        tfxai.explain(names(False)["model"], np.zeros((1, 32, 32, 3)), target=400)
    assert caught.value.__notes__ == ["Help: docs/errors.md#targeterror"]
    assert "Help" not in str(caught.value)


def test_the_link_in_a_message_leads_to_its_heading():
    headings = anchors(PAGES["docs/errors.md"])
    for name, category in vars(errors).items():
        if not isinstance(category, type) or not issubclass(category, Exception):
            continue
        own = type(f"My{name}", (category,), {})  # a class of another package
        for error in (category("Found."), own("Found.")):
            shown = "\n  ".join([str(error), *getattr(error, "__notes__", [])])
            text, _, link = shown.partition("\n  Help: docs/errors.md")
            assert text == "Found.", name
            base = category in (errors.TfxaiError, errors.TfxaiWarning)
            assert link.removeprefix("#") in headings or (base and not link), name


def test_a_warning_is_printed_with_its_link():
    with pytest.warns(errors.InexactWarning) as caught:
        warnings.warn("Few samples.", errors.InexactWarning, stacklevel=1)
    short = errors.on_one_line(caught[0].message)
    assert short == "Few samples. (docs/errors.md#inexactwarning)"
    assert errors.on_one_line(UserWarning("Other.")) == "Other."
    text = warnings.formatwarning(
        caught[0].message, errors.InexactWarning, "f.py", 3, ""
    )
    assert text == (
        "f.py:3: InexactWarning: Few samples.\n  Help: docs/errors.md#inexactwarning\n"
    )


@pytest.mark.parametrize("name", stubs())
def test_a_type_stub_is_generated(name):
    written = (ROOT / "tfxai" / name).read_text("utf-8")
    assert written == stubs()[name], "run python -m tests.write_tables"


@pytest.mark.parametrize("name", write_tables.GENERATED)
def test_a_generated_table_is_what_the_command_writes(name):
    written = (write_tables.TABLES / f"{name}.md").read_text("utf-8")
    assert written == write_tables.text(name), "run python -m tests.write_tables"


def rows_of(name: str) -> list[str]:
    """The lines of a table below its head."""
    table = [s for s in PAGES[f"docs/tables/{name}.md"].splitlines() if s[:1] == "|"]
    return table[2:]


def test_the_tables_have_a_row_for_each_method_and_metric():
    for name, rows in (
        ("methods", tfxai.methods()),
        ("metrics", metric_registry.metrics()),
    ):
        assert [s.split("|")[1].strip(" `") for s in rows_of(name)] == [
            r.name for r in rows
        ]


def test_the_table_of_kinds_is_the_default_preset():
    table = PAGES["docs/layers.md"].split("| kind | layers and")[1].split("\n\n")[0]
    listed = {}
    for line in table.splitlines()[2:]:
        kind, _, rule, _ = (cell.strip() for cell in line.strip("|").split("|"))
        listed[kind.strip("`")] = rule.strip("`")
    learned = dict.fromkeys(KERNEL, "the analyzer's")
    assert list(listed) == list(KINDS)
    assert listed == {**{k: r.name for k, r in DEFAULTS.items()}, **learned}


def test_no_placeholder_is_left():
    for text in PAGES.values():
        assert not re.search(
            r"^[A-Z]{4,}$|BOXAREA|REFNETS|REFCOUNT|DURATION_", text, re.M
        )


# -- code ----------------------------------------------------------------------------

#: Pages whose Python needs nothing that is not on the page.
ALONE = {"docs/training.md"}
#: Pages whose images are of 0 to 255, and large enough for quickshift.
RAW = {"docs/black_box.md"}
#: Those that train the demo's network, or run a thousand steps or samples.
SLOW = {"docs/black_box.md", "docs/perturbation.md", "docs/training.md"}
CODE = [
    pytest.param(p, marks=pytest.mark.slow) if p in SLOW else p
    for p, text in PAGES.items()
    if blocks(text) and p != "README.md"  # tests/test_readme.py runs it
]


@pytest.fixture
def registries() -> Iterator[None]:
    """All registries, restored afterwards."""
    with extend.restored():
        yield


def names(raw: bool) -> dict:
    """What the code of the pages calls by name: a small network, and images."""
    side = 96 if raw else 32
    image = keras.Input((side, side, 3))
    y = L.Conv2D(4, 3, activation="relu", name="block1_conv1")(image)
    y = L.AveragePooling2D(2)(y)
    y = L.Conv2D(6, 3, activation="relu", name="block3")(L.MaxPooling2D(2)(y))
    y = L.Dense(400, activation="softmax")(L.Flatten()(y))
    model = zoo.fill(keras.Model(image, y))
    x = scenes(4, size=side).images * 2 - 1
    if raw:
        scaled = [keras.Input(x.shape[1:]), L.Rescaling(1 / 127.5, -1), model]
        x, model = 127.5 * (x + 1), keras.Sequential(scaled)
    return {
        **{"tfxai": tfxai, "tf": tf, "model": model, "x": x, "x_train": x},
        "predict": lambda x: model.predict(x, verbose=0),
        "preprocess": lambda x: x,
        "analyzer": tfxai.create_analyzer("sglrp", model, low=-1, high=1),
    }


def images(folder: Path) -> None:
    """Twenty images, in a folder `images`."""
    x = np.random.default_rng(1).integers(0, 255, (20, 32, 32, 3), "uint8")
    for i, v in enumerate(x):
        keras.utils.save_img(folder / f"images/{i:02}.png", v)


@pytest.mark.filterwarnings("ignore::tfxai.errors.TfxaiWarning")
@pytest.mark.parametrize("page", CODE)
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch, registries):
    (tmp_path / "images").mkdir()
    images(tmp_path)
    monkeypatch.chdir(tmp_path)
    known = {} if page in ALONE else names(page in RAW)
    for block in blocks(PAGES[page]):
        exec(compile(block, page, "exec"), known)
    if "e" in known:
        assert np.isfinite(known["e"].relevance).all()
    for name in re.findall(r'savefig\("(.*?)"\)', "".join(blocks(PAGES[page]))):
        assert (tmp_path / name).read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::tfxai.errors.TfxaiWarning")
def test_the_lines_beside_those_of_other_libraries_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    table, background = rng.normal(size=(2, 4)), rng.normal(size=(9, 4))
    known = {
        **{k: v for k, v in names(False).items() if k in ("tfxai", "model", "x")},
        **{"tf": tf, "table": table, "background": background, "y": [3, 5, 0, 1]},
        "predict": lambda v: v @ np.arange(12.0).reshape(4, 3),
        "segmented": lambda picture: np.indices(picture.shape[:2]).sum(0) // 32,
    }
    layer = known["model"].get_layer("block3")
    known["neurons"] = keras.Model(known["model"].inputs, layer.output)
    cells = re.findall(r"^\| .* \| `(\S.*)` \|$", PAGES["docs/coming_from.md"], re.M)
    assert len(cells) >= 88
    for line in cells:
        made = eval(line, known)
        if isinstance(made, tfxai.Explanation):
            assert np.isfinite(made.relevance).all(), line
            known["e"] = made


# -- links ---------------------------------------------------------------------------


def without_code(text: str) -> str:
    """A page without its code, in which brackets are no links."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.S | re.M))


def anchors(text: str) -> list[str]:
    """What `#...` may name in a page: its headings, as GitHub writes them."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)
    heads = re.findall(r"^#+ +(.*)$", text, re.M)
    return [re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in heads]


def links(text: str) -> list[str]:
    """The targets of the links and images of a page, without those on the web."""
    found = re.findall(r"\]\(([^)\s]+)\)", without_code(text))
    found += re.findall(r"^\[[^]]+\]: *(\S+)$", text, re.M)
    return [t for t in found if not re.match(r"\w+:", t)]


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_something(page):
    for target in links(PAGES[page]):
        name, _, anchor = unquote(target).partition("#")
        path = ((ROOT / page).parent / name).resolve() if name else ROOT / page
        assert path.is_relative_to(ROOT), f"{target} leads out of the repository"
        assert path.exists(), f"{target} does not exist"
        if anchor:
            text = path.read_text("utf-8")
            assert anchor in anchors(text), f"{target}: no such heading"


def test_links_and_anchors_are_read():
    text = "# A `b`, c\n\n[x](y.md#z) ![p](q.png) `[n](o)` [w](https://w)\n[r]: s\n"
    assert links(text) == ["y.md#z", "q.png", "s"]
    assert anchors(text + "```\n# no\n```\n") == ["a-b-c"]


def reached(page: str) -> Iterator[str]:
    """The pages that a page links to."""
    for target in links(PAGES[page]):
        path = ((ROOT / page).parent / target.partition("#")[0]).resolve()
        if path.suffix == ".md" and path.is_relative_to(ROOT):
            yield path.relative_to(ROOT).as_posix()


def test_the_index_lists_every_page_and_the_pages_every_table():
    pages = {p for p in PAGES if re.fullmatch(r"docs/\w+\.md", p)}
    assert set(reached("docs/index.md")) == pages - {"docs/index.md"}
    tables = {p for p in PAGES if p.startswith("docs/tables/")}
    assert {t for p in pages for t in reached(p)} >= tables


def test_every_method_states_formula_cost_limits_and_paper():
    for spec in tfxai.methods():
        e = catalogue.entry(spec)
        why = (
            f"{spec.name}: state formula=, limits= and also_in= where it is registered"
        )
        assert spec.family == "relevance" or spec.formula, why
        for text in (e["cost"], e["paper"], e["limits"], e["also_in"]):
            assert len(text) > 2, why
        assert e["limits"].endswith(".") and e["limits"].count(".") < 9, why
    details = [row.detail for row in ANALYZERS]
    assert len(set(details)) == len(details) and min(map(len, details)) > 60
    for metric in metric_registry.metrics():
        assert metric.formula and metric.cost and metric.also_in, metric.name
    assert tfxai.describe("idgi").count("\nformula: R = sum over the steps of g^2") == 1
    assert "\nfails:   The map is as coarse" in tfxai.describe("gradcam")
