"""The search of feature visualisation: many starts, of which the best run on."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.errors import InputError, OptionError
from tfxai.base.progress import Advance, bar
from tfxai.base.tensors import Tensor, chunks
from tfxai.base.validation import finite, whole_number
from tfxai.core.inputs import signature
from tfxai.core.model import ModelWrapper
from tfxai.perturbation.descent import Array, Descent, DescentResult, compile_by_shape
from tfxai.perturbation.objectives import objective_of
from tfxai.perturbation.spectra import Look, Parametrisation, look_of

#: A start runs one in so many of the iterations before the best are kept.
TRIAL = 8
#: Images whose gradients are averaged for `Visualization.transparency`.
AVERAGED = 8


class Search:
    """The compiled functions of one call of `visualize`."""

    def __init__(
        self, wrapped: ModelWrapper, look: Look, target: Any, at: Any,
        parametrisation: Parametrisation, crops: Callable[..., Tensor], views: int,
        n_iterations: int, learning_rate: float | None,
    ) -> None:  # fmt: skip
        zeros = np.full((1, *look.shape), (look.low + look.high) / 2, np.float32)
        self.targets, self._weights, self._activation = objective_of(
            wrapped, target, at, zeros
        )
        self._crops, self._views = crops, views
        self._parametrisation, self._n_iterations = parametrisation, n_iterations
        rate = learning_rate or parametrisation.learning_rate
        self._trial, self._descent = (
            Descent(self._loss, list, n, rate, 0.0, decay=True)
            for n in (max(1, n_iterations // TRIAL), n_iterations)
        )
        self._slope = compile_by_shape(self._gradient)

    def run(
        self, starts: int, kept: int, seed: int, batch_size: int, progress: bool | None
    ) -> tuple[Array, Array, Array, Array]:
        """Return images, activations, histories and transparency of the best starts."""
        count = len(self.targets)
        pairs = np.array([(t, s) for t in range(count) for s in range(starts)])
        begun = [
            self._parametrisation.start(np.random.default_rng([seed, s, t]))
            for t, s in pairs
        ]
        parameters = [np.stack(p) for p in zip(*begun, strict=True)]
        kept = min(kept, starts)
        first = len(pairs) * self._trial.n_iterations if kept < starts else 0
        total = first + count * kept * self._descent.n_iterations
        with bar("visualize", total, progress) as advance:

            def descend(
                descent: Descent, begin: list[Array], which: Array
            ) -> tuple[list[Array], Array, Array]:
                found = [
                    _descended(descent, [p[s] for p in begin], self._weights[which[s]],
                               advance)
                    for s in chunks(len(which), batch_size)
                ]  # fmt: skip
                best = [f.parameters for f in found]
                return (
                    [np.concatenate(p) for p in zip(*best, strict=True)],
                    np.concatenate([-f.loss for f in found]),
                    np.concatenate([f.history[1] for f in found]),
                )

            if kept < starts:
                _, reached, _ = descend(self._trial, parameters, pairs[:, 0])
                chosen = _top(reached, count, kept)
                parameters, pairs = [p[chosen] for p in parameters], pairs[chosen]
            parameters, reached, history = descend(
                self._descent, parameters, pairs[:, 0]
            )
        best = _top(reached, count, 1)
        final = [tf.constant(p[best]) for p in parameters]
        image = self._parametrisation.image(final).numpy()
        slopes = [
            self._slope(tf.constant(image[s]), tf.constant(self._weights[s])).numpy()
            for s in chunks(count, 1)
        ]
        return image, reached[best], history[best], np.concatenate(slopes)

    def _loss(
        self, parameters: list[Tensor], iteration: Tensor, data: list[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return -mean activation of image and crops, -activation of the image, it."""
        image = self._parametrisation.image(parameters)
        (weights,) = data
        score = self._activation(image, weights)
        total = score
        if self._views:
            crops = self._crops(image, iteration, self._views)
            values = self._activation(crops, tf.repeat(weights, self._views, 0))
            total += tf.reduce_sum(tf.reshape(values, [-1, self._views]), 1)
        return -total / (1 + self._views), -score, score

    def _gradient(self, image: Tensor, weights: Tensor) -> Tensor:
        """Return the mean |d activation / d image| (1, H, W) over noisy copies."""
        shape = [AVERAGED, *image.shape[1:]]
        span = tf.reduce_max(image) - tf.reduce_min(image)
        x = image + 0.1 * span * tf.random.stateless_normal(shape, [0, 0])
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            score = self._activation(x, tf.repeat(weights, AVERAGED, 0))
        slope = tape.gradient(score, x, unconnected_gradients="zero")
        return tf.reduce_mean(tf.reduce_sum(tf.abs(slope), -1), 0, keepdims=True)


def _descended(
    descent: Descent, start: list[Array], weights: Array, advance: Advance
) -> DescentResult:
    """Run the loop for some images, and move the progress bar."""
    done = 0

    def on_progress(n: int, score: float) -> None:
        nonlocal done
        advance((n - done) * len(weights), f"activation {score:.3g}")
        done = n

    return descent(start, [tf.constant(weights)], on_progress)


def _top(values: Array, count: int, most: int) -> Array:
    """Return the positions of the `most` largest of each of `count` equal parts."""
    rows = values.reshape(count, -1)
    order = np.argsort(-rows, 1, kind="stable")[:, :most]
    return np.asarray((order + np.arange(count)[:, None] * rows.shape[1]).ravel())


def wanted_look(
    wrapped: ModelWrapper, low: Any, high: Any, images: Any, shape: Any
) -> Look:
    """Return shape, range, colours and magnitudes of the images that are sought."""
    if images is not None:
        (images, *_) = wrapped.checked(images, "images")
    found = _shape(wrapped, images, shape)
    if images is None and (low is None or high is None):
        raise OptionError(
            "The range of an image is not known.",
            "low and high, the smallest and largest value of an image, or images",
            "low=0, high=255",
        )
    low = float(images.min()) if low is None else low
    high = float(images.max()) if high is None else high
    finite("low", low)
    finite("high", high)
    if not low < high:
        raise OptionError(f"low={low!r}, high={high!r}.", "low < high")
    if images is not None and images.shape[1:3] != found[:2]:
        images = tf.image.resize(images, found[:2], antialias=True).numpy()
    return look_of(found, low, high, images)


def _shape(wrapped: ModelWrapper, images: Any, shape: Any) -> tuple[int, int, int]:
    """Return (H, W, C) of an image; raise an error for other inputs."""
    specs = wrapped.specs
    known = None if specs is None else specs[0][0]
    if images is not None:
        known = images.shape
    if (specs and len(specs) > 1) or (known is not None and len(known) != 4):
        raise InputError(
            f"The model takes inputs of shapes {[s for s, _ in specs or ()]}.",
            "a model of one batch of images, (B, H, W, channels)",
        )
    height: Any
    width: Any
    count: Any
    height, width, count = (None, None, None) if known is None else known[1:]
    if shape is not None:
        given = tuple(shape) if isinstance(shape, list | tuple) else ()
        if len(given) not in (2, 3):
            raise OptionError(f"shape={shape!r}.", "(H, W)", "shape=(128, 128)")
        for n in given:
            whole_number("shape", n, 1)
        height, width = given[:2]
        count = given[2] if len(given) == 3 else count
    if None in (height, width, count):
        raise OptionError(
            f"The model takes images of shape {(height, width, count)}: the size is "
            "open.",
            "the size of the images to find",
            f"shape=(128, 128{'' if count else ', 3'})",
        )
    found = int(height), int(width), int(count)
    one = np.zeros((1, *found), np.float32)
    if signature(wrapped.specs, wrapped.checked(one))[0].dtype.is_integer:
        raise InputError(
            "visualize changes images continuously, and the model takes whole numbers.",
            'inputs of floats, keras.Input(..., dtype="float32")',
        )
    return found
