"""What a worker and the driver say to each other; numpy and the standard library only.

The driver writes one JSON object a line to the worker's stdin, and reads one a line:

    {"do": "start", "network": FOLDER, "how": NAME, "options": {}, "batch": 1,
     "maps": FILE.npy}               -> {"outputs": [[...]], "seconds": 2.1,
                                         "mib": 400.0}  held when it is built
    {"do": "first"}                  -> {"seconds": 1.9}  makes the explainer, and a map
    {"do": "explain"}                -> {"seconds": 0.2}
    {"do": "forward"}                -> {"seconds": 0.1}  the network alone
    {"do": "like", "options": {}, "maps": FILE.npy}
                                     -> {}  maps by other options, not timed
    {"do": "peak"}                   -> {"mib": 912.0}    the most ever held till now

What fails answers {"error": "ValueError: ..."}. A worker lives for one case.
"""

import ctypes
import gc
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

#: A peer's network answers what ours does, to so much of the largest answer.
SAME_NETWORK = 1e-4
#: As many letters of an error as a table has room for.
LONGEST = 160


class Job:
    """What is asked of a worker: a network's folder, a method, a batch."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.folder = Path(told["network"])
        self.how, self.options = told["how"], dict(told.get("options") or {})
        self.maps = told["maps"]
        self.plan = json.loads((self.folder / "plan.json").read_text())
        stored = np.load(self.folder / "x.npy", mmap_mode="r")
        numbers = np.arange(told["batch"]) % len(stored)  # the 8 again and again
        self.x = np.ascontiguousarray(stored[numbers])
        self.target = np.array(self.plan["target"])[numbers]
        self.told = told
        self.low, self.high = (
            np.array(self.plan[k], np.float32) for k in ("low", "high")
        )

    def weights(self, layer: str) -> list[np.ndarray]:
        """A layer's arrays, in Keras' order; only they are read."""
        with np.load(self.folder / "weights.npz") as stored:
            count = sum(n.rpartition("|")[0] == layer for n in stored.files)
            return [stored[f"{layer}|{i}"] for i in range(count)]

    @property
    def segments(self) -> np.ndarray:
        """(H, W) int: the 49 squares of a 7 x 7 grid."""
        h, w = self.x.shape[1:3]
        return (np.arange(h)[:, None] * 7 // h) * 7 + np.arange(w) * 7 // w

    @property
    def last(self) -> str:
        """The last layer that has places: where Grad-CAM looks."""
        return [r["name"] for r in self.plan["layers"] if len(r["shape"]) == 3][-1]

    @property
    def noise(self) -> np.ndarray:
        """(B, H, W): maps to be measured, any."""
        shape = self.x.shape[:3]
        return np.random.default_rng(0).random(shape).astype(np.float32)


@dataclass
class Work:
    """A network that is ready, and how to make the explainer.

    forward() -> outputs (B, classes). make() -> a function that returns maps
    (B, H, W, channels) or (B, H, W, 1), or None where it makes no map.
    like(options) -> maps as a peer makes them, to be compared with: ours alone.
    """

    forward: Callable[[], np.ndarray]
    make: Callable[[], Callable[[], np.ndarray | None]]
    like: Callable[[dict], np.ndarray] | None = None


def proximity(masks: np.ndarray) -> np.ndarray:
    """What `lime` weighs samples by: masks (n, segments) of 0 and 1 -> (n,).

    sqrt(exp(-d^2 / .25^2)), d the cosine distance to the whole picture.
    """
    seen = np.asarray(masks, float).mean(-1)
    return np.exp(-0.5 * ((1 - np.sqrt(seen)) / 0.25) ** 2)


def peak() -> float:
    """MiB: the most that this process ever held.

    ru_maxrss would do, but across fork and exec Linux carries over the parent's.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(s for s in status.read_text().splitlines() if "VmHWM" in s)
        return int(line.split()[1]) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS: bytes


def forget_peak() -> None:
    """Let `peak` start anew, where the system can: what built the network is past.

    What was freed since is handed back first: else it would count as the network's, and
    what an explainer takes of it as nothing.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc
    if trim is not None:
        trim(0)
    file = Path("/proc/self/clear_refs")
    if file.exists():
        file.write_text("5")


def timed(function: Callable) -> tuple[float, Any]:
    """Seconds, and what came back."""
    start = time.perf_counter()
    made = function()
    return time.perf_counter() - start, made


class Worker:
    """Answers the driver's requests, one method for each."""

    def __init__(self, prepare: Callable[[Job], Work]) -> None:
        self.prepare = prepare

    def start(self, told: dict) -> dict:
        """Build the network; its outputs, to be compared with ours."""
        job = Job(told)
        self.maps = job.maps
        seconds, self.work = timed(lambda: self.prepare(job))
        outputs = np.asarray(self.work.forward()).tolist()
        forget_peak()
        return {"seconds": seconds, "outputs": outputs, "mib": peak()}

    def first(self, told: dict) -> dict:
        """Make the explainer and call it once; the maps go to their file."""

        def run() -> Any:
            self.run = self.work.make()
            return self.run()

        seconds, maps = timed(run)
        if maps is not None:
            np.save(self.maps, np.asarray(maps, np.float32))
        return {"seconds": seconds}

    def explain(self, told: dict) -> dict:
        """One more map."""
        return {"seconds": timed(self.run)[0]}

    def forward(self, told: dict) -> dict:
        """One forward pass."""
        return {"seconds": timed(self.work.forward)[0]}

    def like(self, told: dict) -> dict:
        """Maps by other options, into a file of their own."""
        np.save(told["maps"], np.asarray(self.work.like(told["options"]), np.float32))
        return {}

    def peak(self, told: dict) -> dict:
        """The memory so far."""
        return {"mib": peak()}


def serve(prepare: Callable[[Job], Work]) -> None:
    """Answer requests until stdin ends. What a library prints goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker = Worker(prepare)
    for line in sys.stdin:
        told = json.loads(line)
        try:
            answer = getattr(worker, told["do"])(told)
        except Exception as error:  # a peer's failure is a row of the table
            answer = {"error": reason(error)}
        print(json.dumps(answer), file=answers, flush=True)


def reason(error: BaseException) -> str:
    """An error in one line."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:LONGEST]
