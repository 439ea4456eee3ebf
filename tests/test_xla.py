"""`jit_compile=True`: the same maps as without XLA, or an error that says why not."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tests import test_every_analyzer as every
from tests import zoo
from tfxai.core.compilation import compiled, compiling_by_xla
from tfxai.errors import InputError, OptionError

pytestmark = pytest.mark.filterwarnings("ignore::tfxai.errors.TfxaiWarning")
L = keras.layers
GRID = {"segmenter": "grid", "segmenter_options": {"cells": (2, 2)}}
#: family -> one method, with small sums.
FAMILIES = {
    "gradient": ("gradient", {}),
    "path": ("integrated_gradients", {"n_steps": 5}),
    "noise": ("smoothgrad", {"n_samples": 5}),
    "cam": ("gradcam", {}),
    "relevance": ("sglrp", {"low": -1.0, "high": 1.0}),
    "sampling": ("lime", {"n_samples": 20, **GRID}),
    "perturbation": ("meaningful_perturbation", {"n_iterations": 3, "l1": 0.0}),
}
#: Methods that XLA cannot compile, and what the error names.
NOT = {
    "extremal_perturbation": "cannot compile 'extremal_perturbation': it sorts nearly",
    "perturbation_cnn": "cannot compile the operation 'ConcatOffset'",
}


@pytest.fixture(scope="module")
def model():
    x = keras.Input((6, 6, 1))
    y = L.Conv2D(3, 2, activation="relu", name="conv")(x)
    return zoo.fill(keras.Model(x, L.Dense(2)(L.Flatten()(y))))


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(4).uniform(-1, 1, (2, 6, 6, 1)).astype("float32")


def by_xla(name, model, x, target=0, **options):
    return tfxai.create_analyzer(name, model, jit_compile=True, **options).analyze(
        x, target, batch_size=3
    )


def same(a, b):
    for m, n in zip(every.maps(a), every.maps(b), strict=True):
        assert np.abs(m).max() > 0
        assert np.abs(m - n).max() <= 1e-5 * np.abs(m).max()
    np.testing.assert_allclose(a.score, b.score, 1e-5, 1e-6)


def test_every_family_has_a_row():
    rows = {row.name: row.family for row in tfxai.methods()}
    assert set(FAMILIES) == set(rows.values())
    assert all(rows[name] == family for family, (name, _) in FAMILIES.items())


@pytest.mark.gpu
@pytest.mark.parametrize("family", FAMILIES)
def test_a_method_of_each_family(family, model, x):
    name, options = FAMILIES[family]
    # batches of 3 samples: the chunks of 5 draws are not equal
    plain = tfxai.explain(model, x, name, target=0, batch_size=3, **options)
    same(plain, by_xla(name, model, x, **options))


DONE = {name for name, _ in FAMILIES.values()} | set(NOT)
OTHERS = [n for n in every.REPRESENTATIVES if n not in DONE]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*OTHERS, "expected_gradients", "vargrad"])
def test_other_methods(name):
    kind, options = every.kind_of("functional"), every.options(name, "functional")
    plain = tfxai.explain(kind.model, kind.x, name, target=kind.target, **options)
    same(plain, by_xla(name, kind.model, kind.x, kind.target, **options))


@pytest.mark.parametrize("name", NOT)
def test_what_xla_cannot_compile_is_named(name, model, x):
    options = {"n_iterations": 2}
    if name == "perturbation_cnn":
        options |= {"n_blocks": 1, "n_layers": 2, "restarts": 0, "unit": 1.0}
    with pytest.raises(OptionError) as caught:
        by_xla(name, model, x, **options)
    assert NOT[name] in str(caught.value) and caught.value.write == "jit_compile=False"
    e = tfxai.explain(model, x, name, target=0, jit_compile=False, **options)
    assert np.isfinite(e.relevance).all()  # what the error says to type works


def test_an_operation_of_the_user_is_named(model, x):
    def half(v):
        return tf.ensure_shape(
            tf.numpy_function(lambda a: a / 2, [v], v.dtype), v.shape
        )

    with pytest.raises(OptionError, match="cannot compile the operation 'PyFunc'"):
        by_xla("occlusion", model, x, preprocess=half, window=3)


def test_values_that_are_refused(model, x):
    with pytest.raises(OptionError, match="jit_compile='yes'"):
        tfxai.create_analyzer("gradient", model, jit_compile="yes")
    with pytest.raises(OptionError, match="plain callable: nothing is compiled"):
        by_xla("occlusion", lambda v: v.sum((1, 2)), x)
    with pytest.raises(OptionError, match="'jit_compile'"):
        base = {"jit_compile": True}
        tfxai.create_analyzer("smoothgrad", model, base_options=base)


def test_the_option_is_everywhere():
    for row in tfxai.methods():
        assert row.options["jit_compile"].default is False


def test_inner_layers_are_compiled_too(model, x):
    plain = tfxai.create_analyzer("lrp.epsilon", model)
    jit = tfxai.create_analyzer("lrp.epsilon", model, jit_compile=True)
    same(plain.relevance_at("conv", x, 0), jit.relevance_at("conv", x, 0))
    assert jit._inner.popitem()[1].jit_compile


def test_only_this_analyzer_is_compiled(model, x):
    """The functions that analyzers of a model share are those without XLA."""
    wrapped = tfxai.wrap(model)
    by_xla("lime", wrapped, x, n_samples=20, **GRID)
    seen = [compiled(lambda v: v, [tf.TensorSpec((2,))])]
    with pytest.raises(InputError), compiling_by_xla(True):
        raise InputError("an error inside")
    seen.append(compiled(lambda v: v, [tf.TensorSpec((2,))]))
    for run in seen:
        (function,) = [
            c.cell_contents
            for c in run.__closure__
            if hasattr(c.cell_contents, "function_def")
        ]
        assert not function.function_def.attr["_XlaMustCompile"].b
