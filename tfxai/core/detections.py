"""Object detectors: what they return, and the similarity of their boxes to given ones.

The similarity is that of D-RISE (Petsiuk et al. 2021, arXiv:2006.03204, eq. 3 to 6):

    s(d, d_j) = IoU(box, box_j) cos(P, P_j) O_j,   s(d, f(x)) = max over j,

with the class probabilities P and the objectness O_j of the boxes j of an image.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from tfxai.base.boxes import corners, overlaps
from tfxai.base.errors import InputError, ModelError
from tfxai.base.validation import is_int

Array = np.ndarray[Any, Any]
#: What detectors call the parts of a result.
KEYS = {
    "boxes": ("boxes", "detection_boxes", "bboxes"),
    "scores": ("scores", "confidence", "detection_scores", "probabilities"),
    "classes": ("classes", "labels", "class_ids", "detection_classes"),
    "objectness": ("objectness",),
    "count": ("num_detections",),
}
_WANTED = (
    "(boxes (B, n, 4), scores (B, n), classes (B, n)), a dict of these, or a list with "
    "one such result for each image",
    'model=lambda x: {"boxes": ..., "scores": ..., "classes": ...}',
)


class Found(NamedTuple):
    """The boxes of one image.

    boxes: (n, 4). objectness: (n,). classes: whole numbers (n,), or probabilities (n,
    C), or None.
    """

    boxes: Array
    objectness: Array
    classes: Array | None


def read(result: Any, count: int) -> list[Found]:
    """Return the boxes of each image, from what a detector returns.

    Args:
        result: (boxes, scores, classes) as a tuple, a list of arrays as `predict` of
            Keras returns, or a dict; for all images, or a list with one such tuple or
            dict for each. Scores (n,) are the objectness, scores (n, C) the
            probabilities of classes.
        count: The number of images.

    Raises:
        ModelError: It is none of these.
    """
    if isinstance(result, list) and all(hasattr(r, "shape") for r in result):
        result = tuple(result)
    if isinstance(result, list):
        if len(result) != count:
            raise _unreadable(f"a list of {len(result)}", count)
        return [_of_image(_parts(r, count)) for r in result]
    parts = _parts(result, count)
    for name, array in parts.items():
        if len(array) != count:
            raise _unreadable(f"{name} of shape {array.shape}", count)
    return [_of_image({k: v[b] for k, v in parts.items()}) for b in range(count)]


def _unreadable(seen: str, count: int) -> ModelError:
    return ModelError(f"The detector returned {seen} for {count} image(s).", *_WANTED)


def _parts(result: Any, count: int) -> dict[str, Array]:
    """The arrays of a result, by our names."""
    if isinstance(result, tuple) and 2 <= len(result) <= 3:
        named = dict(zip(("boxes", "scores", "classes"), result, strict=False))
    elif isinstance(result, Mapping):
        named = {
            name: result[key]
            for name, keys in KEYS.items()
            if (key := next((k for k in keys if k in result), None)) is not None
        }
    else:
        raise _unreadable(f"{type(result).__name__}", count)
    missing = {"boxes", "scores"} - set(named)
    if missing:
        given = list(result) if isinstance(result, Mapping) else len(result)
        raise _unreadable(f"no {sorted(missing)}, but {given},", count)
    return {k: np.asarray(v) for k, v in named.items()}


def _of_image(parts: dict[str, Array]) -> Found:
    """The boxes of one image, without padding behind the last one."""
    n = int(parts["count"]) if "count" in parts else len(parts["boxes"])
    boxes = np.asarray(parts["boxes"], float).reshape(-1, 4)[:n]
    scores = np.asarray(parts["scores"], float)[:n]
    if scores.ndim == 2:
        own = np.asarray(parts.get("objectness", np.ones(len(boxes))), float)[:n]
        return Found(boxes, own, scores)
    classes = parts["classes"][:n] if "classes" in parts else None
    return Found(boxes, scores, None if classes is None else classes.astype(int))


class Similarity:
    """A detector as a callable that returns the similarity to given boxes, (B, N).

    Every method that takes a callable explains it. It is 0 where no box overlaps.
    """

    def __init__(
        self,
        detect: Callable[..., Any],
        boxes: Any,
        classes: Any = None,
        box_format: str = "xyxy",
    ) -> None:
        self._detect, self._format = detect, box_format
        self.boxes = corners(np.atleast_2d(np.asarray(boxes)), box_format)
        self.classes = _checked_classes(classes, len(self.boxes))
        if not len(self.boxes) or not (self.boxes[:, 2:] > self.boxes[:, :2]).all():
            raise InputError(
                f"boxes={np.asarray(boxes).tolist()!r}"[:200] + " have no area.",
                f"boxes of an area, in the format {box_format!r}",
                'box_format="yxyx", or another format',
            )

    def __call__(self, x: Any) -> Array:
        """Return the similarities (B, N) of a batch of images."""
        first = next(iter(x.values())) if isinstance(x, Mapping) else x
        found = read(self._detect(x), len(first))
        return np.stack([self._of_image(f) for f in found])

    def _of_image(self, found: Found) -> Array:
        """The similarity (N,) of the boxes to those of one image."""
        if not len(found.boxes):
            return np.zeros(len(self.boxes))
        same = overlaps(self.boxes, corners(found.boxes, self._format))
        weight = np.clip(np.nan_to_num(found.objectness), 0, None)
        return np.asarray((same * self._cosines(found) * weight).max(1))

    def _cosines(self, found: Found) -> Array:
        """The cosine (N, n) of the class probabilities; of classes, equal or not."""
        own, other = self.classes, found.classes
        if own is None or other is None:
            return np.ones((len(self.boxes), len(found.boxes)))
        if own.ndim == 1 and other.ndim == 1:
            return np.asarray(own[:, None] == other, float)
        size = max(_size(own), _size(other))
        a, b = (_unit(v, size) for v in (own, other))
        return np.asarray(a @ b.T)


def _size(classes: Array) -> int:
    return classes.shape[1] if classes.ndim == 2 else int(classes.max(initial=0)) + 1


def _unit(classes: Array, size: int) -> Array:
    """Class numbers or probabilities as unit vectors (n, size)."""
    if classes.ndim == 1:
        return np.asarray(classes[:, None] == np.arange(size), float)
    length = np.linalg.norm(classes, axis=1, keepdims=True)
    unit = classes / np.where(length > 0, length, 1)
    return np.pad(unit, ((0, 0), (0, size - unit.shape[1])))


def _checked_classes(classes: Any, count: int) -> Array | None:
    """The classes of given boxes: numbers (N,), probabilities (N, C), or None."""
    if classes is None:
        return None
    array = np.atleast_1d(np.asarray(classes))
    whole = array.ndim == 1 and (array.dtype.kind in "iu" or not np.mod(array, 1).any())
    if len(array) != count or not (whole or array.ndim == 2):
        raise InputError(
            f"classes has shape {array.shape} for {count} box(es).",
            "a class for each box, (N,), or its class probabilities, (N, C)",
            "classes=[3]",
        )
    return array.astype(int) if whole else array.astype(float)


def similarity(
    detect: Callable[..., Any],
    boxes: Any,
    classes: Any = None,
    box_format: str = "xyxy",
) -> Similarity:
    """Return a callable (B, N): how well a detector finds each of N boxes in an image.

    `tfxai.explain(similarity(detect, boxes), x, "kernel_shap", target=0)` explains the
    first box, by any method for callables.

    Args:
        detect: The detector, a callable on NumPy batches such as `detector.predict`. It
            returns (boxes, scores, classes), a dict of these, or a list with one such
            result for each image.
        boxes: The boxes that are explained, (N, 4), in the units of the detector.
        classes: Their classes, (N,), or class probabilities, (N, C); None: any class.
        box_format: "xyxy", "yxyx", "xywh" or "center_xywh", of all boxes.

    Raises:
        InputError: The boxes have no area, or the classes do not fit them.
        OptionError: The format is unknown.
    """
    return Similarity(detect, boxes, classes, box_format)


def anchor(
    boxes: Any, scores: Any, box: Any, index: int, box_format: str = "xyxy"
) -> tuple[int, int]:
    """Return the target (anchor, class) of a detected box, before suppression.

    A model that returns a score for each anchor and class, (B, anchors, classes), such
    as `cls_logits` of a RetinaNet, is explained for it by gradients and LRP:
    `tfxai.explain(tfxai.wrap(model, output=1), x, "lrp.epsilon", target=anchor(...))`.

    Args:
        boxes: The boxes of all anchors in one image, (anchors, 4).
        scores: Their scores or logits, (anchors, classes).
        box: The detected box, (4,).
        index: Its class.
        box_format: The format of the boxes, as for `similarity`.

    Raises:
        InputError: No box of an anchor overlaps, or the shapes do not fit.
    """
    every, logits = corners(boxes, box_format), np.asarray(scores, float)
    shaped = every.ndim == 2 and logits.ndim == 2 and len(logits) == len(every)
    if not shaped or not is_int(index) or not 0 <= index < logits.shape[1]:
        raise InputError(
            f"boxes {every.shape}, scores {logits.shape} and class {index!r}.",
            "boxes (anchors, 4), scores (anchors, classes) and one of the classes",
            "tfxai.targets.anchor(boxes[0], scores[0], box, 2)",
        )
    same = overlaps(np.atleast_2d(corners(box, box_format)), every)[0]
    if not same.max(initial=0) > 0:
        raise InputError(
            f"No box of an anchor overlaps {np.asarray(box).tolist()}.",
            "a box that the detector found in this image",
            'box_format="yxyx", or another format',
        )
    near = same >= 0.99 * same.max()
    best = int(np.where(near, logits[:, index], -np.inf).argmax())
    return best, int(index)
