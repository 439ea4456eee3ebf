"""What takes part: every method with its defaults, some options, and controls."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.ndimage import laplace
from scipy.stats import rankdata

import tfxai

#: Methods of detectors, those that take minutes for a few small images, one whose
#: relevance is that of shapley_sampling, controls, those fitted for each network, and
#: one whose relevance, 1 or -1, has no order.
LEFT_OUT = (
    *("d_rise", "perturbation_cnn", "leg_tv", "shapley_interactions"),
    *("input", "random", "pattern.net", "pattern.attribution", "certified"),
)
#: Methods that need a background: samples of the network's tasks.
WITH_BACKGROUND = ("expected_gradients", "deepshap")
PIXELS = {"segmenter": "grid", "segmenter_options": {"cells": 8}, "baseline": 0}
LOGIT = {"scale": "logit"}
IMAGES, SERIES, TABLES, TOKENS = "images", "series", "tables", "tokens"
#: The networks on which options are measured beside the defaults.
CHOSEN_ON = {IMAGES: ("cnn",), SERIES: ("cnn",), TABLES: ("mlp",),
             TOKENS: ("attention", "lstm")}  # fmt: skip
#: Methods of segments. They refuse tables without a background, and tokens without a
#: baseline: they get samples of the task, and one of two ids.
SEGMENTS = ("lime", "kernel_shap", "shapley_sampling", "partition_shap", "sobol",
            "hsic", "c_shapley")  # fmt: skip
#: A token of the tasks that tells nothing; 0 is in no training sample.
FILLER = 20
#: (method, kinds of input, options): choices that may be better than the defaults.
CHOICES: tuple[tuple[str, tuple[str, ...], Mapping[str, Any]], ...] = (
    ("integrated_gradients", (IMAGES, TABLES, SERIES), {"baseline": "mean"}),
    ("integrated_gradients", (IMAGES,), {"baseline": "min"}),
    ("integrated_gradients", (TOKENS,), {"baseline": FILLER}),
    ("deeplift", (IMAGES,), {"baseline": "min"}),
    ("smoothgrad", (IMAGES, SERIES), {"base_method": "input_t_gradient"}),
    ("squaregrad", (IMAGES, SERIES), {"base_method": "input_t_gradient"}),
    ("deep_taylor", (IMAGES,), {"input_layer_rule": "w_square"}),
    ("lrp.epsilon_plus", (IMAGES,), {"input_layer_rule": "w_square"}),
    *((name, (IMAGES,), PIXELS) for name in SEGMENTS),
    *((name, (IMAGES, SERIES), LOGIT) for name in SEGMENTS),
    *((name, (TOKENS,), {"baseline": b}) for name in SEGMENTS for b in (0, FILLER)),
    *((name, (TOKENS,), {"baseline": FILLER, **LOGIT}) for name in SEGMENTS),
    *((name, (TABLES,), LOGIT) for name in SEGMENTS),
    ("occlusion", (IMAGES, SERIES), {"window": 1, "stride": 1}),
    ("occlusion", (IMAGES, SERIES), {"window": 2, "stride": 1}),
    ("occlusion", (IMAGES, SERIES), {"window": 3, "stride": 1}),
    ("occlusion", (IMAGES,), {"baseline": "min"}),
    ("occlusion", (TOKENS,), {"baseline": FILLER}),
    ("rise", (IMAGES,), {"cells": 8}),
    ("rise", (IMAGES,), {"cells": 8, **LOGIT}),
    ("leg", (IMAGES,), LOGIT),
    ("leg", (IMAGES,), {"unit": 255.0}),
    ("leg", (IMAGES,), {"unit": 6.0, **LOGIT}),
    ("leg", (IMAGES,), {"unit": 6.0, "noise": 0.05, **LOGIT}),
    ("meaningful_perturbation", (IMAGES,), {
        "cells": 8, "blur": 2.0, "jitter": 0, "tv": 0.01, "l1": 0.01,
    }),
    ("meaningful_perturbation", (IMAGES,), {"blur": 2.0, "jitter": 0}),
    ("extremal_perturbation", (IMAGES,), {"blur": 4.0}),
    ("extremal_perturbation", (IMAGES,), {"blur": 1.5}),
)  # fmt: skip
#: Controls, which ignore the model: name -> (inputs, rng) -> maps.
CONTROLS: Mapping[str, tuple[tuple[str, ...], Callable[..., np.ndarray]]] = {
    "laplace": ((IMAGES, SERIES), lambda x, rng: _edges(x)),
    "|x|": ((IMAGES, SERIES, TABLES), lambda x, rng: np.abs(x)),
    "random": ((IMAGES, SERIES, TABLES, TOKENS), lambda x, rng: rng.random(x.shape)),
}

#: A combination of three maps, chosen on the CNNs of seed 0: the mean of the places of
#: each element among those of its map, to the power `POWER`.
TOGETHER, POWER = "three together", 8
MEMBERS = ("blur_integrated_gradients", "deeplift (baseline=min)",
           "squaregrad (base_method=input_t_gradient)")  # fmt: skip


def together(maps: Sequence[np.ndarray]) -> np.ndarray:
    """Return the combination of maps (N, ...) of three methods."""
    rows = [np.abs(m.astype(float)).reshape(len(m), -1) for m in maps]
    places = [(rankdata(r, axis=1) / r.shape[1]) ** POWER for r in rows]
    return np.mean(places, 0).reshape(maps[0].shape)


def _edges(x: np.ndarray) -> np.ndarray:
    """The Laplace filter of every channel of every sample."""
    axes = tuple(range(1, x.ndim - 1))
    return np.asarray(laplace(x.astype(float), axes=axes))


def label(method: str, options: Mapping[str, Any]) -> str:
    """Return the name of a method with its options, as in the tables."""
    shown = {**options, **options.get("segmenter_options", {})}
    shown.pop("segmenter_options", None)
    text = ", ".join(f"{k}={v}" for k, v in shown.items())
    return f"{method} ({text})" if text else method


def entries(kind: str, network: str = "") -> dict[str, tuple[str, dict[str, Any]]]:
    """Return label -> (method, options) of all methods and choices for a kind.

    A network that is not one of `CHOSEN_ON` has no choices; "" is any network.
    """
    made = {m.name: (m.name, {}) for m in tfxai.methods() if m.name not in LEFT_OUT}
    for method, kinds, options in CHOICES:
        if kind in kinds and (not network or network in CHOSEN_ON[kind]):
            made[label(method, options)] = (method, dict(options))
    return made
