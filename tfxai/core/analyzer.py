"""An analyzer: batches in, an `Explanation` out. The loop that every family shares."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tfxai.base.errors import (
    NotFiniteWarning,
    NothingToExplainWarning,
    UnreachedInputWarning,
)
from tfxai.base.progress import bar
from tfxai.core.embedding_cut import check_function
from tfxai.core.explanation import Explanation
from tfxai.core.inputs import check_batch_size, cut
from tfxai.core.model import ModelWrapper
from tfxai.core.targets import Target, resolve

#: (inputs, target function or None, one target?) -> compiled maps. The maps take the
#: inputs, target (B, T) and how many samples may be evaluated at once, and return a
#: dict: relevance, a list of (T, B, ...); score and target, (B, T); for `extra` any
#: arrays (B, T, ...), and a dict "each" of what all targets share, (B, ...).
Maker = Callable[[list, Callable | None, bool], Callable]


class Analyzer:
    """What `create_analyzer` returns. Call `analyze`; the graph is built once.

    wrapped: the model. options: what the analyzer was made with. check: told every
    explanation. together: do all targets come from one set of questions?
    """

    def __init__(
        self,
        method: str,
        wrapped: ModelWrapper,
        make: Maker,
        target: Any = None,
        options: Mapping[str, Any] | None = None,
        check: Callable[[Explanation], None] | None = None,
        together: bool = False,
    ) -> None:
        self.method, self.wrapped, self.options = method, wrapped, dict(options or {})
        self.make, self._target, self._check = make, target, check
        self._together = together
        self._maps: dict[Any, Callable] = {}

    def __repr__(self) -> str:
        options = "".join(f", {k}={v!r}" for k, v in self.options.items())
        return f"<tfxai analyzer {self.method!r}{options}>"

    def analyze(
        self,
        x: Any,
        target: Any = None,
        batch_size: int = 32,
        progress: bool | None = None,
    ) -> Explanation:
        """Explain a batch.

        x: (B, ...) array or tensor, the model's own structure where it has several
            inputs, or a `tf.data.Dataset` of batches.
        target: what to explain; see `Explanation`. None is the top class (or the target
            given at construction), [[340, 386]] two classes of one sample, "all" all.
        batch_size: how many maps are made at once (samples x targets).
        progress: show a bar; None shows one on a terminal for more than one batch.

        Raises InputError and TargetError for what cannot be explained.
        """
        inputs = self.wrapped.checked(x)
        target = self._target if target is None else target
        goal = self._goal(target, inputs)
        results = self._run(inputs, goal, batch_size, progress)
        e = self._explanation(x, inputs, goal, results)
        _warn(e)
        _warn_unreached(e)
        if self._check is not None:
            self._check(e)
        return e

    def compiled(self, x: Any, target: Any = None) -> Callable:
        """The compiled function that `analyze` calls for inputs like `x`.

        It takes the list of inputs, target (B, T) int32, -1 for the top class, and how
        many samples may be evaluated at once; it returns a dict of tensors: relevance,
        a list of (T, B, ...); score; target.
        """
        inputs = self.wrapped.checked(x)
        goal = self._goal(target, inputs)
        maps = self._compiled(inputs, goal)
        return lambda batch, target, max_batch=32: maps(batch, target, max_batch)

    def _goal(self, target: Any, inputs: list) -> Target:
        shape = self.wrapped.output_shape(inputs)
        goal = resolve(target, len(inputs[0]), shape)
        check_function(goal.function, shape)
        return goal

    def _run(self, inputs: list, goal: Target, batch_size: int, progress: Any) -> list:
        """The maps of every batch: few targets side by side, many one after another."""
        check_batch_size(batch_size)
        count = goal.indices.shape[1]
        maps = self._compiled(inputs, goal)
        rows = list(cut(inputs, max(1, batch_size // (1 if self._together else count))))
        columns = list(cut([goal.indices.T], count if self._together else batch_size))
        done = []
        with bar(self.method, len(inputs[0]), progress, len(rows) > 1) as advance:
            for row in rows:
                batch = [v[row] for v in inputs]
                goals = [goal.indices[row, c] for c in columns]
                parts = [maps(batch, g, batch_size) for g in goals]
                done.append(_joined(parts))
                advance(row.stop - row.start)
        return done

    def _compiled(self, inputs: list, goal: Target) -> Callable:
        specs = self.wrapped.specs
        known = specs is not None and all(None not in s[1:] for s, _ in specs)
        shapes = () if known else tuple((v.shape[1:], v.dtype.name) for v in inputs)
        key = (goal.function, goal.indices.shape[1] == 1, shapes)
        if key not in self._maps:
            self.wrapped.confirm(inputs)
            self._maps[key] = self.make(inputs, goal.function, key[1])
        return self._maps[key]

    def _explanation(
        self, x: Any, inputs: list, goal: Target, results: list[dict]
    ) -> Explanation:
        def joined(name: str) -> np.ndarray:
            array = side_by_side([r[name] for r in results])
            return array if goal.axes else array[:, 0]

        count = len(results[0]["relevance"])
        relevance = [
            np.concatenate([r["relevance"][i] for r in results]) for i in range(count)
        ]
        if not goal.axes:
            relevance = [r[:, 0] for r in relevance]
        extra = sorted(set(results[0]) - {"relevance", "score", "target", "each"})
        each = {
            name: side_by_side([r["each"][name] for r in results])
            for name in sorted(results[0]["each"])
        }
        first = {"data_format": "channels_first"} if self.wrapped.channels_first else {}
        return Explanation(
            relevance if count > 1 else relevance[0],
            joined("target"),
            joined("score"),
            self.method,
            inputs if count > 1 else inputs[0],
            {**self.options, **{name: joined(name) for name in extra}, **each, **first},
        )


def side_by_side(parts: list[np.ndarray]) -> np.ndarray:
    """Batches (B, ..., d) as one; where d differs, NaN behind the shorter ones."""
    widths = {p.shape[-1] for p in parts} if parts[0].ndim > 1 else set()
    if len(widths) > 1:
        longest = max(widths)
        parts = [
            np.pad(
                p, [*[(0, 0)] * (p.ndim - 1), (0, longest - p.shape[-1])],
                constant_values=np.nan,
            )
            for p in parts
        ]  # fmt: skip
    return np.concatenate(parts)


def _joined(parts: list[dict]) -> dict[str, Any]:
    """The targets of one batch side by side, batch first: (B, T, ...)."""
    joined: dict[str, Any] = {
        name: np.concatenate([np.asarray(p[name]) for p in parts], 1)
        for name in parts[0].keys() - {"relevance", "each"}
    }
    each = parts[0].get("each", {})
    joined["each"] = {k: np.asarray(v) for k, v in each.items()}
    several = [
        [np.moveaxis(np.asarray(r), 0, 1) for r in p["relevance"]] for p in parts
    ]
    joined["relevance"] = [
        np.concatenate(maps, 1) for maps in zip(*several, strict=True)
    ]
    return joined


def _warn(e: Explanation) -> None:
    """Say by name which maps are not finite, and which are empty."""
    maps = e.relevance if isinstance(e.relevance, list) else [e.relevance]
    axes = np.ndim(e.target)
    rows = [m.reshape(*m.shape[:axes], -1) for m in maps]
    finite = np.all([np.isfinite(r).all(-1) for r in rows], axis=0)
    empty = np.all([(r == 0).all(-1) for r in rows], axis=0)
    hint = "is zero everywhere"
    if e.score[empty].size and e.score[empty].max() <= 0:
        hint += " (it needs a score above 0; gradient, lrp.epsilon and sglrp do not)"
    for mask, category, text in (
        (~finite, NotFiniteWarning, "holds NaN or infinity"),
        (empty, NothingToExplainWarning, hint),
    ):
        if mask.any():
            where = list(dict.fromkeys(np.argwhere(mask)[:, 0].tolist()))[:5]
            warnings.warn(
                f"{e.method}: the map of sample(s) {where} {text}; target "
                f"{e.target[mask][:5].tolist()}, score {e.score[mask][:5].tolist()}.",
                category,
                stacklevel=3,
            )


def _warn_unreached(e: Explanation) -> None:
    """Say of which of several inputs nothing is known."""
    maps = e.relevance if isinstance(e.relevance, list) else []
    alive = [m.any() for m in maps]
    silent = [i for i, a in enumerate(alive) if not a and e.inputs[i].any()]
    if silent and any(alive):
        warnings.warn(
            f"{e.method}: the map of input(s) {silent}, counted from 0, is zero "
            "everywhere. So it is for a mask, and for an input without influence; but "
            "nothing is handed back, either, through a gate, a divisor, an index, "
            'rounding or one-hot. To ask by trying: method="occlusion".',
            UnreachedInputWarning,
            stacklevel=3,
        )
