"""Boxes of object detectors as targets: D-RISE, other methods, gradients, figures."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tests import zoo
from tfxai import plot, targets
from tfxai.base.boxes import corners, overlaps
from tfxai.errors import (
    BlackBoxError,
    InputError,
    ModelError,
    OptionError,
    TargetError,
)
from tfxai.sampling.rise import random_masks

RNG = np.random.default_rng(0)
IMAGE = np.zeros((1, 12, 16, 1))
IMAGE[0, 2:6, 3:8], IMAGE[0, 7:11, 9:15] = 1, 2
BOXES = np.array([[3, 2, 8, 6], [9, 7, 15, 11]])


def detect(x):
    """The two boxes; their scores are the means there, their classes 0 and 2.

    A third box overlaps the first one and has its score in one column.
    """
    first = x[:, 2:6, 3:8, 0].mean((1, 2))
    second = x[:, 7:11, 9:15, 0].mean((1, 2)) / 2
    half = x[:, 2:6, 3, 0].mean(1)
    boxes = np.array([*BOXES, [3, 2, 8, 10]], float)
    return (
        np.repeat(boxes[None], len(x), 0),
        np.stack([first, second, half], 1),
        np.tile([0, 2, 0], (len(x), 1)),
    )


def area(box):
    return max(0, box[2] - box[0]) * max(0, box[3] - box[1])


def similarity(box, label, found, others, labels):
    """D-RISE's, from its definition, for one image."""
    values = []
    for b, score, c in zip(found, others, labels, strict=True):
        low, high = np.maximum(box[:2], b[:2]), np.minimum(box[2:], b[2:])
        inner = area([*low, *high])
        iou = inner / (area(box) + area(b) - inner)
        values.append(iou * float(c == label) * score)
    return max(values)


def test_the_similarity_is_that_of_the_paper():
    x = np.concatenate([IMAGE, IMAGE * 0.5, RNG.random((2, 12, 16, 1))])
    found = targets.similarity(detect, [*BOXES, [4, 2, 9, 6]], [0, 2, 0])(x)
    given = zip(*detect(x), strict=True)
    wanted = [
        [similarity(b, c, *one) for b, c in
         zip([*BOXES, [4, 2, 9, 6]], [0, 2, 0], strict=True)] for one in given
    ]  # fmt: skip
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    np.testing.assert_allclose(found[0, :2], [1, 1])
    assert targets.similarity(detect, BOXES, [1, 2])(IMAGE)[0].tolist() == [0, 1]
    assert targets.similarity(detect, BOXES)(IMAGE)[0].tolist() == [1, 1]


def test_class_probabilities_are_compared_by_their_cosine():
    p = np.array([[0.2, 0.1, 0.7], [0.5, 0.5, 0]])

    def soft(x):
        boxes = np.repeat(BOXES[None], len(x), 0)
        return {"boxes": boxes, "scores": np.repeat(p[None], len(x), 0),
                "objectness": np.tile([0.5, 1], (len(x), 1))}  # fmt: skip

    q = np.array([[0, 0.3, 0.4], [0, 1, 0]])
    found = targets.similarity(soft, BOXES, q)(IMAGE)[0]
    cosine = (p * q).sum(1) / np.linalg.norm(p, axis=1) / np.linalg.norm(q, axis=1)
    np.testing.assert_allclose(found, cosine * [0.5, 1])
    labels = targets.similarity(soft, BOXES, [2, 0])(IMAGE)[0]
    unit = p / np.linalg.norm(p, axis=1, keepdims=True)
    np.testing.assert_allclose(labels, [unit[0, 2] * 0.5, unit[1, 0]])


def padded(x):
    """As KerasHub: a dict, -1 behind the last box."""
    boxes, scores, labels = (np.array(v[:, :2], float) for v in detect(x))
    boxes = np.concatenate([boxes, np.full((len(x), 2, 4), -1.0)], 1)
    scores = np.concatenate([scores, np.full((len(x), 2), -1.0)], 1)
    labels = np.concatenate([labels, np.full((len(x), 2), -1)], 1).astype(int)
    return {"boxes": boxes, "confidence": scores, "labels": labels,
            "num_detections": np.full(len(x), 2)}  # fmt: skip


def listed(x):
    """As torchvision: a list of dicts of different lengths."""
    rows = zip(*detect(x), strict=True)
    return [{"boxes": b[s > 0], "scores": s[s > 0], "labels": c[s > 0]}
            for b, s, c in rows]  # fmt: skip


def predicted(x):
    """As `predict` of a Keras model of three outputs, also for three images."""
    return list(detect(x))


def swapped(x):
    """As TensorFlow's Object Detection API, y before x."""
    boxes, scores, labels = detect(x)
    return {"detection_boxes": boxes[..., [1, 0, 3, 2]], "detection_scores": scores,
            "detection_classes": labels.astype("float32")}  # fmt: skip


@pytest.mark.parametrize("other", [padded, listed, swapped, predicted])
def test_what_detectors_return_is_read(other):
    x = np.concatenate([IMAGE, 0 * IMAGE, IMAGE * 0.5])
    boxes = BOXES[:, [1, 0, 3, 2]] if other is swapped else BOXES
    given = {"box_format": "yxyx"} if other is swapped else {}
    found = targets.similarity(other, boxes, [0, 2], **given)(x)
    np.testing.assert_allclose(found, targets.similarity(detect, BOXES, [0, 2])(x))
    assert found[1].tolist() == [0, 0]


def test_d_rise_is_the_mean_of_masks_weighted_by_the_similarity():
    options = {"n_samples": 70, "cells": 4, "seed": 3}
    e = tfxai.explain(
        detect, IMAGE, "d_rise", [[0, 1]], boxes=BOXES, classes=[0, 2], **options
    )
    masks = np.concatenate(list(random_masks(3, 70, 4, 0.5, (12, 16))))
    y = targets.similarity(detect, BOXES, [0, 2])(IMAGE * masks[..., None])
    wanted = np.einsum("nt,nhw->thw", y, masks) / 35
    np.testing.assert_allclose(e.relevance[0, ..., 0], wanted, rtol=1e-5)
    np.testing.assert_allclose(e.extra["mean"][0], y.mean(0), rtol=1e-6)
    np.testing.assert_allclose(e.score, [[1, 1]])
    inside = e.relevance[0, 0, 2:6, 3:8].mean(), e.relevance[0, 1, 7:11, 9:15].mean()
    assert (inside > e.relevance[0].mean((1, 2, 3)) + 0.02).all()


def test_other_methods_explain_a_box():
    cells = np.zeros((12, 16), int)
    cells[2:6, 3:8], cells[7:11, 9:15] = 1, 2
    model = targets.similarity(detect, BOXES, [0, 2])
    for method in ("kernel_shap", "occlusion"):
        given = {"segments": cells} if method == "occlusion" else {"segmenter": cells}
        e = tfxai.explain(model, IMAGE, method, [[0, 1]], baseline=0, **given)
        np.testing.assert_allclose(e.relevance[0, 0, ..., 0], cells == 1, atol=1e-6)
        np.testing.assert_allclose(e.relevance[0, 1, ..., 0], cells == 2, atol=1e-6)


def test_boxes_of_formats_and_without_an_area():
    one = [[3.0, 2, 8, 6]]
    for name, box in (("yxyx", [2, 3, 6, 8]), ("xywh", [3, 2, 5, 4]),
                      ("rel_center_xywh", [5.5, 4, 5, 4])):  # fmt: skip
        np.testing.assert_array_equal(corners([box], name), one)
    bad = np.array([[0, 0, 0, 0], [np.inf, 0, np.inf, 1], [np.nan] * 4, [9, 9, 8, 8]])
    assert (overlaps(np.array(one), bad) == 0).all()


@pytest.mark.parametrize(
    "options, error, text",
    [
        ({}, OptionError, "d_rise has no boxes"),
        ({"boxes": [1, 2, 3]}, InputError, "four numbers"),
        ({"boxes": [[3, 2, 3, 6]]}, InputError, "no area"),
        ({"boxes": [[2, 3, 6, 1]]}, InputError, "no area"),
        ({"boxes": BOXES, "classes": [1]}, InputError, r"classes has shape \(1,\)"),
        ({"boxes": BOXES, "classes": [0.5, 1]}, InputError, "classes has shape"),
        ({"boxes": BOXES, "box_format": "ltrb"}, OptionError, "box_format='ltrb'"),
        ({"boxes": BOXES, "keep": 0}, OptionError, "keep=0"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, error, text):
    with pytest.raises(error, match=text):
        tfxai.explain(detect, IMAGE, "d_rise", 0, **options)


@pytest.mark.parametrize(
    "model, text",
    [
        (lambda x: x, "returned ndarray"),
        (lambda x: {"boxes": BOXES}, r"no \['scores'\]"),
        (lambda x: [(BOXES, [1, 1])] * 7, "a list of 7"),
        (lambda x: (BOXES, np.ones(2), np.ones(2)), r"boxes of shape \(2, 4\)"),
    ],
)
def test_what_is_no_detector_is_named(model, text):
    with pytest.raises(ModelError, match=text):
        tfxai.explain(model, IMAGE, "d_rise", 0, boxes=BOXES)


def network():
    """A detector of one stage: four logits at each of 12 anchors, and their boxes."""
    x = keras.Input((12, 16, 1))
    y = keras.layers.Conv2D(6, 4, 4, activation="relu")(x)
    boxes = keras.layers.Reshape((12, 4))(keras.layers.Conv2D(4, 1)(y))
    logits = keras.layers.Reshape((12, 3))(keras.layers.Conv2D(3, 1)(y))
    return zoo.fill(keras.Model(x, {"boxes": boxes, "logits": logits}))


def test_gradients_and_lrp_of_the_score_of_one_box():
    model, x = network(), RNG.normal(size=(1, 12, 16, 1)).astype("float32")
    places = [[4 * j, 4 * i, 4 * j + 4, 4 * i + 4] for i in range(3) for j in range(4)]
    logits = model(x)["logits"].numpy()[0]
    target = targets.anchor(places, logits, [4, 4, 8, 8.5], 2)
    assert target == (5, 2)
    wrapped = tfxai.wrap(model, output=1)
    for method in ("gradient", "lrp.epsilon"):
        e = tfxai.explain(wrapped, x, method, target)
        np.testing.assert_allclose(e.score, [logits[5, 2]], rtol=1e-5)
        own = np.abs(e.relevance[0, 4:8, 4:8]).sum()
        assert 0 < own == pytest.approx(np.abs(e.relevance).sum(), rel=1e-6)
    with pytest.raises(BlackBoxError, match=r"detector\.predict"):
        tfxai.explain(model, x, "d_rise", 0, boxes=BOXES)


@pytest.mark.slow
def test_a_retinanet_of_keras_hub():
    """Its own boxes are explained by D-RISE, by gradients and by LRP."""
    hub = pytest.importorskip("keras_hub").models
    keras.utils.set_random_seed(0)
    encoder = hub.ResNetBackbone(
        input_conv_filters=[64], input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 16, 16], stackwise_num_blocks=[1, 1, 1],
        stackwise_num_strides=[1, 2, 2], block_type="basic_block",
        image_shape=(64, 64, 3),
    )  # fmt: skip
    backbone = hub.RetinaNetBackbone(
        image_encoder=encoder, min_level=3, max_level=4, use_p5=False,
        image_shape=(64, 64, 3),
    )  # fmt: skip
    model = hub.RetinaNetObjectDetector(
        backbone=backbone, num_classes=3, bounding_box_format="xyxy",
        pre_logits_num_conv_layers=1,
    )  # fmt: skip
    for name, scale in (("box_head", 0.0), ("classification_head", 0.02)):
        layer = model.get_layer(name)
        for v in layer.weights[-2:]:
            v.assign(v * scale)
    x = RNG.uniform(0, 255, (1, 64, 64, 3)).astype("float32")

    def predict(v):
        return model.decode_predictions(model(v, training=False), v)

    found = {k: np.asarray(v) for k, v in predict(x).items()}
    box, label = found["boxes"][0, 0], int(found["labels"][0, 0])

    e = tfxai.explain(
        predict, x, "d_rise", 0, boxes=[box], classes=[label], n_samples=8, cells=4
    )
    np.testing.assert_allclose(e.score, found["confidence"][0, :1], rtol=1e-4)
    raw, every = model(x), model.anchor_generator(x)
    places = np.concatenate([np.asarray(v) for v in every.values()])
    logits = np.asarray(raw["cls_logits"])[0]
    target = targets.anchor(places, logits, box, label)
    wanted = 1 / (1 + np.exp(-logits[target]))
    np.testing.assert_allclose(found["confidence"][0, 0], wanted, rtol=1e-4)
    with tf.GradientTape() as tape:
        t = tf.constant(x)
        tape.watch(t)
        score = model(t)["cls_logits"][0, target[0], target[1]]
    wrapped = tfxai.wrap(model, output=1)
    e = tfxai.explain(wrapped, x, "gradient", target)
    wanted = tape.gradient(score, t).numpy()
    np.testing.assert_allclose(e.relevance, wanted, atol=1e-4 * np.abs(wanted).max())
    e = tfxai.explain(wrapped, x, "lrp.epsilon", target)
    np.testing.assert_allclose(e.score, [logits[target]], rtol=1e-4)
    assert np.abs(e.relevance).max() > 0


def test_the_anchor_of_a_box():
    same = [[0, 0, 4, 4], [0, 0, 4, 4], [9, 9, 12, 12], [0, 0, 4, 5]]
    scores = np.array([[1, 5], [2, 3], [9, 9], [8, 8]])
    assert targets.anchor(same, scores, [0, 0, 4, 4], 0) == (1, 0)
    assert targets.anchor(same, scores, [0, 0, 4, 4], 1) == (0, 1)
    with pytest.raises(InputError, match="No box of an anchor overlaps"):
        targets.anchor(same, scores, [20, 20, 30, 30], 0)
    with pytest.raises(InputError, match="class 2"):
        targets.anchor(same, scores, [0, 0, 4, 4], 2)


def test_a_figure_has_the_box_of_each_target():
    e = tfxai.explain(
        detect, IMAGE, "d_rise", [[0, 1]], boxes=BOXES, n_samples=20, cells=4
    )
    figure = plot.boxes(e, BOXES, names=["cup", "dog"])
    drawn = [a.get_images()[0].get_array() for a in figure.axes]
    yellow = [np.all(np.abs(d - [1, 0.824, 0.122]) < 0.01, -1) for d in drawn]
    for marked, (x0, y0, x1, y1) in zip(yellow, BOXES, strict=True):
        wanted = np.zeros((12, 16), bool)
        wanted[y0:y1, x0:x1] = True
        wanted[y0 + 1 : y1 - 1, x0 + 1 : x1 - 1] = False
        np.testing.assert_array_equal(marked, wanted)
    written = [t.get_text() for t in figure.texts]
    assert {"cup", "dog"} <= set(written)
    relative = BOXES / [16, 12, 16, 12]
    same = plot.boxes(e, relative, "rel_xyxy")
    np.testing.assert_array_equal(same.axes[1].get_images()[0].get_array(), drawn[1])
    with pytest.raises(InputError, match="Target 2 of 2 boxes"):
        plot.boxes(tfxai.explain(detect, IMAGE, "d_rise", 2, n_samples=9, cells=4,
                                 boxes=[*BOXES, [0, 0, 3, 3]]), BOXES)  # fmt: skip


# -- targets without a gradient ------------------------------------------------------


def scores(v):
    return v @ np.array([[1.0, 0, 0], [0, 1, 0], [0, 0.5, 1]])


def test_a_rank_and_a_threshold_are_targets_of_methods_without_gradients():
    x = np.array([[1.0, 3, 4]])

    def rank(y):
        return (np.argsort(-np.asarray(y), 1) == 1).argmax(1)

    def above(y):
        return np.asarray(y)[:, 1] > 4

    both = np.array([[0.0, 0.5, 0.5]])  # y_1 = 5 from two columns
    e = tfxai.explain(scores, x, "kernel_shap", above, baseline=0)
    np.testing.assert_allclose(e.relevance, both, atol=1e-9)
    assert e.score.tolist() == [1]
    e = tfxai.explain(scores, x, "kernel_shap", rank, baseline=0)
    np.testing.assert_allclose(e.relevance.sum(), e.score - e.extra["baseline_score"])
    i = keras.Input((3,))
    model = zoo.fill(keras.Model(i, keras.layers.Dense(2)(i)))
    e = tfxai.explain(model, x, "kernel_shap", lambda y: y[:, 0] > 0, baseline=0)
    z = np.asarray(model(x))[0, 0]
    assert e.score.tolist() == [float(z > 0)]
    with pytest.raises(TargetError, match="rank, a threshold"):
        tfxai.explain(model, x, "gradient", lambda y: y[:, 0] > 0)
