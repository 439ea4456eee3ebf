"""Single steps against formulas in NumPy: operations, kernels, norms, an LSTM."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tests import oracles as O
from tests.relevance.layer_zoo import I, M, V, close, fill, two
from tests.relevance.own_layers import (
    WORDS,
    ConvVariable,
    EinsumVariable,
    Patches,
    Sliced,
    Symmetric,
    WeightTimes,
)
from tfxai.relevance import presets as P
from tfxai.relevance import rules as R
from tfxai.relevance.heads import Head
from tfxai.relevance.relevance_model import RelevanceModel

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*destroy the mask.*"),
    pytest.mark.filterwarnings("ignore:.*`build\\(\\)` was called on layer.*"),
    pytest.mark.filterwarnings("ignore::tfxai.errors.TfxaiWarning"),
]

L = keras.layers
ops = keras.ops

# -- single steps against formulas in NumPy ------------------------------------------


def back(model, xs, r, preset=None):
    """Return the relevance of each input for relevance r (K, B, ...) of the output."""
    given = Head("given", lambda logits, target: tf.constant(r, tf.float32))
    preset = preset or P.epsilon(epsilon=1e-12)
    graph = RelevanceModel(model, tfxai.wrap(model).program(), preset, given)
    target = tf.zeros(r.shape[1::-1], tf.int32)
    maps = tf.function(graph.propagate, autograph=False)(
        [tf.constant(x) for x in cast(model, xs)], target
    )
    return [np.asarray(m) for m in maps["relevance"]]


def cast(model, xs):
    pairs = zip(xs, model.inputs, strict=True)
    return [np.asarray(x, t.dtype) for x, t in pairs]


def summed(v, shape):
    """Sum over the axes that were broadcast from `shape` (after K and B)."""
    axes = [a for a in range(2, v.ndim) if shape[a - 2] == 1 and v.shape[a] != 1]
    return v.sum(tuple(axes), keepdims=True)


def softmax(v):
    e = np.exp(v - v.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def swap(v):
    return np.swapaxes(v, -1, -2)


def _softmax_rule(r, x):
    """x_i (R_i - s_i sum R)."""
    return [x * (r - softmax(x) * r.sum(-1, keepdims=True))]


def _matmul_rule(r, a, b):
    """A * ((R / 2 O) B^T), B * (A^T (R / 2 O))."""
    s = r / (2 * (a @ b))
    return [a * (s @ swap(b)), b * (swap(a) @ s)]


def _transposed_rule(r, a, b):
    """The same for A B^T."""
    left, right = _matmul_rule(r, a, swap(b))
    return [left, swap(right)]


def _gate_rule(r, a, b):
    return [r + 0 * a, 0 * r]


def _divide_rule(r, a, b):
    return [r, 0 * r.sum(-1, keepdims=True)]


def _shares(*signs):
    def rule(r, *xs):
        z = sum(k * x for k, x in zip(signs, xs, strict=True))
        return [k * x / z * r for k, x in zip(signs, xs, strict=True)]

    return rule


def _winner(better):
    return lambda r, a, b: [r * better(a, b), r * better(b, a)]


def _norm_rule(axes, centred=True, groups=None, epsilon=1e-3, power=2):
    """x * M^T(R / y), y = M x + beta, M = gamma / sigma (1 - mean), sigma constant."""

    def rule(r, x, gamma=1.0, beta=0.0):
        shape = x.shape
        if groups:
            split = (shape[-1] // groups, groups)
            x = x.reshape(*shape[:-1], *split[::-1])
        over = tuple(a + x.ndim - 1 if groups and a < 0 else a for a in axes)

        def mean(v):
            return v.mean(over, keepdims=True) if centred else 0.0

        sigma = np.sqrt(((x - mean(x)) ** 2).mean(over, keepdims=True) + epsilon)

        def scaled(v):
            return np.reshape(v / sigma, shape)

        y = gamma * scaled(x - mean(x)) + beta
        result = []
        for one in r:
            s = np.reshape(one / y * gamma, x.shape) / sigma
            result.append(np.reshape(x * (s - mean(s)), shape))
        return [np.stack(result)]

    return rule


def _weighted_norm(**options):
    plain = _norm_rule(**options)

    def rule(r, x, layer):
        names = {v.name: v.numpy() for v in layer.weights}
        gamma = names.get("gamma", names.get("scale", 1.0))
        return plain(r, x, gamma, names.get("beta", 0.0))

    return rule


def _unit_rule(r, x):
    """One factor for the whole sample: R / y * y."""
    return [r]


#: name -> (model, the relevance of its inputs from (r, *inputs), kind of its step)
STEPS = {
    "softmax": (lambda: two(lambda x: ops.softmax(x) * 2.0, V), _softmax_rule),
    "softmax_layer": (lambda: two(lambda x: L.Softmax()(x) * 2.0, M), _softmax_rule),
    "matmul": (lambda: two(ops.matmul, M, (4, 2)), _matmul_rule),
    "einsum": (
        lambda: two(lambda a, b: ops.einsum("bij,bkj->bik", a, b), M, (2, 4)),
        _transposed_rule,
    ),
    "dot": (
        lambda: two(lambda a, b: L.Dot(axes=2)([a, b]), M, (2, 4)), _transposed_rule,
    ),
    "multiply": (lambda: two(ops.multiply, V, V), lambda r, a, b: [r / 2, r / 2]),
    "multiply_broadcast": (
        lambda: two(ops.multiply, M, (3, 1)),
        lambda r, a, b: [r / 2, r.sum(-1, keepdims=True) / 2],
    ),
    "multiply_three": (
        lambda: two(lambda *v: L.Multiply()(v), V, V, V),
        lambda r, *x: [r / 3, r / 3, r / 3],
    ),
    "square_by_product": (lambda: two(lambda a: a * a, V), lambda r, a: [r]),
    "gate": (lambda: two(lambda a, b: a * ops.sigmoid(b), V, V), _gate_rule),
    "gate_first": (
        lambda: two(lambda a, b: ops.sigmoid(b) * a, V, V), _gate_rule,
    ),
    "gate_of_gru": (
        lambda: two(lambda a, b: (1.0 - ops.sigmoid(b)) * a, V, V), _gate_rule,
    ),
    "gate_of_itself": (lambda: two(lambda a: a * ops.hard_sigmoid(a + 9), V),
                       lambda r, a: [r]),
    "divide": (
        lambda: two(lambda a, b: a / (ops.square(b) + 1.0), V, (1,)), _divide_rule,
    ),
    "add": (lambda: two(ops.add, V, V), _shares(1, 1)),
    "add_three": (lambda: two(lambda *v: L.Add()(v), V, V, V), _shares(1, 1, 1)),
    "add_broadcast": (
        lambda: two(ops.add, M, (1, 4)),
        lambda r, a, b: [summed(v * r / (a + b), s.shape[1:])
                         for v, s in ((a, a), (b, b))],
    ),
    "subtract": (lambda: two(lambda a, b: L.Subtract()([a, b]), V, V), _shares(1, -1)),
    "subtract_op": (lambda: two(lambda a, b: a - b, V, V), _shares(1, -1)),
    "average": (lambda: two(lambda a, b: L.Average()([a, b]), V, V), _shares(1, 1)),
    "maximum": (
        lambda: two(lambda a, b: L.Maximum()([a, b]), V, V), _winner(np.greater),
    ),
    "minimum": (
        lambda: two(lambda a, b: L.Minimum()([a, b]), V, V), _winner(np.less),
    ),
    "maximum_op": (lambda: two(ops.maximum, V, V), _winner(np.greater)),
    "where": (
        lambda: two(lambda a, b: ops.where(a > b + 0.3, a, b), V, V),
        _winner_where := lambda r, a, b: [r * (a > b + 0.3), r * (a <= b + 0.3)],
    ),
    "max": (
        lambda: two(lambda a: ops.max(a, 2), M),
        lambda r, a: [r[..., None] * (a == a.max(-1, keepdims=True))],
    ),
    "mean": (
        lambda: two(lambda a: ops.mean(a, 1), M),
        lambda r, a: [a / a.sum(1, keepdims=True) * r[:, :, None]],
    ),
    "clip": (lambda: two(lambda a: ops.clip(a, -0.5, 0.5), V), lambda r, a: [r]),
    "gelu": (lambda: two(ops.gelu, V), lambda r, a: [r]),
    "power": (lambda: two(lambda a: a**2, V), lambda r, a: [r]),
    "embedding": (
        lambda: keras.Model(
            t := keras.Input((4,), dtype="int32"), L.Embedding(WORDS, 3)(t)
        ),
        lambda r, t: [r.sum(-1)],
    ),
    "layer_norm": (lambda: two(L.LayerNormalization(), M),
                   _weighted_norm(axes=(2,))),
    "layer_norm_two_axes": (
        lambda: two(L.LayerNormalization(axis=(1, 2)), M),
        _weighted_norm(axes=(1, 2)),
    ),
    "layer_norm_op": (
        lambda: two(lambda x: ops.layer_normalization(x, axis=-1), M),
        _norm_rule((2,), epsilon=keras.config.epsilon()),
    ),
    "rms_norm": (
        lambda: two(L.RMSNormalization(), M),
        _weighted_norm(axes=(2,), centred=False, epsilon=1e-6),
    ),
    "unit_norm": (lambda: two(L.UnitNormalization(), V), _unit_rule),
    "group_norm": (
        lambda: two(L.GroupNormalization(2), I),
        _weighted_norm(axes=(1, 2, 4), groups=2),
    ),
    "group_norm_one": (
        lambda: two(L.GroupNormalization(1), I), _weighted_norm(axes=(1, 2, 3)),
    ),
    "group_norm_instance": (
        lambda: two(L.GroupNormalization(-1), I), _weighted_norm(axes=(1, 2)),
    ),
}  # fmt: skip


def step_inputs(model, seed=4):
    rng = np.random.default_rng(seed)
    result = []
    for t in model.inputs:
        shape = (2, *t.shape[1:])
        floats = rng.choice([-1, 1], shape) * rng.uniform(0.2, 1.5, shape)
        result.append(rng.integers(0, WORDS, shape) if "int" in t.dtype else floats)
    return result


@pytest.mark.parametrize("name", STEPS)
def test_a_step_is_its_papers_formula(name):
    make, formula = STEPS[name]
    model = fill(make())
    xs = step_inputs(model)
    rng = np.random.default_rng(5)
    y = np.asarray(model(cast(model, xs)))
    r = rng.normal(size=(3, *y.shape))
    with_layer = "weighted" in formula.__qualname__
    wanted = formula(r, *xs, *([model.layers[-1]] if with_layer else []))
    for seeds in (3, 1):
        for ours, theirs in zip(back(model, xs, r[:seeds]), wanted, strict=True):
            theirs = np.broadcast_to(theirs, (3, *ours.shape[1:]))[:seeds]
            if not theirs.any():
                assert not ours.any()
            else:
                close(ours, theirs, 2e-4)


#: Steps that move values: the relevance of a value is that of its new positions.
MOVES = {
    "take": (lambda x: ops.take(x, [2, 0, 0], 1), M),
    "repeat": (lambda x: ops.repeat(x, 3, 2), M),
    "tile": (lambda x: ops.tile(x, (1, 2, 3)), M),
    "pad": (lambda x: ops.pad(x, [[0, 0], [2, 0], [1, 3]]), M),
    "flip": (lambda x: ops.flip(x, 1), M),
    "roll": (lambda x: ops.roll(x, 2, 2), M),
    "slice": (lambda x: x[:, ::2, -3:-1], M),
    "split": (lambda x: ops.concatenate(ops.split(x, 2, -1)[::-1], 1), M),
    "unstack": (lambda x: ops.stack(ops.unstack(x, axis=1)[1:], 1), M),
    "transpose": (lambda x: ops.transpose(x, (0, 2, 1)), M),
    "swap": (lambda x: ops.moveaxis(ops.expand_dims(x, 1), 3, 1), M),
    "repeat_vector": (lambda x: L.RepeatVector(3)(x), V),
    "crop_and_pad": (lambda x: L.ZeroPadding2D(2)(L.Cropping2D(1)(x)), I),
    "upsample": (lambda x: L.UpSampling2D(2)(x), I),
    "patches": (lambda x: Patches()(x), I),
    "masking": (lambda x: L.Masking()(x), M),
    "dropout": (lambda x: L.GaussianNoise(1.0)(L.Dropout(0.5)(x)), M),
    "identity_layers": (lambda x: L.RandomFlip()(L.RandomRotation(0.1)(x)), I),
}


@pytest.mark.parametrize("name", MOVES)
def test_what_moves_values_brings_relevance_back(name):
    function, shape = MOVES[name]
    model = two(function, shape)
    count = int(np.prod(shape))
    numbers = np.arange(1, count + 1.0).reshape(shape)
    x = np.stack([numbers, numbers])
    went = np.asarray(model([np.float32(x)], training=False))[0].astype(int)
    r = np.random.default_rng(0).normal(size=(2, 2, *went.shape))
    wanted = np.zeros((2, 2, count + 1))  # 0: padding
    for k, b in np.ndindex(2, 2):
        np.add.at(wanted[k, b], went.ravel(), r[k, b].ravel())
    (ours,) = back(model, [x], r)
    close(ours.reshape(2, 2, -1), wanted[..., 1:])


#: Affine layers of one kernel, from variables or constants.
AFFINE = {
    "weight_times": (WeightTimes, V),
    "sliced": (Sliced, V),
    "symmetric": (Symmetric, V),
    "einsum_variable": (EinsumVariable, M),
    "conv_variable": (ConvVariable, I),
    "einsum_dense": (lambda: L.EinsumDense("btd,tde->bte", (3, 2), bias_axes="e"), M),
    "spectral": (lambda: L.SpectralNormalization(L.Dense(4)), V),
    "time_distributed": (lambda: L.TimeDistributed(L.Dense(3)), M),
    "batch_norm_axis_1": (lambda: L.BatchNormalization(axis=1), M),
}
RULES = {
    "epsilon": (R.epsilon_rule(epsilon=0.1), lambda *a: O.epsilon(*a, epsilon=0.1)),
    "z_plus": (R.z_plus, O.z_plus),
    "alpha_beta": (R.alpha_beta(bias=False), lambda *a: O.alpha_beta(*a, bias=False)),
    "w_square": (R.w_square, O.w_square),
    "flat": (R.flat, O.flat),
}


@pytest.mark.parametrize("name", AFFINE)
def test_rules_on_kernels_of_every_origin(name):
    make, shape = AFFINE[name]
    model = fill(two(make(), shape), shift=0.0)
    W, b = O.affine(lambda v: model([tf.cast(v, tf.float32)]), shape)
    W = np.where(np.abs(W) > 1e-6, W, 0)
    m = O.Matrix(W, b, (W != 0).astype(float))
    (x,) = step_inputs(model)
    y = np.asarray(model([np.float32(x)]))
    r = np.random.default_rng(5).normal(size=(2, *y.shape))
    r *= np.abs(y) > 0.2 * np.abs(y).mean()  # a sum that cancels is only rounding error
    for rule, formula in RULES.values():
        wanted = formula(O.rows(x), m, r.reshape(2, 2, -1))
        (ours,) = back(model, [x], r, P.every_kernel(rule))
        close(ours.reshape(wanted.shape), wanted, 1e-3)


def _lstm(layer, x, r, eps=1e-12):
    """Arras et al. 2017: R to the signal, the z rule in sums; x (T, D), r (units,)."""
    W, U, b = (w.numpy().astype("float64") for w in layer.weights)
    n = layer.units
    h, c, seen = np.zeros(n), np.zeros(n), []

    def sigmoid(v):
        return 1 / (1 + np.exp(-v))

    for v in x:
        z = v @ W + h @ U + b
        i, f, o = (sigmoid(z[k * n : (k + 1) * n]) for k in (0, 1, 3))
        g = np.tanh(z[2 * n : 3 * n])
        seen.append((v, h, c, i * g, f * c, z[2 * n : 3 * n], v @ W, h @ U))
        c = f * c + i * g
        h = o * np.tanh(c)
    result, r_h, r_c = [], r, np.zeros(n)
    cut_ = slice(2 * n, 3 * n)
    for v, h, _, new, old, z, a, u in reversed(seen):
        total = r_c + r_h
        r_g, r_c = new / (new + old) * total, old / (new + old) * total
        joined = (a + u)[cut_]  # the bias absorbs relevance in z = a + u + b
        r_sum = r_g * joined / z
        r_a, r_u = (r_sum * p[cut_] / joined for p in (a, u))
        result.append(v * (W[:, cut_] @ (r_a / a[cut_])))
        r_h = h * (U[:, cut_] @ np.divide(r_u, u[cut_], where=u[cut_] != 0,
                                          out=np.zeros(n)))  # fmt: skip
    return np.array(result[::-1])


def test_an_lstm_is_the_papers_formula():
    layer = L.LSTM(3)
    model = fill(two(layer, (3, 4)))
    (x,) = step_inputs(model)
    r = np.random.default_rng(0).normal(size=(2, 2, 3))
    (ours,) = back(model, [x], r)
    wanted = [[_lstm(layer, v, q) for v, q in zip(x, seed, strict=True)] for seed in r]
    close(ours, np.array(wanted), 1e-3)


@pytest.fixture(scope="module")
def shrunk():
    """The sum of x / 255."""
    i = keras.Input((2,))
    small = L.Lambda(lambda x: x / 255.0, name="shrink")(i)
    model = keras.Model(i, L.Dense(1, use_bias=False, kernel_initializer="ones")(small))
    return tfxai.wrap(model)


@pytest.mark.parametrize(("method", "options", "wanted"), [
    ("lrp.flat", {}, [0.5, 0.5]),
    ("lrp.w_square", {}, [0.5, 0.5]),
    ("lrp.sequential_preset_a_flat", {}, [0.5, 0.5]),
    ("lrp.epsilon_gamma_box", {"low": -255.0, "high": 255.0}, [1 / 3, 2 / 3]),
    ("lrp.flat", {"rules": {"scale": "z"}}, [0.0, 0.5]),
    ("lrp.flat", {"rules": {"shrink": "alpha_beta"}}, [0.0, 1.0]),
])  # fmt: skip
def test_a_single_factor_passes_relevance_on(method, options, wanted, shrunk):
    """Also that of a value of 0. A rule of the user's is not exchanged."""
    analyzer = tfxai.create_analyzer(method, shrunk, **options)
    e = analyzer.analyze(np.array([[0.0, 255.0]], "float32"), target=0)
    np.testing.assert_allclose(e.relevance, [wanted], rtol=1e-5)
