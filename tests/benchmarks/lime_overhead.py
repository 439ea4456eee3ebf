"""The overhead of LIME and of the `lime` package for 1000 samples of a trivial network.

    python -m pip install lime
    python -m tests.benchmarks.lime_overhead

One 224 x 224 image. Both use the same quickshift segments, which are computed before
the timing and have a separate line. The network reads only four pixels.
"""

import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click
import keras
import numpy as np
import skimage.data
import skimage.transform

import tfxai
from tfxai.sampling.segments import segment_inputs

SAMPLES, SIDE = 1000, 224


def free() -> keras.Model:
    """Return a network that reads only four pixels."""
    x = keras.Input((SIDE, SIDE, 3))
    corner = keras.layers.Flatten()(x[:, :2, :2])
    model = keras.Model(x, keras.layers.Dense(3, "softmax")(corner))
    model.layers[-1].kernel.assign(model.layers[-1].kernel / 1000)
    return model


def package(x: np.ndarray, segments: np.ndarray) -> Callable | None:
    """Return a function that runs the `lime` package, or None without the package."""
    try:
        from lime.lime_image import LimeImageExplainer
    except ImportError:
        return None
    explainer = LimeImageExplainer(random_state=0)

    def predict(batch: np.ndarray) -> np.ndarray:
        p = np.asarray(batch)[:, 0, 0, :] + 1.0
        return p / p.sum(-1, keepdims=True)

    return lambda: explainer.explain_instance(
        x[0], predict, top_labels=1, num_samples=SAMPLES,
        segmentation_fn=lambda v: segments[0],
    )  # fmt: skip


def seconds(function: Callable) -> float:
    """Return the seconds of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


@click.command()
@click.option("--rounds", default=5)
def main(rounds: int) -> None:
    """Print the table."""
    image = skimage.transform.resize(skimage.data.chelsea(), (SIDE, SIDE))
    x = np.float32(255 * image)[None]
    start = time.perf_counter()
    segments, counts = segment_inputs(x, "quickshift")
    print(f"segments: {counts[0]}, cut in {time.perf_counter() - start:.2f} s")
    ours = tfxai.create_analyzer(
        "lime", free(), segmenter=segments, n_samples=SAMPLES, regressor="ridge"
    )
    functions = {"tfxai": lambda: ours.analyze(x, 0)}
    theirs = package(x.astype(float), segments)
    if theirs is None:
        print("The package `lime` is not installed: python -m pip install lime")
    else:
        functions["lime"] = theirs
    for function in functions.values():
        function()
    turns = [{k: seconds(f) for k, f in functions.items()} for _ in range(rounds)]
    for name in functions:
        taken = statistics.median(t[name] for t in turns)
        times = statistics.median(t[name] / t["tfxai"] for t in turns)
        print(f"| {name} | {taken:.2f} s | {times:.1f} |")


if __name__ == "__main__":
    main()
