"""A Keras callback that explains the same inputs during training.

from tfxai import callbacks

watch = callbacks.ExplainCallback(x_val[:4], y_val[:4], to=[callbacks.png("maps/")])
model.fit(x, y, epochs=5, callbacks=[watch])
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tfxai.base.errors import NotExplainedWarning, OptionError, WriterWarning
from tfxai.base.validation import check_options, one_of, whole_number
from tfxai.core import registry
from tfxai.core.explanation import Explanation
from tfxai.core.inputs import check_batch_size
from tfxai.core.model import wrap
from tfxai.core.registry import create_analyzer
from tfxai.core.texts import Tokens
from tfxai.metrics.randomisation import rank_correlation
from tfxai.metrics.registry import NEEDS, compute, lookup
from tfxai.training.writers import (
    Writer,
    as_writers,
    gif,
    hdf5,
    npz,
    overlays,
    png,
    tensorboard,
)
from tfxai.viz.panel import listed

__all__ = [
    "ExplainCallback",
    "Writer",
    "gif",
    "hdf5",
    "npz",
    "overlays",
    "png",
    "tensorboard",
]

UNITS = ("epoch", "batch")


class ExplainCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Explain the same inputs repeatedly while the model is trained.

    The training itself is unchanged: weights and random numbers are those of a training
    without the callback. An explanation before the first epoch raises errors of the
    options and of the inputs. Later, a failure is a warning and training continues.

    Args:
        inputs: The inputs, (B, ...), as for `analyze`.
        targets: The targets; see `Explanation`. None is the top class of the model at
            each step, which may change.
        method: The name of a method.
        every: The number of epochs or batches between two explanations that are
            written. Step 0 is the model before training, step 3 the model after three
            epochs (batches).
        unit: The unit of `every`, "epoch" or "batch".
        to: The writers and functions (step, name, float32 (B, ...)) that receive each
            explanation. Writers are `callbacks.png`, `gif`, `npz`, `hdf5`,
            `tensorboard` and `overlays`.
        metrics: The names of metrics, or "randomisation_distance". Their mean over the
            samples is in `logs` at the end of each epoch, regardless of `every`. List
            this callback before `EarlyStopping` or `CSVLogger`.
        boxes: The ground-truth boxes, for metrics that need them.
        preprocess: The preprocessing function, as for `create_analyzer`.
        batch_size: The number of samples that are explained together.
        prefix: A prefix of the names of the metrics in `logs`.
        names: The names of the classes, for writers that draw.
        features: The names of the columns or channels; see `create_analyzer`.
        tokens: The texts of the tokens of each input, or a function of the ids of one.
        options: The options of the method, a dict of their own: `unit` of `leg`, and
            `preprocess` or `batch_size` of other methods, are none of the callback.

    Raises:
        UnknownNameError: There is no such method or metric.
        OptionError: An option is wrong.
        InputError: The inputs do not fit the model; raised at the start of `fit`.
        TargetError: The targets do not fit the model; raised at the start of `fit`.
        ModelError: The model cannot be explained; raised at the start of `fit`.
        UnsupportedLayerError: A layer has no rule; raised at the start of `fit`.

    Warns:
        WriterWarning: A writer failed.
        NotExplainedWarning: An explanation or a metric failed; `logs` holds NaN.
    """

    def __init__(
        self,
        inputs: Any,
        targets: Any = None,
        method: str = "sglrp",
        every: int = 1,
        unit: str = "epoch",
        to: Sequence[Any] = (),
        metrics: Sequence[str] = (),
        boxes: Any = None,
        preprocess: Callable[..., Any] | None = None,
        batch_size: int = 32,
        prefix: str = "",
        names: Sequence[str] | None = None,
        features: Any = None,
        tokens: Tokens = None,
        options: Mapping[str, Any] | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__()
        row = registry.lookup(method)
        options = _check_method_options(method, row.options, options, unknown)
        whole_number("every", every, 1)
        _check_unit(unit, method, row.options)
        check_batch_size(batch_size)
        self.writers, self.metrics = as_writers(to), _check_metrics(metrics, boxes)
        if not self.writers and not self.metrics:
            raise OptionError(
                "ExplainCallback(...) writes nothing and computes no metric.",
                "a writer or a metric",
                'to=[callbacks.png("strips/")], or metrics=["relevance_mass"]',
            )
        self.inputs, self.targets, self.boxes = inputs, targets, boxes
        self.every, self.unit, self.prefix = every, unit, prefix
        self._create: Callable[[Any], Any] = lambda model: create_analyzer(
            method, wrap(model, preprocess), names=names, features=features, **options
        )
        self._tokens = tokens
        self._batch_size = batch_size
        self.analyzer: Any = None
        self._start: Explanation | None = None  # of the untrained model
        #: Keras may run ahead if the callback does nothing after a batch.
        self.async_safe = unit == "epoch"

    # -- methods that Keras calls ----------------------------------------------------

    def on_train_begin(self, logs: Any = None) -> None:
        """Build the analyzer, once for each model."""
        if self.analyzer is None or self.analyzer.wrapped.model is not self.model:
            self.analyzer, self._start = self._create(self.model), None
            checked = self.analyzer.wrapped.checked(self.inputs)
            self._x = checked if len(checked) > 1 else checked[0]
            self._done = self._before = 0
            for writer in self.writers:
                _call_writer(writer.name, writer.begin)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Explain the model before its first epoch; errors are raised."""
        self._before = self._done
        if self._start is None:  # not earlier: BackupAndRestore may restore weights
            e = self._start = self._explain()
            for name in self.metrics:  # raises the errors of every metric
                self._metric(name, e)
            self._write(epoch if self.unit == "epoch" else 0, e)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Explain every `every` batches; Keras may report several at once."""
        if self.unit == "batch":
            # With several batches per call, Keras counts past the last one.
            here = min(batch + 1, (self.params or {}).get("steps") or batch + 1)
            last, self._done = self._done, self._before + here
            if self._done // self.every > last // self.every:
                self._write(self._done, self._explain_or_warn())

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Explain every `every` epochs, and compute the metrics after each epoch."""
        due = self.unit == "epoch" and (epoch + 1) % self.every == 0
        if not due and not self.metrics:
            return
        e = self._explain_or_warn()
        if due:
            self._write(epoch + 1, e)
        if logs is not None:
            _call_writer("logs", _add_to_logs, logs, self._metrics_or_nan(e))

    def on_train_end(self, logs: Any = None) -> None:
        """Close the writers."""
        for writer in self.writers:
            _call_writer(writer.name, writer.close)

    # -- custom training loops -------------------------------------------------------

    def step(self, step: int) -> dict[str, float]:
        """Explain in a training loop without `fit`; return the metrics by name.

        Call `set_model(model)` once before the first step, and `close()` at the end.
        The first explanation raises the errors of the options and of the inputs.

        Args:
            step: The number of the step. A step that is no multiple of `every` is not
                explained, and has no metrics.

        Raises:
            OptionError: There was no `set_model`.
            TfxaiError: As at the start of `fit`.
        """
        if self.model is None:
            raise OptionError(
                "step() without a model.",
                "the model whose weights the loop changes, before the first step",
                "explainer.set_model(model)",
            )
        self.on_train_begin()
        if step % self.every:
            return {}
        if self._start is not None:
            e = self._explain_or_warn()
            self._write(step, e)
            return self._metrics_or_nan(e)
        e = self._start = self._explain()
        values = {self.prefix + name: self._metric(name, e) for name in self.metrics}
        self._write(step, e)
        return values

    def close(self) -> None:
        """Close the writers at the end of a training loop without `fit`."""
        self.on_train_end()

    # -- explanations ----------------------------------------------------------------

    def _explain(self) -> Explanation:
        """Explain the model with its present weights, also those of a new LoRA."""
        if self.analyzer.wrapped.is_outdated:
            self.analyzer = self._create(self.model)
        e: Explanation = self.analyzer.analyze(
            self._x, self.targets, self._batch_size, False, self._tokens
        )
        return e

    def _explain_or_warn(self) -> Explanation | None:
        """Explain the model; warn and return None if that fails."""
        try:
            return self._explain()
        except Exception as error:
            _warn(f"{self.analyzer.method} could not explain", error)
            return None

    def _write(self, step: int, e: Explanation | None) -> None:
        """Pass an explanation to the writers."""
        if e is not None:
            for writer in self.writers:
                _call_writer(writer.name, writer.write, step, e)

    # -- metrics ---------------------------------------------------------------------

    def _metrics_or_nan(self, e: Explanation | None) -> dict[str, float]:
        """Return the values for `logs`, NaN for a metric that fails."""
        values = {}
        for name in self.metrics:
            values[self.prefix + name] = float("nan")
            if e is not None:
                try:
                    values[self.prefix + name] = self._metric(name, e)
                except Exception as error:
                    _warn(f"{name} could not be computed", error)
        return values

    def _metric(self, name: str, e: Explanation) -> float:
        """Return the mean of a metric over the samples."""
        if name in START_METRICS:
            assert self._start is not None  # explained before the first epoch
            return float(np.mean(START_METRICS[name](self._start, e)))
        values = compute(
            name, self.analyzer.wrapped, e, None, self.boxes, self.analyzer,
            self._batch_size,
        )  # fmt: skip
        return float(np.mean(values))


def randomisation_distance(start: Explanation, e: Explanation) -> np.ndarray:
    """Return the distance of each heatmap from that of the untrained model, (B,).

    It is 1 - Spearman's rank correlation of the absolute heatmaps, from 0 to 2: 0 if
    nothing changed, about 1 if the two are unrelated.

    Args:
        start: The explanation before training.
        e: The present explanation.

    References:
        Adebayo et al. 2018, arXiv:1810.03292.
    """
    pairs = zip(_heatmap_rows(start), _heatmap_rows(e), strict=True)
    return np.array([1 - rank_correlation(a, b) for a, b in pairs])


#: Metrics that compare with the untrained model: (start, present) -> (B,).
START_METRICS = {"randomisation_distance": randomisation_distance}


def _heatmap_rows(e: Explanation) -> np.ndarray:
    """Return all heatmap values of each sample, (B, n)."""
    count = len(listed(e.relevance))
    heatmaps = [np.asarray(e.heatmap(which=i), float) for i in range(count)]
    return np.concatenate([h.reshape(len(h), -1) for h in heatmaps], 1)


def _check_method_options(
    method: str, known: Mapping[str, Any], options: Any, unknown: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the options of the method; raise OptionError for any other argument."""
    for name in unknown:
        if name in known:
            raise OptionError(
                f"ExplainCallback has no argument {name!r}; the method {method!r} has "
                "an option of this name.",
                "the options of the method in a dict",
                f"options={{{name!r}: {unknown[name]!r}}}",
            )
        check_options("ExplainCallback", [name], [*_ARGUMENTS, *known])
    if options is not None and not isinstance(options, Mapping):
        raise OptionError(
            f"options={options!r}.",
            f"a dict: option of the method {method!r} -> value",
            f"options={{{min(known, default='target')!r}: ...}}",
        )
    chosen: dict[str, Any] = dict(options or {})
    check_options(f"The method {method!r}", chosen, known)
    if "target" in chosen:
        raise OptionError(
            "options={'target': ...}.",
            "the targets as an argument of the callback",
            f"targets={chosen['target']!r}",
        )
    return chosen


def _check_unit(unit: Any, method: str, known: Mapping[str, Any]) -> None:
    """Raise OptionError for a unit of `every` that does not exist."""
    if "unit" in known and (not isinstance(unit, str) or unit not in UNITS):
        raise OptionError(
            f"unit={unit!r} is the unit of `every`, one of {list(UNITS)}.",
            f"the unit of {method!r} among the options of the method",
            f"options={{'unit': {unit!r}}}",
        )
    one_of("unit", unit, UNITS)


#: The arguments of the callback, for errors.
_ARGUMENTS = (
    *("inputs", "targets", "method", "every", "unit", "to", "metrics", "boxes"),
    *("preprocess", "batch_size", "prefix", "names", "features", "tokens", "options"),
)


def _check_metrics(names: Any, boxes: Any) -> tuple[str, ...]:
    """Return the names of the metrics, if all exist and have what they need."""
    if isinstance(names, str):
        raise OptionError(
            f"metrics={names!r}.", "a list of names", f"metrics=[{names!r}]"
        )
    for name in names:
        if (
            name not in START_METRICS
            and "boxes" in lookup(name).needs
            and boxes is None
        ):
            raise OptionError(
                f"ExplainCallback(...) has no boxes for the metric {name!r}.",
                "boxes",
                NEEDS["boxes"],
            )
    return tuple(names)


# -- errors that do not stop the training --------------------------------------------


def _add_to_logs(logs: dict[str, Any], values: dict[str, float]) -> None:
    """Add values to `logs` without replacing those of other callbacks."""
    taken = sorted(values.keys() & logs.keys())
    logs.update({k: v for k, v in values.items() if k not in taken})
    if taken:
        raise OptionError(
            f"logs already holds {taken}.", "a unique name", 'prefix="sglrp_"'
        )


def _call_writer(name: str, function: Callable[..., Any], *values: Any) -> None:
    """Call a writer; warn with its name if it fails."""
    try:
        function(*values)
    except Exception as error:
        warnings.warn(
            f"The writer {name} failed ({type(error).__name__}: {error}); training "
            "continues.",
            WriterWarning,
            stacklevel=2,
        )


def _warn(failure: str, error: Exception) -> None:
    """Warn of an explanation or a metric that failed."""
    text = getattr(error, "seen", str(error))
    warnings.warn(
        f"{failure} ({type(error).__name__}: {text}); training continues.",
        NotExplainedWarning,
        stacklevel=2,
    )
