"""What is said aloud about an explanation that was learnt, where it may mislead."""

import warnings

import numpy as np

from tfxai.base.errors import StuckWarning, UncertainClassWarning
from tfxai.core.explanation import Explanation


def doubt(e: Explanation) -> None:
    """Warn of a class that is not well defined, and of runs that led nowhere."""
    before, after, chance = (
        np.asarray(e.extra[name])
        for name in ("score_before", "score_after", "probability")
    )
    _say(
        e, chance < 0.5, UncertainClassWarning,
        lambda at: "the network gives the explained class of {} less than an even "
        f"chance ({chance[at]:.3g}): an explanation of a class that is not well "
        "defined may mislead. Explain its top class, or another picture.",
    )  # fmt: skip
    fell = after < before - 0.5 * np.abs(before)
    kept = e.method == "extremal_perturbation"  # there the score is to stay
    how, more = ("more", "area") if kept else ("less", "restarts (or a smaller l1)")
    _say(
        e, fell if kept else ~fell, StuckWarning,
        lambda at: f"the score of {{}} fell by {how} than half (from "
        f"{before[at]:.3g} to {after[at]:.3g}): what was found is not what the answer "
        f"rests on. Give more steps, or more {more}.",
    )  # fmt: skip
    _say(
        e, np.asarray(e.extra["channels_lost"]) > 0, StuckWarning,
        lambda at: "a channel of {} came out flat, behind a dead ReLU: what was found "
        "took a whole colour away, not what the answer rests on. Give another seed, "
        "or more restarts.",
    )  # fmt: skip


def _say(e: Explanation, where: np.ndarray, category: type, text) -> None:
    """Warn of samples, `where` (B, ...); text: (the first place) -> a template."""
    found = np.argwhere(where)
    if len(found):
        samples = sorted(set(found[:, 0].tolist()))[:5]
        said = text(tuple(found[0])).format(f"sample(s) {samples}")
        warnings.warn(f"{e.method}: {said}", category, stacklevel=5)
