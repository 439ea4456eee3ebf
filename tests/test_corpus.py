"""Hostile files and words end in errors of tfxai, or in right values: a small sample.

`python -m tests.benchmarks.hostile` tries more of them.
"""

import random

import pytest

from tests import corpus
from tests.hostile import Workshop


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return Workshop(tmp_path_factory.mktemp("shop"))


@pytest.mark.parametrize("kind", ["npz", "explanation", "shard", "recipe", "tfrecord"])
def test_mutated_files_end_in_errors_or_in_the_same_values(shop, kind):
    outcomes = [
        shop.read(kind, data, crafted=False)
        for _, data in corpus.mutated(shop.good[kind], random.Random(kind), 40)
    ]
    assert set(outcomes) <= {"error", "same"} and outcomes.count("error") > 10


@pytest.mark.parametrize("kind", ["npz", "explanation", "recipe", "picture", "boxes"])
def test_crafted_files_end_in_errors(shop, kind):
    wrong = {}
    for name, data in shop.crafted(kind).items():
        outcome = shop.read(kind, data, crafted=True)
        if outcome != "error":
            wrong[name] = outcome
    assert wrong == {}


@pytest.mark.parametrize("words", corpus.WORDS, ids=lambda w: f"{w[0]} {w[1][:9]!a}")
def test_wrong_words_end_in_messages(shop, words):
    assert shop.call(words) == "error"
