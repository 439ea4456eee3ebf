"""What number of an answer a sampling method explains: probability, logit, log-odds."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.arrays import Tensor
from tfxai.errors import ModelError, OptionError
from tfxai.model import Wrapped

SCALES = ("auto", "probability", "logit", "log_odds")
_LINKS: dict[str, Callable] = {
    "softmax": tf.nn.softmax,
    "log_softmax": tf.nn.softmax,
    "sigmoid": tf.sigmoid,
    "answer": tf.identity,
    "unknown": tf.identity,
}


def scaled(wrapped: Wrapped, scale: str) -> tuple[str, Callable[[Tensor], Tensor]]:
    """The scale's name, and (outputs) -> what is explained.

    "auto" is the probability where the model ends in softmax or sigmoid, and elsewhere
    ("logit") its answer as it is. Raises ModelError where there is no probability.
    """
    if scale not in SCALES:
        raise OptionError(f"scale={scale!r}.", f"one of {list(SCALES)}")
    link = wrapped.link
    if scale == "auto":
        scale = "logit" if link in ("linear", "unknown") else "probability"
    if scale == "logit":
        return scale, tf.identity
    if link not in _LINKS:
        raise ModelError(
            f"scale={scale!r}, and the model does not end in softmax or sigmoid.",
            "a model that answers probabilities",
            'scale="logit"',
        )
    probability = _LINKS[link]
    return scale, probability if scale == "probability" else _odds(probability)


def _odds(probability: Callable) -> Callable:
    def log_odds(outputs: Tensor) -> Tensor:
        p = tf.clip_by_value(probability(outputs), 1e-7, 1 - 1e-7)
        return tf.math.log(p) - tf.math.log1p(-p)

    return log_odds


def check_rows(wrapped: Wrapped, scale: str, inputs: list[np.ndarray]) -> None:
    """Refuse a model of which only answers are known, and they are no probabilities."""
    if wrapped.link != "unknown" or scale == "logit":
        return
    first: Any = [v[:1] for v in inputs]
    y = wrapped.logits(first if len(first) > 1 else first[0], 1)
    total = y.sum(-1)
    if y.min() < -1e-6 or y.max() > 1 + 1e-6 or np.abs(total - 1).max() > 1e-3:
        raise ModelError(
            f"scale={scale!r}, and the model's answers to sample 0 add up to "
            f"{float(total.ravel()[0]):.4g}, from {y.min():.3g} to {y.max():.3g}.",
            "probabilities: rows that add up to one",
            'scale="logit"',
        )
