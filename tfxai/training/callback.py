"""Explanations while a network learns: a callback for `fit`.

from tfxai import callbacks

watch = callbacks.ExplainCallback(x_val[:4], y_val[:4], to=[callbacks.png("maps/")])
model.fit(x, y, epochs=5, callbacks=[watch])
"""

import warnings
from collections.abc import Callable, Sequence
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
from tfxai.metrics.randomisation import rank_correlation
from tfxai.metrics.registry import NEEDS, compute, lookup
from tfxai.training.writers import (
    Writer,
    as_sinks,
    gif,
    hdf5,
    npz,
    overlays,
    png,
    tensorboard,
)

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


class ExplainCallback(keras.callbacks.Callback):
    """Explain the same inputs again and again while the model learns.

    inputs: (B, ...), a few samples, as for `analyze`. targets: see `Explanation`; None
        is each step's own top class, which may change.
    analyzer: a name of `tfxai.methods()`; further options are its own.
    every, unit: each how many epochs, or batches, the maps go to the sinks. Step 0 is
        the model before the training, step 3 the one after three epochs (batches).
    to: sinks (`callbacks.png`, `gif`, `npz`, `hdf5`, `tensorboard`, `overlays`) and
        functions (step, name, float32 (B, ...)).
    metrics: names of `tfxai.metrics.registry.metrics()`, or "randomisation_distance".
        Their mean over the samples is in `logs` at the end of each epoch, whatever
        `every` is: name this callback before `EarlyStopping` or `CSVLogger`.
    boxes: where the truth lies, for the metrics that need it; see `compute`.
    preprocess: as for `create_analyzer`. prefix: before the metrics' names in `logs`.

    The training itself is not changed: weights and draws are those without it. What is
    wrong from the start is an error before the first epoch. Later on a writer that
    fails is a WriterWarning, an explanation or a metric that fails a
    NotExplainedWarning (and NaN in `logs`), and training goes on.

    Raises UnknownNameError, OptionError; at the beginning of `fit` also InputError,
    TargetError, ModelError, UnsupportedLayerError.
    """

    def __init__(
        self,
        inputs: Any,
        targets: Any = None,
        analyzer: str = "sglrp",
        every: int = 1,
        unit: str = "epoch",
        to: Sequence = (),
        metrics: Sequence[str] = (),
        boxes: Any = None,
        preprocess: Callable | None = None,
        batch_size: int = 32,
        prefix: str = "",
        **options: Any,
    ) -> None:
        super().__init__()
        row = registry.lookup(analyzer)
        check_options(f"The analyzer {analyzer!r}", options, row.options)
        whole_number("every", every, 1)
        one_of("unit", unit, UNITS)
        check_batch_size(batch_size)
        self.sinks, self.metrics = as_sinks(to), _checked(metrics, boxes)
        if not self.sinks and not self.metrics:
            raise OptionError(
                "ExplainCallback(...) writes nothing and computes no metric.",
                "a place for the maps, or a metric",
                'to=[callbacks.png("strips/")], or metrics=["relevance_mass"]',
            )
        self.inputs, self.targets, self.boxes = inputs, targets, boxes
        self.every, self.unit, self.prefix = every, unit, prefix
        self._make = lambda model: create_analyzer(
            analyzer, wrap(model, preprocess), **options
        )
        self._batch_size = batch_size
        self.analyzer: Any = None
        self._start: Explanation | None = None
        #: Keras then need not wait for what this callback does not do after a batch.
        self.async_safe = unit == "epoch"

    # -- what Keras calls ------------------------------------------------------------

    def on_train_begin(self, logs: Any = None) -> None:
        """Build the analyzer: once for each model."""
        if self.analyzer is None or self.analyzer.wrapped.model is not self.model:
            self.analyzer, self._start = self._make(self.model), None
            found = self.analyzer.wrapped.checked(self.inputs)
            self._x = found if len(found) > 1 else found[0]
            self._done = self._before = 0
            for sink in self.sinks:
                _guarded(sink.name, sink.begin)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Explain the model as it is before its first epoch: errors are raised."""
        self._before = self._done
        if self._start is None:  # not sooner: a backup may put weights back
            e = self._start = self._explained()
            self._measured(e)
            self._write(epoch if self.unit == "epoch" else 0, e)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Explain each `every` batches; several may be over at once."""
        if self.unit == "batch":
            # Keras counts on past the end where it runs several batches at once.
            here = min(batch + 1, (self.params or {}).get("steps") or batch + 1)
            last, self._done = self._done, self._before + here
            if self._done // self.every > last // self.every:
                self._write(self._done, self._tried())

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Explain each `every` epochs, and measure each."""
        due = self.unit == "epoch" and (epoch + 1) % self.every == 0
        if not due and not self.metrics:
            return
        e = self._tried()
        if due:
            self._write(epoch + 1, e)
        if logs is not None:
            _guarded("logs", _enter, logs, self._named(e))

    def on_train_end(self, logs: Any = None) -> None:
        """End the sinks."""
        for sink in self.sinks:
            _guarded(sink.name, sink.close)

    # -- explaining ------------------------------------------------------------------

    def _explained(self) -> Explanation:
        return self.analyzer.analyze(self._x, self.targets, self._batch_size, False)

    def _tried(self) -> Explanation | None:
        """The explanation now, or a warning."""
        try:
            return self._explained()
        except Exception as error:
            _warn(f"{self.analyzer.method} could not explain", error)
            return None

    def _write(self, step: int, e: Explanation | None) -> None:
        if e is not None:
            for sink in self.sinks:
                _guarded(sink.name, sink.write, step, e)

    # -- measuring -------------------------------------------------------------------

    def _measured(self, e: Explanation) -> None:
        """Every measure once, with its errors."""
        for name in self.metrics:
            self._number(name, e)

    def _named(self, e: Explanation | None) -> dict[str, float]:
        """What goes into `logs`; NaN where there is no number."""
        made = {}
        for name in self.metrics:
            made[self.prefix + name] = float("nan")
            if e is not None:
                try:
                    made[self.prefix + name] = self._number(name, e)
                except Exception as error:
                    _warn(f"{name} could not be measured", error)
        return made

    def _number(self, name: str, e: Explanation) -> float:
        """The mean of a measure over the samples."""
        if name in OF_START:
            assert self._start is not None  # made before the first epoch
            return float(np.mean(OF_START[name](self._start, e)))
        made = compute(
            name, self.analyzer.wrapped, e, None, self.boxes, self.analyzer,
            self._batch_size,
        )  # fmt: skip
        return float(np.mean(made))


def randomisation_distance(start: Explanation, e: Explanation) -> np.ndarray:
    """How far each map is from that of the untrained start: (B,), 0 to 2.

    1 - Spearman's correlation of |map|: 0 where nothing has changed, about 1 where the
    two have nothing in common (Adebayo et al. 2018, arXiv:1810.03292).
    """
    pairs = zip(_rows(start), _rows(e), strict=True)
    return np.array([1 - rank_correlation(a, b) for a, b in pairs])


#: Measures that also look at the model before its training: (start, now) -> (B,).
OF_START = {"randomisation_distance": randomisation_distance}


def _rows(e: Explanation) -> np.ndarray:
    """(B, n): all numbers of each sample's heatmaps."""
    count = len(e.relevance) if isinstance(e.relevance, list) else 1
    maps = [np.asarray(e.heatmap(which=i), float) for i in range(count)]
    return np.concatenate([m.reshape(len(m), -1) for m in maps], 1)


def _checked(names: Any, boxes: Any) -> tuple[str, ...]:
    """The measures that were asked for, each known and given what it needs."""
    if isinstance(names, str):
        raise OptionError(
            f"metrics={names!r}.", "a list of names", f"metrics=[{names!r}]"
        )
    for name in names:
        if name not in OF_START and "boxes" in lookup(name).needs and boxes is None:
            raise OptionError(
                f"The metric {name!r} was given no boxes.", "boxes", NEEDS["boxes"]
            )
    return tuple(names)


# -- training goes on ----------------------------------------------------------------


def _enter(logs: dict[str, Any], numbers: dict[str, float]) -> None:
    """Add the numbers; what others have written stays."""
    taken = sorted(numbers.keys() & logs.keys())
    logs.update({k: v for k, v in numbers.items() if k not in taken})
    if taken:
        raise OptionError(
            f"There is {taken} already.", "a name of its own", 'prefix="sglrp_"'
        )


def _guarded(sink: str, function: Callable, *values: Any) -> None:
    """Call a sink; where it fails, say so by its name."""
    try:
        function(*values)
    except Exception as error:
        warnings.warn(
            f"The sink {sink} failed ({type(error).__name__}: {error}); training goes "
            "on.",
            WriterWarning,
            stacklevel=2,
        )


def _warn(what: str, error: Exception) -> None:
    seen = getattr(error, "seen", str(error))
    warnings.warn(
        f"{what} ({type(error).__name__}: {seen}); training goes on.",
        NotExplainedWarning,
        stacklevel=2,
    )
