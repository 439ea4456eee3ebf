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
from tfxai.metrics.pixel_flipping import trapezoid
from tfxai.text.feed import Feed
from tfxai.text.games import WordGame
from tfxai.text.rows import Case, Row, length_of

Array = np.ndarray[Any, Any]
#: Shares of the words that are removed or kept, of ERASER.
SHARES = (0.01, 0.05, 0.1, 0.2, 0.5)
#: Metrics, and which direction is better.
TEXT_METRICS = {
    "comprehensiveness": "higher",
    "sufficiency": "lower",
    "deletion": "lower",
    "insertion": "higher",
    "additivity": "lower",
}


def chosen(metrics: Sequence[str] | None) -> list[str]:
    """Return the names of metrics; None is all of them.

    Raises:
        OptionError: There is no such metric.
    """
    names = list(TEXT_METRICS) if metrics is None else list(metrics)
    for name in names:
        if name not in TEXT_METRICS:
            raise OptionError(f"metrics={name!r}.", f"some of {list(TEXT_METRICS)}")
    return names


def measured(
    relevance: Array,
    score: float,
    players: Array,
    value: Callable[[Array], Array],
    n_steps: int,
) -> dict[str, float]:
    """Return every metric of one text.

    p(S) is the probability of the target with the words S alone.

    - comprehensiveness: the mean of p(all) - p(all but the first q) over the shares q
      of words with the largest relevance;
    - sufficiency: the mean of p(all) - p(the first q);
    - deletion, insertion: the area under p as words are removed from the text, and
      inserted into none, those of the largest relevance first;
    - additivity: |sum of relevance - score| / |score|, for relevance methods: values of
      the others add up to the difference from a baseline.

    Args:
        relevance: The relevance of the tokens (n,).
        score: The explained score.
        players: The number of the word of each token; -1 is none.
        value: Masks (N, d) of words -> probabilities (N,).
        n_steps: In how many steps words are removed.
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
        "additivity": abs(float(relevance.sum()) - score) / max(abs(score), 1e-12),
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
    names = chosen(metrics)
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
    """The metrics of one target."""
    several = isinstance(e.relevance, list)
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
        players, value = feed.answer_game(game, case)
        p = [lambda m: np.exp(value(m)[:, 0])]
    score = float(e.score[at])
    return measured(relevance[:length], score, players, p[0], n_steps)
