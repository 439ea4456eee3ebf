"""Networks, their preprocessing and their labels, by name or from files.

The functions turn the text arguments of the command line into a model, a preprocessing
function and a list of labels.
"""

import hashlib
import importlib
import importlib.machinery
import os
import re
import socket
import types
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tfxai.base.errors import (
    DownloadError,
    LabelError,
    MissingFileError,
    ModelError,
    OptionError,
    TfxaiError,
    UnknownNameError,
    first_line,
)
from tfxai.base.text import storable
from tfxai.base.validation import nearest
from tfxai.io import label_files, saved_models

#: A function `raw batch -> network input`.
Preprocess = Callable[..., Any]
#: Global of a module from a file that holds the SHA-256 of the file.
SOURCE_DIGEST = "__source_digest__"
TIMEOUT = 10.0  # seconds without a response after which a download fails


def load(name: str | os.PathLike[str], safe_mode: bool = True) -> Any:
    """Return a network from a file, from a SavedModel folder, or by its Keras name.

    Args:
        name: The path of a `.keras` or `.h5` file or of a SavedModel folder, or a name
            of `keras.applications` such as "MobileNetV2" (in any case). Keras downloads
            the weights of named networks once.
        safe_mode: Reject a file that contains Python code (Lambda layers) or loads
            other files (TFSMLayer), and a SavedModel with operations on files, the
            network or Python. False loads it; its code and its operations run.

    Raises:
        MissingFileError: There is no such file.
        ModelError: The file or folder contains no model that can be loaded.
        UnknownNameError: `keras.applications` has no network of this name.
        DownloadError: Keras could not download the weights.
    """
    path = Path(name)
    if path.is_dir():
        return _load_saved_model(path, safe_mode)
    if path.exists():
        return load_file(path, safe_mode=safe_mode, compile=False)
    if path.suffix or len(path.parts) > 1:
        raise MissingFileError(
            f"There is no file {str(path)!r}.",
            "a .keras or .h5 file, a SavedModel folder, or a name of "
            "keras.applications such as MobileNetV2",
        )
    return _load_application(str(name))


def own_preprocess(name: str | os.PathLike[str]) -> str | None:
    """Return the name of the preprocessing of a network of `keras.applications`.

    Returns:
        A name that `preprocess` takes; None for any other network, whose preprocessing
        is not known.
    """
    import keras

    known = _applications().get(str(name).lower())
    if known is None or Path(name).exists():
        return None
    module: str = getattr(keras.applications, known).__module__
    return module.rpartition(".")[2]


def preprocess(text: str) -> Preprocess:
    """Return a preprocessing function `raw batch -> network input`, by name.

    Args:
        text: A module of `keras.applications` ("vgg16"), "package.module:function" or
            "file.py:function". The function runs inside a tf.function and may only use
            TensorFlow operations.

    Raises:
        OptionError: The module cannot be imported, or has no such function.
        MissingFileError: There is no such file.
        UnknownNameError: `keras.applications` has no module of this name.
    """
    source, colon, name = text.rpartition(":")
    if not colon:
        return _keras_preprocess(text)
    module = _import_source(text, source)
    function: Preprocess | None = getattr(module, name, None)
    if not callable(function):
        known = [n for n in vars(module) if not n.startswith("_")]
        close = nearest(name, known)
        raise OptionError(
            f"{source!r} has no function {name!r}.",
            "one of its functions" + (f", perhaps {', '.join(close)}" if close else ""),
            f"{source}:{(close or ['function'])[0]}",
        )
    return function


def labels(path: str | os.PathLike[str]) -> list[str]:
    """Return the class names, in the order of the network's outputs, from a file.

    Args:
        path: A JSON file with ["tench", ...], {"0": "tench", ...}, {"tench": 0, ...},
            Keras' {"0": ["n01440764", "tench"]} or Hugging Face's "id2label"; or a text
            or CSV file with one name per line, with or without its index. See
            `tfxai.io.label_files`.

    Raises:
        MissingFileError: There is no such file.
        LabelError: The file contains no labels.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"There is no file {str(path)!r}.", "a file of labels")
    try:
        text = path.read_text(encoding="utf-8-sig")
        return [storable(n) for n in label_files.parse(text, path.suffix)]
    except (ValueError, OSError, RecursionError) as error:
        raise LabelError(
            f"{str(path)!r} contains no labels ({type(error).__name__}: {error}).",
            'JSON, ["tench", ...] or {"0": "tench", ...} with every index, or '
            "text with one label per line, in the order of the outputs",
        ) from error


def find_label(text: str, labels: Sequence[str]) -> int:
    """Return the index of a class, given its index or its label as text.

    Case, spaces and underscores are ignored. A text that equals no label is compared
    with the synonyms of each label, which are separated by commas: "African elephant"
    finds "African elephant, Loxodonta africana".

    Args:
        text: An index or a label.
        labels: The class names, in the order of the network's outputs.

    Raises:
        LabelError: No class has this index or label, or several have the label.
    """
    if re.fullmatch(r"-?\d{1,18}", text.strip()):
        return _check_index(int(text), len(labels))
    normal, wanted = [_normalise(v) for v in labels], _normalise(text)
    found = [i for i, v in enumerate(normal) if v == wanted]
    found = found or [i for i, v in enumerate(normal) if wanted in v.split(", ")]
    if len(found) == 1:
        return found[0]
    if found:
        raise LabelError(
            f"The label {text!r} belongs to {len(found)} classes: "
            + ", ".join(f"{i} ({labels[i]})" for i in found)
            + ".",
            "one class",
            f"its index, {' or '.join(map(str, found))}",
        )
    if not labels:
        raise LabelError(
            f"{text!r} is not a number, and no labels are given.",
            "the index of a class, or a file of labels",
            "--labels labels.json",
        )
    close = _nearest_labels(wanted, labels)
    raise LabelError(
        f"No class has the label {text!r}.",
        "a label of the file, or an index"
        + (f"; perhaps {', '.join(map(repr, close))}" if close else ""),
    )


# -- networks ------------------------------------------------------------------------


def load_file(path: Path, **options: Any) -> Any:
    """Return the model of a `.keras` or `.h5` file.

    Args:
        path: The file.
        options: Options of `keras.models.load_model`.

    Raises:
        ModelError: The file contains no model that can be loaded, or code.
    """
    import keras

    try:
        return keras.models.load_model(path, **options)
    except TfxaiError:  # of an own layer, such as an unknown rule
        raise
    except Exception as error:  # Keras raises many types for a broken file
        text = first_line(error, None)
        unsafe = re.search("Lambda|TFSMLayer", text)
        if unsafe and "deserialization" in text:
            code = {
                "Lambda": "Python code (a Lambda layer)",
                "TFSMLayer": "a TFSMLayer, which loads a SavedModel from elsewhere",
            }
            raise ModelError(
                f"{str(path)!r} contains {code[unsafe[0]]}, and loading it would run "
                "what it holds.",
                "a file without code, or one from a source that you trust",
                "--unsafe (in Python: from tfxai.io import networks, and then "
                "networks.load(path, safe_mode=False))",
            ) from error
        if path.suffix == ".keras" and not zipfile.is_zipfile(path):
            text = "it is not a zip archive"
        raise ModelError(
            f"{str(path)!r} is not a model that Keras can load: {text[:200]}",
            "a whole model, as model.save writes it (not only its weights)",
            'model.save("net.keras")',
        ) from error


def _load_saved_model(path: Path, safe_mode: bool) -> Any:
    """Load a SavedModel folder."""
    import tensorflow as tf

    if safe_mode:
        saved_models.check(path)
    try:
        return tf.saved_model.load(str(path))
    except Exception as error:  # TensorFlow raises many types for a damaged folder
        raise ModelError(
            f"The folder {str(path)!r} contains no SavedModel: {first_line(error)}",
            "a folder that model.export wrote",
            'model.export("folder")',
        ) from error


def _applications() -> dict[str, str]:
    """Return the networks of `keras.applications`: lower-case name -> name."""
    import keras

    names = [n for n in dir(keras.applications) if n[0].isupper()]
    return {n.lower(): n for n in names}


def _load_application(name: str) -> Any:
    """Build a network of `keras.applications` with its published weights."""
    import keras

    names = _applications()
    known = names.get(name.lower())
    if known is None:
        close = nearest(name, names.values())
        raise UnknownNameError(
            f"There is no file and no network {name!r}.",
            "a .keras or .h5 file, a SavedModel folder, or a name of keras.applications"
            + (f", perhaps {', '.join(close)}" if close else ""),
            (close or ["MobileNetV2"])[0],
        )
    try:
        with _socket_timeout():
            return getattr(keras.applications, known)()
    except Exception as error:
        if not isinstance(error, OSError) and "URL fetch" not in str(error):
            raise
        raise DownloadError(
            f"The weights of {known} could not be downloaded: {error}",
            "an internet connection, or a network in a file",
        ) from error


@contextmanager
def _socket_timeout() -> Iterator[None]:
    """Limit the wait for a server to `TIMEOUT`; without it a download hangs minutes."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


# -- preprocessing -------------------------------------------------------------------


def _keras_preprocess(name: str) -> Preprocess:
    """Return `preprocess_input` of a module of `keras.applications`."""
    import keras

    modules = vars(keras.applications).items()
    known = {n: v for n, v in modules if hasattr(v, "preprocess_input")}
    if name.lower() not in known:
        close = nearest(name, known)
        raise UnknownNameError(
            f"There is no preprocessing {name!r}.",
            "a module of keras.applications, package.module:function or "
            "file.py:function" + (f"; perhaps {', '.join(close)}" if close else ""),
            f"--preprocess {(close or ['mobilenet_v2'])[0]}",
        )
    function: Preprocess = known[name.lower()].preprocess_input
    return function


def _import_source(text: str, source: str) -> Any:
    """Import `package.module`, or run `file.py`, and return the module."""
    path = Path(source)
    if path.suffix == ".py" and not path.is_file():
        raise MissingFileError(f"There is no file {source!r}.", "a Python file")
    try:
        if path.suffix != ".py":
            return importlib.import_module(source)
        module = types.ModuleType(path.stem)
        module.__file__ = source
        code = hashlib.sha256(path.read_bytes()).hexdigest()
        setattr(module, SOURCE_DIGEST, code)  # before it runs: its functions see it
        importlib.machinery.SourceFileLoader(path.stem, source).exec_module(module)
        return module
    except Exception as error:
        raise OptionError(
            f"--preprocess {text}: {type(error).__name__}: {error}",
            "a module that can be imported, or a file that runs",
            "file.py:function",
        ) from error


# -- labels --------------------------------------------------------------------------


def _check_index(index: int, count: int) -> int:
    """Return the index of a class if it is valid; `count` is 0 without labels."""
    if index < 0 or (count and index >= count):
        limit = f" and at most {count - 1}" if count else ""
        raise LabelError(f"No class has the index {index}.", f"at least 0{limit}")
    return index


def _normalise(label: str) -> str:
    """Return a label in lower case, with single spaces instead of underscores."""
    return " ".join(label.replace("_", " ").split()).casefold()


def _nearest_labels(wanted: str, labels: Sequence[str]) -> list[str]:
    """Return up to three synonyms of labels that resemble `wanted`."""
    names = {_normalise(n): n.strip() for label in labels for n in label.split(",")}
    containing = [n for p, n in names.items() if wanted in p.split()]
    return list(dict.fromkeys([*containing[:3], *nearest(wanted, names.values())]))[:3]
