"""What `tfxai doctor` reads: versions, devices and memory, as findings."""

import os
import platform
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import tensorflow as tf

from tfxai import __version__
from tfxai.base.environment import check_backend

PACKAGES = ("tensorflow", "tensorflow-cpu", "keras", "numpy")
SMI = ("name", "driver_version", "memory.total")


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        group: "versions", "devices", "memory", "kernels", "maps" or "speed".
        name: What was looked at.
        value: A text or a number.
        ok: True or False for a check; None for information.
        note: A limit, a unit or the cause of a failure.
    """

    group: str
    name: str
    value: str | float
    ok: bool | None = None
    note: str = ""


def versions() -> list[Finding]:
    """Return the versions of the system, of Python, of the packages and of CUDA."""
    check_backend()
    found = [
        Finding("versions", "system", f"{platform.system()} {platform.machine()}"),
        Finding("versions", "Python", platform.python_version()),
        Finding("versions", "tfxai", __version__),
    ]
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found.append(Finding("versions", name, version(name)))
    info = tf.sysconfig.get_build_info()
    for key in ("cuda_version", "cudnn_version"):
        if key in info:
            name = f"{key.partition('_')[0]} of TensorFlow"
            found.append(Finding("versions", name, str(info[key])))
    return found


def smi() -> list[str] | None:
    """Return "name, driver, memory" of the GPUs of the driver; None without it."""
    if shutil.which("nvidia-smi") is None:
        return None
    query = [f"--query-gpu={','.join(SMI)}", "--format=csv,noheader"]
    try:
        process = subprocess.run(
            ["nvidia-smi", *query], capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if process.returncode:
        return None
    return [line.strip() for line in process.stdout.splitlines() if line.strip()]


def split_cpu() -> None:
    """Make two logical CPUs, to compare them where there is no GPU.

    It has no effect once TensorFlow has used its devices.
    """
    if tf.config.list_physical_devices("GPU"):
        return
    cpu = tf.config.list_physical_devices("CPU")[0]
    try:
        two = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, two)
    except RuntimeError:  # the devices are in use: CPU:0 is compared with itself
        return


def names(kind: str) -> list[str]:
    """Return the logical devices of a kind, such as "GPU:0"."""
    found = tf.config.list_logical_devices(kind)
    return [d.name.removeprefix("/device:") for d in found]


def pair() -> tuple[str, str]:
    """Return the two devices that are compared: CPU and GPU, or two CPUs."""
    gpus, cpus = names("GPU"), names("CPU")
    return cpus[0], gpus[0] if gpus else cpus[-1]


def devices(need_gpu: bool = False) -> list[Finding]:
    """Return the devices, and whether TensorFlow sees the GPUs of the driver.

    Args:
        need_gpu: Without a GPU the finding is a failure.
    """
    group, listed = "devices", smi()
    gpus = tf.config.list_physical_devices("GPU")
    found = [Finding(group, "CPU", f"{_usable_cores()} cores")]
    for gpu in gpus:
        detail = tf.config.experimental.get_device_details(gpu)
        capability = ".".join(map(str, detail.get("compute_capability", ())))
        name = gpu.name.removeprefix("/physical_device:")
        text = f"{detail.get('device_name', 'unknown')}, compute {capability or '?'}"
        found.append(Finding(group, name, text))
    for line in listed or []:
        found.append(Finding(group, "driver", line))
    text = f"{len(gpus)}"
    if len(gpus) < len(listed or []):
        cause = f'the driver lists {len(listed or [])}; pip install "tfxai[gpu]"'
        found.append(Finding(group, "GPUs of TensorFlow", text, False, cause))
    elif need_gpu and not gpus:
        note = "--gpu needs one: docker run --gpus all"
        found.append(Finding(group, "GPUs of TensorFlow", text, False, note))
    else:
        found.append(Finding(group, "GPUs of TensorFlow", text, True if gpus else None))
    return found


def _usable_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory() -> list[Finding]:
    """Return the memory of the machine, the container's limit, and that of the GPUs."""
    found = []
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        found.append(Finding("memory", "machine", _gib(total)))
    limit = "/sys/fs/cgroup/memory.max"
    if os.path.exists(limit):
        with open(limit, encoding="ascii") as file:
            text = file.read().strip()
        if text.isdigit():
            found.append(Finding("memory", "limit of the container", _gib(int(text))))
    for name in names("GPU"):
        used = tf.config.experimental.get_memory_info(name)
        growth = os.environ.get("TF_FORCE_GPU_ALLOW_GROWTH", "false")
        note = f"peak of this process; memory growth {growth}"
        found.append(Finding("memory", name, _gib(used["peak"]), None, note))
    return found


def _gib(n: int) -> str:
    """Return a number of bytes as text."""
    return f"{n / 2**30:.2f} GiB"
