"""Explain many times with ten methods, and print the resident memory.

    python -m tests.benchmarks.soak --calls 20000

The memory after a tenth of the calls, when everything is compiled, is compared with
that at the end.
"""

import sys
import time
import warnings
from pathlib import Path

import click
import numpy as np

import tfxai
from tests.datasets.batches import small

METHODS = {
    **{"gradient": {}, "input_t_gradient": {}, "lrp.epsilon": {}, "sglrp": {}},
    **{"lrp.alpha_2_beta_1": {}, "deep_taylor": {}, "gradcam": {}},
    "smoothgrad": {"n_samples": 4},
    "integrated_gradients": {"n_steps": 4},
    "occlusion": {"window": 4, "stride": 4},
}
LIMIT = 1.05


def resident() -> float:
    """Return the resident memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


@click.command()
@click.option("--calls", default=20_000, help="The number of calls, of all methods.")
@click.option("--points", default=10, help="How often the memory is printed.")
def main(calls: int, points: int) -> None:
    """Print the memory; exit with 1 if it grows by more than 5 %."""
    warnings.simplefilter("ignore")  # Python keeps the text of every shown warning
    model, rng = small(), np.random.default_rng(0)
    analyzers = [tfxai.create_analyzer(m, model, **o) for m, o in METHODS.items()]
    held, start = [], time.monotonic()
    for i in range(calls):
        x = rng.uniform(0, 9, (2, 8, 9, 3)).astype("float32")
        e = analyzers[i % len(analyzers)].analyze(x, i % 4, progress=False)
        assert np.isfinite(e.relevance).all()
        if (i + 1) % (calls // points) == 0:
            held.append(resident())
            seconds = time.monotonic() - start
            click.echo(f"{i + 1} calls, {held[-1]:.1f} MiB, {seconds:.0f} s")
    growth = max(held) / held[0]
    click.echo(f"largest / first: {growth:.3f}")
    sys.exit(growth > LIMIT)


if __name__ == "__main__":
    main()
