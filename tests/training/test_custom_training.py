"""Trainings beside `fit`: loops, text, LoRA, checkpoints, experiment loggers."""

import importlib.util
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tests.training.trainings import ROOT, data, fitted, keeper, network
from tfxai import callbacks
from tfxai.callbacks import ExplainCallback
from tfxai.errors import ModelError, NotExplainedWarning, OptionError, TargetError
from tfxai.viz import thumbnails

L = keras.layers


def near(a, b):
    assert np.abs(a).max() > 0
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * np.abs(a).max())


def loop(model, explainer=None, steps=4, seen=None):
    """Train by hand; return the metrics of every step."""
    x, y = data()
    optimizer, returned = keras.optimizers.SGD(0.002), []
    for step in range(steps + 1):
        if step:
            with tf.GradientTape() as tape:
                loss = keras.losses.sparse_categorical_crossentropy(
                    y, model(x, training=True)
                )
            weights = model.trainable_variables
            optimizer.apply_gradients(
                zip(tape.gradient(loss, weights), weights, strict=True)
            )
        if seen is not None:
            seen.append(model.get_weights())
        if explainer is not None:
            returned.append(explainer.step(step))
    if explainer is not None:
        explainer.close()
    return returned


# -- a loop of one's own -------------------------------------------------------------


def test_a_custom_loop(tmp_path):
    x, seen = data()[0][:2], []
    kept, logger = keeper()
    explainer = ExplainCallback(
        x, 1, "gradient", every=2, prefix="g_",
        to=[logger, callbacks.gif(tmp_path / "m.gif")],
        metrics=["sparseness", "randomisation_distance"],
    )  # fmt: skip
    keras.utils.set_random_seed(3)
    model = network()
    explainer.set_model(model)
    returned = loop(model, explainer, seen=seen)
    assert [bool(t) for t in returned] == [True, False, True, False, True]
    assert returned[0]["g_randomisation_distance"] == pytest.approx(0, abs=1e-6)
    assert returned[4]["g_randomisation_distance"] > 1e-3
    assert [step for step, _ in kept] == [0, 2, 4] and (tmp_path / "m.gif").exists()
    again = network()
    for (step, _), relevance in kept.items():
        again.set_weights(seen[step])
        near(relevance, tfxai.explain(again, x, "gradient", target=1).relevance)
    keras.utils.set_random_seed(3)
    alone = network()
    loop(alone)
    for a, b in zip(model.get_weights(), alone.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_errors_of_a_custom_loop():
    x, calls = data()[0][:2], []
    explainer = ExplainCallback(x, 1, "gradient", to=[lambda *v: calls.append(v)])
    with pytest.raises(OptionError) as caught:
        explainer.step(0)
    assert caught.value.write == "explainer.set_model(model)"
    model = network()
    exec(caught.value.write, {"explainer": explainer, "model": model})
    assert explainer.step(0) == {} and len(calls) == 1
    model.layers[-1].kernel.assign(np.nan * model.layers[-1].kernel)
    explainer.inputs, explainer.targets = x, 9
    with pytest.warns(NotExplainedWarning, match="could not explain"):
        explainer.step(1)  # the training continues
    wrong = ExplainCallback(x, 9, "gradient", to=[lambda *v: None])
    wrong.set_model(model)
    with pytest.raises(TargetError):
        wrong.step(0)


def test_several_models_in_one_process():
    """Two loops, step by step in turn: each map belongs to its own model."""
    x, maps, models, explainers = data()[0][:2], [], [], []
    for seed in (1, 2):
        keras.utils.set_random_seed(seed)
        models.append(network())
        kept, logger = keeper()
        maps.append(kept)
        explainers.append(ExplainCallback(x, 0, "lrp.epsilon", to=[logger]))
        explainers[-1].set_model(models[-1])
    for step in range(3):
        for model, explainer, kept in zip(models, explainers, maps, strict=True):
            explainer.step(step)
            wanted = tfxai.explain(model, x, "lrp.epsilon", target=0).relevance
            near(kept[step, "lrp.epsilon"], wanted)
            for v in model.trainable_variables:
                v.assign(1.1 * v)
    assert np.abs(maps[0][2, "lrp.epsilon"] - maps[1][2, "lrp.epsilon"]).max() > 1e-3


# -- fine-tuning ---------------------------------------------------------------------


def network_of(kind):
    """A network with a layer "body" that takes LoRA, and inputs."""
    rng = np.random.default_rng(0)
    if kind == "embedding":
        i, x = keras.Input((5,), dtype="int32"), rng.integers(0, 7, (30, 5))
        y = L.Embedding(7, 4, name="body")(i)
    elif kind == "conv":
        i, x = keras.Input((6, 6, 2)), rng.normal(size=(30, 6, 6, 2)).astype("f")
        y = L.Conv2D(4, 3, activation="relu", name="body")(i)
    else:
        i, x = keras.Input((5, 6)), rng.normal(size=(30, 5, 6)).astype("f")
        einsum = L.EinsumDense("abc,cd->abd", (5, 4), activation="relu", name="body")
        y = {"dense": L.Dense(8, "relu", name="body"), "einsum": einsum}[kind](i)
    model = keras.Model(i, L.Dense(3, name="answer")(L.Flatten()(y)))
    return model, x


def tuned(model, x, watch, epochs=2, first=0):
    """Fine-tune the low-rank matrices alone."""
    model.compile(
        keras.optimizers.SGD(0.5),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    options = {"verbose": 0, "callbacks": [watch], "initial_epoch": first}
    model.fit(x, np.arange(len(x)) % 3, epochs=epochs, **options)


def merged(model, path):
    """The model as Keras saves it: the low-rank matrices are added to the kernel."""
    model.save(path / "merged.keras")
    return keras.models.load_model(path / "merged.keras")


@pytest.mark.parametrize(
    "kind",
    [
        "dense",
        "embedding",
        *(pytest.param(k, marks=pytest.mark.slow) for k in ("einsum", "conv")),
    ],
)
def test_lora(kind, tmp_path):
    """The maps follow the low-rank matrices, while the kernel stays as it is."""
    keras.utils.set_random_seed(5)
    model, x = network_of(kind)
    body = model.get_layer("body")
    body.enable_lora(2)
    model.get_layer("answer").trainable = False
    start, kept = body._embeddings if kind == "embedding" else body._kernel, {}
    was = start.numpy()
    watches = [
        ExplainCallback(x[:2], 0, method, to=[keeper_of(kept)])
        for method in ("gradient", "lrp.epsilon")
    ]
    tuned(model, x, keras.callbacks.CallbackList(watches, model=model))
    np.testing.assert_array_equal(start.numpy(), was)
    plain = merged(model, tmp_path)
    for method in ("gradient", "lrp.epsilon"):
        near(kept[2, method], tfxai.explain(plain, x[:2], method, target=0).relevance)
        if kind != "embedding" or method != "gradient":  # that of the table is linear
            assert np.abs(kept[2, method] - kept[0, method]).max() > 1e-3


def keeper_of(kept):
    return lambda step, name, array: kept.__setitem__((step, name), array)


def test_lora_after_the_first_explanation(tmp_path):
    """The callback reads the model anew; an analyzer of the old variables refuses."""
    keras.utils.set_random_seed(5)
    model, x = network_of("dense")
    kept, logger = keeper()
    watch = ExplainCallback(x[:2], 0, "lrp.epsilon", to=[logger])
    tuned(model, x, watch, 1)
    wrapped = tfxai.wrap(model)
    analyzers = [tfxai.create_analyzer(m, wrapped) for m in ("lrp.epsilon", "gradient")]
    model.get_layer("body").enable_lora(2)
    tuned(model, x, watch, 3, first=1)
    assert [step for step, _ in kept] == [0, 1, 2, 3]
    wanted = tfxai.explain(merged(model, tmp_path), x[:2], "lrp.epsilon", target=0)
    near(kept[3, "lrp.epsilon"], wanted.relevance)
    for analyzer in analyzers:
        with pytest.raises(ModelError, match="other variables than when") as caught:
            analyzer.analyze(x[:2], 0)
    names = {"tfxai": tfxai, "model": model}
    exec(caught.value.write, names)
    analyzer = tfxai.create_analyzer("lrp.epsilon", names["wrapped"])
    near(wanted.relevance, analyzer.analyze(x[:2], 0).relevance)


def test_what_does_not_change_the_variables_needs_no_new_analyzer():
    """Frozen layers, `compile`, and a layer that is built in the training alone."""

    class Aided(keras.Model):
        def __init__(self):
            super().__init__()
            self.body, self.answer, self.aid = L.Dense(4), L.Dense(3), L.Dense(3)

        def call(self, x, training=False):
            y = self.body(x)
            return self.answer(y) + self.aid(y) if training else self.answer(y)

    model, x = Aided(), np.random.default_rng(0).normal(size=(6, 5)).astype("f")
    model(x)
    analyzer = tfxai.create_analyzer("gradient", model)
    before = analyzer.analyze(x, 0).relevance
    model.body.trainable = False
    model.compile("sgd", "mse", metrics=["mae"])
    model.fit(x, x[:, :3], verbose=0)
    after = analyzer.analyze(x, 0).relevance
    assert model.aid.built and np.abs(after - before).max() > 0
    near(after, tfxai.explain(model, x, "gradient", target=0).relevance)
    model.body.quantize("int8")
    with pytest.raises(ModelError, match="other variables than when"):
        analyzer.analyze(x, 0)


# -- checkpoints ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "method", ["sglrp", pytest.param("smoothgrad", marks=pytest.mark.slow)]
)
def test_a_saved_checkpoint_has_the_maps_of_its_epoch(tmp_path, method):
    x = data()[0][:2]
    kept, logger = keeper()
    options = {"n_samples": 3} if method == "smoothgrad" else {}
    save = keras.callbacks.ModelCheckpoint(str(tmp_path / "{epoch}.keras"))
    fitted([ExplainCallback(x, 1, method, to=[logger], options=options), save], 2)
    for epoch in (1, 2):
        model = keras.models.load_model(tmp_path / f"{epoch}.keras")
        e = tfxai.explain(model, x, method, target=1, **options)
        near(kept[epoch, method], e.relevance)
    assert np.abs(kept[1, method] - kept[2, method]).max() > 0


# -- text ----------------------------------------------------------------------------

WORDS = ["[PAD]", "good", "bad", "film", "very"]


def reader():
    i = keras.Input((4,), dtype="int32")
    y = L.GlobalAveragePooling1D()(L.Embedding(5, 4)(i))
    model = keras.Model(i, L.Dense(2, "softmax")(y))
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


def texts_of(tokens):
    return [WORDS[i] for i in tokens]


@pytest.mark.parametrize("given", ["function", "lists"])
def test_the_tokens_are_in_the_images_of_tensorboard(tmp_path, given):
    if importlib.util.find_spec("tensorboard") is None:
        pytest.skip("the package tensorboard is not installed")
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    x = np.array([[4, 1, 3, 0], [2, 3, 3, 0]], np.int32)
    tokens = texts_of if given == "function" else [texts_of(row) for row in x]
    explained = []
    keep = callbacks.Writer("keep", lambda step, e: explained.append(e))
    watch = ExplainCallback(
        x, 1, "input_t_gradient", tokens=tokens, names=["against", "for"],
        to=[callbacks.tensorboard(tmp_path), keep], metrics=["randomisation_distance"],
    )  # fmt: skip
    history = reader().fit(x, np.array([1, 0]), epochs=1, verbose=0, callbacks=[watch])
    (path,) = tmp_path.iterdir()
    images = [
        tf.io.decode_png(v.tensor.string_val[2]).numpy()
        for event in EventFileLoader(str(path)).Load()
        for v in event.summary.value if v.tag == "input_t_gradient"
    ]  # fmt: skip
    assert len(images) == len(explained) == 2  # before training, and after the epoch
    for image, e in zip(images, explained, strict=True):
        np.testing.assert_array_equal(image, thumbnails._drawn(e))
        figure = e.plot()
        drawn = " ".join(t.get_text() for a in figure.axes for t in a.texts)
        assert all(word in drawn for word in ("good", "bad", "film", "very"))
        assert "for" in e.names
    assert np.isfinite(history.history["randomisation_distance"]).all()


# -- experiment loggers --------------------------------------------------------------


@pytest.mark.slow  # .ci/run installs mlflow-skinny for the slow tests
def test_mlflow_as_documented(tmp_path, monkeypatch):
    if importlib.util.find_spec("mlflow") is None:
        pytest.skip("the package mlflow is not installed")
    page = (ROOT / "docs/training.md").read_text("utf-8")
    (code,) = re.findall(r"^```py\n(.*?)^```", page, re.S | re.M)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    x, y = data()
    model = network()
    model.compile("sgd", "sparse_categorical_crossentropy")
    exec(code, {"x": x, "y": y, "model": model, "callbacks": callbacks})
    logged = sorted(p.name for p in tmp_path.rglob("images/*.png"))
    steps = {re.search(r"step[%+](\d+)", name)[1] for name in logged}
    assert steps == {"0", "1", "2"} and len(logged) == 6  # two samples
