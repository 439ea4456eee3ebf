"""Relevance maximisation: the samples in which each channel of a layer matters most.

Achtibat et al. 2023, arXiv:2206.03208, Methods, eq. 9 to 11; the relevance of a channel
is its sum over positions (or its maximum), divided by the sum of |.| over channels, as
in zennit-crp.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfxai.base.errors import InputError, OptionError
from tfxai.base.tensors import chunks
from tfxai.base.validation import one_of, whole_number
from tfxai.datasets.maps import Maps
from tfxai.viz import plot
from tfxai.viz.cells import target_name
from tfxai.viz.overlays import enlarged
from tfxai.viz.report import SUFFIXES
from tfxai.viz.sheet import Sheet

#: Samples that are read at once.
READ = 256
TINY = 1e-10
BY = ("sum", "max")


@dataclass(frozen=True)
class ReferenceSamples:
    """The reference samples of the channels of a layer; n of each, the best first.

    Attributes:
        index: Numbers of the samples in the data set, (channels, n).
        relevance: Share of the channel in the relevance of the layer, (channels, n).
        position: Index of the position with the largest relevance, (channels, n), into
            the flattened positions of the layer.
        target: The explained classes of the samples, (channels, n).
        maps: Relevance of the channel at each position, (channels, n, ...).
        total: Mean share of each channel over all samples, (channels,).
    """

    index: np.ndarray
    relevance: np.ndarray
    position: np.ndarray
    target: np.ndarray
    maps: np.ndarray
    total: np.ndarray

    def __len__(self) -> int:
        return len(self.index)

    def top(self, n: int = 5) -> list[int]:
        """Return the n channels with the largest mean share, the largest first."""
        return [int(c) for c in np.argsort(-self.total, kind="stable")[:n]]

    def plot(self, x: Any, channels: Iterable[int] | None = None) -> Any:
        """Return the atlas: a row for each channel, its relevance over its samples.

        Args:
            x: The images of the data set, indexed by the numbers of the samples: an
                array (N, H, W, C), or a function of a number.
            channels: The channels to draw; None draws the `top()` ones.

        Raises:
            InputError: The layer has no positions on two axes.
        """
        names, rows = [], []
        for name, drawn, _ in self._drawn(x, channels, None):
            names.append(name)
            rows.append(drawn)
        return plot.grid(rows, names)

    def page(
        self,
        path: str | os.PathLike[str],
        x: Any,
        channels: Iterable[int] | None = None,
        names: Sequence[str] | None = None,
        title: str = "Reference samples of each channel",
    ) -> Path:
        """Write the atlas as one HTML page without scripts, and return its path.

        Each channel is a card with its samples, their class and its share of their
        relevance.

        Args:
            path: The file; its name ends in .html.
            x: As for `plot`.
            channels: The channels to show; None shows all, the largest share first.
            names: The names of the classes.
            title: The title of the page.

        Raises:
            OptionError: The file name does not end in .html.
            InputError: The layer has no positions on two axes.
        """
        path = Path(path)
        if path.suffix not in SUFFIXES:
            raise OptionError(
                f"The page {str(path)!r}.", "a file name that ends in .html"
            )
        chosen = self.top(len(self)) if channels is None else channels
        sheet = Sheet(title, "channel(s)")
        for name, drawn, lines in self._drawn(x, chosen, names):
            sheet.put(name, drawn, lines)
        return sheet.write_html(path)

    def _drawn(
        self, x: Any, channels: Iterable[int] | None, names: Sequence[str] | None
    ) -> Iterator[tuple[str, list[np.ndarray], list[tuple[str, str]]]]:
        """Yield the name of each channel, its overlays, and two lines for each."""
        if self.maps.ndim != 4:
            raise InputError(
                f"The relevance of a channel has the shape {self.maps.shape[2:]}.",
                "a layer with positions on two axes, (H, W, C)",
            )
        read = x if callable(x) else lambda i: x[i]
        for c in self.top() if channels is None else channels:
            pairs = zip(self.index[c], self.maps[c], strict=True)
            drawn = [_overlay(np.asarray(read(int(i))), m) for i, m in pairs]
            lines = [
                (target_name(int(t), names, {}), f"sample {i}, {100 * v:.2g} %")
                for i, t, v in zip(
                    self.index[c], self.target[c], self.relevance[c], strict=True
                )
            ]
            yield f"channel {c} ({100 * self.total[c]:.2g} %)", drawn, lines


def reference_samples(
    maps: Any, n: int = 8, by: str = "sum", absolute: bool = True
) -> ReferenceSamples:
    """Return the n samples in which each channel of a layer has the most relevance.

    Args:
        maps: The relevance of a layer: the folder of a run with the option `at=`, what
            `tfxai.load` returns for it, or an explanation with `at=`. The last axis is
            that of the channels.
        n: Number of samples of each channel.
        by: "sum" takes the sum over positions, "max" the largest position.
        absolute: Divide by the sum of |relevance| over the channels of a sample.

    Raises:
        OptionError: An option is out of range.
        InputError: The relevance is not that of a layer with one target for each
            sample.

    References:
        Achtibat et al. 2023, arXiv:2206.03208.

    Example:
        >>> tfxai.run(model, x, "lrp.epsilon_plus", "maps/", at="block3")
        >>> refs = tfxai.reference_samples("maps/")
        >>> refs.plot(x).savefig("atlas.png")
    """
    one_of("by", by, BY)
    whole_number("n", n, 1)
    if not hasattr(maps, "relevance") and not isinstance(maps, Maps):
        maps = Maps(maps)
    stored = isinstance(maps, Maps)
    given = maps.recipe.get("options", {}) if stored else maps.extra
    if given.get("at") is None:
        raise InputError(
            f"{repr(str(maps.folder)) if stored else 'The explanation'} holds the "
            "relevance of inputs.",
            "the relevance of a layer",
            'tfxai.run(model, x, "lrp.epsilon_plus", "maps/", at="block3")',
        )
    best: list[np.ndarray] | None = None
    total, count = np.zeros(1), 0
    for rows, relevance, target, index in _parts(maps):
        flat = relevance.reshape(len(relevance), -1, relevance.shape[-1])
        position = flat.argmax(1)
        value = flat.sum(1) if by == "sum" else flat.max(1)
        if absolute:
            value = value / (np.abs(value).sum(1, keepdims=True) + TINY)
        total, count = total + value.sum(0), count + rows
        found = [
            *(np.broadcast_to(v[:, None], value.shape) for v in (index, target)),
            value, position, np.moveaxis(relevance, -1, 1),
        ]  # fmt: skip
        if best is not None:
            found = [np.concatenate(p) for p in zip(best, found, strict=True)]
        order = np.argsort(-found[2], 0, kind="stable")[:n]
        best = [_picked(v, order) for v in found]
    if best is None:
        raise InputError("The run has no samples.", "at least one explained sample")
    index, target, value, position, each = (np.moveaxis(v, 1, 0) for v in best)
    return ReferenceSamples(index, value, position, target, each, total / count)


def _parts(maps: Any) -> Iterable[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
    """Yield the number of samples, relevance, targets and indices, part by part."""
    stored = isinstance(maps, Maps)
    for s in chunks(len(maps), READ):
        part = maps[s.start : s.stop] if stored else maps[s]
        relevance, target = np.asarray(part.relevance), np.asarray(part.target)
        if target.ndim != 1 or relevance.ndim < 2:
            raise InputError(
                f"Relevance of shape {relevance.shape} with targets of shape "
                f"{target.shape}.",
                "one target for each sample, and channels along the last axis",
                "target=None",
            )
        index = np.asarray(part.index) if stored else np.arange(len(relevance))
        yield len(relevance), relevance, target, index + (0 if stored else s.start)


def _picked(values: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Return values (B, C, ...) in an order (n, C) for each channel."""
    return np.asarray(values[order, np.arange(order.shape[1])])


def _overlay(x: np.ndarray, relevance: np.ndarray) -> np.ndarray:
    """Return the relevance of a channel, enlarged, over an image."""
    return np.asarray(plot.overlay(x, enlarged(relevance, x)))
