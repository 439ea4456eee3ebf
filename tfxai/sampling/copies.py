"""A method from one function that scores changed copies of an input."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.errors import ModelError
from tfxai.base.tensors import in_dtype
from tfxai.core.analyzer import Analyzer
from tfxai.core.embedding_cut import TargetFn
from tfxai.core.inputs import signature
from tfxai.core.model import ModelWrapper
from tfxai.core.output_scale import check_rows, scaled
from tfxai.core.queries import Probe

#: (one input, scores) -> relevance; see `sampling_analyzer`.
Explain = Callable[[Any, Callable[[Any], np.ndarray]], Any]


def sampling_analyzer(
    method: str,
    wrapped: ModelWrapper,
    explain: Explain,
    target: Any = None,
    options: Mapping[str, Any] | None = None,
    scale: str = "auto",
) -> Analyzer:
    """Return an analyzer that evaluates the model on changed copies of each input.

    It works with any model, also with a plain callable. `explain(x, scores)` gets one
    input x without the batch axis (a list of arrays for a model with several inputs).
    `scores(copies)` takes n copies, (n, ...), and returns the scores (n, T) of the T
    targets. `explain` returns the relevance (T, ...) of x; image methods may return one
    channel. Random draws must depend on an explicit seed only, so that a batch gives
    the same relevance as its samples one by one.

    Args:
        method: The name of the method.
        wrapped: The wrapped model, the first argument of the builder.
        explain: (x, scores) -> relevance.
        target: What to explain where `analyze` gets no target.
        options: What `Explanation.extra` records.
        scale: The explained number: "probability", "logit", "log_odds", or "auto".
    """
    name, number = scaled(wrapped, scale)

    def make(inputs: list[np.ndarray], function: TargetFn, single: bool) -> Any:
        check_rows(wrapped, name, inputs)
        copies, dtypes = [], [v.dtype for v in inputs]
        if wrapped.differentiable:
            copies = signature(wrapped.specs, inputs)
            copies = [tf.TensorSpec((None, *v.shape[1:]), s.dtype)
                      for v, s in zip(inputs, copies, strict=True)]  # fmt: skip
            dtypes = [s.dtype.as_numpy_dtype for s in copies]
        probe = Probe(
            wrapped, _changed, inputs, copies, function, number, exchange=_changed
        )
        return _Copies(method, explain, probe, dtypes)

    return Analyzer(
        method, wrapped, make, target, {**(options or {}), "scale": name}, together=True
    )


def _changed(inputs: list[Any], copies: list[Any]) -> list[Any]:
    """The change of the probe: the copies are changed already."""
    return copies


class _Copies:
    """(batch, target, max_batch) -> the relevance of each sample and target."""

    def __init__(
        self, method: str, explain: Explain, probe: Probe, dtypes: list[Any]
    ) -> None:
        self._method, self._explain = method, explain
        self._probe, self._dtypes = probe, dtypes

    def __call__(
        self, batch: list[np.ndarray], target: np.ndarray, max_batch: int
    ) -> dict[str, Any]:
        score, target = self._probe.unchanged_scores(batch, target, max_batch)
        found = [
            self._sample(b, batch, target, max_batch) for b in range(len(batch[0]))
        ]
        relevance = [np.stack(parts, 1) for parts in zip(*found, strict=True)]
        return {"relevance": relevance, "score": score, "target": target}

    def _sample(
        self, b: int, batch: list[np.ndarray], target: np.ndarray, max_batch: int
    ) -> list[np.ndarray]:
        """The relevance (T, ...) of each input of sample b."""

        def scores(copies: Any) -> np.ndarray:
            listed = list(copies) if len(batch) > 1 else [copies]
            arrays = [in_dtype(v, d) for v, d in zip(listed, self._dtypes, strict=True)]
            which = np.full(len(arrays[0]), b, np.int32)
            return self._probe.evaluate(batch, which, arrays, target, max_batch)

        x = [np.array(v[b]) for v in batch]  # `explain` may work in place
        result = self._explain(x if len(x) > 1 else x[0], scores)
        results = list(result) if len(x) > 1 else [result]
        pairs = zip(results, x, strict=True)
        return [self._checked(r, v.shape, target.shape[1]) for r, v in pairs]

    def _checked(self, value: Any, shape: tuple[int, ...], targets: int) -> np.ndarray:
        relevance = np.asarray(value, np.float32)
        wanted = (targets, *shape)
        if relevance.shape not in (wanted, (*wanted[:-1], 1)):
            raise ModelError(
                f"The method {self._method!r} returned relevance of shape "
                f"{relevance.shape} for an input of shape {shape} and {targets} "
                "target(s).",
                f"shape {wanted}",
                'np.einsum("nt,n...->t...", scores(copies), masks)',
            )
        return relevance
