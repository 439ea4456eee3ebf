"""Image files: find them, read them as Keras does, and write them atomically."""

import io
import os
import stat
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfxai.base.atomic_write import atomic_write
from tfxai.base.errors import (
    ImageError,
    MissingFileError,
    OptionError,
    SkippedFilesWarning,
)

#: Suffixes of the images of a folder. A file given by its own path may have any.
SUFFIXES = (
    *(".apng", ".avif", ".bmp", ".dib", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg"),
    *(".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"),
)
#: What is needed instead of numbers of an unknown range, and the line to type.
_OTHER_NUMBERS = (
    "an image of 8 bits, or of 16 bits that are used; or an .npz, whose values are not "
    "changed",
    "np.savez('data.npz', x=x), and tfxai run ... data.npz",
)
_GREY = np.array([0.299, 0.587, 0.114], np.float32)


def read(
    path: str | os.PathLike[str],
    size: tuple[int | None, int | None] | None = None,
    data: bytes | None = None,
) -> np.ndarray:
    """Return an image file as RGB, (H, W, 3) float32 in 0..255.

    The image is rotated by its EXIF orientation. Grey, palette and transparent images
    are converted to RGB.

    Args:
        path: The file.
        size: (height, width) to which the image is resized, bilinear and without
            cropping, as `keras.utils.load_img` does. None keeps the size of a side.
        data: The bytes of the file, if it is stored inside another file. `path` is then
            only used in error messages.

    Raises:
        MissingFileError: There is no such file.
        ImageError: The file is not an image that can be read.
    """
    from PIL import Image, ImageOps

    path = Path(path)
    data = read_bytes(path) if data is None else data
    try:
        with Image.open(io.BytesIO(data)) as opened:
            raw = str(opened.tile[0][3]) if getattr(opened, "tile", None) else ""
            upright: Any = ImageOps.exif_transpose(opened)
            image = _to_rgb(upright, path, ";16" in raw)
    except ImageError:
        raise
    except Exception as error:  # Pillow's plugins raise many types
        raise ImageError(
            f"{str(path)!r} is not an image that can be read: "
            f"{_file_content(error, data)}.",
            "a complete image file, such as JPEG or PNG",
        ) from error
    if size is not None:
        height, width = size[0] or image.height, size[1] or image.width
        if (width, height) != image.size:
            image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image, np.float32)


def read_bytes(path: Path, name: str = "") -> bytes:
    """Return the bytes of an image file.

    Args:
        path: The file.
        name: The name of the file in error messages; "" is its path.

    Raises:
        MissingFileError: There is no such file, such as the target of a link.
        ImageError: The file cannot be read, or is not a file: a pipe would block.
    """
    name = name or str(path)
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            return path.read_bytes()
        why = "it is a folder" if stat.S_ISDIR(mode) else "it is a pipe or a device"
    except FileNotFoundError as error:
        raise MissingFileError(
            f"There is no file {name!r}.", "an image file"
        ) from error
    except (OSError, ValueError) as error:  # ValueError: NUL in the name
        why = getattr(error, "strerror", None) or str(error)
    raise ImageError(
        f"{name!r} is not an image that can be read: {why}.",
        "a complete image file, such as JPEG or PNG",
    )


def read_shaped(
    path: Path, shape: tuple[int | None, int | None, int], data: bytes | None = None
) -> np.ndarray:
    """Return an image of the network's input shape, in colour or grey.

    Args:
        path: The file.
        shape: (height, width, channels) of the network; None keeps the size of a side.
        data: The bytes of the file, if it is stored inside another file.

    Raises:
        ImageError: The file is not an image that can be read.
    """
    x = read(path, shape[:2], data)
    return x if shape[2] == 3 else (x @ _GREY)[..., None]


def find(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Return the given image files and those of the given folders, without duplicates.

    A folder stands for its files with a suffix of `SUFFIXES` (in any case), sorted by
    name. Its subfolders are not searched. Links to missing files are returned too:
    `read` raises an error for each.

    Raises:
        MissingFileError: A path does not exist, or a folder contains no image.

    Warns:
        SkippedFilesWarning: A folder contains other files, hidden ones aside.
    """
    found: dict[Path, Path] = {}
    for path in map(Path, paths):
        inside = os.path.isdir(path)
        if not inside and not os.path.lexists(path):
            raise MissingFileError(
                f"There is no file {str(path)!r}.", "an image or a folder"
            )
        for image in _images_in(path) if inside else [path]:
            found.setdefault(Path(os.path.realpath(image)), image)
    return list(found.values())


def output_paths(paths: Sequence[Path], out: Path, method: str) -> dict[Path, Path]:
    """Return image -> path of its output files, without suffix: `out/<stem>.<method>`.

    Images with the same stem get names with their folder, `<folder>-<stem>`, and within
    a folder with their suffix, `<folder>-<stem>-<suffix>`.

    Args:
        paths: The images.
        out: The folder of the output files.
        method: The name of the method.

    Raises:
        OptionError: Two images would still have the same name.
    """
    names = [p.stem for p in paths]
    longer_names: tuple[Callable[[Path], str], ...] = (
        lambda p: f"{p.resolve().parent.name}-{p.stem}",
        lambda p: f"{p.resolve().parent.name}-{p.stem}-{p.suffix[1:]}",
    )
    for longer in longer_names:
        count = Counter(n.casefold() for n in names)
        names = [
            longer(p) if count[n.casefold()] > 1 else n
            for p, n in zip(paths, names, strict=True)
        ]
    outputs = {p: out / f"{n}.{method}" for p, n in zip(paths, names, strict=True)}
    count = Counter(str(p).casefold() for p in outputs.values())
    same = [str(p) for p, o in outputs.items() if count[str(o).casefold()] > 1]
    if same:
        raise OptionError(
            f"These images would be written to the same file: {', '.join(same)}.",
            "other names, or one run with its own --out for each",
        )
    return outputs


def write(path: str | os.PathLike[str], array: Any) -> Path:
    """Write an array as a PNG file, atomically, and return its path.

    Args:
        path: The file; its name ends in .png.
        array: (H, W) or (H, W, 3), uint8 or floats in [0, 1].

    Raises:
        OptionError: The file name does not end in .png.
        ImageError: The array is not uint8 and has values outside [0, 1].
    """
    from PIL import Image

    path, array = Path(path), np.asarray(array)
    if path.suffix.lower() != ".png":
        raise OptionError(f"write({str(path)!r}).", "a file name that ends in .png")
    if array.dtype != np.uint8:
        if array.size == 0 or not (array.min() >= 0 and array.max() <= 1):
            raise ImageError(
                f"An array of {array.dtype} {array.shape} with values outside [0, 1].",
                "uint8, or floats in [0, 1]",
                "write(path, tfxai.plot.image(array))",
            )
        array = np.round(array * 255.0).astype(np.uint8)
    with atomic_write(path) as temporary:
        Image.fromarray(array).save(temporary)
    return path


def _images_in(folder: Path) -> list[Path]:
    """Return the image files of a folder, sorted; hidden files are ignored."""
    files = sorted(p for p in folder.iterdir() if not os.path.isdir(p))
    visible = [p for p in files if not p.name.startswith(".")]
    images = [p for p in visible if p.suffix.lower() in SUFFIXES]
    if images:
        warn_of_skipped(folder, [p for p in visible if p not in images])
    else:
        raise MissingFileError(
            f"The folder {str(folder)!r} contains no image.",
            f"files that end in {', '.join(SUFFIXES)}",
        )
    return images


def warn_of_skipped(folder: Path, files: Sequence[Path]) -> None:
    """Warn of the files of a folder that are no images.

    An .npz beside a .png of the same name is output of tfxai, and not named.
    """
    own = [p for p in files if p.suffix == ".npz" and p.with_suffix(".png").exists()]
    names = [p.name for p in files if p not in own]
    if names:
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        warnings.warn(
            f"{str(folder)!r}: {', '.join(names[:5])}{more} skipped; images end in "
            f"{', '.join(SUFFIXES)}. A file with another suffix is read if its own "
            "path is given.",
            SkippedFilesWarning,
            stacklevel=3,
        )


def _to_rgb(image: Any, path: Path, deep: bool) -> Any:
    """Convert a Pillow image to RGB with 8 bits; raise ImageError for other numbers.

    16 bits are scaled to 8 (Pillow clips grey at 255). How many of the bits are used,
    and the range of floats and of 32-bit integers, are not stored in most files. Where
    the upper two of 16 bits are unused, the numbers can be 10, 12 or 14 bits.

    Args:
        image: The image.
        path: Its file, for errors.
        deep: The file has 16 bits for each colour, of which Pillow keeps the upper 8.
    """
    from PIL import Image

    if image.mode[0] not in "FI":
        rgb = image.convert("RGB")
        _check_range(int(np.asarray(rgb).max(initial=0)) * 257 if deep else 65535, path)
        return rgb
    values = np.asarray(image)
    low, high = values.min(), values.max()
    if image.mode == "F" or low < 0 or high > 65535:
        kind = "floats" if image.mode == "F" else "whole numbers of 32 bits"
        raise ImageError(
            f"{str(path)!r} contains {kind}, {low:.6g} to {high:.6g}.", *_OTHER_NUMBERS
        )
    if image.mode == "I" and high <= 255:  # 8 bits, stored in 32
        return Image.fromarray(values.astype(np.uint8)).convert("RGB")
    _check_range(int(high), path)
    return Image.fromarray((values / 257).round().astype(np.uint8)).convert("RGB")


def _check_range(high: int, path: Path) -> None:
    """Raise ImageError if 16 bits hold small numbers only, of an unknown range."""
    if 0 < high < 2**14:
        raise ImageError(
            f"{str(path)!r} contains numbers of 16 bits, up to {high}: a dark image, "
            "or fewer bits stored in 16.",
            *_OTHER_NUMBERS,
        )


def _file_content(error: Exception, data: bytes) -> str:
    """Describe the content of a file that is not an image, for an error message."""
    if not data:
        return "it is empty"
    unidentified = type(error).__name__ == "UnidentifiedImageError"
    return f"it begins with {data[:12]!r}" if unidentified else str(error)
