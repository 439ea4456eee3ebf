"""The metric of relevance analyzers over images, for the search of a preset."""

import time
import warnings
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.errors import ModelError, TfxaiError, TfxaiWarning
from tfxai.base.progress import Advance
from tfxai.base.tensors import chunks
from tfxai.core.explanation import Explanation
from tfxai.core.model import ModelWrapper
from tfxai.core.registry import create_analyzer
from tfxai.metrics.registry import compute
from tfxai.relevance.analyzer_table import ANALYZERS
from tfxai.relevance.analyzers import RelevanceAnalyzer

Array = np.ndarray[Any, Any]
#: One in so many images of the search, and at least `LEAST`, evaluate every rule.
SHARE, LEAST = 4, 8
#: The fixed presets that are evaluated first; then the other rows "lrp." and those of
#: deep Taylor, without those that need the index of a layer.
FIRST = ("lrp.epsilon", "lrp.epsilon_plus", "lrp.epsilon_gamma_box", "lrp.gamma")


class Judge:
    """The mean of a metric; larger values are better, whatever the metric.

    Args:
        wrapped: The model.
        images: The images (B, H, W, C), divided into search and held out by the seed.
        target: The class of each image, (B,).
        scores: Its logit, (B,).
        metric: Name of the metric.
        better: "higher" or "lower".
        batch_size: How many images are explained at once.
        seed: Seed of the division and of the metric.
        options: Options of the metric.
    """

    def __init__(
        self, wrapped: ModelWrapper, images: Array, target: Array, scores: Array,
        metric: str, better: str, batch_size: int, seed: int, options: dict[str, Any],
    ) -> None:  # fmt: skip
        self._wrapped, self._images = wrapped, images
        self._target, self._scores = target, scores
        self._metric, self._options = metric, {**options, "seed": seed}
        self._boxes = self._options.pop("boxes", None)
        self._sign = 1.0 if better == "higher" else -1.0
        self._batch_size = batch_size
        order = np.random.default_rng(seed).permutation(len(images))
        half = len(order) // 2
        self._few = order[: min(half, max(LEAST, half // SHARE))]
        self._search, self._held_out = order[:half], order[half:]
        #: Number of evaluations of rules.
        self.count = 0

    def fixed(
        self, end: float, advance: Advance
    ) -> tuple[dict[str, RelevanceAnalyzer], dict[str, float]]:
        """Return the analyzers and the quick values of the fixed presets.

        Args:
            end: The time from which on no further one is evaluated.
            advance: Callback of the progress bar.

        Raises:
            ModelError: None of them explains the model.
        """
        names = [a.name for a in ANALYZERS if a.name.startswith(("lrp.", "deep_tay"))]
        names = [n for n in names if not n.endswith(("until_idx", "until_index"))]
        names.sort(key=lambda n: FIRST.index(n) if n in FIRST else len(FIRST))
        found: dict[str, RelevanceAnalyzer] = {}
        quick: dict[str, float] = {}
        last: TfxaiError | None = None
        for name in names:
            advance(1, name)
            try:
                analyzer = self.analyzer(name)
                self._maps(analyzer, self._images[:1], self._target[:1])
            except TfxaiError as error:  # such as a layer without a rule
                last = error
                continue
            found[name], quick[name] = analyzer, self.quick(analyzer)
            if time.monotonic() >= end:
                break
        if not found:
            raise ModelError(
                "No preset explains the model.", "a model that one of them explains"
            ) from last
        return found, quick

    def analyzer(self, method: str, **options: Any) -> RelevanceAnalyzer:
        """Return an analyzer, without warnings."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TfxaiWarning)
            analyzer = create_analyzer(method, self._wrapped, **options)
        assert isinstance(analyzer, RelevanceAnalyzer)
        return analyzer

    def quick(self, analyzer: RelevanceAnalyzer) -> float:
        """Return the value over a part of the images of the search."""
        self.count += 1
        return self._mean(analyzer, self._few)

    def full(self, analyzer: RelevanceAnalyzer) -> float:
        """Return the value over all images of the search."""
        return self._mean(analyzer, self._search)

    def better(
        self, analyzer: RelevanceAnalyzer, best: tuple[float, float]
    ) -> tuple[float, float] | None:
        """Return the quick and the full value if both are better than `best`."""
        quick = self.quick(analyzer)
        if quick <= best[0]:
            return None
        full = quick if len(self._few) == len(self._search) else self.full(analyzer)
        return (quick, full) if full > best[1] else None

    def held_out(self, analyzer: RelevanceAnalyzer) -> float:
        """Return the mean of the metric itself over the images held out."""
        return self._sign * self._mean(analyzer, self._held_out)

    def _mean(self, analyzer: RelevanceAnalyzer, rows: Array) -> float:
        """Return the value over some images; -inf where it is not finite."""
        x, target = self._images[rows], self._target[rows]
        parts = [
            self._maps(analyzer, x[s], target[s])
            for s in chunks(len(x), self._batch_size)
        ]
        relevance = np.concatenate(parts)
        if not np.isfinite(relevance).all():
            return -np.inf
        e = Explanation(relevance, target, self._scores[rows], analyzer.method, x)
        options = dict(self._options)
        if self._boxes is not None:
            each = len(self._boxes) == len(self._images)
            options["boxes"] = [self._boxes[i] for i in rows] if each else self._boxes
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TfxaiWarning)
            values = compute(
                self._metric, self._wrapped, e, batch_size=self._batch_size, **options
            )  # fmt: skip
        mean = self._sign * float(np.mean(values))
        return mean if np.isfinite(mean) else -np.inf

    def _maps(self, analyzer: RelevanceAnalyzer, x: Array, target: Array) -> Array:
        """Return the relevance of a batch, operation by operation.

        A set of rules is used a few times, so that compilation would take longer.
        """
        prepared = self._wrapped.prepared([tf.convert_to_tensor(x)])
        indices = tf.constant(target[:, None], tf.int32)
        result = analyzer.graph.propagate(prepared, indices)
        return np.asarray(result["relevance"][0][0])
