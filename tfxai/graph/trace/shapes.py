"""The programs of one model: one for each shape of its inputs."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf

from tfxai.base.cache import Cache
from tfxai.base.errors import OptionError, UnsupportedLayerError
from tfxai.graph.program import Program
from tfxai.graph.trace.flow import Trace
from tfxai.graph.trace.program import program, traced_call
from tfxai.graph.trace.scopes import Scopes

#: How many shapes are kept.
KEPT = 8
#: Sizes that stand for open axes until an input is seen: of sequences, of pictures.
LENGTHS, SIDES = (8, 16, 64, 128), (64, 224, 32, 128)
#: The size of a signal, such as audio, where none of these fits.
SAMPLES = 2048

Spec = tuple[tuple[int | None, ...], str]


class Shapes:
    """Reads a model's program for the shape of its inputs, and keeps the last ones.

    call: (flat inputs) -> the model's outputs. specs: the shape and dtype of each
    input, None where the model leaves an axis open.
    """

    def __init__(
        self,
        call: Callable[..., Any],
        specs: Sequence[Spec],
        model: Any = None,
        output: int = 0,
    ) -> None:
        self.specs = [(tuple(s), read_as(d)) for s, d in specs]
        self.output = output
        self._call, self._scopes = call, Scopes(model)
        self._traces, self._programs = Cache(KEPT), Cache(KEPT)
        self._first: tuple[Any, ...] | None = None
        #: (batch_norm, shapes) of the programs that were compared with the model.
        self.confirmed: set[Any] = set()

    @property
    def open(self) -> bool:
        """Does the model leave an axis open besides the batch?"""
        return any(None in s[1:] for s, _ in self.specs)

    def at(self, shapes: Sequence[Any], batch_norm: str = "fold") -> Program:
        """The program for inputs of these shapes, whose first axis is the batch.

        An exported model has open axes; it is traced as it is. Raises
        UnsupportedLayerError where its steps cannot be read without their sizes.
        """
        if batch_norm not in ("fold", "rule"):
            raise OptionError(f"batch_norm={batch_norm!r}.", '"fold" or "rule"')
        key = tuple(tuple(s)[1:] for s in shapes)

        def build() -> Program:
            with tf.init_scope():  # also where it is called inside a graph
                traced = self._trace(key)
                return program(traced, self._scopes, self.output, batch_norm, self)

        found: Program = self._programs.get((key, batch_norm), build)
        return found

    def first(self, batch_norm: str = "fold") -> Program:
        """The program for the first sizes of open axes that the model takes."""
        if self._first is not None:
            return self.at([(None, *k) for k in self._first], batch_norm)
        errors: list[UnsupportedLayerError] = []
        for shapes in self._guesses():
            try:
                found = self.at(shapes, batch_norm)
            except UnsupportedLayerError as error:
                errors.append(error)
                if not self.open:
                    break
            else:
                self._first = tuple(s[1:] for s in shapes)
                return found
        raise errors[0]

    def _guesses(self) -> Iterator[list[tuple[int | None, ...]]]:
        """Shapes with sizes for open axes, those of signals longer in the end."""
        for length, side in zip(LENGTHS, SIDES, strict=True):
            yield [_closed(s, length, side) for s, _ in self.specs]
        signals = [
            len(s) == 3 and None in s[1:] and "float" in d for s, d in self.specs
        ]
        if any(signals) and not all(signals):
            pairs = zip(self.specs, signals, strict=True)
            yield [_closed(s, SAMPLES if long else 16, 224) for (s, _), long in pairs]
        if any(signals):
            yield [_closed(s, SAMPLES, 224) for s, _ in self.specs]

    def _trace(self, key: tuple[Any, ...]) -> Trace:
        pairs = zip(key, self.specs, strict=True)
        specs = [tf.TensorSpec((None, *k), d) for k, (_, d) in pairs]
        found: Trace = self._traces.get(
            key, lambda: traced_call(self._call, specs, self.output, self._scopes)
        )
        return found


def _closed(shape: tuple[Any, ...], length: int, side: int) -> tuple[int | None, ...]:
    size = length if len(shape) <= 3 else side
    return (None, *(size if n is None else n for n in shape[1:]))


def read_as(dtype: str) -> str:
    """The dtype that an input is read as: every float is float32."""
    return "float32" if "float" in dtype else dtype
