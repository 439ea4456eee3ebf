"""Which metric orders methods as the truth does: rank correlation over the methods."""

import warnings
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

import tfxai
from tests.benchmarks.league.entries import entries
from tests.benchmarks.league.measure import Folder, controls, read, write
from tests.benchmarks.league.scored import Scored
from tfxai.core.explanation import Explanation
from tfxai.errors import TfxaiError
from tfxai.metrics.registry import compute, lookup

#: Metrics without a known location, and without explaining again.
METRICS = ("aic", "average_drop", "average_gain", "completeness", "complexity",
           "deletion", "faithfulness_correlation", "infidelity", "insertion",
           "key_size", "monotonicity", "monotonicity_correlation", "mufidelity",
           "pixel_flipping", "region_perturbation", "road", "sic", "sparseness",
           "symmetric_relevance_gain")  # fmt: skip
#: The tasks whose CNN is used.
PLACES = [(f"{rule}-{noise}", 0)
          for noise in ("white", "correlated")
          for rule in ("linear", "multiplicative", "moved", "xor")]  # fmt: skip
NAME = "cnn"


def _file(folder: Folder, place: tuple[str, int]) -> Path:
    return folder.path / "metrics" / f"{place[0]}-{NAME}-{place[1]}-{folder.count}.npz"


def measured(folder: Folder) -> None:
    """Evaluate the maps of the folder by every metric, as far as not done."""
    for place in PLACES:
        maps = _maps(folder, place)
        found = read(_file(folder, place))
        names = np.array(sorted(maps))
        if list(found.get("entries", [])) != list(names):
            found = {"entries": names}
        if not maps:
            continue
        model, _ = folder.model(NAME, place)
        wrapped = tfxai.wrap(model)
        x, y, _ = folder.samples(NAME, place)
        for metric in METRICS:
            if metric not in found:
                values = [_mean(metric, wrapped, x, y, maps[e]) for e in names]
                found[metric] = np.array(values)
        write(_file(folder, place), found)
        print(f"metrics of {place[0]}", flush=True)


def _maps(folder: Folder, place: tuple[str, int]) -> dict[str, np.ndarray]:
    """The maps of every method with its defaults, and of the controls, at a place."""
    made, key = {}, f"{place[0]}/{place[1]}"
    for entry, (method, options) in entries("images").items():
        if entry != method:
            continue
        found = read(folder.file("images", NAME, entry, options))
        if key in found:
            made[entry] = found[key]
    return {**made, **controls(folder, "images", NAME, place)} if made else {}


def _mean(
    metric: str, wrapped: object, x: np.ndarray, y: np.ndarray, maps: np.ndarray
) -> float:
    """The mean of a metric over the samples; NaN where it refuses the maps."""
    r = np.float32(np.broadcast_to(maps, x.shape[:3])[..., None])
    score = wrapped.logits(x)[np.arange(len(y)), y]
    e = Explanation(r, y, score, "gradient", x)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(np.mean(compute(metric, wrapped, e)))
    except TfxaiError:
        return float("nan")


def agreement(folder: Folder, of: Scored) -> dict[str, list[float]]:
    """Return metric -> Spearman's correlation with the precision, of each task."""
    made: dict[str, list[float]] = {}
    for place in PLACES:
        found = read(_file(folder, place))
        cell = of.of.get("precision", {}).get((place[0], NAME), {})
        names = [str(n) for n in found.get("entries", ()) if str(n) in cell]
        if len(names) < 3:
            continue
        truth = np.array([cell[n][0].mean() for n in names])
        where = [list(found["entries"]).index(n) for n in names]
        for metric in METRICS:
            sign = 1 if lookup(metric).better == "higher" else -1
            values = sign * found[metric][where]
            known = np.isfinite(values)
            if known.sum() > 2 and np.ptp(values[known]) > 0:
                rho = float(spearmanr(values[known], truth[known]).statistic)
                made.setdefault(metric, []).append(rho)
    return made
