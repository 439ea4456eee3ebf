"""Image files: read as Keras reads them, found in folders, written atomically."""

import keras
import numpy as np
import pytest
from PIL import Image

from tfxai.errors import (
    ImageError,
    MissingFileError,
    OptionError,
    SkippedFilesWarning,
)
from tfxai.io import images

RGB = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)


@pytest.fixture
def jpeg(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.jpg")
    return tmp_path / "a.jpg"


@pytest.mark.parametrize("size", [None, (20, 30), (7, 11), (64, 64)])
def test_a_picture_is_what_keras_reads(jpeg, size):
    known = keras.utils.load_img(jpeg, target_size=size, interpolation="bilinear")
    read = images.read(jpeg, size)
    assert read.dtype == np.float32
    assert (read == keras.utils.img_to_array(known)).all()


def test_a_side_of_no_size_is_kept(jpeg):
    assert images.read(str(jpeg), (None, 10)).shape == (20, 10, 3)
    assert images.read(jpeg, (None, None)).shape == (20, 30, 3)


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [(3, lambda a: a[::-1, ::-1]), (6, lambda a: np.rot90(a, -1)), (1, lambda a: a)],
)
def test_a_picture_is_upright(tmp_path, orientation, turn):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(RGB).save(tmp_path / "a.png", exif=exif)
    assert (images.read(tmp_path / "a.png") == turn(RGB)).all()


@pytest.mark.parametrize(
    ("image", "wanted"),
    [
        (Image.fromarray(RGB).convert("RGBA"), RGB),
        (Image.fromarray(RGB[..., 0]), RGB[..., :1]),
        (Image.fromarray(RGB[..., 0].astype(np.uint16) * 257), RGB[..., :1]),
        (Image.fromarray(RGB[..., 0] > 99), (RGB[..., :1] > 99) * 255),
        (Image.fromarray(RGB[..., 0] // 128 * 255).convert("P"), None),
    ],
    ids=["alpha", "grey", "grey16", "black and white", "palette"],
)
def test_every_kind_becomes_rgb(tmp_path, image, wanted):
    image.save(tmp_path / "a.png")
    wanted = RGB[..., :1] // 128 * 255 if wanted is None else wanted
    read = images.read(tmp_path / "a.png")
    assert read.shape == (20, 30, 3) and (read == wanted).all()


def test_sixteen_bits_in_32_are_scaled(tmp_path):
    grey = RGB[..., 0].astype(np.int32) * 257
    Image.fromarray(grey).save(tmp_path / "a.tif")
    with Image.open(tmp_path / "a.tif") as image:
        assert image.mode == "I"
    read = images.read(tmp_path / "a.tif")
    assert read.shape == (20, 30, 3) and (read == RGB[..., :1]).all()


@pytest.mark.parametrize(
    ("values", "seen"),
    [
        (np.linspace(0, 1, 6, dtype="f"), "floats, 0 to 1"),
        (np.array([0, 99, 65536], np.int32), "whole numbers of 32 bits, 0 to 65536"),
        (np.array([-1, 99, 255], np.int32), "whole numbers of 32 bits, -1 to 255"),
    ],
    ids=["floats", "too large", "negative"],
)
def test_numbers_that_nobody_knows_are_refused(tmp_path, values, seen):
    Image.fromarray(values[None]).save(tmp_path / "a.tif")
    text = rf"a\.tif' contains {seen}\.\s+Wanted: an image of 8 bits.*\.npz"
    with pytest.raises(ImageError, match=text):
        images.read(tmp_path / "a.tif")


def test_eight_bits_in_32_are_not_scaled(tmp_path):
    Image.fromarray(RGB[..., 0].astype(np.int32)).save(tmp_path / "a.tif")
    assert (images.read(tmp_path / "a.tif") == RGB[..., :1]).all()


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("high", [255, 1023, 4095, 16383])
def test_sixteen_bits_of_which_few_are_used_are_an_error(tmp_path, suffix, high):
    grey = np.linspace(0, high, 12).astype(np.uint16).reshape(3, 4)
    Image.fromarray(grey).save(tmp_path / f"a.{suffix}")
    with pytest.raises(ImageError, match=rf"16 bits, up to {high}.*[\s\S]*savez"):
        images.read(tmp_path / f"a.{suffix}")


def test_twelve_bits_in_a_colour_tiff_are_an_error(tmp_path):
    iio = pytest.importorskip("tifffile")
    colours = np.linspace(0, 4095, 36).astype(np.uint16).reshape(3, 4, 3)
    iio.imwrite(tmp_path / "a.tif", colours, photometric="rgb")
    with pytest.raises(ImageError, match="16 bits"):
        images.read(tmp_path / "a.tif")
    iio.imwrite(tmp_path / "b.tif", colours * 16, photometric="rgb")
    assert np.abs(images.read(tmp_path / "b.tif") - colours / 16.06).max() < 2


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".JPE", ".jp2", ".ppm", ".tga"])
def test_other_suffixes_of_images_are_found(tmp_path, suffix):
    image = Image.fromarray(RGB)
    image.save(tmp_path / f"a{suffix}")
    assert images.find([tmp_path]) == [tmp_path / f"a{suffix}"]
    assert images.read(tmp_path / f"a{suffix}").shape == (20, 30, 3)


def test_a_skipped_file_of_a_folder_is_named(tmp_path, jpeg):
    for name in ("b.heic", "a.npz", ".hidden.txt"):
        (tmp_path / name).touch()
    (tmp_path / "a.png").touch()
    with pytest.warns(SkippedFilesWarning, match=r"b\.heic skipped") as caught:
        images.find([tmp_path])
    assert len(caught) == 1 and "a.npz" not in str(caught[0].message)


def test_a_missing_file(tmp_path):
    with pytest.raises(MissingFileError, match="no\\.jpg"):
        images.read(tmp_path / "no.jpg")


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        (b"", "it is empty"),
        (b"<!DOCTYPE html><html>", "it begins with b'<!DOCTYPE ht'"),
        (None, "truncated"),
    ],
)
def test_a_broken_file_is_named_with_what_was_seen(jpeg, content, seen):
    jpeg.write_bytes(jpeg.read_bytes()[:-100] if content is None else content)
    with pytest.raises(ImageError, match=seen) as caught:
        images.read(jpeg)
    assert str(jpeg) in str(caught.value)


def test_a_folder_is_no_picture(tmp_path):
    with pytest.raises(ImageError, match="it is a folder"):
        images.read(tmp_path)


def test_folders_give_their_pictures_sorted_and_none_twice(tmp_path, jpeg):
    for name in ("b.PNG", "0.Jpeg", ".hidden.png", "notes.txt", "z.webp"):
        (tmp_path / name).touch()
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "c.png").touch()
    names = ["0.Jpeg", "a.jpg", "b.PNG", "z.webp"]
    with pytest.warns(SkippedFilesWarning, match=r"notes\.txt skipped"):
        assert images.find([tmp_path]) == [tmp_path / n for n in names]
    with pytest.warns(SkippedFilesWarning):
        found = images.find([tmp_path / "b.PNG", tmp_path / "notes.txt", tmp_path])
    order = ["b.PNG", "notes.txt", "0.Jpeg", "a.jpg", "z.webp"]
    assert found == [tmp_path / n for n in order]


def test_what_cannot_be_found(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(
        MissingFileError, match=r"contains no image[\s\S]*\.jpeg, \.jpg"
    ):
        images.find([tmp_path])
    with pytest.raises(MissingFileError, match="no\\.png"):
        images.find([tmp_path / "no.png"])


@pytest.mark.parametrize("array", [RGB, RGB / 255, RGB[..., 0], RGB[..., 0] / 255])
def test_what_is_written_is_read(tmp_path, array):
    path = images.write(tmp_path / "new" / "a.png", array)
    wanted = RGB[..., :1] if array.ndim == 2 else RGB
    assert (images.read(path) == wanted).all()


def test_only_pictures_are_written(tmp_path):
    with pytest.raises(ImageError, match="outside"):
        images.write(tmp_path / "a.png", RGB.astype(np.float32))
    with pytest.raises(ImageError, match="outside"):
        images.write(tmp_path / "a.png", np.full((2, 2), np.nan))
    with pytest.raises(OptionError, match=r"ends in \.png"):
        images.write(tmp_path / "a.jpg", RGB)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = images.write(tmp_path / "a.png", RGB)

    def half(self, file, *more):
        file.write_bytes(b"\x89PNG")
        raise OSError("no space left")

    monkeypatch.setattr(Image.Image, "save", half)
    with pytest.raises(OSError, match="no space"):
        images.write(path, 255 - RGB)
    assert list(tmp_path.iterdir()) == [path]
    assert (images.read(path) == RGB).all()
