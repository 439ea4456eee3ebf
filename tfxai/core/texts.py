"""Names of classes, features and tokens, which travel with an explanation."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfxai.base.errors import OptionError
from tfxai.core.frames import is_frame, names_of
from tfxai.viz.panel import check_features
from tfxai.viz.words import token_input

Array = np.ndarray[Any, Any]
#: The texts of the tokens of each sample, or a function of the ids (L,) of one.
Tokens = Sequence[Sequence[str]] | Callable[[Array], Sequence[str]] | None


@dataclass(frozen=True)
class Texts:
    """Names that were given once, for every explanation of an analyzer.

    Attributes:
        names: The names of the classes.
        features: The names of the columns of a table or the channels of a series; for
            several inputs a mapping from the name of an input.
        tokens: The texts of tokens; see `Tokens`.
    """

    names: Sequence[str] | None = None
    features: Any = None
    tokens: Tokens = None

    def fields(
        self, inputs: list[Array], shape: Sequence[int | None], known: list[str]
    ) -> dict[str, Any]:
        """Return the fields of an `Explanation`, checked against inputs and outputs.

        Args:
            inputs: The checked inputs (B, ...).
            shape: The shape of the explained output.
            known: The names of the inputs, or none.

        Raises:
            OptionError: The number of names is not that of classes, features or tokens.
        """
        found: dict[str, Any] = {}
        if len(inputs) > 1:
            found["input_names"] = known if len(known) == len(inputs) else []
        if self.names is not None:
            found["names"] = _checked_names(self.names, shape)
        if self.features is not None:
            found["features"] = _checked_features(self.features, inputs, known)
        if self.tokens is not None:
            found["tokens"] = _checked_tokens(self.tokens, inputs)
        return found


def columns_of(x: Any, known: list[str]) -> Any:
    """Return the names of the columns of a data frame; None where there is none.

    Args:
        x: The inputs. For several the result is a mapping from the name of an input,
            or from its number.
        known: The names of the inputs, or none.
    """
    if is_frame(x):
        return [str(c) for c in names_of(x)]
    if not isinstance(x, Mapping | list | tuple):
        return None
    names: Any = known if len(known) == len(x) else range(len(x))
    named = x if isinstance(x, Mapping) else dict(zip(names, x, strict=True))
    found = {k: columns_of(v, []) for k, v in named.items() if is_frame(v)}
    return found or None


def _checked_names(names: Sequence[str], shape: Sequence[int | None]) -> list[str]:
    """The names of the classes; OptionError for another number of them."""
    classes = shape[-1] if len(shape) > 1 else None
    _check_list("names", names)
    if classes is not None and len(names) != classes:
        raise OptionError(
            f"{len(names)} names, but the explained output has {classes} classes.",
            "one name per class, in the order of the outputs",
            f"names={[f'class {i}' for i in range(min(classes, 3))]}",
        )
    return [str(n) for n in names]


def _checked_features(features: Any, inputs: list[Array], known: list[str]) -> Any:
    """The names of the features; OptionError for another number of them."""
    if not isinstance(features, Mapping):
        if len(inputs) > 1:
            raise OptionError(
                f"features is one list, and the model has {len(inputs)} inputs.",
                "a mapping from the name of an input to its names",
                f"features={{{known[0] if known else 0!r}: [...]}}",
            )
        return _checked_list(features, inputs[0])
    found = {}
    for name, values in features.items():
        places: list[Any] = list(known) or [*range(len(inputs))]
        if name not in places:
            raise OptionError(
                f"features has an entry {name!r}, which is no input of the model.",
                f"one of {places}",
            )
        found[name] = _checked_list(values, inputs[places.index(name)])
    return found if len(inputs) > 1 else next(iter(found.values()), None)


def _checked_list(features: Any, x: Array) -> list[str]:
    """The names of the features of one input."""
    _check_list("features", features)
    check_features(features, x.shape[-1], x.ndim == 2)
    return [str(n) for n in features]


def _checked_tokens(tokens: Any, inputs: list[Array]) -> list[list[str]]:
    """The texts of the tokens of each sample; OptionError where they do not fit."""
    rows = inputs[token_input(inputs)]
    texts = [list(tokens(row)) for row in rows] if callable(tokens) else tokens
    _check_list("tokens", texts)
    if texts and isinstance(texts[0], str):
        texts = [texts]
    found = [[str(t) for t in row] for row in texts]
    if len(found) != len(rows):
        raise OptionError(
            f"tokens holds {len(found)} lists, and the batch {len(rows)} samples.",
            "one list of texts for each sample",
            "tokens=[tokenizer.tokenize(text) for text in texts]",
        )
    length = rows.shape[1] if rows.ndim > 1 else 0
    for i, row in enumerate(found):
        if len(row) > length:
            raise OptionError(
                f"tokens holds {len(row)} texts for sample {i}, and the input has "
                f"{length} positions.",
                f"at most {length} texts, one for each position from the first on",
            )
    return found


def _check_list(option: str, value: Any) -> None:
    """Raise OptionError for a single text or a value without a length."""
    if isinstance(value, str) or not hasattr(value, "__len__"):
        raise OptionError(f"{option}={value!r}.", "a list of texts")
