"""What a perturbation changed, made visible as its authors do, and its centre.

After R. Rodriguez' `post_processing`: the sixth power of the mean difference of the
channels, without a border of a tenth, dilated by a square of 20 pixels of 224.
"""

import numpy as np

#: The square's side, as a share of a picture's shorter side.
SQUARE = 20 / 224


def processed(
    difference: np.ndarray,
    power: float | None = 6,
    border: float | None = 0.1,
    dilation: int | None = None,
) -> np.ndarray:
    """The picture (H, W) of a difference (H, W, C).

    power: of the channels' mean; None keeps it with its sign. border: the share of
    each side that is set to 0. dilation: the square's side in pixels; None is sized by
    the picture, 0 is none.
    """
    from skimage.morphology import dilation as dilated
    from skimage.morphology import footprint_rectangle

    made = difference.astype(float).mean(-1)
    if power is not None:
        made = np.abs(made) ** power
    if border:
        made = np.where(_inside(made.shape, border), made, 0)
    side = round(SQUARE * min(made.shape)) if dilation is None else dilation
    if side > 1:
        made = dilated(made, footprint_rectangle((side, side)))
    return made


def _inside(shape: tuple, border: float) -> np.ndarray:
    """Where there is no border: rows from int(b H) to int((1 - b) H), and columns."""
    rows, columns = (
        (np.arange(n) >= int(border * n)) & (np.arange(n) < int((1 - border) * n))
        for n in shape
    )
    return rows[:, None] & columns


def centre(map: np.ndarray) -> np.ndarray:
    """The centre of mass (row, column) of a map (H, W), in pixels; NaN of nothing."""
    weight = np.abs(map)
    total = weight.sum()
    if not total:
        return np.full(2, np.nan)
    at = [np.arange(n) for n in map.shape]
    return np.array([at[0] @ weight.sum(1), at[1] @ weight.sum(0)]) / total
