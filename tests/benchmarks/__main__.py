"""Time and memory of tfxai beside other libraries: one command, one table.

    python -m tests.benchmarks                                   # everything: two days
    python -m tests.benchmarks --network VGG16 --case EpsilonPlus --peer zennit
    python -m tests.benchmarks --batch 1 --csv all.csv --markdown all.md
    python -m tests.benchmarks --part maps --network VGG16       # no sampling methods
    python -m tests.benchmarks growth                            # tfxai alone

A peer is another library. Every peer runs in its own virtual environment, which the
command creates under `--venvs` at the first use (about 1 GB each; `peers/venvs.py`
lists the packages). A case runs in one process per peer (`peers/<peer>.py`). It builds
the network from plain data (`peers/networks.py`: the same weights everywhere), and its
outputs must equal ours to 1e-4. Then it receives commands over a pipe and computes one
explanation, or one forward pass, at a time, alternating with ours, so that changing
load of the machine affects both equally. A peer that cannot be installed, or fails,
keeps its row, with the reason.

A run can be stopped and resumed: the file of `--csv` is written completely after each
case. A case with all its rows in the file (the same network, batch, peers, options and
package versions; a failed one with no smaller `--limit`) is not measured again unless
`--again` is given, which is necessary after a change of tfxai that keeps its version. A
case is always measured as a whole, so that its ratios are of one run.

Columns:
- warm, s: the median of the rounds.
- rounds: their number (up to `--rounds`; fewer if they took more than `--budget`
  seconds, but at least `--least`).
- spread: the minimum and maximum of two or more rounds, relative to the median.
- x its forward: the median ratio to the framework's own forward pass of the same batch
  (compiled in TensorFlow, a plain call without gradients in PyTorch).
- x ours: the median ratio of each round to ours; above 1 is slower.
- first call: the time including the construction of the explainer and its graph.
- peak: the peak memory of the process with its network, and + the part that the
  explanation adds.
- maps differ by: |theirs - ours| / |ours|. Where `peers/cases.py` says so, ours is
  computed once more, without timing, with the peer's choices (quadrature, size of the
  heatmap, rules for means, absolute value). A note explains methods that differ.

`growth` prints time and memory of tfxai against batch size, image side, targets and
samples, with slopes (see `growth.py`).

To add a case, add a row to `peers/cases.py`; to add a peer, add a row to
`peers/venvs.py` and a script.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from tests.benchmarks.growth import growth
from tests.benchmarks.peers import drive, table, venvs
from tests.benchmarks.peers.cases import CASES, PARTS, PASSES, How
from tests.benchmarks.peers.drive import MODULES, Row, Tell, Turn, Worker, network
from tests.benchmarks.peers.resume import Cell, Results
from tfxai.base.progress import Advance, bar

NETWORKS = ("SqueezeNet", "VGG16", "ResNet50", "MobileNetV2")
Case = tuple[str, str, int]  # network, case, batch


@cache
def tried(peer: str, folder: Path) -> tuple[str, str, str]:
    """Return a peer's Python and package versions, or the error; cached."""
    try:
        python = venvs.environment(peer, venvs.PEERS[peer], folder)
        return python, venvs.versions(python, venvs.PEERS[peer]), ""
    except venvs.Unavailable as error:
        return "", "", str(error)


@dataclass(frozen=True)
class Bench:
    """The settings of all cases: folders (scratch: of this run only), and limits.

    least: the minimum number of rounds. More rounds follow, up to `rounds`, while those
    of the peer took less than `budget` seconds. limit: the seconds of one command.
    """

    folder: Path
    shared: Path
    scratch: Path
    rounds: int
    least: int
    budget: float
    limit: float

    def opener(self, peer: str) -> Callable[[], Worker]:
        """Return a function that starts a peer's worker, or raises Unavailable."""

        def start() -> Worker:
            python, _, reason = tried(peer, self.folder)
            if reason:
                raise venvs.Unavailable(f"not installed: {reason}")
            command = [python, "-m", f"{MODULES}.{venvs.PEERS[peer].module}"]
            return Worker(command, self.scratch / f"{peer}.log", self.limit)

        return start

    def cells(self, case: str, peers: tuple) -> list[Cell]:
        """Return the cells of a case: ours and those of its peers."""
        return [
            Cell(peer, str(how), tried(peer, self.folder)[1], self.limit)
            for peer, how in CASES[case].items()
            if peer == "ours" or peer in peers
        ]

    def compared(self, wanted: Case, cells: list[Cell], tell: Tell) -> list[Row]:
        """Return the rows of one case."""
        place = network(wanted[0], self.folder, self.shared)
        parts = [self.turn(place, wanted, cell, tell) for cell in cells]
        return drive.turns(parts, self.rounds, self.least, self.budget)

    def turn(self, place: Path, wanted: Case, cell: Cell, tell: Tell) -> Turn:
        """Start one peer's part of a case."""
        name, case, batch = wanted
        how: How = CASES[case][cell.peer]
        row = Row(name, case, batch, cell.peer, note=how.reason(name), how=cell.how)
        row.versions, row.limit = cell.versions, cell.limit
        settings = drive.settings(place, how, batch, self.scratch / f"{cell.peer}.npy")
        return Turn(row, self.opener(cell.peer), settings, PASSES.get(case, 0), tell)


@click.group(invoke_without_command=True)
@click.option("--network", "names", multiple=True, type=click.Choice(NETWORKS))
@click.option("--case", "cases", multiple=True, type=click.Choice(list(CASES)))
@click.option("--part", "parts", multiple=True, type=click.Choice(list(PARTS)))
@click.option("--peer", "peers", multiple=True, type=click.Choice(list(venvs.PEERS)))
@click.option("--batch", "batches", multiple=True, type=int, default=(1, 8))
@click.option(
    "--rounds", default=7, show_default=True, help="The maximum number of rounds."
)
@click.option(
    "--least", default=2, show_default=True, help="The minimum number of rounds."
)
@click.option(
    "--budget",
    default=60.0,
    show_default=True,
    help="Seconds of rounds after which a peer starts no further round.",
)
@click.option(
    "--limit",
    default=900.0,
    show_default=True,
    help="Seconds of a single command; a case that takes longer fails.",
)
@click.option("--venvs", "folder", type=Path, default=venvs.DEFAULT)
@click.option("--shared", type=Path, default=Path("../shared"))
@click.option(
    "--csv",
    "csv_file",
    type=Path,
    help="All values; a case in this file is not measured again.",
)
@click.option("--markdown", "markdown_file", type=Path, help="The table of all rows.")
@click.option("--again", is_flag=True, help="Measure also the cases of the CSV file.")
@click.pass_context
def main(
    context: click.Context, names: tuple, cases: tuple, parts: tuple, peers: tuple,
    batches: tuple, folder: Path, shared: Path, csv_file: Path | None,
    markdown_file: Path | None, again: bool, **costs: float,
) -> None:  # fmt: skip
    """Print the table, case by case."""
    if context.invoked_subcommand:
        return
    named = (*cases, *(c for part in parts for c in PARTS[part])) or tuple(CASES)
    wanted = [(n, c, b) for n in names or NETWORKS for c in named for b in batches]
    results = Results(csv_file, markdown_file)
    with TemporaryDirectory() as scratch:
        bench = Bench(folder.resolve(), shared, Path(scratch), **costs)
        measure(bench, wanted, peers or tuple(venvs.PEERS), results, again)
    results.write()


def measure(
    bench: Bench, wanted: list[Case], peers: tuple, results: Results, again: bool
) -> None:
    """Measure the incomplete cases, and print each one at its end.

    A case is measured as a whole, with its earlier peers, so that its ratios are of one
    run.
    """
    head = True
    with bar("benchmarks", len(wanted)) as advance:
        for case in wanted:
            name = " ".join(map(str, case))
            advance(0, f"{name}: environments")
            before = tuple(r.peer for r in results.of(case))
            cells = bench.cells(case[1], (*peers, *before))
            if again or not results.done(case, bench.cells(case[1], peers)):
                tell = partial(said, advance, name)
                results.put(case, bench.compared(case, cells, tell))
                print(table.markdown(results.of(case), head), flush=True)
                head = False
            advance(1, name)


def said(advance: Advance, name: str, what: str) -> None:
    """Show the present step."""
    advance(0, f"{name}: {what}")


main.add_command(growth)

if __name__ == "__main__":
    main()
