"""The result of `tfxai.compare`: explanations, metrics, tables and the report."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tfxai.core.control_maps import CONTROLS
from tfxai.core.explanation import Explanation
from tfxai.core.registry import lookup as analyzer_row
from tfxai.io.tables import markdown, write_csv
from tfxai.metrics.randomisation import RandomisationResult
from tfxai.metrics.registry import Metric, lookup
from tfxai.viz import summary
from tfxai.viz.report import ARROWS, join_label, write

#: A method's label, or (label, metric), (label, "curves"), (label, "randomisation").
Where = str | tuple[str, str]


@dataclass(frozen=True, eq=False)
class MethodResult:
    """The explanation and the numbers of one method.

    Attributes:
        explanation: The explanation of all images, or None after an error.
        values: label of a metric -> one number per image, (B,).
        curve: Scores (B, S) with the shares `compare.SHARES` of the pixels masked, the
            largest of the heatmap first; NaN if it cannot be computed. None without an
            explanation.
        randomisation: Heatmaps of the first images while the weights are randomised,
            or None.
        errors: The message of each error.
        warnings: The messages of all warnings.
    """

    explanation: Explanation | None = None
    values: Mapping[str, np.ndarray] = field(default_factory=dict)
    curve: np.ndarray | None = None
    randomisation: RandomisationResult | None = None
    errors: Mapping[Where, str] = field(default_factory=dict)
    warnings: Mapping[Where, list[str]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Comparison:
    """The explanations of several methods on the same images, and their metrics.

    Attributes:
        x: The images, (B, H, W, C), or other inputs.
        target: The explained class of each image, (B,).
        score: The target's probability, or its logit if there is none, (B,).
        metrics: The labels of the metrics.
        results: label of a method -> its result.
        boxes: For each image a list of [y0, x0, y1, x1], or None.
        settings: The methods, metrics and options that were used.
        kind: "images", "tables", "texts" or "series".
    """

    x: np.ndarray
    target: np.ndarray
    score: np.ndarray
    metrics: tuple[str, ...]
    results: Mapping[str, MethodResult]
    boxes: Sequence[Any] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    kind: str = "images"

    def _repr_html_(self) -> str:
        rows = [[str(row["method"]), *self._cells(row)] for row in self.rows()]
        failed = f"<p>{len(self.errors)} errors: .errors</p>" if self.errors else ""
        plain = [[cell.strip("*") for cell in row] for row in rows]
        return summary.wrapped(summary.table(self.header(), plain) + failed)

    @property
    def methods(self) -> tuple[str, ...]:
        """The labels of the methods."""
        return tuple(self.results)

    @property
    def explanations(self) -> dict[str, Explanation]:
        """The explanations by label; methods with an error have none."""
        found = ((m, r.explanation) for m, r in self.results.items())
        return {m: e for m, e in found if e is not None}

    @property
    def values(self) -> dict[tuple[str, str], np.ndarray]:
        """(label of a method, label of a metric) -> one number per image, (B,)."""
        return {(m, n): v for m, r in self.results.items() for n, v in r.values.items()}

    @property
    def curves(self) -> dict[str, np.ndarray]:
        """label -> the curve of each image, (B, S)."""
        found = ((m, r.curve) for m, r in self.results.items())
        return {m: v for m, v in found if v is not None}

    @property
    def randomised(self) -> dict[str, RandomisationResult]:
        """label -> heatmaps of the first images while the weights are randomised."""
        found = ((m, r.randomisation) for m, r in self.results.items())
        return {m: v for m, v in found if v is not None}

    @property
    def errors(self) -> dict[Where, str]:
        """label, or (label, metric) -> the error's message."""
        return {k: v for r in self.results.values() for k, v in r.errors.items()}

    @property
    def warnings(self) -> dict[Where, list[str]]:
        """label, or (label, metric) -> the messages of the warnings."""
        return {k: v for r in self.results.values() for k, v in r.warnings.items()}

    def rows(self) -> list[dict[str, Any]]:
        """Return a row per method: the mean of each metric, None after an error."""
        return [
            {"method": m, **{n: self.mean(m, n) for n in self.metrics}}
            for m in self.methods
        ]

    def metric(self, label: str) -> Metric:
        """Return the metric with this label."""
        return lookup(self.settings["metrics"][label]["name"])

    def header(self) -> list[str]:
        """Return the header of a table of `rows`, with arrows."""
        names = (f"{n} {ARROWS[self.metric(n).better]}" for n in self.metrics)
        return ["method", *names]

    def mean(self, method: str, metric: str) -> float | None:
        """Return the mean of a metric over the images, or None after an error."""
        values = self.results[method].values.get(metric)
        return None if values is None else float(np.mean(values))

    def best(self, metric: str) -> list[str]:
        """Return the methods with the best mean of a metric, several if equal."""
        means = {m: self.mean(m, metric) for m in self.methods}
        known = {m: v for m, v in means.items() if v is not None}
        if not known:
            return []
        higher = self.metric(metric).better == "higher"
        top = (max if higher else min)(known.values())
        return [m for m, v in known.items() if v == top]

    def markdown(self) -> str:
        """Return the table of means in Markdown, the best of each metric in bold."""
        lines = [[str(row["method"]), *self._cells(row)] for row in self.rows()]
        return markdown(self.header(), lines)

    def csv(self, path: str | os.PathLike[str]) -> Path:
        """Write a row per method, image and metric; the file is written atomically.

        Args:
            path: The file to write.

        Returns:
            The path.
        """
        lines = [
            [method, i, int(self.target[i]), name, repr(float(value))]
            for (method, name), values in self.values.items()
            for i, value in enumerate(values)
        ]
        header = ["method", "sample", "target", "metric", "value"]
        return write_csv(path, header, lines)

    def warnings_by_text(self) -> dict[str, list[str]]:
        """Return message -> the methods, and metrics of methods, that warned."""
        by_text: dict[str, list[str]] = {}
        for where, texts in self.warnings.items():
            for text in texts:
                by_text.setdefault(text, []).append(join_label(where))
        return by_text

    def summary(self, label: str) -> str:
        """Return one line about the method with this label."""
        name = self.settings["methods"][label]["name"]
        if self.is_control(label):
            return str(CONTROLS[name][0])
        return str(analyzer_row(name).summary)

    def is_control(self, label: str) -> bool:
        """Return True if the method with this label ignores the model."""
        return self.settings["methods"][label]["name"] in CONTROLS

    def report(
        self,
        path: str | os.PathLike[str],
        names: Sequence[str] | None = None,
        **options: Any,
    ) -> Path:
        """Write one self-contained HTML page; see `tfxai.viz.report.write`."""
        return write(self, path, names, **options)

    def _cells(self, row: Mapping[str, Any]) -> list[str]:
        """Return the numbers of a row as text, the best ones in bold."""
        cells = []
        for name in self.metrics:
            text = "-" if row[name] is None else f"{row[name]:.3g}"
            bold = row["method"] in self.best(name)
            cells.append(f"**{text}**" if bold else text)
        return cells
