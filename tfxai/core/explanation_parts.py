"""Parts of an explanation: some of its samples, or one of its inputs."""

from dataclasses import replace
from typing import Any

import numpy as np

from tfxai.base.errors import InputError, OptionError
from tfxai.viz.panel import features_of, listed, number_of

Array = np.ndarray[Any, Any]
#: The normal quantile of a two-sided level of 95 %.
Z = 1.96


def of_samples(e: Any, which: Any) -> Any:
    """Return the explanation of some samples.

    Args:
        e: The explanation.
        which: A number, a slice, or an array of numbers or of booleans (B,).

    Raises:
        IndexError: There is no such sample.
        InputError: No sample is selected, or `which` selects none.
    """
    rows = _rows(which, len(e))

    def cut(value: Any) -> Any:
        if value is None:
            return None
        several = isinstance(value, list)
        return [v[rows] for v in value] if several else np.asarray(value)[rows]

    def cut_extra(name: str, value: Any) -> Any:
        return cut(value) if _is_per_sample(e, name, value) else value

    return replace(
        e,
        relevance=cut(e.relevance),
        target=e.target[rows],
        score=e.score[rows],
        inputs=cut(e.inputs),
        extra={k: cut_extra(k, v) for k, v in e.extra.items()},
        tokens=None if e.tokens is None else [e.tokens[i] for i in rows],
    )


def of_input(e: Any, name: str) -> Any:
    """Return the explanation of one input of several.

    Raises:
        OptionError: There is no such input.
    """
    number = number_of(e, name)
    numbered = {f"segments_{i}": i for i in range(len(listed(e.relevance)))}
    extra = {k: v for k, v in e.extra.items() if k not in numbered}
    if f"segments_{number}" in e.extra:
        extra["segments"] = e.extra[f"segments_{number}"]
    return replace(
        e,
        extra=extra,
        relevance=listed(e.relevance)[number],
        inputs=None if e.inputs is None else listed(e.inputs)[number],
        features=features_of(e, number),
        input_names=(),
    )


def stable_ranks(e: Any, k: int) -> Array:
    """Return `Explanation.stable_ranks`."""
    default = e.extra.get("base", listed(e.relevance)[0])  # LEG's grid
    values = np.asarray(e.extra.get("coefficients", default), float)
    errors = np.asarray(e.extra.get("standard_error", np.nan), float)
    if errors.shape != values.shape:
        name = "kernel_shap"
        if e.extra.get("sampling") == "quasi_random":
            name = f'{e.method}", sampling="independent'
        raise OptionError(
            f"stable_ranks of an explanation by {e.method!r} without standard errors.",
            "a method that estimates them",
            f'tfxai.explain(model, x, "{name}")',
        )
    axes = np.ndim(e.target)
    values, errors = (v.reshape(*v.shape[:axes], -1) for v in (values, errors))
    most = values.shape[-1] - 1
    if not isinstance(k, int | np.integer) or not 1 <= k <= most:
        raise OptionError(
            f"stable_ranks({k!r}) of {most + 1} values.",
            f"a whole number from 1 to {most}",
            f"e.stable_ranks({min(3, most)})",
        )
    size = np.abs(np.nan_to_num(values))
    order = np.argsort(-size, -1, kind="stable")[..., : k + 1]
    size, spread = (np.take_along_axis(v, order, -1) for v in (size, errors))
    gap = np.sqrt(spread[..., :-1] ** 2 + spread[..., 1:] ** 2)
    rounding = 1e-6 * size[..., :1]
    return np.asarray(size[..., :-1] - size[..., 1:] > Z * gap + rounding)


def _is_per_sample(e: Any, name: str, value: Any) -> bool:
    """True for an array with one entry for each sample."""
    shared = name in e.option_names or not isinstance(value, np.ndarray)
    return not shared and value.ndim > 0 and len(value) == len(e)


def _rows(which: Any, count: int) -> list[int]:
    """The numbers of the selected samples."""
    if isinstance(which, slice):
        rows = range(*which.indices(count))
        if not rows:
            raise InputError(
                f"An empty slice of {count} samples.", "at least one sample"
            )
        return list(rows)
    found = np.asarray(which)
    if found.dtype == bool and found.shape == (count,):
        found = np.flatnonzero(found)
    if found.dtype.kind not in "iu" or found.ndim > 1 or found.size == 0:
        raise InputError(
            f"e[{which!r}] of {count} samples.",
            "a number, a slice or an array of numbers; for one input its name",
            "e[2:5]",
        )
    rows_ = np.atleast_1d(found)
    if rows_.min() < -count or rows_.max() >= count:
        raise IndexError(f"e[{which!r}] of {count} samples")
    return [int(i) % count for i in rows_]
