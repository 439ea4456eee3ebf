r"""Models that others wrote: read or not, how exact, and what is conserved.

    python -m tests.benchmarks.other_models applications [MODEL ...]
    python -m tests.benchmarks.other_models packages [MODEL ...]

The first checks all networks of keras.applications, the second models of packages of
the package index, which it imports where they are installed:

    pip install --no-deps --target FOLDER kimm keras-cv-attention-models keras-tcn \
        keras-rs keras-self-attention keras-unet-collection segmentation-models \
        efficientnet image-classifiers keras-applications
    PYTHONPATH=FOLDER python -m tests.benchmarks.other_models packages

Each model runs in a process of its own, with weights drawn at random. It goes on where
it stopped (`build/models_*.jsonl`) and writes `docs/tables/models_*.md`.

- read: `create_analyzer("lrp.epsilon_plus", model)` works on the model as it comes;
- gradient: largest difference of `input_t_gradient` from a tape, as a share of the
  largest value;
- own way back: the same with the rule "gradient" at every step;
- targets: largest difference of two targets together from one by one, by
  `lrp.epsilon_plus`;
- products: what products, gates and maxima of `lrp.attn` absorb, as a share of the
  score or of the most that a step absorbs, whichever is larger.
"""

import json
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("SM_FRAMEWORK", "tf.keras")  # segmentation-models requires it

import keras
import numpy as np
import tensorflow as tf

import tfxai
from tfxai.graph.step import KINDS

ROOT = Path(__file__).resolve().parents[2]
NEAR = 1e-4
Model = Callable[[], tuple[keras.Model, Any]]


def pixels(*shape: int) -> np.ndarray:
    """Return two random inputs of a shape."""
    drawn = np.random.default_rng(0).normal(size=(2, *shape))
    return drawn.astype("float32")


def image_model(build: Callable[..., Any], side: int, **options: Any) -> Model:
    """Return a classifier of images without its softmax, and its inputs."""
    return lambda: (
        build(input_shape=(side, side, 3), **options),
        pixels(side, side, 3),
    )


# -- keras.applications --------------------------------------------------------------

#: Networks that need larger images than 64 pixels, or no fewer classes than 1000.
SIDES = {"InceptionV3": 96, "InceptionResNetV2": 96, "Xception": 96, "NASNet": 96}


def applications() -> dict[str, Model]:
    """Return every constructor of keras.applications."""
    found: dict[str, Model] = {}
    for name, build in vars(keras.applications).items():
        if not name[0].isupper() or not callable(build):
            continue
        side = next((s for k, s in SIDES.items() if name.startswith(k)), 64)
        options = {"weights": None, "classes": 7, "classifier_activation": None}
        found[name] = image_model(build, side, **options)
    return found


# -- packages of the index -----------------------------------------------------------


def kimm(name: str) -> Model:
    """Return a network of Keras Image Models."""

    def build() -> tuple[keras.Model, Any]:
        from kimm import models

        options = {"weights": None, "classes": 7, "classifier_activation": None}
        made = getattr(models, name)(
            input_shape=[64, 64, 3], include_preprocessing=False, **options
        )
        return made, pixels(64, 64, 3)

    return build


def kecam(folder: str, name: str, side: int = 64) -> Model:
    """Return a network of keras-cv-attention-models."""

    def build() -> tuple[keras.Model, Any]:
        import kecam

        options = {"pretrained": None, "num_classes": 7, "classifier_activation": None}
        make = getattr(getattr(kecam, folder), name)
        return make(input_shape=(side, side, 3), **options), pixels(side, side, 3)

    return build


def tcn(**options: Any) -> Model:
    """Return a temporal convolutional network behind which stands a Dense layer."""

    def build() -> tuple[keras.Model, Any]:
        from tcn import TCN

        x = keras.Input((16, 3))
        y = TCN(nb_filters=6, dilations=[1, 2], **options)(x)
        return keras.Model(x, keras.layers.Dense(7)(y)), pixels(16, 3)

    return build


def attention(name: str, **options: Any) -> Model:
    """Return a layer of keras-self-attention between two Dense layers."""

    def build() -> tuple[keras.Model, Any]:
        import keras_self_attention as package

        x = keras.Input((6, 4))
        y = getattr(package, name)(**options)(keras.layers.Dense(5, "relu")(x))
        y = keras.layers.Flatten()(y)
        return keras.Model(x, keras.layers.Dense(7)(y)), pixels(6, 4)

    return build


def cross() -> tuple[keras.Model, Any]:
    """Return a deep and cross network of keras-rs."""
    from keras_rs.layers import FeatureCross

    x = keras.Input((8,))
    y = FeatureCross()(x, FeatureCross()(x, x))
    y = keras.layers.Dense(6, "relu")(y)
    return keras.Model(x, keras.layers.Dense(7)(y)), pixels(8)


def interaction() -> tuple[keras.Model, Any]:
    """Return a factorisation machine of keras-rs: dot products of three parts."""
    from keras_rs.layers import DotInteraction

    x = keras.Input((12,))
    parts = [keras.layers.Dense(5)(x[:, i : i + 4]) for i in (0, 4, 8)]
    y = DotInteraction()(parts)
    y = keras.layers.Concatenate()([y, *parts])
    return keras.Model(x, keras.layers.Dense(7)(y)), pixels(12)


def unets(name: str, **options: Any) -> Model:
    """Return a network of keras-unet-collection, and the mean of its last map."""

    def build() -> tuple[keras.Model, Any]:
        from keras_unet_collection import models

        made = getattr(models, name)(
            (32, 32, 3), n_labels=7, output_activation=None, **options
        )
        return means(made), pixels(32, 32, 3)

    return build


def segmenter(name: str, backbone: str, side: int = 64) -> Model:
    """Return a network of segmentation-models, and the means of its maps."""

    def build() -> tuple[keras.Model, Any]:
        import segmentation_models as package

        made = getattr(package, name)(
            backbone, classes=7, activation="linear", encoder_weights=None,
            input_shape=(side, side, 3),
        )  # fmt: skip
        return means(made), pixels(side, side, 3)

    return build


def means(model: Any) -> keras.Model:
    """Return the means of the maps of a model's last output."""
    y = keras.tree.flatten(model.output)[-1]
    return keras.Model(model.input, keras.layers.GlobalAveragePooling2D()(y))


UNET = {"filter_num": [6, 8, 10], "activation": "ReLU"}
PACKAGES: dict[str, dict[str, Model]] = {
    "kimm": {
        n: kimm(n)
        for n in (
            *("ConvMixer736D32", "ConvNeXtAtto", "DenseNet121", "EfficientNetLiteB0"),
            *("EfficientNetV2B0", "GhostNetW050", "GhostNetV2W100", "GhostNetV3W050"),
            *("HGNetTiny", "HGNetV2B0", "InceptionNeXtTiny", "LCNet050", "MobileOneS0"),
            *("MobileNetV3W050Small", "MobileViTS", "MobileViTV2W050", "RegNetX002"),
            *("RegNetY002", "RepVGGA0", "ResNet18", "TinyNetE", "VGG11"),
            *("VisionTransformerTiny32", "Xception"),
        )
    },
    "keras-cv-attention-models": {
        name: kecam(folder, name)
        for folder, name in (
            ("coatnet", "CoAtNet0"), ("convnext", "ConvNeXtTiny"),
            ("davit", "DaViT_T"), ("edgenext", "EdgeNeXt_XX_Small"),
            ("efficientformer", "EfficientFormerL1"), ("fasternet", "FasterNetT0"),
            ("gcvit", "GCViT_XXTiny"), ("levit", "LeViT128S"),
            ("maxvit", "MaxViT_Tiny"), ("mlp_family", "MLPMixerS32"),
            ("mlp_family", "GMLPTiny16"), ("mobilevit", "MobileViT_XXS"),
            ("nfnets", "ECA_NFNetL0"), ("caformer", "CAFormerS18"), ("pvt", "PVT_V2B0"),
            ("resnest", "ResNest50"),
            ("swin_transformer_v2", "SwinTransformerV2Tiny_ns"),
            ("tinyvit", "TinyViT_5M"), ("uniformer", "UniformerSmall32"),
            ("vanillanet", "VanillaNet5"), ("volo", "VOLO_d1"),
        )
    },
    "keras-tcn": {
        "TCN": tcn(),
        "TCN, layer norm, skips": tcn(use_layer_norm=True, nb_stacks=2),
        "TCN, batch norm": tcn(use_batch_norm=True, activation="tanh"),
    },
    "keras-rs": {"FeatureCross": cross, "DotInteraction": interaction},
    "keras-self-attention": {
        "SeqSelfAttention": attention("SeqSelfAttention", units=6),
        "SeqSelfAttention, multiplicative": attention(
            "SeqSelfAttention", attention_type="multiplicative"
        ),
        "ScaledDotProductAttention": attention("ScaledDotProductAttention"),
    },
    "keras-unet-collection": {
        "unet_2d": unets("unet_2d", **UNET),
        "vnet_2d": unets("vnet_2d", **UNET),
        "unet_plus_2d": unets("unet_plus_2d", **UNET),
        "att_unet_2d": unets("att_unet_2d", **UNET),
        "r2_unet_2d": unets("r2_unet_2d", **UNET),
        "resunet_a_2d": unets("resunet_a_2d", dilation_num=[1, 3], **UNET),
        "u2net_2d": unets(
            "u2net_2d", filter_num_down=[6, 8], filter_mid_num_down=[4, 4],
            activation="ReLU",
        ),
        "transunet_2d": unets(
            "transunet_2d", embed_dim=16, num_mlp=16, num_heads=2,
            num_transformer=1, **UNET,
        ),
        "swin_unet_2d": unets(
            "swin_unet_2d", filter_num_begin=8, depth=3, stack_num_down=2,
            stack_num_up=2, patch_size=(2, 2), num_heads=[2, 2, 2],
            window_size=[4, 2, 2], num_mlp=16,
        ),
    },
    "segmentation-models": {
        "Unet, ResNet18": segmenter("Unet", "resnet18"),
        "FPN, MobileNetV2": segmenter("FPN", "mobilenetv2"),
        "Linknet, EfficientNetB0": segmenter("Linknet", "efficientnetb0"),
        "PSPNet, VGG16": segmenter("PSPNet", "vgg16", 96),
    },
}  # fmt: skip


def packages() -> dict[str, Model]:
    """Return "package: model" -> its builder."""
    return {f"{p}: {n}": m for p, ms in PACKAGES.items() for n, m in ms.items()}


# -- the check -----------------------------------------------------------------------


def drawn(model: Any) -> None:
    """Draw every weight at random: kernels of unit gain, variances above 0."""
    rng = np.random.default_rng(1)
    for v in model.weights:
        path, shape = getattr(v, "path", v.name), tuple(v.shape)
        if "seed" in path or "float" not in str(v.dtype):
            continue
        value = np.asarray(v, "float32")
        noise = rng.normal(size=shape).astype("float32")
        if "variance" in path:
            value = np.abs(value + 0.15 * noise) + 0.3
        elif len(shape) > 1 and value.size > shape[-1]:
            value = noise * 1.4 / np.sqrt(np.prod(shape[:-1]))
        else:
            value = value + 0.15 * noise
        v.assign(value)


def far(a: Any, b: Any) -> float:
    """Return the largest difference as a share of the largest value of b."""
    a, b = np.asarray(a, "float64"), np.asarray(b, "float64")
    return float(np.abs(a - b).max() / (np.abs(b).max() + 1e-30))


def check(build: Model) -> dict[str, Any]:
    """Return the row of a model."""
    try:
        model, x = build()
    except Exception as error:
        return {"build": words(error)}
    drawn(model)
    tensor = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        score = tf.cast(model(tensor, training=False)[:, 2], tf.float32)
    gradient = tape.gradient(score, tensor).numpy()
    if not np.isfinite(gradient).all() or not np.abs(gradient).max():
        return {"build": "the gradient of its random weights is not finite, or 0"}
    row: dict[str, Any] = {}

    def attempt(name: str, function: Callable[[], Any]) -> None:
        try:
            row[name] = function()
        except Exception as error:
            row[name] = words(error)

    def back() -> float:
        rules = dict.fromkeys(KINDS, "gradient")
        made = tfxai.explain(model, x, "lrp.z", 2, rules=rules).relevance
        scale = np.asarray(score).reshape(-1, *[1] * (x.ndim - 1))
        return far(made, gradient * scale)

    def targets() -> float:
        analyzer = tfxai.create_analyzer("lrp.epsilon_plus", model)
        both = analyzer.analyze(x, [[1, 2]] * 2).relevance
        one = analyzer.analyze(x, 2).relevance
        if not np.isfinite(both).all():
            raise ArithmeticError("the map is not finite")
        return far(both[:, 1], one)

    def products() -> float:
        table = tfxai.create_analyzer("lrp.attn", model).residual(x, target=2)
        size = max(np.abs(table.start).min(), np.abs(table.absorbed).max())
        lost = [
            np.abs(row).max()
            for kind, row in table.by_kind.items()
            if kind in ABSORB_NONE
        ]
        return float(max(lost, default=0.0) / size)

    attempt("read", lambda: bool(tfxai.create_analyzer("lrp.epsilon_plus", model)))
    attempt(
        "gradient",
        lambda: far(
            tfxai.explain(model, x, "input_t_gradient", 2).relevance, x * gradient
        ),
    )
    if row["read"] is True:
        for name, function in (
            ("back", back), ("targets", targets), ("products", products),
        ):  # fmt: skip
            attempt(name, function)
    return row


ABSORB_NONE = {"product", "gate", "max"}
NUMBERS = ("gradient", "back", "targets", "products")


def words(error: Exception) -> str:
    """Return the beginning of an error."""
    return f"{type(error).__name__}: " + re.sub(r"\s+", " ", str(error))[:160]


# -- the table -----------------------------------------------------------------------

SETS: dict[str, Callable[[], dict[str, Model]]] = {
    "applications": applications, "packages": packages,
}  # fmt: skip
TITLES = {
    "applications": "Networks of keras.applications",
    "packages": "Models of other packages",
}
HEAD = """# {title}

Written by `python -m tests.benchmarks.other_models {name}`; do not edit.

{about}

{right} of {built} models are right: read, and every number below 1e-4.{other}

| model | right | gradient | own way back | targets | products |
|---|:-:|---|---|---|---|
"""


def right(row: dict) -> bool:
    """Is the model read, and every number below the limit?"""
    numbers = [row.get(k) for k in NUMBERS]
    return row.get("read") is True and all(
        isinstance(v, float) and v <= NEAR for v in numbers
    )


def line(name: str, row: dict) -> str:
    """Return a row of the table; an error stands in place of the numbers."""
    cells = [
        f"{v:.1e}" if isinstance(v, float) else str(v or "-").split(":")[0]
        for v in (row.get(k) for k in NUMBERS)
    ]
    read = row.get("read")
    verdict = "yes" if right(row) else "no"
    if read is not True:
        verdict = f"`{str(read).split(':')[0]}`"
    return f"| {name} | {verdict} | " + " | ".join(cells) + " |\n"


def rows_of(path: Path) -> dict[str, dict]:
    """Return model -> its row, the last one of each."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {r["model"]: r for r in map(json.loads, lines)}


def main(name: str, wanted: list[str]) -> None:
    """Check the models that have no row yet, and write the table."""
    known, path = SETS[name](), ROOT / "build" / f"models_{name}.jsonl"
    path.parent.mkdir(exist_ok=True)
    for model in [m for m in wanted or known if m not in rows_of(path)]:
        command = [sys.executable, "-m", "tests.benchmarks.other_models"]
        done = subprocess.run(
            [*command, name, "--one", model], cwd=ROOT, capture_output=True, text=True
        )
        last = done.stdout.strip().splitlines()[-1:] or ["{}"]
        row = json.loads(last[0]) if last[0].startswith("{") else {}
        row = row or {"build": f"the process ended with {done.returncode}"}
        with path.open("a") as file:
            file.write(json.dumps({"model": model, **row}) + "\n")
        print(model, row, flush=True)
    rows = {m: r for m, r in rows_of(path).items() if m in known}
    built = {m: r for m, r in rows.items() if "build" not in r}
    other = "".join(
        f"\n- {m} could not be built ({r['build'].split(': ', 1)[-1][:90]})."
        for m, r in rows.items()
        if m not in built
    )
    about = (__doc__ or "")[(__doc__ or "").index("- read:") :].strip()
    text = HEAD.format(
        title=TITLES[name], name=name, about=about, built=len(built),
        right=sum(map(right, built.values())), other="\n" + other if other else "",
    )  # fmt: skip
    table = ROOT / "docs/tables" / f"models_{name}.md"
    table.write_text(text + "".join(line(m, r) for m, r in built.items()))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    if "--one" in sys.argv:
        print(json.dumps(check(SETS[sys.argv[1]]()[sys.argv[3]])))
    else:
        main(sys.argv[1], sys.argv[2:])
