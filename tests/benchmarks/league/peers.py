"""Maps of other packages on the same networks and samples as ours, and their scores.

    python -m tests.benchmarks.league --peer captum --peer zennit

Each package runs in its own environment (`tests.benchmarks.peers`), on the networks of
`IMAGES` or `TOKENS` with the same weights. A package that cannot be installed is named
in the table.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np

import tfxai
from tests.benchmarks.league.entries import PIXELS, entries, label
from tests.benchmarks.league.measure import Folder, Place, background, read, write
from tests.benchmarks.league.networks import ACCURACY
from tests.benchmarks.league.tasks import TASKS
from tests.benchmarks.peers import networks, venvs
from tests.benchmarks.peers.drive import MODULES, Worker
from tests.benchmarks.peers.protocol import SAME_NETWORK

#: The kinds of input and networks whose maps are compared, and the first seeds.
IMAGES, TOKENS, SEEDS = ("images", "cnn"), ("tokens", "attention"), 2
#: Seconds that one request may take.
LIMIT = 300.0
#: name -> how a package is installed.
PEERS = {
    name: venvs.PEERS[name]
    for name in ("captum", "zennit", "shap", "lime", "xplique", "tf_keras_vis")
} | {"lxt": venvs.Peer("lxt", (("torch==2.13.0", "lxt"),), packages=("lxt", "torch"))}


@dataclass(frozen=True)
class Pair:
    """A method of a package, and our entry of the same method.

    same: whether both compute the same thing, without random draws. on: the kind of
    input and the network.
    """

    peer: str
    how: str
    entry: str
    same: bool = True
    options: dict[str, Any] = field(default_factory=dict)
    on: tuple[str, str] = IMAGES


def _sampled(method: str) -> str:
    """Our entry of pixels as segments."""
    return label(method, PIXELS)


_1000, _8 = {"n_samples": 1000}, {"cells": 8}
_WINDOW = label("occlusion", {"window": 2, "stride": 1})
PAIRS = (
    Pair("captum", "saliency", "gradient"),
    Pair("captum", "input_x_gradient", "input_t_gradient"),
    Pair("captum", "guided", "guided_backprop"),
    Pair("captum", "integrated", "integrated_gradients", options={"steps": 50}),
    Pair("captum", "deeplift", "deeplift"),
    Pair("captum", "deepshap", "deepshap"),
    Pair("captum", "gradient_shap", "expected_gradients", False),
    Pair("captum", "smoothgrad", "smoothgrad", False),
    Pair("captum", "squaregrad", "squaregrad", False),
    Pair("captum", "vargrad", "vargrad", False),
    Pair("captum", "ablation", label("occlusion", {"window": 1, "stride": 1})),
    Pair("captum", "occlusion", _WINDOW, options={"window": 2}),
    Pair("captum", "enlarged_gradcam", "gradcam"),
    Pair("captum", "guided_gradcam", "guided_gradcam", False),
    Pair("captum", "lime", _sampled("lime"), False, _1000),
    Pair("captum", "kernel_shap", _sampled("kernel_shap"), False, _1000),
    Pair("captum", "shapley_sampling", _sampled("shapley_sampling"), False, _1000),
    Pair("zennit", "gradient", "gradient"),
    Pair("zennit", "guided", "guided_backprop"),
    Pair("zennit", "epsilon", "lrp.epsilon"),
    Pair("zennit", "epsilon_plus", "lrp.epsilon_plus"),
    Pair("zennit", "alpha_beta", "lrp.alpha_2_beta_1"),
    Pair("zennit", "epsilon_alpha2_beta1", "lrp.epsilon_alpha2_beta1"),
    Pair("zennit", "epsilon_gamma_box", "lrp.epsilon_gamma_box", False),
    Pair("zennit", "epsilon_plus_flat", "lrp.epsilon_plus_flat"),
    Pair("zennit", "epsilon_alpha2_beta1_flat", "lrp.epsilon_alpha2_beta1_flat"),
    Pair("zennit", "excitation_backprop", "lrp.excitation_backprop"),
    Pair("shap", "kernel", _sampled("kernel_shap"), False, _1000),
    Pair("shap", "gradient", "expected_gradients", False),
    Pair("shap", "deep", "deepshap"),
    Pair("lime", "lime", _sampled("lime"), False, _1000),
    Pair("xplique", "Saliency", "gradient"),
    Pair("xplique", "GradientInput", "input_t_gradient"),
    Pair("xplique", "GuidedBackprop", "guided_backprop"),
    Pair("xplique", "DeconvNet", "deconvnet"),
    Pair("xplique", "IntegratedGradients", "integrated_gradients", False,
         {"steps": 50}),
    Pair("xplique", "SmoothGrad", "smoothgrad", False, {"noise": 0.15}),
    Pair("xplique", "SquareGrad", "squaregrad", False, {"noise": 0.15}),
    Pair("xplique", "VarGrad", "vargrad", False, {"noise": 0.15}),
    Pair("xplique", "GradCAM", "gradcam", False),
    Pair("xplique", "GradCAMPP", "gradcam_plus_plus", False),
    Pair("xplique", "Occlusion", _WINDOW, False, {"window": 2}),
    Pair("xplique", "Lime", _sampled("lime"), False, _1000),
    Pair("xplique", "KernelShap", _sampled("kernel_shap"), False, _1000),
    Pair("xplique", "Rise", label("rise", _8), False, {"n_samples": 2000}),
    Pair("xplique", "SobolAttributionMethod", _sampled("sobol"), False, _8),
    Pair("xplique", "HsicAttributionMethod", _sampled("hsic"), False, _8),
    Pair("tf_keras_vis", "saliency", "gradient"),
    Pair("tf_keras_vis", "smoothgrad", "smoothgrad", False),
    Pair("tf_keras_vis", "gradcam", "gradcam", False),
    Pair("tf_keras_vis", "gradcam_plus_plus", "gradcam_plus_plus", False),
    Pair("tf_keras_vis", "layercam", "layercam", False),
    Pair("lxt", "attn", "lrp.attn", on=TOKENS),
)  # fmt: skip


@cache
def places(folder: Folder, on: tuple[str, str] = IMAGES) -> list[Place]:
    """Return the networks that are compared: those of the first seeds."""
    kind, name = on
    tasks = [t for t, s in TASKS.items() if s.kind == kind and name in s.networks]
    every = [(task, seed) for task in tasks for seed in range(SEEDS)]
    return [p for p in every if folder.model(name, p)[1] >= ACCURACY]


def exported(folder: Folder, on: tuple[str, str], place: Place) -> Path:
    """Write a network and its samples as plain data for the workers, once."""
    name = f"{place[0]}-{on[1]}-{place[1]}-{folder.count}"
    to = folder.path / "peers" / "networks" / name
    if (to / "plan.json").exists():
        return to
    to.mkdir(parents=True, exist_ok=True)
    tasks = dict.fromkeys(task for task, _ in places(folder, on))
    x, y, _ = folder.samples(on[1], place)
    model, _ = folder.model(on[1], place)
    arrays = {
        f"{layer.name}|{i}": w
        for layer in model.layers
        for i, w in enumerate(layer.get_weights())
    }
    np.savez(to / "weights.npz", **arrays)
    np.save(to / "x.npy", x)
    np.save(to / "background.npy", background([(task, 0) for task in tasks]))
    np.save(to / "logits.npy", tfxai.wrap(model).logits(x))
    (to / "plan.json").write_text(json.dumps(_plan(model, on, x, y)))
    return to


def _plan(
    model: keras.Model, on: tuple[str, str], x: np.ndarray, y: np.ndarray
) -> dict:
    """The layers as plain data, the targets and the range of the samples.

    A worker of tokens knows the network, and needs the kinds of its layers alone.
    """
    if on == TOKENS:
        kinds = [(layer.name, type(layer).__name__) for layer in model.layers]
        layers = [{"name": name, "kind": kind} for name, kind in kinds]
    else:
        layers = networks.layers(keras.Model(model.inputs, model.outputs))
    axes = tuple(range(x.ndim - 1))
    low, high = (np.ravel(f(x, axis=axes)).tolist() for f in (np.min, np.max))
    plan = {"layers": layers, "target": y.tolist(), "shape": list(x.shape[1:])}
    return {**plan, "low": low, "high": high, **_8}


def file(folder: Folder, pair: Pair) -> Path:
    """Return the file of the maps of a method of a package."""
    name = f"{pair.how}-{len(places(folder, pair.on))}-{folder.count}.npz"
    return folder.path / "peers" / pair.peer / name


def measured(folder: Folder, peer: str, environments: Path) -> None:
    """Explain by every method of a package what is not in the folder."""
    try:
        python = venvs.environment(peer, PEERS[peer], environments)
        text = venvs.versions(python, PEERS[peer])
    except venvs.Unavailable as error:
        python, text = "", f"not installed: {error}"
    record = folder.path / "peers" / f"{peer}.txt"
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(text)
    print(f"{peer}: {text}", flush=True)
    if not python:
        return
    command = [python, "-m", f"{MODULES}.{PEERS[peer].module}"]
    for pair in (p for p in PAIRS if p.peer == peer):
        found = read(file(folder, pair))
        left = [p for p in places(folder, pair.on) if f"{p[0]}/{p[1]}" not in found]
        if not left or "error" in found:
            continue
        worker = Worker(command, folder.path / "peers" / f"{peer}.log", LIMIT)
        try:
            for place in left:
                found[f"{place[0]}/{place[1]}"] = _asked(folder, worker, pair, place)
        except venvs.Unavailable as error:
            found["error"] = np.array(str(error))
        finally:
            worker.end()
        write(file(folder, pair), found)
        print(f"{peer} {pair.how} {found.get('error', '')}", flush=True)


def _asked(folder: Folder, worker: Worker, pair: Pair, place: Place) -> np.ndarray:
    """The maps (N, H, W) of a package for a place; its network is checked first."""
    network = exported(folder, pair.on, place)
    maps = folder.path / "peers" / f"{pair.peer}.npy"
    maps.unlink(missing_ok=True)
    made = worker.request(
        do="start", network=str(network.resolve()), how=pair.how, batch=folder.count,
        options=pair.options, maps=str(maps.resolve()),
    )  # fmt: skip
    logits = np.load(network / "logits.npy")
    gap = np.abs(np.array(made["outputs"]) - logits).max() / np.abs(logits).max()
    if gap > SAME_NETWORK:
        raise venvs.Unavailable(f"its network has other outputs, by {gap:.0e}")
    worker.request(do="first")
    return np.load(maps).sum(-1)


def ours(folder: Folder, pair: Pair) -> dict[str, Any]:
    """Return our maps of the same method, by "task/seed"."""
    _, options = entries(*pair.on)[pair.entry]
    return read(folder.file(*pair.on, pair.entry, options))


def compared(folder: Folder) -> Iterator[tuple[Pair, dict, dict, str]]:
    """Yield every pair, our maps, those of the package, and why it has none."""
    for pair in PAIRS:
        found = read(file(folder, pair))
        why = str(found.pop("error", ""))
        yield pair, ours(folder, pair), found, why
