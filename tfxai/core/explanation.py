"""The explanation: relevance, and what is needed to interpret it."""

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

Array = np.ndarray[Any, Any]
FORMAT = "tfxai-explanation/1"
_BROKEN = (zipfile.BadZipFile, zlib.error, AttributeError)  # of a truncated file

#: Reductions of the channels of relevance: (..., H, W, C) -> (..., H, W).
REDUCTIONS: Mapping[str, Callable[[Array], Array]] = {
    "sum": lambda r: r.sum(-1),
    "mean": lambda r: r.mean(-1),
    "abs_sum": lambda r: np.abs(r).sum(-1),
    "abs_mean": lambda r: np.abs(r).mean(-1),
    "abs_max": lambda r: np.abs(r).max(-1),
    "norm": lambda r: np.sqrt((r**2).sum(-1)),
}


@dataclass(frozen=True, eq=False)
class Explanation:
    """The relevance of inputs for targets, and how it was computed.

    Relevance and gradients are taken at the network's input, after `preprocess`; the
    relevance of sampling and perturbation methods is that of `inputs`, before it.

    Attributes:
        relevance: Relevance, float32 (B, ...), of the shape of the inputs; with one
            channel where the method computes only one; (B, T, ...) for T targets per
            sample; a list of such arrays for a model with several inputs.
        target: The explained class, int (B,) or (B, T): the given one, or the top
            class; of one sigmoid, 1 or (at the logit -z) 0. For an output with more
            axes, an index into the flattened output.
        score: The explained number, float32 (of a callable float64) of the shape of
            `target`: the logit; for sampling and perturbation methods the probability
            (their option `scale`); for a function as target (of the model's own
            outputs) its value.
        method: The name of the method.
        inputs: The inputs as they were given, before any `preprocess`.
        extra: Further arrays and values of the method.
    """

    relevance: Any
    target: np.ndarray
    score: np.ndarray
    method: str
    inputs: Any
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
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

    def heatmap(self, reduce: str = "own", which: int = 0) -> Array:
        """Return one number per position, (B, H, W) or (B, T, H, W).

        Args:
            reduce: How channels are reduced: sum (keeps the total), mean, abs_sum,
                abs_mean, abs_max or norm. "own" is the heatmap of the method's paper if
                it defines one (`extra["heatmap"]`: LEG), else the sum.
            which: The input, for a model with several.

        Raises:
            OptionError: There is no such reduction or input.
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

    def input_channels_last(self, which: int = 0) -> Array:
        """Return an input with its channels last, as it is drawn."""
        return self._last(np.asarray(_listed(self.inputs)[which]), 1)

    def _last(self, array: Array, axis: int) -> Array:
        """The array with the axis of channels last."""
        first = self.extra.get("data_format") == "channels_first"
        return np.moveaxis(array, axis, -1) if first else array

    def plot(self, **options: Any) -> Any:
        """Return a figure of each input and its heatmaps; see `tfxai.plot`."""
        return drawing.explanation(self, **options)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write one compressed `.npz` atomically; `tfxai.load` reads it.

        Raises:
            OptionError: The name does not end in .npz.
        """
        path = Path(path)
        if path.suffix != ".npz":
            raise OptionError(f"save({str(path)!r}).", "a file name that ends in .npz")
        arrays, plain = _split(self)
        with atomic_write(path) as temporary:
            arrays["meta"] = np.array(json.dumps(plain, default=_to_json))
            np.savez_compressed(temporary, **arrays)  # type: ignore[arg-type]
        return path


def load(path: str | os.PathLike[str]) -> Explanation:
    """Read an explanation that `save` wrote. No pickle is read, so no code runs.

    Raises:
        MissingFileError: There is no such file.
        InputError: The file is not an explanation.
    """
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
            f"{str(path)!r} is not an explanation of tfxai ({error}).",
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


def _split(e: Explanation) -> tuple[dict[str, Array], dict[str, Any]]:
    """Arrays for the npz, and all other values for its JSON."""
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


def _to_json(value: Any) -> Any:
    """A value that JSON does not have: an array as lists, else a string."""
    return np.asarray(value).tolist() if hasattr(value, "__array__") else str(value)


def _gather(arrays: dict[str, Array], name: str) -> Any:
    """One array of this name, or the list of several."""
    if name in arrays:
        return arrays[name]
    found = [k for k in arrays if k.startswith(name + "/")]
    return [arrays[f"{name}/{i}"] for i in range(len(found))]


def _listed(value: Any) -> list[Any]:
    """The value as a list."""
    return value if isinstance(value, list) else [value]
