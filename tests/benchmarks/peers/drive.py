"""The driver: starts a worker for each peer of a case, and lets them take turns."""

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.peers.cases import How
from tests.benchmarks.peers.protocol import SAME_NETWORK
from tests.benchmarks.peers.venvs import Unavailable, said

MODULES = "tests.benchmarks.peers"
ROOT = Path(__file__).resolve().parents[3]
#: From which difference on two maps are not the same.
AGREED = 0.01
#: Forward passes in one map, from which on no second call is needed to be warm.
MANY = 100
Tell = Callable[[str], None]


def silent(text: str) -> None:
    """Tell nobody."""


@dataclass
class Row:
    """What a peer did with a case. Seconds; MiB; `reason` where it could not.

    explain, forward: warm times, one a round. peak: the most held while explaining,
    held: before it, with the network. outputs: how far from ours, relative to the
    largest; difference: |theirs - ours| / |ours| of the maps; None where there is
    nothing to compare. how: the peer's method and its options, versions: of its
    packages, limit: what a single answer might have taken: what tells whether a row
    that was measured earlier still answers the question.
    """

    network: str
    case: str
    batch: int
    peer: str
    first: float | None = None
    explain: list[float] = field(default_factory=list)
    forward: list[float] = field(default_factory=list)
    held: float | None = None
    peak: float | None = None
    outputs: float | None = None
    difference: float | None = None
    note: str = ""
    reason: str = ""
    how: str = ""
    versions: str = ""
    limit: float | None = None


def network(name: str, folder: Path, shared: Path) -> Path:
    """The folder of a network as plain data, written once."""
    place = folder / "networks" / name
    if not (place / "plan.json").exists():
        command = [sys.executable, "-m", f"{MODULES}.networks", name, str(place)]
        subprocess.run([*command, str(shared.resolve())], check=True, cwd=ROOT)
    return place


class Worker:
    """A peer's process. `ask` raises Unavailable with one line."""

    def __init__(self, command: list[str], log: Path, limit: float) -> None:
        self.log, self.limit = log, limit
        log.parent.mkdir(parents=True, exist_ok=True)
        told = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
        told["TMPDIR"] = str(log.parent)  # a worker that is stopped cannot tidy up
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=told, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log.open("w"),
        )  # fmt: skip
        self.lines: queue.Queue = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self.lines.put(line)
        self.lines.put(None)

    def ask(self, **told: Any) -> dict:
        """The answer to one request."""
        try:
            print(json.dumps(told), file=self.process.stdin, flush=True)
            line = self.lines.get(timeout=self.limit)
        except BrokenPipeError:
            line = None
        except queue.Empty:
            raise Unavailable(f"no answer in {self.limit:.0f} s") from None
        if line is None:
            self.process.wait()
            code = self.process.returncode
            why = said(self.log.read_text(errors="replace"))
            raise Unavailable(f"killed by signal {-code}" if code < 0 else why)
        answer = json.loads(line)
        if "error" in answer:
            raise Unavailable(answer["error"])
        return answer

    def end(self) -> None:
        """Stop the process."""
        self.process.kill()
        self.process.communicate()


def distance(a: np.ndarray, b: np.ndarray) -> float | None:
    """|a - b| / |b|, or None for maps of other sizes.

    One channel is compared with the sum over the other's.
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    if a.ndim == b.ndim and a.shape[-1] != b.shape[-1]:
        a, b = a.sum(-1), b.sum(-1)
    if a.shape != b.shape:
        return None
    return float(np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-30))


class Turn:
    """One peer's part of a case: its row, and its worker while it lives.

    passes: forward passes behind a map, where they are what it costs; else 0.
    tell: is told what is being done.
    """

    def __init__(
        self, row: Row, start: Any, told: dict, passes: int = 0, tell: Tell = silent
    ) -> None:
        self.row, self.told, self.passes, self.tell = row, told, passes, tell
        self.spent = 0.0  # on rounds
        self.worker: Worker | None = None
        self.outputs: Any = None
        self.attempt("its network", lambda: self._open(start))

    def attempt(self, what: str, step: Any) -> None:
        """Do a step; what fails is told in the row, and ends the worker."""
        if self.row.reason:
            return
        self.tell(f"{self.row.peer}: {what}")
        try:
            step()
        except Unavailable as error:
            self.row.reason = str(error)
            self.end()

    def _open(self, start: Any) -> None:
        self.worker = start()
        made = self.worker.ask(do="start", **self.told)
        self.row.held, self.outputs = made["mib"], np.asarray(made["outputs"])

    def same(self, outputs: Any) -> None:
        """Is it the network that ours is?"""
        if outputs is None or self.outputs is None:
            return
        gap = float(np.abs(self.outputs - outputs).max() / np.abs(outputs).max())
        self.row.outputs = gap
        if gap > SAME_NETWORK:
            raise Unavailable(f"its network answers otherwise, by {gap:.0e}")

    def affordable(self) -> None:
        """Would a map be made within the limit? Hours are not spent to find out."""
        if not self.passes:
            return
        once = min(self.worker.ask(do="forward")["seconds"] for _ in range(3))
        seconds = self.passes * once
        if seconds > self.worker.limit:
            raise Unavailable(
                f"about {seconds:.0f} s a call ({self.passes} forward passes): above "
                f"the limit of {self.worker.limit:.0f} s"
            )

    def first(self) -> None:
        """The first call, one more to be warm, and the memory of both.

        What makes many passes is warm after its first call, as what took long may be.
        """
        self.row.first = self.worker.ask(do="first")["seconds"]
        if self.passes < MANY and self.row.first < self.worker.limit / 4:
            self.worker.ask(do="explain")
        self.row.peak = self.worker.ask(do="peak")["mib"]
        self.worker.ask(do="forward")

    def round(self) -> None:
        """One map, one forward pass."""
        begun = time.perf_counter()
        self.row.explain.append(self.worker.ask(do="explain")["seconds"])
        self.row.forward.append(self.worker.ask(do="forward")["seconds"])
        self.spent += time.perf_counter() - begun

    def end(self) -> None:
        """Stop the worker."""
        if self.worker is not None:
            self.worker.end()
            self.worker = None


def turns(parts: list[Turn], rounds: int, least: int, budget: float) -> list[Row]:
    """Let the peers take turns (A B A B ...), ours first; compare the maps.

    budget: the seconds of its rounds after which a peer begins no further one, but
    `least` rounds are made whatever they take.
    """
    ours = next((p for p in parts if p.row.peer == "ours"), None)
    for part in parts:
        part.attempt("one network?", lambda part=part: part.same(ours and ours.outputs))
        part.attempt("its forward pass", part.affordable)
        part.attempt("first call", part.first)
    for number in range(rounds):
        for part in parts:
            if number < least or part.spent < budget:
                part.attempt(f"round {number + 1} of {rounds}", part.round)
    for part in parts:
        part.attempt("compared with ours", lambda part=part: compare(part, ours))
    for part in parts:
        part.end()
    return [p.row for p in parts]


def compare(part: Turn, ours: Turn | None) -> None:
    """Put the difference of the maps into the row.

    Ours are made once more where the peer makes them by other options.
    """
    if ours is None or part is ours or ours.worker is None:
        return
    mine, file = Path(ours.told["maps"]), Path(part.told["maps"])
    if not (mine.exists() and file.exists()):
        return
    if part.told["like"]:
        mine = mine.with_name("like.npy")
        ours.worker.ask(do="like", options=part.told["like"], maps=str(mine))
    made, theirs = np.load(mine), np.load(file)
    made = np.abs(made) if part.told["absolute"] else made
    part.row.difference = distance(theirs, made)
    if not made.any():  # what agrees with nothing says nothing
        part.row.note = "our map is 0 everywhere"
    if (part.row.difference or 0) > AGREED and not part.row.note:
        part.row.note = "nobody knows why"
    if part.row.difference is None and not part.row.note:
        part.row.note = f"a map of shape {theirs.shape[1:]}, ours is {made.shape[1:]}"


def told(folder: Path, how: How, batch: int, maps: Path) -> dict:
    """What `start` tells a worker."""
    maps.unlink(missing_ok=True)
    asked = {"network": str(folder), "how": how.method, "options": how.options}
    asked |= {"like": how.like, "absolute": how.absolute}
    return {**asked, "batch": batch, "maps": str(maps)}
