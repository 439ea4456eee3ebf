"""LEG-TV of VGG19 on one image: its time and its error.

    python -m tests.benchmarks.vgg19 [--slopes 20]

Random weights, 224 x 224, base 28, three channels. The error is the norm of the
standard error relative to the norm of LEG. That of the published estimator, the mean
over 10,000 evaluations per channel, is extrapolated from fewer evaluations of one
channel: it decreases with the square root of their number.
"""

import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click
import keras
import numpy as np
import skimage.data
import skimage.transform

import tfxai

ORIGINAL = 10_000


def error(e: tfxai.Explanation, channels: slice = slice(None)) -> float:
    """Return |standard error| / |LEG|."""
    base, spread = (
        np.asarray(e.extra[k])[0, channels] for k in ("base", "standard_error")
    )
    return float(np.linalg.norm(spread) / np.linalg.norm(base))


@click.command()
@click.option("--slopes", default=20, help="gradients per channel")
@click.option("--answers", default=320, help="evaluations of the published estimator")
def main(slopes: int, answers: int) -> None:
    """Print time and errors."""
    keras.utils.set_random_seed(0)
    model = keras.applications.VGG19(weights=None)
    preprocess = keras.applications.vgg19.preprocess_input
    image = skimage.transform.resize(skimage.data.chelsea(), (224, 224))
    x = np.float32(255 * image)[None]
    start = time.perf_counter()
    e = tfxai.explain(
        model, x, "leg_tv", preprocess=preprocess, n_samples=slopes, batch_size=10
    )
    taken = time.perf_counter() - start
    exact = tfxai.explain(
        model, x, "leg", preprocess=preprocess, n_samples=3 * slopes, seed=1
    )
    ours, reference = (np.asarray(v.extra["base"]) for v in (e, exact))
    gap = np.linalg.norm(ours - reference) / np.linalg.norm(reference)
    print(f"LEG-TV, {slopes} gradients per channel: {taken:.0f} s with construction")
    print(f"error {error(e):.3f}; against three times as many gradients {gap:.3f}")

    grey = keras.Input((224, 224, 1))
    whole = keras.ops.concatenate([grey] * 3, -1)
    one, x = keras.Model(grey, model(whole)), x.mean(-1, keepdims=True)
    settings = {"preprocess": lambda v: v - 115.0}
    start = time.perf_counter()
    plain = tfxai.explain(
        one,
        x,
        "leg",
        estimator="score",
        sampling="plain",
        n_samples=answers,
        **settings,
    )
    each = (time.perf_counter() - start) / answers
    slope = tfxai.explain(one, x, "leg", n_samples=slopes, seed=1, **settings)
    size = np.linalg.norm(np.asarray(slope.extra["base"]))
    spread = np.linalg.norm(np.asarray(plain.extra["standard_error"]))
    then = spread / size * np.sqrt(answers / ORIGINAL)
    print(f"the published estimator, {each:.2f} s per evaluation in batches:")
    print(f"error {spread / size:.2f} of {answers}, about {then:.2f} of {ORIGINAL}")


if __name__ == "__main__":
    main()
