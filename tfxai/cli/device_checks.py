"""What `tfxai doctor` computes: kernels, maps and speed on the devices, as findings.

The network is that of the demo, untrained, on images of noise, so that no download and
no training is needed.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfxai.base.errors import first_line
from tfxai.cli.demo.network import build
from tfxai.cli.diagnosis import Finding, names, pair
from tfxai.core.analyzer import Analyzer
from tfxai.core.registry import create_analyzer

#: family -> the method that is compared between two devices, and its options.
COMPARED: dict[str, tuple[str, dict[str, Any]]] = {
    "gradient": ("gradient", {}),
    "path": ("integrated_gradients", {"n_steps": 8}),
    "noise": ("smoothgrad", {"n_samples": 8}),
    "cam": ("gradcam", {}),
    "relevance": ("sglrp", {"low": 0.0, "high": 1.0}),
    "sampling": ("lime", {"n_samples": 200}),
    "perturbation": ("meaningful_perturbation", {"n_iterations": 5, "l1": 0.0}),
}
#: method -> its options and the number of images of a batch, for the speed.
TIMED: dict[str, tuple[dict[str, Any], int]] = {
    "gradient": ({}, 32),
    "lrp.epsilon": ({}, 32),
    "sglrp": ({"low": 0.0, "high": 1.0}, 32),
    "lime": ({}, 2),
}
LIMIT = 1e-4  # the largest difference between two devices, as a share of the maximum
SECONDS = 1.0  # how long a speed is measured
SAMPLES = 2


# -- kernels -------------------------------------------------------------------------


def _product(x: tf.Tensor) -> tf.Tensor:
    return tf.linalg.matmul(x, x, transpose_b=True)


def _convolution(x: tf.Tensor) -> tf.Tensor:
    """A convolution and its gradient, for which a GPU needs cuDNN."""
    image, kernel = tf.reshape(x, (1, 16, 16, 1)), tf.reshape(x[0, :9], (3, 3, 1, 1))
    with tf.GradientTape() as tape:
        tape.watch(image)
        y = tf.nn.conv2d(image, kernel, 1, "SAME")
    return tape.gradient(y, image)


def _xla(x: tf.Tensor) -> tf.Tensor:
    """Powers and logarithms, for which XLA on a GPU needs libdevice and ptxas."""
    function = tf.function(
        lambda v: tf.math.log(tf.pow(tf.abs(v) + 1, 1.5)), jit_compile=True
    )
    return function(x)


#: name -> (a function of TensorFlow, its values in NumPy float64).
KERNELS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "product": (_product, lambda x: x @ x.T),
    "convolution": (_convolution, lambda x: _transposed(x)),
    "compiled by XLA": (_xla, lambda x: 1.5 * np.log(abs(x) + 1)),
}


def _transposed(x: Any) -> Any:
    """The gradient of the sum of a 3 x 3 convolution of a 16 x 16 image, by sums."""
    kernel, result = x[0, :9].reshape(3, 3), np.zeros((16, 16))
    for i, j in np.ndindex(16, 16):
        for a, b in np.ndindex(3, 3):
            if 0 <= i + a - 1 < 16 and 0 <= j + b - 1 < 16:
                result[i + a - 1, j + b - 1] += kernel[a, b]
    return result.reshape(1, 16, 16, 1)


def kernels() -> list[Finding]:
    """Return whether kernels run on the devices: the largest error of their values."""
    x = np.random.default_rng(0).uniform(-1, 1, (16, 16)).astype("float32")
    where = names("GPU") or names("CPU")[-1:]
    found = []
    for device in where:
        for name, (function, wanted) in KERNELS.items():
            title = f"{name} on {device}"
            try:
                with _exact(), tf.device(f"/{device}"):
                    y = function(tf.constant(x))
                gap = largest(wanted(x.astype(float)), y.numpy())
                ran = str(y.device).endswith(f"/device:{device}")
                ok = ran and gap <= LIMIT
                note = f"at most {LIMIT:g}" if ran else f"it ran on {y.device}"
                found.append(Finding("kernels", title, gap, ok, note))
            except Exception as error:  # a library that is missing raises any type
                note = f"{type(error).__name__}: {first_line(error)}"
                found.append(Finding("kernels", title, "failed", False, note))
    return found


@contextmanager
def _exact() -> Iterator[None]:
    """Run operations on the device that is named or raise, and without TF32."""
    before = tf.config.get_soft_device_placement()
    tf.config.set_soft_device_placement(False)
    try:
        with tf32(False):
            yield
    finally:
        tf.config.set_soft_device_placement(before)


@contextmanager
def tf32(wanted: bool) -> Iterator[None]:
    """Let a GPU multiply in TF32, or not."""
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(wanted)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)


def largest(a: Any, b: Any) -> float:
    """Return the largest difference of two arrays as a share of the maximum of `a`.

    It is NaN, which is below no limit, where `a` is zero.
    """
    maximum = np.abs(a).max()
    return float(np.abs(a - b).max() / maximum) if maximum > 0 else float("nan")


# -- maps ----------------------------------------------------------------------------


def images(count: int) -> Any:
    """Return images (count, 64, 64, 3) of noise in [0, 1]."""
    drawn = np.random.default_rng(1).uniform(0, 1, (count, 64, 64, 3))
    return drawn.astype("float32")


def maps(advance: Callable[[int, str], None]) -> list[Finding]:
    """Return the largest difference of the maps of two devices, per family.

    With a GPU the rows with TF32 are information: its products have ten binary digits.

    Args:
        advance: Called with 1 and the name of each method, before it is computed.
    """
    first, second = pair()
    models = {device: _network(device) for device in dict.fromkeys((first, second))}
    found = []
    for name, options in COMPARED.values():
        advance(1, name)
        try:
            found += _difference(name, options, models, first, second)
        except Exception as error:  # what fails is a line of the report
            note = f"{type(error).__name__}: {first_line(error)}"
            found.append(Finding("maps", name, "failed", False, note))
    return [*found, _by_xla(models[second], second)]


def _by_xla(model: keras.Model, device: str) -> Finding:
    """The difference of a map with and without XLA on a device."""
    name, options = COMPARED["relevance"]
    title = f"{name} compiled by XLA"
    try:
        wanted = _map(name, options, model, device)
        found = _map(name, {**options, "jit_compile": True}, model, device)
    except Exception as error:  # of a GPU without ptxas or libdevice
        note = f"{type(error).__name__}: {first_line(error)}"
        return Finding("maps", title, "failed", False, note)
    gap = largest(wanted, found)
    return Finding("maps", title, gap, gap <= LIMIT, f"{device}, at most {LIMIT:g}")


def _network(device: str) -> keras.Model:
    """Return the demo network with its variables on a device, always of one value."""
    with tf.device(f"/{device}"):
        model = build()
        rng = np.random.default_rng(2)
        for v in model.weights:
            scale = np.sqrt(2 / max(1, np.prod(v.shape[:-1])))
            v.assign(rng.normal(0, scale, v.shape).astype("float32"))
    return model


def _difference(
    name: str,
    options: dict[str, Any],
    models: dict[str, keras.Model],
    first: str,
    second: str,
) -> list[Finding]:
    """The differences of one method: TF32 off, and on where the second is a GPU."""
    where = f"{first} and {second}"
    wanted = _map(name, options, models[first], first)
    found = _map(name, options, models[second], second)
    gap = largest(wanted, found)
    findings = [Finding("maps", name, gap, gap <= LIMIT, f"{where}, at most {LIMIT:g}")]
    if second.startswith("GPU"):
        rough = _map(name, options, models[second], second, rough=True)
        note = f"{where} with TF32, no limit"
        findings.append(Finding("maps", name, largest(wanted, rough), None, note))
    return findings


def _map(
    name: str,
    options: dict[str, Any],
    model: keras.Model,
    device: str,
    rough: bool = False,
) -> Any:
    """The relevance of the top class in float64, computed on a device."""
    with tf32(rough), tf.device(f"/{device}"):
        analyzer = create_analyzer(name, model, **options)
        e = analyzer.analyze(images(SAMPLES), progress=False)
    return np.asarray(e.relevance, float)


# -- speed ---------------------------------------------------------------------------


def speed(advance: Callable[[int, str], None]) -> list[Finding]:
    """Return images per second on the GPU, or on the CPU without one.

    Args:
        advance: Called with 1 and the name of each method, before it is computed.
    """
    device = pair()[1]
    model = _network(device)
    found = []
    for name, (options, count) in TIMED.items():
        advance(1, name)
        try:
            with tf.device(f"/{device}"):
                analyzer = create_analyzer(name, model, **options)
                rate = _rate(analyzer, images(count))
            note = f"images/s on {device}, batches of {count}"
            found.append(Finding("speed", name, rate, None, note))
        except Exception as error:  # what fails is a line of the report
            note = f"{type(error).__name__}: {first_line(error)}"
            found.append(Finding("speed", name, "failed", False, note))
    return found


def _rate(analyzer: Analyzer, x: Any) -> float:
    """Images per second after a first call, over about a second."""
    analyzer.analyze(x, progress=False)
    start, done = time.perf_counter(), 0
    while True:
        analyzer.analyze(x, progress=False)
        done += len(x)
        passed = time.perf_counter() - start
        if passed >= SECONDS:
            return done / passed
