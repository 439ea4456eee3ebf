"""Sequences of tokens whose class is known to lie in certain tokens; 0 is no token."""

import numpy as np

Drawn = tuple[np.ndarray, np.ndarray, np.ndarray]
LENGTH, VOCABULARY = 12, 30
#: Ids of the kinds of token.
NOT, GOOD, BAD = 1, (2, 3, 4), (5, 6, 7)
SINGULAR, PLURAL, FILLERS = (8, 9, 10), (11, 12, 13), tuple(range(14, 30))


def _fillers(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    return (
        rng.choice(FILLERS, (n, LENGTH)).astype(np.int32),
        np.zeros((n, LENGTH), bool),
    )


def negation(rng: np.random.Generator, n: int) -> Drawn:
    """A good or a bad keyword; a "not" before it turns the class."""
    x, seen = _fillers(rng, n)
    y = np.zeros(n, int)
    for i in range(n):
        good, negated = rng.integers(2), rng.integers(2)
        at = rng.integers(1, LENGTH)
        x[i, at] = rng.choice((BAD, GOOD)[good])
        seen[i, at] = True
        if negated:
            x[i, at - 1] = NOT
            seen[i, at - 1] = True
        y[i] = good != negated
    return x, y, seen


def agreement(rng: np.random.Generator, n: int) -> Drawn:
    """The number of the first noun is the class; other nouns follow."""
    x, seen = _fillers(rng, n)
    y = rng.integers(2, size=n)
    for i in range(n):
        places = np.sort(rng.choice(LENGTH, rng.integers(2, 4), replace=False))
        x[i, places[0]] = rng.choice((SINGULAR, PLURAL)[y[i]])
        seen[i, places[0]] = True
        for at in places[1:]:
            x[i, at] = rng.choice((SINGULAR, PLURAL)[rng.integers(2)])
    return x, y, seen


def counting(rng: np.random.Generator, n: int) -> Drawn:
    """Are there more good than bad keywords? All of them are the truth."""
    x, seen = _fillers(rng, n)
    y = rng.integers(2, size=n)
    for i in range(n):
        few = rng.integers(0, 3)
        more = few + rng.integers(1, 3)
        places = rng.choice(LENGTH, few + more, replace=False)
        x[i, places[:more]] = rng.choice((BAD, GOOD)[y[i]], more)
        x[i, places[more:]] = rng.choice((GOOD, BAD)[y[i]], few)
        seen[i, places] = True
    return x, y, seen
