"""The scores of all maps of a folder."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import takewhile

import numpy as np

from tests.benchmarks.league.entries import MEMBERS, TOGETHER, entries, together
from tests.benchmarks.league.measure import ORDER, SEEDS, Folder, controls, read
from tests.benchmarks.league.networks import ACCURACY
from tests.benchmarks.league.scores import SCORES, earth_mover
from tests.benchmarks.league.tasks import TASKS

#: The maps of a network whose way to the truth is computed, an assignment each.
WAYS = 4
#: Warnings that say that a map is constant or zero.
SAID = {"DoubtfulRelevanceWarning", "NothingToExplainWarning"}
Cell = tuple[str, str]


@dataclass
class Scored:
    """The scores of one kind of input.

    Attributes:
        of: score -> (task, network) -> entry -> (seeds, samples).
        constant: entry -> the number of constant maps, and of all maps.
        silent: entry -> the number of constant maps of networks without a warning.
        seconds: entry -> CPU seconds, for all its maps.
        refused: entry -> the error of a network that it does not explain.
        share: (task, network) -> the share of true elements (seeds, samples), which is
            the precision of a constant map.
        accuracy: (task, network) -> the accuracy of each seed's network.
    """

    of: dict[str, dict[Cell, dict[str, np.ndarray]]] = field(default_factory=dict)
    constant: dict[str, tuple[int, int]] = field(default_factory=dict)
    silent: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    share: dict[Cell, np.ndarray] = field(default_factory=dict)
    accuracy: dict[Cell, list[float]] = field(default_factory=dict)

    def put(self, cell: Cell, entry: str, score: str, rows: list[np.ndarray]) -> None:
        """Keep the scores of an entry."""
        self.of.setdefault(score, {}).setdefault(cell, {})[entry] = np.stack(rows)

    @property
    def seeds(self) -> int:
        """The smallest number of networks of a task."""
        return min((len(a) for a in self.accuracy.values()), default=0)


def scored(folder: Folder, kind: str, seeds: range, tasks: tuple = ()) -> Scored:
    """Return the scores of every entry that the folder holds; trains nothing."""
    made = Scored()
    for kind_, name in ORDER:
        if kind_ != kind:
            continue
        maps = _maps(folder, kind, name, made)
        for task, spec in TASKS.items():
            wanted = spec.kind == kind and name in spec.networks
            if wanted and (not tasks or task in tasks):
                _cell(made, folder, maps, (task, name), seeds)
    return made


def _maps(folder: Folder, kind: str, name: str, made: Scored) -> dict[str, Mapping]:
    """The files of all entries, read once."""
    maps = {}
    for entry, (_, options) in entries(kind, name).items():
        found = read(folder.file(kind, name, entry, options))
        if "error" in found:
            made.refused[entry] = f"{name}: {found['error']}"
        elif found:
            maps[entry] = found
            spent = float(found["seconds"])
            made.seconds[entry] = made.seconds.get(entry, 0) + spent
    return maps


def _cell(made: Scored, folder: Folder, maps: dict, cell: Cell, seeds: range) -> None:
    """Score the entries on the networks of one task, as far as they were measured."""
    task, name = cell
    places = []
    for seed in seeds[: SEEDS.get(name)]:
        if (folder.weights / f"{task}-{name}-{seed}.npz").exists():
            _, accuracy = folder.model(name, (task, seed))
            if accuracy >= ACCURACY:
                places.append((task, seed))
                made.accuracy.setdefault(cell, []).append(accuracy)
    keys = [f"{t}/{s}" for t, s in places]
    # a seed counts once all methods of the network have been measured with its defaults
    plain_maps = [m for e, m in maps.items() if " (" not in e]
    done = [k for k in keys if plain_maps and all(k in m for m in plain_maps)]
    if cell in made.accuracy:
        made.accuracy[cell] = made.accuracy[cell][: len(done)]
    places = [p for p, k in zip(places, keys, strict=True) if k in done]
    if not places:
        made.accuracy.pop(cell, None)
        return
    truths = [folder.samples(name, p)[2] for p in places]
    made.share[cell] = np.stack([t.reshape(len(t), -1).mean(1) for t in truths])
    plain = [controls(folder, TASKS[task].kind, name, p) for p in places]
    found = {
        e: [m[k] for k in takewhile(m.__contains__, done)] for e, m in maps.items()
    }
    found = {e: rows for e, rows in found.items() if rows}
    found |= {e: [c[e] for c in plain] for e in plain[0]}
    if all(m in found for m in MEMBERS):
        found[TOGETHER] = [
            together(m) for m in zip(*(found[m] for m in MEMBERS), strict=False)
        ]
    for entry, rows in found.items():
        _entry(made, cell, entry, rows, truths)
        warned = [maps.get(entry, {}).get(f"warned/{k}", ()) for k in done]
        for m, names in zip(rows, warned, strict=False):
            if not set(names) & SAID:
                flat = np.asarray(m).reshape(len(m), -1)
                made.silent[entry] = made.silent.get(entry, 0) + constants(flat)


def _entry(made: Scored, cell: Cell, entry: str, maps: list, truths: list) -> None:
    """Score the maps of an entry on the first networks of a task, or on all."""
    pairs = [(_like(m, t), t) for m, t in zip(maps, truths, strict=False)]
    for score, function in SCORES.items():
        made.put(cell, entry, score, [function(m, t) for m, t in pairs])
    if TASKS[cell[0]].kind != "tables":  # columns have no distance
        ways = [earth_mover(m[:WAYS], t[:WAYS]) for m, t in pairs]
        made.put(cell, entry, "EMD", ways)
    rows = np.concatenate([m.reshape(len(m), -1) for m, _ in pairs])
    constant = constants(rows)
    before = made.constant.get(entry, (0, 0))
    made.constant[entry] = before[0] + constant, before[1] + len(rows)


def constants(rows: np.ndarray) -> int:
    """Return how many rows have one value, up to rounding."""
    return int((np.ptp(rows, axis=1) <= 1e-6 * np.abs(rows).max(1)).sum())


def _like(maps: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Maps in the shape of the truth, and 0 for what is not a number."""
    return np.nan_to_num(np.broadcast_to(maps, truth.shape))
