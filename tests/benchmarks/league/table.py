"""The tables of the league, from what a folder holds."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

from tests.benchmarks.league import peer_table
from tests.benchmarks.league.agreement import agreement
from tests.benchmarks.league.entries import CHOSEN_ON, CONTROLS, MEMBERS, TOGETHER
from tests.benchmarks.league.intervals import League, league
from tests.benchmarks.league.measure import Folder
from tests.benchmarks.league.scored import Scored, scored
from tests.benchmarks.league.tasks import TASKS
from tests.benchmarks.measured import when_and_where
from tfxai.io.tables import markdown

Cell = tuple[str, str]
KINDS = ("images", "tables", "series", "tokens")
MADE = "Written by `python -m tests.benchmarks.league`; do not edit.\n"
MADE += f"{when_and_where()}\n"
MADE += "Description: [league.md](../league.md).\n"

#: Method -> the entry of its former defaults, and in words; "" is a constant map.
FORMER = {
    **dict.fromkeys(
        ("lime", "kernel_shap", "shapley_sampling"),
        ("", "quickshift, one segment: a constant map"),
    ),
    "leg": ("leg (unit=255.0)", "`unit=255`"),
    "meaningful_perturbation": (
        "meaningful_perturbation (jitter=4, scale=auto)", '`jitter=4, scale="auto"`',
    ),
    "extremal_perturbation": ("extremal_perturbation", "the same"),
    "deep_taylor": ("deep_taylor", "the same"),
}  # fmt: skip
DEFAULTS = (
    "Mean precision of the former and of the present defaults on the convolutional "
    "networks of 8 x 8 images, with 95 % intervals; bold where it rises by .10 or more."
)
EDGES = (
    "Precision of the Laplace filter of the input and of the method that is best on "
    "every second sample, judged on the other samples; 95 % intervals, bold where the "
    "method is clearly better. Three together: the mean of the places in the maps of "
    f"{', '.join(f'`{m}`' for m in MEMBERS)}, chosen on the CNNs of seed 0 and judged "
    "on those of the other seeds."
)


def named(entry: str) -> str:
    """Return an entry as a cell: a control in plain words, a method as code."""
    words = {"laplace": "Laplace edges", "random": "random numbers"}
    words |= {"|x|": "the absolute input", TOGETHER: TOGETHER}
    return words.get(entry, f"`{entry}`")


def two(values: Iterable[float]) -> str:
    """Return a mean with two digits; "" without values."""
    known = [v for v in values if np.isfinite(v)]
    return f"{np.mean(known):.2f}" if known else ""


def kind_table(of: Scored, found: League, column_of: Callable[[Cell], str]) -> str:
    """Return the table of all entries for a kind of input, the best first.

    column_of: the column of a (task, network).
    """
    columns = list(dict.fromkeys(map(column_of, found.cells)))
    groups, rows = found.groups(), []
    for name in found.names:
        i = found.names.index(name)
        by = [
            two(found.means[c, i] for c, cell in enumerate(found.cells)
                if column_of(cell) == column)
            for column in columns
        ]  # fmt: skip
        low, high = found.interval(name)
        cells = [of.of["precision"][c] for c in found.cells]
        measured = sum(len(s[name]) for s in cells if name in s)
        rows.append([
            named(name), *by, f"{found.mean(name):.2f} ({low:.2f}–{high:.2f})",
            str(groups[name]), *_others(of, found, name), f"{measured}",
        ])  # fmt: skip
    heads = ["method", *columns, "mean (95 %)", "group", "AUC", "mass", "place", "EMD",
             "networks"]  # fmt: skip
    return markdown(heads, rows)


def _others(of: Scored, found: League, name: str) -> list[str]:
    """The means of the other scores of an entry."""
    made = []
    for score in ("AUC", "mass", "rank", "EMD"):
        cells = of.of.get(score, {})
        here = [cells[c][name] for c in found.cells if name in cells.get(c, ())]
        made.append(two(v.mean() for v in here))
    return made


def sections(of: Scored, kind: str) -> list[str]:
    """Return the table of the networks with options, and that of the others.

    All entries of the first one have the same networks. In the second one a column is
    a network; methods that refuse some of them have a mean over the others.
    """
    cells = of.of["precision"]
    first = {c: s for c, s in cells.items() if c[1] == CHOSEN_ON[kind][0]}
    rest = {c: s for c, s in cells.items() if c not in first}
    parts = []
    if first:
        title = f"## Network: {CHOSEN_ON[kind][0]}"
        parts += [title, kind_table(of, league(first), lambda c: TASKS[c[0]].group)]
    if rest:
        parts += ["## Other networks", kind_table(of, league(rest), lambda c: c[1])]
    return parts


def constant_maps(of: Scored) -> str:
    """Return which methods give constant maps, and how many without a warning."""
    rows = [
        [named(entry), f"{constant / count:.0%}", str(of.silent.get(entry, 0))]
        for entry, (constant, count) in of.constant.items()
        if constant
    ]
    if not rows:
        return "No map is constant."
    heads = ["method", "constant maps", "of networks without a warning"]
    return "## Constant maps\n\n" + markdown(heads, rows)


def against_edges(of: Scored) -> str:
    """Return a table: the best method of each task, three together, and edges.

    The best is chosen on every second sample, and compared on the others. The three
    were chosen on the CNNs of seed 0, and are compared on those of the other seeds.
    """
    rows = []
    cells = of.of.get("precision", {})
    for task in dict.fromkeys(task for task, _ in cells):
        here = {c: s for c, s in cells.items() if c[0] == task}
        chosen = league({c: _half(s, 0) for c, s in here.items()})
        best = next(n for n in chosen.names if n not in (*CONTROLS, TOGETHER))
        judged = league({c: _half(s, 1) for c, s in here.items()})
        edges, of_best = judged.mean("laplace"), judged.mean(best)
        rows.append([task, f"{edges:.2f}", named(best), f"{of_best:.2f}",
                     _gap(judged, best), _together(here)])  # fmt: skip
    heads = ["task", "Laplace edges", "best method", "its precision", "difference"]
    return markdown([*heads, "three together: difference"], rows)


def defaults_table(of: Scored) -> str:
    """Return the precision of the former and of the present defaults."""
    cells = {c: s for c, s in of.of["precision"].items() if c[1] == "cnn"}
    rows = []
    for method, (entry, words) in FORMER.items():
        pairs = {
            c: {"now": s[method], "then": s[entry] if entry else of.share[c]}
            for c, s in cells.items()
            if method in s and (not entry or entry in s)
        }
        if not pairs:
            continue
        found = league(pairs)
        gap, low, high = found.difference("now", "then")
        cell = f"{gap:+.2f} ({low:+.2f} to {high:+.2f})"
        rows.append([
            f"`{method}`", words, f"{found.mean('then'):.2f}",
            f"{found.mean('now'):.2f}", f"**{cell}**" if gap >= 0.095 else cell,
        ])  # fmt: skip
    return markdown(["method", "former defaults", "then", "now", "difference"], rows)


def _gap(judged: League, name: str) -> str:
    """The difference to the edges with its interval; bold where it is clear."""
    gap, low, high = judged.difference(name, "laplace")
    cell = f"{gap:+.2f} ({low:+.2f} to {high:+.2f})"
    return f"**{cell}**" if low > 0 else cell


def _together(here: Mapping[tuple[str, str], Mapping[str, np.ndarray]]) -> str:
    """The difference of the combination on new networks; "" without any."""
    new = {
        cell: {n: found[n][1:] for n in ("laplace", TOGETHER)}
        for cell, found in here.items()
        if TOGETHER in found and len(found[TOGETHER]) > 1
    }
    return _gap(league(new), TOGETHER) if new else ""


def _half(scores: Mapping[str, np.ndarray], first: int) -> dict[str, np.ndarray]:
    """Every second sample."""
    return {n: v[:, first::2] for n, v in scores.items()}


def measured_on(of: Scored, folder: Folder) -> str:
    """Return how many networks and samples there are, and how well they learnt."""
    accuracies = [a for cell in of.accuracy.values() for a in cell]
    networks = sum(len(a) for a in of.accuracy.values())
    return (
        f"{len(of.accuracy)} tasks and kinds of network, {networks} networks "
        f"({of.seeds} or more of each), {folder.count} samples of each. Accuracy "
        f"{min(accuracies):.3f} to {max(accuracies):.3f}."
    )


def refusals(of: Scored) -> str:
    """Return the methods that raise an error on a network of this kind."""
    if not of.refused:
        return ""
    by: dict[str, list[str]] = {}
    for entry, why in of.refused.items():
        by.setdefault(why.split(": ")[1], []).append(f"`{entry}`")
    parts = [f"{', '.join(names)} ({error})" for error, names in by.items()]
    return "Error on some or all of these networks: " + "; ".join(parts) + "."


def costs(of: Scored) -> str:
    """Return the CPU seconds of all maps, and of the methods that take most of them."""
    total = sum(of.seconds.values())
    most = sorted(of.seconds, key=lambda e: -of.seconds[e])[:5]
    parts = [f"`{e}` {of.seconds[e]:.0f}" for e in most]
    return f"CPU seconds of all maps: {total:.0f}; of these, {', '.join(parts)}."


def planted_table(found: Mapping[str, Mapping[str, list]]) -> str:
    """Return the table of the networks with known contributions."""
    names = list(next(iter(found.values())))
    means = {e: [np.mean(of[n], 0) for n in names] for e, of in found.items()}
    order = sorted(means, key=lambda e: -np.mean([m[0] for m in means[e]]))
    rows = [
        [named(e), *(f"{m[k]:.2f}" for k in (0, 1) for m in means[e])] for e in order
    ]
    heads = [*(f"{n}: correlation" for n in names), *(f"{n}: precision" for n in names)]
    return markdown(["method", *heads], rows)


def agreement_table(by_metric: Mapping[str, list[float]]) -> str:
    """Return the table of metrics, the one that agrees best with the truth first."""
    order = sorted(by_metric, key=lambda m: -np.mean(by_metric[m]))
    rows = [
        [
            f"`{m}`",
            f"{np.mean(v):+.2f}",
            f"{min(v):+.2f}",
            f"{max(v):+.2f}",
            str(len(v)),
        ]
        for m in order
        for v in [by_metric[m]]
    ]
    return markdown(["metric", "mean", "lowest", "highest", "tasks"], rows)


def texts(
    folder: Folder, seeds: range, planted: Mapping[str, Mapping[str, list]]
) -> dict[str, str]:
    """Return the files of `docs/tables`: name -> text."""
    made = {}
    for kind in KINDS:
        of = scored(folder, kind, seeds)
        if not of.accuracy:
            continue
        parts = [f"# League: {kind}", MADE, measured_on(of, folder),
                 *sections(of, kind), refusals(of), constant_maps(of),
                 costs(of)]  # fmt: skip
        if kind == "images":
            text = f"{EDGES}\n\n{against_edges(of)}"
            made["league_edges"] = _file("League: Laplace edges", text)
            text = f"{DEFAULTS}\n\n{defaults_table(of)}"
            made["league_defaults"] = _file("League: defaults", text)
            agreed = agreement(folder, of)
            if agreed:
                table = agreement_table(agreed)
                made["league_metrics"] = _file("League: metrics", table)
        made[f"league_{kind}"] = "\n\n".join(p.strip() for p in parts if p) + "\n"
    if planted:
        title = "League: networks with known contributions"
        made["league_planted"] = _file(title, planted_table(planted))
        made |= of_peers(folder)
    return made


def of_peers(folder: Folder) -> dict[str, str]:
    """Return the file of the comparison with other packages; none if not measured."""
    found = peer_table.text(folder)
    title = "League: other packages"
    return {"league_peers": _file(title, found)} if found else {}


def _file(title: str, table: str) -> str:
    return f"# {title}\n\n{MADE}\n{table}\n"


def write(made: Mapping[str, str], docs: Path) -> None:
    """Write the files."""
    for name, text in made.items():
        (docs / f"{name}.md").write_text(text, "utf-8")
        print(docs / f"{name}.md", flush=True)
