"""Networks as plain data, from which every framework builds the same network.

    python -m tests.benchmarks.peers.networks NAME FOLDER SHARED

Writes plan.json (layers with kind, config, inputs and shape; target, low, high),
weights.npz (`layer|number`) and x.npy (8 inputs). A final softmax is omitted: the
plan returns logits. Writing needs Keras 3; reading does not.
"""

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

#: Trained networks of `shared`: file, image side, mean, and the network's range.
TRAINED = {
    "SqueezeNet": (
        *("squeezenet_v1_0", 227, [104.0, 117.0, 123.0]),
        *([-104.0, -117.0, -123.0], [151.0, 138.0, 132.0]),
    ),
}
PICTURES = ("trafficlight", "lifeboat", "bookcase", "bear", "elephant", "plane")
PICTURES += ("icecream", "zebra")
#: Kind -> the entries of its configuration that affect its output.
CONFIG = {
    "Conv2D": ("filters", "kernel_size", "strides", "padding", "use_bias"),
    "DepthwiseConv2D": ("kernel_size", "strides", "padding", "use_bias"),
    "Dense": ("units", "use_bias"),
    "BatchNormalization": ("axis", "epsilon"),
    "ReLU": ("max_value",),
    "MaxPooling2D": ("pool_size", "strides", "padding"),
    "AveragePooling2D": ("pool_size", "strides", "padding"),
    "GlobalAveragePooling2D": (),
    "ZeroPadding2D": ("padding",),
    "Concatenate": ("axis",),
    "Add": (),
    "Flatten": (),
}
#: Layers without effect at inference.
NOTHING = ("Dropout", "Softmax")


def histories(node) -> list[str]:
    """Return the names of the layers whose outputs a node receives, in order."""
    if isinstance(node, dict) and node.get("class_name") == "__keras_tensor__":
        return [node["config"]["keras_history"][0]]
    parts = node.values() if isinstance(node, dict) else node
    if isinstance(node, (dict, list, tuple)):
        return [name for part in parts for name in histories(part)]
    return []


def layers(model: keras.Model) -> list[dict]:
    """Return the layers as plain data, with a fused ReLU as a separate layer."""
    plan, renamed = [], {}
    stored = {c["config"]["name"]: c for c in model.get_config()["layers"]}
    for layer in model.layers:
        kind, config = type(layer).__name__, layer.get_config()
        inputs = [renamed[n] for n in histories(stored[layer.name]["inbound_nodes"])]
        name, activation = layer.name, config.get("activation", "linear")
        if kind == "InputLayer":
            renamed[name] = "input"
            continue
        if kind in NOTHING or (kind == "Activation" and activation == "softmax"):
            renamed[name] = inputs[0]
            continue
        shape = list(layer.output.shape[1:])
        if kind == "Activation":
            kind, config, activation = "ReLU", {"max_value": None}, config["activation"]
            if activation != "relu":
                raise ValueError(f"{name}: no peer's builder knows {activation!r}.")
            activation = "linear"
        kept = {k: config[k] for k in CONFIG[kind]}
        row = {"name": name, "kind": kind, "config": kept, "shape": shape}
        plan.append({**row, "inputs": inputs})
        renamed[name] = name
        if activation == "relu":
            renamed[name] = f"{name}_relu"
            row = {"name": f"{name}_relu", "kind": "ReLU", "shape": shape}
            plan.append({**row, "config": {"max_value": None}, "inputs": [name]})
        elif activation not in ("linear", "softmax"):
            raise ValueError(f"{name}: no peer's builder knows {activation!r}.")
    return plan


def chosen(name: str, shared: Path) -> tuple[keras.Model, np.ndarray, list, list]:
    """Return a network, 8 inputs, and the ends of its range per channel."""
    if name not in TRAINED:
        keras.utils.set_random_seed(0)
        build = getattr(keras.applications, name)
        model = build(weights=None, classifier_activation=None)
        x = np.random.default_rng(0).uniform(-1, 1, (8, *model.input_shape[1:]))
        normalise(model, x)
        return model, x.astype("float32"), [-1.0] * 3, [1.0] * 3
    file, side, mean, low, high = TRAINED[name]
    x = [
        keras.utils.img_to_array(
            keras.utils.load_img(
                shared / f"images/leg_{p}.jpg", target_size=(side, side),
                interpolation="bilinear",
            )
        )[..., ::-1] - np.array(mean, np.float32)
        for p in PICTURES
    ]  # fmt: skip
    return keras.models.load_model(shared / f"models/{file}.keras"), x, low, high


def normalise(model: keras.Model, x: np.ndarray) -> None:
    """Set the statistics of every BatchNormalization to those of these inputs.

    With the initial ones, 0 and 1, the activations vanish after fifty layers.
    """
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(x, training=True)


def write(name: str, folder: Path, shared: Path) -> None:
    """Write a network's three files; plan.json is last and marks a complete one."""
    model, x, low, high = chosen(name, shared)
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {
        f"{layer.name}|{i}": w
        for layer in model.layers
        for i, w in enumerate(layer.get_weights())
    }
    np.savez(folder / "weights.npz", **arrays)
    np.save(folder / "x.npy", np.stack(x))
    target = model.predict(np.stack(x), verbose=0).argmax(-1).tolist()
    plan = {"name": name, "layers": layers(model), "target": target}
    plan |= {"low": low, "high": high, "shape": list(model.input_shape[1:])}
    (folder / "plan.json").write_text(json.dumps(plan))


if __name__ == "__main__":
    write(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
