"""Passes that compute tensors again: the same maps, less memory, a bar, a warning."""

import itertools
import re
import subprocess
import sys
import warnings
from math import prod
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as L

import tfxai
from tests import zoo
from tfxai.base.errors import MemoryRunsOutWarning, OptionError
from tfxai.core import memory
from tfxai.graph.segments import delayed, held_bytes, largest_bytes, segments_of

WORDS, LENGTH, BLOCKS = 20, 24, 2


def decoder(blocks=BLOCKS, width=8, length=None, heads=2):
    """A decoder of token ids with a mask of padding."""
    ids = keras.Input((length,), dtype="int32", name="token_ids")
    mask = keras.Input((length,), dtype="int32", name="padding_mask")
    x = L.Embedding(WORDS, width)(ids)
    for _ in range(blocks):
        y = L.LayerNormalization()(x)
        x = x + L.MultiHeadAttention(heads, 4)(
            y, y, attention_mask=mask[:, None] > 0, use_causal_mask=True
        )
        y = L.LayerNormalization()(x)
        x = x + L.Dense(width)(L.Dense(2 * width, "gelu")(y))
    return keras.Model(
        {"token_ids": ids, "padding_mask": mask}, L.Dense(WORDS, name="out")(x)
    )


@pytest.fixture(scope="module")
def wrapped():
    return tfxai.wrap(zoo.fill(decoder()))


def padded():
    """Two texts, the second one with padding."""
    ids = np.random.default_rng(0).integers(0, WORDS, (2, LENGTH)).astype("int32")
    mask = np.ones_like(ids)
    mask[1, 20:] = 0
    return {"token_ids": ids, "padding_mask": mask}


@pytest.fixture(scope="module")
def x():
    return padded()


def program_of(wrapped, x):
    """The program for the shapes of x."""
    return wrapped.program().at([v.shape for v in wrapped.checked(x)])


def test_cuts_are_where_few_numbers_cross(wrapped):
    ids = np.zeros((1, 96), "int32")
    program = program_of(wrapped, {"token_ids": ids, "padding_mask": ids + 1})
    segments = program.segments
    assert [s.start for s in segments[1:]] == [s.stop for s in segments[:-1]]
    assert len(segments) >= BLOCKS
    shapes = {s.output: s.shape for s in program.steps}
    crossing = {i for s in segments[:-1] for i in s.makes}
    kept = 4 * sum(prod(shapes[i]) for i in crossing)
    largest = max(s.size for s in segments)
    assert held_bytes(segments, program.steps) == kept + largest
    assert held_bytes(segments, program.steps) < program.elements * 4 * 0.6


def test_cuts_are_the_best_of_all_for_a_chain():
    sizes = [5, 1, 6, 7, 1, 8, 2, 9]
    steps = [
        SimpleNamespace(output=k + 1, inputs=(k,), shape=(n,))
        for k, n in enumerate(sizes)
    ]
    found = segments_of(steps, len(sizes))
    total = held_bytes(found, steps)
    best = 4 * sum(sizes)
    for count in range(1, 6):
        for cuts in itertools.combinations(range(1, len(sizes)), count):
            ends = [0, *cuts, len(sizes)]
            parts = [sum(sizes[a:b]) for a, b in itertools.pairwise(ends)]
            best = min(best, 4 * (sum(sizes[c - 1] for c in cuts) + max(parts)))
    assert total == best < 4 * sum(sizes)
    assert prod(found[0].reads) == 0 and found[-1].makes == (len(sizes),)


def test_tensors_of_any_type_wait():
    given = [tf.constant(v) for v in ([True, False], [3, -1], [0.5, -0.0])]
    for one, other in zip(given, delayed(given, [tf.constant([7.0])]), strict=True):
        assert other.dtype == one.dtype
        np.testing.assert_array_equal(other, one)


METHODS = {
    "lrp.attn": {}, "lrp.epsilon_plus": {}, "input_t_gradient": {},
    "integrated_gradients": {"n_steps": 2},
}  # fmt: skip


@pytest.mark.parametrize(
    "method",
    [pytest.param(m, marks=pytest.mark.slow if "_" in m[4:] else ()) for m in METHODS],
)
def test_maps_are_those_of_the_plain_pass(wrapped, x, method):
    options = METHODS[method]
    plain = tfxai.create_analyzer(method, wrapped, **options)
    again = tfxai.create_analyzer(method, wrapped, recompute=True, **options)
    targets = [(12, 3), [[(12, 3), (9, 2)]] * 2]
    for target in targets[: 2 if method == "lrp.attn" else 1]:
        e, found = (a.analyze(x, target=target) for a in (plain, again))
        for one, other in zip(e.relevance, found.relevance, strict=True):
            size = np.abs(e["token_ids"].relevance).max()
            np.testing.assert_allclose(other, one, atol=1e-6 * size)
        np.testing.assert_allclose(found.score, e.score, rtol=1e-6)
    if method == "lrp.attn":
        norms = [s.name for s in wrapped.program().steps if s.kind == "norm"]
        e, found = (a.relevance_at(norms[2], x, (12, 3)) for a in (plain, again))
        size = np.abs(e.relevance).max()
        np.testing.assert_allclose(found.relevance, e.relevance, atol=1e-6 * size)


def test_an_image_network_with_branches():
    image = keras.Input((8, 8, 3))
    y = L.Conv2D(4, 3, padding="same", activation="relu")(image)
    for _ in range(3):
        z = L.Conv2D(4, 3, padding="same", activation="relu")(y)
        y = L.Concatenate()([L.Conv2D(2, 1)(z), L.Conv2D(2, 1)(y)])
    model = zoo.fill(keras.Model(image, L.Dense(3)(L.GlobalAveragePooling2D()(y))))
    wrapped, x = tfxai.wrap(model), np.random.default_rng(1).random((2, 8, 8, 3))
    for method in ("lrp.sequential_preset_a", "gradient"):
        e = tfxai.explain(wrapped, x, method, "all")
        found = tfxai.explain(wrapped, x, method, "all", recompute=True)
        assert len(program_of(wrapped, x).segments) > 1
        size = np.abs(e.relevance).max()
        np.testing.assert_allclose(found.relevance, e.relevance, atol=1e-6 * size)


@pytest.mark.parametrize("method", ["gradient", "lrp.epsilon"])
def test_truth_values_may_cross_a_cut(method):
    i = keras.Input((16,))
    h, above = i, i > 0
    for _ in range(8):
        h = L.Dense(16, "tanh")(h)
        h = keras.ops.where(above, h, 0.1 * h)
    wrapped = tfxai.wrap(zoo.fill(keras.Model(i, L.Dense(3)(h))))
    x = np.random.default_rng(2).normal(size=(2, 16))
    program = program_of(wrapped, x)
    values = program.run([tf.constant(x, tf.float32)])
    assert any(values[n].dtype.is_bool for s in program.segments for n in s.reads)
    e = tfxai.explain(wrapped, x, method, 1)
    found = tfxai.explain(wrapped, x, method, 1, recompute=True)
    size = np.abs(e.relevance).max()
    np.testing.assert_allclose(found.relevance, e.relevance, atol=1e-6 * size)


def test_a_tensor_that_waits_for_another_keeps_its_values():
    after = tf.constant([np.nan, 1.0])
    x, truth = delayed([tf.constant([1.0, 2.0]), tf.constant([True, False])], [after])
    np.testing.assert_array_equal(x, [1, 2])
    np.testing.assert_array_equal(truth, [True, False])


def test_a_plain_pass_looks_for_no_segments(wrapped, x, monkeypatch):
    program = program_of(wrapped, x)
    wanted = sum(s.size for s in program.segments) + 2 * largest_bytes(program.steps)
    program.__dict__.pop("segments")
    monkeypatch.setattr("tfxai.graph.program.segments_of", None)
    assert memory.needed(program, 1, 1, False) == wanted


def test_a_bar_moves_with_every_segment(wrapped, x, monkeypatch):
    moved, total = [], []

    class Bar:
        def __init__(self, title, count):
            total.append(count)

        def __enter__(self):
            return lambda n: moved.append(n)

        def __exit__(self, *_):
            return None

    monkeypatch.setattr(memory, "bar", Bar)
    tfxai.explain(wrapped, x, "lrp.attn", (3, 2), recompute=True)
    assert total == [len(program_of(wrapped, x).segments)] and sum(moved) == total[0]


def test_a_warning_before_memory_runs_out(wrapped, x, monkeypatch):
    program = program_of(wrapped, x)
    take, less = (memory.needed(program, 2, 1, r) for r in (False, True))
    assert less < 0.69 * take
    monkeypatch.setattr(memory, "available", lambda: 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error", MemoryRunsOutWarning)
        tfxai.explain(wrapped, x, "gradient", (3, 2))  # too small to be checked
    monkeypatch.setattr(memory, "LEAST", 0)
    monkeypatch.setattr(memory, "available", lambda: (take + less) // 2)
    for method in ("gradient", "lrp.attn"):
        analyzer = tfxai.create_analyzer(method, wrapped)
        with pytest.warns(
            MemoryRunsOutWarning, match="recompute=True, or batch_size=1"
        ) as seen:
            analyzer.analyze(x, (3, 2))
        assert seen[0].filename == __file__
    with pytest.warns(MemoryRunsOutWarning, match="2 sample.s. of 1 target"):
        tfxai.explain(wrapped, x, "lrp.attn", (3, 2))
    monkeypatch.setattr(memory, "available", lambda: take)
    for options in ({}, {"recompute": True}):
        tfxai.explain(wrapped, x, "lrp.attn", (3, 2), **options)


def test_the_memory_of_machine_and_container(tmp_path, monkeypatch):
    free = memory.available()
    assert free is None or 0 < free < 1 << 50
    (tmp_path / "info").write_text("MemTotal: 9 kB\nMemAvailable:   7 kB\n")
    (tmp_path / "max").write_text("5000\n")
    (tmp_path / "now").write_text("2000\n")
    monkeypatch.setattr(memory, "MACHINE", f"{tmp_path}/info")
    monkeypatch.setattr(memory, "LIMITS", ())
    assert memory.available() == 7 * 1024
    limits = (f"{tmp_path}/max", f"{tmp_path}/now")
    monkeypatch.setattr(memory, "LIMITS", (limits, ("none", "none")))
    assert memory.available() == 3000


def test_bad_options_are_named(wrapped):
    def make(method, **options):
        return tfxai.create_analyzer(method, wrapped, **options)

    with pytest.raises(OptionError, match="recompute='yes'"):
        make("gradient", recompute="yes")
    with pytest.raises(OptionError, match="with jit_compile=True"):
        make("gradient", recompute=True, jit_compile=True)
    with pytest.raises(OptionError, match="no option 'recompute'"):
        make("occlusion", recompute=True)
    image = keras.Input((4,))
    net = zoo.fill(keras.Model(image, L.Dense(2)(L.Dense(3, "relu")(image))))
    with pytest.raises(OptionError, match="keeps every tensor at the baseline") as e:
        tfxai.explain(net, np.ones((1, 4)), "deeplift", recompute=True)
    other = eval(f"dict({e.value.write})")
    tfxai.explain(net, np.ones((1, 4)), **other, recompute=True)


PEAK = """
import resource, sys
import numpy as np, tfxai
from tests.core.test_recompute import decoder
model = decoder(6, 16, {length}, 4)
wrapped = tfxai.wrap(model)
ids = np.zeros((1, {length}), "int32")
x = dict(token_ids=ids, padding_mask=ids + 1)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
wrapped.confirm(wrapped.checked(x))
before = peak()
tfxai.explain(wrapped, x, "{method}", (5, 3), recompute={recompute})
print("grown", peak() - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lrp.attn"])
def test_peak_memory_of_2048_tokens(method):
    grown = []
    for recompute in (False, True):
        code = PEAK.format(length=2048, method=method, recompute=recompute)
        run = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        grown.append(float(re.findall(r"grown (\S+)", run.stdout)[0]))
    assert grown[1] < 0.45 * grown[0]
