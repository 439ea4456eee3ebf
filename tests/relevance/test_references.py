"""The stored answers of iNNvestigate 2.1.2, Zennit 0.5.1 and Captum 0.9.0.

Every stored array is compared. Where iNNvestigate's own rule is at fault (RULES.md
beside the arrays says how), the case falls under a row of KNOWN_DIFFERENCES. A row is
no excuse but a claim: it puts the old rule back, step by step, or the old start, and
then the stored array must come out. A difference without a row fails, and so does a
row without need.
"""

import importlib.util
import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import Any, NamedTuple
from unittest.mock import patch

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tests import oracles as O
from tests import zoo
from tests.conftest import SHARED, shared_path
from tfxai.arrays import negative, positive
from tfxai.graph.linear import Local
from tfxai.graph.program import Program, trace
from tfxai.relevance import heads as H
from tfxai.relevance import presets as P
from tfxai.relevance import rules as R
from tfxai.relevance.rewrite import Planned, Rewritten, plan
from tfxai.relevance.rules import Rule

L = keras.layers
INNVESTIGATE = "references/innvestigate"
ZENNIT = "references/zennit_captum"

# -- what iNNvestigate calls it, and what it is here ---------------------------------

_BOX = {"low": -1, "high": 1}
_RELU = {**_BOX, "relu_logits": True}

#: iNNvestigate's names that are also the names of our analyzers.
SAME = (
    *("gradient", "input_t_gradient", "deconvnet", "guided_backprop", "deep_taylor"),
    *("lrp.z", "lrp.z_IB", "lrp.epsilon", "lrp.epsilon_IB", "lrp.w_square"),
    *("lrp.flat", "lrp.z_plus", "lrp.z_plus_fast"),
    *("lrp.alpha_2_beta_1", "lrp.alpha_2_beta_1_IB"),
    *("lrp.alpha_1_beta_0", "lrp.alpha_1_beta_0_IB"),
    *("lrp.sequential_preset_a", "lrp.sequential_preset_a_flat"),
    *("lrp.sequential_preset_b", "lrp.sequential_preset_b_flat"),
)
#: iNNvestigate's name -> our analyzer and its options.
PUBLIC: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in SAME},
    "lrp.z[input_layer_rule=Flat]": ("lrp.z", {"input_layer_rule": "flat"}),
    "lrp.z[input_layer_rule=(-1,1)]": ("lrp.z", {"input_layer_rule": (-1, 1)}),
    "lrp.epsilon[epsilon=0.1]": ("lrp.epsilon", {"epsilon": 0.1}),
    "lrp.epsilon_IB[epsilon=0.1]": ("lrp.epsilon_IB", {"epsilon": 0.1}),
    "lrp.epsilon[epsilon=0.1,input_layer_rule=WSquare]": (
        "lrp.epsilon",
        {"epsilon": 0.1, "input_layer_rule": "w_square"},
    ),
    **{
        f"{name}[until_layer_idx={k}]": (name, {"until_layer_idx": k})
        for name in ["lrp.sequential_preset_b_flat_until_idx"]
        for k in (2, 3, 4, 5)
    },
    "lrp[rule=Z,bn_layer_rule=Z,bn_layer_fuse_mode=two_linear]": ("lrp.z", {}),
    "deep_taylor.bounded[low=-1,high=1]": ("deep_taylor.bounded", _BOX),
    "seed.GBP": ("guided_backprop", {}),
    "seed.LRPE": ("lrp.epsilon", {}),
    "seed.LRPA": ("lrp.sequential_preset_a_flat", {}),
    "seed.LRPB": ("lrp.sequential_preset_b_flat", {}),
    "seed.LRP": ("lrp", _BOX),
    "seed.CLRP[scaling=True]": ("clrp", _RELU),
    "seed.CLRP[scaling=False]": ("clrp", {**_RELU, "scaling": False}),
    "seed.SGLRP[scaling=True]": ("sglrp", _RELU),
    "seed.SGLRP[scaling=False]": ("sglrp", {**_RELU, "scaling": False}),
    "seed.SGLRP_truesoftmax[scaling=True]": ("sglrp", _BOX),
    "seed.SGLRPSeqA": ("sglrp.sequential_preset_a", {}),
    "seed.SGLRPSeqB": ("sglrp.sequential_preset_b", {}),
    "integrated_gradients": (
        "integrated_gradients",
        {"steps": 64, "quadrature": "left"},
    ),
    "integrated_gradients[steps=16,reference_inputs=0.25]": (
        "integrated_gradients",
        {"steps": 16, "quadrature": "left", "baseline": 0.25},
    ),
}

#: What is drawn by chance there, by the beginning of the name.
NOT_COVERED = ("smoothgrad",)


def public(base: str) -> tuple[str, dict[str, Any]] | None:
    """Our analyzer and its options; of a CAM, with the layer that the name tells."""
    cam = re.fullmatch(r"seed\.(Guided)?GradCAM\[layer=(\w+)(,relu=True)?\]", base)
    if cam is None:
        return PUBLIC.get(base)
    name = "guided_gradcam" if cam[1] else "gradcam"
    return name, {"layer": cam[2], "relu": cam[3] is not None}


#: Cases that go through `analyze` and its compiled graph; the others run eagerly.
COMPILED = ("two_input_mlp", "cnn_softmax_fused")


@dataclass(frozen=True)
class Entry:
    """One analyzer of one case; `plan` is what our rewrite does, BatchNorm unfolded."""

    case: str
    name: str
    graph: Rewritten

    @property
    def preset(self) -> P.Preset:
        return self.graph.preset

    @cached_property
    def program(self) -> Program:
        return trace(self.graph.model, batch_norm="rule")

    @cached_property
    def plan(self) -> tuple[Planned, ...]:
        return plan(self.program, self.preset, {})

    def layer(self, planned: Planned) -> keras.Layer | None:
        """The Keras layer behind a step, if that is all the layer does."""
        name = planned.step.name
        return None if ":" in name else self.graph.model.get_layer(name.split("@")[0])

    @property
    def deep_taylor(self) -> bool:
        return self.preset.rule("add") is R.z_plus

    @property
    def slopes(self) -> bool:
        """Is it a gradient with another rule for ReLU?"""
        return self.preset.rule("dense") is R.gradient


# -- iNNvestigate's rules, where ours are others on purpose --------------------------


@cache
def old_alpha_beta(alpha: float, beta: float) -> Rule:
    """Bug 1: b+ and b- both stand in both denominators."""

    def function(linear, x, r):
        up, down = linear.map(positive), linear.map(negative)  # with b+, with b-
        a, b = positive(x.values[0]), negative(x.values[0])
        above = tf.math.divide_no_nan(r.tensor, up(a) + down(b))
        below = tf.math.divide_no_nan(r.tensor, down(a) + up(b))
        excited = a * up.T(above) + b * down.T(above)
        return alpha * excited - beta * (a * down.T(below) + b * up.T(below))

    return Rule("old_alpha_beta", function)


class Factors(Local):
    """Bug 5: of a separable convolution each kernel is mapped by itself."""

    def __init__(self, whole: Local) -> None:
        self.__dict__.update(whole.__dict__)

    def map(self, function: Callable, bias: bool = True) -> Local:
        other = super().map(function, bias)
        other.kernel = tuple(function(tf.convert_to_tensor(k)) for k in self.kernel)
        return other


def old_box(linear, x, r, *, low=None, high=None, eps=0.0):
    """Bug 5: W+ and W- of such factors do not add up to W, so that all three count."""
    (l,), (h,) = R.bounds(x, low, high)
    maps = linear.unbiased, linear.map(positive, False), linear.map(negative, False)
    values = x.values[0], -l, -h
    z = tf.add_n([m(v) for m, v in zip(maps, values, strict=True)])
    s = r / R.stabilize(z, eps)
    return tf.add_n([v * m.T(s) for m, v in zip(maps, values, strict=True)])


class Surrogate(Local):
    """Bug 4: x k + c with k = gamma / s, c = beta - mean / s, s = sqrt(var^2 + eps).

    The z rule for x / s - mean / s and then for gamma y + beta ("two_linear") is that
    of their product: c = beta - gamma mean / s.
    """

    def __init__(self, linear: Local, norm: L.BatchNormalization, two: bool) -> None:
        self.__dict__.update(linear.__dict__)
        s = tf.sqrt(norm.moving_variance**2 + norm.epsilon)
        self.kernel, mean = norm.gamma / s, norm.moving_mean / s
        self.bias = norm.beta - (norm.gamma * mean if two else mean)
        self._mapped = True  # so that z is computed from these


def with_view(rule: Rule, view: Callable[[Local], Local]) -> Rule:
    """The rule as it sees another linear map."""
    return Rule(
        f"old_{rule.name}",
        lambda linear, x, r: rule.function(view(linear), x, r, **rule.options),
    )


def x2m100(linear, x, r):
    """AlphaBetaX(alpha=(2, 0), beta=(1, 0)): 2 of x+ W+ and b+, minus x+ W- and b-."""
    a = positive(x.values[0])
    ways = [linear.map(f) for f in (positive, negative)]
    pp, pn = (a * w.T(tf.math.divide_no_nan(r.tensor, w(a))) for w in ways)
    return 2 * pp - pn


# -- the rows: what is different on purpose ------------------------------------------


def _keep(entry: Entry, planned: Planned, rule: Rule) -> Rule:
    return rule


@dataclass(frozen=True)
class Row:
    """A difference on purpose: iNNvestigate's rule of a step, or what it starts from.

    old: (entry, planned, our rule) -> its rule. start: (entry, our head) -> its head.
    """

    name: str
    reason: str
    old: Callable[[Entry, Planned, Rule], Rule] = _keep
    start: Callable[[Entry, H.Head], H.Head] = lambda entry, head: head

    def rule(self, entry: Entry, planned: Planned, rule: Rule) -> Rule:
        return rule if entry.slopes else self.old(entry, planned, rule)

    def applies(self, entry: Entry) -> bool:
        head = entry.graph.head
        steps = any(self.rule(entry, p, p.rule) is not p.rule for p in entry.plan)
        return steps or self.start(entry, head) is not head


def _behind_padding(entry: Entry, planned: Planned, rule: Rule) -> Rule:
    made_by = {p.step.output: p.step.layer for p in entry.plan}
    padded = any("ZeroPadding" in made_by.get(i, "") for i in planned.step.inputs)
    hidden = padded and planned.first and entry.preset.first is not None
    step = planned.step
    return entry.preset.rule(step.kind, place=step.place) if hidden else rule


def _both_biases(entry: Entry, planned: Planned, rule: Rule) -> Rule:
    weights, options = planned.step.weights, {"alpha": 2, "beta": 1, **rule.options}
    if rule.name != "alpha_beta" or options.get("bias") is False or not weights:
        return rule
    alpha, beta = float(options["alpha"]), float(options["beta"])
    _, bias = weights.read([])  # where nothing is merged, nobody looks at the inputs
    return rule if bias is None else old_alpha_beta(alpha, beta)


def _factor_by_factor(entry: Entry, planned: Planned, rule: Rule) -> Rule:
    if not planned.step.layer.startswith("SeparableConv"):
        return rule
    if rule.name == "z_box":
        rule = Rule("old_z_box", old_box, rule.options)
    return with_view(rule, Factors)


def _surrogate(entry: Entry, planned: Planned, rule: Rule) -> Rule:
    norm = entry.layer(planned)
    if not isinstance(norm, L.BatchNormalization):
        return rule
    if entry.deep_taylor:
        return R.gradient
    sequential = entry.preset.rule("dense").name != entry.preset.rule("conv").name
    rule = Rule("x2m100", x2m100) if sequential else rule
    two = "two_linear" in entry.name
    return with_view(rule, lambda linear: Surrogate(linear, norm, two))


def _even_mean(entry: Entry, planned: Planned, rule: Rule) -> Rule:
    here = entry.deep_taylor and planned.step.kind == "average"
    return R.gradient if here else rule


def _gradient_of(*layers: type, always: bool = True) -> Callable:
    def old(entry: Entry, planned: Planned, rule: Rule) -> Rule:
        here = isinstance(entry.layer(planned), layers)
        return R.gradient if here and (always or entry.deep_taylor) else rule

    return old


def _from_the_logit(entry: Entry, head: H.Head) -> H.Head:
    return H.one_hot if entry.slopes else head


#: In the order in which the old rules are put on top of each other.
KNOWN_DIFFERENCES = (
    Row("padding", "ZeroPadding hides the input layer", _behind_padding),
    Row("biases", "both biases are in both denominators (bug 1)", _both_biases),
    Row("separable", "separable kernels are mapped apart (bug 5)", _factor_by_factor),
    Row("norm", "BatchNormalization is another affine map (bug 4)", _surrogate),
    Row(
        "add",
        "deep Taylor: each branch gets all of R (bug 6)",
        _gradient_of(L.Add, always=False),
    ),
    Row("mean", "deep Taylor spreads R evenly over a mean", _even_mean),
    Row(
        "merge",
        "Average and Subtract get the gradient",
        _gradient_of(L.Average, L.Subtract),
    ),
    Row("product", "Multiply gets the gradient", _gradient_of(L.Multiply)),
    Row("relu", "ReLU layers let no R through at 0", _gradient_of(L.ReLU)),
    Row("leaky_relu", "LeakyReLU layers scale R", _gradient_of(L.LeakyReLU)),
    Row(
        "activation",
        "deep Taylor: Activation layers, too, let no R through at 0",
        _gradient_of(L.Activation, always=False),
    ),
    Row(
        "start",
        "guided_backprop and deconvnet start from the logit, not from 1 (section 1)",
        start=_from_the_logit,
    ),
)


# -- iNNvestigate: every array -------------------------------------------------------


@dataclass
class Record:
    """What became of one analyzer of one case."""

    case: str
    name: str
    status: str
    rows: tuple[str, ...] = ()
    error: float = 0.0


AGREED, KNOWN, DIFFERENT = "agreed", "known difference", "DIFFERENT"
UNCOVERED, UNUSABLE = "not covered", "unusable reference"


@cache
def loader(folder: str) -> Any:
    """The module `load_case` that lies beside the reference values."""
    path = shared_path(folder) / "load_case.py"
    spec = importlib.util.spec_from_file_location(f"load_{path.parent.name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def index(folder: str) -> dict[str, Any]:
    return json.loads((shared_path(folder) / "index.json").read_text())


def listed(folder: str, key: str) -> list[str]:
    """The names for `parametrize`; one that skips where nothing is stored."""
    path = SHARED / folder / "index.json"
    return list(json.loads(path.read_text())[key]) if path.exists() else ["absent"]


def split(name: str) -> tuple[str, int | None]:
    """`seed.SGLRP[scaling=True,target=2]` -> `seed.SGLRP[scaling=True]`, 2."""
    target = re.search(r",?target=(\d+)", name)
    base = name.replace(target[0], "") if target else name
    return base.replace("[]", "").removesuffix("@all"), target and int(target[1])


def wanted(c: Any, name: str) -> dict[str, list[np.ndarray]]:
    """The stored arrays: selection -> one per input."""
    several = range(len(c.inputs)) if len(c.inputs) > 1 else [None]
    found = {}
    for selection in ("max", "idx", "all", None):
        parts = [name, selection, several[0]]
        key = "a/" + "/".join(str(p) for p in parts if p is not None)
        if key in c.ref_keys:
            found[selection] = [c.ref(name, selection, i) for i in several]
    return found


def targets_of(c: Any, info: dict, name: str) -> np.ndarray:
    """Classes (B, T): the target; all; or the top one and the stored index."""
    target = split(name)[1]
    if target is not None:
        return np.full((len(c.y), 1), target, np.int32)
    if name.endswith("@all"):
        return np.tile(np.arange(c.y.shape[-1], dtype=np.int32), (len(c.y), 1))
    return np.int32(np.stack([info["argmax"], info["idx"]], 1))


def selected(maps: list[np.ndarray], selection: str | None) -> list[np.ndarray]:
    """One selection of maps (T, B, ...) per input."""
    if selection == "all":  # every output at once: one map of all relevance
        return [m.sum(0) for m in maps]
    return [m[1 if selection == "idx" else 0] for m in maps]


def worst(maps: list[np.ndarray], answers: dict[str, list[np.ndarray]]) -> float:
    """The largest |ours - stored| / max |stored| of all arrays."""
    pairs = [
        (ours, stored)
        for selection, arrays in answers.items()
        for ours, stored in zip(selected(maps, selection), arrays, strict=True)
    ]
    return max(far(*pair) for pair in pairs)


def far(ours: np.ndarray, stored: np.ndarray) -> float:
    if ours.shape[-1] == 1:  # a CAM there is the same in every channel
        ours = np.broadcast_to(ours, stored.shape)
    assert ours.shape == stored.shape
    difference = np.abs(ours - stored).max()
    return float(difference / max(np.abs(stored).max(), 1e-30))


def run(graph: Rewritten, inputs: list, targets: np.ndarray) -> list[np.ndarray]:
    """Maps (T, B, ...) per input, eagerly."""
    made = graph.maps([tf.constant(x) for x in inputs], tf.constant(targets))
    return [np.asarray(r) for r in made["relevance"]]


def ours(
    analyzer: Any, inputs: list, targets: np.ndarray, compiled: bool = False
) -> list[np.ndarray]:
    """What a public analyzer says: maps (T, B, ...) per input."""
    if hasattr(analyzer, "graph") and not compiled:
        return run(analyzer.graph, inputs, targets)
    e = analyzer.analyze(inputs if len(inputs) > 1 else inputs[0], targets)
    maps = e.relevance if isinstance(e.relevance, list) else [e.relevance]
    return [np.moveaxis(m, 1, 0) for m in maps]


def restored(
    entry: Entry, rows: tuple[Row, ...], inputs: list, targets: np.ndarray
) -> list[np.ndarray]:
    """The maps with iNNvestigate's own rules and start put back."""
    rules, head = {}, entry.graph.head
    for planned in entry.plan:
        rules[planned.step.name] = planned.rule
        for row in rows:
            old = row.rule(entry, planned, rules[planned.step.name])
            rules[planned.step.name] = old
    for row in rows:
        head = row.start(entry, head)
    graph = Rewritten(entry.graph.model, entry.program, entry.preset, head, rules)
    return run(graph, inputs, targets)


def explained(
    entry: Entry, error: Callable[[tuple], float], tolerance: float, proved: set[str]
) -> Record:
    """A difference that must come out of the rows that apply; `error` of some rows.

    A row without which it would not come out is noted in `proved`.
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
    """The records of a case, and the rows that it cannot do without."""
    c, info = loader(INNVESTIGATE).load(case), index(INNVESTIGATE)["cases"][case]
    proved: set[str] = set()
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
    targets, answers = targets_of(c, info, name), wanted(c, name)
    assert answers, f"{name}: the index lists it, but nothing is stored"
    method, options = known
    analyzer = tfxai.create_analyzer(method, c.model, **options)
    least = worst(ours(analyzer, c.inputs, targets, c.name in COMPILED), answers)
    if least <= max(1e-4, 10 * noise):
        return Record(c.name, name, AGREED, error=least)
    if method == "guided_gradcam":
        return _times_the_old_guided(c, name, options, targets, answers[None])
    if not hasattr(analyzer, "graph"):
        return Record(c.name, name, DIFFERENT, error=least)
    entry = Entry(c.name, name, analyzer.graph)

    def error(rows: tuple[Row, ...]) -> float:
        return worst(restored(entry, rows, c.inputs, targets), answers)

    # Old denominators nearly cancel, and are not summed in the old order here.
    return explained(entry, error, max(1e-4, 20 * noise), proved)


def _times_the_old_guided(
    c: Any, name: str, options: dict, targets: np.ndarray, stored: list[np.ndarray]
) -> Record:
    """Guided Grad-CAM there: Grad-CAM times a guided backprop that starts from f_t.

    Our Grad-CAM times the guided backprop that is stored gives what is stored. With
    relu=True both are clipped there, at the size of the input.
    """
    old = wanted(c, f"seed.GBP[target={split(name)[1]}]")[None]
    analyzer = tfxai.create_analyzer("gradcam", c.model, layer=options["layer"])
    maps = [m[0] for m in ours(analyzer, c.inputs, targets)]
    if options["relu"]:
        maps, old = ([np.maximum(v, 0) for v in pair] for pair in (maps, old))
    pairs = zip(maps, old, stored, strict=True)
    least = max(far(m * g, s) for m, g, s in pairs)
    return Record(c.name, name, KNOWN if least <= 1e-4 else DIFFERENT, error=least)


def _explains_the_top_class(c: Any, info: dict, name: str) -> Record:
    """The seed's integrated gradients: whatever it was asked, the map of the top class.

    Ours, asked the same, is another map wherever the target is not the top class.
    """
    (stored,), target = wanted(c, name)[None], targets_of(c, info, name)
    analyzer = tfxai.create_analyzer(
        "integrated_gradients", c.model, steps=64, quadrature="left"
    )
    top = np.int32(info["argmax"])[:, None]
    theirs, asked = (ours(analyzer, c.inputs, t)[0][0] for t in (top, target))
    least, others = far(theirs, stored), (target != top)[:, 0]
    assert not others.any() or (asked[others] != theirs[others]).any()
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
    """The public analyzer of one of the files, by what its index says."""
    kept = {k: v for k, v in options.items() if k not in ("bias", "note")}
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
    """The records of a file: the top output of each of its networks."""
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


#: Zennit's case -> preset. The start is logit x one-hot.
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
#: The cases that are public analyzers with their own defaults -> name, options.
PEERS: dict[str, tuple[str, dict[str, Any]]] = {
    "lrp.composite.EpsilonPlus": ("lrp.epsilon_plus", {}),
    "lrp.composite.EpsilonPlusFlat": ("lrp.epsilon_plus_flat", {}),
    "lrp.composite.EpsilonAlpha2Beta1": ("lrp.epsilon_alpha2_beta1", {}),
    "lrp.composite.EpsilonAlpha2Beta1Flat": ("lrp.epsilon_alpha2_beta1_flat", {}),
    "lrp.composite.EpsilonGammaBox": ("lrp.epsilon_gamma_box", _BOX),
    "lrp.composite.ExcitationBackprop": ("lrp.excitation_backprop", {}),
    "captum.Saliency_signed": ("gradient", {}),
    "captum.InputXGradient": ("input_t_gradient", {}),
    "captum.GuidedBackprop": ("guided_backprop", {}),
    "captum.Deconvolution": ("deconvnet", {}),
}
#: Captum's trapezoid gives n nodes the weights of n parts: they sum to (n - 1) / n.
TRAPEZOID = "captum.IntegratedGradients_trapezoid50_zero"
#: At the baseline 0 the windows of its pools tie, and which value wins is a matter of
#: rounding: that one slope of fifty, with its weight 1 / 100, is all that differs.
TIES = "plain_vgg_mini_d"


def peer(facts: dict, data: dict) -> tuple[str, dict[str, Any]] | None:
    """Our analyzer and its options for a case of Zennit or Captum."""
    name, given = facts["id"], facts["params"]
    if name in PEERS or name in ZENNIT_SETUPS:
        return PEERS.get(name, ("lrp.z", {"preset": ZENNIT_SETUPS.get(name)}))
    baseline = data["baseline"] if given.get("baseline") == "aux" else 0  # per sample
    kind = name.split(".")[1].split("_")[0]
    if kind == "IntegratedGradients":
        at = "trapezoid" if name == TRAPEZOID else "gauss_legendre"
        options = {"steps": 50, "quadrature": at, "baseline": baseline}
        return "integrated_gradients", options
    if kind == "DeepLift":
        return "deeplift", {"baseline": baseline}
    if kind == "LayerGradCam":
        layer = {"layer": given["layer"], "relu": given["relu"]}
        return "gradcam", {**layer, "resize": "none"}
    if kind == "GuidedGradCam":
        layer = re.fullmatch(r"captum\.GuidedGradCam_(\w+)", name)[1]
        return "guided_gradcam", {"layer": layer, "relu": True, "resize": "nearest"}
    if kind == "Occlusion":
        sizes = {"window": tuple(given["window"]), "stride": tuple(given["strides"])}
        return "occlusion", {**sizes, "baseline": baseline}
    if kind == "FeatureAblation":
        return "occlusion", {"segments": data["mask_fine"][0]}
    if kind.startswith("Shapley"):
        return shapley(kind, data)
    return None


def shapley(kind: str, data: dict) -> tuple[str, dict[str, Any]]:
    """All subsets of the coarse features, or the saved orders of the fine ones."""
    exact = kind == "ShapleyValues"
    segments = data["mask_coarse" if exact else "mask_fine"][0]
    segments = segments[..., 0] if segments.ndim > 1 else segments
    d = len(np.unique(segments))
    options = {"segmenter": segments, "fill": 0, "scale": "logit"}
    if exact:
        return "kernel_shap", {**options, "n_samples": 2**d}
    return "shapley_sampling", {**options, "n_samples": (d - 1) * len(data["perms"])}


@cache
def peers(network: str) -> tuple[Record, ...]:
    """The records of one of Zennit's and Captum's networks."""
    folder, load = shared_path(ZENNIT), loader(ZENNIT)
    model = load.build_keras_model(*load.load_network(folder, network))
    data, stored = (f(folder, network) for f in (load.load_data, load.load_expected))
    return tuple(
        _peer(network, model, data, facts, stored[facts["id"]])
        for facts in index(ZENNIT)["networks"][network]["cases"]
    )


def _peer(
    network: str, model: keras.Model, data: dict, facts: dict, stored: np.ndarray
) -> Record:
    name = facts["id"]
    known = peer(facts, data)
    assert known is not None, f"{name}: no analyzer"
    tolerance = max(1e-4, 10 * (facts["f32_noise_rel"] or 0))
    with patch("tfxai.sampling.shapley.permutations", lambda *_: data["perms"]):
        made = _peers_map(model, *known, data["x"], np.int32(data["targets"])[:, None])
    made = np.broadcast_to(made, stored.shape)
    least = far(made, stored)
    if name == TRAPEZOID:
        made = made * np.float32(49 / 50)
        again = far(made, stored)
        if network == TIES:
            slope = tfxai.explain(model, 0 * data["x"], "gradient", data["targets"])
            most = 2 * np.abs(slope.relevance).max() * np.abs(data["x"]) / 100
            again = 0.0 if (np.abs(made - stored) <= most + 1e-6).all() else again
        status = KNOWN if again <= tolerance < least else DIFFERENT
        return Record(network, name, status, error=again)
    if least <= tolerance:
        return Record(network, name, AGREED, error=least)
    return Record(network, name, DIFFERENT, error=least)


def _peers_map(
    model: keras.Model, method: str, options: dict, x: np.ndarray, target: np.ndarray,
    compiled: bool = False,
) -> np.ndarray:  # fmt: skip
    """The map (B, ...); a baseline of each sample's own takes an analyzer for each.

    Those are compiled: eagerly TensorFlow asks for a slope of the kernels, too, and for
    one picture of `res_bn_a` its convolution aborts on some processors.
    """
    own = options.get("baseline")
    if np.ndim(own) < x.ndim:
        made = tfxai.create_analyzer(method, model, **options)
        return ours(made, [x], target, compiled)[0][0]
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


# -- each row on one neuron, by hand -------------------------------------------------


def net(shape: tuple, *layers: Any) -> keras.Model:
    """A chain: layers without weights, and (layer, all its weights in one list)."""
    x = y = keras.Input(shape)
    for layer in layers:
        y = (layer[0] if isinstance(layer, tuple) else layer)(y)
    for layer, numbers in (v for v in layers if isinstance(v, tuple)):
        shapes = [w.shape for w in layer.weights]
        cuts = np.cumsum([np.prod(s) for s in shapes])[:-1].astype(int)
        parts = np.split(np.asarray(numbers, np.float32), cuts)
        layer.set_weights([p.reshape(s) for p, s in zip(parts, shapes, strict=True)])
    return keras.Model(x, y)


def dense(*weights: float, units: int = 1) -> tuple[keras.Layer, list]:
    """A dense layer without bias."""
    return L.Dense(units, use_bias=False), list(weights)


def separable() -> keras.Model:
    return net((1, 1, 1), (L.SeparableConv2D(1, 1, use_bias=False), [-1, -2]))


def norm(*weights: float) -> keras.Model:
    return net((1,), (L.BatchNormalization(), list(weights)))


def sum_of_two() -> keras.Model:
    """f = a + b with a = b = 2 x."""
    x = keras.Input((1,))
    a, b = L.Dense(1, use_bias=False), L.Dense(1, use_bias=False)
    h = a(x)
    model = keras.Model(x, L.Add()([h, b(h)]))
    a.set_weights([np.array([[2]])])
    b.set_weights([np.array([[1]])])
    return model


def mean_of_relu() -> keras.Model:
    """f = (relu(a) + relu(a - 2 b)) / 2."""
    mean = L.Reshape((2, 1)), L.GlobalAveragePooling1D()
    return net((2,), dense(1, 1, 0, -2, units=2), L.Activation("relu"), *mean)


def two(layer: keras.Layer) -> keras.Model:
    """f = layer(x1, x2)."""
    x = keras.Input((2,))
    a, b = L.Dense(1, use_bias=False), L.Dense(1, use_bias=False)
    model = keras.Model(x, layer([a(x), b(x)]))
    a.set_weights([np.array([[1], [0]])])
    b.set_weights([np.array([[0], [1]])])
    return model


def half(x, m, r):
    """Of a product of two: a half of R to each, whatever x is."""
    return np.concatenate([r, r], -1) / 2


def slope(x, m, r):
    """W^T R."""
    return r @ m.W.T


class Example(NamedTuple):
    """Where the row makes a difference: the paper's map (by `formula`), the old one."""

    row: str
    network: Callable[[], keras.Model]
    x: list[float]
    method: str
    formula: Callable
    paper: list[float]
    old: list[float]


#: The numbers of the first six are those of RULES.md, section 7.
EXAMPLES = (
    Example(
        "biases", lambda: net((1,), (L.Dense(1), [1, -0.5])), [1],
        "lrp.alpha_1_beta_0", O.z_plus, [0.5], [1.0],
    ),
    Example(
        "biases", lambda: net((2,), (L.Dense(1), [1, -0.4, 0.5])), [1, 1],
        "lrp.alpha_2_beta_1", O.alpha_beta, [1.467, -1.1], [1.467, 4.4],
    ),
    Example("norm", lambda: norm(0.5, 0, 1, 1), [3], "lrp.z", O.z, [1.5], [2.9985]),
    Example("norm", lambda: norm(1, 0.5, 1, 4), [3], "lrp.z", O.z, [1.5], [1.125]),
    Example("separable", separable, [1], "lrp.z_plus", O.z_plus, [2], [0]),
    Example(
        "separable", separable, [1], "lrp.alpha_2_beta_1_IB",
        partial(O.alpha_beta, bias=False), [4], [-2],
    ),
    Example("add", sum_of_two, [1], "deep_taylor", O.z_plus, [4], [8]),
    Example(
        "mean", lambda: net((2, 1), L.GlobalAveragePooling1D()), [1, 3],
        "deep_taylor", O.z_plus, [0.5, 1.5], [1, 1],
    ),
    Example(
        "padding",
        lambda: net(
            (2, 1),
            L.ZeroPadding1D((1, 0)),
            (L.Conv1D(1, 3, use_bias=False), [9, 1, 1]),
            L.Flatten(),
        ),
        [1, -0.5], "deep_taylor.bounded",
        partial(O.z_box, low=np.array([0, -1, -1]), high=np.array([0, 1, 1])),
        [0.4, 0.1], [0.5, 0],
    ),
    Example(
        "relu", lambda: net((1,), dense(1, -1, units=2), L.ReLU(), dense(1, 1)), [1],
        "lrp.flat", O.flat, [1], [0.5],
    ),
    Example(
        "leaky_relu", lambda: net((1,), dense(-1), L.LeakyReLU(0.2), dense(-1)), [1],
        "lrp.z", O.z, [0.2], [0.04],
    ),
    Example(
        "merge", lambda: two(L.Average()), [1, 3], "lrp.z", O.z, [0.5, 1.5], [1, 1],
    ),
    Example(
        "merge", lambda: two(L.Subtract()), [3, 1], "lrp.z", O.z, [3, -1], [2, -2],
    ),
    Example(
        "product", lambda: two(L.Multiply()), [1, 3], "lrp.z", O.z, [1.5, 1.5], [9, 3],
    ),
    Example(
        "start", lambda: net((2,), (L.Dense(1), [1, 2, 0.3])), [1, 1],
        "guided_backprop", slope, [1, 2], [3.3, 6.6],
    ),
    Example(
        "start", lambda: net((2,), dense(1, 2)), [0, -1],
        "deconvnet", slope, [1, 2], [-2, -4],
    ),
    Example(
        "activation", mean_of_relu, [1, 1], "deep_taylor", O.z_plus,
        [0.5, 0], [0.25, 0],
    ),
)  # fmt: skip


@pytest.mark.parametrize("e", EXAMPLES, ids=[f"{e.row} {e.paper}" for e in EXAMPLES])
def test_a_row_on_one_neuron(e):
    model, box = e.network(), _BOX if e.method == "deep_taylor.bounded" else {}
    x, top = np.reshape(e.x, (1, *model.input_shape[1:])), np.zeros((1, 1), np.int32)
    graph = tfxai.create_analyzer(e.method, model, **box).graph
    linear = ("dense", "conv", "scale", "add", "average", "Subtract")
    kinds = {**dict.fromkeys(linear, e.formula), "Multiply": half}
    start = np.ones_like if graph.head is H.unit else np.asarray

    paper = O.lrp(model, [np.float64(x)], lambda f: start(f)[None], kinds)[0]
    assert np.ravel(paper) == pytest.approx(np.float64(e.paper), abs=1e-3)
    assert far(run(graph, [x], top)[0], paper) < 1e-5

    entry = Entry("by hand", e.row, graph)
    rows = tuple(r for r in KNOWN_DIFFERENCES if r.applies(entry))
    assert e.row in [r.name for r in rows]
    old = restored(entry, rows, [x], top)[0]
    assert np.ravel(old) == pytest.approx(np.float64(e.old), abs=1e-3)
    others = tuple(r for r in rows if r.name != e.row)
    assert far(restored(entry, others, [x], top)[0], old) > 1e-2, "it is another row"


def test_every_row_has_an_example():
    assert {e.row for e in EXAMPLES} == {r.name for r in KNOWN_DIFFERENCES}


def test_a_nested_model_is_the_network_written_out():
    """Bug 8: there the inner model gets the gradient, and nobody is told."""
    model, flat = zoo.nested()
    x, targets = zoo.inputs(flat), np.array([[0, 2], [3, 1]], np.int32)
    rules = {"dense": O.z_plus, "conv": O.z_plus}

    def seeds(f):
        return O.masked(f, np.eye(4)[targets.T])

    paper = O.lrp(flat, [np.float64(x[0])], seeds, rules, O.z_box)[0]
    for network in (flat, model):
        analyzer = tfxai.create_analyzer("deep_taylor.bounded", network, low=-1, high=1)
        assert far(run(analyzer.graph, x, targets)[0], paper) < 1e-5


# -- the count -----------------------------------------------------------------------


def counts() -> dict[str, Counter]:
    """How many analyzers of all cases agreed, are a known difference, or neither."""
    cases, files = index(INNVESTIGATE)["cases"], index(_UPSTREAM)["analyzers"]
    return {
        "iNNvestigate": Counter(r.status for c in cases for r in survey(c)[0]),
        "its own files": Counter(r.status for f in files for r in upstream(f)[0]),
        "Zennit and Captum": Counter(
            r.status for n in index(ZENNIT)["networks"] for r in peers(n)
        ),
    }


#: What `counts` must tell.
COUNTS = {
    "iNNvestigate": {AGREED: 782, KNOWN: 549, UNUSABLE: 35},
    "its own files": {AGREED: 136, KNOWN: 14, UNCOVERED: 6},
    "Zennit and Captum": {AGREED: 375, KNOWN: 9},
}


@QUIET
@NO_FIRST
@pytest.mark.shared
def test_every_row_is_needed_and_the_counts_are_told(capsys):
    shared_path(INNVESTIGATE)
    proved = set().union(*(survey(c)[1] for c in index(INNVESTIGATE)["cases"]))
    assert proved == {row.name for row in KNOWN_DIFFERENCES}
    told = counts()
    with capsys.disabled():
        for source, count in told.items():
            print(f"\n{source}: {dict(count)}, of {count.total()}", end="")
    assert told == COUNTS
