"""LEG-TV of VGG19 on one picture: what it costs, and how far it is from LEG.

    python -m tests.benchmarks.vgg19 [--slopes 20]

Random weights, 224 x 224, base 28, three channels. The error is the standard error of
the whole map, as a share of the map. That of the original, the mean over 10,000 answers
a channel, is measured at fewer of them, for one channel, and falls with their root.
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
    """|standard error| / |map|."""
    base, spread = (
        np.asarray(e.extra[k])[0, channels] for k in ("base", "standard_error")
    )
    return float(np.linalg.norm(spread) / np.linalg.norm(base))


@click.command()
@click.option("--slopes", default=20, help="for each channel")
@click.option("--answers", default=320, help="of the original's, for its error")
def main(slopes: int, answers: int) -> None:
    """Print both."""
    keras.utils.set_random_seed(0)
    model = keras.applications.VGG19(weights=None)
    preprocess = keras.applications.vgg19.preprocess_input
    picture = skimage.transform.resize(skimage.data.chelsea(), (224, 224))
    x = np.float32(255 * picture)[None]
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
    print(f"LEG-TV, {slopes} slopes a channel: {taken:.0f} s with building")
    print(f"error {error(e):.3f}; against three times as many slopes {gap:.3f}")

    grey = keras.Input((224, 224, 1))
    whole = keras.ops.concatenate([grey] * 3, -1)
    one, x = keras.Model(grey, model(whole)), x.mean(-1, keepdims=True)
    asked = {"preprocess": lambda v: v - 115.0}
    start = time.perf_counter()
    plain = tfxai.explain(
        one, x, "leg", estimator="score", sampling="plain", n_samples=answers, **asked
    )
    each = (time.perf_counter() - start) / answers
    slope = tfxai.explain(one, x, "leg", n_samples=slopes, seed=1, **asked)
    size = np.linalg.norm(np.asarray(slope.extra["base"]))
    spread = np.linalg.norm(np.asarray(plain.extra["standard_error"]))
    then = spread / size * np.sqrt(answers / ORIGINAL)
    print(f"the original's mean of answers, {each:.2f} s each in batches:")
    print(f"error {spread / size:.2f} of {answers}, about {then:.2f} of {ORIGINAL}")


if __name__ == "__main__":
    main()
