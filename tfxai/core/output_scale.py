"""The explained number of sampling methods: probability, logit or log-odds."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.errors import ModelError, OptionError
from tfxai.base.tensors import Tensor
from tfxai.core.model import ModelWrapper
from tfxai.core.target_functions import odds_of_logits, odds_of_probabilities
from tfxai.core.targets import has_two_classes
from tfxai.graph.program import Program

SCALES = ("auto", "probability", "logit", "log_odds")
_PROBABILITIES = ("softmax", "log_softmax", "sigmoid", "answer", "unknown")


def scaled(wrapped: ModelWrapper, scale: str) -> tuple[str, Callable[[Tensor], Tensor]]:
    """Return the name of a scale, and a function (outputs) -> explained numbers.

    "auto" is the probability where the model ends in softmax or sigmoid, and elsewhere
    the output as it is ("logit"). A scale does not apply to a target function.

    Args:
        wrapped: The wrapped model.
        scale: A name of `SCALES`.

    Raises:
        OptionError: There is no such scale.
        ModelError: The model returns no probabilities, or steps after the softmax
            rearrange them, so that only the logits are known.
    """
    if scale not in SCALES:
        raise OptionError(f"scale={scale!r}.", f"one of {list(SCALES)}")
    link = wrapped.link
    moved = wrapped.ending is not None and _moved(wrapped.ending)
    known = link in _PROBABILITIES and not moved
    if scale == "auto":
        scale = "probability" if known and link != "unknown" else "logit"
    if scale == "logit":
        return scale, tf.identity
    if not known:
        why = (
            "rearranges its softmax" if moved else "does not end in softmax or sigmoid"
        )
        raise ModelError(
            f"scale={scale!r}, and the model {why}.",
            "a model that ends in probabilities",
            'scale="logit"',
        )
    if scale == "probability":
        return scale, wrapped.probability_of
    if link == "sigmoid":
        return scale, tf.identity
    if link in ("softmax", "log_softmax"):
        return scale, odds_of_logits
    return scale, lambda outputs: odds_of_probabilities(wrapped.probability_of(outputs))


def _moved(program: Program) -> bool:
    """True where steps behind the softmax rearrange the classes."""
    return len(program.finish) > 1 and not has_two_classes(program)


def check_rows(
    wrapped: ModelWrapper, scale: str, inputs: list[np.ndarray[Any, Any]]
) -> None:
    """Raise ModelError if a callable should return probabilities, but does not.

    Args:
        wrapped: The wrapped model.
        scale: The name of the scale.
        inputs: Checked inputs, of which the first sample is evaluated.
    """
    if wrapped.link != "unknown" or scale == "logit":
        return
    first: Any = [v[:1] for v in inputs]
    y = wrapped.logits(tuple(first) if len(first) > 1 else first[0], 1)
    total = y.sum(-1)
    if y.shape[-1] == 1 and y.min() >= 0 and y.max() <= 1:  # one sigmoid
        return
    if y.min() < -1e-6 or y.max() > 1 + 1e-6 or np.abs(total - 1).max() > 1e-3:
        raise ModelError(
            f"scale={scale!r}, and the model's outputs for sample 0 add up to "
            f"{float(total.ravel()[0]):.4g}, from {y.min():.3g} to {y.max():.3g}.",
            "probabilities: rows that add up to one",
            'scale="logit"',
        )
