"""Every analyzer x every kind of model: a checked number or a named refusal.

`KINDS` is the one table. Kinds that spell one network in several ways give the maps of
that network written plainly; of all others, the score must be the model's own, the
map must follow the target, and a batch must be its samples one by one.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tests import zoo
from tfxai.errors import (
    BlackBoxError,
    InputError,
    ModelError,
    OptionError,
    TfxaiError,
)

SLOW = pytest.mark.slow
pytestmark = pytest.mark.filterwarnings("ignore::tfxai.errors.TfxaiWarning")

L, ops = keras.layers, keras.ops
ROWS = {row.name: row for row in tfxai.methods()}
NAMES = list(ROWS)
SAMPLES, SIDE, CHANNELS, WORDS = 2, 8, 4, 9


# -- the kinds of models -------------------------------------------------------------


@dataclass
class Kind:
    """A model, its inputs, and what its maps must be.

    target: two targets per sample, or one where `target` is no array.
    spells: is it the network `plain`, written in another way? parts: the slices of
    the plain map's channels that belong to its inputs. near: the tolerance.
    """

    model: Any
    x: Any
    target: Any = field(default_factory=lambda: [[0, 1]] * SAMPLES)
    spells: bool = False
    parts: list = field(default_factory=lambda: [slice(None)])
    near: float = 1e-4
    output: int = 0

    @property
    def inputs(self) -> list[np.ndarray]:
        return self.x if isinstance(self.x, list) else [self.x]

    def scores(self) -> np.ndarray:
        """The model's own answers to the targets."""
        y = self.model(self.x)
        y = np.asarray(keras.tree.flatten(y)[self.output], np.float32)
        if isinstance(self.target, tuple):
            return y[(slice(None), *self.target)]
        return np.take_along_axis(y, np.asarray(self.target), 1)


def body(x):
    x = L.Conv2D(6, 3, activation="relu", name="one")(x)
    x = L.MaxPooling2D(name="pool")(x)
    return L.Conv2D(5, 2, activation="relu", name="two")(x)


def head(x):
    return L.Dense(3, name="answer")(L.Flatten(name="flat")(x))


def pictures(seed=5):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (SAMPLES, SIDE, SIDE, CHANNELS)).astype("float32")


def functional():
    x = keras.Input((SIDE, SIDE, CHANNELS))
    return zoo.fill(keras.Model(x, head(body(x))))


@cache
def weights():
    """Of the plain network, by layer."""
    return {v.path: v.numpy() for v in functional().weights}


def with_weights(model):
    """The same network's weights, whatever is around the layers."""
    for v in model.weights:
        (name,) = [n for n in weights() if v.path.endswith(n)]
        v.assign(weights()[name])
    return model


def sequential():
    x = keras.Input((SIDE, SIDE, CHANNELS))
    return keras.Sequential([x, *functional().layers[1:]])


def nested():
    """The transfer-learning idiom: a backbone without its top, and a new head."""
    i = keras.Input((SIDE, SIDE, CHANNELS))
    backbone = keras.Model(i, body(i), name="backbone")
    x = keras.Input((SIDE, SIDE, CHANNELS))
    return keras.Model(x, head(backbone(x, training=False)))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.one = L.Conv2D(6, 3, name="one")
        self.two = L.Conv2D(5, 2, activation="relu", name="two")
        self.pool, self.answer = L.MaxPooling2D(), L.Dense(3, name="answer")

    def call(self, x):
        x = self.two(self.pool(ops.relu(self.one(x))))
        return self.answer(ops.reshape(x, (ops.shape(x)[0], -1)))


class Raw(Subclassed):
    """The same in raw TensorFlow."""

    def call(self, x):
        x = tf.nn.relu(self.one(x))
        x = self.two(tf.nn.max_pool2d(x, 2, 2, "VALID"))
        return self.answer(tf.reshape(x, [tf.shape(x)[0], 20]))


def called(model):
    model(pictures())
    return model


def two_inputs():
    a, b = keras.Input((SIDE, SIDE, 2)), keras.Input((SIDE, SIDE, 2))
    return keras.Model([a, b], head(body(L.Concatenate()([a, b]))))


def two_outputs():
    x = keras.Input((SIDE, SIDE, CHANNELS))
    y = body(x)
    return keras.Model(x, [L.GlobalAveragePooling2D()(y), head(y)])


def mixed():
    before = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy("mixed_bfloat16")
        x = keras.Input((SIDE, SIDE, CHANNELS))
        y = L.Flatten(name="flat")(body(x))
        return keras.Model(x, L.Dense(3, name="answer", dtype="float32")(y))
    finally:
        keras.config.set_dtype_policy(before)


def halves():
    x = pictures()
    return [x[..., :2], x[..., 2:]]


def drawn(*shape):
    return np.random.default_rng(3).normal(size=(SAMPLES, *shape)).astype("float32")


def series():
    x = keras.Input((12, 2))
    y = L.Conv1D(5, 3, activation="relu")(x)
    y = L.Conv1D(4, 3, activation="relu")(L.MaxPooling1D()(y))
    return zoo.fill(keras.Model(x, L.Dense(3)(L.Flatten()(y))))


def tabular(units=3):
    x = keras.Input((7,))
    return zoo.fill(keras.Model(x, L.Dense(units)(L.Dense(6, "relu")(x))))


def reader():
    x = keras.Input((6,), dtype="int32")
    y = L.Embedding(WORDS, 5, mask_zero=True)(x)
    y = L.Dense(6, "relu")(y)
    return zoo.fill(keras.Model(x, L.Dense(3)(L.GlobalAveragePooling1D()(y))))


def tokens():
    x = np.random.default_rng(2).integers(1, WORDS, (SAMPLES, 6)).astype("int32")
    x[0, 4:] = 0
    return x


def vit():
    x = keras.Input((SIDE, SIDE, CHANNELS))
    y = L.Reshape((4, 6))(L.Conv2D(6, 4, 4, name="patches")(x))
    z = L.LayerNormalization()(y)
    y = L.Add()([y, L.MultiHeadAttention(2, 3)(z, z)])
    y = L.Add()([y, L.Dense(6, "gelu")(L.LayerNormalization()(y))])
    return zoo.fill(keras.Model(x, L.Dense(3)(L.GlobalAveragePooling1D()(y))))


def segmenting():
    x = keras.Input((SIDE, SIDE, CHANNELS))
    y = L.Conv2D(5, 3, padding="same", activation="relu")(x)
    y = L.Conv2D(5, 3, padding="same", activation="relu")(y)
    return zoo.fill(keras.Model(x, L.Conv2D(3, 1)(y)))


#: name -> the kind. Those that spell the first network in another way say so.
KINDS: dict[str, Callable[[], Kind]] = {
    "functional": lambda: Kind(functional(), pictures()),
    "sequential": lambda: Kind(sequential(), pictures(), spells=True),
    "nested": lambda: Kind(with_weights(nested()), pictures(), spells=True),
    "subclassed": lambda: Kind(
        with_weights(called(Subclassed())), pictures(), spells=True
    ),
    "raw TensorFlow": lambda: Kind(
        with_weights(called(Raw())), pictures(), spells=True
    ),
    "two inputs": lambda: Kind(
        with_weights(two_inputs()), halves(), spells=True,
        parts=[slice(0, 2), slice(2, 4)],
    ),
    "two outputs": lambda: Kind(
        with_weights(two_outputs()), pictures(), spells=True, output=1
    ),
    "mixed precision": lambda: Kind(
        with_weights(mixed()), pictures(), spells=True, near=5e-2
    ),
    "series": lambda: Kind(series(), drawn(12, 2)),
    "tabular": lambda: Kind(tabular(), drawn(7)),
    "tokens": lambda: Kind(reader(), tokens()),
    "ViT": lambda: Kind(vit(), pictures()),
    "regression": lambda: Kind(tabular(1), drawn(7), target=[[0]] * SAMPLES),
    "segmentation": lambda: Kind(segmenting(), pictures(), target=(2, 3, 1)),
}  # fmt: skip
kind_of = cache(lambda name: KINDS[name]())

# -- options that an analyzer requires -----------------------------------------------

SMALL = {"n_steps": 6, "n_iterations": 6, "n_samples": 6, "restarts": 0}
SMALL |= {"low": -1.0, "high": 1.0, "base_size": 4, "unit": 1.0, "scale": "logit"}
SMALL |= {"n_blocks": 1, "n_layers": 2, "scales": (200,)}


def spec(name: str) -> Any:
    """The method of that name, also one that a test has registered."""
    return ROWS.get(name) or {m.name: m for m in tfxai.methods()}[name]


def options(name: str, kind: str) -> dict[str, Any]:
    """Small sums, and the range of the input."""
    known = spec(name).options
    given = {k: v for k, v in SMALL.items() if k in known}
    if name in ("expected_gradients", "deepshap"):
        given["background"] = keras.tree.map_structure(lambda v: v, kind_of(kind).x)
    if name == "certified":  # fewer draws certify nothing
        given |= {"n_samples": 60, "sigma": 0.02}
    rank = kind_of(kind).inputs[0].ndim
    if "segmenter" in known and rank > 2:
        cells = (2, 2) if rank == 4 else (4,)
        given |= {"segmenter": "grid", "segmenter_options": {"cells": cells}}
    if name in SEGMENTED | {"rise"}:
        given["baseline"] = int(kind == "tokens")  # all of them padding has no mean
    if {"segmenter", "n_samples"} <= set(known):
        given["n_samples"] = 40
    if name == "occlusion" and rank == 4:
        given |= {"window": (3, 3, 2), "stride": (2, 2, 2)}
    return given


# -- refusals ------------------------------------------------------------------------

RELEVANCE = {n for n, r in ROWS.items() if r.family == "relevance"}
CAMS = {n for n, r in ROWS.items() if r.family == "cam"}
SMOOTH = {"smoothgrad", "squaregrad", "vargrad", "certified"}
LEG = {"leg", "leg_tv", "rise"}
SEGMENTED = {n for n, r in ROWS.items() if "segmenter" in r.options}
LEARNT = {n for n, r in ROWS.items() if r.family == "perturbation"}
ATTENTION = {"attention_rollout", "attention_relevance"}
CONTRAST = {n for n in RELEVANCE if n.startswith(("clrp", "sglrp"))}
#: (analyzers, kinds, error): all that is refused, and no more.
REFUSALS: list[tuple[set[str], set[str], type[TfxaiError]]] = [
    (CAMS, {"tabular", "tokens", "regression"}, ModelError),
    (SMOOTH, {"tokens"}, ModelError),
    ({"blur_integrated_gradients"}, {"tabular", "tokens", "regression"}, InputError),
    ({"conductance", "internal_influence"}, {"tokens"}, InputError),
    ({"pattern.net", "pattern.attribution"}, {"ViT"}, ModelError),
    ({"pattern.net", "pattern.attribution"}, {"tokens"}, InputError),
    (
        {"xrai"},
        {"two inputs", "series", "tabular", "tokens", "regression"},
        InputError,
    ),
    (ATTENTION, set(KINDS) - {"ViT"}, ModelError),
    (CONTRAST, {"regression"}, ModelError),
    (LEG, {"two inputs", "tabular", "tokens", "regression"}, InputError),
    ({"d_rise"}, set(KINDS), OptionError),  # of detectors, in test_detections
    (LEARNT, {"two inputs", "tabular", "tokens", "regression", "series"}, InputError),
]


def refusal(name: str, kind: str) -> type[TfxaiError] | None:
    found = [e for names, kinds, e in REFUSALS if name in names and kind in kinds]
    return found[0] if found else None


#: Where the plain network's map is none to compare with: noise, masks and segments are
#: those of each input by itself, maps of FullGrad are rescaled for each input, and a
#: layer's number depends on the spelling.
OWN_WAY = {
    "two inputs": SMOOTH | SEGMENTED | {"scorecam", "random", "fullgrad"},
    "mixed precision": {"certified"},  # ranks, which rounding changes
}
COUNTING = {"lrp.rule_until_index", "lrp.sequential_preset_b_flat_until_idx"}


@lru_cache(maxsize=2)
def explained(name: str, kind: str) -> Any:
    """Return the analyzer and its explanation of both targets.

    The cache holds two entries, the cell under test and the functional model of the
    same method, so that a worker does not keep every analyzer in memory.
    """
    k = kind_of(kind)
    made = tfxai.create_analyzer(name, wrapped(kind), **options(name, kind))
    if hasattr(made, "fit"):
        made.fit(k.x)
    return made, made.analyze(k.x, k.target)


@cache
def wrapped(kind: str) -> Any:
    """Return the model of a kind, read once for all methods."""
    k = kind_of(kind)
    return tfxai.wrap(k.model, output=k.output)


def maps(e) -> list[np.ndarray]:
    return e.relevance if isinstance(e.relevance, list) else [e.relevance]


#: One method of each code path; the default run tests them on every kind of model.
REPRESENTATIVES = (
    *("gradient", "integrated_gradients", "smoothgrad", "gradcam"),
    *("lrp.epsilon", "lrp.alpha_2_beta_1", "lrp.attn", "sglrp"),
    *("guided_backprop", "deeplift", "occlusion", "lime", "kernel_shap", "rise", "leg"),
    "meaningful_perturbation",
)
#: The kinds of model that every method explains in the default run.
ALWAYS = ("functional", "series")
#: The kinds of model that a compiled function treats differently: open batches of
#: several inputs, of tokens, of half precision, of maps, of attention.
COMPILED = ("functional", "raw TensorFlow", "two inputs", "mixed precision", "tokens")
COMPILED += ("ViT", "segmentation")
#: Methods that share their code with a representative: the functional model is enough.
ALIKE = (CAMS - set(REPRESENTATIVES)) | {
    *("conductance", "internal_influence", "idgi", "xrai", "input", "random"),
    *("deepshap", "certified", "attention_rollout", "attention_relevance"),
    *("pattern.net", "pattern.attribution"),
}


def cells() -> list:
    """Return the parameters: every method x every kind of model, method by method.

    Cells outside the default run are slow. The cells of one method run on one worker.
    """
    return [
        pytest.param(
            name,
            kind,
            id=f"{name}-{kind}",
            marks=[
                pytest.mark.xdist_group(name),
                *([] if _by_default(name, kind) else [SLOW]),
            ],
        )
        for name in NAMES
        for kind in KINDS
    ]


def _by_default(name: str, kind: str) -> bool:
    if name in ALIKE:
        return kind == "functional"
    return name in REPRESENTATIVES or kind in ALWAYS


@pytest.fixture(autouse=True)
def some_compiled(request):
    """Compile one cell of each code path; run all others operation by operation."""
    cell = getattr(request.node, "callspec", None)
    name, kind = (cell.params.get(k) for k in ("name", "kind")) if cell else (0, 0)
    if name not in REPRESENTATIVES or kind not in COMPILED:
        request.getfixturevalue("uncompiled")


@pytest.mark.parametrize("name, kind", cells())
def test_a_checked_number_or_a_named_refusal(name, kind):
    check(name, kind, refusal(name, kind))


def check(name: str, kind: str, error: type[TfxaiError] | None = None) -> None:
    """Check one method on one kind of model, or that it raises `error`."""
    k = kind_of(kind)
    if error is not None:
        with pytest.raises(error) as caught:
            explained(name, kind)
        assert caught.value.wanted and not isinstance(caught.value, BlackBoxError)
        return
    analyzer, e = explained(name, kind)
    np.testing.assert_allclose(e.score, k.scores(), k.near, k.near)
    for m, x in zip(maps(e), k.inputs, strict=True):
        lead = (SAMPLES,) if isinstance(k.target, tuple) else np.shape(k.target)
        assert m.dtype == np.float32 and np.isfinite(m).all()
        assert m.shape in ((*lead, *x.shape[1:]), (*lead, *x.shape[1:-1], 1))
    _follows_the_target(e, k)
    _is_its_samples(analyzer, e, k)
    if k.spells and name not in OWN_WAY.get(kind, set()) | COUNTING:
        _is_the_plain_map(name, e, k)
    if kind == "tokens":
        assert (maps(e)[0][:1, :, 4:] == 0).all() or name in (FLAT | SEGMENTED | BLIND)


FLAT = {"lrp.flat"}
#: Methods whose map is the same for every target.
BLIND = {"eigencam", "input", "random", "attention_rollout"}


def _follows_the_target(e, k) -> None:
    """Two targets, two maps."""
    assert any(np.abs(m).max() > 0 for m in maps(e))
    if e.method in BLIND:
        return
    if np.ndim(k.target) == 2 and np.shape(k.target)[1] == 2:
        assert any(np.abs(m[:, 0] - m[:, 1]).max() > 0 for m in maps(e))


def _is_its_samples(analyzer, e, k) -> None:
    """A batch is its samples, one by one."""
    again = analyzer.analyze(k.x, k.target, batch_size=1)
    for m, n in zip(maps(e), maps(again), strict=True):
        assert np.abs(m - n).max() <= 1e-4 * np.abs(m).max()


def _is_the_plain_map(name, e, k) -> None:
    (plain,) = maps(explained(name, "functional")[1])
    for m, part in zip(maps(e), k.parts, strict=True):
        wanted = plain if plain.shape[-1] == 1 else plain[..., part]
        wanted = np.broadcast_to(wanted, np.broadcast_shapes(wanted.shape, m.shape))
        assert np.abs(m - wanted).max() <= k.near * np.abs(plain).max()


# -- the table in the documentation (tests/write_tables.py) --------------------------


def table() -> list[str]:
    """Analyzers that fare alike share a line; a dot is a checked map."""
    lines: dict[tuple, list[str]] = {}
    for name in NAMES:
        cells = tuple(_cell(refusal(name, kind)) for kind in KINDS)
        lines.setdefault(cells, []).append(name)
    head = ["analyzers", *KINDS]
    rows = [
        f"| {', '.join(f'`{n}`' for n in names)} | {' | '.join(cells)} |"
        for cells, names in lines.items()
    ]
    return [f"| {' | '.join(head)} |", "|---|" + ":-:|" * len(KINDS), *rows]


def _cell(error: type | None) -> str:
    return "●" if error is None else error.__name__.removesuffix("Error")
