"""Picture files: find them, read them as Keras does, write one whole or not at all."""

import io
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfxai.base.atomic_write import whole
from tfxai.base.errors import ImageError, MissingFileError, OptionError

#: A picture in a folder ends in one of these; a file named itself, in anything.
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_GREY = np.array([0.299, 0.587, 0.114], np.float32)


def read(
    path: str | os.PathLike,
    size: tuple[int | None, int | None] | None = None,
    data: bytes | None = None,
) -> np.ndarray:
    """Read a picture as RGB, (H, W, 3) float32 in 0..255.

    Upright as its EXIF tag says; grey, palette and transparent pictures become RGB. The
    whole picture is resized, bilinear, to `size` (height, width) as
    `keras.utils.load_img` does; None keeps a side. data: the file's bytes, where they
    stand in another file; `path` is then only its name.

    Raises MissingFileError, ImageError.
    """
    from PIL import Image, ImageOps

    path = Path(path)
    if data is None and not path.exists():
        raise MissingFileError(f"There is no file {str(path)!r}.", "a picture")
    try:
        with Image.open(path if data is None else io.BytesIO(data)) as opened:
            image = _rgb(ImageOps.exif_transpose(opened), path)
    except ImageError:
        raise
    except Exception as error:  # Pillow's plugins raise a dozen kinds
        raise ImageError(
            f"{str(path)!r} is no picture that can be read: "
            f"{_seen(path, error, data)}.",
            "a whole picture file, such as JPEG or PNG",
        ) from error
    if size is not None:
        height, width = size[0] or image.height, size[1] or image.width
        if (width, height) != image.size:
            image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image, np.float32)


def read_shaped(
    path: Path, shape: tuple[int | None, int | None, int], data: bytes | None = None
) -> np.ndarray:
    """A picture of the network's shape, in colour or grey. Raises ImageError."""
    x = read(path, shape[:2], data)
    return x if shape[2] == 3 else (x @ _GREY)[..., None]


def find(paths: Iterable[str | os.PathLike]) -> list[Path]:
    """Pictures named one by one, and those of folders, sorted; none of them twice.

    A folder gives its files of a known suffix (any case), not those of its folders.
    Raises MissingFileError.
    """
    found: dict[Path, Path] = {}
    for path in map(Path, paths):
        for picture in _inside(path) if path.is_dir() else [path]:
            if not picture.exists():
                raise MissingFileError(
                    f"There is no file {str(picture)!r}.", "a picture or a folder"
                )
            found.setdefault(picture.resolve(), picture)
    return list(found.values())


def places_of(paths: Sequence[Path], out: Path, method: str) -> dict[Path, Path]:
    """Where each picture's files go, without suffix: `out/<stem>.<method>`.

    Pictures of one stem are told apart by their folder, `<folder>-<stem>`, and within a
    folder by their suffix, `<folder>-<stem>-<suffix>`.
    """
    names = [p.stem for p in paths]
    for longer in (
        lambda p: f"{p.resolve().parent.name}-{p.stem}",
        lambda p: f"{p.resolve().parent.name}-{p.stem}-{p.suffix[1:]}",
    ):
        count = Counter(n.casefold() for n in names)
        names = [
            longer(p) if count[n.casefold()] > 1 else n
            for p, n in zip(paths, names, strict=True)
        ]
    places = {p: out / f"{n}.{method}" for p, n in zip(paths, names, strict=True)}
    count = Counter(str(p).casefold() for p in places.values())
    same = [str(p) for p, place in places.items() if count[str(place).casefold()] > 1]
    if same:
        raise OptionError(
            f"These pictures would be written to the same file: {', '.join(same)}.",
            "other names, or one run with its own --out for each",
        )
    return places


def write(path: str | os.PathLike, array: Any) -> Path:
    """Write (H, W) or (H, W, 3), uint8 or floats in [0, 1], as a PNG: whole, or not."""
    from PIL import Image

    path, array = Path(path), np.asarray(array)
    if path.suffix.lower() != ".png":
        raise OptionError(f"write({str(path)!r}).", "a file name that ends in .png")
    if array.dtype != np.uint8:
        if array.size == 0 or not (array.min() >= 0 and array.max() <= 1):
            raise ImageError(
                f"An array of {array.dtype} {array.shape} that leaves [0, 1].",
                "uint8, or floats in [0, 1]",
                "write(path, tfxai.plot.picture(array))",
            )
        array = np.round(array * 255.0).astype(np.uint8)
    with whole(path) as temporary:
        Image.fromarray(array).save(temporary)
    return path


def _inside(folder: Path) -> list[Path]:
    files = sorted(p for p in folder.iterdir() if p.is_file())
    shown = [p for p in files if not p.name.startswith(".")]
    pictures = [p for p in shown if p.suffix.lower() in SUFFIXES]
    if not pictures:
        raise MissingFileError(
            f"The folder {str(folder)!r} holds no picture.",
            f"files that end in {', '.join(SUFFIXES)}",
        )
    return pictures


def _rgb(image: Any, path: Path) -> Any:
    """RGB with 8 bits; 16-bit grey is scaled, where Pillow would cut it off at 255.

    What numbers of other kinds mean, no file says. Raises ImageError.
    """
    from PIL import Image

    if image.mode[0] not in "FI":
        return image.convert("RGB")
    values = np.asarray(image)
    low, high = values.min(), values.max()
    if image.mode == "F" or low < 0 or high > 65535:
        kind = "floats" if image.mode == "F" else "whole numbers of 32 bits"
        raise ImageError(
            f"{str(path)!r} holds {kind}, {low:.6g} to {high:.6g}.",
            "a picture of 8 or 16 bits; or an .npz, which is explained as it stands",
            "np.savez('data.npz', x=x), and tfxai run ... data.npz",
        )
    return Image.fromarray((values / 257).round().astype(np.uint8)).convert("RGB")


def _seen(path: Path, error: Exception, data: bytes | None) -> str:
    """What the file is, in a few words."""
    if data is None and path.is_dir():
        return "it is a folder"
    try:
        if data is None:
            with open(path, "rb") as file:
                start = file.read(12)
        else:
            start = data[:12]
    except OSError as denied:
        return str(denied.strerror)
    if not start:
        return "it is empty"
    known = type(error).__name__ == "UnidentifiedImageError"
    return f"it begins with {start!r}" if known else str(error)
