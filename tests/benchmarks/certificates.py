"""Certificates of the top k on a real network, and perturbations that test them.

    python -m tests.benchmarks.certificates [--shared ../shared] [--write]

For each method: the certificates of ten CIFAR-10 images, and after each of 1,000
perturbations whose L2 norm is the certified radius, the share of other draws in which
each pixel is in the top k. Half of the perturbations point to another image, the others
are random. A certificate fails if more than half of the draws contradict it, and a
failure is clear if that has a probability below 1e-6 for a share of 1/2.
"""

import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click
import numpy as np
from scipy.stats import binom

import tfxai
from tests.benchmarks.measured import when_and_where
from tests.benchmarks.metrics import CIFAR, network

METHODS = ("gradient", "input_t_gradient", "lrp.epsilon_plus", "gradcam")
SIGMAS, TAU, ALPHA, FRACTION, DRAWS = (12.0, 38.25), 0.75, 0.001, 0.25, 100
TABLE = Path("docs/tables/certificates.md")


def perturbed(x: np.ndarray, other: np.ndarray, radius: float, seed: int) -> np.ndarray:
    """Return one image at perturbations of the norm `radius`, one for each other one.

    Args:
        x: An image (H, W, C).
        other: Images (n, H, W, C); every second perturbation points to one.
        radius: The norm of the perturbations.
        seed: Seed of the random perturbations.
    """
    d = np.random.default_rng(seed).normal(size=other.shape)
    d[::2] = (other - x)[::2]
    d *= radius / np.sqrt((d**2).sum((1, 2, 3), keepdims=True))
    return (x + d).astype(np.float32)


def failures(signs: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return after which perturbations (n,) a certificate fails, and clearly fails.

    Args:
        signs: Certificates (H, W, 1).
        share: Shares (n, H, W, 1) of the draws in which a pixel is in the top k.
    """
    against = np.where(signs > 0, 1 - share, np.where(signs < 0, share, 0.0))
    count = np.rint(against * DRAWS)
    clear = binom.sf(count - 1, DRAWS, 0.5) < 1e-6
    return tuple((v & (signs != 0)).any((1, 2, 3)) for v in (against > 0.5, clear))


@click.command()
@click.option("--shared", default="../shared", type=Path)
@click.option("--images", default=10)
@click.option("--count", default=100, help="perturbations of each image")
@click.option("--write", is_flag=True, help=f"write {TABLE}")
def main(shared: Path, images: int, count: int, write: bool) -> None:
    """Print the table."""
    wrapped, x, _, _ = network(CIFAR, shared, images + count)
    lines = [
        "| method | sigma | radius | certified in | certified outside | abstained |"
        " failed | clearly | seconds per image |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for sigma in SIGMAS:
        given = {"sigma": sigma, "tau": TAU, "alpha": ALPHA, "fraction": FRACTION}
        for method in METHODS:
            given |= {"n_samples": DRAWS, "base_method": method}
            one, two = (
                tfxai.create_analyzer("certified", wrapped, seed=s, **given)
                for s in (0, 1)
            )
            one.analyze(x[:1])
            start = time.perf_counter()
            e = one.analyze(x[:images], batch_size=256)
            seconds = (time.perf_counter() - start) / images
            radius, found = e.extra["certified_radius"], []
            for k in range(images):
                near = perturbed(x[k], x[images : images + count], radius, k)
                again = two.analyze(near, int(e.target[k]), batch_size=256)
                found.append(failures(e.relevance[k], again.extra["in_top"]))
            failed, clear = (np.concatenate(v).sum() for v in zip(*found, strict=True))
            signs, total = e.relevance, images * count
            lines.append(
                f"| `{method}` | {sigma:g} | {radius:.3g} | {(signs > 0).mean():.1%} | "
                f"{(signs < 0).mean():.1%} | {(signs == 0).mean():.1%} | "
                f"{failed} of {total} | {clear} of {total} | {seconds:.2g} |"
            )
            print(lines[-1], flush=True)
    head = (
        f"# Certificates\n\nWritten by `python -m tests.benchmarks.certificates "
        f"--write`; do not edit.\n{when_and_where()}\n\n"
        f"The network `{CIFAR}`, whose input is from 0 to "
        f"255, {images} images: the top {FRACTION:.0%} of the pixels, tau={TAU}, "
        f"{DRAWS} draws, confidence {1 - ALPHA:.1%} for all pixels of a map together. "
        "Failed: perturbations of the norm of the radius after which more than half of "
        f"{DRAWS} other draws contradict a certificate; clearly: more than chance "
        "explains, at the level 1e-6.\n\n"
    )
    if write:
        TABLE.write_text(head + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
