"""Time and peak memory of long prompts, with and without `recompute=True`.

    python -m tests.benchmarks.long_prompts [--tokens 1024,2048,4096,8192]

A model of the size of GPT-2 small (12 layers, width 768, 12 heads, a vocabulary of
50,257, drawn weights) by KerasHub explains one token by `lrp.attn` of `tfxai.text`.
Each case runs in a process of its own, which ends at `--limit` GiB. The rows are kept
in `build/long_prompts.jsonl`, a case that has a row is not run again, and
`docs/tables/long_prompts.md` is written. It needs keras-hub. Columns:

- warned: what the memory warning says that the first call takes;
- peak: the peak of the resident memory of the process above that with the model;
- seconds: of the last of `--calls` calls, one token of one prompt. The first call reads
  the model for this length, compares it with the model, compiles and explains.
"""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click

from tests.benchmarks.measured import when_and_where

ROOT = Path(__file__).resolve().parents[2]
ROWS, TABLE = ROOT / "build/long_prompts.jsonl", ROOT / "docs/tables/long_prompts.md"
SIZES = {"num_layers": 12, "num_heads": 12, "hidden_dim": 768}
WORDS = 50_257
HEAD = """# Long prompts

Written by `python -m tests.benchmarks.long_prompts`; its text describes the columns: a
model of the size of GPT-2 small explains one token by `lrp.attn`; memory in GiB.
{measured}

| tokens | recompute | warned | peak | seconds |
|---:|---|---:|---:|---:|
"""


def held() -> float:
    """Return the present memory of this process in GiB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**30


def model_of(tokens):
    """Return a language model of the size of GPT-2 small, with this many positions."""
    import keras_hub

    backbone = keras_hub.models.GPT2Backbone(
        vocabulary_size=WORDS,
        intermediate_dim=3072,
        max_sequence_length=tokens,
        **SIZES,
    )
    return keras_hub.models.GPT2CausalLM(backbone=backbone, preprocessor=None)


def alone(tokens, again, calls):
    """Measure one case in this process, and print it as JSON."""
    import tfxai
    from tfxai.core import memory

    parts = model_of(tokens), lambda t: [int(i) for i in t.split()], str
    analyzer = tfxai.text.create_analyzer("lrp.attn", parts, recompute=again)
    text = " ".join(str(7919 * i % WORDS) for i in range(tokens))
    before, warned, needed = held(), [], memory.needed

    def noted(*given):
        warned.append(needed(*given) / 2**30)
        print(json.dumps({"warned": warned[0]}), flush=True)
        return needed(*given)

    memory.needed = noted
    for _ in range(calls):
        begin = time.perf_counter()
        e = analyzer.analyze(text, answer=[[11]])
        seconds = time.perf_counter() - begin
    assert e.relevance.shape == (1, tokens)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20 - before
    found = {"warned": warned[0], "peak": peak, "seconds": seconds}
    print(json.dumps(found), flush=True)


def measured(tokens, again, limit, calls):
    """Return the row of a case; a process above the limit is ended."""
    command = [sys.executable, "-m", "tests.benchmarks.long_prompts", "--alone"]
    command += ["--tokens", str(tokens), "--calls", str(calls)]
    command += ["--recompute"] if again else []
    row = {"tokens": tokens, "recompute": again}
    run = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    while run.poll() is None:
        time.sleep(0.2)
        try:
            pages = int(Path(f"/proc/{run.pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            continue
        if pages * resource.getpagesize() > limit * 2**30:
            run.kill()
            said = run.stdout.read().splitlines()
            return row | {"over": limit} | (json.loads(said[0]) if said else {})
    if run.returncode:
        raise SystemExit(f"{row} failed")
    return row | json.loads(run.stdout.read().splitlines()[-1])


def line(row):
    """Return a row of the table."""
    name = f"| {row['tokens']} | {'yes' if row['recompute'] else 'no'} |"
    if "over" in row:
        warned = row.get("warned", float("nan"))
        return f"{name} {warned:.2f} | above {row['over']:g} | - |\n"
    numbers = f"{row['warned']:.2f} | {row['peak']:.2f} | {row['seconds']:.1f}"
    return f"{name} {numbers} |\n"


def stored():
    """Return the rows that are kept."""
    return (
        [json.loads(v) for v in ROWS.read_text().splitlines()] if ROWS.exists() else []
    )


@click.command()
@click.option("--tokens", default="1024,2048,4096,8192", show_default=True)
@click.option("--limit", default=14.0, show_default=True, help="GiB of a process.")
@click.option("--calls", default=1, show_default=True, help="Calls of each case.")
@click.option("--recompute", is_flag=True, hidden=True)
@click.option("--alone", "one", is_flag=True, hidden=True)
def main(tokens, limit, calls, recompute, one):
    """Measure the cases that have no row yet, and write the table."""
    counts = [int(v) for v in tokens.split(",")]
    if one:
        return alone(counts[0], recompute, calls)
    ROWS.parent.mkdir(exist_ok=True)
    for count in counts:
        for again in (False, True):
            known = {(r["tokens"], r["recompute"]) for r in stored()}
            if (count, again) in known:
                continue
            row = measured(count, again, limit, calls)
            print(line(row), end="", flush=True)
            with ROWS.open("a") as file:
                file.write(json.dumps(row) + "\n")
    rows = sorted(stored(), key=lambda r: (r["tokens"], r["recompute"]))
    text = HEAD.format(measured=when_and_where()) + "".join(map(line, rows))
    TABLE.write_text(text)


if __name__ == "__main__":
    main()
