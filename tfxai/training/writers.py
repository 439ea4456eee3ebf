"""Where the maps of a training go: a small value for each place.

A sink is a name, a function (step, explanation) that writes, and one that ends. Adding
one is writing one function here that returns a `Writer`.
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
from tfxai.io.images import write as write_picture
from tfxai.viz.thumbnails import captioned, first_of, overlays_of, strip


@dataclass(frozen=True, eq=False)
class Writer:
    """One place that maps go to.

    name: as it was written, for warnings. write: (step, Explanation) -> None, for every
    step that is explained. close: called when the training ends; `write` may follow
    again, where a model is trained further. begin: called before the first step of
    another model.
    """

    name: str
    write: Callable[[int, Explanation], Any]
    close: Callable[[], Any] = lambda: None
    begin: Callable[[], Any] = lambda: None


# -- the places ----------------------------------------------------------------------


def png(folder: Any, samples: int = 8) -> Writer:
    """A picture for each step, `folder/000003.png`, whole or not at all.

    Above are the inputs side by side, below their overlays, a row for each target.
    samples: how many of the inputs at most, the first ones.
    """
    folder = _folder("png", folder)
    whole_number("samples", samples, 1)

    def write(step: int, e: Explanation) -> None:
        write_picture(folder / f"{step:06d}.png", strip(first_of(e, samples)))

    return Writer(f"png({str(folder)!r})", write)


def gif(path: Any, seconds: float = 0.5, samples: int = 8) -> Writer:
    """One moving picture of all steps, written whole when the training ends.

    Each frame is what `png` draws, under its step. seconds: how long each is shown. The
    frames are in memory until then; a training that fails or is killed leaves none.
    """
    path = _file("gif", path, ".gif")
    above("seconds", seconds)
    whole_number("samples", samples, 1)
    frames: list[Any] = []

    def write(step: int, e: Explanation) -> None:
        frames.append(captioned(strip(first_of(e, samples)), f"step {step}"))

    def close() -> None:
        if not frames:
            return
        first, *rest = frames
        options = {"duration": round(1000 * seconds), "loop": 0}
        with atomic_write(path) as temporary:
            first.save(temporary, save_all=True, append_images=rest, **options)

    return Writer(f"gif({str(path)!r})", write, close, frames.clear)


def npz(folder: Any) -> Writer:
    """An explanation for each step, `folder/000003.npz`; `tfxai.load` reads it."""
    folder = _folder("npz", folder)

    def write(step: int, e: Explanation) -> None:
        e.save(folder / f"{step:06d}.npz")

    return Writer(f"npz({str(folder)!r})", write)


def hdf5(path: Any) -> Writer:
    """One file of all steps: `inputs`, and `000003/relevance`, `.../target`, `score`.

    Relevance is float32 (B, ...); of a model with several inputs `relevance/0`, ...
    The file is open only while a step is written; a step that is there already is
    replaced. Unlike an .npz, one that is being written when the process is killed may
    be lost.
    """
    path = _file("hdf5", path, ".h5", ".hdf5")

    def write(step: int, e: Explanation) -> None:
        import h5py

        path.parent.mkdir(parents=True, exist_ok=True)
        group = f"{step:06d}"
        made = {f"{group}/{n}": getattr(e, n) for n in ("relevance", "target", "score")}
        with h5py.File(path, "a") as file:
            for old in (group, "inputs"):
                file.pop(old, None)
            for name, value in _flat({**made, "inputs": e.inputs}).items():
                file[name] = np.asarray(value)
            file.attrs["method"] = e.method

    return Writer(f"hdf5({str(path)!r})", write)


def tensorboard(folder: Any, samples: int = 8) -> Writer:
    """Image summaries of the overlays, under the analyzer's name, at each step.

    Raises MissingPackageError where `tensorboard` is not installed.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise MissingPackageError(
            "callbacks.tensorboard needs the package tensorboard: "
            'python -m pip install "tfxai[tensorboard]".'
        )
    folder = _folder("tensorboard", folder)
    whole_number("samples", samples, 1)
    open_now: list[Any] = []

    def write(step: int, e: Explanation) -> None:
        import tensorflow as tf

        if not open_now:
            open_now.append(tf.summary.create_file_writer(str(folder)))
        shown = np.stack(list(overlays_of(first_of(e, samples)).values()))
        with open_now[0].as_default():
            tf.summary.image(e.method, shown, step, max_outputs=len(shown))
        open_now[0].flush()

    def close() -> None:
        while open_now:
            open_now.pop().close()

    return Writer(f"tensorboard({str(folder)!r})", write, close)


def overlays(logger: Callable[[int, str, np.ndarray], Any], samples: int = 8) -> Writer:
    """A logger that is given pictures: logger(step, "sglrp/0", uint8 (H, W, 3)).

    One call for each sample; for several targets each, "sglrp/0/7" is of class 7.
    """
    whole_number("samples", samples, 1)

    def write(step: int, e: Explanation) -> None:
        for name, picture in overlays_of(first_of(e, samples)).items():
            logger(step, name, picture)

    return Writer(f"overlays({_named(logger)})", write)


def logged(logger: Callable[[int, str, np.ndarray], Any]) -> Writer:
    """A logger that is given maps: logger(step, "sglrp", float32 (B, ...)).

    One call for each input of the model; where it has several, "sglrp/0", ...
    """

    def write(step: int, e: Explanation) -> None:
        for name, relevance in _flat({e.method: e.relevance}).items():
            logger(step, name, np.array(relevance))  # its own, to do with as it likes

    return Writer(_named(logger), write)


def as_sinks(to: Any) -> list[Writer]:
    """What was given as `to`: sinks, and functions (step, name, array)."""
    if isinstance(to, list | tuple) and all(map(_writes, to)):
        return [v if isinstance(v, Writer) else logged(v) for v in to]
    raise OptionError(
        f"to={to!r}.",
        "a list of sinks, or of functions (step, name, array)",
        'to=[callbacks.png("strips/"), my_logger]',
    )


def _writes(value: Any) -> bool:
    """A sink or a function; `callbacks.png` without its folder is neither."""
    makers = (png, gif, npz, hdf5, tensorboard, overlays)
    return isinstance(value, Writer) or (callable(value) and value not in makers)


# -- what was given ------------------------------------------------------------------


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    """Lists of arrays as arrays under numbered names."""
    made: dict[str, Any] = {}
    for name, value in values.items():
        several = isinstance(value, list)
        made |= (
            {f"{name}/{i}": v for i, v in enumerate(value)}
            if several
            else {name: value}
        )
    return made


def _named(logger: Any) -> str:
    if not callable(logger):
        raise OptionError(f"overlays({logger!r}).", "a function (step, name, array)")
    return getattr(logger, "__name__", repr(logger))


def _folder(kind: str, path: Any) -> Path:
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise OptionError(f"{kind}({str(path)!r}): that is a file.", "a folder")
    return path


def _file(kind: str, path: Any, *ends: str) -> Path:
    path = Path(path)
    if path.suffix not in ends:
        wanted = f"a file name that ends in {' or '.join(ends)}"
        raise OptionError(f"{kind}({str(path)!r}).", wanted)
    return path
