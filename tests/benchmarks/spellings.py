"""Write random networks in random spellings: each keeps its answer and its maps.

    python -m tests.benchmarks.spellings --count 2000 --seed 1

Prints the seed, and every network whose answer, gradient or map differs between its
plain form and a spelling. Exits with 1 if there is one.
"""

import random
import sys
import time
from collections import Counter

import click
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from tests.graph.fuzzer import Net, compare, nets


@click.command()
@click.option("--count", default=2000, help="The number of networks.")
@click.option("--seed", type=int, default=None, help="None draws one.")
def main(count: int, seed: int | None) -> None:
    """Print the seed, the networks that differ, and their number."""
    seed = random.randrange(2**31) if seed is None else seed
    click.echo(f"seed {seed}")
    total, start = Counter(), time.process_time()

    @seeded(seed)
    @settings(
        max_examples=count, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(nets(), st.integers(0, 2**31))
    def run(net: Net, ways: int) -> None:
        found = outcome(net, ways)
        total["networks"] += 1
        total["differ"] += bool(found)
        if found:
            click.echo(f"{net}, ways={ways}: {found}")

    run()
    seconds = time.process_time() - start
    click.echo(f"seed {seed}: {dict(total)}, {seconds:.0f} s of CPU")
    sys.exit(total["differ"] > 0)


def outcome(net: Net, ways: int) -> str:
    """What differs, or the error; "" for none."""
    try:
        found = compare(net, ways)
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:300]}"
    return ", ".join(f"{k} {v:.2g}" for k, v in found.items())


if __name__ == "__main__":
    main()
