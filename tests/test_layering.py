"""Imports go down and never round, private names stay in one file, tools agree."""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HOUSE = ROOT / "tfxai"

#: Packages and files at the top of tfxai/, from the lowest level to the highest. A file
#: imports from its own package and from those of lower levels; packages of one level do
#: not know each other. Names of modules in strings, imported later, are no import.
LEVELS = (
    {"base"},
    {"__init__"},  # Python imports it before anything else of the package
    {"io", "viz", "graph"},
    {"core"},
    {"gradient", "perturbation", "relevance", "sampling"},
    {"metrics"},
    {"text"},
    {"datasets", "training"},
    {"api", "extend"},
    {"cli"},
)
LEVEL = {name: i for i, names in enumerate(LEVELS) for name in names}
#: What is at the top of tfxai/ at most, beside the __init__.py that makes it a package.
ROOM = 16

#: Names that Keras keeps to itself; only this file reads them.
NAMES = ("_nodes_by_depth", "_functional", "_flatten_layers")
#: Names that no file reads.
NEVER = ("_inbound_nodes", "_outbound_nodes", "_keras_mask", "_keras_history")
PRIVATE = rf"\b({'|'.join(map(re.escape, (*NAMES, *NEVER, 'keras.src')))})\b"
READER = "graph/private.py"

FILES = sorted(p.relative_to(HOUSE).as_posix() for p in HOUSE.rglob("*.py"))


def package_of(file):
    """The name at the top of tfxai/ that a file belongs to."""
    return Path(file).parts[0].removesuffix(".py")


def file_of(module):
    """The file of a module of this package; None for what is no file of it."""
    path = Path(*module.split(".")[1:])
    for name in (path / "__init__.py", path.with_suffix(".py") if path.name else path):
        if name.as_posix() in FILES:
            return name.as_posix()
    return None


def statements(tree, file):
    """Every node, but of tfxai/__init__.py not what type checkers alone read."""
    typed = set()
    for node in ast.walk(tree) if file == "__init__.py" else ():
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            typed |= {id(n) for part in node.body for n in ast.walk(part)}
    return [node for node in ast.walk(tree) if id(node) not in typed]


def imported(file, source=None):
    """The files of this package that a file imports, in functions and types too."""
    found = set()
    package = ["tfxai", *Path(file).parts[:-1]]
    tree = ast.parse(source or (HOUSE / file).read_text("utf-8"))
    for node in statements(tree, file):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            module = ".".join([*above, *filter(None, [node.module])])
            names = {f"{module}.{a.name}" for a in node.names}
            files = {n for n in names if n.startswith("tfxai.") and file_of(n)}
            found |= files
            if files != names:  # a name of the module itself
                found.add(module)
    ours = {m for m in found if m == "tfxai" or m.startswith("tfxai.")}
    lost = {m for m in ours if file_of(m) is None}
    assert not lost, f"tfxai/{file} imports {lost}, which is no file"
    return {file_of(m) for m in ours} - {file}


def test_every_package_has_a_level_and_every_level_a_package():
    there = {package_of(file) for file in FILES}
    missing = sorted(there - LEVEL.keys())
    assert not missing, f"give {missing} a level in LEVELS of tests/test_layering.py"
    gone = sorted(LEVEL.keys() - there)
    assert not gone, f"take {gone} out of LEVELS of tests/test_layering.py"


def test_there_is_room_at_the_top():
    names = {p.name for p in HOUSE.iterdir() if p.suffix != ".pyi"}  # for checkers
    names -= {"__init__.py", "py.typed", "__pycache__"}
    assert len(names) <= ROOM, sorted(names)


def test_every_package_says_in_one_line_what_it_is():
    for file in FILES:
        if file.endswith("/__init__.py"):
            said = ast.get_docstring(ast.parse((HOUSE / file).read_text("utf-8"))) or ""
            assert said and "\n" not in said.split("\n\n")[0], f"tfxai/{file}: {said!r}"


def test_imports_go_to_lower_levels():
    wrong = [
        f"tfxai/{file} imports {other}"
        for file in FILES
        for other in sorted(imported(file))
        if package_of(other) != package_of(file)
        and LEVEL[package_of(other)] >= LEVEL[package_of(file)]
    ]
    assert not wrong, "\n".join([*wrong, "see LEVELS"])


def test_no_file_imports_itself_through_others():
    # Raises graphlib.CycleError, which names the files of the circle.
    order = list(TopologicalSorter({f: imported(f) for f in FILES}).static_order())
    assert order.index("base/errors.py") < order.index("relevance/rules.py")
    assert set(order) == set(FILES)


def test_imports_are_read_in_every_form():
    source = (
        "import tfxai.base.errors\nfrom tfxai import api, wrap\n"
        "from tfxai.graph import fold as k\nfrom ..base.tensors import positive\n"
        "from . import heads\nimport keras\n"
        "def f():\n    from tfxai.graph.step import Step\n"
        "if TYPE_CHECKING:\n    from tfxai.core.model import Wrapped\n"
    )
    found = {
        *("base/errors.py", "api.py", "__init__.py", "graph/fold.py"),
        *("base/tensors.py", "relevance/heads.py", "graph/step.py", "core/model.py"),
    }
    assert imported("relevance/rules.py", source) == found
    source = source.replace("..base", "tfxai.base").replace("from . import heads\n", "")
    assert "core/model.py" not in imported("__init__.py", source)


def test_only_one_file_reads_private_names_of_keras():
    found = [
        f"tfxai/{file}:{number}: {line.strip()}"
        for file in FILES
        if file != READER
        for number, line in enumerate((HOUSE / file).read_text("utf-8").splitlines(), 1)
        if re.search(PRIVATE, line)
    ]
    assert not found, "\n".join([*found, f"only {READER} may"])


def test_the_one_reader_does_read_them():
    source = (HOUSE / READER).read_text("utf-8")
    assert set(re.findall(PRIVATE, source)) == set(NAMES)


@pytest.mark.parametrize(
    "command",
    [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]],
    ids=" ".join,
)
def test_the_tools_agree(command):
    process = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stdout + process.stderr
