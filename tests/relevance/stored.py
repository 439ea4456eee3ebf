"""Stored relevance of other libraries: functions that read and compare it."""

import importlib.util
import json
import re
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any
from unittest.mock import patch

import numpy as np
import tensorflow as tf

from tests.conftest import SHARED, shared_path
from tests.relevance.old_rules import Entry, Row
from tfxai.relevance.relevance_model import RelevanceModel

INNVESTIGATE = "references/innvestigate"
ZENNIT = "references/zennit_captum"


@dataclass
class Record:
    """Result of one analyzer of one case."""

    case: str
    name: str
    status: str
    rows: tuple[str, ...] = ()
    error: float = 0.0


AGREED, KNOWN, DIFFERENT = "agreed", "known difference", "DIFFERENT"
UNCOVERED, UNUSABLE = "not covered", "unusable reference"


@cache
def loader(folder: str) -> Any:
    """Return the module `load_case` beside the reference values."""
    path = shared_path(folder) / "load_case.py"
    spec = importlib.util.spec_from_file_location(f"load_{path.parent.name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def index(folder: str) -> dict[str, Any]:
    return json.loads((shared_path(folder) / "index.json").read_text())


def listed(folder: str, key: str) -> list[str]:
    """Return names for `parametrize`; ["absent"], which skips, if nothing is stored."""
    path = SHARED / folder / "index.json"
    return list(json.loads(path.read_text())[key]) if path.exists() else ["absent"]


def split(name: str) -> tuple[str, int | None]:
    """`seed.SGLRP[scaling=True,target=2]` -> `seed.SGLRP[scaling=True]`, 2."""
    target = re.search(r",?target=(\d+)", name)
    base = name.replace(target[0], "") if target else name
    return base.replace("[]", "").removesuffix("@all"), target and int(target[1])


def wanted(c: Any, name: str) -> dict[str, list[np.ndarray]]:
    """Return the stored arrays: selection -> one per input."""
    several = range(len(c.inputs)) if len(c.inputs) > 1 else [None]
    found = {}
    for selection in ("max", "idx", "all", None):
        parts = [name, selection, several[0]]
        key = "a/" + "/".join(str(p) for p in parts if p is not None)
        if key in c.ref_keys:
            found[selection] = [c.ref(name, selection, i) for i in several]
    return found


def targets_of(c: Any, info: dict, name: str) -> np.ndarray:
    """Return classes (B, T): the target; all; or the top one and the stored index."""
    target = split(name)[1]
    if target is not None:
        return np.full((len(c.y), 1), target, np.int32)
    if name.endswith("@all"):
        return np.tile(np.arange(c.y.shape[-1], dtype=np.int32), (len(c.y), 1))
    return np.int32(np.stack([info["argmax"], info["idx"]], 1))


def selected(maps: list[np.ndarray], selection: str | None) -> list[np.ndarray]:
    """Return one selection of relevance (T, B, ...) per input."""
    if selection == "all":  # all outputs at once: the sum of their relevance
        return [m.sum(0) for m in maps]
    return [m[1 if selection == "idx" else 0] for m in maps]


def worst(maps: list[np.ndarray], reference: dict[str, list[np.ndarray]]) -> float:
    """Return the largest |ours - stored| / max |stored| of all arrays."""
    pairs = [
        (ours, stored)
        for selection, arrays in reference.items()
        for ours, stored in zip(selected(maps, selection), arrays, strict=True)
    ]
    return max(far(*pair) for pair in pairs)


def far(ours: np.ndarray, stored: np.ndarray) -> float:
    if ours.shape[-1] == 1:  # a stored CAM is the same in every channel
        ours = np.broadcast_to(ours, stored.shape)
    assert ours.shape == stored.shape
    difference = np.abs(ours - stored).max()
    return float(difference / max(np.abs(stored).max(), 1e-30))


def run(graph: RelevanceModel, inputs: list, targets: np.ndarray) -> list[np.ndarray]:
    """Return relevance (T, B, ...) per input, eagerly."""
    result = graph.propagate([tf.constant(x) for x in inputs], tf.constant(targets))
    return [np.asarray(r) for r in result["relevance"]]


def eager(
    function: Callable[..., Any], specs: list[tf.TensorSpec], jit: bool = False
) -> Callable[..., Any]:
    """Return a function that runs without being traced.

    Each analyzer of these tests runs once, so that tracing takes most of the time.
    """
    return lambda *values: function(
        *[tf.convert_to_tensor(v, s.dtype) for v, s in zip(values, specs, strict=True)]
    )


def ours(
    analyzer: Any, inputs: list, targets: np.ndarray, compiled: bool = False
) -> list[np.ndarray]:
    """Return the relevance (T, B, ...) per input of a public analyzer."""
    if hasattr(analyzer, "graph") and not compiled:
        return run(analyzer.graph, inputs, targets)
    x = inputs if len(inputs) > 1 else inputs[0]
    with nullcontext() if compiled else patch("tfxai.gradient.base.compiled", eager):
        e = analyzer.analyze(x, targets)
    maps = e.relevance if isinstance(e.relevance, list) else [e.relevance]
    return [np.moveaxis(m, 1, 0) for m in maps]


def restored(
    entry: Entry, rows: tuple[Row, ...], inputs: list, targets: np.ndarray
) -> list[np.ndarray]:
    """Return the relevance with iNNvestigate's own rules and head."""
    rules, head = {}, entry.graph.head
    for planned in entry.plan:
        rules[planned.step.name] = planned.rule
        for row in rows:
            old = row.rule(entry, planned, rules[planned.step.name])
            rules[planned.step.name] = old
    for row in rows:
        head = row.start(entry, head)
    graph = RelevanceModel(entry.graph.model, entry.program, entry.preset, head, rules)
    return run(graph, inputs, targets)
