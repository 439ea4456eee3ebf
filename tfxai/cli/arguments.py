"""What was typed after `tfxai`: checked, and made into a model, a method and options.

TensorFlow takes seconds to import, so that each function imports what it needs itself.
"""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfxai.base.errors import OptionError
from tfxai.cli.terminal import say

#: What a command has no flag for, though click calls it so; and options of methods
#: that may be given by their flag or by --option.
UNFLAGGED = {"model_name", "options", "paths", "targets"}
EITHER = {"low", "high", "relu"}


def check(given: Mapping[str, Any]) -> None:
    """What can be said before TensorFlow is imported."""
    if given["targets"] and given["top"]:
        raise OptionError(
            "--target names the classes, and --top finds them.", "one of the two"
        )
    check_bounds(given)
    _options(given)
    if not given["paths"] and not given["explain_rules"]:
        raise OptionError(
            "There is nothing to explain.",
            "pictures, or folders of pictures",
            "tfxai explain --model net.keras picture.jpg",
        )


def check_bounds(given: Mapping[str, Any]) -> None:
    """Are --low and --high both there, or neither?"""
    if (given["low"] is None) != (given["high"] is None):
        raise OptionError(
            "--low or --high alone.", "both, or none", "--low -1 --high 1"
        )


def analyzer(given: Mapping[str, Any]) -> Any:
    """The model, its preprocessing and its bounds, as the method's analyzer."""
    from tfxai import api

    name, model, options = asked(given)
    return api.create_analyzer(name, model, **options)


def asked(
    given: Mapping[str, Any], pictures: bool = True
) -> tuple[str, Any, dict[str, Any]]:
    """The method's name, the model with its preprocessing, and the options.

    pictures: are the data pictures, of pixels 0 to 255? Nobody knows of other data.
    """
    from tfxai.base.validation import check_options
    from tfxai.core import registry

    row = registry.lookup(given["method"])
    options = _options(given)
    check_options(f"The analyzer {row.name!r}", options, row.options)
    made = wrapped(given, lambda: preprocess(given), pictures)
    if pictures and _asks(row) and not {"low", "high"} & set(options):
        options |= _bounds(made)
    return row.name, made, options


def bounded(names: Sequence[str], made: Any) -> dict[str, tuple[str, dict[str, Any]]]:
    """name -> (name, options): with `low` and `high` as `asked` has them, said once."""
    from tfxai.core import registry
    from tfxai.core.control_maps import KNOW_NOTHING

    asking = {n for n in names if n not in KNOW_NOTHING and _asks(registry.lookup(n))}
    bounds = _bounds(made) if asking else {}
    return {n: (n, bounds if n in asking else {}) for n in names}


def wrapped(
    given: Mapping[str, Any],
    function: Callable[[], Callable | None],
    pictures: bool = True,
) -> Any:
    """The model with its preprocessing.

    function: gives the preprocessing; asked when the model is read, and not before.
    pictures: is it refused where it does not take pictures?
    """
    from tfxai.cli import explain
    from tfxai.core import model
    from tfxai.io import networks

    network = networks.load(given["model_name"], safe_mode=not given["unsafe"])
    made = model.wrap(network, function())
    if pictures:
        explain.check_preprocess(made)
    return made


def _options(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the method: NAME=VALUE, and those with a flag of their own.

    What the command has a flag for is none of the method's. Raises OptionError.
    """
    options: dict[str, Any] = {}
    for text in given["options"]:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise OptionError(f"--option {text}", "NAME=VALUE", "--option epsilon=0.1")
        name = name.replace("-", "_")
        if name in {"target", *given} - UNFLAGGED - EITHER:
            flag = f"--{name.replace('_', '-')}"
            line = flag if isinstance(given.get(name), bool) else f"{flag} VALUE"
            raise OptionError(f"--option {name}=...", f"the command's own {flag}", line)
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = value
    if given["relu"]:
        options["relu"] = True
    if given["low"] is not None:
        options |= {"low": given["low"], "high": given["high"]}
    return options


def preprocess(given: Mapping[str, Any]) -> Callable | None:
    """The function that --preprocess names, or the network's own."""
    from tfxai.io import networks

    name = given["preprocess"]
    if name is None:
        name = networks.own_preprocess(given["model_name"])
        if name is not None:
            say(f"preprocess: {name}, the network's own")
    return None if name is None else networks.preprocess(name)


def _asks(row: Any) -> bool:
    """Does a method ask for the bounds of its input?"""
    return {"low", "high"} <= set(row.options)


def _bounds(made: Any) -> dict[str, Any]:
    """`low` and `high` of pictures, for a method that asks for them; and says so."""
    from tfxai.cli import explain
    from tfxai.core.inputs import picture_shape

    channels = picture_shape(made)[2]
    low, high = explain.bounds(made.preprocess, channels)
    why = "[0, 255] as preprocessed" if made.preprocess else "no --preprocess"
    say(f"bounds: low {_short(low)}, high {_short(high)} ({why})")
    return {"low": low, "high": high}


def _short(bound: Any) -> str:
    values = bound if isinstance(bound, list) else [bound]
    return " ".join(f"{v:.4g}" for v in values)


def folder(out: Path) -> None:
    """Make the folder --out. Raises OptionError."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"--out {out}: {error.strerror}.", "a folder") from error


def file(option: str, path: Path, suffixes: Sequence[str] = ()) -> None:
    """Can the file be written that an option names? Makes its folder.

    suffixes: what its name may end in, of which the first is shown; none: anything.
    Raises OptionError.
    """
    if suffixes and path.suffix not in suffixes:
        line = f"{option} {path.stem}{suffixes[0]}"
        raise OptionError(
            f"{option} {path}.", f"a file name that ends in {suffixes[0]}", line
        )
    if path.is_dir():
        raise OptionError(f"{option} {path}: it is a folder.", "the file to write")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise OptionError(
            f"{option} {path}: {error.strerror}.",
            "a file in a folder with room, and the right to write there",
        ) from error


def not_ours(found: list[Path]) -> list[Path]:
    """Without the overlays of an earlier run: a .png beside its .npz."""
    from tfxai.api import methods

    ends = tuple(f".{row.name}.png" for row in methods())
    ours = [
        p for p in found if p.name.endswith(ends) and p.with_suffix(".npz").exists()
    ]
    if ours:
        say(f"left out: {len(ours)} picture(s) that tfxai wrote")
    return [p for p in found if p not in ours]
