"""The key size as a metric, and its table of methods and baselines."""

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
from tfxai.metrics.baselines import baseline_images
from tfxai.metrics.masking import first_flips
from tfxai.metrics.metric_context import MetricContext
from tfxai.metrics.registry import compute, row

#: The baselines of Luo, Barut and Jin's table.
BASELINES = ("dist-50", "mean", "black", "white", "noise")
#: column of the table -> function of the key sizes.
COLUMNS: dict[str, Callable[[np.ndarray], Any]] = {
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
    "0 to 1. Low: masking few of the pixels of the largest relevance changes the top "
    "class; 1: masking all of them does not.",
    bad="As large as that of the random heatmap: masking the pixels of the largest "
    "relevance does not change the class.",
    formula="the smallest k / n at which masking the k pixels of highest |R| changes "
    "the top class",
    also_in="the LEG repository",
    cost="a bisection: about log2(pixels) evaluations",
)
def key_size(context: MetricContext, baseline: object = "mean") -> np.ndarray:
    """The smallest share of pixels whose masking changes the top class.

    The largest |heatmap| is masked first. 0 if the target is not the top class of the
    unchanged image.

    Args:
        context: The explanation and its model.
        baseline: Image or value that replaces the masked pixels; see
            `tfxai.metrics.masking.sensitivity`.

    Returns:
        One share per sample, (B,).

    Warns:
        UncertainClassWarning: The target is not the top class of an unchanged image.
    """
    context.check_classes("key_size")
    images = baseline_images(baseline, context.x, context.heatmaps, context.seed)
    return first_flips(
        context.wrapped, context.given(context.x), context.heatmaps, context.target,
        images, context.batch_size,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class KeySizes:
    """The key sizes of several methods and baselines.

    Attributes:
        values: (method, baseline) -> the key size of each image, (B,).
    """

    values: Mapping[tuple[str, str], np.ndarray]

    def rows(self) -> list[dict[str, Any]]:
        """Return a row per method and baseline: count, mean, std, quartiles."""
        return [
            {"method": m, "baseline": b}
            | {name: float(statistic(sizes)) for name, statistic in COLUMNS.items()}
            for (m, b), sizes in self.values.items()
        ]

    def markdown(self) -> str:
        """Return the table of `rows` in Markdown."""
        lines = [
            [row["method"], row["baseline"], *(f"{row[n]:.3g}" for n in COLUMNS)]
            for row in self.rows()
        ]
        return markdown(["method", "baseline", *COLUMNS], lines, 2)

    def csv(self, path: str | os.PathLike[str]) -> Path:
        """Write a row per image, with a column per method and baseline.

        A second file in the same folder, `NAME.describe.csv`, holds the table of
        `rows`.

        Args:
            path: The file to write.

        Returns:
            The path.
        """
        path = Path(path)
        heads = [f"{m}/{b}" for m, b in self.values]
        sizes = zip(*self.values.values(), strict=True)
        lines = [[i, *map(float, v)] for i, v in enumerate(sizes)]
        table = [list(row.values()) for row in self.rows()]
        describe = path.with_suffix(".describe.csv")
        write_csv(describe, ["method", "background", *COLUMNS], table)
        return write_csv(path, ["sample", *heads], lines)


def key_sizes(
    model: Any,
    explanations: Mapping[str, Explanation],
    baselines: Sequence[str] = BASELINES,
    preprocess: Any = None,
    batch_size: int = 32,
    seed: int = 0,
    progress: bool | None = None,
) -> KeySizes:
    """Return the key sizes of several explanations of the same images.

    Args:
        model: The model that was explained.
        explanations: label -> explanation, such as `compare(...).explanations`.
        baselines: Names of baselines; see `tfxai.metrics.masking.sensitivity`.
        preprocess: The preprocess of the model, or None.
        batch_size: The largest batch of a forward pass.
        seed: The seed of a "noise" baseline.
        progress: Show a progress bar. None shows it in a terminal.

    Raises:
        OptionError: The explanations are of different images, or there is no baseline.

    References:
        Luo, Barut and Jin 2021; `keysizetable.py` of the authors' code.
    """
    counts = {len(e.target) for e in explanations.values()}
    if len(counts) != 1 or not len(baselines):
        raise OptionError(
            f"{len(explanations)} explanation(s) of {sorted(counts)} images, and "
            f"{len(baselines)} baseline(s).",
            "explanations of the same images, and one or more baselines",
            'key_sizes(model, {"sglrp": e})',
        )
    wrapped = wrap(model, preprocess)
    values: dict[tuple[str, str], np.ndarray] = {}
    with bar("key sizes", len(explanations) * len(baselines), progress) as advance:
        for label, e in explanations.items():
            for b in baselines:
                values[label, b] = compute(
                    "key_size", wrapped, e, None, batch_size=batch_size,
                    seed=seed, baseline=b,
                )  # fmt: skip
                advance(1, f"{label}, {b}")
    return KeySizes(values)
