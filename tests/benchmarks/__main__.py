"""The library beside what a user would pick instead: one command, one table.

    python -m tests.benchmarks                                   # everything: two days
    python -m tests.benchmarks --network VGG16 --case EpsilonPlus --peer zennit
    python -m tests.benchmarks --batch 1 --csv all.csv --markdown all.md
    python -m tests.benchmarks --part maps --network VGG16       # without the sampling
    python -m tests.benchmarks growth                            # of ours alone

Every peer runs in a virtual environment of its own, which the command makes under
`--venvs` when it is first wanted (about 1 GB each; `peers/venvs.py` says what is
installed). A case runs in one process for each peer (`peers/<peer>.py`), which builds
the network from plain data (`peers/networks.py`: the same weights everywhere), must
answer what ours answers to 1e-4, and then is told over a pipe to make one map, and one
forward pass, at a time: ours, theirs, ours, theirs, so that a machine that drifts
favours none. A peer that cannot be installed, or fails, keeps its row, with the reason.

It can be cut short and begun again: the file of `--csv` is written whole after each
case, and a case all of whose rows it has (the same network, batch, peers, options and
versions of packages; what failed, under no smaller `--limit`) is not measured again
unless `--again` is given, as it must be after a change of ours that left its version
as it was. A case is measured as a whole, so that its ratios are of one run.

Columns: warm, s: the median of the rounds; rounds: how many there were (up to
`--rounds`; fewer where they took more than `--budget` seconds, but never fewer than
`--least`); spread: their least and most, as shares of the median, for two or more; x
its forward: the median ratio to the same framework's own forward pass of the same batch
(TensorFlow's compiled, PyTorch's as it is called, without gradients); x ours: the
median ratio of each round to ours, above 1 is slower; first call: with making the
explainer (and its graph); peak: the most memory that the process held since its network
stood, and + how much of it came with explaining; maps differ by: |theirs - ours| /
|ours|, where `peers/cases.py` says so with ours made once more, not timed, by the
peer's choices (rule of integration, size of maps, rules for means, absolute value).
Where both do not compute the same thing, the note says why.

`growth` has seconds and memory against batch, image side, targets and samples, of ours
alone, with slopes (see `growth.py`).

A new case is a row of `peers/cases.py`; a new peer a row of `peers/venvs.py` and a
script of its own.
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
    """A peer's Python and its packages' versions, or why not; it is tried once."""
    try:
        python = venvs.environment(peer, venvs.PEERS[peer], folder)
        return python, venvs.versions(python, venvs.PEERS[peer]), ""
    except venvs.Unavailable as error:
        return "", "", str(error)


@dataclass(frozen=True)
class Bench:
    """What all cases have in common: folders (scratch: of this run alone), and costs.

    least: rounds that are made whatever they take; further ones, up to `rounds`, while
    those of the peer have taken less than `budget` seconds. limit: of one answer.
    """

    folder: Path
    shared: Path
    scratch: Path
    rounds: int
    least: int
    budget: float
    limit: float

    def opener(self, peer: str) -> Callable[[], Worker]:
        """What starts a peer's worker; raises Unavailable when it is called."""

        def start() -> Worker:
            python, _, reason = tried(peer, self.folder)
            if reason:
                raise venvs.Unavailable(f"not installed: {reason}")
            command = [python, "-m", f"{MODULES}.{venvs.PEERS[peer].module}"]
            return Worker(command, self.scratch / f"{peer}.log", self.limit)

        return start

    def cells(self, case: str, peers: tuple) -> list[Cell]:
        """What a case asks of ours and of those of the peers that it names."""
        return [
            Cell(peer, str(how), tried(peer, self.folder)[1], self.limit)
            for peer, how in CASES[case].items()
            if peer == "ours" or peer in peers
        ]

    def compared(self, asked: Case, cells: list[Cell], tell: Tell) -> list[Row]:
        """The rows of one case."""
        place = network(asked[0], self.folder, self.shared)
        parts = [self.turn(place, asked, cell, tell) for cell in cells]
        return drive.turns(parts, self.rounds, self.least, self.budget)

    def turn(self, place: Path, asked: Case, cell: Cell, tell: Tell) -> Turn:
        """One peer's part of a case, begun."""
        name, case, batch = asked
        how: How = CASES[case][cell.peer]
        row = Row(name, case, batch, cell.peer, note=how.reason(name), how=cell.how)
        row.versions, row.limit = cell.versions, cell.limit
        told = drive.told(place, how, batch, self.scratch / f"{cell.peer}.npy")
        return Turn(row, self.opener(cell.peer), told, PASSES.get(case, 0), tell)


@click.group(invoke_without_command=True)
@click.option("--network", "names", multiple=True, type=click.Choice(NETWORKS))
@click.option("--case", "cases", multiple=True, type=click.Choice(list(CASES)))
@click.option("--part", "parts", multiple=True, type=click.Choice(list(PARTS)))
@click.option("--peer", "peers", multiple=True, type=click.Choice(list(venvs.PEERS)))
@click.option("--batch", "batches", multiple=True, type=int, default=(1, 8))
@click.option("--rounds", default=7, show_default=True, help="The most of a peer.")
@click.option("--least", default=2, show_default=True, help="Rounds made at any cost.")
@click.option(
    "--budget",
    default=60.0,
    show_default=True,
    help="Seconds of its rounds, after which a peer begins no further one.",
)
@click.option(
    "--limit",
    default=900.0,
    show_default=True,
    help="Seconds that a single answer may take; a case that would take more fails.",
)
@click.option("--venvs", "folder", type=Path, default=venvs.DEFAULT)
@click.option("--shared", type=Path, default=Path("../shared"))
@click.option(
    "--csv",
    "csv_file",
    type=Path,
    help="Every number; what it has already is not measured again.",
)
@click.option("--markdown", "markdown_file", type=Path, help="The table of all rows.")
@click.option("--again", is_flag=True, help="Measure also what the CSV file has.")
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
    asked = [(n, c, b) for n in names or NETWORKS for c in named for b in batches]
    results = Results(csv_file, markdown_file)
    with TemporaryDirectory() as scratch:
        bench = Bench(folder.resolve(), shared, Path(scratch), **costs)
        measure(bench, asked, peers or tuple(venvs.PEERS), results, again)
    results.write()


def measure(
    bench: Bench, asked: list[Case], peers: tuple, results: Results, again: bool
) -> None:
    """Measure the cases that have no whole answer yet, and print each when it is done.

    A case is measured as a whole, with the peers that it had before: its ratios are
    of one run.
    """
    head = True
    with bar("benchmarks", len(asked)) as advance:
        for case in asked:
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
    """Show what is being done."""
    advance(0, f"{name}: {what}")


main.add_command(growth)

if __name__ == "__main__":
    main()
