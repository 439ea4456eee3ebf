"""What takes part: every method with its defaults, some options, and controls."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy.ndimage import laplace

import tfxai

#: Methods of detectors, those that take minutes for a few small images, one whose
#: relevance is that of shapley_sampling, controls, and those fitted for each network.
LEFT_OUT = (
    *("d_rise", "perturbation_cnn", "leg_tv", "shapley_interactions"),
    *("input", "random", "pattern.net", "pattern.attribution"),
)
GRID = {"segmenter": "grid", "segmenter_options": {"cells": 8}}
IMAGES, SERIES, TABLES, TOKENS = "images", "series", "tables", "tokens"
#: (method, kinds of input, options): choices that may be better than the defaults.
CHOICES: tuple[tuple[str, tuple[str, ...], Mapping[str, Any]], ...] = (
    ("integrated_gradients", (IMAGES, TABLES, SERIES), {"baseline": "mean"}),
    ("integrated_gradients", (IMAGES,), {"baseline": "min"}),
    ("integrated_gradients", (TOKENS,), {"baseline": 20}),
    ("deeplift", (IMAGES,), {"baseline": "min"}),
    ("smoothgrad", (IMAGES, SERIES), {"base_method": "input_t_gradient"}),
    ("squaregrad", (IMAGES, SERIES), {"base_method": "input_t_gradient"}),
    ("deep_taylor", (IMAGES,), {"input_layer_rule": "w_square"}),
    ("lrp.epsilon_plus", (IMAGES,), {"input_layer_rule": "w_square"}),
    ("lime", (IMAGES,), GRID),
    ("lime", (IMAGES,), {**GRID, "baseline": 0}),
    ("kernel_shap", (IMAGES,), GRID),
    ("kernel_shap", (IMAGES,), {**GRID, "baseline": 0}),
    ("kernel_shap", (SERIES,), {"segmenter_options": {"cells": 16}}),
    ("kernel_shap", (TOKENS,), {"baseline": 20}),
    ("lime", (TOKENS,), {"baseline": 20}),
    ("shapley_sampling", (IMAGES,), {**GRID, "baseline": 0}),
    ("occlusion", (IMAGES, SERIES), {"window": 1, "stride": 1}),
    ("occlusion", (IMAGES, SERIES), {"window": 2, "stride": 1}),
    ("occlusion", (IMAGES, SERIES), {"window": 3, "stride": 1}),
    ("occlusion", (TOKENS,), {"baseline": 20}),
    ("rise", (IMAGES,), {"cells": 4}),
    ("rise", (IMAGES,), {"cells": 4, "baseline": "mean"}),
    ("leg", (IMAGES,), {"base_size": 8}),
    ("leg", (IMAGES,), {"base_size": 8, "noise": 0.3}),
    ("meaningful_perturbation", (IMAGES,), {"cells": 8, "blur": 2.0, "jitter": 0}),
    ("meaningful_perturbation", (IMAGES,), {
        "cells": 8, "blur": 2.0, "jitter": 0, "tv": 0.1, "l1": 0.05,
    }),
    ("extremal_perturbation", (IMAGES,), {"blur": 2.0, "stride": 1, "sigma": 1.0}),
)  # fmt: skip
#: Controls, which ignore the model: name -> (inputs, rng) -> maps.
CONTROLS: Mapping[str, tuple[tuple[str, ...], Callable[..., np.ndarray]]] = {
    "laplace": ((IMAGES, SERIES), lambda x, rng: _edges(x)),
    "|x|": ((IMAGES, SERIES, TABLES), lambda x, rng: np.abs(x)),
    "random": ((IMAGES, SERIES, TABLES, TOKENS), lambda x, rng: rng.random(x.shape)),
}


def _edges(x: np.ndarray) -> np.ndarray:
    """The Laplace filter of every channel of every sample."""
    axes = tuple(range(1, x.ndim - 1))
    return np.asarray(laplace(x.astype(float), axes=axes))


def label(method: str, options: Mapping[str, Any]) -> str:
    """Return the name of a method with its options, as in the tables."""
    shown = {**options, **options.get("segmenter_options", {})}
    shown.pop("segmenter_options", None)
    told = ", ".join(f"{k}={v}" for k, v in shown.items())
    return f"{method} ({told})" if told else method


def entries(kind: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return label -> (method, options) of all methods and choices for a kind."""
    made = {m.name: (m.name, {}) for m in tfxai.methods() if m.name not in LEFT_OUT}
    for method, kinds, options in CHOICES:
        if kind in kinds:
            made[label(method, options)] = (method, dict(options))
    return made
