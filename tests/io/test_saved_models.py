"""SavedModels with operations on files, the network or Python are refused unread."""

import inspect
import json
import re
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner

import tfxai
from tests.datasets.batches import draw, small
from tfxai.cli.main import main
from tfxai.errors import ModelError
from tfxai.io import networks, saved_models

SPEC = tf.TensorSpec((None, 4), tf.float32)
X = np.float32([[1, 2, 3, 4]])


def save(folder, call, **parts):
    """Save a module whose signature multiplies by a variable and runs `call`."""
    module = tf.Module()
    module.w = tf.Variable(2.0)
    for name, part in parts.items():
        setattr(module, name, part)

    def run(x):
        with tf.control_dependencies(call(x) or []):
            return tf.identity(x * module.w)

    module.__call__ = tf.function(run, input_signature=[SPEC])
    tf.saved_model.save(module, str(folder), signatures=module.__call__)
    return folder


def calls(path):
    """Return name -> (function of x that does something forbidden, operation)."""
    text = str(path)
    raw = tf.raw_ops

    def dataset(made):
        return lambda x: [made().reduce(0, lambda n, _: n + 1)]

    def lines():
        return tf.data.Dataset.from_tensors("a")

    def write():
        with tf.control_dependencies([tf.io.write_file(text, "inner")]):
            return tf.constant(0)

    return {
        "write": (lambda x: [tf.io.write_file(text, "x")], "WriteFile"),
        "read": (lambda x: [tf.io.read_file(text)], "ReadFile"),
        "match": (lambda x: [tf.io.matching_files(text)], "MatchingFiles"),
        "python": (lambda x: [tf.py_function(np.sum, [x], tf.float32)], "EagerPyFunc"),
        "numpy": (lambda x: [tf.numpy_function(np.sum, [x], tf.float32)], "PyFunc"),
        "print": (
            lambda x: [tf.print("a", output_stream=f"file://{text}")],
            "PrintV2 to file",
        ),
        "records": (dataset(lambda: tf.data.TFRecordDataset(text)), "TFRecordDataset"),
        "lines": (dataset(lambda: tf.data.TextLineDataset(text)), "TextLineDataset"),
        "cache": (dataset(lambda: lines().cache(text)), "CacheDatasetV2"),
        "save": (
            lambda x: [raw.SaveV2(
                prefix=text, tensor_names=["a"], shape_and_slices=[""], tensors=[x],
            )], "SaveV2",
        ),
        "restore": (
            lambda x: raw.RestoreV2(
                prefix=text, tensor_names=["a"], shape_and_slices=[""],
                dtypes=[tf.float32],
            ), "RestoreV2",
        ),
        "cond": (
            lambda x: [tf.cond(tf.reduce_sum(x) > 0, write, lambda: 0)], "WriteFile",
        ),
        "map": (
            dataset(lambda: lines().map(lambda t: tf.io.read_file(t + text))),
            "ReadFile",
        ),
    }  # fmt: skip


@pytest.mark.parametrize("name", calls("a"))
def test_an_operation_is_named_and_does_not_run(tmp_path, name):
    target = tmp_path / "touched"
    call, operation = calls(target)[name]
    folder = save(tmp_path / "net", call)
    with pytest.raises(ModelError, match=rf"{operation}(.|\n)*--unsafe"):
        networks.load(folder)
    assert not target.exists()
    if name in ("write", "cond"):
        networks.load(folder, safe_mode=False)(X)
        assert target.exists()


def test_an_initialiser_of_a_table_is_refused(tmp_path):
    (tmp_path / "words.txt").write_text("a\nb\n")
    made = tf.lookup.TextFileInitializer(
        str(tmp_path / "words.txt"), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE,
        tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER,
    )  # fmt: skip
    table = tf.lookup.StaticHashTable(made, -1)
    call = lambda x: [table.lookup(tf.constant("a"))]  # noqa: E731
    folder = save(tmp_path / "net", call, table=table)
    with pytest.raises(ModelError, match="InitializeTableFromTextFile"):
        networks.load(folder)
    keys = tf.lookup.KeyValueTensorInitializer(tf.constant(["a"]), tf.constant([1]))
    table = tf.lookup.StaticHashTable(keys, -1)
    folder = save(tmp_path / "in_memory", call, table=table)
    assert networks.load(folder)(X).numpy().tolist() == (X * 2).tolist()


def test_usual_graphs_are_loaded(tmp_path):
    model = small()
    model.export(tmp_path / "keras", verbose=False)
    x = np.random.default_rng(0).uniform(0, 9, (2, 8, 9, 3)).astype("float32")
    loaded = networks.load(tmp_path / "keras")
    np.testing.assert_allclose(loaded.serve(x), model.predict(x, verbose=0), 1e-5)
    save(tmp_path / "print", lambda x: [tf.print("a")])
    assert networks.load(tmp_path / "print")(X).shape == (1, 4)


def saved_v1(folder, write=None):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        x = tf.compat.v1.placeholder(tf.float32, (None, 4))
        w = tf.compat.v1.get_variable("w", initializer=2.0, use_resource=True)
        with tf.control_dependencies([tf.io.write_file(write, "x")] if write else []):
            y = x * w
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.saved_model.simple_save(session, str(folder), {"x": x}, {"y": y})
    return folder


def test_graphs_of_tensorflow_1(tmp_path):
    loaded = networks.load(saved_v1(tmp_path / "good"))
    found = loaded.signatures["serving_default"](tf.constant(X))["y"]
    assert found.numpy().tolist() == (X * 2).tolist()
    with pytest.raises(ModelError, match="WriteFile"):
        networks.load(saved_v1(tmp_path / "bad", str(tmp_path / "touched")))


def test_a_saver_that_is_called_elsewhere_is_refused(tmp_path):
    """The functions that save and restore variables are no hiding place."""
    from tensorflow.core.protobuf import saved_model_pb2

    folder = save(tmp_path / "net", lambda x: [])
    saved_models.check(folder)
    path = folder / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    functions = saved.meta_graphs[0].graph_def.library.function
    (saver,) = [f for f in functions if "traced_save" in f.signature.name]
    other = next(f for f in functions if "signature_wrapper" in f.signature.name)
    node = other.node_def.add(op="StatefulPartitionedCall", name="hidden")
    node.attr["f"].func.name = saver.signature.name
    path.write_bytes(saved.SerializeToString())
    with pytest.raises(ModelError, match="SaveV2"):
        networks.load(folder)


def test_assets_stay_in_the_folder(tmp_path):
    from tensorflow.core.protobuf import saved_model_pb2

    folder = save(tmp_path / "net", lambda x: [])
    path = folder / "saved_model.pb"
    for name in ("../../secret", "/etc/passwd"):
        saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
        saved.meta_graphs[0].asset_file_def.add(filename=name)
        (tmp_path / "other").mkdir(exist_ok=True)
        (tmp_path / "other" / "saved_model.pb").write_bytes(saved.SerializeToString())
        with pytest.raises(ModelError, match=f"asset {name}"):
            networks.load(tmp_path / "other")


@pytest.mark.parametrize("data", [b"", b"junk", b"\x0a\xff\xff\xff\xff\x0f", None])
def test_junk_is_no_saved_model(tmp_path, data):
    if data is not None:
        (tmp_path / "saved_model.pb").write_bytes(data)
    for safe in (True, False):
        with pytest.raises(ModelError, match="contains no SavedModel"):
            networks.load(tmp_path, safe_mode=safe)


#: Parameters of raw operations that name a file or an address.
PLACES = re.compile(
    r"filenames?|(\w+_)?paths?|\w+_dir|directory|logdir|address|db_uri|debug_urls"
    r"|token|file_pattern|\w+_file|chunk_file"
)
HARMLESS = {
    *("BoostedTreesCreateEnsemble", "CTCBeamSearchDecoder"),
    *("BoostedTreesDeserializeEnsemble",),
}


def test_every_operation_of_tensorflow_on_files_is_known():
    places = {}
    for name in dir(tf.raw_ops):
        operation = getattr(tf.raw_ops, name)
        if callable(operation):
            taken = inspect.signature(operation).parameters
            places[name] = [p for p in taken if PLACES.fullmatch(p)]
    named = {name for name, found in places.items() if found} - HARMLESS
    assert len(named) > 50
    unknown = [n for n in named if not saved_models.FORBIDDEN.fullmatch(n)]
    assert unknown == []
    for harmless in ("MatMul", "MapDataset", "StringSplit", "ShardedFilename", "Print"):
        assert not saved_models.FORBIDDEN.fullmatch(harmless)


@pytest.mark.parametrize(
    ("suffix", "said"), [(".keras", r"TFSMLayer(.|\n)*--unsafe"), (".h5", "TFSMLayer")]
)
def test_a_layer_that_loads_a_saved_model_is_refused(tmp_path, suffix, said):
    target = tmp_path / "touched"
    folder = save(tmp_path / "net", lambda x: [tf.io.write_file(str(target), "x")])
    inputs = keras.Input((4,))
    layer = keras.layers.TFSMLayer(str(folder), call_endpoint="serving_default")
    keras.Model(inputs, layer(inputs)).save(tmp_path / f"net{suffix}")
    target.unlink(missing_ok=True)
    with pytest.raises(ModelError, match=said):
        networks.load(tmp_path / f"net{suffix}")
    assert not target.exists()


def test_the_command_line_names_the_option(tmp_path):
    target = tmp_path / "touched"
    draw(tmp_path / "a.png", 0)

    @tf.function(input_signature=[tf.TensorSpec((None, 8, 9, 3), tf.float32)])
    def call(x):
        tf.io.write_file(str(target), "x")
        return tf.reduce_mean(x, (1, 2))

    module = tf.Module()
    module.__call__ = call
    tf.saved_model.save(module, str(tmp_path / "net"), signatures=call)
    given = ["explain", "--model", tmp_path / "net", "--method", "gradient"]
    given += ["--out", tmp_path / "out", tmp_path / "a.png"]
    result = CliRunner().invoke(main, [str(w) for w in given])
    assert result.exit_code == 2 and "WriteFile" in result.stderr
    assert "--unsafe" in result.stderr and not target.exists()
    result = CliRunner().invoke(main, [str(w) for w in [*given, "--unsafe"]])
    assert result.exit_code == 0 and target.exists()


def test_a_graph_file_is_loaded_in_safe_mode(tmp_path):
    for name, data in (("a.keras", b"junk"), ("b.keras", b"")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ModelError, match="not a zip archive"):
            tfxai.load(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "c.keras", "w") as packed:
        packed.writestr("config.json", json.dumps({"class_name": "os.system"}))
    with pytest.raises(ModelError, match="not a model that Keras can load"):
        tfxai.load(tmp_path / "c.keras")
