"""Bootstrap of precision over networks and samples, and groups of equal methods."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

#: Draws of the bootstrap.
DRAWS = 1000
#: (task, network) -> entry -> scores (seeds, samples).
Scores = Mapping[tuple[str, str], Mapping[str, np.ndarray]]


@dataclass(frozen=True, eq=False)
class League:
    """The bootstrap of one kind of input.

    Attributes:
        cells: (task, network).
        names: The entries, the best first.
        means: Mean scores (cells, entries); NaN where an entry was not measured.
        draws: Their bootstrap (cells, entries, DRAWS), the same draws for all entries
            that were measured on the same networks.
    """

    cells: list[tuple[str, str]]
    names: list[str]
    means: np.ndarray
    draws: np.ndarray

    def mean(self, entry: str) -> float:
        """Return the mean of an entry over its cells."""
        return float(np.nanmean(self.means[:, self.names.index(entry)]))

    def interval(self, entry: str) -> tuple[float, float]:
        """Return the 95 % interval of the mean."""
        return _ends(np.nanmean(self.draws[:, self.names.index(entry)], 0))

    def difference(self, one: str, other: str) -> tuple[float, float, float]:
        """Return the difference on the cells of both, and its 95 % interval."""
        i, j = self.names.index(one), self.names.index(other)
        gap = np.nanmean(self.means[:, i] - self.means[:, j])
        return float(gap), *_ends(np.nanmean(self.draws[:, i] - self.draws[:, j], 0))

    def groups(self) -> dict[str, int]:
        """Return the group of each entry.

        A group holds all that the bootstrap does not tell from its best entry; the next
        group begins with the first entry that is clearly worse.
        """
        made, leader, number = {}, self.names[0], 1
        for name in self.names:
            if name != leader and self.difference(leader, name)[1] > 0:
                leader, number = name, number + 1
            made[name] = number
        return made


def _ends(values: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def league(scores: Scores, seed: int = 0) -> League:
    """Return the bootstrap of scores: networks are drawn, then samples of each."""
    cells = list(scores)
    names = list(dict.fromkeys(n for cell in cells for n in scores[cell]))
    means = np.full((len(cells), len(names)), np.nan)
    draws = np.full((len(cells), len(names), DRAWS), np.nan, np.float32)
    for c, cell in enumerate(cells):
        shapes = {v.shape for v in scores[cell].values()}
        weights = {s: _weights(np.random.default_rng([seed, c]), *s) for s in shapes}
        for i, name in enumerate(names):
            values = scores[cell].get(name)
            if values is not None:
                means[c, i] = values.mean()
                draws[c, i] = weights[values.shape] @ values.ravel()
    order = np.argsort(-np.nanmean(means, 0), kind="stable")
    return League(cells, [names[i] for i in order], means[:, order], draws[:, order])


def _weights(rng: np.random.Generator, seeds: int, samples: int) -> np.ndarray:
    """The weight of each sample in each draw, (DRAWS, seeds * samples)."""
    weights = np.zeros((DRAWS, seeds * samples))
    chosen = rng.integers(seeds, size=(DRAWS, seeds, 1))
    drawn = chosen * samples + rng.integers(samples, size=(DRAWS, seeds, samples))
    rows = np.repeat(np.arange(DRAWS), seeds * samples)
    np.add.at(weights, (rows, drawn.ravel()), 1 / (seeds * samples))
    return weights
