"""Time and memory of tfxai against batch size, image side, targets and samples.

    python -m tests.benchmarks growth [--network MobileNetV2] [--axis side ...]
        [--rounds 3] [--csv growth.csv] [--plots FOLDER]

Each point runs in a separate process. "+ MiB" is the peak memory during the explanation
above the memory of the process with the network. The slope is that of log(seconds), or
log(+ MiB), against log(n): 1 is proportional, 0 is constant. Each axis has a table and
a plot.
"""

import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np

from tests.benchmarks.peers.cases import how
from tests.benchmarks.peers.drive import MODULES, Worker, network, settings
from tests.benchmarks.peers.venvs import DEFAULT, Unavailable
from tfxai.base.atomic_write import atomic_write
from tfxai.base.progress import bar
from tfxai.io import tables

_RELEVANCE: dict[str, dict] = {
    "gradient": {},
    "lrp.epsilon": {},
    "lrp.alpha_2_beta_1": {},
    "sglrp": {"low": True, "high": True},
}
_SAMPLING: dict[str, dict] = {
    "lime": {"segmenter": "given", "baseline": "black", "scale": "probability"},
    "rise": {"scale": "probability"},
}
HEADS = ("network", "axis", "method", "n", "seconds", "MiB more")


@dataclass(frozen=True)
class Axis:
    """A quantity n that grows.

    points: the values of n. methods: the methods with their options. option: the option
    of the method that n sets; if empty, `start` receives n under the axis' name.
    """

    points: tuple[int, ...]
    methods: dict[str, dict]
    option: str = ""


AXES = {
    "batch": Axis((1, 2, 4, 8, 16, 32), _RELEVANCE),
    "side": Axis((64, 112, 224, 320, 448), _RELEVANCE),
    "targets": Axis((1, 3, 10, 30, 100), _RELEVANCE),
    "samples": Axis((100, 300, 1000, 3000, 10_000), _SAMPLING, "n_samples"),
}


def point(place: Path, name: str, method: str, n: int, rounds: int):
    """Return (seconds, + MiB) of one point of an axis."""
    axis = AXES[name]
    options = dict(axis.methods[method])
    more = {} if axis.option else {name: n}
    if axis.option:
        options[axis.option] = n
    with TemporaryDirectory() as scratch:
        chosen = settings(place, how(method, **options), 1, Path(scratch) / "map.npy")
        command = [sys.executable, "-m", f"{MODULES}.ours"]
        worker = Worker(command, Path(scratch) / "log", 3600.0)
        try:
            held = worker.request(do="start", **{**chosen, **more})["mib"]
            worker.request(do="first")
            times = [worker.request(do="explain")["seconds"] for _ in range(rounds)]
            return statistics.median(times), worker.request(do="peak")["mib"] - held
        finally:
            worker.end()


def slope(n: tuple, values: list) -> float:
    """Return the exponent b of values = a n^b; NaN without two positive values."""
    pairs = [(a, b) for a, b in zip(n, values, strict=True) if b and b > 0]
    if len(pairs) < 2:
        return float("nan")
    x, y = np.log(np.array(pairs, float)).T
    return float(np.polyfit(x, y, 1)[0])


def shown(axis: str, made: dict[str, list]) -> str:
    """Return the table of an axis: seconds and + MiB at each point, and both slopes."""
    points = AXES[axis].points
    heads, lines = [axis, "", *map(str, points), "slope"], []
    for method, values in made.items():
        for i, (unit, form) in enumerate((("s", ".3g"), ("+ MiB", ".0f"))):
            column = [v[i] for v in values]
            cells = [format(v, form) for v in column]
            lines.append([method, unit, *cells, f"{slope(points, column):.2f}"])
    return tables.markdown(heads, lines, 2)


def plot(axis: str, made: dict[str, list], path: Path) -> None:
    """Plot time and memory against the axis, on logarithmic scales."""
    from matplotlib.figure import Figure

    points = AXES[axis].points
    figure = Figure((9, 4), layout="constrained")
    for i, (ax, unit) in enumerate(
        zip(figure.subplots(1, 2), ("seconds", "MiB more"), strict=True)
    ):
        for method, values in made.items():
            column = [v[i] for v in values]
            label = f"{method}: slope {slope(points, column):.2f}"
            ax.loglog(points, column, marker="o", label=label)
        ax.set(xlabel=axis, ylabel=unit, xticks=points, xticklabels=points)
        seen = [v[i] for values in made.values() for v in values if v[i] > 0]
        low, high = np.log10(min(seen)), np.log10(max(seen))
        # Whole decades, so that constant values look constant.
        ax.set_ylim(10 ** np.floor(low), 10 ** np.ceil(high))
        ax.minorticks_off()
        ax.legend()
    with atomic_write(path) as temporary:
        figure.savefig(temporary)


@click.command()
@click.option("--network", "name", default="MobileNetV2", show_default=True)
@click.option("--axis", "axes", multiple=True, type=click.Choice(list(AXES)))
@click.option("--rounds", default=3, show_default=True)
@click.option("--venvs", "folder", type=Path, default=DEFAULT)
@click.option("--shared", type=Path, default=Path("../shared"))
@click.option("--csv", "csv_file", type=Path, help="Write every point there.")
@click.option("--plots", type=Path, help="Write growth_AXIS.png into this folder.")
def growth(
    name: str, axes: tuple, rounds: int, folder: Path, shared: Path,
    csv_file: Path | None, plots: Path | None,
) -> None:  # fmt: skip
    """Print the tables. The network must end in a pooling that accepts any side."""
    if name == "VGG16" and "side" in (axes or AXES):
        raise click.UsageError("VGG16 takes one side; name the other axes by --axis.")
    folder = folder.resolve()
    place, rows = network(name, folder, shared), []
    for axis in axes or AXES:
        made: dict[str, list] = {}
        chosen = AXES[axis]
        with bar(axis, len(chosen.points) * len(chosen.methods)) as advance:
            for method in chosen.methods:
                for n in chosen.points:
                    try:
                        found = point(place, axis, method, n, rounds)
                    except Unavailable as error:
                        print(f"{axis} {n}, {method}: {error}")
                        found = (float("nan"),) * 2
                    made.setdefault(method, []).append(found)
                    rows.append([name, axis, method, n, *found])
                    advance(1, f"{method} {n}")
        print(f"\n{shown(axis, made)}", flush=True)
        if plots is not None:
            plot(axis, made, plots / f"growth_{axis}.png")
        if csv_file is not None:
            tables.write_csv(csv_file, HEADS, rows)
