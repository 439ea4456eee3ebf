"""Warnings for explanations by optimisation that may mislead."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from tfxai.base.errors import StuckWarning, UncertainClassWarning
from tfxai.core.explanation import Explanation


def check_result(e: Explanation) -> None:
    """Warn of classes that the model does not predict, and of unsuccessful runs.

    Warns:
        UncertainClassWarning: The probability of the explained class is below 0.5.
        StuckWarning: The score has not fallen by half of its size (in
            `extremal_perturbation`, which keeps the score: it has), or a channel of the
            perturbed image is flat.
    """
    before, after, probability = (
        np.asarray(e.extra[name])
        for name in ("score_before", "score_after", "probability")
    )
    _warn_samples(
        e, probability < 0.5, UncertainClassWarning,
        lambda at: "the probability of the explained class of {} is below 0.5 "
        f"({probability[at]:.3g}): the explanation of a class that the model does not "
        "predict may mislead. Explain the top class, or another image.",
    )  # fmt: skip
    fell = after < before - 0.5 * np.abs(before)
    keeps_score = e.method == "extremal_perturbation"
    how, more = ("more", "area") if keeps_score else ("less", "restarts")
    hint = "" if keeps_score else ", or decrease l1"
    _warn_samples(
        e, fell if keeps_score else ~fell, StuckWarning,
        lambda at: f"the score of {{}} fell by {how} than half (from "
        f"{before[at]:.3g} to {after[at]:.3g}): the output does not depend on the "
        f"regions found. Increase n_iterations or {more}{hint}.",
    )  # fmt: skip
    _warn_samples(
        e, np.asarray(e.extra["channels_lost"]) > 0, StuckWarning,
        lambda at: "a channel of {} became flat, after a ReLU that is zero everywhere: "
        "the perturbation removed a whole colour, not the regions that the output "
        "depends on. Use another seed, or increase restarts.",
    )  # fmt: skip


def _warn_samples(
    e: Explanation,
    where: np.ndarray[Any, Any],
    category: type[Warning],
    text: Callable[[tuple[int, ...]], str],
) -> None:
    """Warn of the samples where `where` (B, ...) is True.

    text: Function (index of the first such entry) -> template with one placeholder.
    """
    found = np.argwhere(where)
    if len(found):
        samples = sorted(set(found[:, 0].tolist()))[:5]
        message = text(tuple(found[0])).format(f"sample(s) {samples}")
        warnings.warn(f"{e.method}: {message}", category, stacklevel=5)
