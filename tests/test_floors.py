"""The house stands: imports go down, private names stay in one file, tools agree."""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HOUSE = ROOT / "tfxai"

#: The floor of every file; a file imports from its own floor or from lower ones.
FLOORS = {
    "_checks.py": 0,
    "arrays.py": 0,
    "drawing/__init__.py": 0,
    "drawing/colours.py": 0,
    "errors.py": 0,
    "files.py": 0,
    "options.py": 0,
    "drawing/perturbed.py": 0,
    "plot.py": 0,
    "progress.py": 0,
    "drawing/randomised.py": 0,
    "registry.py": 0,
    "drawing/sheet.py": 0,
    "sinks.py": 2,
    "strips.py": 1,
    "drawing/styles.py": 0,
    "drawing/superpixels.py": 0,
    "tables.py": 0,
    "targets.py": 0,
    "terminal.py": 0,
    "explanation.py": 1,
    "graph/__init__.py": 1,
    "graph/activations.py": 1,
    "graph/fast.py": 1,
    "graph/fold.py": 1,
    "graph/half.py": 1,
    "graph/kinds.py": 1,
    "graph/layers.py": 1,
    "graph/linear.py": 1,
    "graph/affine.py": 1,
    "graph/opened.py": 1,
    "graph/private.py": 1,
    "graph/products.py": 1,
    "graph/program.py": 1,
    "graph/recurrent.py": 1,
    "graph/walk.py": 1,
    "graph/step.py": 1,
    "inputs.py": 1,
    "drawing/markup.py": 0,
    "answers.py": 2,
    "model.py": 2,
    "networks.py": 2,
    "pictures.py": 2,
    "relevance/heads.py": 2,
    "relevance/rule.py": 2,
    "relevance/rules.py": 2,
    "relevance/signal.py": 2,
    "baselines.py": 1,
    "entrance.py": 2,
    "analyzer.py": 3,
    "relevance/__init__.py": 3,
    "relevance/multipliers.py": 2,
    "relevance/plan.py": 3,
    "relevance/presets.py": 3,
    "relevance/residual.py": 3,
    "relevance/rewrite.py": 3,
    "metrics/__init__.py": 5,
    "metrics/agreement.py": 5,
    "metrics/asked.py": 5,
    "metrics/correlation.py": 5,
    "metrics/flipping.py": 5,
    "metrics/information.py": 5,
    "metrics/keys.py": 5,
    "metrics/masking.py": 5,
    "metrics/measure.py": 5,
    "metrics/place.py": 5,
    "metrics/randomisation.py": 5,
    "metrics/road.py": 5,
    "metrics/robustness.py": 5,
    "metrics/shape.py": 5,
    "gradient/__init__.py": 4,
    "gradient/cam.py": 4,
    "gradient/guided.py": 4,
    "gradient/parts.py": 4,
    "gradient/paths.py": 4,
    "gradient/plain.py": 4,
    "gradient/resize.py": 4,
    "gradient/smooth.py": 4,
    "perturbation/__init__.py": 4,
    "perturbation/cnn.py": 4,
    "perturbation/convolution.py": 4,
    "perturbation/doubts.py": 3,
    "perturbation/descent.py": 4,
    "perturbation/generator.py": 4,
    "perturbation/learnt.py": 4,
    "perturbation/mask.py": 4,
    "perturbation/process.py": 4,
    "sampling/__init__.py": 4,
    "sampling/draws.py": 4,
    "sampling/estimate.py": 4,
    "sampling/grid.py": 4,
    "sampling/channels.py": 4,
    "sampling/leg.py": 4,
    "sampling/occlusion.py": 4,
    "sampling/probe.py": 4,
    "sampling/question.py": 4,
    "sampling/lime.py": 4,
    "sampling/masked.py": 4,
    "sampling/masks.py": 4,
    "sampling/pick.py": 4,
    "sampling/rise.py": 4,
    "sampling/scale.py": 4,
    "sampling/segments.py": 4,
    "sampling/shapley.py": 4,
    "sampling/solve.py": 4,
    "sampling/total_variation.py": 4,
    "relevance/analyzers.py": 4,
    "relevance/recipes.py": 4,
    "api.py": 5,
    "callbacks.py": 5,
    "assets/__init__.py": 0,
    "compare_files.py": 6,
    "comparison.py": 5,
    "nothing.py": 3,
    "report.py": 5,
    "demo/__init__.py": 5,
    "demo/measure.py": 5,
    "demo/network.py": 5,
    "demo/page.py": 5,
    "demo/scenes.py": 5,
    "explain_files.py": 5,
    "batch/__init__.py": 1,
    "batch/shards.py": 1,
    "batch/recipe.py": 1,
    "batch/maps.py": 2,
    "batch/sources.py": 5,
    "batch/npz.py": 5,
    "batch/pipeline.py": 5,
    "batch/records.py": 5,
    "batch/jobs.py": 5,
    "batch/cluster.py": 5,
    "batch/engines.py": 5,
    "batch/travel.py": 5,
    "batch/run.py": 5,
    "run_files.py": 6,
    "typed.py": 6,
    "__init__.py": 6,
    "cli.py": 6,
}

#: Names that Keras keeps to itself; only this file reads them.
NAMES = (
    *("_nodes_by_depth", "_inbound_nodes", "_outbound_nodes", "_functional"),
    *("_keras_mask", "_keras_history", "_flatten_layers", "keras.src"),
)
PRIVATE = rf"\b({'|'.join(map(re.escape, NAMES))})\b"
READER = "graph/private.py"

FILES = sorted(p.relative_to(HOUSE).as_posix() for p in HOUSE.rglob("*.py"))


def file_of(module):
    """The file of a module of this package; None for what is no file of it."""
    path = Path(*module.split(".")[1:])
    for name in (path / "__init__.py", path.with_suffix(".py") if path.name else path):
        if name.as_posix() in FILES:
            return name.as_posix()
    return None


def imported(file, source=None):
    """The files of this package that a file imports, in functions and types too."""
    found = set()
    package = ["tfxai", *Path(file).parts[:-1]]
    for node in ast.walk(ast.parse(source or (HOUSE / file).read_text("utf-8"))):
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


def test_every_file_has_a_floor_and_every_floor_a_file():
    missing = sorted(set(FILES) - FLOORS.keys())
    assert not missing, f"give {missing} a floor in FLOORS of tests/test_floors.py"
    gone = sorted(FLOORS.keys() - set(FILES))
    assert not gone, f"take {gone} out of FLOORS of tests/test_floors.py"


@pytest.mark.parametrize("file", FILES)
def test_imports_never_climb(file):
    floor = FLOORS.get(file, 0)
    climbs = {f: FLOORS[f] for f in imported(file) if FLOORS.get(f, 0) > floor}
    assert not climbs, f"tfxai/{file} is on floor {floor}, but imports {climbs}"


def test_no_file_imports_itself_through_others():
    # Raises graphlib.CycleError, which names the files of the circle.
    order = list(TopologicalSorter({f: imported(f) for f in FILES}).static_order())
    assert order.index("errors.py") < order.index("relevance/rules.py")
    assert set(order) == set(FILES)


def test_imports_are_read_in_every_form():
    source = (
        "import tfxai.errors\nfrom tfxai import registry, wrap\n"
        "from tfxai.graph import kinds as k\nfrom ..arrays import positive\n"
        "from . import heads\nimport keras\n"
        "def f():\n    from tfxai.graph.step import Step\n"
    )
    assert imported("relevance/rules.py", source) == {
        *("errors.py", "registry.py", "__init__.py", "graph/kinds.py", "arrays.py"),
        *("relevance/heads.py", "graph/step.py"),
    }


@pytest.mark.parametrize("file", [f for f in FILES if f != READER])
def test_only_one_file_reads_private_names_of_keras(file):
    lines = enumerate((HOUSE / file).read_text("utf-8").splitlines(), 1)
    found = [f"{i}: {s.strip()}" for i, s in lines if re.search(PRIVATE, s)]
    assert not found, f"tfxai/{file} reads what only {READER} may: {found}"


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
