"""Cost of a token's relevance in units of the model's own gradient.

    python -m tests.benchmarks.text_costs [--tokens 250] [--rounds 5]

A model of the size of GPT-2 small (see `long_prompts`) and one prompt. The gradient is
that of one logit with respect to the vectors of the tokens, by a tape, compiled. Times
are medians of alternating runs of one process, after two runs each; tokens are ids, and
nothing is drawn. Memory is the peak of the resident memory of a process of its own
above that with the model. It needs keras-hub, and writes `docs/tables/text_costs.md`.
Rows:

- `lrp.attn`: the relevance of one token of the answer;
- a further token: what the second token of an answer adds, in units of the first one;
- `recompute=True`: `lrp.attn` that computes the tensors inside of blocks again.
"""

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click
import numpy as np

from tests.benchmarks.long_prompts import WORDS, held, model_of
from tests.benchmarks.measured import when_and_where

TABLE = Path(__file__).resolve().parents[2] / "docs/tables/text_costs.md"
HEAD = """# Cost of the relevance of a token

Written by `python -m tests.benchmarks.text_costs`; its text describes the rows: a model
of the size of GPT-2 small, a prompt of {tokens} tokens, one gradient {gradient:.2f} s.
{measured}

| | time | wanted | memory | wanted |
|---|---:|---:|---:|---:|
"""
LIMITS = {
    "gradient": ("1", "", ""),
    "lrp.attn": ("1.2", "1.1", ""),
    "a further token": ("1.05", "", "of the first one"),
    "recompute=True": ("1.7", "", ""),
}


def gradient_of(model, ids):
    """Return a compiled gradient of a logit at the vectors of the tokens."""
    import tensorflow as tf

    embedding = model.backbone.token_embedding
    call, seen = embedding.call, {}

    def shifted(tokens, reverse=False):
        made = call(tokens, reverse=reverse)
        if reverse or "shift" in seen:
            return made
        seen["shift"] = tf.zeros_like(made)
        seen["tape"].watch(seen["shift"])
        return made + seen["shift"]

    @tf.function(autograph=False)
    def gradient(x):
        embedding.call = shifted
        try:
            with tf.GradientTape() as seen["tape"]:
                score = model(x, training=False)[:, -1, 11]
            return seen["tape"].gradient(score, seen["shift"])
        finally:
            embedding.call = call

    x = {"token_ids": ids, "padding_mask": np.ones_like(ids)}
    return lambda: gradient(x).numpy()


def cases_of(tokens):
    """Return the runs that are measured, by name."""
    import tfxai

    model = model_of(2 * tokens)
    ids = np.array([[7919 * i % WORDS for i in range(tokens)]], np.int32)
    parts = model, lambda text: [int(i) for i in text.split()], str
    text = " ".join(map(str, ids[0]))

    def relevance(answer, **options):
        analyzer = tfxai.text.create_analyzer("lrp.attn", parts, **options)
        return lambda: analyzer.analyze(text, answer=[answer])

    return {
        "gradient": gradient_of(model, ids),
        "lrp.attn": relevance([11]),
        "two tokens": relevance([11, 12]),
        "recompute=True": relevance([11], recompute=True),
    }


def times(runs, rounds):
    """Return the median seconds of each run; they alternate."""
    found = {name: [] for name in runs}
    for _ in range(rounds + 2):
        for name, run in runs.items():
            begin = time.perf_counter()
            run()
            found[name].append(time.perf_counter() - begin)
    return {name: float(np.median(v[2:])) for name, v in found.items()}


def peak_of(name, tokens):
    """Return the peak memory of a run in a process of its own, in GiB."""
    command = [sys.executable, "-m", "tests.benchmarks.text_costs", "--alone", name]
    command += ["--tokens", str(tokens)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.split()[-1])


@click.command()
@click.option("--tokens", default=250, show_default=True, help="Of the prompt.")
@click.option("--rounds", default=5, show_default=True, help="Runs of each case.")
@click.option("--alone", hidden=True)
def main(tokens, rounds, alone):
    """Measure, and write the table."""
    if alone:
        run = cases_of(tokens)[alone]
        before = held()
        for _ in "123":
            run()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(peak - before)
        return
    peaks = {name: peak_of(name, tokens) for name in LIMITS if name[0] != "a"}
    seconds = times(cases_of(tokens), rounds)
    one = seconds["gradient"]
    ratios = {name: t / one for name, t in seconds.items()}
    ratios["a further token"] = seconds["two tokens"] / seconds["lrp.attn"] - 1
    text = HEAD.format(tokens=tokens, gradient=one, measured=when_and_where())
    for name, (time_wanted, memory_wanted, unit) in LIMITS.items():
        shown = f"`{name}`" if name[0] != "a" else f"{name} ({unit})"
        memory = f"{peaks[name] / peaks['gradient']:.2f}" if name in peaks else ""
        text += (
            f"| {shown} | {ratios[name]:.2f} | {time_wanted} | {memory} "
            f"| {memory_wanted} |\n"
        )
    TABLE.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
