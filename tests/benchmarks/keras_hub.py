"""Families of KerasHub: read or not, how exact, and what is conserved.

    python -m tests.benchmarks.keras_hub [FAMILY ...]

It runs `../shared/kerashub/check.py` for each family in a process of its own, writes
the rows to `build/keras_hub.jsonl`, goes on where it stopped, and writes
`docs/tables/keras_hub.md`. It needs keras-hub; the first lines of check.py say how to
install it.

- read: `create_analyzer("lrp.attn", model)` works on the model as it comes;
- gradient: largest difference of `input_t_gradient` from a tape, as a share of the
  largest value. The sum over the vector of a token cancels where a LayerNormalization
  follows the embedding: then this is a quotient of rounding errors (Bloom, DebertaV3).
  Two inputs of tokens are compared with the map of one, which says nothing (EdRec, T5,
  T5Gemma2);
- targets: largest difference of two targets together from one by one, by `lrp.epsilon`.
  In Qwen3_5Moe its divisors cancel: the same map, computed a second time by other
  operations, differs by 0.09;
- products: the share of the score that products, gates and maxima of `lrp.attn` absorb.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.benchmarks.measured import when_and_where

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "kerashub"
ROWS, TABLE = ROOT / "build" / "keras_hub.jsonl", ROOT / "docs/tables/keras_hub.md"
HEAD = """# Families of KerasHub

Written by `python -m tests.benchmarks.keras_hub`; do not edit.
{measured}

{about}

{read} of {built} families that could be built are read; {other} others could not be
built from the configuration and the inputs of the check.

| family | read | gradient | targets | products |
|---|:-:|---|---|---|
"""


def stored() -> dict:
    """Return family -> its row, the last one of each."""
    lines = ROWS.read_text().splitlines() if ROWS.exists() else []
    return {row["family"]: row for row in map(json.loads, lines)}


def number(value) -> str:
    """Return a number in two digits, or "-" for what could not be compared."""
    return f"{value:.1e}" if isinstance(value, float) else "-"


def line(row: dict) -> str:
    """Return the row of the table."""
    attn = row.get("attn")
    absorbed = attn["absorbed"] if isinstance(attn, dict) else {}
    most = max((absorbed.get(k, 0.0) for k in ("product", "gate", "max")), default=0.0)
    numbers = [number(row.get(k)) for k in ("ixg", "seeds")]
    numbers.append(number(float(most)) if absorbed else "-")
    name, read = row["family"].removesuffix("Backbone"), row.get("read") is True
    return f"| {name} | {'yes' if read else 'no'} | " + " | ".join(numbers) + " |\n"


def main(names: list[str]) -> None:
    """Check the families that have no row yet, and write the table."""
    ROWS.parent.mkdir(exist_ok=True)
    wanted = names or sorted(json.loads((SHARED / "configs.json").read_text()))
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    for name in [n for n in wanted if n not in stored()]:
        command = [sys.executable, str(SHARED / "check.py"), name, "--json", str(ROWS)]
        subprocess.run(command, env=env, check=False)
    rows = {n: r for n, r in stored().items() if "build" not in r}
    read = sum(r.get("read") is True for r in rows.values())
    other = len(stored()) - len(rows)
    about = (__doc__ or "")[(__doc__ or "").index("- read:") :].strip()
    text = HEAD.format(
        measured=when_and_where(), about=about, read=read, built=len(rows), other=other
    )
    TABLE.write_text(text + "".join(line(rows[n]) for n in sorted(rows)))


if __name__ == "__main__":
    main(sys.argv[1:])
