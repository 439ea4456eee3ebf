"""Shares of pixels are exact: .29, .57 and .58 of 100 pixels are 29, 57 and 58."""

import numpy as np
import pytest

from tfxai.base.tensors import counts_of
from tfxai.metrics.masking import key_size, sensitivity
from tfxai.perturbation.postprocess import processed


def brightness(x):
    """The share of the pixels that are not masked, and the rest: (B, 2)."""
    p = x.reshape(len(x), -1).mean(1)
    return np.stack([p, 1 - p], 1)


@pytest.mark.parametrize("share", [0.29, 0.57, 0.58, 0.07, 0.14, 0.55, 0, 1])
def test_sensitivity_masks_the_whole_share(share):
    x = np.ones((1, 10, 10, 1))
    p = sensitivity(brightness, x, np.ones((1, 10, 10)), [share], 0, target=0)
    assert p[0, 0] == pytest.approx(1 - share, abs=1e-12)


def test_every_share_of_two_decimals_masks_its_own_number():
    assert counts_of(np.arange(101) / 100, 100).tolist() == list(range(101))
    assert counts_of(np.arange(1001) / 1000, 1000).tolist() == list(range(1001))
    assert counts_of([0.1, 0.35, 0.7], 784).tolist() == [78, 274, 548]


def test_the_key_size_is_the_share_that_masks_one_pixel_more_than_half():
    x = np.ones((1, 10, 10, 1))
    size = key_size(brightness, x, np.ones((1, 10, 10)), 0, target=0)[0]
    assert size == pytest.approx(510 / 999, abs=1e-9)  # 51 of 100 pixels


def test_a_border_is_the_whole_share_on_both_sides():
    """A border of .29 of 100 rows is 29 rows above and 29 below."""
    kept = processed(np.ones((100, 100, 1)), None, 0.29, 0)
    assert kept.sum(0)[50] == 42 and kept[29:71, 50].all()
