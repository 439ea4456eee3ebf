"""The command of the league; see the package."""

import json
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

import click

from tests.benchmarks.league import agreement, peers, planted, table
from tests.benchmarks.league.measure import Folder, run
from tests.benchmarks.league.tasks import SMOKE, TASKS
from tests.benchmarks.peers import venvs

ROOT = Path(__file__).resolve().parents[3]
#: Samples of each planted network, whose methods run without compilation.
FEW = 4


def known_contributions(folder: Folder, seeds: range) -> dict:
    """Return the scores on planted networks, measured or read."""
    file = folder.path / f"planted-{len(seeds)}.json"
    if not file.exists():
        found = planted.measured(seeds[:2], FEW)
        file.write_text(json.dumps(found))
    read: dict = json.loads(file.read_text())
    return read


@click.command()
@click.argument("tasks", nargs=-1, type=click.Choice(list(TASKS)))
@click.option(
    "--smoke", is_flag=True, help="Four tasks, a network each, defaults only."
)
@click.option("--seeds", default=5, show_default=True, help="Networks of each kind.")
@click.option("--count", default=8, show_default=True, help="Samples of a network.")
@click.option("--method", "only", multiple=True, help="Measure these methods only.")
@click.option("--network", "of", multiple=True, help="These networks only.")
@click.option("--defaults", is_flag=True, help="No other options of the methods.")
@click.option(
    "--peer", "packages", multiple=True, type=click.Choice(list(peers.PEERS)),
    help="Measure nothing but these packages, and write the table of packages.",
)  # fmt: skip
@click.option("--environments", default=venvs.DEFAULT, type=Path, show_default=True)
@click.option("--tables", is_flag=True, help="Measure nothing; write the tables.")
@click.option("--folder", default=Path("build/league"), type=Path, show_default=True)
@click.option("--docs", default=ROOT / "docs/tables", type=Path)
def main(
    tasks: tuple, smoke: bool, seeds: int, count: int, only: tuple, of: tuple,
    defaults: bool, packages: tuple, environments: Path, tables: bool, folder: Path,
    docs: Path,
) -> None:  # fmt: skip
    """Measure the league, or go on where it stopped, and write its tables.

    With --smoke, tasks, --method or --network, tables are printed, not written.
    """
    begin = time.process_time()
    if smoke:
        seeds, count = 1, 4
    kept, numbers = Folder(folder, count), range(seeds)
    if packages:
        for package in packages:
            peers.measured(kept, package, environments)
        table.write(table.of_peers(kept), docs)
        return
    if not tables:
        chosen = tasks or tuple(SMOKE if smoke else TASKS)
        run(kept, numbers, chosen, only, smoke, defaults or smoke, of)
    part = smoke or tasks or only or of or defaults
    if not part and not tables:
        agreement.measured(kept)
    made = table.texts(
        kept, numbers, {} if part else known_contributions(kept, numbers)
    )
    if part:
        print("\n".join(made.values()))
    else:
        table.write(made, docs)
    print(f"{time.process_time() - begin:.0f} s of CPU")


if __name__ == "__main__":
    main()
