"""Localisation metrics against values computed by hand."""

import numpy as np
import pytest

from tests.metrics.linear_model import linear, value
from tfxai.errors import NothingToExplainWarning

MAP = np.zeros((4, 4))
MAP[0, 3], MAP[1, 1], MAP[2, 2], MAP[3, 0] = 5, 3, 2, -10


@pytest.fixture(scope="module")
def larger():
    return linear(None, side=4, channels=1)


def test_pointing_by_hand(larger):
    """The largest value is in the corner above right, (0, 3)."""
    corner, left = [[0, 0.75, 0.25, 1]], [[0, 0, 1, 0.5]]
    assert value("pointing_game", larger, MAP, boxes=corner, tolerance=0) == 1
    assert value("pointing_game", larger, MAP, boxes=left, tolerance=0) == 0
    # column 3 is two pixels from column 1
    assert value("pointing_game", larger, MAP, boxes=left, tolerance=1.9 / 4) == 0
    assert value("pointing_game", larger, MAP, boxes=left, tolerance=2 / 4) == 1
    assert value("pointing_game", larger, MAP, boxes=left) == 0  # .03 of 4 pixels
    far = [[0.75, 0, 1, 0.25]]  # (3, 0): sqrt(18) away
    assert value("pointing_game", larger, MAP, boxes=far, tolerance=4.2 / 4) == 0
    assert value("pointing_game", larger, MAP, boxes=far, tolerance=4.3 / 4) == 1


def test_mass_and_rank_by_hand(larger):
    middle = [[0.25, 0.25, 0.75, 0.75]]  # holds 3 and 2, of 10; 2 of the 4 best
    assert value("relevance_mass", larger, MAP, boxes=middle) == pytest.approx(0.5)
    mask = np.zeros((1, 4, 4), bool)
    mask[0, 0, 3] = mask[0, 1, 1] = mask[0, 3, 0] = True
    assert value("relevance_mass", larger, MAP, boxes=mask) == pytest.approx(0.8)
    # the best three are (0, 3), (1, 1), (2, 2): two of them are in the mask
    assert value("relevance_rank", larger, MAP, boxes=mask) == pytest.approx(2 / 3)
    # the best four: those three, and one of the 12 zeros, of which the box has two
    tied = (2 + 2 / 12) / 4
    assert value("relevance_rank", larger, MAP, boxes=middle) == pytest.approx(tied)
    second = np.zeros((1, 4, 4), bool)
    second[0, 1, 1] = True  # the second best, where K = 1
    assert value("relevance_rank", larger, MAP, boxes=second) == 0
    both = [[[0.25, 0.25, 0.75, 0.75], [0, 0.75, 0.25, 1]]]
    assert value("relevance_mass", larger, MAP, boxes=both) == pytest.approx(1)


def test_equal_values_count_alike_wherever_they_are(larger):
    top, below = [[0, 0, 1, 0.25]], [[0, 0.75, 1, 1]]  # a row of four, of 16 pixels
    for box in (top, below):
        constant = np.ones((4, 4))
        assert value("relevance_rank", larger, constant, boxes=box) == 0.25
        hit = value("pointing_game", larger, constant, boxes=box, tolerance=0)
        assert hit == 0.25
    two = np.zeros((4, 4))
    two[0, 0] = two[3, 3] = 7
    assert value("pointing_game", larger, two, boxes=below, tolerance=0) == 0.5


def test_a_map_with_nothing_positive_has_the_mass_of_a_constant_one(larger):
    with pytest.warns(NothingToExplainWarning, match="no positive value"):
        result = value("relevance_mass", larger, -np.abs(MAP), boxes=[[0, 0, 1, 0.25]])
    assert result == pytest.approx(0.25)
