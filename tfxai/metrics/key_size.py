"""The key size as a measure, and its table: every method before every background."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfxai.base.errors import OptionError
from tfxai.base.progress import bar
from tfxai.core.explanation import Explanation
from tfxai.core.model import wrap
from tfxai.io.tables import markdown, write_csv
from tfxai.metrics.masking import backgrounds, first_flips
from tfxai.metrics.metric_context import Asked
from tfxai.metrics.registry import compute, row

#: The backgrounds of Luo, Barut and Jin's table.
BACKGROUNDS = ("dist-50", "mean", "black", "white", "noise")
#: What stands in a row of the table, and how it comes from the key sizes.
COLUMNS: dict[str, Callable] = {
    "count": len,
    "mean": np.mean,
    "std": lambda v: np.std(v, ddof=1) if len(v) > 1 else np.nan,
    "min": np.min,
    "25%": lambda v: np.percentile(v, 25),
    "50%": np.median,
    "75%": lambda v: np.percentile(v, 75),
    "max": np.max,
}


@row(
    "lower",
    "Luo, Barut and Jin 2021, section 5",
    "0 to 1. Low: masking few of the pixels that the map calls strongest changes the "
    "top class; 1: masking all of them does not.",
    bad="As large as that of the random map: what it calls strongest can be masked, "
    "and the class stays.",
)
def key_size(asked: Asked, background: object = "mean") -> np.ndarray:
    """The smallest share of pixels whose masking changes the top class.

    (B,): the largest |map| first. 0, with an UncertainClassWarning, where the target is
    not the top class to begin with.
    """
    asked.check_classes("key_size")
    grounds = backgrounds(background, asked.x, asked.maps, asked.seed)
    return first_flips(
        asked.wrapped, asked.x, asked.maps, asked.target, grounds, asked.batch_size
    )


@dataclass(frozen=True, eq=False)
class KeySizes:
    """values: (method, background) -> (B,), the key size of every picture."""

    values: Mapping[tuple[str, str], np.ndarray]

    def rows(self) -> list[dict[str, Any]]:
        """A row for every method and background: count, mean, std, quartiles."""
        return [
            {"method": m, "background": b}
            | {name: float(told(sizes)) for name, told in COLUMNS.items()}
            for (m, b), sizes in self.values.items()
        ]

    def markdown(self) -> str:
        """The table of `rows` in Markdown."""
        lines = [
            [row["method"], row["background"], *(f"{row[n]:.3g}" for n in COLUMNS)]
            for row in self.rows()
        ]
        return markdown(["method", "background", *COLUMNS], lines, 2)

    def csv(self, path: str | os.PathLike) -> Path:
        """Write a row for every picture, and a column for every method and background.

        A second file beside it, `NAME.describe.csv`, holds the table of `rows`.
        """
        path = Path(path)
        heads = [f"{m}/{b}" for m, b in self.values]
        sizes = zip(*self.values.values(), strict=True)
        lines = [[i, *map(float, v)] for i, v in enumerate(sizes)]
        table = [list(told.values()) for told in self.rows()]
        beside = path.with_suffix(".describe.csv")
        write_csv(beside, ["method", "background", *COLUMNS], table)
        return write_csv(path, ["picture", *heads], lines)


def key_sizes(
    model: Any,
    explanations: Mapping[str, Explanation],
    backgrounds: Sequence[str] = BACKGROUNDS,
    preprocess: Any = None,
    batch_size: int = 32,
    seed: int = 0,
    progress: bool | None = None,
) -> KeySizes:
    """The key sizes of several explanations of the same pictures (keysizetable.py).

    explanations: a label -> its explanation, such as `compare(...).explanations`.
    backgrounds: names, as those of `masking.sensitivity`.
    """
    counts = {len(e.target) for e in explanations.values()}
    if len(counts) != 1 or not len(backgrounds):
        raise OptionError(
            f"{len(explanations)} explanation(s) of {sorted(counts)} pictures, before "
            f"{len(backgrounds)} background(s).",
            "explanations of the same pictures, and one or more backgrounds",
            'key_sizes(model, {"sglrp": e})',
        )
    wrapped, values = wrap(model, preprocess), {}
    with bar("key sizes", len(explanations) * len(backgrounds), progress) as advance:
        for label, e in explanations.items():
            for b in backgrounds:
                values[label, b] = compute(
                    "key_size", wrapped, e, None, batch_size=batch_size,
                    seed=seed, background=b,
                )  # fmt: skip
                advance(1, f"{label} before {b}")
    return KeySizes(values)
