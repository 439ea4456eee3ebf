"""Writers: the destinations of explanations during training.

A writer has a name, a function (step, explanation) that writes, and a function that
ends the output. A new destination is one function here that returns a `Writer`.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfxai.base.atomic_write import atomic_write
from tfxai.base.errors import MissingPackageError, OptionError
from tfxai.base.validation import above, whole_number
from tfxai.core.explanation import Explanation
from tfxai.io.images import write as write_image
from tfxai.viz.thumbnails import captioned, overlays_of, strip


@dataclass(frozen=True, eq=False)
class Writer:
    """A destination of explanations.

    Args:
        name: The call that created the writer, for warnings.
        write: A function (step, explanation), called for each explained step.
        close: A function without arguments, called at the end of each training. `write`
            may follow again if the model is trained further.
        begin: A function without arguments, called before the first step of each model.
    """

    name: str
    write: Callable[[int, Explanation], Any]
    close: Callable[[], Any] = lambda: None
    begin: Callable[[], Any] = lambda: None


# -- destinations --------------------------------------------------------------------


def png(folder: Any, samples: int = 8) -> Writer:
    """Write one image per step, `folder/000003.png`, completely or not at all.

    The first row shows the inputs side by side, the rows below show the overlays, one
    row per target.

    Args:
        folder: The folder of the images.
        samples: The largest number of inputs that are shown, the first ones.
    """
    folder = _folder("png", folder)
    whole_number("samples", samples, 1)

    def write(step: int, e: Explanation) -> None:
        write_image(folder / f"{step:06d}.png", strip(e[:samples]))

    return Writer(f"png({str(folder)!r})", write)


def gif(path: Any, seconds: float = 0.5, samples: int = 8) -> Writer:
    """Write one animated GIF of all steps at the end of the training.

    A frame is the image of `png` below the number of its step. The frames stay in
    memory until the end, so that a training that fails or is killed leaves no file.

    Args:
        path: The file, ending in .gif.
        seconds: The duration of a frame.
        samples: The largest number of inputs that are shown, the first ones.
    """
    path = _file("gif", path, ".gif")
    above("seconds", seconds)
    whole_number("samples", samples, 1)
    frames: list[Any] = []

    def write(step: int, e: Explanation) -> None:
        frames.append(captioned(strip(e[:samples]), f"step {step}"))

    def close() -> None:
        if not frames:
            return
        first, *rest = frames
        options = {"duration": round(1000 * seconds), "loop": 0}
        with atomic_write(path) as temporary:
            first.save(temporary, save_all=True, append_images=rest, **options)

    return Writer(f"gif({str(path)!r})", write, close, frames.clear)


def npz(folder: Any) -> Writer:
    """Write one explanation per step, `folder/000003.npz`; `tfxai.load` reads it.

    Args:
        folder: The folder of the files.
    """
    folder = _folder("npz", folder)

    def write(step: int, e: Explanation) -> None:
        e.save(folder / f"{step:06d}.npz")

    return Writer(f"npz({str(folder)!r})", write)


def hdf5(path: Any) -> Writer:
    """Write one file with all steps: `inputs`, `000003/relevance`, `target`, `score`.

    Relevance is float32 (B, ...), or `relevance/0`, ... for several inputs. The file is
    open only while a step is written, and an existing step is replaced. Unlike `npz`,
    a process that is killed while it writes may damage the file.

    Args:
        path: The file, ending in .h5 or .hdf5.
    """
    path = _file("hdf5", path, ".h5", ".hdf5")

    def write(step: int, e: Explanation) -> None:
        import h5py

        path.parent.mkdir(parents=True, exist_ok=True)
        group = f"{step:06d}"
        names = ("relevance", "target", "score")
        values = {f"{group}/{n}": getattr(e, n) for n in names}
        with h5py.File(path, "a") as file:
            for old in (group, "inputs"):
                file.pop(old, None)
            for name, value in _flatten({**values, "inputs": e.inputs}).items():
                file[name] = np.asarray(value)
            file.attrs["method"] = e.method

    return Writer(f"hdf5({str(path)!r})", write)


def tensorboard(folder: Any, samples: int = 8) -> Writer:
    """Write the overlays of each step as image summaries named after the method.

    Args:
        folder: The log folder of TensorBoard.
        samples: The largest number of inputs that are shown, the first ones.

    Raises:
        MissingPackageError: `tensorboard` is not installed.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise MissingPackageError(
            "callbacks.tensorboard needs the package tensorboard: "
            "python -m pip install tensorboard."
        )
    folder = _folder("tensorboard", folder)
    whole_number("samples", samples, 1)
    file_writers: list[Any] = []

    def write(step: int, e: Explanation) -> None:
        import tensorflow as tf

        if not file_writers:
            file_writers.append(tf.summary.create_file_writer(str(folder)))
        shown = np.stack(list(overlays_of(e[:samples]).values()))
        with file_writers[0].as_default():
            tf.summary.image(e.method, shown, step, max_outputs=len(shown))
        file_writers[0].flush()

    def close() -> None:
        while file_writers:
            file_writers.pop().close()

    return Writer(f"tensorboard({str(folder)!r})", write, close)


def overlays(logger: Callable[[int, str, np.ndarray], Any], samples: int = 8) -> Writer:
    """Call logger(step, "sglrp/0", uint8 (H, W, 3)) with each overlay.

    There is one call per sample, and per target if a sample has several: "sglrp/0/7" is
    class 7 of sample 0.

    Args:
        logger: A function (step, name, array).
        samples: The largest number of inputs that are shown, the first ones.
    """
    whole_number("samples", samples, 1)

    def write(step: int, e: Explanation) -> None:
        for name, image in overlays_of(e[:samples]).items():
            logger(step, name, image)

    return Writer(f"overlays({_name_of(logger)})", write)


def logged(logger: Callable[[int, str, np.ndarray], Any]) -> Writer:
    """Call logger(step, "sglrp", float32 (B, ...)) with the relevance.

    There is one call per input of the model, "sglrp/0", ... if there are several.

    Args:
        logger: A function (step, name, array).
    """

    def write(step: int, e: Explanation) -> None:
        for name, relevance in _flatten({e.method: e.relevance}).items():
            logger(step, name, np.array(relevance))  # a copy: it may write into it

    return Writer(_name_of(logger), write)


def as_writers(to: Any) -> list[Writer]:
    """Return writers and functions (step, name, array) as writers.

    Args:
        to: A list of writers and functions.

    Raises:
        OptionError: The value is not such a list.
    """
    if isinstance(to, list | tuple) and all(map(_is_destination, to)):
        return [v if isinstance(v, Writer) else logged(v) for v in to]
    raise OptionError(
        f"to={to!r}.",
        "a list of writers, or of functions (step, name, array)",
        'to=[callbacks.png("strips/"), my_logger]',
    )


def _is_destination(value: Any) -> bool:
    """Return True for a writer or a function, but not for `callbacks.png` itself."""
    factories = (png, gif, npz, hdf5, tensorboard, overlays)
    return isinstance(value, Writer) or (callable(value) and value not in factories)


# -- arguments -----------------------------------------------------------------------


def _flatten(values: dict[str, Any]) -> dict[str, Any]:
    """Replace lists of arrays by arrays under numbered names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, list):
            flat |= {f"{name}/{i}": v for i, v in enumerate(value)}
        else:
            flat[name] = value
    return flat


def _name_of(logger: Any) -> str:
    """Return the name of a function, for warnings."""
    if not callable(logger):
        raise OptionError(f"overlays({logger!r}).", "a function (step, name, array)")
    return str(getattr(logger, "__name__", repr(logger)))


def _folder(kind: str, path: Any) -> Path:
    """Return a path that may be a folder, or raise OptionError."""
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise OptionError(f"{kind}({str(folder)!r}): this is a file.", "a folder")
    return folder


def _file(kind: str, path: Any, *suffixes: str) -> Path:
    """Return a path with one of the suffixes, or raise OptionError."""
    file = Path(path)
    if file.suffix not in suffixes:
        needed = f"a file name that ends in {' or '.join(suffixes)}"
        raise OptionError(f"{kind}({str(file)!r}).", needed)
    return file
