"""Figures of tables: of one row, and of many."""

from collections.abc import Sequence
from typing import Any

from tfxai.viz import tables
from tfxai.viz.panel import Look, of_target, one_panel


def waterfall(
    e: Any,
    sample: int = 0,
    target: int = 0,
    most: int = 12,
    names: Sequence[str] | None = None,
    features: Any = None,
    which: int | str | None = None,
    *,
    title: str | None = None,
    ax: Any = None,
    cmap: Any = None,
    alpha: float | None = None,
    limit: Any = None,
    figsize: Any = None,
) -> Any:
    """Draw the steps from the base value to the score of one row of a table.

    The base value is the score at the baseline, where the method has one; what the
    relevance leaves of the difference is a bar of its own. Otherwise it is the score
    minus the sum of the relevance.

    Args:
        e: An `Explanation` of a table.
        sample: The number of the row.
        target: The number of the target, where each row has several.
        most: The number of bars; weaker features are summed in the last one.
        names: The class names by index; None takes those of `e`.
        features: The names of the columns; None takes those of `e`.
        which: The number or the name of the input, for a model with several.
        title, ax, cmap, alpha, limit, figsize: The options of all figures; see
            `explanation`.

    Raises:
        InputError: The explanation is not of a table.
    """
    look = Look(title, ax, cmap, alpha, limit, figsize)
    one = of_target(e[sample], target)
    return tables.waterfall(one_panel(one, names, features, which), look, most)


def beeswarm(
    e: Any,
    target: int = 0,
    most: int = 12,
    names: Sequence[str] | None = None,
    features: Any = None,
    which: int | str | None = None,
    *,
    title: str | None = None,
    ax: Any = None,
    cmap: Any = None,
    alpha: float | None = None,
    limit: Any = None,
    figsize: Any = None,
) -> Any:
    """Draw many rows of a table: a point per row and feature, the strongest first.

    The place of a point is its relevance, its colour the value of the feature.

    Args:
        e: An `Explanation` of a table, or some samples of a run.
        target: The number of the target, where each row has several.
        most: The number of features; weaker ones are summed in the last row.
        names: The class names by index; None takes those of `e`.
        features: The names of the columns; None takes those of `e`.
        which: The number or the name of the input, for a model with several.
        cmap: The colours of the values, from low to high; None is "cividis".
        title, ax, alpha, limit, figsize: The options of all figures; see
            `explanation`.

    Raises:
        InputError: The explanation is not of a table, or of one row.
    """
    look = Look(title, ax, cmap, alpha, limit, figsize)
    panel = one_panel(of_target(e, target), names, features, which)
    return tables.beeswarm(panel, look, most)


def importance(
    e: Any,
    target: int = 0,
    most: int = 12,
    names: Sequence[str] | None = None,
    features: Any = None,
    which: int | str | None = None,
    *,
    title: str | None = None,
    ax: Any = None,
    cmap: Any = None,
    alpha: float | None = None,
    limit: Any = None,
    figsize: Any = None,
) -> Any:
    """Draw the mean |relevance| of each feature over many rows, the strongest first.

    The arguments are those of `beeswarm`; the options of all figures those of
    `explanation`.

    Raises:
        InputError: The explanation is not of a table, or of one row.
    """
    look = Look(title, ax, cmap, alpha, limit, figsize)
    panel = one_panel(of_target(e, target), names, features, which)
    return tables.importance(panel, look, most)


def scatter(
    e: Any,
    feature: int | str = 0,
    target: int = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    which: int | str | None = None,
    *,
    title: str | None = None,
    ax: Any = None,
    cmap: Any = None,
    alpha: float | None = None,
    limit: Any = None,
    figsize: Any = None,
) -> Any:
    """Draw the values of one feature of a table against its relevance.

    Args:
        e: An `Explanation` of a table, or some samples of a run.
        feature: The name or the number of the feature.
        target: The number of the target, where each row has several.
        names: The class names by index; None takes those of `e`.
        features: The names of the columns; None takes those of `e`.
        which: The number or the name of the input, for a model with several.
        title, ax, cmap, alpha, limit, figsize: The options of all figures; see
            `explanation`.

    Raises:
        InputError: The explanation is not of a table, or of one row.
        OptionError: There is no such feature.
    """
    look = Look(title, ax, cmap, alpha, limit, figsize)
    panel = one_panel(of_target(e, target), names, features, which)
    return tables.scatter(panel, look, feature)
