"""Hostile files of every kind that tfxai reads, seeded: mutated and made by hand.

`mutated` changes a valid file: its reading must end in an error of tfxai, or in the
values of the valid file. Every file of `crafted` must end in an error of tfxai.
"""

import io
import json
import random
import struct
import zipfile
from collections.abc import Iterator

import numpy as np

NESTED = "[" * 100_000
BIG = "9" * 5000


def mutated(data: bytes, rng: random.Random, count: int) -> Iterator[tuple[str, bytes]]:
    """Yield (description, bytes): bits flipped, blocks zeroed, moved, cut and added."""
    for _ in range(count):
        at, kind = rng.randrange(len(data)), rng.choice("fffzmca")
        block, changed = rng.randrange(1, 64), bytearray(data)
        if kind == "f":
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == "z":
            changed[at : at + block] = bytes(len(changed[at : at + block]))
        elif kind == "m":
            other = rng.randrange(len(data))
            changed[at : at + block] = data[other : other + block]
        elif kind == "c":
            del changed[at:]
        else:
            changed[at:at] = rng.randbytes(block)
        yield f"{kind} at {at}, {block}", bytes(changed)


def array(x, header=None) -> bytes:
    """Return a .npy file, optionally with another header."""
    out = io.BytesIO()
    np.lib.format.write_array(out, np.asarray(x), allow_pickle=True)
    data = out.getvalue()
    if header is None:
        return data
    (size,) = struct.unpack("<H", data[8:10])
    text = header.encode("latin1", "replace") + b"\n"
    return data[:8] + struct.pack("<H", len(text) & 0xFFFF) + text + data[10 + size :]


def archive(members, **options) -> bytes:
    """Return a zip archive of name -> bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", **options) as packed:
        for name, data in members.items():
            packed.writestr(name, data)
    return out.getvalue()


def patched(data: bytes, local: int, central: int, value: int) -> bytes:
    """Return an archive with a 16-bit field of its first member changed."""
    changed = bytearray(data)
    at = data.index(b"PK\1\2")
    struct.pack_into("<H", changed, local, value)
    struct.pack_into("<H", changed, at + central, value)
    return bytes(changed)


def arrays() -> dict[str, bytes]:
    """Return .npy files that are no array of numbers: name -> bytes."""
    x = np.zeros((4, 8, 9, 3), "f4")
    head = "{{'descr': {}, 'fortran_order': {}, 'shape': {}, }}"
    return {
        "empty": b"",
        "junk": b"\x93NUMPY",
        "version": b"\x93NUMPY\x09\x00" + array(x)[8:],
        "objects": array(np.array([{}, None], object)),
        "texts": array(np.array(["a", "b"])),
        "records": array(np.zeros(4, [("a", "f4")])),
        "scalar": array(np.float32(1)),
        "short": array(x)[:-40],
        "negative": array(x, head.format("'<f4'", "False", "(-4, 8, 9, 3)")),
        "huge": array(x, head.format("'<f4'", "False", f"({2**62}, 8, 9, 3)")),
        "overflow": array(x, head.format("'<f4'", "False", f"({10**40},)")),
        "fortran": array(x, head.format("'<f4'", "True", "(4, 8, 9, 3)")),
        "no shape": array(x, "{'descr': '<f4', 'fortran_order': False}"),
        "text shape": array(x, head.format("'<f4'", "False", "('a', 4)")),
        "float shape": array(x, head.format("'<f4'", "False", "(4.0, 216)")),
        "dtype": array(x, head.format("'<q9'", "False", "(4,)")),
        "call": array(x, "__import__('os').system('true')"),
        "nested": array(x, "(" * 5000),
        "nul": array(x, "\0" * 40),
        "long": array(x, head.format("'<f4'", "False", "(4,)") + " " * 60_000),
        "subarray": array(x, head.format("('<f4', (2**40,))", "False", "(4,)")),
    }


def archives(member: str, good: bytes) -> dict[str, bytes]:
    """Return zip archives that cannot be read: name -> bytes."""
    whole = archive({member: good})
    return {
        "empty file": b"",
        "junk": b"PK\3\4 junk",
        "no members": archive({}),
        "encrypted": patched(whole, 6, 8, 1),
        "compression 99": patched(whole, 8, 10, 99),
        "lzma of junk": patched(whole, 8, 10, 14),
        "bzip2 of junk": patched(whole, 8, 10, 12),
        "deflate of junk": patched(whole, 8, 10, 8),
        "folder": archive({member + "/": b""}),
        "cut": whole[:-30],
        "doubled end": whole + whole[-22:-4] + b"\xff\xff\xff\xff",
    }


def data_npz() -> dict[str, bytes]:
    """Return .npz files that are no data set."""
    x, found = array(np.zeros((4, 8, 9, 3), "f4")), {}
    for name, data in arrays().items():
        found[f"x {name}"] = archive({"x.npy": data})
        if name not in ("fortran",):
            found[f"y {name}"] = archive({"x.npy": x, "y.npy": data})
    for name, data in archives("x.npy", x).items():
        found[f"zip {name}"] = data
    for label in (-(2**63), 2**63 - 1):
        found[f"label {label}"] = archive({"x.npy": x, "y.npy": array([label] * 4)})
    return found


def explanations(good: bytes) -> dict[str, bytes]:
    """Return .npz files that are no explanation, made of a good one."""
    with zipfile.ZipFile(io.BytesIO(good)) as opened:
        members = {n: opened.read(n) for n in opened.namelist()}
    meta = json.loads(str(np.load(io.BytesIO(members["meta.npy"]))))
    del meta["arrays"]  # as version 0.1, which did not list its arrays
    found = dict(archives("relevance.npy", members["relevance.npy"]))

    def put(name, **changes):
        found[name] = archive(members | changes)

    for name in ("relevance", "target", "score", "meta"):
        left = {n: d for n, d in members.items() if n != f"{name}.npy"}
        if name != "meta":
            left["meta.npy"] = array(json.dumps(meta))
        found[f"without {name}"] = archive(left)
        for kind, data in arrays().items():
            if kind not in ("fortran",):
                found[f"{name} {kind}"] = archive(members | {f"{name}.npy": data})
    texts = {
        "nested": NESTED, "no object": "[]", "number": BIG, "null": "null",
        "no method": json.dumps({k: v for k, v in meta.items() if k != "method"}),
        "no extra": json.dumps({k: v for k, v in meta.items() if k != "extra"}),
        "extra": json.dumps(meta | {"extra": [1]}),
        "method": json.dumps(meta | {"method": {"a": 1}}),
        "format": json.dumps(meta | {"format": "tfxai-explanation/9"}),
        "names": json.dumps(meta | {"names": 3}),
    }  # fmt: skip
    for name, text in texts.items():
        put(f"meta {name}", **{"meta.npy": array(text)})
    put("fewer scores", **{"score.npy": array(np.zeros(1)), "meta.npy": array(
        json.dumps(meta))})  # fmt: skip
    found["npy"] = members["relevance.npy"]
    found["pickle"] = b"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00\x8c\x01a."
    return found


def recipes(good: str) -> dict[str, str]:
    """Return texts that are no recipe, made of a good one."""
    values = json.loads(good)

    def text(**changes):
        return json.dumps({k: v for k, v in (values | changes).items() if v != "gone"})

    sources = {
        f"count {c!r}"[:20]: values["source"] | {"count": c}
        for c in (-1, 2.5, None, "4", [4], 2**80, True, 10**400)
    }
    return {
        "empty": "", "junk": "\0\0", "nested": NESTED, "number": BIG, "list": "[]",
        "text": '"a"', "null": "null", "surrogate": '{"format": "\\ud800"}',
        "infinite": text(seed=float("inf")), "nested object": '{"a":' * 50_000,
        **{f"no {k}": text(**{k: "gone"}) for k in values if k != "digest"},
        **{f"{k} null": text(**{k: None}) for k in ("method", "dtype", "shard_size")},
        **{f"size {s}": text(shard_size=s) for s in (0, -1, "a", 1.5)},
        **{name: text(source=source) for name, source in sources.items()},
        "source": text(source=[1, 2]), "format": text(format="tfxai-maps/7"),
    }  # fmt: skip


def pictures(good: bytes) -> dict[str, bytes]:
    """Return files that are no image."""
    huge = bytearray(good)  # a PNG: width and height at bytes 16 to 24
    struct.pack_into(">II", huge, 16, 60_000, 60_000)
    return {
        "empty": b"", "junk": b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "text": b"hello",
        "huge": bytes(huge), "cut": good[:60], "half": good[: len(good) // 2],
        "gif": b"GIF89a\xff\xff\xff\xff\0\0\0", "jpeg": b"\xff\xd8\xff\xe0" + b"a" * 99,
        "webp": b"RIFF\xff\xff\xff\xffWEBPVP8 ", "tiff": b"II*\0\xff\xff\xff\xff",
        "ppm": b"P6 99999999999 99999999999 255 ", "bmp": b"BM" + b"\xff" * 60,
        "nul": bytes(500), "svg": b"<svg onload='a'></svg>",
    }  # fmt: skip


def boxes(name: str) -> dict[str, bytes]:
    """Return files that are no boxes of the image `name`."""
    good = [0.1, 0.1, 0.9, 0.9]
    texts = {
        "empty": "", "nested": NESTED, "list": "[]", "null": "null", "other": "{}",
        "number": json.dumps({name: 3}), "text": json.dumps({name: "a"}),
        "big": f'{{"{name}": [{BIG}]}}', "objects": json.dumps({name: [{"a": 1}] * 4}),
        "nan": f'{{"{name}": [NaN, 0, 1, 1]}}', "three": json.dumps({name: good[:3]}),
        "ragged": json.dumps({name: [good, good[:2]]}),
        "far": json.dumps({name: [0, 0, 3, 3]}),
        "deep": json.dumps({name: [[[[good]]]]}),
        "inside out": json.dumps({name: good[::-1]}),
        "null inside": json.dumps({name: [None] * 4}),
        "boolean": json.dumps({name: True}), "nothing": json.dumps({name: []}),
        "huge number": f'{{"{name}": [0, 0, 1, 1e999]}}',
        "integer": f'{{"{name}": [0, 0, 1, {"9" * 400}]}}',
    }  # fmt: skip
    return {k: v.encode() for k, v in texts.items()} | {"bytes": b"\xff\xfe\0"}


#: Words that are wrong in any command; "{}" stands for a valid file.
WORDS = (
    *(("--target", text) for text in ("²", "--5", "٣²", BIG, "-1", "\udcff", "\0")),
    *(("--target", text) for text in ("", "1e3", "0x1", "9" * 20, " ", "a\x1b")),
    *(("--option", text) for text in ("a", "=", "=1", "epsilon=" + NESTED, "\udcff=1")),
    *(("--option", f"epsilon={text}") for text in ("nan", "-1e999", '"a"', "{}", BIG)),
    *(("--option", f"epsilon={text}") for text in ("null", "[1]", "true", "\udcff")),
    *(("--method", text) for text in ("", "\udcff", "\x1b[31m", "a" * 5000, "²")),
    *(("--labels", text) for text in ("", "/", "\udcff", "a" * 300, "/dev/null")),
    *(("--preprocess", text) for text in ("", ":", "a:b", "os:system", "\udcff")),
    *(("--model", text) for text in ("", "\udcff", "a" * 300, "/dev/null", "\x1b[31m")),
    *(("--batch-size", text) for text in ("0", "-1", "²", BIG, "1.5", "")),
    *(("--low", text) for text in ("nan", "inf", "a", "")),
    *(("--out", text) for text in ("/dev/null/a", "/proc/a", "a" * 300)),
)  # fmt: skip
