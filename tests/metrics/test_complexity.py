"""Complexity metrics against values computed by hand."""

import numpy as np
import pytest

from tests.metrics.linear_model import linear, value


@pytest.fixture(scope="module")
def model():
    return linear(None, side=2, channels=1)


def test_gini_by_hand(model):
    assert value("sparseness", model, [[0, 0], [0, -5]]) == pytest.approx(0.75)
    assert value("sparseness", model, [[2, -2], [2, 2]]) == pytest.approx(0)
    # sorted 1 1 2 4: 1 - 2 (1 * 3.5 + 1 * 2.5 + 2 * 1.5 + 4 * 0.5) / (8 * 4)
    assert value("sparseness", model, [[4, 1], [-1, 2]]) == pytest.approx(1 - 22 / 32)


def test_entropy_by_hand(model):
    assert value("complexity", model, [[0, 0], [0, -5]]) == pytest.approx(0)
    assert value("complexity", model, [[2, -2], [2, 2]]) == pytest.approx(np.log(4))
    wanted = 0.5 * np.log(2) + 0.25 * np.log(4) + 2 * 0.125 * np.log(8)
    assert value("complexity", model, [[4, 1], [-1, 2]]) == pytest.approx(wanted)
