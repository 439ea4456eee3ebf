"""The pictures of the pages of methods, all of the same image.

    python docs/pictures.py        # trains the networks, writes their weights again

A build of the site draws them. The image is a scene of two digits, and the network that
of `tfxai demo`; methods that need attention explain the same network with an attention
layer behind its third convolution. `docs/demo_network.npz` holds the weights, so
that no build trains.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

import tfxai
from tfxai.cli.demo.network import accuracy, build, network
from tfxai.demo import scenes
from tfxai.errors import TfxaiWarning
from tfxai.metrics.registry import compute, metrics
from tfxai.viz.colours import heatmap

WEIGHTS = Path(__file__).with_name("demo_network.npz")
DIGITS = (3, 7)
EXAMPLES = 40
#: Pixels of a picture per pixel of the image.
SCALE = 3
#: The methods whose values the pages of metrics show.
METHODS = ("random", "gradient", "gradcam", "sglrp")
#: On how many images a metric is computed, where two do not suffice.
COMPARED: Mapping[str, int] = {"sufficiency": 12, "average_gain": 4}
METRIC_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "sensitivity_n": {"n_samples": 25},
    "monotonicity_correlation": {"n_groups": 32},
}
GRID = {"segmenter": "grid", "segmenter_options": {"cells": 8}}
#: The options of the pictures that are not the defaults.
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "perturbation_cnn": {"n_iterations": 30, "restarts": 0},
    "extremal_perturbation": {"n_iterations": 40, "stride": 8},
    "shapley_interactions": {"n_samples": 512},
    "d_rise": {"n_samples": 1000, "cells": 7},
}


class Scene:
    """The image of the pictures, the network, and examples."""

    def __init__(self) -> None:
        model = build()
        attending = with_attention(model)
        with np.load(WEIGHTS) as stored:
            weights = [stored[name].astype("float32") for name in stored.files]
        count = len(model.weights)
        model.set_weights(weights[:count])
        for variable, value in zip(own(attending), weights[count:], strict=True):
            variable.assign(value)
        drawn = scenes(EXAMPLES, digits=DIGITS)
        self.x, self.boxes = drawn.images[1:2], drawn.boxes[1]
        self.examples, self.places = drawn.images[2:], drawn.boxes[2:, 0]
        self.model, self.wrapped = model, tfxai.wrap(model)
        self.attending = tfxai.wrap(attending)

    def explained(self, name: str) -> Any:
        """Return the explanation of both digits by a method."""
        spec = next(m for m in tfxai.methods() if m.name == name)
        options = options_of(spec)
        if "background=" in spec.needs or "fit(" in spec.needs:
            options["background"] = self.examples
        if "boxes=" in spec.needs:
            options |= {"boxes": self.boxes, "box_format": "yxyx"}
            return tfxai.explain(
                self.detector, self.x, name, target=[[0, 1]], **options
            )
        both = [list(DIGITS)]
        wrapped = self.attending if needs_attention(spec) else self.wrapped
        return tfxai.explain(wrapped, self.x, name, target=both, **options)

    def detector(self, x: np.ndarray) -> list[tuple[np.ndarray, ...]]:
        """Return boxes, scores and classes of a detector that knows the places."""
        scores = np.asarray(self.model(x))[:, list(DIGITS)]
        return [(self.boxes, row, np.eye(len(DIGITS))) for row in scores]


def needs_attention(spec: Any) -> bool:
    """Return whether a method needs a network with attention."""
    return "attention" in spec.needs or "transformer" in spec.needs


def with_attention(model: keras.Model) -> keras.Model:
    """Return the network with an attention layer behind its third convolution."""
    features = model.get_layer("conv3").output
    x = layers.Reshape((features.shape[1] * features.shape[2], features.shape[3]))(
        features
    )
    x = layers.Add()([x, layers.MultiHeadAttention(2, 16, name="attention")(x, x)])
    x = layers.Dense(96, activation="relu", name="mixed")(x)
    x = layers.GlobalMaxPooling1D()(x)
    return keras.Model(model.input, layers.Dense(10, "softmax", name="class")(x))


def own(attending: keras.Model) -> list[Any]:
    """Return the variables that the network with attention does not share."""
    names = ("attention", "mixed", "class")
    return [v for n in names for v in attending.get_layer(n).weights]


def write(folder: Path, scene: Scene) -> dict[str, str]:
    """Write a picture for each method, and return their captions by method."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    captions = {}
    for spec in tfxai.methods():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TfxaiWarning)
            e = scene.explained(spec.name)
        maps = e.relevance[0].sum(-1)
        if "mean" in e.extra:  # RISE: what is above the mean supports the target
            maps = maps - e.extra["mean"][0][:, None, None]
        row = [scene.x[0], *(heatmap(m) for m in maps)]
        gap = ((0, 0), (0, 2), (0, 0))
        pixels = np.hstack([np.pad(v, gap, constant_values=1) for v in row])[:, :-2]
        picture = Image.fromarray(np.round(255 * pixels).astype("uint8"))
        size = (SCALE * picture.width, SCALE * picture.height)
        picture.resize(size, Image.Resampling.NEAREST).save(folder / f"{spec.name}.png")
        captions[spec.name] = _caption(spec, "mean" in e.extra)
    return captions


def write_metrics(folder: Path, scene: Scene) -> None:
    """Write bars of the values of each metric, a mean over scenes."""
    folder.mkdir(parents=True, exist_ok=True)
    analyzers = {m: tfxai.create_analyzer(m, scene.wrapped) for m in METHODS}
    explained: dict[tuple[str, int], Any] = {}
    for metric in metrics():
        values, count = {}, compared(metric.name)
        for name, analyzer in analyzers.items():
            key = name, count
            if key not in explained:
                explained[key] = analyzer.analyze(scene.examples[:count], DIGITS[0])
            given: dict[str, Any] = dict(METRIC_OPTIONS.get(metric.name, {}))
            if "boxes" in metric.needs:
                given["boxes"] = scene.places[:count]
            if "analyzer" in metric.needs:
                given["analyzer"] = analyzer
            found = compute(metric.name, scene.wrapped, explained[key], **given)
            values[name] = float(found.mean())
        (folder / f"{metric.name}.svg").write_text(_bars(values), "utf-8")


def compared(metric: str) -> int:
    """Return on how many images the values of a metric are computed."""
    return COMPARED.get(metric, 2)


def _bars(values: Mapping[str, float]) -> str:
    """Return bars of values as SVG; those below 0 lead to the left."""
    low, high = min(0.0, *values.values()), max(0.0, *values.values())
    unit = 300 / ((high - low) or 1)
    rows = []
    for i, (name, value) in enumerate(values.items()):
        y, start = 12 + 28 * i, 130 + unit * (min(value, 0) - low)
        rows.append(
            f'<text x="120" y="{y + 14}" text-anchor="end">{name}</text>'
            f'<rect x="{start:.1f}" y="{y}" width="{abs(value) * unit:.1f}" '
            f'height="20"/>'
            f'<text x="440" y="{y + 14}">{value:.3g}</text>'
        )
    height = 28 * len(values) + 16
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="520" height="{height}" '
        'font-family="sans-serif" font-size="14"><rect width="100%" height="100%" '
        f'fill="#f7f7f7"/><g fill="#2166ac">{"".join(rows)}</g></svg>\n'
    )


def options_of(spec: Any) -> dict[str, Any]:
    """Return the options of the picture of a method."""
    return {
        **(GRID if "segmenter" in spec.options else {}),
        **OPTIONS.get(spec.name, {}),
    }


def _caption(spec: Any, centred: bool) -> str:
    given = ", ".join(f"`{k}={v!r}`" for k, v in options_of(spec).items())
    layer = " with an attention layer" if needs_attention(spec) else ""
    return (
        f"The image, and the relevance for the targets {DIGITS[0]} and {DIGITS[1]}"
        + (" minus its mean" if centred else "")
        + ", summed over the channels: red is positive, blue negative. The model is "
        f"the network of `tfxai demo`{layer}."
        + (f" Options: {given}." if given else "")
    )


def main() -> None:
    """Write the weights of both networks, rounded to 16 bits."""
    model = network()
    attending, drawn = with_attention(model), scenes(3000, 1, split="train")
    for name in ("conv1", "conv2", "conv3"):
        attending.get_layer(name).trainable = False
    attending.compile(keras.optimizers.Adam(3e-3), "categorical_crossentropy")
    halves = np.eye(10, dtype="float32")[drawn.labels].mean(1)
    attending.fit(drawn.images, halves, epochs=6, batch_size=32, verbose=0)
    weights = [*model.get_weights(), *(v.numpy() for v in own(attending))]
    np.savez_compressed(WEIGHTS, *[w.astype("float16") for w in weights])
    print("accuracy with attention:", accuracy(attending, scenes(300)))
    print(WEIGHTS, WEIGHTS.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
