"""The protocol of workers and driver; uses only numpy and the standard library.

The driver writes one JSON object a line to the worker's stdin, and reads one a line:

    {"do": "start", "network": FOLDER, "how": NAME, "options": {}, "batch": 1,
     "maps": FILE.npy}               -> {"outputs": [[...]], "seconds": 2.1,
                                         "mib": 400.0}  after construction
    {"do": "first"}                  -> {"seconds": 1.9}  construction, explanation
    {"do": "explain"}                -> {"seconds": 0.2}
    {"do": "forward"}                -> {"seconds": 0.1}  the network alone
    {"do": "like", "options": {}, "maps": FILE.npy}
                                     -> {}  explains with other options, not timed
    {"do": "peak"}                   -> {"mib": 912.0}    the peak memory so far

A failure returns {"error": "ValueError: ..."}. A worker runs one case.
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

#: The largest accepted difference of outputs, relative to the largest output.
SAME_NETWORK = 1e-4
#: The length of an error message in a table.
LONGEST = 160


class Job:
    """The settings of a worker: a network's folder, a method, a batch."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.folder = Path(settings["network"])
        self.how, self.options = settings["how"], dict(settings.get("options") or {})
        self.maps = settings["maps"]
        self.plan = json.loads((self.folder / "plan.json").read_text())
        stored = np.load(self.folder / "x.npy", mmap_mode="r")
        numbers = np.arange(settings["batch"]) % len(stored)  # repeats the 8 inputs
        self.x = np.ascontiguousarray(stored[numbers])
        self.target = np.array(self.plan["target"])[numbers]
        self.settings = settings
        self.low, self.high = (
            np.array(self.plan[k], np.float32) for k in ("low", "high")
        )

    def weights(self, layer: str) -> list[np.ndarray]:
        """Return the arrays of a layer, in Keras' order; reads no others."""
        with np.load(self.folder / "weights.npz") as stored:
            count = sum(n.rpartition("|")[0] == layer for n in stored.files)
            return [stored[f"{layer}|{i}"] for i in range(count)]

    @property
    def segments(self) -> np.ndarray:
        """The squares of a grid of 7 x 7 or the plan's `cells`, (H, W) int."""
        (h, w), n = self.x.shape[1:3], self.plan.get("cells", 7)
        return (np.arange(h)[:, None] * n // h) * n + np.arange(w) * n // w

    @property
    def background(self) -> np.ndarray:
        """The samples of reference of a network that has some, (N, H, W, C)."""
        return np.load(self.folder / "background.npy")

    @property
    def last(self) -> str:
        """The last layer with spatial axes, which Grad-CAM uses."""
        return [r["name"] for r in self.plan["layers"] if len(r["shape"]) == 3][-1]

    @property
    def noise(self) -> np.ndarray:
        """Arbitrary heatmaps for metrics, (B, H, W)."""
        shape = self.x.shape[:3]
        return np.random.default_rng(0).random(shape).astype(np.float32)


@dataclass
class Work:
    """A network, and a function that constructs the explainer.

    forward() -> outputs (B, classes). make() -> a function that returns relevance
    (B, H, W, channels) or (B, H, W, 1), or None if there is no relevance.
    like(options) -> relevance computed as by a peer, for the comparison; only for ours.
    """

    forward: Callable[[], np.ndarray]
    make: Callable[[], Callable[[], np.ndarray | None]]
    like: Callable[[dict], np.ndarray] | None = None


def proximity(masks: np.ndarray) -> np.ndarray:
    """Return the sample weights of `lime`, (n,), for masks (n, segments) of 0 and 1.

    sqrt(exp(-d^2 / .25^2)) with d the cosine distance to the full image.
    """
    seen = np.asarray(masks, float).mean(-1)
    return np.exp(-0.5 * ((1 - np.sqrt(seen)) / 0.25) ** 2)


def peak() -> float:
    """Return the peak memory of this process in MiB.

    ru_maxrss is not suitable: Linux inherits the parent's value across fork and exec.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(s for s in status.read_text().splitlines() if "VmHWM" in s)
        return int(line.split()[1]) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS: bytes


def forget_peak() -> None:
    """Reset the peak memory, if the system can, to exclude the network's construction.

    Freed memory is returned to the system first: otherwise it would count as the
    network's, and its reuse by an explainer would not count.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc
    if trim is not None:
        trim(0)
    file = Path("/proc/self/clear_refs")
    if file.exists():
        file.write_text("5")


def timed(function: Callable) -> tuple[float, Any]:
    """Return the seconds and the result of a call."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


class Worker:
    """Handles the driver's requests, with one method for each."""

    def __init__(self, prepare: Callable[[Job], Work]) -> None:
        self.prepare = prepare

    def start(self, request: dict) -> dict:
        """Build the network and return its outputs, for the comparison with ours."""
        job = Job(request)
        self.maps = job.maps
        seconds, self.work = timed(lambda: self.prepare(job))
        outputs = np.asarray(self.work.forward()).tolist()
        forget_peak()
        return {"seconds": seconds, "outputs": outputs, "mib": peak()}

    def first(self, request: dict) -> dict:
        """Construct the explainer, call it once and save the relevance."""

        def run() -> Any:
            self.run = self.work.make()
            return self.run()

        seconds, maps = timed(run)
        if maps is not None:
            np.save(self.maps, np.asarray(maps, np.float32))
        return {"seconds": seconds}

    def explain(self, request: dict) -> dict:
        """Time one explanation."""
        return {"seconds": timed(self.run)[0]}

    def forward(self, request: dict) -> dict:
        """Time one forward pass."""
        return {"seconds": timed(self.work.forward)[0]}

    def like(self, request: dict) -> dict:
        """Explain with other options and save the relevance in a separate file."""
        relevance = self.work.like(request["options"])
        np.save(request["maps"], np.asarray(relevance, np.float32))
        return {}

    def peak(self, request: dict) -> dict:
        """Return the peak memory so far."""
        return {"mib": peak()}


def serve(prepare: Callable[[Job], Work]) -> None:
    """Handle requests until stdin ends. Output of libraries goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker = Worker(prepare)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            response = getattr(worker, request["do"])(request)
        except Exception as error:  # a peer's failure is a row of the table
            response = {"error": reason(error)}
        print(json.dumps(response), file=answers, flush=True)


def reason(error: BaseException) -> str:
    """Return an error in one line."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:LONGEST]
