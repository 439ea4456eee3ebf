"""Flip bits of every kind of file, and read crafted files: what is noticed.

    python -m tests.benchmarks.hostile --flips 200 --mutations 40

Every flip must end in an error of tfxai or in the values of the undamaged file; every
crafted file in an error. A file that is written or an exception of another class is
counted.
"""

import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

import click

from tests import corpus
from tests.hostile import Workshop

KINDS = ("shard", "recipe", "npz", "tfrecord", "explanation")


@click.command()
@click.option("--flips", default=200, help="The number of flipped bits.")
@click.option("--mutations", default=40, help="Other changes per kind of file.")
@click.option("--seed", default=0)
def main(flips: int, mutations: int, seed: int) -> None:
    """Print the number of outcomes by kind of file."""
    rng, total = random.Random(seed), Counter()
    with tempfile.TemporaryDirectory() as folder:
        shop = Workshop(Path(folder))
        before = snapshot(shop.home)
        for i in range(flips):
            kind = KINDS[i % len(KINDS)]
            data = bytearray(shop.good[kind])
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            total["flip", kind, read(shop, kind, bytes(data), False)] += 1
        for kind in KINDS:
            for _, data in corpus.mutated(shop.good[kind], rng, mutations):
                total["mutation", kind, read(shop, kind, data, False)] += 1
        for kind in ("npz", "explanation", "recipe", "picture", "boxes"):
            for data in shop.crafted(kind).values():
                total["crafted", kind, read(shop, kind, data, True)] += 1
        for words in corpus.WORDS:
            total["words", "command line", shop.call(words)] += 1
        written = snapshot(shop.home) - before - {shop.home / "out"}
    for (sort, kind, outcome), count in sorted(total.items()):
        click.echo(f"{sort:9} {kind:13} {outcome[:60]:20} {count}")
    for sort in ("flip", "mutation", "crafted", "words"):
        found = [n for (s, _, _), n in total.items() if s == sort]
        bad = sum(n for (s, _, o), n in total.items() if s == sort and not good(o))
        click.echo(f"{sort}: {sum(found)}, of which {bad} were not noticed")
    click.echo(f"files written: {len(written)}")
    sys.exit(bool(written) or not all(good(o) for _, _, o in total))


def read(shop: Workshop, kind: str, data: bytes, crafted: bool) -> str:
    """Return the outcome; an exception of another class is one too."""
    try:
        return shop.read(kind, data, crafted)
    except Exception as error:  # what this command looks for
        return f"raw: {type(error).__name__}"


def good(outcome: str) -> bool:
    """Return True for an error of tfxai, or the values of the undamaged file."""
    return outcome in ("error", "same")


def snapshot(folder: Path) -> set[Path]:
    """Return the paths below a folder."""
    return set(folder.rglob("*"))


if __name__ == "__main__":
    main()
