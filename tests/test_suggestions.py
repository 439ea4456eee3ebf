"""Every named error and warning: what it suggests is typed, and works.

A row provokes an error or a warning, finds in its message what to type, and types it. A
new class in `tfxai.errors` needs a row.
"""

import importlib
import re
import warnings
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import cvxpy
import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tfxai
from tests import zoo
from tfxai import callbacks, errors
from tfxai.datasets import recipe
from tfxai.io import images, networks
from tfxai.metrics.registry import compute
from tfxai.relevance import presets

L = keras.layers


class Row(NamedTuple):
    """One error or warning.

    Attributes:
        fault: Python that raises it.
        line: Regular expression of what to type, its first group; "" where the message
            says what happened, and there is nothing to type.
        typed: Python with that line in place of {0}.
        before: Python that prepares both.
    """

    fault: str
    line: str = ""
    typed: str = "{0}"
    before: str = ""


RUN = "tfxai.run(model, (x, y), 'gradient', {}, shard_size=1)"
LEG = "tfxai.explain(model, x, 'leg', 0, base_size=4, unit=1.0, n_samples=4, {})"
TV = "tfxai.explain(model, x[:1], 'leg_tv', 0, base_size=4, unit=1.0, n_samples=4, {})"
ROWS = {
    errors.InputError: Row(
        "analyzer.analyze(x)", r"Write: (.+)", "analyzer.{0}",
        "x, analyzer = x[0], tfxai.create_analyzer('gradient', model)",
    ),
    errors.TargetError: Row(
        "tfxai.explain(segmenter, x, 'gradient', 5)", r"Write: (target=\(.*?\)),",
        "tfxai.explain(segmenter, x, 'gradient', {0})",
    ),
    errors.OptionError: Row(
        "tfxai.create_analyzer('gradcam', model, relu='after')", r"Write: (.+)",
        "tfxai.create_analyzer('gradcam', model, {0})",
    ),
    errors.UnknownNameError: Row(
        "tfxai.create_analyzer('saliency', model)", r"Write: (.+)",
    ),
    errors.LabelError: Row(
        "networks.find_label('crane', ['zebra', 'crane', 'crane'])",
        r"Write: its index, (\d)",
        "assert networks.find_label('{0}', ['zebra', 'crane', 'crane']) == {0}",
    ),
    errors.UnsupportedLayerError: Row(
        "tfxai.create_analyzer('lrp', normed, preset=no_norms)",
        r"(rules=\{.*?\})",
        "tfxai.create_analyzer('lrp', normed, preset=no_norms, {0})",
    ),
    errors.ModelError: Row(
        "tfxai.create_analyzer('occlusion', clf)", r"Write: (.+)",
        "tfxai.create_analyzer('occlusion', {0})",
    ),
    errors.BlackBoxError: Row(
        "tfxai.explain(f, t, 'sglrp')", r"Write: (.+)", "tfxai.explain(f, t, {0})",
    ),
    errors.ImageError: Row(
        "images.write(path, array)", r"Write: (.+)", "images.{0}",
        "path, array = Path('a.png'), x[0] * 3.0",
    ),
    errors.MissingFileError: Row(
        "images.find(['.'])", r"end in (\.\w+)",
        "Image.new('RGB', (4, 4)).save('a{0}'); assert images.find(['.'])",
    ),
    errors.MissingPackageError: Row(
        "with mock.patch('importlib.util.find_spec', lambda *a: None):\n"
        "    callbacks.tensorboard('logs')",
        r"pip install ([\w-]+)",
        "found = importlib.import_module('importlib.metadata')\n"
        "assert '{0}' in found.packages_distributions()['tensorboard']\n"
        "callbacks.tensorboard('logs')",
    ),
    errors.DownloadError: Row(
        "with mock.patch('keras.applications.VGG16', side_effect=OSError('URL')):\n"
        "    networks.load('VGG16')",
        "(a network in a file)", "networks.load('net.keras')",
        "model.save('net.keras')",
    ),
    errors.SolverError: Row(
        "with mock.patch.object(cvxpy.Problem, 'solve', side_effect=failed):\n    "
        + TV.format("solver='SCS', lambdas=[0.3]"),
        r"Write: (solver=.+)", TV.format("{0}, lambdas=[0.3]"),
        "failed = cvxpy.error.SolverError('no step')",
    ),
    errors.RecipeError: Row(
        f"{RUN.format('out')[:-1]}, target=1)", "or --(overwrite)",
        f"{RUN.format('out')[:-1]}, target=1, {{0}}=True)",
        f"out = 'run'; {RUN.format('out')}",
    ),
    errors.BrokenFileError: Row(
        "tfxai.load('run')", "Write: (the same tfxai run command again)",
        f"{RUN.format('out')}; tfxai.load('run')[0]",
        f"out = 'run'; {RUN.format('out')}; Path('run/recipe.json').write_text('no')",
    ),
    errors.WriteError: Row(
        RUN.format("'file/out'"), r"Write: --out (\w+)", RUN.format("'{0}'"),
        "Path('file').touch()",
    ),
    errors.NothingToExplainWarning: Row(
        "tfxai.explain(signed, -t, 'lrp', 0)", r"Write: (method=[\w.\"]+)",
        "tfxai.explain(signed, -t, target=0, {0})",
    ),
    errors.OutOfBoundsWarning: Row(
        "tfxai.explain(model, 9 * x, 'sglrp', low=0, high=1)", "(omit both)",
        "tfxai.explain(model, 9 * x, 'sglrp')",
    ),
    errors.NotFiniteWarning: Row(
        "tfxai.explain(model, x, 'gradient', lambda y: tf.math.log(0 * y[:, 0]))",
    ),
    errors.NoFirstLayerWarning: Row(
        "tfxai.create_analyzer('deep_taylor.bounded', normed)",
    ),
    errors.UnusedOptionWarning: Row(
        "tfxai.create_analyzer('sglrp', model, low=0, high=1, input_layer_rule='flat')",
        r"Write: (.+)",
    ),
    errors.UnreachedInputWarning: Row(
        "tfxai.explain(two, [t, t], 'gradient', 0)", r'(method="\w+")',
        "tfxai.explain(two, [t, t], target=0, {0})",
    ),
    errors.DoubtfulRelevanceWarning: Row(
        "tfxai.explain(dull, np.ones((1, 8, 8, 1)), 'gradient', 0)",
        r"input: (tfxai\.recommend\(model, x\))",
        "assert len({0}) == 3",
        "i = keras.Input((8, 8, 1))\n"
        "y = keras.layers.GlobalAveragePooling2D()(i)\n"
        "dull = keras.Model(i, keras.layers.Dense(2)(y))",
    ),
    errors.RandomOutputWarning: Row(
        "tfxai.explain(net(lambda x: Noise()(x)), rows, 'gradient', 0)",
        r"Write: (keras\.layers\.Dropout\(0\.5\)\(x\)), without",
        "tfxai.explain(net(lambda x: {0}), rows, 'gradient', 0)",
        "import tensorflow as tf\n"
        "rows = np.ones((2, 9), 'float32')\n"
        "class Noise(keras.layers.Layer):\n"
        "    def call(self, x):\n"
        "        return x + tf.random.normal(tf.shape(x))\n"
        "def net(layer):\n"
        "    i = keras.Input((9,))\n"
        "    return keras.Model(i, keras.layers.Dense(2)(layer(i)))",
    ),
    errors.OtherOutputWarning: Row(
        "tfxai.create_analyzer('sglrp', independent)", r'(method="\w+")',
        "tfxai.create_analyzer(model=independent, {0})",
    ),
    errors.LowFidelityWarning: Row(
        "tfxai.explain(pairs, ones, 'lime', 0, segmenter=quarters, **few)",
        "(other segments)",
        "tfxai.explain(pairs, ones, 'lime', 0, segmenter=halves, **few)",
        "ones, few = np.ones((1, 8, 8, 1)), {'n_samples': 40, 'baseline': 0}\n"
        "halves = np.arange(64).reshape(8, 8) // 32\n"
        "quarters = 2 * halves + halves.T\n"
        "def pairs(v):\n"
        "    s = np.sign(v.reshape(-1, 2, 4, 2, 4).mean((2, 4)) - 0.5)\n"
        "    return (s[:, 0, 0] * s[:, 0, 1] + 2 * s[:, 1, 0] * s[:, 1, 1])[:, None]",
    ),
    errors.SingleSegmentWarning: Row(
        "tfxai.explain(model, 0 * x, 'lime', 0, n_samples=60, segmenter='quickshift')",
        '(segmenter="grid")',
        "tfxai.explain(model, 0 * x, 'lime', 0, n_samples=60, {0})",
    ),
    errors.WholeNumberWarning: Row(
        "tfxai.explain(lambda v: v.argmax(1), t, 'occlusion', baseline=0)",
        r"Write: (model=clf\.predict_proba)",
        "tfxai.explain({0}, x=t, method='occlusion', baseline=0)",
    ),
    errors.WeakBaselineWarning: Row(
        "tfxai.explain(f, flat, 'kernel_shap', 0, baseline='mean', **grid)",
        '(baseline="black")', "tfxai.explain(f, flat, 'kernel_shap', 0, {0}, **grid)",
        "flat = np.kron(np.random.default_rng(0).random((1, 4, 4, 1)),\n"
        "               np.ones((1, 2, 2, 1)))\n"
        "flat[0, 0, 0] += 0.1\n"
        "grid = {'segmenter': 'grid', 'segmenter_options': {'cells': 4}}\n"
        "f = lambda v: 3.5e4 + (v**2).sum((1, 2))",
    ),
    errors.InexactWarning: Row(
        LEG.format("tolerance=1e-9"), "or the (tolerance)", LEG.format("{0}=1e9"),
    ),
    errors.ShortenedTextWarning: Row(
        "tfxai.text.explain(judge, 'a good good film', 'gradient', target=0)",
        r"Write: (model\.preprocessor\.sequence_length = 4)",
        "model = judge\n{0}\n"
        "with warnings.catch_warnings(action='error'):\n"
        "    e = tfxai.text.explain(judge, 'a good good film', 'gradient', target=0)\n"
        "assert e.relevance.shape == (1, 4)",
        "import warnings\n"
        "class Words(list):\n"
        "    __call__ = lambda self, text: [self.index(w) for w in text.split()]\n"
        "    vocabulary_size, id_to_token = list.__len__, list.__getitem__\n"
        "    token_to_id, pad_token_id = list.index, 0\n"
        "class Packer:\n"
        "    tokenizer, sequence_length = Words(['pad', 'a', 'good', 'film']), 3\n"
        "    def __call__(self, texts):\n"
        "        ids = self.tokenizer(texts[0]) + self.sequence_length * [0]\n"
        "        return np.array([ids[: self.sequence_length]])\n"
        "i = keras.Input((None,), dtype='int32')\n"
        "y = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(4, 8)(i))\n"
        "judge = keras.Model(i, keras.layers.Dense(2)(y))\n"
        "judge.preprocessor = Packer()",
    ),
    errors.MoreEvaluationsWarning: Row(
        "tfxai.explain(f, t, 'shapley_interactions', 0, baseline=0, n_samples=9)",
        r"Write: (n_samples=\d+)",
        "tfxai.explain(f, t, 'shapley_interactions', 0, baseline=0, {0})",
    ),
    errors.MemoryRunsOutWarning: Row(
        "with mock.patch.multiple('tfxai.core.memory', LEAST=0, "
        "available=lambda: 1):\n"
        "    tfxai.explain(model, x, 'gradient')",
        r"Write: (batch_size=1)", "tfxai.explain(model, x, 'gradient', {0})",
    ),
    errors.UncertainClassWarning: Row(
        "compute('sic', model, tfxai.explain(model, x, 'gradient', low))",
        "(the top class)",
        "compute('sic', model, tfxai.explain(model, x, 'gradient'))",
        "low = model.predict(x, verbose=0).argmin(1)",
    ),
    errors.StuckWarning: Row(
        "check_result(of(0.8, 0.5))", r"Increase (n_iterations)",
        "check_result(of(0.8, 0.1))",
        "from tfxai.perturbation.checks import check_result\n"
        "def of(before, after):\n"
        "    extra = {'score_before': before, 'score_after': after,\n"
        "             'channels_lost': 0, 'probability': 0.9}\n"
        "    extra = {k: np.array([v]) for k, v in extra.items()}\n"
        "    return tfxai.Explanation(x[:1], np.zeros(1, int), np.zeros(1),\n"
        "                             'perturbation_cnn', x[:1], extra)",
    ),
    errors.EvenKernelWarning: Row(
        "tfxai.create_analyzer('perturbation_cnn', model, kernel_size=2)",
        r"(kernel_size=\d+) is used",
        "tfxai.create_analyzer('perturbation_cnn', model, {0})",
    ),
    errors.CacheWarning: Row(
        "Path('a').write_text('a file')\nstore(XDG_CACHE_HOME='a')",
        r"Set (XDG_CACHE_HOME) to a folder",
        "store({0}='free')",
        before="def store(**variables):\n"
        "    with mock.patch.dict('os.environ', variables):\n"
        "        importlib.import_module('tfxai.cli.demo.network')._store(model)",
    ),
    errors.WriterWarning: Row(
        "watch = callbacks.ExplainCallback(x, 1, 'gradient', to=[lambda *_: 1 / 0])\n"
        "copy.fit(x, y, verbose=0, callbacks=[watch])",
        before="copy = keras.models.clone_model(model)\n"
        "copy.compile('sgd', 'sparse_categorical_crossentropy')",
    ),
    errors.NotExplainedWarning: Row(
        "watch = callbacks.ExplainCallback(x, 1, 'gradient', metrics=['sparseness'])\n"
        "def lost(*_):\n"
        "    copy.set_weights([np.full_like(w, np.nan) for w in copy.get_weights()])\n"
        "lose = keras.callbacks.LambdaCallback(on_epoch_end=lost)\n"
        "copy.fit(x, y, verbose=0, callbacks=[lose, watch])",
        before="copy = keras.models.clone_model(model)\n"
        "copy.compile('sgd', 'sparse_categorical_crossentropy')",
    ),
    errors.FailedSamplesWarning: Row(
        "tfxai.run(model, '.', 'gradient', 'run')", r"All: (\S+\.json)",
        "assert 'b.png' in Path('{0}').read_text()",
        "Image.new('RGB', (8, 8)).save('a.png'); Path('b.png').write_text('none')",
    ),
    errors.SkippedFilesWarning: Row(
        "images.find(['.'])", r": (\S+) skipped", "images.read('{0}')",
        "Image.new('RGB', (8, 8)).save('a.png')\n"
        "Path('b.picture').write_bytes(Path('a.png').read_bytes())",
    ),
    errors.RecipeWarning: Row("recipe.to_plain_data(object())"),
    errors.BrokenFileWarning: Row(
        RUN.format("'run'"),
        before=f"{RUN.format(repr('run'))}\n"
        "Path('run/shard-00001.h5').write_bytes(b'broken')",
    ),
    errors.UncheckedWarning: Row(
        "with mock.patch('tfxai.datasets.shards.FIRST_FORMAT', 'tfxai-maps/2'):\n"
        "    tfxai.load('run')",
        "another --(out)",
        f"{RUN.format(repr('{0}'))}; tfxai.load('{{0}}')",
        RUN.format("'run'"),
    ),
    errors.IncompleteWarning: Row(
        "tfxai.load('run')", "(run the same command again)",
        f"{RUN.format(repr('run'))}; tfxai.load('run')",
        f"{RUN.format(repr('run'))}; Path('run/shard-00001.h5').unlink()",
    ),
}  # fmt: skip


class Classifier:
    """An estimator as those of scikit-learn."""

    def predict_proba(self, x):
        return np.tile([0.25, 0.75], (len(x), 1))


@pytest.fixture(scope="module")
def models():
    i = keras.Input((8, 8, 3))
    y = L.Conv2D(4, 3, activation="relu", name="conv")(i)
    y = L.Dense(3, "softmax", name="out")(L.GlobalAveragePooling2D()(y))
    t, mask = keras.Input((4,)), keras.Input((4,))
    signed = keras.Model(t, L.Dense(2, use_bias=False)(t))
    signed.layers[-1].kernel.assign([[1, -1]] * 4)
    gate = keras.ops.cast(mask > 0, "float32")
    return {
        "model": zoo.fill(keras.Model(i, y)),
        "segmenter": zoo.fill(keras.Model(i, L.Conv2D(3, 1)(i))),
        "normed": zoo.fill(keras.Model(t, L.Dense(2)(L.LayerNormalization()(t)))),
        "independent": zoo.fill(keras.Model(t, L.Dense(3, "sigmoid")(t))),
        "two": zoo.fill(keras.Model([t, mask], L.Dense(2)(L.Dense(4)(t) * gate))),
        "signed": signed,
    }


@pytest.fixture
def names(models, tmp_path, monkeypatch):
    """What the lines of the rows use."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    return {
        **models,
        "x": rng.uniform(0, 1, (2, 8, 8, 3)).astype("float32"),
        "y": np.array([0, 1]),
        "t": np.float32([[1, 2, 3, 4]]),
        "f": lambda v: v[:, :2] * 1.0,
        "clf": Classifier(),
        **{
            "np": np, "keras": keras, "tf": tf, "cvxpy": cvxpy, "Image": Image,
            "Path": Path, "mock": mock, "importlib": importlib, "tfxai": tfxai,
            "callbacks": callbacks, "recipe": recipe, "images": images,
            "networks": networks, "compute": compute,
            "no_norms": presets.Preset({**presets.epsilon().table, "norm": None}),
        },
    }  # fmt: skip


def is_warning(category):
    return issubclass(category, Warning)


def provoked(category, code, names):
    """Return the message of the error or the warning that code raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if is_warning(category):
            with pytest.warns(category) as caught:
                exec(code, names)
            found = [w.message for w in caught if w.category is category]
            return str(found[0])
        with pytest.raises(category) as error:
            exec(code, names)
        assert type(error.value) is category
        return str(error.value)


#: Rows that take more than a second; the others are of the same kinds.
SLOW = (
    *(errors.SolverError, errors.RecipeError, errors.BrokenFileError),
    *(errors.UncheckedWarning, errors.BrokenFileWarning, errors.IncompleteWarning),
    *(errors.OutOfBoundsWarning, errors.UnreachedInputWarning, errors.WriterWarning),
    *(errors.SingleSegmentWarning, errors.LowFidelityWarning, errors.InexactWarning),
    *(errors.UncertainClassWarning, errors.NotExplainedWarning),
)


@pytest.mark.parametrize(
    "category",
    [
        pytest.param(c, marks=[pytest.mark.slow] * (c in SLOW), id=c.__name__)
        for c in ROWS
    ],
)
def test_what_an_error_suggests_is_typed_and_works(category, names):
    row = ROWS[category]
    exec(row.before, names)
    message = provoked(category, row.fault, names)
    if not row.line:
        assert "Write:" not in message
        return
    line = re.search(row.line, message)
    assert line is not None, message
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if is_warning(category):
            warnings.simplefilter("error", category)
        exec(row.typed.format(line[1]), names)


def test_every_error_and_warning_has_a_row():
    bases = (errors.TfxaiError, errors.TfxaiWarning)
    classes = {c for c in vars(errors).values() if isinstance(c, type)}
    assert {c for c in classes if issubclass(c, bases)} - set(bases) == set(ROWS)
