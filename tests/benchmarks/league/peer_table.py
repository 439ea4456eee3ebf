"""The table of other packages beside ours: precision of each pair on each task."""

from collections.abc import Mapping

import numpy as np

from tests.benchmarks.league import peers
from tests.benchmarks.league.entries import CONTROLS, TOGETHER, entries
from tests.benchmarks.league.intervals import League, league
from tests.benchmarks.league.measure import Folder, read
from tests.benchmarks.league.peers import IMAGES, Pair, compared, places
from tests.benchmarks.league.scores import precision
from tests.benchmarks.peers.drive import distance
from tfxai.io.tables import markdown

#: task -> our or their name -> precision (seeds, samples).
ByTask = dict[str, dict[str, np.ndarray]]
TEXT = (
    "Convolutional networks of 8 x 8 images (LXT: networks of attention), the same "
    "weights and samples in each package. Differences are ours minus theirs, in "
    "precision, with 95 % intervals over networks and samples. Of 100 differences that "
    "are zero, about 5 are beyond their interval by chance."
)


def scores(folder: Folder, pair: Pair, ours: Mapping, theirs: Mapping) -> ByTask:
    """Return the precision of both, of the places that both have."""
    made: dict[str, dict[str, list]] = {}
    for place in places(folder, pair.on):
        key = f"{place[0]}/{place[1]}"
        if key not in ours or key not in theirs:
            continue
        truth = folder.samples(pair.on[1], place)[2]
        task = made.setdefault(place[0], {"ours": [], "theirs": []})
        for who, maps in (("ours", ours[key]), ("theirs", theirs[key])):
            task[who].append(precision(np.nan_to_num(maps), truth))
    return {t: {w: np.stack(v) for w, v in of.items()} for t, of in made.items()}


def _league(by: ByTask) -> League:
    return league({(task, "both"): of for task, of in by.items()})


def gap(found: League) -> tuple[str, int]:
    """Return the difference as a cell, bold where it is clear, and its sign if so."""
    mean, low, high = found.difference("ours", "theirs")
    cell = f"{mean:+.2f} ({low:+.2f} to {high:+.2f})"
    sign = int(low > 0) - int(high < 0)
    return f"**{cell}**" if sign else cell, sign


def differ(of: Mapping[str, np.ndarray]) -> bool:
    """Return whether the precision of ours and theirs differs for any sample."""
    return bool(np.abs(of["ours"] - of["theirs"]).max() > 1e-6)


def apart(ours: Mapping, theirs: Mapping) -> str:
    """Return the median and the largest relative difference of the maps."""
    gaps = [
        distance(t, o)
        for key in theirs
        if key in ours
        for t, o in zip(theirs[key], ours[key], strict=True)
    ]
    known = [g for g in gaps if g is not None and np.isfinite(g)]
    return f"{np.median(known):.0e}, {max(known):.0e}" if known else ""


def pairs_table(folder: Folder) -> tuple[str, str, str]:
    """Return the table of all pairs, that of each task, and what failed."""
    rows, tasks, failed = [], [], []
    names = list(dict.fromkeys(t for t, _ in places(folder)))
    for pair, ours, theirs, why in compared(folder):
        by = scores(folder, pair, ours, theirs)
        if why or not by:
            failed += [f"`{pair.peer}` {pair.how}: {why or 'not measured'}"]
            continue
        found = _league(by)
        cell, _ = gap(found)
        each = {t: gap(_league({t: of})) for t, of in by.items()}
        signs = [sign for _, sign in each.values()]
        rows.append([
            pair.peer, pair.how, f"`{pair.entry}`", str(sum(map(_rows, by.values()))),
            f"{found.mean('ours'):.2f}", f"{found.mean('theirs'):.2f}", cell,
            str(signs.count(1)), str(signs.count(-1)),
            apart(ours, theirs) if pair.same else "",
        ])  # fmt: skip
        if pair.on == IMAGES and any(differ(of) for of in by.values()):
            cells = [each[t][0] if t in each else "" for t in names]
            tasks.append([pair.peer, pair.how, *cells])
    heads = ["package", "its method", "ours", "networks", "precision, ours", "theirs",
             "difference", "tasks, ours better", "theirs better",
             "relative difference of maps: median, largest"]  # fmt: skip
    return (
        markdown(heads, rows),
        markdown(["package", "its method", *names], tasks),
        "; ".join(failed),
    )


def _rows(of: Mapping[str, np.ndarray]) -> int:
    return len(of["ours"])


def best_table(folder: Folder) -> str:
    """Return the best of our entries and of theirs on each task, and the difference.

    Both are chosen on every second sample, and compared on the others.
    """
    own = {
        name: read(folder.file(*IMAGES, name, options))
        for name, (_, options) in entries(*IMAGES).items()
    }
    other = {
        f"{p.peer} {p.how}": maps
        for p, _, maps, why in compared(folder)
        if p.on == IMAGES and not why
    }
    rows = []
    for task in dict.fromkeys(task for task, _ in places(folder)):
        mine, yours = (_of_task(folder, task, maps) for maps in (own, other))
        if not mine or not yours:
            continue
        first, second = _best(mine), _best(yours)
        halves = {"ours": mine[first][:, 1::2], "theirs": yours[second][:, 1::2]}
        judged = _league({task: halves})
        rows.append([task, f"`{first}`", f"{judged.mean('ours'):.2f}", second,
                     f"{judged.mean('theirs'):.2f}", gap(judged)[0]])  # fmt: skip
    heads = ["task", "our best", "its precision", "their best", "its precision",
             "difference"]  # fmt: skip
    return markdown(heads, rows)


def _of_task(folder: Folder, task: str, every: Mapping) -> dict[str, np.ndarray]:
    """The precision of each name on the networks of a task, if it has all of them."""
    made = {}
    keys = [p for p in places(folder) if p[0] == task]
    for name, maps in every.items():
        if all(f"{t}/{s}" in maps for t, s in keys):
            pairs = [
                (maps[f"{t}/{s}"], folder.samples(IMAGES[1], (t, s))) for t, s in keys
            ]
            made[name] = np.stack(
                [precision(np.nan_to_num(m), given[2]) for m, given in pairs]
            )
    return made


def _best(of: Mapping[str, np.ndarray]) -> str:
    names = [n for n in of if n not in (*CONTROLS, TOGETHER)]
    return max(names, key=lambda n: float(of[n][:, ::2].mean()))


def versions(folder: Folder) -> str:
    """Return the versions of every package, or why it is not installed."""
    lines = []
    for peer in peers.PEERS:
        record = folder.path / "peers" / f"{peer}.txt"
        text = record.read_text() if record.exists() else "not measured"
        lines.append(f"- {peer}: {text}")
    return "\n".join(lines)


def text(folder: Folder) -> str:
    """Return the page of the comparison; "" where nothing was measured."""
    if not (folder.path / "peers").exists():
        return ""
    rows, tasks, failed = pairs_table(folder)
    parts = [TEXT, versions(folder), "## The same method", rows,
             f"Not compared: {failed}." if failed else "",
             "## The same method, by task",
             "Without the pairs whose precision is the same for every sample.", tasks,
             "## The best of all", 
             "The best method of each side is chosen on every second sample, and "
             "compared on the others.", best_table(folder)]  # fmt: skip
    return "\n\n".join(p for p in parts if p)
