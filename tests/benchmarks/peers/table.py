"""Rows as a table: Markdown for the eye, CSV for everything."""

import csv
import statistics
from pathlib import Path

from tests.benchmarks.peers.drive import Row
from tfxai.files import whole

HEADS = (
    *("network", "batch", "case", "peer", "warm, s", "spread", "x its forward"),
    *("x ours", "first call, s", "peak, MiB", "+ MiB", "maps differ by", "note"),
)
SHOWN = 100


def middle(times: list[float]) -> float | None:
    """The median, or None."""
    return statistics.median(times) if times else None


def spread(times: list[float]) -> str:
    """From the least to the most, as shares of the median."""
    m = middle(times)
    return f"{min(times) / m:.2f}-{max(times) / m:.2f}" if m else ""


def ratio(a: float | None, b: float | None) -> float | None:
    """a / b where there are both."""
    return a / b if a and b else None


def number(value: float | None, form: str) -> str:
    """A number, or nothing."""
    return "" if value is None else format(value, form)


def relative(row: Row) -> float | None:
    """Maps in units of the same round's forward passes: the median of the ratios."""
    pairs = zip(row.explain, row.forward, strict=False)
    return middle([a / b for a, b in pairs])


def against(row: Row, ours: Row | None) -> float | None:
    """How many times ours the peer takes: the median over rounds."""
    if ours is None or ours is row:
        return None
    pairs = zip(row.explain, ours.explain, strict=False)
    return middle([a / b for a, b in pairs])


def cells(row: Row, ours: Row | None) -> list[str]:
    """A row's cells, in the order of `HEADS`."""
    head = [row.network, str(row.batch), row.case, row.peer]
    grown = None if row.peak is None or row.held is None else row.peak - row.held
    return [
        *head,
        number(middle(row.explain), ".3g"),
        spread(row.explain),
        number(relative(row), ".2f"),
        number(against(row, ours), ".2f"),
        number(row.first, ".3g"),
        number(row.peak, ".0f"),
        number(grown, ".0f"),
        number(row.difference, ".0e"),
        (row.reason or row.note).replace("|", "/")[:SHOWN],
    ]


def filled(rows: list[Row]) -> list[list[str]]:
    """All rows' cells, each beside ours of the same network, batch and case."""
    ours = {(r.network, r.batch, r.case): r for r in rows if r.peer == "ours"}
    return [cells(r, ours.get((r.network, r.batch, r.case))) for r in rows]


def markdown(rows: list[Row], head: bool = True) -> str:
    """The table."""
    top = [HEADS, ["---"] * len(HEADS)] if head else []
    return "\n".join(f"| {' | '.join(r)} |" for r in [*top, *filled(rows)])


def write_csv(rows: list[Row], path: Path) -> None:
    """The same table, with every single time behind it."""
    with whole(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*HEADS, "outputs differ by", "explain, s", "forward, s"])
        for row, shown in zip(rows, filled(rows), strict=True):
            times = [
                " ".join(f"{t:.5g}" for t in v) for v in (row.explain, row.forward)
            ]
            shown[-1] = row.reason or row.note
            writer.writerow([*shown, number(row.outputs, ".1e"), *times])
