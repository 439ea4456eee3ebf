"""Networks, their preprocessing and their labels, by name or from files.

What the command line takes as text becomes a model, a function and a list here.
"""

import importlib
import importlib.machinery
import json
import os
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
    UnknownNameError,
    first_line,
)
from tfxai.base.validation import nearest

PATIENCE = 10.0  # seconds without an answer, until a download is given up


def load(name: str | os.PathLike, safe_mode: bool = True) -> Any:
    """Load a network: a `.keras` or `.h5` file, a SavedModel folder, or a Keras name.

    name: a path, or one of `keras.applications` such as "MobileNetV2" (any case), whose
        weights Keras downloads once.
    safe_mode: False lets a file run the Python code that it carries (Lambda layers).

    Raises MissingFileError, ModelError, DownloadError, UnknownNameError.
    """
    path = Path(name)
    if path.is_dir():
        return _saved_model(path)
    if path.exists():
        return _file(path, safe_mode)
    if path.suffix or len(path.parts) > 1:
        raise MissingFileError(
            f"There is no file {str(path)!r}.",
            "a .keras or .h5 file, a SavedModel folder, or a name of "
            "keras.applications such as MobileNetV2",
        )
    return _application(str(name))


def own_preprocess(name: str | os.PathLike) -> str | None:
    """The preprocessing of a network of `keras.applications`, as `preprocess` takes it.

    None for any other network: nobody knows how it was trained.
    """
    import keras

    known = _applications().get(str(name).lower())
    if known is None or Path(name).exists():
        return None
    return getattr(keras.applications, known).__module__.rpartition(".")[2]


def preprocess(text: str) -> Callable:
    """A function `raw batch -> network input`, by name.

    text: a module of `keras.applications` ("vgg16"), "package.module:function", or
        "file.py:function". It runs inside a tf.function: TensorFlow operations only.

    Raises OptionError, MissingFileError, UnknownNameError.
    """
    source, colon, function = text.rpartition(":")
    if not colon:
        return _keras_preprocess(text)
    module = _module(text, source)
    found = getattr(module, function, None)
    if not callable(found):
        known = [n for n in vars(module) if not n.startswith("_")]
        close = nearest(function, known)
        raise OptionError(
            f"{source!r} has no function {function!r}.",
            "one of its functions" + (f", perhaps {', '.join(close)}" if close else ""),
            f"{source}:{(close or ['function'])[0]}",
        )
    return found


def labels(path: str | os.PathLike) -> list[str]:
    """The classes' names, in the network's order, from a JSON or a text file.

    JSON: ["tench", ...], {"0": "tench", ...}, or Keras' {"0": ["n01440764", "tench"]}.
    Text: one name per line. Raises MissingFileError, LabelError.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"There is no file {str(path)!r}.", "a file of labels")
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() != ".json":
            return [line.strip() for line in text.rstrip().split("\n")]
        return _listed(json.loads(text))
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise LabelError(
            f"{str(path)!r} holds no labels ({type(error).__name__}: {error}).",
            'JSON, ["tench", ...] or {"0": "tench", ...} with no index left out, or '
            "text with one label per line",
        ) from error


def find_label(text: str, labels: Sequence[str]) -> int:
    """The index of a class, from its index or its label.

    Case does not count, nor does space or underscore. "African elephant" also finds
    "African elephant, Loxodonta africana", unless another label is the text itself.

    Raises LabelError for none, and for several.
    """
    if text.strip().lstrip("-").isdigit():
        return _index(int(text), len(labels))
    plain, wanted = [_plain(v) for v in labels], _plain(text)
    found = [i for i, v in enumerate(plain) if v == wanted]
    found = found or [i for i, v in enumerate(plain) if wanted in v.split(", ")]
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
            f"{text!r} is no number, and there are no labels to find it in.",
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


def _file(path: Path, safe_mode: bool) -> Any:
    import keras

    try:
        return keras.models.load_model(path, safe_mode=safe_mode, compile=False)
    except Exception as error:  # Keras raises whatever a broken file leads to
        text = first_line(error, None)
        if "Lambda" in text and "deserialization" in text:
            raise ModelError(
                f"{str(path)!r} carries Python code of its own (a Lambda layer), and "
                "loading it would run that code.",
                "a file without, or one whose source you trust",
                "--unsafe (in Python: from tfxai.io import networks, and then "
                "networks.load(path, safe_mode=False))",
            ) from error
        if path.suffix == ".keras" and not zipfile.is_zipfile(path):
            text = "it is no zip archive"
        raise ModelError(
            f"{str(path)!r} is no model that Keras can load: {text[:200]}",
            "a whole model, as model.save writes it (not its weights alone)",
            'model.save("net.keras")',
        ) from error


def _saved_model(path: Path) -> Any:
    import tensorflow as tf

    try:
        return tf.saved_model.load(str(path))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"The folder {str(path)!r} holds no SavedModel: {error}",
            "a folder as model.export writes it",
            'model.export("folder")',
        ) from error


def _applications() -> dict[str, str]:
    import keras

    names = [n for n in dir(keras.applications) if n[0].isupper()]
    return {n.lower(): n for n in names}


def _application(name: str) -> Any:
    import keras

    names = _applications()
    known = names.get(name.lower())
    if known is None:
        close = nearest(name, names.values())
        raise UnknownNameError(
            f"There is no file {name!r}, and no network of that name.",
            "a .keras or .h5 file, a SavedModel folder, or a name of keras.applications"
            + (f", perhaps {', '.join(close)}" if close else ""),
            (close or ["MobileNetV2"])[0],
        )
    try:
        with _patience():
            return getattr(keras.applications, known)()
    except Exception as error:
        if not isinstance(error, OSError) and "URL fetch" not in str(error):
            raise
        raise DownloadError(
            f"The weights of {known} could not be downloaded: {error}",
            "a connection to the internet, or a network in a file",
        ) from error


@contextmanager
def _patience() -> Iterator[None]:
    """Let a dead connection fail after seconds instead of minutes."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


# -- preprocessing -------------------------------------------------------------------


def _keras_preprocess(name: str) -> Callable:
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
    return known[name.lower()].preprocess_input


def _module(text: str, source: str) -> Any:
    """Import `package.module`, or run `file.py`."""
    path = Path(source)
    if path.suffix == ".py" and not path.is_file():
        raise MissingFileError(f"There is no file {source!r}.", "a Python file")
    try:
        if path.suffix != ".py":
            return importlib.import_module(source)
        module = types.ModuleType(path.stem)
        module.__file__ = source
        importlib.machinery.SourceFileLoader(path.stem, source).exec_module(module)
        return module
    except Exception as error:
        raise OptionError(
            f"--preprocess {text}: {type(error).__name__}: {error}",
            "a module that can be imported, or a file that runs",
            "file.py:function",
        ) from error


# -- labels --------------------------------------------------------------------------


def _listed(data: Any) -> list[str]:
    rows = data if isinstance(data, list) else [data[str(i)] for i in range(len(data))]
    names = [row[1] if isinstance(row, list) else row for row in rows]
    if not names or not all(isinstance(n, str) for n in names):
        raise ValueError("not a list of names")
    return names


def _index(index: int, count: int) -> int:
    if index < 0 or (count and index >= count):
        limit = f" and at most {count - 1}" if count else ""
        raise LabelError(f"No class has the index {index}.", f"at least 0{limit}")
    return index


def _plain(label: str) -> str:
    return " ".join(label.replace("_", " ").split()).casefold()


def _nearest_labels(wanted: str, labels: Sequence[str]) -> list[str]:
    """Up to three synonyms of labels that look like `wanted`."""
    names = {_plain(n): n.strip() for label in labels for n in label.split(",")}
    inside = [n for p, n in names.items() if wanted in p.split()]
    return list(dict.fromkeys([*inside[:3], *nearest(wanted, names.values())]))[:3]
