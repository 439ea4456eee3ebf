"""Arguments of the commands: checked, and turned into a model, a method and options.

TensorFlow takes seconds to import. Therefore each function imports what it needs.
"""

import json
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfxai.base.errors import OptionError, TfxaiWarning
from tfxai.base.text import check_depth
from tfxai.cli.terminal import print_message

#: Parameters of click that are not flags of these names.
UNFLAGGED = {"model_name", "options", "paths", "targets", "texts"}
#: The methods that `tfxai compare` compares by default.
METHODS = "gradient,lrp.epsilon,sglrp,random,edges"
#: Options of methods that can be given by their own flag or by --option.
FLAG_OR_OPTION = {"low", "high", "relu", "contrast"}
#: Flags that are for --text alone.
OF_TEXTS = ("tokens", "answer", "tokenizer")


def check_explain(given: Mapping[str, Any]) -> None:
    """Check the arguments of `tfxai explain` before TensorFlow is imported.

    Raises:
        OptionError: Two arguments exclude each other, or one is missing.
    """
    if given["targets"] and given["top"]:
        raise OptionError(
            "--target and --top are both given.",
            "one of the two: --target names the classes, --top takes the highest",
        )
    check_bounds(given)
    _method_options(given)
    for name in OF_TEXTS:
        if given.get(name) is not None and not given.get("texts"):
            raise OptionError(
                f"--{name} is given without --text.",
                "a text, which it belongs to",
                "--text 'a text'",
            )
    if not given["paths"] and not given["explain_rules"] and not given.get("texts"):
        raise OptionError(
            "There is nothing to explain.",
            "images, or folders of images",
            "tfxai explain --model net.keras image.jpg",
        )


def check_bounds(given: Mapping[str, Any]) -> None:
    """Raise OptionError if only one of --low and --high is given."""
    if (given["low"] is None) != (given["high"] is None):
        raise OptionError(
            "Only one of --low and --high is given.",
            "both, or none",
            "--low -1 --high 1",
        )


def build_analyzer(given: Mapping[str, Any]) -> Any:
    """Return the analyzer for the given method, model, preprocessing and options."""
    from tfxai import api

    name, model, options = resolve(given)
    return printed_warnings(lambda: api.create_analyzer(name, model, **options))


def resolve(
    given: Mapping[str, Any], images: bool = True
) -> tuple[str, Any, dict[str, Any]]:
    """Return the method, the wrapped model and the options of the method.

    Args:
        given: The arguments of the command.
        images: The data are images with pixels 0 to 255. Then methods that need the
            bounds of the input get them; the bounds of other data are not known.

    Raises:
        OptionError: The method has no such option.
        UnknownNameError: There is no such method.
    """
    from tfxai.base.validation import check_options
    from tfxai.core import registry

    row = registry.lookup(given["method"])
    options = _method_options(given)
    check_options(f"The method {row.name!r}", options, row.options)
    model = load_model(given, lambda: load_preprocess(given), images)
    if (
        images
        and _needs_bounds(row)
        and not {*("low", "high", "input_layer_rule")} & set(options)
    ):
        options |= _image_bounds(model)
    return row.name, model, options


def methods_with_bounds(
    names: Sequence[str], model: Any
) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return name -> (name, options) with the same `low` and `high` as in `resolve`.

    Args:
        names: Methods or control explanations.
        model: The wrapped model.
    """
    from tfxai.core import registry
    from tfxai.core.control_maps import CONTROLS

    methods = [n for n in names if n not in CONTROLS]
    bounded = {n for n in methods if _needs_bounds(registry.lookup(n))}
    bounds = _image_bounds(model) if bounded else {}
    return {n: (n, bounds if n in bounded else {}) for n in names}


def load_model(
    given: Mapping[str, Any],
    find_preprocess: Callable[[], Callable[..., Any] | None],
    images: bool = True,
) -> Any:
    """Return the wrapped model with its preprocessing.

    Args:
        given: The arguments of the command.
        find_preprocess: Returns the preprocessing. It is called after the model has
            been loaded, so that errors of the model come first.
        images: Check that the preprocessing accepts images.
    """
    from tfxai.cli import preprocessing
    from tfxai.core import model
    from tfxai.io import networks

    network = networks.load(given["model_name"], safe_mode=not given["unsafe"])
    wrapped = model.wrap(network, find_preprocess())
    if images:
        preprocessing.check_preprocess(wrapped)
    return wrapped


def load_preprocess(given: Mapping[str, Any]) -> Callable[..., Any] | None:
    """Return the function of --preprocess or --scale, or that of the named network."""
    from tfxai.io import networks

    name, numbers = given["preprocess"], _scaling(given)
    if name is not None and numbers is not None:
        raise OptionError(
            "--preprocess is given with --scale, --mean, --std or --bgr.",
            "one of the two",
            "--scale 1/255",
        )
    if numbers is not None:
        return numbers
    if name is None:
        name = networks.own_preprocess(given["model_name"])
        if name is not None:
            print_message(f"preprocess: {name}, the network's own")
    return None if name is None else networks.preprocess(name)


def _scaling(given: Mapping[str, Any]) -> Callable[..., Any] | None:
    """Return the preprocessing of --scale, --mean, --std and --bgr, or None."""
    from tfxai.io.scaling import Scaling, read_number, read_numbers

    known: dict[str, Any] = {}
    if given.get("scale") is not None:
        known["scale"] = read_number("--scale", given["scale"])
    for name in ("mean", "std"):
        if given.get(name) is not None:
            known[name] = read_numbers(f"--{name}", given[name])
    if given.get("bgr"):
        known["bgr"] = True
    return Scaling(**known) if known else None


def make_folder(out: Path) -> None:
    """Create the folder of --out; raise OptionError if that fails."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"--out {out}: {error.strerror}.", "a folder") from error


def check_pages(pages: Mapping[str, Path | None]) -> None:
    """Check that the files of --html and --contact-sheet can be written."""
    for name, suffixes in (("html", (".html", ".htm")), ("contact_sheet", (".png",))):
        path = pages[name]
        if path is not None:
            check_output_file(f"--{name.replace('_', '-')}", path, suffixes)


def check_output_file(option: str, path: Path, suffixes: Sequence[str] = ()) -> None:
    """Check that an output file can be written, and create its folder.

    Args:
        option: The flag that names the file.
        path: The file.
        suffixes: The valid suffixes, the usual one first. Empty: any suffix.

    Raises:
        OptionError: The file cannot be written, or has another suffix.
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
            "a file in a folder with free space and write permission",
        ) from error


def printed_warnings(work: Callable[[], Any]) -> Any:
    """Return `work()`, and print its warnings as messages."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", TfxaiWarning)
        result = work()
    for warning in caught:
        print_message(str(warning.message), "yellow")
    return result


def find_images(paths: Sequence[str]) -> list[Path]:
    """Return the image files of paths and folders; print the names of skipped files."""
    from tfxai.io import images

    found: list[Path] = printed_warnings(lambda: images.find(paths))
    return found


def without_own_output(found: list[Path], sheet: Path | None = None) -> list[Path]:
    """Return the images without what an earlier run has written.

    These are overlays (a .png beside its .npz), and the picture of --contact-sheet.
    """
    from tfxai.api import methods

    ends = tuple(f".{row.name}.png" for row in methods())
    own = [p for p in found if p.name.endswith(ends) and p.with_suffix(".npz").exists()]
    own += [p for p in found if sheet is not None and p.resolve() == sheet.resolve()]
    if own:
        print_message(f"left out: {len(own)} image(s) that tfxai has written")
    return [p for p in found if p not in own]


def _value(text: str) -> Any:
    """Return JSON as its value, and any other text as it is."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _method_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of the method, from --option NAME=VALUE and from flags.

    Raise OptionError for a name that is a flag of the command.
    """
    options: dict[str, Any] = {}
    for text in given["options"]:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise OptionError(f"--option {text}", "NAME=VALUE", "--option epsilon=0.1")
        name = name.replace("-", "_")
        if name in {"target", *given} - UNFLAGGED - FLAG_OR_OPTION:
            flag = f"--{name.replace('_', '-')}"
            line = flag if isinstance(given.get(name), bool) else f"{flag} VALUE"
            raise OptionError(f"--option {name}=...", f"the command's own {flag}", line)
        try:
            check_depth(value)
        except ValueError as error:
            raise OptionError(f"--option {name}: {error}.", "NAME=VALUE") from error
        options[name] = _value(value)
    if given["relu"]:
        options["relu"] = True
    if given.get("contrast") is not None and not given.get("texts"):
        options["contrast"] = _value(given["contrast"])  # of LEG, a class
    if given["low"] is not None:
        options |= {"low": given["low"], "high": given["high"]}
    return options


def _needs_bounds(row: Any) -> bool:
    """Return whether a method has options for the bounds of its input."""
    return {"low", "high"} <= set(row.options)


def _image_bounds(model: Any) -> dict[str, Any]:
    """Return `low` and `high` of preprocessed images, and print them."""
    from tfxai.cli import preprocessing
    from tfxai.core.inputs import image_shape

    channels = image_shape(model)[2]
    low, high = preprocessing.bounds(model.preprocess, channels)
    why = "[0, 255] as preprocessed" if model.preprocess else "no --preprocess"
    print_message(f"bounds: low {_bound_text(low)}, high {_bound_text(high)} ({why})")
    return {"low": low, "high": high}


def _bound_text(bound: Any) -> str:
    """Return a bound as text: one number, or one per channel."""
    values = bound if isinstance(bound, list) else [bound]
    return " ".join(f"{v:.4g}" for v in values)
