"""The library beside what a user would pick instead: one command, one table.

    python -m tests.benchmarks                                   # everything: hours
    python -m tests.benchmarks --network VGG16 --case EpsilonPlus --peer zennit
    python -m tests.benchmarks --batch 1 --rounds 5 --csv all.csv --markdown all.md
    python -m tests.benchmarks growth                            # of ours alone

Every peer runs in a virtual environment of its own, which the command makes under
`--venvs` when it is first wanted (about 1 GB each; `peers/venvs.py` says what is
installed). A case runs in one process for each peer (`peers/<peer>.py`), which builds
the network from plain data (`peers/networks.py`: the same weights everywhere), must
answer what ours answers to 1e-4, and then is told over a pipe to make one map, and one
forward pass, at a time: ours, theirs, ours, theirs, so that a machine that drifts
favours none. A peer that cannot be installed, or fails, keeps its row, with the reason.

Columns: warm, s: the median of the rounds; spread: their least and most, as shares of
it; x its forward: the median ratio to the same framework's own compiled forward pass
of the same batch; x ours: the median ratio of each round to ours, above 1 is slower;
first call: with making the explainer (and its graph); peak: the most memory that the
process held since its network stood, and + how much of it came with explaining; maps
differ by: |theirs - ours| / |ours|. Where both do not compute the same thing, the note
says why.

`growth` has seconds and memory against batch, image side, targets and samples, of ours
alone, with slopes (see `growth.py`).

A new case is a row of `peers/cases.py`; a new peer a row of `peers/venvs.py` and a
script of its own.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from tests.benchmarks.growth import growth
from tests.benchmarks.peers import drive, table, venvs
from tests.benchmarks.peers.cases import CASES
from tests.benchmarks.peers.drive import MODULES, Row, Turn, Worker, network
from tfxai.files import whole
from tfxai.progress import bar

NETWORKS = ("SqueezeNet", "VGG16", "ResNet50", "MobileNetV2")


@cache
def tried(peer: str, folder: Path) -> tuple[str, str]:
    """A peer's Python, or why there is none; it is tried once."""
    try:
        return venvs.environment(peer, venvs.PEERS[peer], folder), ""
    except venvs.Unavailable as error:
        return "", str(error)


def installed(peer: str, folder: Path) -> str:
    """A peer's Python; raises Unavailable."""
    python, reason = tried(peer, folder)
    if reason:
        raise venvs.Unavailable(f"not installed: {reason}")
    return python


def opener(
    peer: str, folder: Path, scratch: Path, limit: float
) -> Callable[[], Worker]:
    """What starts a peer's worker; raises Unavailable when it is called."""

    def start() -> Worker:
        found = venvs.PEERS[peer]
        python = installed(peer, folder)
        log = scratch / f"{peer}.log"
        return Worker([python, "-m", f"{MODULES}.{found.module}"], log, limit)

    return start


def compared(
    name: str, case: str, batch: int, peers: tuple, folder: Path, shared: Path,
    rounds: int, limit: float, budget: float, scratch: Path,
) -> list[Row]:  # fmt: skip
    """The rows of one case. scratch: for maps and logs, of this run alone."""
    place, parts = network(name, folder, shared), []
    for peer, how in CASES[case].items():
        if peer != "ours" and peer not in peers:
            continue
        row = Row(name, case, batch, peer, note=how.reason(name))
        asked = drive.told(place, how, batch, scratch / f"{peer}.npy")
        parts.append(Turn(row, opener(peer, folder, scratch, limit), asked))
    return drive.turns(parts, rounds, budget)


@click.group(invoke_without_command=True)
@click.option("--network", "names", multiple=True, type=click.Choice(NETWORKS))
@click.option("--case", "cases", multiple=True, type=click.Choice(list(CASES)))
@click.option("--peer", "peers", multiple=True, type=click.Choice(list(venvs.PEERS)))
@click.option("--batch", "batches", multiple=True, type=int, default=(1, 8))
@click.option("--rounds", default=7, show_default=True)
@click.option("--budget", default=120.0, help="Seconds, then no further round begins.")
@click.option("--limit", default=900.0, help="Seconds that a single answer may take.")
@click.option("--venvs", "folder", type=Path, default=venvs.DEFAULT)
@click.option("--shared", type=Path, default=Path("../shared"))
@click.option("--csv", "csv_file", type=Path, help="Write every number there.")
@click.option("--markdown", "markdown_file", type=Path, help="Write the table there.")
@click.pass_context
def main(
    context: click.Context, names: tuple, cases: tuple, peers: tuple, batches: tuple,
    rounds: int, budget: float, limit: float, folder: Path, shared: Path,
    csv_file: Path | None, markdown_file: Path | None,
) -> None:  # fmt: skip
    """Print the table, case by case."""
    if context.invoked_subcommand:
        return
    folder = folder.resolve()
    asked = [
        (n, c, b) for n in names or NETWORKS for c in cases or CASES for b in batches
    ]
    rows: list[Row] = []
    with TemporaryDirectory() as scratch, bar("benchmarks", len(asked)) as advance:
        for name, case, batch in asked:
            found = compared(
                name, case, batch, peers or tuple(venvs.PEERS), folder, shared,
                rounds, limit, budget, Path(scratch),
            )  # fmt: skip
            print(table.markdown(found, head=not rows), flush=True)
            rows += found
            if csv_file is not None:  # after every case: hours are not lost
                table.write_csv(rows, csv_file)
            if markdown_file is not None:
                with whole(markdown_file) as temporary:
                    temporary.write_text(table.markdown(rows) + "\n")
            advance(1, f"{name} {case}")


main.add_command(growth)

if __name__ == "__main__":
    main()
