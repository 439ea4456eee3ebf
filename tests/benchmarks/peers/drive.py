"""The driver: starts a worker for each peer of a case, and alternates between them."""

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
#: The difference above which two results are not equal.
AGREED = 0.01
#: Forward passes per explanation above which no second warm-up call is needed.
MANY = 100
Tell = Callable[[str], None]


def silent(text: str) -> None:
    """Ignore the text."""


@dataclass
class Row:
    """The results of a peer for a case, in seconds and MiB; `reason` if it failed.

    first: the first call. explain, forward: warm times, one per round. peak: the peak
    memory. held: the memory with the network, before the explanation. outputs: the
    difference from our outputs, relative to the largest. difference: |theirs - ours| /
    |ours| of the relevance; None without a comparison. how, versions, limit: the method
    with its options, the package versions, and the time limit of a command; they decide
    whether an earlier row is still valid.
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
    """Return the folder of a network as plain data, written at the first use."""
    place = folder / "networks" / name
    if not (place / "plan.json").exists():
        command = [sys.executable, "-m", f"{MODULES}.networks", name, str(place)]
        subprocess.run([*command, str(shared.resolve())], check=True, cwd=ROOT)
    return place


class Worker:
    """A peer's process. `request` sends one, or raises Unavailable with one line."""

    def __init__(self, command: list[str], log: Path, limit: float) -> None:
        self.log, self.limit = log, limit
        log.parent.mkdir(parents=True, exist_ok=True)
        env = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
        env["TMPDIR"] = str(log.parent)  # a killed worker cannot clean up
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=env, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log.open("w"),
        )  # fmt: skip
        self.lines: queue.Queue = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self.lines.put(line)
        self.lines.put(None)

    def request(self, **request: Any) -> dict:
        """Send a request and return the response."""
        try:
            print(json.dumps(request), file=self.process.stdin, flush=True)
            line = self.lines.get(timeout=self.limit)
        except BrokenPipeError:
            line = None
        except queue.Empty:
            raise Unavailable(f"no response in {self.limit:.0f} s") from None
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
    """Return |a - b| / |b|, or None for different shapes.

    An array with one channel is compared with the sum over the other's channels.
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    if a.ndim == b.ndim and a.shape[-1] != b.shape[-1]:
        a, b = a.sum(-1), b.sum(-1)
    if a.shape != b.shape:
        return None
    return float(np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-30))


class Turn:
    """One peer's part of a case: its row, and its worker while it runs.

    passes: forward passes per explanation, if they dominate the time; else 0.
    tell: called with a description of each step.
    """

    def __init__(
        self, row: Row, start: Any, settings: dict, passes: int = 0, tell: Tell = silent
    ) -> None:
        self.row, self.settings, self.passes, self.tell = row, settings, passes, tell
        self.spent = 0.0  # on rounds
        self.worker: Worker | None = None
        self.outputs: Any = None
        self.attempt("network", lambda: self._open(start))

    def attempt(self, what: str, step: Any) -> None:
        """Execute a step; a failure is stored in the row and ends the worker."""
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
        response = self.worker.request(do="start", **self.settings)
        self.row.held = response["mib"]
        self.outputs = np.asarray(response["outputs"])

    def same(self, outputs: Any) -> None:
        """Raise Unavailable if the outputs differ from ours."""
        if outputs is None or self.outputs is None:
            return
        gap = float(np.abs(self.outputs - outputs).max() / np.abs(outputs).max())
        self.row.outputs = gap
        if gap > SAME_NETWORK:
            raise Unavailable(f"its network has other outputs, by {gap:.0e}")

    def affordable(self) -> None:
        """Raise Unavailable if an explanation would exceed the time limit."""
        if not self.passes:
            return
        once = min(self.worker.request(do="forward")["seconds"] for _ in range(3))
        seconds = self.passes * once
        if seconds > self.worker.limit:
            raise Unavailable(
                f"about {seconds:.0f} s a call ({self.passes} forward passes): above "
                f"the limit of {self.worker.limit:.0f} s"
            )

    def first(self) -> None:
        """Run the first call, a second warm-up call, and read the peak memory.

        A case with many passes, or a long first call, needs no second call.
        """
        self.row.first = self.worker.request(do="first")["seconds"]
        if self.passes < MANY and self.row.first < self.worker.limit / 4:
            self.worker.request(do="explain")
        self.row.peak = self.worker.request(do="peak")["mib"]
        self.worker.request(do="forward")

    def round(self) -> None:
        """Time one explanation and one forward pass."""
        begun = time.perf_counter()
        self.row.explain.append(self.worker.request(do="explain")["seconds"])
        self.row.forward.append(self.worker.request(do="forward")["seconds"])
        self.spent += time.perf_counter() - begun

    def end(self) -> None:
        """Stop the worker."""
        if self.worker is not None:
            self.worker.end()
            self.worker = None


def turns(parts: list[Turn], rounds: int, least: int, budget: float) -> list[Row]:
    """Run the peers alternately (A B A B ...), ours first; compare the results.

    budget: the seconds of rounds after which a peer starts no further round. least:
    the minimum number of rounds.
    """
    ours = next((p for p in parts if p.row.peer == "ours"), None)
    for part in parts:
        part.attempt("outputs", lambda part=part: part.same(ours and ours.outputs))
        part.attempt("forward pass", part.affordable)
        part.attempt("first call", part.first)
    for number in range(rounds):
        for part in parts:
            if number < least or part.spent < budget:
                part.attempt(f"round {number + 1} of {rounds}", part.round)
    for part in parts:
        part.attempt("comparison", lambda part=part: compare(part, ours))
    for part in parts:
        part.end()
    return [p.row for p in parts]


def compare(part: Turn, ours: Turn | None) -> None:
    """Store the difference of the results in the row.

    Ours is computed again if the peer needs other options.
    """
    if ours is None or part is ours or ours.worker is None:
        return
    mine, file = Path(ours.settings["maps"]), Path(part.settings["maps"])
    if not (mine.exists() and file.exists()):
        return
    if part.settings["like"]:
        mine = mine.with_name("like.npy")
        ours.worker.request(do="like", options=part.settings["like"], maps=str(mine))
    own, theirs = np.load(mine), np.load(file)
    own = np.abs(own) if part.settings["absolute"] else own
    part.row.difference = distance(theirs, own)
    if not own.any():  # agreement with zeros is meaningless
        part.row.note = "our relevance is 0 everywhere"
    if (part.row.difference or 0) > AGREED and not part.row.note:
        part.row.note = "unexplained difference"
    if part.row.difference is None and not part.row.note:
        part.row.note = (
            f"relevance of shape {theirs.shape[1:]}, ours is {own.shape[1:]}"
        )


def settings(folder: Path, how: How, batch: int, maps: Path) -> dict:
    """Return the `start` request of a worker."""
    maps.unlink(missing_ok=True)
    request = {"network": str(folder), "how": how.method, "options": how.options}
    request |= {"like": how.like, "absolute": how.absolute}
    return {**request, "batch": batch, "maps": str(maps)}
