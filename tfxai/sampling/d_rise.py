"""D-RISE: RISE of the similarity between a detector's boxes and given ones.

Petsiuk et al. 2021, arXiv:2006.03204. The masks are those of RISE.
"""

from functools import partial
from typing import Any

from tfxai.base.errors import BlackBoxError, OptionError
from tfxai.core.analyzer import Analyzer
from tfxai.core.detections import similarity
from tfxai.core.model import ModelWrapper
from tfxai.core.registry import MethodSpec, register
from tfxai.sampling.rise import Rise, RiseConfig, warn_of_error


def d_rise(
    wrapped: ModelWrapper,
    boxes: Any = None,
    classes: Any = None,
    box_format: str = "xyxy",
    n_samples: int = 5000,
    cells: int = 16,
    keep: float = 0.5,
    baseline: Any = "black",
    seed: int = 0,
    tolerance: float | None = None,
    target: Any = None,
) -> Analyzer:
    """Return an analyzer for the mean similarity to a box where a position is visible.

    The model is a detector: a callable that returns boxes, scores and classes. Box i of
    `boxes` is target i, and its similarity to what the detector finds is

        max over the found boxes j of IoU_ij cos(classes_i, classes_j) score_j.

    `relevance` (B, H, W, 1) is the mean of the similarity times the mask, divided by
    `keep`. `extra` is that of `rise`: mean, standard_error and an interval of 95 %.

    Args:
        wrapped: The wrapped detector, a callable on NumPy batches such as
            `detector.predict`. It returns (boxes, scores, classes), a dict of these, or
            a list with one such result for each image; padding is left out where there
            is `num_detections`.
        boxes: The boxes that are explained, (N, 4), in the units of the detector.
        classes: Their classes, (N,), or class probabilities, (N, C). None: any class.
        box_format: Format of all boxes: "xyxy", "yxyx", "xywh" or "center_xywh".
        n_samples: Number of random masks.
        cells: Number of cells of the coarse random grid along each axis.
        keep: Probability that a cell is visible, between 0 and 1.
        baseline: What replaces the image where the mask is 0: "black", "blur", a number
            or an array.
        seed: Seed of the random masks.
        tolerance: Relative standard error of the map at which sampling stops, before
            n_samples. None uses all n_samples.
        target: The number of a box, or several. None is the most similar one.

    Returns:
        The analyzer.

    Raises:
        BlackBoxError: The model is no callable on NumPy batches.
        InputError: The boxes have no area, or the classes do not fit them.
        OptionError: There are no boxes, or an option is out of range.

    Warns:
        InexactWarning: The standard error is above `tolerance` after all n_samples.

    References:
        Petsiuk et al. 2021, arXiv:2006.03204.
    """
    if boxes is None:
        raise OptionError(
            "d_rise has no boxes.",
            "the boxes that are explained, such as those that the detector finds",
            "boxes=detect(x)[0][0, :2], classes=detect(x)[2][0, :2]",
        )
    if wrapped.differentiable:
        raise BlackBoxError(
            "d_rise needs the boxes that a detector returns in the end.",
            "a callable on NumPy batches",
            "model=detector.predict; or a gradient or relevance method with "
            "target=tfxai.targets.anchor(...)",
        )
    model = similarity(wrapped.model, boxes, classes, box_format)
    found = ModelWrapper(model, wrapped.preprocess)
    config = RiseConfig(
        found, n_samples, cells, keep, baseline, "auto", seed, "float32", tolerance
    )
    make, check = partial(Rise, config), partial(warn_of_error, config)
    return Analyzer(
        "d_rise", found, make, target, config.settings, check, together=True
    )


register(
    MethodSpec(
        "d_rise", "sampling", "RISE of the similarity to a box of a detector",
        "a callable that returns boxes, scores and classes; `boxes=`",
        "Petsiuk et al. 2021, arXiv:2006.03204", d_rise,
        formula="R = mean over masks m of s(m) m / keep, s = max over the found boxes "
        "of IoU * cos(classes) * score",
        limits='Small objects need small cells and many masks; with few masks the map '
        'is noise: see extra["standard_error"].',
        also_in="vision-explanation-methods, Xplique (Tasks.OBJECT_DETECTION)",
    )
)  # fmt: skip
