"""What is compared: a row per case, in it a cell per peer that can do it.

A new case is a row, a new peer one more name in its cells and a row of `venvs.PEERS`.
"""

import json
from dataclasses import dataclass, field, replace
from typing import Any

CHANCE = "samples by chance"
KINK = "rounding at a kink of a ReLU; float32 is as far from float64"
CUBIC = "enlarged by cubic curves, ours by lines"
CORNERS = "enlarged from corner to corner, ours from cell to cell"
BIAS = "adds both signs of the bias to both sums"
BRANCH = "gives every branch of a sum all of R"
CANCEL = "the halves all but cancel: what is left is rounding"


@dataclass(frozen=True)
class How:
    """A method by its peer's name, its options, and where and why its maps are apart.

    apart: {network, or "" for all: the reason}. Maps that are apart without one are
    said to be so. like: options of ours, beside those it is timed with, that make the
    peer's map, to be compared with; absolute: of its absolute value.
    """

    method: str
    options: dict[str, Any] = field(default_factory=dict)
    apart: dict[str, str] = field(default_factory=dict)
    like: dict[str, Any] = field(default_factory=dict)
    absolute: bool = False

    def reason(self, network: str) -> str:
        """Why the maps are apart, or ""."""
        return self.apart.get(network, self.apart.get("", ""))

    def __str__(self) -> str:
        """The method and its options in one line."""
        return f"{self.method} {json.dumps(self.options)}"


def how(method: str, apart: Any = None, /, **options: Any) -> How:
    """A cell."""
    return How(method, options, {"": apart} if isinstance(apart, str) else apart or {})


def beside(cell: How, absolute: bool = False, **like: Any) -> How:
    """A cell that is compared with ours made like it."""
    return replace(cell, like=like, absolute=absolute)


_BOX: dict = {"low": True, "high": True}  # the network's range, known to the worker
_BN = {"ResNet50": BRANCH + "; its own normalisation"}
_BN["MobileNetV2"] = _BN["ResNet50"]
_TWO = {**_BN, "VGG16": CANCEL}
_KINK = {"ResNet50": KINK, "MobileNetV2": KINK}
_REAL = {"SqueezeNet": BIAS}
_SIX = {"MobileNetV2": "passes over ReLU6: a plain gradient"}
_1000 = {"n_samples": 1000}
_GRID = {"segmenter": "given", "baseline": "black", "scale": "probability"}

CASES: dict[str, dict[str, How]] = {
    "gradient": {
        "ours": how("gradient"),
        "zennit": how("gradient", _KINK),
        "captum": how("saliency", _KINK),
        "innvestigate": how("gradient"),
        "xplique": beside(how("Saliency", _KINK), absolute=True),
        "tf_keras_vis": how("saliency", _KINK),
        "tf_explain": how("gradients", "a picture of 8 bits"),
    },
    "guided backprop": {
        "ours": how("guided_backprop"),
        "zennit": how("guided", _SIX),
        "captum": how("guided", _SIX),
        "innvestigate": how("guided_backprop"),
        "xplique": how("GuidedBackprop"),
    },
    "IG(50)": {
        "ours": how("integrated_gradients", n_steps=50),
        "captum": how("integrated", _KINK, steps=50),
        "innvestigate": beside(
            how("integrated_gradients", steps=50), quadrature="left"
        ),
        "xplique": beside(
            how("IntegratedGradients", _KINK, steps=50), quadrature="trapezoid"
        ),
    },
    "LRP-epsilon": {
        "ours": how("lrp.epsilon", epsilon=1e-6),
        "zennit": how("epsilon", _KINK),
        "innvestigate": how("lrp.epsilon", _BN, epsilon=1e-6),
    },
    "z+": {
        "ours": how("lrp.z_plus"),
        "innvestigate": how("lrp.z_plus", _BN),
    },
    "EpsilonPlus": {
        "ours": how("lrp.epsilon_plus"),
        "zennit": how("epsilon_plus"),
    },
    "alpha2beta1": {
        "ours": how("lrp.alpha_2_beta_1"),
        "zennit": how("alpha_beta"),
        "innvestigate": how("lrp.alpha_2_beta_1", {**_BN, **_REAL}),
    },
    "EpsilonAlpha2Beta1": {
        "ours": how("lrp.epsilon_alpha2_beta1"),
        "zennit": how("epsilon_alpha2_beta1"),
    },
    "preset A-flat": {
        "ours": how("lrp.sequential_preset_a_flat"),
        "innvestigate": how("lrp.sequential_preset_a_flat", {**_BN, **_REAL}),
    },
    "preset B-flat": {
        "ours": how("lrp.sequential_preset_b_flat"),
        "innvestigate": how("lrp.sequential_preset_b_flat", {**_BN, **_REAL}),
    },
    "EpsilonGammaBox": {
        "ours": how("lrp.epsilon_gamma_box", **_BOX),
        "zennit": how("epsilon_gamma_box"),
    },
    "deep Taylor, bounded": {
        "ours": how("deep_taylor.bounded", **_BOX),
        "innvestigate": beside(
            how("deep_taylor.bounded", _BN, **_BOX), rules="innvestigate"
        ),
    },
    "CLRP": {
        "ours": how("clrp", relu_logits=True, **_BOX),
        "innvestigate": beside(how("clrp", _TWO), rules="innvestigate"),
    },
    "SGLRP": {
        "ours": how("sglrp", relu_logits=True, **_BOX),
        "innvestigate": beside(how("sglrp", _TWO), rules="innvestigate"),
    },
    "Grad-CAM": {
        "ours": how("gradcam"),
        "captum": beside(how("gradcam"), resize="none"),
        "xplique": beside(how("GradCAM", CUBIC), relu=True),
        "tf_keras_vis": how("gradcam", CORNERS),
        "tf_explain": how("gradcam", "a picture of 8 bits"),
    },
    "LIME 1000": {
        "ours": how("lime", regressor="ridge", **_GRID, **_1000),
        "lime": how("lime", CHANCE, **_1000),
        "captum": how("lime", CHANCE, **_1000),
        "xplique": how("Lime", CHANCE, **_1000),
    },
    "KernelSHAP 1000": {
        "ours": how("kernel_shap", **_GRID, **_1000),
        "shap": how("kernel", CHANCE, **_1000),
        "captum": how("kernel_shap", CHANCE, **_1000),
        "xplique": how("KernelShap", CHANCE, **_1000),
    },
    "RISE 1000": {
        "ours": how("rise", scale="probability", **_1000),
        "xplique": how("Rise", CHANCE, **_1000),
    },
    "LEG 1000": {
        "ours": how("leg", scale="probability", **_1000),
    },
    "LEG-TV solve": {
        "ours": how("leg_tv_solve"),
        "leg": how("leg_tv_solve"),
    },
    "deletion curve": {
        "ours": how("deletion", n_steps=100, baseline=0.0, output="probability"),
        "xplique": how("Deletion", steps=100),
    },
}

#: Forward passes behind a picture's map, where they are most of what it costs.
PASSES = {
    "LIME 1000": 1000,
    "KernelSHAP 1000": 1000,
    "RISE 1000": 1000,
    "LEG 1000": 6000,  # slopes, a channel at a time
    "deletion curve": 100,
}

#: What can be asked for by one name. maps: once through the network and back, or a few
#: times; samples: a thousand times forth, which a large network does in minutes;
#: solver: asks no network at all, so that one is enough.
PARTS: dict[str, tuple[str, ...]] = {
    "samples": tuple(PASSES),
    "solver": ("LEG-TV solve",),
}
PARTS["maps"] = tuple(c for c in CASES if c not in sum(PARTS.values(), ()))
