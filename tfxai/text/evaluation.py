"""Metrics of texts: how the output changes as words are removed or kept.

DeYoung et al. 2020 (ERASER), arXiv:1911.03429, section 4: comprehensiveness and
sufficiency. Petsiuk et al. 2018, arXiv:1806.07421: deletion and insertion.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tfxai.base.errors import OptionError
from tfxai.base.validation import whole_number
from tfxai.core.explanation import Explanation
from tfxai.core.registry import METHODS
from tfxai.metrics.pixel_flipping import trapezoid
from tfxai.text.feed import Feed
from tfxai.text.games import WordGame
from tfxai.text.rows import Case, Row, has_token, length_of

Array = np.ndarray[Any, Any]
#: Shares of the words that are removed or kept, of ERASER.
SHARES = (0.01, 0.05, 0.1, 0.2, 0.5)
#: Methods outside of these families whose values add up.
ADDITIVE = (
    "input_t_gradient", "kernel_shap", "shapley_sampling", "c_shapley",
    "partition_shap", "shapley_interactions",
)  # fmt: skip
#: Relevance methods whose values do not add up to the score.
CONTRASTING = ("clrp", "sglrp", "guided_backprop", "deconvnet")
#: Metrics, and which direction is better.
TEXT_METRICS = {
    "comprehensiveness": "higher",
    "sufficiency": "lower",
    "deletion": "lower",
    "insertion": "higher",
    "additivity": "lower",
}


def chosen(metrics: Sequence[str] | None, e: Explanation) -> list[str]:
    """Return the names of metrics; None is all that the method of `e` has.

    Raises:
        OptionError: There is no such metric, or the method does not add up.
    """
    additive = is_additive(e.method)
    if metrics is None:
        return [n for n in TEXT_METRICS if additive or n != "additivity"]
    for name in metrics:
        if name not in TEXT_METRICS:
            raise OptionError(f"metrics={name!r}.", f"some of {list(TEXT_METRICS)}")
    if "additivity" in metrics and not additive:
        raise OptionError(
            f"additivity of {e.method!r}, whose values add up to nothing.",
            "a relevance method, a path method or Shapley values",
            'method="lrp.attn"',
        )
    return list(metrics)


def is_additive(method: str) -> bool:
    """Return whether the values of a method add up to a score or a change of it."""
    family = METHODS[method].family
    shares = family in ("relevance", "path") and not method.startswith(CONTRASTING)
    return method in ADDITIVE or shares


def total_of(e: Explanation, at: tuple[int, ...]) -> float:
    """Return what the relevance of one target of an additive method adds up to.

    That is the score or, of methods with a baseline, the score less that of the
    baseline: `extra["change"]`, or the score less `extra["baseline_score"]`.
    """
    if "change" in e.extra:
        return float(np.asarray(e.extra["change"])[at])
    below = np.broadcast_to(e.extra.get("baseline_score", 0.0), e.target.shape)
    return float(e.score[at] - below[at])


def measured(
    relevance: Array,
    total: float,
    players: Array,
    value: Callable[[Array], Array],
    n_steps: int,
    beside: float = 0.0,
) -> dict[str, float]:
    """Return every metric of one text.

    p(S) is the probability of the target with the words S alone.

    - comprehensiveness: the mean of p(all) - p(all but the first q) over the shares q
      of words with the largest relevance;
    - sufficiency: the mean of p(all) - p(the first q);
    - deletion, insertion: the area under p as words are removed from the text, and
      inserted into none, those of the largest relevance first;
    - additivity: |sum of relevance - d| / |d|, where d is the score of relevance
      methods, and of path methods and Shapley values its change from the baseline;
      the others have none.

    Args:
        relevance: The relevance of the tokens (n,).
        total: What they add up to, d.
        players: The number of the word of each token; -1 is none.
        value: Masks (N, d) of words -> probabilities (N,).
        n_steps: In how many steps words are removed.
        beside: The sum of the relevance of an image beside the words.
    """
    count = int(players.max()) + 1
    inside = players >= 0
    words = np.bincount(players[inside], relevance[inside], count)
    order = np.argsort(-words, kind="stable")
    steps = np.linspace(0, count, min(n_steps, count) + 1)
    steps = np.round(steps).astype(int)
    firsts = np.ceil(np.array(SHARES) * count).astype(int)
    sizes = np.unique([*steps, *firsts])
    ranks = np.empty(count, int)
    ranks[order] = np.arange(count)
    kept = (ranks < sizes[:, None]).astype(np.float32)
    p = value(np.concatenate([1 - kept, kept]))
    without = dict(zip(sizes.tolist(), p[: len(sizes)], strict=True))
    alone = dict(zip(sizes.tolist(), p[len(sizes) :], strict=True))
    whole = float(without[0])

    def area(found: dict[int, float]) -> float:
        return trapezoid(np.array([found[k] for k in steps.tolist()]), steps / count)

    return {
        "comprehensiveness": whole - float(np.mean([without[k] for k in firsts])),
        "sufficiency": whole - float(np.mean([alone[k] for k in firsts])),
        "deletion": area(without),
        "insertion": area(alone),
        "additivity": abs(float(relevance.sum()) + beside - total)
        / max(abs(total), 1e-12),
    }


def evaluate(
    feed: Feed,
    e: Explanation,
    metrics: Sequence[str] | None,
    unit: str,
    mask_token: str | None,
    n_steps: int,
) -> dict[str, Array]:
    """Return metrics of an explanation; see `TextAnalyzer.evaluate`."""
    names = chosen(metrics, e)
    whole_number("n_steps", n_steps, 1)
    if "target_function" in e.extra or e.tokens is None:
        raise OptionError(
            "The explanation is not that of a token or a class.",
            "an explanation by tfxai.text, without whole=True",
        )
    game = WordGame("occlusion", {"unit": unit, "mask_token": mask_token})
    shape = e.target.shape
    found = [_measured(feed, game, e, at, n_steps) for at in np.ndindex(shape)]
    return {n: np.array([f[n] for f in found]).reshape(shape) for n in names}


def _measured(
    feed: Feed, game: WordGame, e: Explanation, at: tuple[int, ...], n_steps: int
) -> dict[str, float]:
    """The metrics of one target; NaN behind the end of an answer."""
    if not has_token(e, at):
        return dict.fromkeys(TEXT_METRICS, np.nan)
    several, tokens = isinstance(e.relevance, list), e.tokens or ()
    relevance = np.asarray(e.relevance[0] if several else e.relevance)[at]
    ids = np.asarray(e.inputs[0] if several else e.inputs)[at[0]]
    length, target = length_of(e, at), int(e.target[at])
    made = at[-1]  # generated tokens before this one
    row = [int(i) for i in ids[:length]]
    if "answer" not in e.extra:
        players, value = feed.class_game(game, Row(row, row, length), length)
        p = [lambda m: value(m)[:, target]]
    else:
        start = len(feed.reader.start or [])
        begin = length - made
        text = row[: begin - start] if start else row[:begin]
        prefix = row[len(text) :] if start else row
        pixels = np.asarray(e.inputs[1])[at[0]] if several else None
        case = Case(Row(text, prefix, len(prefix) - made, pixels), [target])
        last = at[0] if e.target.ndim == 2 else -1
        every = np.asarray(e.inputs[0] if several else e.inputs)[last]
        behind = [int(i) for i in every[length : len(tokens[last])]]
        players, value = feed.answer_game(game, case, behind)
        p = [lambda m: np.exp(value(m)[:, 0])]
    total = total_of(e, at)
    beside = float(np.sum(e.relevance[1][at])) if several else 0.0
    return measured(relevance[:length], total, players, p[0], n_steps, beside)
