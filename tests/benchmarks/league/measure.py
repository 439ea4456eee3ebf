"""Maps of every entry on every network, kept in one file per network's kind and entry.

An analyzer is built once for an architecture, and explains the networks of all tasks
and seeds, whose weights are put into its model one after another.
"""

import hashlib
import json
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

import tfxai
from tests.benchmarks.league import networks
from tests.benchmarks.league.entries import (
    CONTROLS,
    SEGMENTS,
    WITH_BACKGROUND,
    entries,
)
from tests.benchmarks.league.tasks import TASKS
from tfxai.errors import TfxaiError

#: (task, seed): a network of an architecture.
Place = tuple[str, int]
#: (kind, name) -> its tasks. The order is the one in which they are measured.
ORDER = (("images", "cnn"), ("tables", "mlp"), ("tables", "linear"),
         ("series", "cnn"), ("tokens", "attention"), ("images", "digits"),
         ("images", "mlp"), ("images", "linear"), ("images", "cnn16"),
         ("images", "cnn64"), ("tokens", "lstm"), ("series", "lstm"))  # fmt: skip
#: Networks that have fewer seeds than the run, for their cost.
SEEDS = {"digits": 3, "cnn16": 3, "cnn64": 2, "lstm": 2}


def samples(
    task: str, model: keras.Model, seed: int, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return new inputs that the model classifies right, their classes and truth."""
    rng = np.random.default_rng([seed, 2])
    x, y, seen = TASKS[task].draw(rng, 4 * count)
    right = model.predict(x, 1000, verbose=0).argmax(-1) == y
    return x[right][:count], y[right][:count], seen[right][:count]


def flat(relevance: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return relevance with its channels added up, in the shape of the truth."""
    r = np.asarray(relevance, np.float32)
    return r.sum(-1) if r.ndim > truth.ndim else r


class Folder:
    """The files of a run.

    Args:
        path: Where they are; `build/league`, for example.
        count: Samples of each network.
    """

    def __init__(self, path: Path, count: int) -> None:
        self.path, self.count = path, count
        self._samples: dict[tuple, tuple] = {}

    @property
    def weights(self) -> Path:
        """The folder of the trained networks."""
        return self.path / "weights"

    def model(self, name: str, place: Place) -> tuple[keras.Model, float]:
        """Return the network of a task and a seed, and its accuracy."""
        return networks.load(place[0], name, place[1], self.weights)

    def samples(self, name: str, place: Place) -> tuple:
        """Return the inputs, the classes and the truth of a network."""
        key = name, place
        if key not in self._samples:
            model, _ = self.model(name, place)
            self._samples[key] = samples(place[0], model, place[1], self.count)
        return self._samples[key]

    def file(self, kind: str, name: str, entry: str, options: Mapping) -> Path:
        """Return the file of the maps of an entry: other defaults, another file."""
        spec = {m.name: m for m in tfxai.methods()}.get(entry.split(" ")[0])
        known = {k: repr(o.default) for k, o in spec.options.items()} if spec else {}
        key = json.dumps([entry, known, repr(options), self.count], sort_keys=True)
        digest = hashlib.sha256(key.encode()).hexdigest()[:10]
        safe = "".join(c if c.isalnum() or c in "._" else "-" for c in entry)[:60]
        return self.path / "maps" / f"{kind}-{name}" / f"{safe}-{digest}.npz"


def read(file: Path) -> dict[str, Any]:
    """Return the maps of a file, by "task/seed", and "error" and "seconds"."""
    if not file.exists():
        return {}
    with np.load(file) as kept:
        return {k: kept[k] for k in kept.files}


def write(file: Path, found: Mapping[str, Any]) -> None:
    """Write a file of maps completely, or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part.npz")
    np.savez(part, **found)
    part.rename(file)


def measured(
    folder: Folder, kind: str, name: str, places: list[Place], only: tuple = (),
    defaults: bool = False,
) -> None:  # fmt: skip
    """Explain the samples of every place by every entry that is not in the folder."""
    wrapped = tfxai.wrap(networks.network(kind, name))
    for entry, (method, options) in entries(kind, name).items():
        if (only and method not in only) or (defaults and entry != method):
            continue
        file = folder.file(kind, name, entry, options)
        found = read(file)
        left = [p for p in places if f"{p[0]}/{p[1]}" not in found]
        if not left or "error" in found:
            continue
        begin = time.process_time()
        try:
            found |= explained(folder, wrapped, name, left, method, options)
        except TfxaiError as error:
            found["error"] = np.array(f"{type(error).__name__}: {error}")
        took = time.process_time() - begin
        found["seconds"] = np.array(took + float(found.get("seconds", 0)))
        write(file, found)
        why = str(found.get("error", ""))[:90]
        print(f"{kind} {name} {entry}: {took:.1f} s {why}", flush=True)


def run(
    folder: Folder, seeds: range, tasks: tuple, only: tuple = (), smoke: bool = False,
    defaults: bool = False, of: tuple = (),
) -> None:  # fmt: skip
    """Train and explain what is not in the folder, one kind of network at a time.

    Args:
        folder: Where the networks and the maps are kept.
        seeds: One network of each kind for each.
        tasks: Names of `TASKS`.
        only: Names of methods; none are all.
        smoke: Use the first network of each task only.
        defaults: Use the default options only.
        of: Names of networks, "cnn" or "images-cnn"; none are all.
    """
    for kind, name in ORDER:
        if of and name not in of and f"{kind}-{name}" not in of:
            continue
        places: list[Place] = []
        for seed in seeds[: SEEDS.get(name)]:
            for task in tasks:
                spec = TASKS[task]
                who = spec.networks[:1] if smoke else spec.networks
                if spec.kind == kind and name in who:
                    _, accuracy = folder.model(name, (task, seed))
                    print(f"{task} {name} {seed}: {accuracy:.3f}", flush=True)
                    if accuracy >= networks.ACCURACY:
                        places.append((task, seed))
        if places:
            measured(folder, kind, name, places, only, defaults)


def explained(
    folder: Folder, wrapped: Any, name: str, places: list[Place], method: str,
    options: dict[str, Any],
) -> dict[str, np.ndarray]:  # fmt: skip
    """Return the maps (N, ...) of a method for every place, and its warnings.

    "warned/<place>" holds the names of the classes of its warnings.
    """
    given = dict(options)
    kind = TASKS[places[0][0]].kind
    if method in WITH_BACKGROUND:
        given["background"] = background(places)
    elif kind == "tables" and method in SEGMENTS:  # evaluated for each row of it
        given["background"] = background(places, 6)
    made, analyzer = {}, None
    for place in places:
        x, y, truth = folder.samples(name, place)
        folder.model(name, place)  # its weights are now those of the wrapped model
        with warnings.catch_warnings(record=True) as raised:
            warnings.simplefilter("always")
            if analyzer is None:
                analyzer = tfxai.create_analyzer(method, wrapped, **given)
            e = analyzer.analyze(x, y)
        key = f"{place[0]}/{place[1]}"
        made[key] = flat(e.relevance, truth)
        names = sorted({w.category.__name__ for w in raised})
        made[f"warned/{key}"] = np.array(names, str)
    return made


def background(places: list[Place], count: int = 48) -> np.ndarray:
    """Return samples of all tasks of a network's kind."""
    tasks = list(dict.fromkeys(task for task, _ in places))
    rng, each = np.random.default_rng(3), -(-count // len(tasks))
    return np.concatenate([TASKS[task].draw(rng, each)[0] for task in tasks])


def controls(folder: Folder, kind: str, name: str, place: Place) -> dict:
    """Return the maps of the controls for a place, by name."""
    x, _, truth = folder.samples(name, place)
    rng = np.random.default_rng([place[1], 4])
    return {
        entry: flat(np.abs(control(x, rng)), truth)
        for entry, (kinds, control) in CONTROLS.items()
        if kind in kinds
    }
