"""The explanation: relevance, and what is needed to interpret it."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tfxai.base.errors import InputError, MissingPackageError, OptionError
from tfxai.core import explanation_file, explanation_parts, explanation_table
from tfxai.viz import plot as drawing
from tfxai.viz import summary
from tfxai.viz.panel import channels_last, listed, number_of

Array = np.ndarray[Any, Any]

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

    It is a collection of samples: `len(e)`, `e[0]`, `e[2:5]`, `for one in e`. Each of
    these parts is an explanation, also of a single sample. `e["image"]` is the part of
    one input, for a model with several.

    Relevance and gradients are taken at the network's input, after `preprocess`; the
    relevance of sampling and perturbation methods is that of `inputs`, before it.

    Attributes:
        relevance: Relevance, float32 (B, ...), of the shape of the inputs; with one
            channel where the method computes only one; (B, T, ...) for T targets per
            sample; a list of such arrays for a model with several inputs.
        target: The explained class, int (B,) or (B, T): the given one, or the top
            class; of one sigmoid, 1 or (at the logit -z) 0. For an output with more
            axes, an index into the flattened output; -1 for a function, whose name is
            `extra["target_function"]`.
        score: The explained number, float32 (of a callable float64) of the shape of
            `target`: the logit; for sampling and perturbation methods the probability
            (their option `scale`); for a function as target (of the model's own
            outputs) its value.
        method: The name of the method.
        inputs: The inputs as they were given, before any `preprocess`. None where they
            are not stored.
        extra: Further arrays and values of the method, and its options.
        names: The names of the classes by index, or None.
        features: The names of the columns of a table or the channels of a series, or
            None; for several inputs a mapping from the name of an input.
        tokens: For each sample the texts of its tokens, or None.
        input_names: The names of the model's inputs, where it has several.
        option_names: The entries of `extra` that hold for the whole batch.
    """

    relevance: Any
    target: np.ndarray
    score: np.ndarray
    method: str
    inputs: Any
    extra: Mapping[str, Any] = field(default_factory=dict)
    names: Sequence[str] | None = None
    features: Any = None
    tokens: Sequence[Sequence[str]] | None = None
    input_names: Sequence[str] = ()
    option_names: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.target)

    def __iter__(self) -> "Iterator[Explanation]":
        return (self[i] for i in range(len(self)))

    def __getitem__(self, which: Any) -> "Explanation":
        one_input = isinstance(which, str)
        part = explanation_parts.of_input if one_input else explanation_parts.of_samples
        found: Explanation = part(self, which)
        return found

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
        shapes = [np.shape(r) for r in listed(self.relevance)]
        shown = shapes if isinstance(self.relevance, list) else shapes[0]
        target = self.extra.get("target_function", self.target)
        return f"Explanation({self.method!r}, relevance {shown}, target {target})"

    def heatmap(self, reduce: str = "own", which: int | str = 0) -> Array:
        """Return one number per position, (B, H, W) or (B, T, H, W).

        Args:
            reduce: How channels are reduced: sum (keeps the total), mean, abs_sum,
                abs_mean, abs_max or norm. "own" is the heatmap of the method's paper if
                it defines one (`extra["heatmap"]`: LEG), else the sum.
            which: The number or the name of the input, for a model with several.

        Raises:
            OptionError: There is no such reduction or input.
        """
        if reduce == "own" and "heatmap" in self.extra:
            return np.asarray(self.extra["heatmap"])
        reduce = "sum" if reduce == "own" else reduce
        if reduce not in REDUCTIONS:
            raise OptionError(f"reduce={reduce!r}.", f"one of {sorted(REDUCTIONS)}")
        number = number_of(self, which)
        axes = np.ndim(self.target)
        relevance = channels_last(
            self, np.asarray(listed(self.relevance)[number]), axes
        )
        positions = relevance.ndim - axes
        return REDUCTIONS[reduce](relevance) if positions > 1 else relevance

    def input_channels_last(self, which: int | str = 0) -> Array:
        """Return an input with its channels last, as it is drawn.

        Raises:
            InputError: The inputs are not stored.
        """
        if self.inputs is None:
            raise InputError(
                "The explanation does not hold the inputs.",
                "the inputs that were explained",
                "dataclasses.replace(e, inputs=x)",
            )
        number = number_of(self, which)
        return channels_last(self, np.asarray(listed(self.inputs)[number]), 1)

    def to_dataframe(self) -> Any:
        """Return a `pandas.DataFrame`: a row per sample, target and element.

        The columns are sample, target (its name, if known), score; feature (or
        position and channel, token, or y and x); value and relevance. Images have a row
        per pixel, channels summed. Several inputs have a column input.

        Raises:
            MissingPackageError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise MissingPackageError(
                "A data frame needs pandas.", "pandas", "pip install pandas"
            ) from error
        return pandas.DataFrame(explanation_table.columns(self))

    def sum_by(self, groups: Any) -> "Explanation":
        """Return the explanation of groups: relevance (B, G) or (B, T, G), summed.

        Args:
            groups: "words" merges the pieces of words in `tokens`. "segments" sums over
                `extra["segments"]`. A mapping from the name of a group to the names or
                indices of columns; columns without a group keep their own name. Or an
                array of labels: one for each column, position or pixel, of all samples
                or of each one.

        Raises:
            OptionError: The groups do not fit the relevance.
        """
        found: Explanation = explanation_table.summed(self, groups)
        return found

    def stable_ranks(self, k: int) -> Array:
        """Return which of the k largest |values| differ from the next, (B, k) bool.

        True at rank i: the value of rank i is larger than that of rank i + 1 by 1.96
        standard errors of the difference, as of independent errors. For T targets per
        sample it is (B, T, k). The values are `extra["coefficients"]`, or the
        relevance.

        Raises:
            OptionError: The method has no standard errors, or k is out of range.
        """
        return explanation_parts.stable_ranks(self, k)

    def plot(self, **options: Any) -> Any:
        """Return a figure of each input and its relevance; see `tfxai.plot`."""
        return drawing.explanation(self, **options)

    def _repr_html_(self) -> str:
        return summary.of_explanation(self)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write one compressed `.npz` atomically; `tfxai.load` reads it.

        Raises:
            OptionError: The name does not end in .npz.
        """
        return explanation_file.write(self, Path(path))


def load(path: str | os.PathLike[str]) -> Explanation:
    """Read an explanation that `save` wrote. No pickle is read, so no code runs.

    Raises:
        MissingFileError: There is no such file.
        InputError: The file is not an explanation.
    """
    return Explanation(**explanation_file.read(Path(path)))
