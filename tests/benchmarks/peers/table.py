"""Rows as a table: Markdown for reading, CSV with all values."""

import csv
import statistics
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

from tests.benchmarks.peers.cases import CASES
from tests.benchmarks.peers.drive import AGREED, Row
from tests.benchmarks.peers.venvs import PEERS
from tfxai.base.atomic_write import atomic_write
from tfxai.io import tables

HEADS = (
    *("network", "batch", "case", "peer", "warm, s", "rounds", "spread"),
    *("x its forward", "x ours", "first call, s", "peak, MiB", "+ MiB"),
    *("maps differ by", "note"),
)
#: Derived columns of the file, for reading.
DERIVED = ("warm, s", "rounds", "spread", "x its forward", "x ours")
SHOWN = 120


def middle(times: list[float]) -> float | None:
    """Return the median, or None."""
    return statistics.median(times) if times else None


def spread(times: list[float]) -> str:
    """Return minimum and maximum relative to the median, for two or more values."""
    m = middle(times)
    return f"{min(times) / m:.2f}-{max(times) / m:.2f}" if m and times[1:] else ""


def number(value: float | None, form: str) -> str:
    """Format a number; None is empty."""
    return "" if value is None else format(value, form)


def relative(row: Row) -> float | None:
    """Return the median ratio of explanation and forward pass of the same round."""
    pairs = zip(row.explain, row.forward, strict=False)
    return middle([a / b for a, b in pairs])


def against(row: Row, ours: Row | None) -> float | None:
    """Return the median ratio of the peer's time to ours."""
    if ours is None or ours is row:
        return None
    pairs = zip(row.explain, ours.explain, strict=False)
    return middle([a / b for a, b in pairs])


def derived(row: Row, ours: Row | None) -> list[str]:
    """Return the derived values, in the order of `DERIVED`."""
    return [
        number(middle(row.explain), ".3g"),
        str(len(row.explain) or ""),
        spread(row.explain),
        number(relative(row), ".2f"),
        number(against(row, ours), ".2f"),
    ]


def cells(row: Row, ours: Row | None) -> list[str]:
    """Return the cells of a row, in the order of `HEADS`."""
    grown = None if row.peak is None or row.held is None else row.peak - row.held
    return [
        *(row.network, str(row.batch), row.case, row.peer, *derived(row, ours)),
        number(row.first, ".3g"),
        number(row.peak, ".0f"),
        number(grown, ".0f"),
        number(row.difference, ".0e"),
        (row.reason or row.note).replace("|", "/")[:SHOWN],
    ]


def beside_ours(rows: list[Row]) -> list[tuple[Row, Row | None]]:
    """Return each row with our row of the same network, batch and case."""
    ours = {(r.network, r.batch, r.case): r for r in rows if r.peer == "ours"}
    return [(r, ours.get((r.network, r.batch, r.case))) for r in rows]


def filled(rows: list[Row]) -> list[list[str]]:
    """Return the cells of all rows."""
    return [cells(*pair) for pair in beside_ours(rows)]


def markdown(rows: list[Row], head: bool = True) -> str:
    """Return the table."""
    top = [HEADS, ["---"] * len(HEADS)] if head else []
    return "\n".join(f"| {' | '.join(r)} |" for r in [*top, *filled(rows)])


def summary(rows: list[Row]) -> str:
    """A line for each network, batch and case, a column for each peer.

    Networks as they were measured, cases and peers in the order of their tables. Under
    ours how many of its forward passes a map takes, under a peer how many times ours it
    takes; * where the maps differ by more than 1 %, ? where they could not be compared,
    - where it gave none.
    """
    networks = _ordered([r.network for r in rows])
    cases = _ordered([r.case for r in rows], CASES)
    peers = _ordered([r.peer for r in rows], PEERS)
    by_case: dict[tuple, dict[str, Row]] = {}
    for row in rows:
        place = networks.index(row.network), row.batch, cases.index(row.case)
        by_case.setdefault(place, {})[row.peer] = row
    lines = [
        [networks[n], str(batch), cases[c], *(_short(found, peer) for peer in peers)]
        for (n, batch, c), found in sorted(by_case.items(), key=lambda item: item[0])
    ]
    return tables.markdown(["network", "batch", "case", *peers], lines, 3)


def _ordered(names: list[str], known: Iterable[str] = ()) -> list[str]:
    """Return each name once: known names first, in their order."""
    return [n for n in dict.fromkeys([*known, *names]) if n in names]


def _short(found: dict[str, Row], peer: str) -> str:
    row = found.get(peer)
    if row is None:
        return ""
    times = relative(row) if peer == "ours" else against(row, found.get("ours"))
    if times is None:
        return "-"
    if row is found.get("ours"):
        return f"{times:.2f}"
    if row.difference is None:
        return f"{times:.2f}?"
    return f"{times:.2f}{'*' if row.difference > AGREED else ''}"


def write_markdown(rows: list[Row], path: Path) -> None:
    """Write both tables into a file."""
    with atomic_write(path) as temporary:
        temporary.write_text(f"{summary(rows)}\n\n{markdown(rows)}\n")


def write_csv(rows: list[Row], path: Path) -> None:
    """Write all fields of all rows, with all times and the derived values."""
    names = [f.name for f in fields(Row)]
    lines = [
        [*(_written(getattr(row, n)) for n in names), *derived(row, ours)]
        for row, ours in beside_ours(rows)
    ]
    tables.write_csv(path, [*names, *DERIVED], lines)


def _written(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(f"{v:.5g}" for v in value)
    return f"{value:.6g}" if isinstance(value, float) else str(value or "")


def read_csv(path: Path) -> list[Row]:
    """Return the rows of a file that `write_csv` wrote."""
    with path.open(newline="") as file:
        return [_row(line) for line in csv.DictReader(file)]


def _row(line: dict[str, str]) -> Row:
    read: dict[Any, Any] = {
        str: str,
        int: int,
        list[float]: lambda s: [float(v) for v in s.split()],
        float | None: lambda s: float(s) if s else None,
    }
    return Row(**{f.name: read[f.type](line[f.name]) for f in fields(Row)})
