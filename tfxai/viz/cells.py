"""Titles of cells: the target and its score; the size of a cell of an image."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tfxai.viz.words import plain


def target_name(target: int, names: Any, extra: Mapping[str, Any]) -> str:
    """Return the name of a target.

    That is the class; "class 2 at (10, 10)" for an output with more axes, whose classes
    are the last one; or the name of a target function.

    Args:
        target: Index into the flattened output.
        names: The names of the classes, or None.
        extra: `Explanation.extra`.
    """
    if "target_function" in extra:
        return str(extra["target_function"])
    if target < 0:
        return "no token"  # behind the end of an answer
    where = ""
    if "output_shape" in extra:
        shape = [int(n or 0) for n in np.asarray(extra["output_shape"], object)]
        *at, target = (int(i) for i in np.unravel_index(target, shape))
        where = f" at {tuple(at) if len(at) > 1 else at[0]}"
    known = names is not None and 0 <= target < len(names)
    return f"{names[target] if known else f'class {target}'}{where}"


def shown_name(target: int, names: Any, extra: Mapping[str, Any]) -> str:
    """Return the name of a target as figures show it: tokens without their signs."""
    name = target_name(target, names, extra)
    return plain(name) if "answer" in extra else name


def titles(
    targets: np.ndarray,
    scores: np.ndarray,
    names: Any,
    extra: Mapping[str, Any] | None = None,
) -> list[list[str]]:
    """Return the titles (B, T): the target, and the score on a second line."""

    def title(target: int, score: float) -> str:
        return f"{shown_name(target, names, extra or {})}\nscore {score:.4g}"

    return [
        [title(int(t), float(s)) for t, s in zip(*pair, strict=True)]
        for pair in zip(targets, scores, strict=True)
    ]


def titles_with(names: Any) -> Callable[[Any], np.ndarray]:
    """Return the function e -> titles (B, T) with the given class names."""
    return lambda e: all_titles(e, names)


def all_titles(e: Any, names: Any) -> np.ndarray:
    """Return the titles (B, T) of an explanation."""
    shape, names = (len(e), -1), e.names if names is None else names
    rows = titles(e.target.reshape(shape), e.score.reshape(shape), names, e.extra)
    found = np.array(rows, object)
    if "contrast_token" in e.extra:
        others = np.asarray(e.extra["contrast_token"]).reshape(found.shape)
        for at, other in np.ndenumerate(others):
            name = plain(target_name(int(other), names, {}))
            found[at] = str(found[at]).replace("\n", f" rather than {name}\n", 1)
    return found


def image_size(x: np.ndarray) -> tuple[float, float]:
    """Return (width, height) in inches of the image's aspect, about 2.6 per side."""
    height, width = x.shape[:2]
    scale = 2.6 / np.sqrt(height * width)
    return width * scale, height * scale
