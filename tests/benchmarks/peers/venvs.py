"""The virtual environment of each peer, created at the first use."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import tfxai

DEFAULT = Path.home() / ".cache" / "tfxai-benchmarks"


class Unavailable(RuntimeError):
    """A peer cannot be installed, or did not respond; the message is one line."""


@dataclass(frozen=True)
class Peer:
    """How a peer is installed: `pip install` once for each list of arguments.

    module: its worker. python: the versions it takes, best first; () is any. venv: its
    folder's name, where two peers share one. packages: whose versions its rows name.
    """

    module: str
    installs: tuple[tuple[str, ...], ...] = ()
    python: tuple[str, ...] = ()
    venv: str = ""
    packages: tuple[str, ...] = ()


# At once, or the newest torchvision, which Zennit requires, brings a newer torch.
_TORCH = (("torch==2.13.0", "zennit", "captum", "scikit-learn"),)
_KERAS_2 = ("tensorflow-cpu==2.15.1", "numpy<2", "setuptools<81")
_KERAS_3 = "tensorflow-cpu==2.21.0"
_OLD = ("3.11", "3.10")
_TF = "tensorflow-cpu"

#: name -> how it is installed; where nothing is, it runs in this very environment.
PEERS: dict[str, Peer] = {
    "ours": Peer("ours", packages=("tfxai", _TF, "tensorflow", "keras")),
    "zennit": Peer("zennit", _TORCH, venv="torch", packages=("zennit", "torch")),
    "captum": Peer("captum", _TORCH, venv="torch", packages=("captum", "torch")),
    "innvestigate": Peer(
        "innvestigate",
        (
            ("tensorflow-cpu==2.14.1", "numpy<2", "setuptools<81", "scipy"),
            ("matplotlib", "pillow", "tqdm", "future", "scikit-image", "numpy<2"),
            ("--no-deps", "innvestigate==2.1.2"),  # requires the larger TensorFlow
        ),
        _OLD,
        packages=("innvestigate", _TF),
    ),
    "xplique": Peer(
        "xplique",
        (
            ("tensorflow-cpu==2.20.0", "tensorflow-probability<=0.25.0", "deprecated"),
            ("einops", "matplotlib", "opencv-python-headless", "scikit-image<=0.25.2"),
            ("scikit-learn<=1.7.2", "scipy<=1.15.3"),
            ("--no-deps", "xplique", "tf-keras==2.20.1"),  # require TensorFlow with GPU
        ),
        _OLD,
        packages=("xplique", _TF, "keras"),
    ),
    "tf_keras_vis": Peer(
        "tf_keras_vis",
        ((*_KERAS_2, "tf-keras-vis"),),
        _OLD,
        packages=("tf-keras-vis", _TF),
    ),
    "tf_explain": Peer(
        "tf_explain",
        ((*_KERAS_2, "opencv-python-headless<4.12"), ("--no-deps", "tf-explain")),
        _OLD,
        packages=("tf-explain", _TF),
    ),
    "lime": Peer("lime", ((_KERAS_3, "lime"),), packages=("lime", _TF, "keras")),
    "shap": Peer("shap", ((_KERAS_3, "shap"),), packages=("shap", _TF, "keras")),
    # No package: its formula, beside our own packages.
    "leg": Peer("leg", packages=("cvxpy", "clarabel")),
}


def interpreter(versions: tuple[str, ...]) -> str:
    """Return a Python of one of these versions, or raise Unavailable."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    if not versions or here in versions:
        return sys.executable
    for version in versions:
        found = shutil.which(f"python{version}")
        if found:
            return found
    raise Unavailable(f"needs Python {' or '.join(versions)}, and there is none here")


def environment(name: str, peer: Peer, folder: Path) -> str:
    """The path of the peer's Python, with all that it needs; raises Unavailable.

    What was installed stands in a file of the environment: another list makes it anew.
    """
    if not peer.installs:
        return sys.executable
    place = folder / "venvs" / (peer.venv or name)
    python, record = place / "bin" / "python", place / "installed.json"
    wanted = json.dumps(peer.installs)
    if record.exists() and record.read_text() == wanted:
        return str(python)
    base = interpreter(peer.python)
    shutil.rmtree(place, ignore_errors=True)
    _run(base, "-m", "venv", str(place))
    for arguments in peer.installs:
        _run(str(python), "-m", "pip", "install", "--quiet", *arguments)
    record.write_text(wanted)
    return str(python)


#: Prints the versions of the packages that it is given and that are installed.
_VERSIONS = """
import sys
from importlib.metadata import PackageNotFoundError, version
for name in sys.argv[1:]:
    try:
        print(name, version(name))
    except PackageNotFoundError:
        pass
"""


def versions(python: str, peer: Peer) -> str:
    """What a peer's Python has, as "zennit 0.5.1, torch 2.13.0"; raises Unavailable."""
    found = _run(python, "-c", _VERSIONS, *peer.packages).split("\n")
    if peer.module == "ours" and not any(v.startswith("tfxai ") for v in found):
        found.insert(0, f"tfxai {tfxai.__version__}")  # a checkout, not installed
    return ", ".join(v for v in found if v)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Unavailable(said(done.stderr or done.stdout))
    return done.stdout


def said(text: str) -> str:
    """The line of a program's complaint that says most: its last error."""
    lines = [s.strip() for s in text.splitlines() if s.strip()]
    errors = [s for s in lines if "error" in s.lower()]
    return (errors or lines or ["it failed and said nothing"])[-1][:160]
