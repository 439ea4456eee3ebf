"""Families of KerasHub: read or not, how exact, and what is conserved.

    python -m tests.benchmarks.keras_hub [FAMILY ...]

It runs `../shared/kerashub/check.py` for each family in a process of its own, writes
the rows to `build/keras_hub.jsonl`, goes on where it stopped, and writes
`docs/tables/keras_hub.md`. It needs keras-hub; the first lines of check.py say how to
install it.

- read: `create_analyzer("lrp.attn", model)` works on the model as it comes;
- right: the verdict of check.py, `right`. It also fills the column "own way back",
  the gradient of the model step by step. LayerNormalization removes what is added to
  all elements of a vector; so the gradient of a token sums to 0 over its vector where
  every reader of the vector is one, and both sides of that comparison are rounding
  errors;
- gradient: largest difference of `input_t_gradient` from a tape, as a share of the
  largest value. The sum over the vector of a token cancels where a LayerNormalization
  follows the embedding: then this is a quotient of rounding errors (Bloom, DebertaV3).
  Two inputs of tokens are compared with the map of one, which says nothing (EdRec, T5,
  T5Gemma2). The gradients of BASNet and ViTDet are unstable: that of the tape, compiled
  by TensorFlow, differs from its own by 2e-2 and 5e-2;
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

{read} of {built} families that could be built are read, and {right} are right; {other}
others could not be built from the configuration and the inputs of the check. The
configurations of {own} families are those of `tests.benchmarks.keras_hub_families`.

| family | read | right | gradient | own way back | targets | products |
|---|:-:|:-:|---|---|---|---|
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
    numbers = [number(row.get(k)) for k in ("ixg", "back", "seeds")]
    numbers.append(number(float(most)) if absorbed else "-")
    name, read = row["family"].removesuffix("Backbone"), row.get("read") is True
    words = ("yes" if v else "no" for v in (read, right(row)))
    return f"| {name} | " + " | ".join([*words, *numbers]) + " |\n"


def right(row: dict, near: float = 1e-4) -> bool:
    """Return the verdict of check.py: read, and all that could be compared agrees."""
    numbers = [row.get(k) for k in ("ixg", "back")]
    seeds, attn = row.get("seeds"), row.get("attn")
    close = all(v is None or (isinstance(v, float) and v <= near) for v in numbers)
    if not isinstance(seeds, float) or seeds > near or not isinstance(attn, dict):
        return False
    most = max(attn["absorbed"].get(k, 0.0) for k in ("product", "gate", "max"))
    return (
        row.get("read") is True and row.get("sglrp") is True and close and most <= near
    )


def main(names: list[str]) -> None:
    """Check the families that have no row yet, and write the table."""
    ROWS.parent.mkdir(exist_ok=True)
    own = ROWS.with_name("keras_hub_families.json")
    module = "tests.benchmarks.keras_hub_families"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(
        [sys.executable, "-m", module, str(own)], env=env, cwd=ROOT, check=True
    )
    families = {
        name: path
        for path in (SHARED / "configs.json", own)
        for name in json.loads(path.read_text())
    }
    for name in [n for n in names or sorted(families) if n not in stored()]:
        command = [sys.executable, str(SHARED / "check.py"), name, "--json", str(ROWS)]
        command += ["--configs", str(families[name])]
        subprocess.run(command, env=env, check=False)
    rows = {n: r for n, r in stored().items() if "build" not in r}
    about = (__doc__ or "")[(__doc__ or "").index("- read:") :].strip()
    text = HEAD.format(
        measured=when_and_where(),
        about=about,
        read=sum(r.get("read") is True for r in rows.values()),
        right=sum(map(right, rows.values())),
        built=len(rows),
        other=len(stored()) - len(rows),
        own=sum(families[n] == own for n in rows),
    )
    TABLE.write_text(text + "".join(line(rows[n]) for n in sorted(rows)))


if __name__ == "__main__":
    main(sys.argv[1:])
