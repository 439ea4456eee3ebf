"""Two devices in a fresh process: two GPUs, two halves of one, or two logical CPUs."""

import tensorflow as tf

#: MB of a GPU that each half gets.
MEMORY = 2048


def split() -> tuple[str, str]:
    """Return the names of two devices, "GPU:0" or "CPU:0"; call it first.

    On GPUs it also makes operations deterministic and switches TF32 off: the tests
    compare the values of two devices.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        tf.config.experimental.enable_op_determinism()
        tf.config.experimental.enable_tensor_float_32_execution(False)
    if len(gpus) < 2:
        (device, *_) = gpus or tf.config.list_physical_devices("CPU")
        half = tf.config.LogicalDeviceConfiguration(MEMORY if gpus else None)
        tf.config.set_logical_device_configuration(device, [half, half])
    found = tf.config.list_logical_devices("GPU" if gpus else "CPU")
    first, second, *_ = (d.name.removeprefix("/device:") for d in found)
    return first, second
