"""Read hostile files as a user would, and classify what happens.

"error": an error of tfxai; "same": the values of the valid file; anything else is text
that says what went wrong. An exception of another class is not caught here.
"""

import json
import warnings
from pathlib import Path

import numpy as np
import tensorflow as tf
from click.testing import CliRunner

import tfxai
from tests import corpus
from tests.datasets.batches import draw, record, small
from tfxai.cli.main import main
from tfxai.datasets import run as dataset
from tfxai.errors import TfxaiError
from tfxai.io import images
from tfxai.metrics.boxes import masks_from_boxes

SHARD = "shard-00001.h5"
CONTROL = ("\x1b", "\x07", "\x9b")


class Workshop:
    """One valid file of each kind, and the functions that read them.

    Args:
        home: An empty folder.
    """

    def __init__(self, home: Path) -> None:
        self.home, model = home, small()
        self.x = np.random.default_rng(0).uniform(0, 9, (4, 8, 9, 3)).astype("float32")
        model.save(home / "net.keras")
        self.wrapped = tfxai.wrap(model)
        np.savez_compressed(home / "data.npz", x=self.x, y=np.arange(4))
        e = tfxai.explain(model, self.x, "gradient")
        e.save(home / "e.npz")
        tfxai.run(model, self.x, "gradient", home / "maps", shard_size=2)
        draw(home / "a.png", 0)
        with tf.io.TFRecordWriter(str(home / "data.tfrecord")) as writer:
            for label in range(3):
                writer.write(record(home / "a.png", label))
        self.paths = {
            **{"npz": home / "data.npz", "explanation": home / "e.npz"},
            **{"shard": home / "maps" / SHARD, "picture": home / "a.png"},
            **{"recipe": home / "maps" / "recipe.json", "boxes": home / "boxes.json"},
            "tfrecord": home / "data.tfrecord",
        }
        self.paths["boxes"].write_text('{"a.png": [0.1, 0.1, 0.9, 0.9]}')
        self.good = {kind: path.read_bytes() for kind, path in self.paths.items()}
        self.values = {kind: self._values(kind) for kind in self.paths}

    def crafted(self, kind: str) -> dict[str, bytes]:
        """Return name -> bytes of the files of this kind that were made by hand."""
        good = self.good[kind]
        if kind == "npz":
            return corpus.data_npz()
        if kind == "explanation":
            return corpus.explanations(good)
        if kind == "recipe":
            texts = corpus.recipes(good.decode())
            return {k: v.encode("utf-8", "surrogatepass") for k, v in texts.items()}
        return corpus.pictures(good) if kind == "picture" else corpus.boxes("a.png")

    def read(self, kind: str, data: bytes, crafted: bool) -> str:
        """Put `data` in the place of the valid file, and return the outcome."""
        path = self.paths[kind]
        path.write_bytes(data)
        try:
            found = self._values(kind)
        except TfxaiError as error:
            text = str(error)
            return "error" if not any(c in text for c in CONTROL) else f"raw: {text!r}"
        finally:
            path.write_bytes(self.good[kind])
        if crafted:
            return f"read: {str(found)[:200]}"
        if not self._same(found, self.values[kind]):
            return "OTHER VALUES"
        return "error" if any(row is None for row in found) else "same"

    def _values(self, kind: str):
        """Return what is read from the file of this kind."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return getattr(self, f"_of_{kind}")(self.paths[kind])

    def _of_npz(self, path):
        return self._rows(path)

    def _of_tfrecord(self, path):
        return self._rows(path)

    def _rows(self, path):
        """Return the rows of a data set; a failed row is None."""
        source = dataset.open_source(path, self.wrapped)
        rows = [source.row(i) for i in range(len(source))]
        source.settings()
        return [None if r.reason else (r.x, r.label) for r in rows]

    def _of_explanation(self, path):
        e = tfxai.load(path)
        assert e.heatmap().shape == (4, 8, 9)
        return [e.relevance, e.target, e.score, e.inputs, str(e.method)]

    def _of_shard(self, path):
        maps = tfxai.load(path.parent)
        found = maps[:]
        fields = [found.relevance, found.target, found.score, found.index]
        return [*fields, str((found.name, maps.failures, maps.warnings))]

    def _of_recipe(self, path):
        maps = tfxai.load(path.parent)
        return [maps[:].relevance, json.dumps(maps.recipe)]

    def _of_picture(self, path):
        return [images.read(path)]

    def _of_boxes(self, path):
        from tfxai.cli import compare

        boxes = compare._read_boxes(path, [self.home / "a.png"])
        return [masks_from_boxes(boxes, (1, 8, 9))]

    @staticmethod
    def _same(found, wanted) -> bool:
        """Return True if all values are equal; a failed row counts as an error."""
        if len(found) != len(wanted):
            return False
        for one, other in zip(found, wanted, strict=True):
            if one is None:
                continue
            pairs = zip(one, other, strict=True) if isinstance(one, tuple) else [
                (one, other)
            ]  # fmt: skip
            if not all(np.array_equal(a, b) for a, b in pairs):
                return False
        return True

    def call(self, words) -> str:
        """Return the outcome of `tfxai explain` with additional words."""
        given = ["explain", "--model", self.home / "net.keras", "--method"]
        given += ["lrp.epsilon", "--out", self.home / "out", *words]
        result = CliRunner().invoke(main, [*map(str, given), str(self.home / "a.png")])
        if result.exception and not isinstance(result.exception, SystemExit):
            return f"raw: {type(result.exception).__name__}: {result.exception}"[:300]
        if any(c in result.output for c in CONTROL):
            return f"control characters: {result.output!r}"[:300]
        return "error" if result.exit_code in (1, 2) else f"exit {result.exit_code}"
