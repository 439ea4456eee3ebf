"""C-Shapley on the cells of an image, against a sum over all subsets of a grid."""

import math

import numpy as np
import pytest

import tfxai
from tfxai.errors import OptionError
from tfxai.sampling.masks import all_masks

CELLS = np.arange(9).reshape(3, 3)
RNG = np.random.default_rng(0)
W = RNG.normal(size=(9, 4))
PLACES = [divmod(i, 3) for i in range(9)]


def v(kept):
    """A game (n,) of masks of cells (n, 9), with interactions of every degree."""
    return np.tanh(kept @ W).sum(1) + 2 * kept[:, :4].prod(1)


def component(kept, i, diagonal):
    """The cells of `kept` that a path of neighbours connects with i, as a mask."""
    found, waiting = {i}, [i]
    while waiting:
        r, c = PLACES[waiting.pop()]
        for j in np.flatnonzero(kept).tolist():
            a, b = abs(PLACES[j][0] - r), abs(PLACES[j][1] - c)
            near = max(a, b) == 1 if diagonal else a + b == 1
            if near and j not in found:
                found.add(j)
                waiting.append(j)
    return np.isin(np.arange(9), list(found))


@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("max_size", [2, 9])
def test_cells_of_a_grid(diagonal, max_size):
    """i joins S: v of its component in S + i, minus v without i, if it is not large."""
    wanted = np.zeros(9)
    for kept in all_masks(9):
        for i in np.flatnonzero(~kept):
            share = 1 / (9 * math.comb(8, int(kept.sum())))
            part = component(kept | (CELLS.ravel() == i), i, diagonal)
            if part.sum() <= max_size:
                rest = part & (CELLS.ravel() != i)
                gain = v(part[None].astype(float)) - v(rest[None].astype(float))
                wanted[i] += share * gain[0]
    x = np.ones((1, 6, 6, 1))
    e = tfxai.explain(
        lambda a: v(a[:, ::2, ::2, 0].reshape(-1, 9))[:, None], x, "c_shapley", 0,
        segmenter="grid", segmenter_options={"cells": 3}, baseline=0,
        max_size=max_size, diagonal=diagonal,
    )  # fmt: skip
    np.testing.assert_allclose(e.extra["coefficients"][0], wanted, atol=1e-9)


@pytest.mark.parametrize("x", [np.ones((1, 32, 2)), np.ones((1, 6))])
def test_corners_are_of_images(x):
    def total(v):
        return v.reshape(len(v), -1).sum(1, keepdims=True)

    with pytest.raises(OptionError, match="diagonal=False"):
        tfxai.explain(total, x, "c_shapley", 0, diagonal=True, baseline=0)
    with pytest.raises(OptionError, match="diagonal='yes'"):
        tfxai.create_analyzer("c_shapley", total, diagonal="yes")
