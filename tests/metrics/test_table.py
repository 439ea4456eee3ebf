"""The benchmark table of every method and metric: its contents, and resuming it."""

import numpy as np
import pytest
from click.testing import CliRunner

import tfxai
from tests.benchmarks import metrics as table
from tfxai.demo import network, scenes
from tfxai.metrics.randomisation import randomisation
from tfxai.metrics.registry import lookup


@pytest.fixture
def compared(monkeypatch) -> list[list[str]]:
    """Return the methods of each comparison; two metrics and two scenes are used."""
    model, s = network(), scenes(2)
    reach, calls, compare = (0.0, 1.0), [], tfxai.compare
    monkeypatch.setattr(
        table, "network", lambda *a: (tfxai.wrap(model), s.images, None, reach)
    )
    few = [lookup(n) for n in ("sparseness", "pointing_game")]
    monkeypatch.setattr(table, "metrics", lambda: few)
    monkeypatch.setattr(table, "FAITHFULNESS", ("sparseness",))
    monkeypatch.setattr("tfxai.metrics.compare.STAGES", 1)

    def counted(wrapped, x, methods, **more):
        calls.append(list(methods))
        return compare(wrapped, x, methods=methods, **more)

    monkeypatch.setattr(tfxai, "compare", counted)
    return calls


def printed(*words) -> list[list[str]]:
    """The cells of what the command prints, line by line."""
    result = CliRunner().invoke(table.main, ["table", "net", *map(str, words)])
    assert not result.exception, result.output
    return [[c.strip() for c in line.split("|")] for line in result.output.split("\n")]


def test_what_the_file_has_is_not_measured_again(compared, tmp_path):
    options = "--pictures", 2, "--csv", tmp_path / "t.csv"
    first = printed("random", *options)
    again = printed("random", "edges", *options)
    assert compared == [["random"], ["edges"]]
    means = [
        [v for v in lines if v[1:2] == ["`random`"]][1] for lines in (first, again)
    ]
    assert means[0] == means[1]
    printed("edges", "random", *options)
    assert len(compared) == 2


def test_a_row_has_the_means_and_the_reasons(compared):
    lines = printed("gradient", "random", "--pictures", 2)
    s = scenes(2)
    e = tfxai.explain(network(), s.images, "gradient")
    mean = float(np.mean(tfxai.metrics.registry.compute("sparseness", network(), e)))
    head = next(line for line in lines if line[1:2] == ["method"])
    assert head[2:5] == [
        "sparseness ↑",
        "random weights: rank correlation ↓",
        "random weights: SSIM ↓",
    ]
    row = next(line for line in lines if line[1:2] == ["`gradient`"])
    assert row[2] == f"{mean:.2g}"
    noise = [line for line in lines if line[1:2] == ["`random`"]]
    assert noise[0][2] == "2"  # its place: noise is less sparse than a gradient
    assert noise[1][3:5] == ["1", "1"]  # and does not depend on the weights
    (why,) = [line[0] for line in lines if line[0].startswith("pointing_game: ")]
    assert "was given no boxes." in why and why.endswith("(all)")


def test_equals_share_the_better_place():
    rows = [
        {"method": m, "deletion": v}
        for m, v in (("a", "0.2"), ("b", "0.1"), ("c", "0.2"), ("d", "refused"))
    ]
    assert [table.place(rows, m, "deletion") for m in "abcd"] == ["2", "1", "2", "-"]


def test_the_similarity_of_the_maps_is_listed_by_stage(compared):
    result = CliRunner().invoke(
        table.main, ["forget", "net", "gradient", "--pictures", "2", "--stages", "2"]
    )
    assert not result.exception, result.output
    r = randomisation("gradient", network(), scenes(2).images, stages=2)
    cells = [f"{v:.2f}" for v in r.signed.mean(1)]
    head, _, row = result.output.strip().split("\n")
    assert head == f"| from the top to | {' | '.join(r.layers)} |"
    assert row == f"| `gradient` | {' | '.join(cells)} |"
