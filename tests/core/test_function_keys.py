"""Targets that are functions: compiled once per content, and never out of date."""

import collections
import dataclasses
import functools
import gc
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tests import zoo
from tfxai.base.cache import Cache
from tfxai.core.function_keys import key_of

L = keras.layers
CLASS = 0
SETTINGS = types.SimpleNamespace(index=0)


@pytest.fixture(scope="module")
def model():
    x = keras.Input((4,))
    return zoo.fill(keras.Model(x, L.Dense(3, "softmax", name="d")(x)))


X = np.float32([[1, -2, 3, 0.5]])


def of_class(y):
    return y[:, CLASS]


def scaled(k, weights=None, **more):
    return lambda y: k * y[:, 0] + 0 * tf.reduce_sum(weights if more else 1.0)


def nested(k):
    def inner(y):
        return k * y[:, 0]

    return lambda y: inner(y) + len([v for v in (1, 2) if v > CLASS])


def settings(y):
    return y[:, SETTINGS.index]


def imports(y):
    from tests.core import test_function_keys

    return y[:, test_function_keys.CLASS]


class Method:
    def __init__(self, index):
        self.index = index

    def of(self, y):
        return y[:, self.index]

    def __call__(self, y):
        return y[:, self.index]


def test_equal_contents_are_equal_keys(monkeypatch):
    assert key_of(scaled(2)) == key_of(scaled(2)) != key_of(scaled(3))
    assert hash(key_of(scaled(2))) == hash(key_of(scaled(2)))
    assert key_of(scaled(1)) != key_of(scaled(1.0)) != key_of(scaled(True))
    assert key_of(scaled(0.0)) != key_of(scaled(-0.0))
    assert key_of(scaled(float("nan"))) == key_of(scaled(float("nan")))
    assert key_of(nested(2)) == key_of(nested(2)) != key_of(nested(1))
    a, b = np.arange(3.0), np.arange(3.0)
    first = key_of(scaled(1, a))
    assert first == key_of(scaled(1, b))
    a[0] = 5
    assert key_of(scaled(1, a)) != first
    assert key_of(scaled(1, [1, {"a": 2}])) == key_of(scaled(1, [1, {"a": 2}]))
    assert key_of(scaled(1, [1, {"a": 2}])) != key_of(scaled(1, [1, {"a": 3}]))
    keys = key_of(of_class), key_of(nested(2))
    assert keys == (key_of(of_class), key_of(nested(2)))
    monkeypatch.setitem(globals(), "CLASS", 1)
    assert key_of(of_class) != keys[0] and key_of(nested(2)) != keys[1]


def test_objects_are_compared_by_their_contents(monkeypatch):
    one, two = Method(0), Method(0)
    assert key_of(one) == key_of(two) != key_of(Method(1))
    assert key_of(one.of) == key_of(two.of) != key_of(Method(1).of)
    assert key_of(one.of) != key_of(one)
    assert key_of(scaled(1, one)) == key_of(scaled(1, two))
    first = key_of(settings)
    copy = types.FunctionType(settings.__code__, globals())
    assert key_of(copy) == key_of(settings) == first
    monkeypatch.setattr(SETTINGS, "index", 1)
    assert key_of(settings) != first
    holder = [1]
    holder.append(holder)
    assert key_of(scaled(1, holder)) == key_of(scaled(1, holder))
    assert key_of(tf.function(of_class)) != key_of(tf.function(of_class))


def test_what_cannot_be_compared_has_another_key_at_every_call():
    assert key_of(imports) != key_of(imports)
    dice = np.random.default_rng(0)
    masked = np.ma.masked_array([1.0, 2.0], [True, False])
    for unknown in (dice, masked, iter([1, 2]), keras.layers):
        if unknown is keras.layers:
            assert key_of(scaled(1, unknown)) == key_of(scaled(1, unknown))
        else:
            assert key_of(scaled(1, unknown)) != key_of(scaled(1, unknown))
    assert key_of(lambda y: y[:, globals()["CLASS"]]) != key_of(
        lambda y: y[:, globals()["CLASS"]]
    )


class OfClass:
    index = 0

    def __call__(self, y):
        return y[:, type(self).index]


@dataclasses.dataclass
class OfField:
    index: int = 0

    def __call__(self, y):
        return y[:, self.index]


def _attribute(owner, name):
    """A change of an attribute from 0 to 1."""
    setattr(owner, name, 0)
    return lambda: setattr(owner, name, 1)


def _changing():
    """(target, change): the target is class 0 before the change, and class 1 after."""
    one, field, by_class = Method(0), OfField(), OfClass()
    space, module = types.SimpleNamespace(index=0), types.ModuleType("settings")
    weights, members = np.float32([1, 0, 0]), {0}
    large = np.zeros(5_000_000, np.float32)
    large[:2] = 1, 0
    ordered = collections.OrderedDict(index=0)

    def attribute(y):
        return y[:, attribute.index]

    def weigh(y, weights):
        return tf.linalg.matvec(y, weights)

    def swap(array):
        array[:2] = 0, 1

    return {
        "method": (one.of, _attribute(one, "index")),
        "object": (field, _attribute(field, "index")),
        "attribute of the class": (by_class, _attribute(OfClass, "index")),
        "namespace": (lambda y: y[:, space.index], _attribute(space, "index")),
        "module": (lambda y: y[:, module.index], _attribute(module, "index")),
        "partial": (functools.partial(weigh, weights=weights), lambda: swap(weights)),
        "large array": (lambda y: weigh(y, large[:3]), lambda: swap(large)),
        "set": (
            lambda y: y[:, max(members)],
            lambda: members.add(1),
        ),
        "ordered": (lambda y: y[:, ordered["index"]], lambda: ordered.update(index=1)),
        "attribute": (attribute, _attribute(attribute, "index")),
    }


@pytest.mark.parametrize("case", list(_changing()))
def test_a_target_whose_state_has_changed_is_another(model, case):
    target, change = _changing()[case]
    p = model.predict(X, verbose=0)[0]
    analyzer = tfxai.create_analyzer("occlusion", model)
    assert analyzer.analyze(X, target).score[0] == pytest.approx(p[0], rel=1e-5)
    change()
    assert analyzer.analyze(X, target).score[0] == pytest.approx(p[1], rel=1e-5)


@pytest.mark.parametrize("method", ["gradient", "lrp.epsilon", "occlusion"])
def test_a_changed_variable_is_another_target(model, method, monkeypatch):
    analyzer = tfxai.create_analyzer(method, model)
    p = model.predict(X, verbose=0)[0]
    assert analyzer.analyze(X, of_class).score[0] == pytest.approx(p[0], rel=1e-5)
    monkeypatch.setitem(globals(), "CLASS", 2)
    assert analyzer.analyze(X, of_class).score[0] == pytest.approx(p[2], rel=1e-5)
    for k in (1, 3):
        e = analyzer.analyze(X, lambda y, k=k: k * y[:, 1])
        assert e.score[0] == pytest.approx(k * p[1], rel=1e-5)


@pytest.mark.parametrize("method", ["gradient", "lrp.epsilon", "kernel_shap"])
def test_a_new_lambda_at_every_call_is_compiled_once(model, method):
    options = {"baseline": 0} if method == "kernel_shap" else {}
    analyzer = tfxai.create_analyzer(method, model, **options)
    for _ in range(3):
        analyzer.analyze(X, lambda y: y[:, 0] - y[:, 1])
    assert len(analyzer._functions) == 1


@pytest.mark.filterwarnings("ignore::tfxai.errors.NothingToExplainWarning")
def test_an_analyzer_keeps_a_bounded_number_of_graphs(model, monkeypatch):
    monkeypatch.setattr("tfxai.core.analyzer.KEPT", 3)
    analyzer = tfxai.create_analyzer("gradient", model)

    def graphs():
        gc.collect()
        return sum(isinstance(v, tf.Graph) for v in gc.get_objects())

    before = graphs()
    for k in range(8):
        analyzer.analyze(X, lambda y, k=k: k * y[:, 0])
    assert graphs() - before <= 4


def test_the_cache_drops_what_was_not_used():
    cache, built = Cache(2), []
    for key in "abacab":
        assert cache.get(key, lambda k=key: built.append(k) or k) == key
    assert "".join(built) == "abcb" and len(cache) == 2
