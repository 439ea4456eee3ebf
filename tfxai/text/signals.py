"""Audio and images: what a model reads beside texts, or in place of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfxai.base.errors import InputError

Array = np.ndarray[Any, Any]
#: The name of images, and of everything else that is no text.
IMAGES, AUDIO = "images", "audio"
#: An array (n, channels) of at most so many is audio of several channels, no batch.
CHANNELS = 8
#: What an array of one holds, by its number of axes.
SHAPES = {1: "(samples,)", 3: "(height, width, channels)"}


@dataclass(frozen=True)
class Signal:
    """What a model reads that is no text.

    Attributes:
        name: "images" or "audio": the name of its relevance.
        input: The name of the model's input.
        read: Arrays of one shape -> what the model reads of each.
        axes: The number of axes of one: 3 of an image, 1 of audio; None leaves what is
            given to `read`.
        channels: The number of channels of an image, or None.
        alone: The model reads no text.
        mask: The name of the model's input that masks it, or None.
        padding: The value that the mask leaves out, or None.
    """

    name: str
    input: str
    read: Callable[[Sequence[Any]], Any]
    axes: int | None = None
    channels: int | None = None
    alone: bool = False
    mask: str | None = None
    padding: float | None = None

    @property
    def one_of(self) -> str:
        """What one of them is called."""
        return "image" if self.name == IMAGES else "audio"

    def is_one(self, given: Any) -> bool:
        """Return whether one is given, and not several."""
        if isinstance(given, list | tuple):
            return bool(given) and np.ndim(given[0]) == 0 and self.axes == 1
        return self.axes is None or np.ndim(given) <= self.axes

    def values(self, given: Any) -> list[Array]:
        """Return what the model reads of one, or of several.

        Raises:
            InputError: It is a text or empty, or has another shape or no numbers.
        """
        if isinstance(given, str | bytes) and self.axes is not None:
            raise InputError(
                f"The text {given[:60]!r} is given, and the model reads {self.name}.",
                f"an array {SHAPES[self.axes]}",
                f"tfxai.text.explain(model, {self.one_of})",
            )
        if self.axes == 1:
            _check_one_channel(given)
        many = [given] if self.is_one(given) else list(given)
        if not many:
            raise InputError(f"There is no {self.one_of}.", "at least one")
        if self.axes is not None:
            many = [self.checked(v) for v in many]
        shapes = sorted({np.shape(v) for v in many})
        if self.axes is not None and len(shapes) > 1:
            raise InputError(
                f"{self.name} of the shapes {shapes[0]} and {shapes[-1]}: padding "
                "would change what the model computes.",
                "one shape, or one call for each",
            )
        found = [np.asarray(v) for v in self.read(many)]
        if len({v.shape for v in found}) > 1:
            raise InputError(
                f"encode returned the shapes {found[0].shape} and {found[-1].shape}.",
                "one shape, or one call for each",
            )
        return found

    def checked(self, given: Any) -> Array:
        """Return one as an array of numbers.

        Raises:
            InputError: It has another shape, no numbers, or no content.
        """
        array = np.asarray(given)
        whole = f"an array {SHAPES[self.axes or 1]}"
        if array.dtype.kind not in "fiu":
            raise InputError(
                f"{self.name} of dtype {array.dtype}.", f"{whole} of numbers"
            )
        if array.ndim != self.axes or not array.size:
            wrong = "is empty" if not array.size else f"has shape {array.shape}"
            raise InputError(f"The {self.one_of} {wrong}.", whole)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InputError(f"The {self.one_of} holds NaN or infinity.", whole)
        if self.name == IMAGES:
            self._check_channels(array)
        else:
            self._check_samples(array)
        return array

    def _check_channels(self, array: Array) -> None:
        if self.channels is not None and array.shape[-1] != self.channels:
            more = array.shape[-1] > self.channels
            line = f"image[..., :{self.channels}]" if more else ""
            if array.shape[-1] == 1:
                line = f"np.repeat(image, {self.channels}, -1)"
            raise InputError(
                f"The image has {array.shape[-1]} channels.",
                f"{self.channels}, (height, width, channels)",
                line,
            )

    def _check_samples(self, array: Array) -> None:
        if array.dtype.kind in "iu":
            raise InputError(
                f"The audio has dtype {array.dtype}.",
                "samples from -1 to 1, as floats",
                f"audio / {float(np.iinfo(array.dtype).max) + 1:.0f}",
            )
        if self.padding is not None and (array == self.padding).all():
            raise InputError(
                f"The audio is silent: all of its {len(array)} samples are "
                f"{self.padding}, which the preprocessor takes for padding.",
                "audio with sound",
            )

    def inputs(self, seen: Sequence[Array]) -> dict[str, Array]:
        """Return inputs of the model by their names, for what it reads of each row."""
        values: Array = np.stack(seen)
        if self.mask is None:
            return {self.input: values}
        kept: Array = np.ones((len(values), len(seen[0])), bool)
        if self.padding is not None:
            kept = (values.reshape(*kept.shape, -1) != self.padding).any(-1)
        return {self.input: values, self.mask: kept}


def _check_one_channel(given: Any) -> None:
    """Raise InputError for audio (n, channels), which is no batch."""
    shape: tuple[int, ...] = getattr(given, "shape", ())
    if len(shape) == 2 and shape[1] <= CHANNELS < shape[0]:
        raise InputError(
            f"The audio has shape {shape}.",
            "one channel, (samples,), or a batch (B, samples)",
            "audio[:, 0]" if shape[1] == 1 else "audio.mean(-1)",
        )
