"""The returned value: relevance, and all that is needed to read it."""

import json
import os
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tfxai.base.atomic_write import atomic_write
from tfxai.base.errors import InputError, MissingFileError, OptionError
from tfxai.viz import plot as drawing

FORMAT = "tfxai-explanation/1"
_BROKEN = (zipfile.BadZipFile, zlib.error, AttributeError)  # what a torn file raises

#: How the channels of a map become one number: (..., H, W, C) -> (..., H, W).
REDUCTIONS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "sum": lambda r: r.sum(-1),
    "mean": lambda r: r.mean(-1),
    "abs_sum": lambda r: np.abs(r).sum(-1),
    "abs_mean": lambda r: np.abs(r).mean(-1),
    "abs_max": lambda r: np.abs(r).max(-1),
    "norm": lambda r: np.sqrt((r**2).sum(-1)),
}


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why the model answered that.

    relevance: float32 (B, ...), the shape of the inputs, of pictures with one channel
        where the method has only one; (B, T, ...) for T targets per sample; a list of
        such arrays for a model with several inputs.
    target: int (B,), or (B, T): the explained class of each map; a number stands for
        the class that was given, or for the top class where none was. For an output
        with more axes it is the index into the flattened output.
    score: float32, of the shape of `target`: the explained number: the logit; by the
        methods that sample or learn, the probability (their option `scale`); the value
        of the function where the target was one.
    method: the analyzer's name.
    inputs: what was explained, as it was given (before any `preprocess`).
    extra: arrays and plain values that the method adds.

    Relevance and gradients are taken at the network's input, after `preprocess`; the
    maps of methods that sample or learn are of `inputs`, before it.
    """

    relevance: Any
    target: np.ndarray
    score: np.ndarray
    method: str
    inputs: Any
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        if isinstance(self.relevance, list):
            raise InputError(
                f"The explanation holds {len(self.relevance)} relevance arrays, "
                "one per input of the model.",
                "one array",
                "np.asarray(explanation.relevance[0])",
            )
        return np.array(self.relevance, dtype=dtype, copy=copy)

    def __repr__(self) -> str:
        shapes = [np.shape(r) for r in _listed(self.relevance)]
        shown = shapes if isinstance(self.relevance, list) else shapes[0]
        return f"Explanation({self.method!r}, relevance {shown}, target {self.target})"

    def heatmap(self, reduce: str = "own", which: int = 0) -> np.ndarray:
        """One number per position, (B, H, W) or (B, T, H, W): channels reduced.

        reduce: sum (keeps the total), mean, abs_sum, abs_mean, abs_max or norm. "own"
            is the picture that the method's paper draws where it says how
            (`extra["heatmap"]`: LEG), else the sum.
        which: the input of the model, where it has several.
        """
        if reduce == "own" and "heatmap" in self.extra:
            return np.asarray(self.extra["heatmap"])
        reduce = "sum" if reduce == "own" else reduce
        if reduce not in REDUCTIONS:
            raise OptionError(f"reduce={reduce!r}.", f"one of {sorted(REDUCTIONS)}")
        if not 0 <= which < len(_listed(self.relevance)):
            raise OptionError(f"which={which}.", "the number of an input of the model")
        axes = np.ndim(self.target)
        relevance = self._last(np.asarray(_listed(self.relevance)[which]), axes)
        positions = relevance.ndim - axes
        return REDUCTIONS[reduce](relevance) if positions > 1 else relevance

    def seen(self, which: int = 0) -> np.ndarray:
        """An input as it is drawn, its channels last."""
        return self._last(np.asarray(_listed(self.inputs)[which]), 1)

    def _last(self, array: np.ndarray, axis: int) -> np.ndarray:
        first = self.extra.get("data_format") == "channels_first"
        return np.moveaxis(array, axis, -1) if first else array

    def plot(self, **options: Any) -> Any:
        """Draw each input beside its maps; see `tfxai.plot.explanation`."""
        return drawing.explanation(self, **options)

    def save(self, path: str | os.PathLike) -> Path:
        """Write one compressed `.npz`, whole or not at all; `tfxai.load` reads it."""
        path = Path(path)
        if path.suffix != ".npz":
            raise OptionError(f"save({str(path)!r}).", "a file name that ends in .npz")
        arrays, plain = _split(self)
        with atomic_write(path) as temporary:
            arrays["meta"] = np.array(json.dumps(plain, default=_told))
            np.savez_compressed(temporary, **arrays)  # type: ignore[arg-type]
        return path


def load(path: str | os.PathLike) -> Explanation:
    """Read an explanation that `save` wrote. Never runs code: no pickle is read."""
    path = Path(path)
    if not path.exists():
        raise MissingFileError(f"There is no file {str(path)!r}.", "an .npz of tfxai")
    try:
        with np.load(path, allow_pickle=False) as data:
            arrays = dict(data)
        plain = json.loads(str(arrays.pop("meta")))
        if plain.pop("format") != FORMAT:
            raise KeyError("format")
    except (OSError, ValueError, KeyError, EOFError, TypeError, *_BROKEN) as error:
        raise InputError(
            f"{str(path)!r} is no explanation of tfxai ({error}).",
            f"an .npz written by Explanation.save ({FORMAT})",
        ) from error
    extra = {k[6:]: v for k, v in arrays.items() if k.startswith("extra/")}
    return Explanation(
        _gather(arrays, "relevance"),
        arrays["target"],
        arrays["score"],
        plain["method"],
        _gather(arrays, "inputs"),
        {**plain["extra"], **extra},
    )


def _split(e: Explanation) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays for the npz, and what is no array for its JSON."""
    arrays = {"target": e.target, "score": e.score}
    for name, value in (("relevance", e.relevance), ("inputs", e.inputs)):
        several = isinstance(value, list)
        arrays |= {
            f"{name}/{i}" if several else name: np.asarray(v)
            for i, v in enumerate(_listed(value))
        }
    plain = {}
    for key, value in e.extra.items():
        if hasattr(value, "__array__"):
            arrays[f"extra/{key}"] = np.asarray(value)
        else:
            plain[key] = value
    return arrays, {"format": FORMAT, "method": e.method, "extra": plain}


def _told(value: Any) -> Any:
    """An option that JSON does not know: the lists of an array, else its words."""
    return np.asarray(value).tolist() if hasattr(value, "__array__") else str(value)


def _gather(arrays: dict[str, np.ndarray], name: str) -> Any:
    if name in arrays:
        return arrays[name]
    found = [k for k in arrays if k.startswith(name + "/")]
    return [arrays[f"{name}/{i}"] for i in range(len(found))]


def _listed(value: Any) -> list:
    return value if isinstance(value, list) else [value]
