"""Estimators of scikit-learn as callables: which of their methods returns scores."""

import functools
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from tfxai.base.errors import ModelError, WholeNumberWarning
from tfxai.base.validation import unmasked

Array = np.ndarray[Any, Any]
#: Methods that return scores, and the lines that pass them; the first one that an
#: estimator has. The scores of what clusters or only votes are made of its output.
_SCORES = (
    ("predict_proba", "model=clf.predict_proba"),
    ("decision_function", "model=clf.decision_function"),
)
_CLUSTERS = ("transform", "model=lambda x: -clf.transform(x)")
_VOTES = ("classes_", "model=lambda x: clf.predict(x)[:, None] == clf.classes_")
_VALUES = ("predict", "model=reg.predict")
WANTED = "one number per class, (B, classes), such as probabilities"


def scores_of(estimator: Any) -> str | None:
    """Return the line that passes the scores of an estimator; None for another object.

    Args:
        estimator: A classifier, a regressor, another estimator, or any object.
    """
    rows: tuple[tuple[str, str], ...] = (*_SCORES, _VALUES)
    kind = _kind(estimator)
    if kind == "regressor":
        rows = (_VALUES,)
    elif kind == "classifier":
        rows = (*_SCORES, _VOTES, _VALUES)
    elif kind == "clusterer":
        rows = (*_SCORES, _CLUSTERS, _VALUES)
    return next((line for name, line in rows if hasattr(estimator, name)), None)


def numbers_of(function: Callable[..., Any], outputs: Any) -> Array:
    """Return the outputs of a callable as a new array of numbers.

    Raises:
        ModelError: They are no numbers, or the classes that an estimator predicts.
        InputError: Some of them are masked.
    """
    outputs = unmasked("outputs", outputs)
    several = isinstance(outputs, list | tuple) and bool(outputs)
    if several and all(np.ndim(v) > 1 and hasattr(v, "dtype") for v in outputs):
        _check_list(function, outputs)
    y = np.array(outputs)
    if y.dtype.kind == "O":
        with suppress(TypeError, ValueError):
            y = y.astype(float)
    owner = _owner(function)
    if y.dtype.kind not in "biuf" and y.dtype.name != "bfloat16":
        first = repr(y.ravel()[:1].tolist()[0])[:60] if y.size else "nothing"
        raise ModelError(
            f"The callable returned {y.dtype}, no numbers: {first} is the first value.",
            WANTED,
            (owner is not None and scores_of(owner)) or "model=clf.predict_proba",
        )
    if owner is not None and _predicts_classes(owner, y):
        raise ModelError(
            f"{type(owner).__name__}.predict returns classes, such as "
            f"{y.ravel()[:1].tolist()}, and relevance explains a score.",
            WANTED,
            scores_of(owner) or _SCORES[0][1],
        )
    return y


def _check_list(function: Any, outputs: Any) -> None:
    """Raise ModelError for one array per output; a list with one per sample is none."""
    shapes = [np.shape(v) for v in outputs]
    name = getattr(function, "__name__", "")
    if name == "predict_proba" or len(set(shapes)) > 1:
        raise ModelError(
            f"The callable returned a list of {len(shapes)} arrays of shapes {shapes}.",
            "one array, (B, classes): that of one output",
            "model=lambda x: clf.predict_proba(x)[0]",
        )


def warn_of_classes(y: Array) -> None:
    """Warn of one whole number (int or bool) per sample, which may be a class."""
    if y.dtype.kind in "biu" and y.size == len(y):
        warnings.warn(
            f"The callable returns whole numbers ({y.dtype}), one per sample. If they "
            "are classes, such as those of clf.predict, the relevance is that of the "
            "number of the class. Write: model=clf.predict_proba; or, if they are "
            "scores, return them as floats.",
            WholeNumberWarning,
            stacklevel=4,
        )


def _owner(function: Any) -> Any:
    """The estimator whose `predict` a function is; None for any other function."""
    while isinstance(function, functools.partial) and not function.keywords:
        function = function.func  # keywords, such as raw_score=True, change the result
    owner = getattr(function, "__self__", None)
    named = getattr(function, "__name__", "") == "predict"
    return owner if named and callable(getattr(owner, "predict", None)) else None


def _predicts_classes(owner: Any, y: Array) -> bool:
    """True where `predict` of an estimator returned classes or clusters."""
    kind = _kind(owner)
    if kind == "classifier" or kind == "regressor":
        return kind == "classifier"
    return y.dtype.kind in "biu" and scores_of(owner) not in (None, _VALUES[1])


def _kind(estimator: Any) -> str:
    """What scikit-learn takes an estimator for: "classifier", ..., or ""."""
    with suppress(Exception):  # tags of an estimator that is not fitted
        return str(estimator.__sklearn_tags__().estimator_type or "")
    return str(getattr(estimator, "_estimator_type", None) or "")
