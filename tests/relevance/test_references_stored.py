"""The stored relevance of iNNvestigate 2.1.2, Zennit 0.5.1 and Captum 0.9.0."""

import re
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any
from unittest.mock import patch

import keras
import numpy as np
import pytest

import tfxai
from tests.conftest import shared_path
from tests.relevance.old_rules import (
    BOX,
    KNOWN_DIFFERENCES,
    NOT_COVERED,
    Entry,
    Row,
    public,
)
from tests.relevance.stored import (
    AGREED,
    DIFFERENT,
    INNVESTIGATE,
    KNOWN,
    UNCOVERED,
    UNUSABLE,
    ZENNIT,
    Record,
    far,
    index,
    listed,
    loader,
    ours,
    restored,
    split,
    targets_of,
    wanted,
    worst,
)
from tfxai.core.model import ModelWrapper
from tfxai.relevance import presets as P
from tfxai.relevance import rules as R
from tfxai.relevance.rules import Rule

L = keras.layers

#: Cases run by `analyze` and its compiled graph; the others run eagerly.
COMPILED = ("two_input_mlp", "cnn_softmax_fused")


# -- iNNvestigate: every array -------------------------------------------------------


def explained(
    entry: Entry, error: Callable[[tuple], float], tolerance: float, proved: set[str]
) -> Record:
    """Record a difference that the applicable rows must explain.

    Rows that are necessary for it are added to `proved`.
    """
    rows = tuple(r for r in KNOWN_DIFFERENCES if r.applies(entry))
    least = error(rows) if rows else np.inf
    for row in rows if least <= tolerance else ():
        others = tuple(r for r in rows if r is not row)
        if row.name not in proved and error(others) > tolerance:
            proved.add(row.name)
    status = KNOWN if least <= tolerance else DIFFERENT
    return Record(entry.case, entry.name, status, tuple(r.name for r in rows), least)


@cache
def survey(case: str) -> tuple[tuple[Record, ...], frozenset[str]]:
    """Return the records of a case, and the rows that are necessary for it."""
    c, info = loader(INNVESTIGATE).load(case), index(INNVESTIGATE)["cases"][case]
    proved: set[str] = set()
    c.wrapped = tfxai.wrap(c.model)  # read once
    records = [
        _record(c, info, name, facts, proved)
        for name, facts in info["analyzers"].items()
    ]
    return tuple(records), frozenset(proved)


def _record(c: Any, info: dict, name: str, facts: dict, proved: set[str]) -> Record:
    noise, base = facts.get("float32_vs_float64_rel") or 0.0, split(name)[0]
    if not facts["ok"]:
        return Record(c.name, name, UNUSABLE)
    known = public(base)
    if base == "seed.IG":
        return _explains_the_top_class(c, info, name)
    if known is None:
        assert base.startswith(NOT_COVERED), f"{name}: neither covered nor excused"
        return Record(c.name, name, UNCOVERED)
    if not facts["finite"] or noise > 1e-2:
        return Record(c.name, name, UNUSABLE)
    targets, reference = targets_of(c, info, name), wanted(c, name)
    assert reference, f"{name}: the index lists it, but nothing is stored"
    method, options = known
    analyzer = tfxai.create_analyzer(method, c.wrapped, **options)
    least = worst(ours(analyzer, c.inputs, targets, c.name in COMPILED), reference)
    if least <= max(1e-4, 10 * noise):
        return Record(c.name, name, AGREED, error=least)
    if method == "guided_gradcam":
        return _times_the_old_guided(c, name, options, targets, reference[None])
    if not hasattr(analyzer, "graph"):
        return Record(c.name, name, DIFFERENT, error=least)
    entry = Entry(c.name, name, analyzer.graph)

    def error(rows: tuple[Row, ...]) -> float:
        return worst(restored(entry, rows, c.inputs, targets), reference)

    # Old denominators nearly cancel, and the order of summation differs here.
    return explained(entry, error, max(1e-4, 20 * noise), proved)


def _times_the_old_guided(
    c: Any, name: str, options: dict, targets: np.ndarray, stored: list[np.ndarray]
) -> Record:
    """iNNvestigate's guided Grad-CAM: Grad-CAM * guided backprop from the seed f_t.

    Our Grad-CAM times the stored guided backprop equals the stored array. With relu,
    both are clipped, at the size of the input.
    """
    old = wanted(c, f"seed.GBP[target={split(name)[1]}]")[None]
    analyzer = tfxai.create_analyzer("gradcam", c.wrapped, layer=options["layer"])
    maps = [m[0] for m in ours(analyzer, c.inputs, targets)]
    if options["relu"]:
        maps, old = ([np.maximum(v, 0) for v in pair] for pair in (maps, old))
    pairs = zip(maps, old, stored, strict=True)
    least = max(far(m * g, s) for m, g, s in pairs)
    return Record(c.name, name, KNOWN if least <= 1e-4 else DIFFERENT, error=least)


def _explains_the_top_class(c: Any, info: dict, name: str) -> Record:
    """The seed's integrated gradients always explain the top class.

    Ours differ wherever the target is not the top class.
    """
    (stored,), target = wanted(c, name)[None], targets_of(c, info, name)
    analyzer = tfxai.create_analyzer(
        "integrated_gradients", c.wrapped, n_steps=64, quadrature="left"
    )
    top = np.int32(info["argmax"])[:, None]
    theirs, own = (ours(analyzer, c.inputs, t)[0][0] for t in (top, target))
    least, others = far(theirs, stored), (target != top)[:, 0]
    assert not others.any() or (own[others] != theirs[others]).any()
    status = KNOWN if others.any() else AGREED
    return Record(c.name, name, status if least <= 1e-4 else DIFFERENT, error=least)


def failures(records: tuple[Record, ...]) -> list[str]:
    return [
        f"{r.case} {r.name}: {r.error:.1e} {r.rows}"
        for r in records
        if r.status == DIFFERENT
    ]


QUIET = pytest.mark.filterwarnings("ignore::tfxai.errors.NothingToExplainWarning")
NO_FIRST = pytest.mark.filterwarnings("ignore::tfxai.errors.NoFirstLayerWarning")


@QUIET
@pytest.mark.shared
@pytest.mark.parametrize("case", listed(INNVESTIGATE, "cases"))
def test_innvestigate(case):
    shared_path(INNVESTIGATE)
    records, _ = survey(case)
    assert not failures(records), "\n".join(failures(records))
    assert any(r.status == AGREED for r in records)


# -- iNNvestigate's own 26 files of one-layer networks -------------------------------

_UPSTREAM = f"{INNVESTIGATE}/upstream_layer_refs"


def _upstream_public(name: str, options: dict) -> tuple[str, dict[str, Any]]:
    """Return the public analyzer of one of the files, from its index."""
    names = {"steps": "n_steps"}
    kept = {names.get(k, k): v for k, v in options.items() if k not in ("bias", "note")}
    if name == "integrated_gradients":
        kept["quadrature"] = "left"
    if "input_layer_rule" in kept:
        first = kept["input_layer_rule"]
        kept["input_layer_rule"] = "flat" if first == "Flat" else tuple(first)
    return name if options.get("bias", True) else f"{name}_IB", kept


def _one_layer(spec: dict, arrays: dict, name: str) -> keras.Model:
    x = y = keras.Input(index(_UPSTREAM)["input_shape"])
    for kind, config in spec["layers"]:
        y = getattr(L, kind)(**config)(y)
    model = keras.Model(x, y)
    model.set_weights([arrays[k] for k in sorted(arrays) if k.startswith(f"{name}/w")])
    return model


@cache
def upstream(file: str) -> tuple[tuple[Record, ...], frozenset[str]]:
    """Return the records of a file: the top output of each of its networks."""
    folder = shared_path(_UPSTREAM)
    x, arrays = (
        np.load(folder / "input.npz")["x"],
        dict(np.load(folder / f"{file}.npz")),
    )
    method, options = _upstream_public(*index(_UPSTREAM)["analyzers"][file])
    records, proved = [], set()
    for name, spec in index(_UPSTREAM)["networks"].items():
        if method.startswith(NOT_COVERED):
            records.append(Record(file, name, UNCOVERED))
            continue
        model, stored = _one_layer(spec, arrays, name), arrays[f"{name}/attribution"]
        analyzer = tfxai.create_analyzer(method, model, **options)
        records.append(_upstream_record(file, name, analyzer, x, stored, proved))
    return tuple(records), frozenset(proved)


def _upstream_record(
    file: str, name: str, analyzer: Any, x: np.ndarray, stored: np.ndarray, proved: set
) -> Record:
    top = np.argmax(analyzer.wrapped.logits(x), -1).astype(np.int32)[:, None]
    least = far(ours(analyzer, [x], top)[0][0], stored)
    if least <= 1e-4:
        return Record(file, name, AGREED, error=least)
    if not hasattr(analyzer, "graph"):
        return Record(file, name, DIFFERENT, error=least)
    entry = Entry(file, name, analyzer.graph)

    def error(rows: tuple[Row, ...]) -> float:
        return far(restored(entry, rows, [x], top)[0][0], stored)

    return explained(entry, error, 1e-4, proved)


@NO_FIRST
@pytest.mark.shared
@pytest.mark.parametrize("file", listed(_UPSTREAM, "analyzers"))
def test_upstream_files(file):
    shared_path(_UPSTREAM)
    records, _ = upstream(file)
    assert not failures(records), "\n".join(failures(records))


# -- Zennit and Captum ---------------------------------------------------------------

_EPS = 1e-6  # Zennit's stabilizer, in every rule
_SUMS = R.epsilon_rule(epsilon=_EPS)
_PLUS = R.z_plus(bias=True, eps=_EPS)
_A2B1 = R.alpha_beta(eps=_EPS)
_SQUARE, _FLAT = R.w_square(bias=True, eps=_EPS), R.flat(eps=_EPS)


def _zennit(rule: Rule, dense: Rule | None = None, first: Any = None) -> P.Preset:
    preset = P.every_kernel(rule, add=_SUMS, average=_SUMS)
    return preset.replace(first, **({} if dense is None else {"dense": dense}))


#: Zennit's case -> preset. The head is logit x one-hot.
ZENNIT_SETUPS: dict[str, P.Preset] = {
    "lrp.all.epsilon_1e-06": _zennit(_SUMS),
    "lrp.all.epsilon_0.25": _zennit(R.epsilon_rule(epsilon=0.25)),
    "lrp.all.epsilon_0.01_nobias": _zennit(R.epsilon_rule(epsilon=0.01, bias=False)),
    "lrp.all.zplus": _zennit(_PLUS),
    "lrp.all.zplus_nobias": _zennit(R.z_plus(eps=_EPS)),
    "lrp.all.alpha2beta1": _zennit(_A2B1),
    "lrp.all.alpha2beta1_nobias": _zennit(R.alpha_beta(bias=False, eps=_EPS)),
    "lrp.all.alpha1beta0": _zennit(R.alpha_beta(alpha=1, beta=0, eps=_EPS)),
    "lrp.all.gamma_0.25": _zennit(R.gamma(eps=_EPS)),
    "lrp.all.gamma_0.25_nobias": _zennit(R.gamma(bias=False, eps=_EPS)),
    "lrp.all.gamma_1": _zennit(R.gamma(gamma=1, eps=_EPS)),
    "lrp.all.wsquare": _zennit(_SQUARE),
    "lrp.all.wsquare_nobias": _zennit(R.w_square(eps=_EPS)),
    "lrp.all.flat": _zennit(_FLAT),
    "lrp.first.wsquare": _zennit(_PLUS, _SUMS, _SQUARE),
    "lrp.first.flat": _zennit(_PLUS, _SUMS, _FLAT),
    "lrp.first.zbox": _zennit(_PLUS, _SUMS, R.z_box(low=-1, high=1, eps=_EPS)),
    "lrp.first.zbox_perchannel": _zennit(
        _PLUS,
        _SUMS,
        R.z_box(low=[-1.1, -1.0, -1.2], high=[1.3, 1.05, 1.0], eps=_EPS),
    ),
}
#: Cases that are public methods with their own defaults -> name, options.
PEERS: dict[str, tuple[str, dict[str, Any]]] = {
    "lrp.composite.EpsilonPlus": ("lrp.epsilon_plus", {}),
    "lrp.composite.EpsilonPlusFlat": ("lrp.epsilon_plus_flat", {}),
    "lrp.composite.EpsilonAlpha2Beta1": ("lrp.epsilon_alpha2_beta1", {}),
    "lrp.composite.EpsilonAlpha2Beta1Flat": ("lrp.epsilon_alpha2_beta1_flat", {}),
    "lrp.composite.EpsilonGammaBox": ("lrp.epsilon_gamma_box", BOX),
    "lrp.composite.ExcitationBackprop": ("lrp.excitation_backprop", {}),
    "captum.Saliency_signed": ("gradient", {}),
    "captum.InputXGradient": ("input_t_gradient", {}),
    "captum.GuidedBackprop": ("guided_backprop", {}),
    "captum.Deconvolution": ("deconvnet", {}),
}
#: Captum's trapezoid gives n nodes the weights of n parts: they sum to (n - 1) / n.
TRAPEZOID = "captum.IntegratedGradients_trapezoid50_zero"
#: At the baseline 0 all values in a pooling window are equal, and rounding selects the
#: winner: only that gradient, one of fifty with the weight 1 / 100, differs.
TIES = "plain_vgg_mini_d"


def peer(facts: dict, data: dict) -> tuple[str, dict[str, Any]] | None:
    """Return our method and its options for a case of Zennit or Captum."""
    name, given = facts["id"], facts["params"]
    if name in PEERS or name in ZENNIT_SETUPS:
        return PEERS.get(name, ("lrp.z", {"preset": ZENNIT_SETUPS.get(name)}))
    baseline = data["baseline"] if given.get("baseline") == "aux" else 0  # per sample
    kind = name.split(".")[1].split("_")[0]
    if kind == "IntegratedGradients":
        at = "trapezoid" if name == TRAPEZOID else "gauss_legendre"
        options = {"n_steps": 50, "quadrature": at, "baseline": baseline}
        return "integrated_gradients", options
    if kind == "DeepLift":
        return "deeplift", {"baseline": baseline}
    if kind == "LayerGradCam":
        layer = {"layer": given["layer"], "relu": given["relu"]}
        return "gradcam", {**layer, "resize": "none"}
    if kind == "GuidedGradCam":
        layer = re.fullmatch(r"captum\.GuidedGradCam_(\w+)", name)[1]
        return "guided_gradcam", {"layer": layer, "relu": "layer", "resize": "nearest"}
    if kind == "Occlusion":
        sizes = {"window": tuple(given["window"]), "stride": tuple(given["strides"])}
        return "occlusion", {**sizes, "baseline": baseline}
    if kind == "FeatureAblation":
        return "occlusion", {"segments": data["mask_fine"][0]}
    if kind.startswith("Shapley"):
        return shapley(kind, data)
    return None


def shapley(kind: str, data: dict) -> tuple[str, dict[str, Any]]:
    """Return Shapley values from all subsets, or from the saved orders if fine."""
    exact = kind == "ShapleyValues"
    segments = data["mask_coarse" if exact else "mask_fine"][0]
    segments = segments[..., 0] if segments.ndim > 1 else segments
    d = len(np.unique(segments))
    options = {"segmenter": segments, "baseline": 0, "scale": "logit"}
    if exact:
        return "kernel_shap", {**options, "n_samples": 2**d}
    return "shapley_sampling", {**options, "n_samples": (d - 1) * len(data["perms"])}


@cache
def peers(network: str) -> tuple[Record, ...]:
    """Return the records of one of Zennit's and Captum's networks."""
    folder, load = shared_path(ZENNIT), loader(ZENNIT)
    model = tfxai.wrap(load.build_keras_model(*load.load_network(folder, network)))
    data, stored = (f(folder, network) for f in (load.load_data, load.load_expected))
    return tuple(
        _peer(network, model, data, facts, stored[facts["id"]])
        for facts in index(ZENNIT)["networks"][network]["cases"]
    )


def _peer(
    network: str, model: ModelWrapper, data: dict, facts: dict, stored: np.ndarray
) -> Record:
    name = facts["id"]
    known = peer(facts, data)
    assert known is not None, f"{name}: no analyzer"
    tolerance = max(1e-4, 10 * (facts["f32_noise_rel"] or 0))
    with patch("tfxai.sampling.games.permutations", lambda *_: data["perms"]):
        result = _peers_map(
            model, *known, data["x"], np.int32(data["targets"])[:, None]
        )
    result = np.broadcast_to(result, stored.shape)
    least = far(result, stored)
    if name == TRAPEZOID:
        result = result * np.float32(49 / 50)
        again = far(result, stored)
        if network == TIES:
            gradient = tfxai.explain(model, 0 * data["x"], "gradient", data["targets"])
            most = 2 * np.abs(gradient.relevance).max() * np.abs(data["x"]) / 100
            again = 0.0 if (np.abs(result - stored) <= most + 1e-6).all() else again
        status = KNOWN if again <= tolerance < least else DIFFERENT
        return Record(network, name, status, error=again)
    if least <= tolerance:
        return Record(network, name, AGREED, error=least)
    return Record(network, name, DIFFERENT, error=least)


def _peers_map(
    model: ModelWrapper, method: str, options: dict, x: np.ndarray, target: np.ndarray,
    compiled: bool = False,
) -> np.ndarray:  # fmt: skip
    """Return relevance (B, ...); a baseline per sample needs an analyzer per sample.

    Those are compiled: eagerly, TensorFlow also computes the gradient of the
    kernels, and for one image of `res_bn_a` its convolution aborts on some CPUs.
    """
    own = options.get("baseline")
    if np.ndim(own) < x.ndim:
        result = tfxai.create_analyzer(method, model, **options)
        return ours(result, [x], target, compiled)[0][0]
    one = [
        (slice(i, i + 1), {**options, "baseline": value}) for i, value in enumerate(own)
    ]
    return np.concatenate(
        [_peers_map(model, method, o, x[s], target[s], True) for s, o in one]
    )


@pytest.mark.shared
@pytest.mark.parametrize("network", listed(ZENNIT, "networks"))
def test_zennit_and_captum(network):
    shared_path(ZENNIT)
    assert not failures(peers(network)), "\n".join(failures(peers(network)))


# -- the count -----------------------------------------------------------------------


def counts() -> dict[str, Counter]:
    """Return how many analyzers agree, are a known difference, or neither."""
    cases, files = index(INNVESTIGATE)["cases"], index(_UPSTREAM)["analyzers"]
    return {
        "iNNvestigate": Counter(r.status for c in cases for r in survey(c)[0]),
        "its own files": Counter(r.status for f in files for r in upstream(f)[0]),
        "Zennit and Captum": Counter(
            r.status for n in index(ZENNIT)["networks"] for r in peers(n)
        ),
    }


#: Expected result of `counts`.
COUNTS = {
    "iNNvestigate": {AGREED: 782, KNOWN: 549, UNUSABLE: 35},
    "its own files": {AGREED: 136, KNOWN: 14, UNCOVERED: 6},
    "Zennit and Captum": {AGREED: 375, KNOWN: 9},
}


@QUIET
@NO_FIRST
@pytest.mark.shared
def test_every_row_is_needed_and_the_counts_are_printed(capsys):
    shared_path(INNVESTIGATE)
    proved = set().union(*(survey(c)[1] for c in index(INNVESTIGATE)["cases"]))
    assert proved == {row.name for row in KNOWN_DIFFERENCES}
    counted = counts()
    with capsys.disabled():
        for source, count in counted.items():
            print(f"\n{source}: {dict(count)}, of {count.total()}", end="")
    assert counted == COUNTS
