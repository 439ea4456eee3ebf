"""The analyzer: explains batches. All families of methods share this loop."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import repeat
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.cache import Cache
from tfxai.base.errors import (
    DoubtfulRelevanceWarning,
    NotFiniteWarning,
    NothingToExplainWarning,
    TargetError,
    UnreachedInputWarning,
)
from tfxai.base.progress import bar
from tfxai.core.baselines import listed_per_sample, plain_baseline
from tfxai.core.compilation import compiling_by_xla, not_compiled
from tfxai.core.embedding_cut import TargetFn, check_target_fn
from tfxai.core.explanation import Explanation
from tfxai.core.inputs import Specs, check_batch_size, cut
from tfxai.core.model import ModelWrapper
from tfxai.core.plausibility import doubts
from tfxai.core.ready_target import Bound
from tfxai.core.target_functions import name_of_function
from tfxai.core.targets import TOP, Target
from tfxai.core.texts import Texts, Tokens, columns_of
from tfxai.viz.panel import listed

Array = np.ndarray[Any, Any]
#: Number of compiled functions that an analyzer keeps: one per shape and target
#: function.
KEPT = 16
#: What a compiled function returns besides arrays for `extra`.
NOT_EXTRA = ("relevance", "score", "target", "each", "tokens")
#: A compiled function (inputs, target (B, T), max_batch) -> a dict: relevance, a list
#: of (T, B, ...); score and target, (B, T); further arrays (B, T, ...) for `extra`; and
#: "each", a dict of arrays (B, ...) that all targets share; of raw texts also "tokens",
#: a list of texts for each sample.
Compiled = Callable[[list[Any], Any, int], dict[str, Any]]
#: (inputs, target function or None, single target?) -> a compiled function.
Maker = Callable[[list[Any], TargetFn, bool], Compiled]


class Analyzer:
    """A method for one model, as `create_analyzer` returns it. Call `analyze`.

    `needs_positive_score` is True if relevance is zero for a score of at most 0.

    Args:
        method: The name of the method.
        wrapped: The wrapped model.
        make: Returns the compiled function for inputs of one shape.
        target: What to explain where `analyze` gets no target.
        options: What `Explanation.extra` records.
        check: Called with every explanation, to warn.
        together: All targets are computed from the same model evaluations, so that
            `batch_size` counts samples and not samples times targets.
    """

    needs_positive_score = False
    #: Whether the model sees each sample once, in the order of the batch. The masks of
    #: several samples are then read together.
    once_per_sample = False
    #: Whether relevance and `inputs` are those of a layer.
    inner = False

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
        baseline = self.options.get("baseline")
        #: Baselines with one for each sample.
        self.per_sample = listed_per_sample(baseline)
        if self.per_sample:
            self.options["baseline"] = plain_baseline(baseline)
        self.make, self._target, self._check = make, target, check
        self._together = together
        #: XLA compiles the functions; `create_analyzer` sets it.
        self.jit_compile = False
        #: The family of the method; `create_analyzer` sets it.
        self.family = ""
        #: Tensors of the forward pass are computed again; see `graph.segments`.
        self.recompute = False
        #: Names that every explanation gets; `create_analyzer` sets them.
        self.texts = Texts()
        #: The names of the columns of the batch that is explained.
        self.columns: Any = None
        self._functions = Cache(KEPT)

    def __repr__(self) -> str:
        options = "".join(f", {k}={v!r}" for k, v in self.options.items())
        return f"<tfxai analyzer {self.method!r}{options}>"

    def analyze(
        self,
        x: Any,
        target: Any = None,
        batch_size: int = 32,
        progress: bool | None = None,
        tokens: Tokens = None,
    ) -> Explanation:
        """Return the explanation of a batch.

        Args:
            x: Inputs: an array or tensor (B, ...), the model's own structure where it
                has several inputs, or a `tf.data.Dataset` of batches.
            target: What to explain. None is the top class (or the target given at
                construction), [[340, 386]] two classes of one sample, "all" all of
                them, a function of the model's own outputs its value (`tfxai.targets`
                has functions of the logits); see `Explanation`.
            batch_size: How many samples times targets are computed at once.
            progress: Show a progress bar; None shows one on a terminal for more than
                one batch.
            tokens: The texts of the tokens of each sample, for figures and tables.

        Raises:
            InputError: x is not a batch of finite numbers of the model's shape.
            TargetError: The target does not fit the model's output.
            OptionError: The number of names or tokens does not fit.

        Warns:
            NotFiniteWarning: Relevance or a score is NaN or infinite.
            NothingToExplainWarning: Relevance is zero everywhere.
            UnreachedInputWarning: One of several inputs gets no relevance.
            DoubtfulRelevanceWarning: Relevance is constant, rounding noise, or nearly
                |x| or the edges of x.
        """
        inputs = self.wrapped.checked(x)
        texts = self._texts_of(x, tokens)
        self.columns = texts.features
        target = self._target if target is None else target
        goal = self.wrapped.goal(target, inputs)
        shape = self.wrapped.output_shape(inputs)
        named = texts.fields(inputs, shape, self.wrapped.input_names)
        results = self._run(inputs, goal, batch_size, progress)
        e = replace(self._explanation(inputs, goal, results), **named)
        _warn(e, self.needs_positive_score)
        _warn_unreached(e, self.wrapped.specs or [])
        _warn_doubtful(e, self.family == "sampling")
        if self._check is not None:
            self._check(e)
        return self._finished(e)

    def _finished(self, e: Explanation) -> Explanation:
        """Return what `analyze` returns; of a layer, with its output as `inputs`."""
        if not self.inner:
            return e
        extra = dict(e.extra)
        inner = {"inputs": extra.pop("values"), "extra": extra}
        return replace(e, **inner, features=None, tokens=None, input_names=())

    def compiled(self, x: Any, target: Any = None) -> Callable[..., dict[str, Any]]:
        """Return the compiled function that `analyze` calls for inputs like `x`.

        It takes the list of inputs, target (B, T) int32, -1 for the top class, and
        max_batch, how many samples may be evaluated at once. It returns a dict of
        tensors: relevance, a list of (T, B, ...); score; target. The first call of some
        methods, for few samples, is not compiled; see `core.compilation`.
        """
        inputs = self.wrapped.checked(x)
        goal = self.wrapped.goal(target, inputs)
        if goal.masks is not None and len(goal.masks) > 1:
            raise TargetError(
                "The compiled function has one target, and here is a mask per sample.",
                "one mask for all samples",
                "target=tfxai.targets.masked_sum(masks[0], 0)",
            )
        function = self._compiled(inputs, goal)
        return lambda batch, target, max_batch=32: function(batch, target, max_batch)

    def _texts_of(self, x: Any, tokens: Tokens) -> Texts:
        """The names for one batch: those given, and the columns of a data frame."""
        texts, columns = self.texts, columns_of(x, self.wrapped.input_names)
        if texts.features is None and columns is not None:
            texts = replace(texts, features=columns)
        return texts if tokens is None else replace(texts, tokens=tokens)

    def _run(
        self, inputs: list[Any], goal: Target, batch_size: int, progress: bool | None
    ) -> list[dict[str, Any]]:
        """The results of all batches; many targets are split, few are not.

        The masks of several samples are read from a variable, by one graph. A method
        that evaluates copies of a sample, which all have its mask, gets one sample at
        a time.
        """
        check_batch_size(batch_size)
        for starts in self.per_sample:
            starts.check(len(inputs[0]))
        count = goal.indices.shape[1]
        several = goal.masks is not None and len(goal.masks) > 1
        together = several and self.once_per_sample
        goal, set_masks = self.wrapped.with_variable(goal, None if together else 1)
        function = self._compiled(inputs, goal)
        per_batch = 1 if several and not together else batch_size
        per_batch = max(1, per_batch // (1 if self._together else count))
        rows = list(cut(inputs, per_batch))
        columns = list(cut([goal.indices.T], count if self._together else batch_size))
        results = []
        try:
            with bar(self.method, len(inputs[0]), progress, len(rows) > 1) as advance:
                for row in rows:
                    set_masks(row)
                    for starts in self.per_sample:
                        starts.select(row)
                    batch = [v[row] for v in inputs]
                    targets = [goal.indices[row, c] for c in columns]
                    # A comprehension is a frame of the stack before Python 3.12 alone.
                    found = map(function, repeat(batch), targets, repeat(batch_size))
                    results.append(_joined(list(found)))
                    advance(row.stop - row.start)
        finally:
            for starts in self.per_sample:
                starts.select(None)
        return results

    def _compiled(self, inputs: list[Any], goal: Target) -> Compiled:
        """The compiled function for this target and inputs of this shape, cached."""
        specs = self.wrapped.specs
        known = specs is not None and all(None not in s[1:] for s, _ in specs)
        shapes = () if known else tuple((v.shape[1:], v.dtype.name) for v in inputs)
        frames = tuple((i, f.key) for i, f in self.wrapped.frames.items())
        columns = (repr(self.columns), frames)
        key = (goal.target_fn, goal.indices.shape[1] == 1, shapes, columns)

        def build() -> Compiled:
            if goal.masks is None:
                check_target_fn(goal.target_fn, self.wrapped.output_shape(inputs))
            self.wrapped.confirm(inputs)
            with compiling_by_xla(self.jit_compile):
                function = self.make(inputs, goal.target_fn, key[1])
            return _by_xla(function) if self.jit_compile else function

        function: Compiled = self._functions.get(key, build)
        return function

    def _explanation(
        self, inputs: list[Any], goal: Target, results: list[dict[str, Any]]
    ) -> Explanation:
        """The explanation of all batches."""

        def joined(name: str) -> Array:
            array = concatenate_padded([r[name] for r in results])
            return array if goal.axes else np.asarray(array[:, 0])

        count = len(results[0]["relevance"])
        relevance = [
            concatenate_padded([r["relevance"][i] for r in results], 0.0)
            for i in range(count)
        ]
        if not goal.axes:
            relevance = [r[:, 0] for r in relevance]
        extra = sorted(set(results[0]) - set(NOT_EXTRA))
        each = {
            name: concatenate_padded([r["each"][name] for r in results])
            for name in sorted(results[0]["each"])
        }
        what = self._target_of(inputs, goal)
        target = joined("target")
        if goal.target_fn is not None:  # no class, though methods resolve one
            target = np.full_like(target, TOP)
        first = {"data_format": "channels_first"} if self.wrapped.channels_first else {}
        return Explanation(
            relevance if count > 1 else relevance[0],
            target,
            joined("score"),
            self.method,
            inputs if count > 1 else inputs[0],
            {
                **self.options,
                **{name: joined(name) for name in extra},
                **each,
                **first,
                **what,
            },
            tokens=[t for r in results for t in r.get("tokens", ())] or None,
            option_names=[
                *(n for n in self.options if n not in (*extra, *each)),
                *first,
                *what,
            ],
        )

    def _target_of(self, inputs: list[Any], goal: Target) -> dict[str, Any]:
        """What titles need: the name of a function, the shape of outputs with axes."""
        if isinstance(goal.target_fn, Bound):
            return {"target_function": name_of_function(goal.target_fn.function)}
        shape = self.wrapped.output_shape(inputs)[1:]
        return {"output_shape": list(shape)} if len(shape) > 1 else {}


def _by_xla(function: Compiled) -> Compiled:
    """Return the function, so that XLA compiles what it compiles when it is called."""

    def call(inputs: list[Any], target: Any, max_batch: int) -> dict[str, Any]:
        try:
            with compiling_by_xla(True):
                return function(inputs, target, max_batch)
        except tf.errors.OpError as error:
            found = not_compiled(error)
            if found is None:
                raise
            raise found from error

    return call


def concatenate_padded(parts: list[Array], fill: float = np.nan) -> Array:
    """Return batches (B, ..., d) as one; where d differs, `fill` pads shorter ones."""
    longest = np.max([p.shape[1:] for p in parts], 0).astype(int)
    if any(p.shape[1:] != tuple(longest) for p in parts):
        parts = [
            np.pad(
                p, [(0, 0), *((0, n) for n in longest - np.array(p.shape[1:]))],
                constant_values=fill,
            )
            for p in parts
        ]  # fmt: skip
    return np.concatenate(parts)


def _joined(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """The results of several targets of one batch, batch first: (B, T, ...)."""
    joined: dict[str, Any] = {
        name: np.concatenate([np.asarray(p[name]) for p in parts], 1)
        for name in parts[0].keys() - {"relevance", "each", "tokens"}
    }
    each = parts[0].get("each", {})
    if "tokens" in parts[0]:
        joined["tokens"] = parts[0]["tokens"]
    joined["each"] = {k: np.asarray(v) for k, v in each.items()}
    several = [
        [np.moveaxis(np.asarray(r), 0, 1) for r in p["relevance"]] for p in parts
    ]
    joined["relevance"] = [np.concatenate(r, 1) for r in zip(*several, strict=True)]
    return joined


def _samples(mask: Array) -> list[int]:
    """The numbers of the first samples that a mask (B,) or (B, T) has."""
    return list(dict.fromkeys(np.argwhere(mask)[:, 0].tolist()))[:5]


def _warn(e: Explanation, needs_positive: bool) -> None:
    """Warn of samples whose relevance or score is not finite, or relevance zero."""
    arrays = listed(e.relevance)
    axes = np.ndim(e.target)
    rows = [r.reshape(*r.shape[:axes], -1) for r in arrays]
    finite = np.all([np.isfinite(r).all(-1) for r in rows], axis=0)
    empty = np.all([(r == 0).all(-1) for r in rows], axis=0)
    hint = "is zero everywhere"
    if needs_positive and e.score[empty].size and e.score[empty].max() <= 0:
        hint += '. It needs a score above 0. Write: method="lrp.epsilon"'
    for mask, category, text in (
        (~np.isfinite(e.score), NotFiniteWarning, "score of {} is NaN or infinite"),
        (~finite, NotFiniteWarning, "relevance of {} holds NaN or infinity"),
        (empty, NothingToExplainWarning, f"relevance of {{}} {hint}"),
    ):
        if mask.any():
            where = _samples(mask)
            warnings.warn(
                f"{e.method}: the {text.format(f'sample(s) {where}')}; target "
                f"{e.target[mask][:5].tolist()}, score {e.score[mask][:5].tolist()}.",
                category,
                stacklevel=3,
            )


def _warn_unreached(e: Explanation, specs: Specs) -> None:
    """Warn of inputs, among several, that get no relevance; masks of tokens do not."""
    arrays = e.relevance if isinstance(e.relevance, list) else []
    if not arrays:
        return
    reached = [r.any() for r in arrays]
    whole = [("int" in d or "bool" in d) for _, d in specs] or [False] * len(arrays)
    flags = [w and np.isin(e.inputs[i], (0, 1)).all() for i, w in enumerate(whole)]
    ids = any(w and r and not f for w, r, f in zip(whole, reached, flags, strict=True))
    names = e.input_names or [""] * len(arrays)
    pairs = zip(flags, names, strict=True)
    masks = [  # of token ids, and their positions
        (f and (ids or "mask" in name)) or name == "position_ids" for f, name in pairs
    ]
    silent = [
        i
        for i, r in enumerate(reached)
        if not r and not masks[i] and (e.inputs[i] != 0).any()
    ]
    if silent and any(reached):
        warnings.warn(
            f"{e.method}: the relevance of input(s) {silent}, counted from 0, is zero "
            "everywhere. That is right for a mask and for an input without influence; "
            "but relevance does not pass a gate, a divisor, an index, rounding or "
            'one-hot either. To test it by changes of the input: method="occlusion".',
            UnreachedInputWarning,
            stacklevel=3,
        )


def _warn_doubtful(e: Explanation, sampled: bool) -> None:
    """Warn of relevance that says little about the model."""
    for mask, text in doubts(e, sampled):
        warnings.warn(
            f"{e.method}: the relevance of sample(s) {_samples(mask)} {text}. It may "
            "say nothing about the model. Methods for this model and input: "
            "tfxai.recommend(model, x)",
            DoubtfulRelevanceWarning,
            stacklevel=3,
        )
