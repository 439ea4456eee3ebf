"""The command `tfxai` and its subcommands.

TensorFlow takes seconds to import. Therefore each command imports what it needs.
"""

import os
import warnings
from itertools import groupby, zip_longest
from pathlib import Path
from typing import Any

import click

from tfxai.base.errors import OptionError, TfxaiError
from tfxai.cli import arguments, quiet
from tfxai.cli.terminal import format_warning, print_line, print_message, print_table


class Commands(click.Group):
    """A group that prints errors of tfxai as messages, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        plain = warnings.formatwarning
        try:
            with warnings.catch_warnings():
                warnings.formatwarning = format_warning
                return super().invoke(ctx)
        except TfxaiError as error:
            print_message(str(error), "red")
            print_message("\n".join(error.__notes__))
            ctx.exit(2)
        except OSError as error:  # of a path that was typed: too long, not permitted
            print_message(f"{error.filename or ''!r}: {error.strerror}", "red")
            ctx.exit(2)
        except KeyboardInterrupt:
            again = "; the same command computes the rest"
            resumed = ctx.invoked_subcommand == "run"
            print_message("stopped" + again * resumed, "red")
            ctx.exit(130)
        finally:
            warnings.formatwarning = plain


def _version(ctx: click.Context, param: click.Parameter, given: bool) -> None:
    """Print the version and exit."""
    if given:
        from tfxai import __version__

        click.echo(f"tfxai {__version__}")
        ctx.exit()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version,
    help="Show the version and exit.",
)  # fmt: skip
def main() -> None:
    """Explain the outputs of Keras and TensorFlow models."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # A GPU is shared: TensorFlow takes the memory that it needs, not all of it.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")


def preprocessing_options(command: Any) -> Any:
    """Add the options that state a preprocessing of images by numbers."""
    for option in (
        click.option("--bgr", is_flag=True, help="Reverse the channels: RGB to BGR."),
        click.option(
            "--std", metavar="NUMBERS", help="Then divide by one number, or one each."
        ),
        click.option(
            "--mean", metavar="NUMBERS",
            help="Then subtract one number, or one per channel: 0.485,0.456,0.406.",
        ),
        click.option(
            "--scale", metavar="NUMBER",
            help="Multiply the pixels 0 to 255 by 1/255, in place of --preprocess.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


@main.command()
@click.option(
    "--model", "model_name", required=True, metavar="NET",
    help="A .keras or .h5 file, a SavedModel folder, or a name of keras.applications.",
)  # fmt: skip
@click.option(
    "--method",
    default="sglrp",
    show_default=True,
    help='A name that "tfxai methods" lists.',
)
@click.option(
    "--preprocess", metavar="NAME",
    help="A module of keras.applications (vgg16), package.module:function, or "
    "file.py:function. Networks of keras.applications have their own.",
)  # fmt: skip
@preprocessing_options
@click.option(
    "--labels", metavar="FILE",
    help="The class names: JSON, CSV or text, with or without the index of each.",
)  # fmt: skip
@click.option(
    "--target", "targets", multiple=True, metavar="CLASS",
    help="A label or an index of the class to explain; can be repeated.",
)  # fmt: skip
@click.option(
    "--top", type=click.IntRange(1), metavar="N",
    help="Explain the N highest classes of each image.  [default: 1]",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("."),
    metavar="DIR", help="The output folder.  [default: the current folder]",
)  # fmt: skip
@click.option(
    "--low", type=float,
    help="The smallest value of the network's input, for methods with bounds.",
)  # fmt: skip
@click.option(
    "--high", type=float,
    help="The largest value of the network's input, for methods with bounds.",
)  # fmt: skip
@click.option("--relu", is_flag=True, help="Keep only positive relevance.")
@click.option(
    "--option", "options", multiple=True, metavar="NAME=VALUE",
    help="An option of the method, can be repeated. VALUE is JSON, or else text.",
)  # fmt: skip
@click.option(
    "--batch-size", type=click.IntRange(1), default=8, show_default=True, metavar="N",
    help="The number of images per batch (times classes).",
)  # fmt: skip
@click.option("--explain-rules", is_flag=True, help="Print the rule of every layer.")
@click.option("--unsafe", is_flag=True, help="Run Python code stored in the model.")
@click.option(
    "--text", "texts", multiple=True, metavar="TEXT",
    help="Explain a text in place of files, or what a language model writes after it; "
    "can be repeated. Needs --tokenizer, or a network with its own.",
)  # fmt: skip
@click.option(
    "--tokens", type=click.IntRange(1), metavar="N",
    help="Of a language model: how many tokens it writes.  [default: 3]",
)  # fmt: skip
@click.option(
    "--answer", metavar="TEXT",
    help="Of a language model: the text to explain, in place of what it writes.",
)  # fmt: skip
@click.option(
    "--contrast", metavar="TOKEN",
    help="Of a language model: why the answer, rather than this token. Of leg: why the "
    "class, rather than this one.",
)  # fmt: skip
@click.option(
    "--tokenizer", metavar="FILE",
    help="For --text: a vocabulary with one token per line, a tokenizer.json, or "
    "file.py:function that returns (ids, tokens) of a list of texts.",
)  # fmt: skip
@click.option(
    "--html", type=click.Path(path_type=Path), metavar="PAGE.html",
    help="Also write one page with all images; each leads to its figure.",
)  # fmt: skip
@click.option(
    "--contact-sheet", type=click.Path(path_type=Path), metavar="FILE.png",
    help="Also write one picture with all images.",
)  # fmt: skip
@click.argument("paths", nargs=-1, metavar="IMAGE_OR_FOLDER|TABLE.csv...")
def explain(**given: Any) -> None:
    """Explain images, tables or texts: which parts count for a class or against it.

    For every image two files are written. NAME.METHOD.png shows the image and one
    overlay per class. NAME.METHOD.npz contains the relevance; read it with tfxai.load.
    A table is a .csv or .tsv file with a header; its first rows are in one figure.
    """
    arguments.check_explain(given)
    quiet.import_tensorflow()
    from tfxai.cli import language, rows

    pages = {name: given[name] for name in ("html", "contact_sheet")}
    if rows.is_rows(given):
        rows.check_no_pages(pages)
        language.explain_texts(given)
        return
    from tfxai.base.progress import bar
    from tfxai.cli import explain as work
    from tfxai.io import networks
    from tfxai.viz.sheet import Sheet

    arguments.check_pages(pages)

    found = arguments.find_images(given["paths"])
    found = arguments.without_own_output(found, given["contact_sheet"])
    labels = [] if given["labels"] is None else networks.labels(given["labels"])
    targets = [networks.find_label(t, labels) for t in given["targets"]]
    analyzer = arguments.build_analyzer(given)
    if given["explain_rules"]:
        _print_rules(analyzer)
    if not found:
        return
    arguments.make_folder(given["out"])
    job = work.ExplainJob(
        analyzer,
        given["out"],
        list(dict.fromkeys(targets)),
        given["top"] or 1,
        labels,
        given["batch_size"],
        Sheet(f"{analyzer.method} · {given['model_name']}")
        if any(pages.values())
        else None,
    )
    with bar("explaining", len(found), long=len(found) > 1) as advance:
        result = work.explain_files(job, found, advance)
    if job.sheet is not None:
        for path in work.write_sheets(job.sheet, pages):
            print_line(f"all images: {path.resolve()}")
    _print_result(result, given["out"])


@main.command()
@click.option(
    "--model", "model_name", required=True, metavar="NET", help="See explain."
)
@click.option(
    "--methods", default=arguments.METHODS, show_default=True,
    help="Names, separated by commas. random and edges are control explanations that "
    "do not depend on the network.",
)  # fmt: skip
@click.option("--metrics", metavar="NAMES", help="Metrics, separated by commas.")
@click.option("--preprocess", metavar="NAME", help="See explain.")
@preprocessing_options
@click.option("--labels", metavar="FILE", help="The class names; see explain.")
@click.option("--target", metavar="CLASS", help="A label or an index, for all images.")
@click.option(
    "--boxes", type=click.Path(path_type=Path), metavar="FILE",
    help="JSON: file name of an image -> a list of [y0, x0, y1, x1] in fractions.",
)  # fmt: skip
@click.option(
    "--randomise", type=click.IntRange(0), default=0, metavar="N",
    help="Randomise the weights layer by layer, explain the first N images again, and "
    "print the similarity of the relevance. Values near 1 are a bad sign.",
)  # fmt: skip
@click.option(
    "--report", type=click.Path(path_type=Path), help="The HTML page to write."
)
@click.option(
    "--csv", "csv_file", type=click.Path(path_type=Path),
    help="The CSV file to write, with the values of every image.",
)  # fmt: skip
@click.option(
    "--batch-size", type=click.IntRange(1), default=32, show_default=True,
    help="The number of images per batch.",
)  # fmt: skip
@click.option(
    "--seed", type=click.IntRange(0, 2**62), default=0, show_default=True,
    help="The seed of methods and metrics that use random numbers.",
)  # fmt: skip
@click.option("--unsafe", is_flag=True, help="Run Python code stored in the model.")
@click.option(
    "--text", "texts", multiple=True, metavar="TEXT", help="A text; see explain."
)
@click.option("--tokenizer", metavar="FILE", help="For --text; see explain.")
@click.argument("paths", nargs=-1, metavar="IMAGE_OR_FOLDER|TABLE.csv...")
def compare(**given: Any) -> None:
    """Evaluate several methods on the same images, table or texts by metrics.

    The command prints the mean of each metric. --report writes an HTML page with the
    heatmaps, --csv the values of every image. Methods that need the bounds of the
    network's input get those of images, as in explain.
    """
    if not given["paths"] and not given["texts"]:
        raise OptionError(
            "There is nothing to compare.",
            "images, folders of images, or a table",
            "tfxai compare --model net.keras image.jpg",
        )
    quiet.import_tensorflow()
    from tfxai.cli import compare as work

    work.compare_files(given, arguments.load_preprocess(given))


@main.command()
@click.option(
    "--model", "model_name", required=True, metavar="NET", help="See explain."
)
@click.option(
    "--method",
    default="sglrp",
    show_default=True,
    help='A name that "tfxai methods" lists.',
)
@click.option("--preprocess", metavar="NAME", help="See explain.")
@preprocessing_options
@click.option(
    "--labels", metavar="FILE",
    help="The class names; with them, subfolders are assigned to classes by name.",
)  # fmt: skip
@click.option(
    "--target", "targets", multiple=True, metavar="CLASS",
    help="A label or an index of the class to explain, can be repeated; label: the "
    "class in the data; all: every class.  [default: each sample's top class]",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, metavar="DIR",
    help="The folder of the shards. The same command resumes an interrupted run.",
)  # fmt: skip
@click.option("--low", type=float, help="See explain.")
@click.option("--high", type=float, help="See explain.")
@click.option("--relu", is_flag=True, help="Keep only positive relevance.")
@click.option(
    "--option", "options", multiple=True, metavar="NAME=VALUE", help="See explain."
)
@click.option(
    "--size", metavar="HxW", help="The image size, if the network accepts any size."
)
@click.option(
    "--first-label", type=click.IntRange(-(2**31), 2**31), default=0, show_default=True,
    help="The label of the first class in the data: 1 in ImageNet's TFRecords.",
)  # fmt: skip
@click.option(
    "--seed", type=click.IntRange(0, 2**62), default=0, show_default=True,
    help="The seed of methods that use random numbers.",
)  # fmt: skip
@click.option(
    "--dtype", type=click.Choice(["float16", "float32"]), default="float32",
    show_default=True,
    help="The type of the stored relevance; float16 is stored with a scale per target.",
)  # fmt: skip
@click.option(
    "--shard-size", type=click.IntRange(1), default=256, show_default=True,
    help="The number of samples per shard.",
)  # fmt: skip
@click.option(
    "--batch-size", type=click.IntRange(1), default=32, show_default=True,
    help="The number of samples per batch.",
)  # fmt: skip
@click.option(
    "--shard", metavar="i/n", help="Job i of n, from 0: the shards k with k % n == i."
)
@click.option(
    "--trust-times", is_flag=True,
    help="Identify files by size and time, instead of reading and hashing them once.",
)  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Delete the relevance of another run.")
@click.option(
    "--engine", type=click.Choice(["serial", "ray"]), default="serial",
    show_default=True, help="ray: several workers of a cluster, each with a model.",
)  # fmt: skip
@click.option("--workers", type=click.IntRange(1), help="The number of Ray workers.")
@click.option(
    "--address", help="The address of the Ray cluster.  [default: RAY_ADDRESS]"
)
@click.option(
    "--gpus", type=float, default=0, help="The number of GPUs of each Ray worker."
)
@click.option(
    "--strategy", type=click.Choice(["mirrored"]),
    help="mirrored: split each batch over the GPUs of this machine.",
)  # fmt: skip
@click.option("--unsafe", is_flag=True, help="Run Python code stored in the model.")
@click.argument("paths", nargs=-1, required=True, metavar="FOLDER|TFRECORD|NPZ...")
def run(**given: Any) -> None:
    """Explain a data set and write shards of relevance.

    The data are a folder of images (subfolders are classes), TFRecord files with
    image/encoded and image/class/label, or an .npz file with x and y. An interrupted
    run is resumed by the same command. Read the shards with tfxai.load. The exit code
    is 1 if a sample failed.
    """
    arguments.check_bounds(given)
    quiet.import_tensorflow()
    from tfxai.cli import run as work

    resolved = arguments.resolve(given, images=not work.is_npz(given))
    work.run_data_set(given, *resolved)


@main.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="MAPS")
def verify(folder: Path) -> None:
    """Check every file of a run: MAPS is the folder that tfxai run wrote.

    Every byte is compared with the digest that its file holds. The exit code is 1 if a
    file is damaged, missing or of another run.
    """
    quiet.import_tensorflow()
    from tfxai.cli import verify as work

    work.verify_folder(folder)


@main.command()
@click.argument("name", required=False, metavar="[METHOD]")
@click.option("--family", help="List one family only, such as relevance.")
@click.option("--search", metavar="TEXT", help="List the methods that mention TEXT.")
def methods(name: str | None, family: str | None, search: str | None) -> None:
    """List the methods, or describe one: its options, cost and publication.

    tfxai methods lime prints every option of lime with its type and default, and lines
    to paste.
    """
    from tfxai.base import catalogue

    if name is not None:
        if family or search:
            raise OptionError(
                f"{name} and {'--family' if family else '--search'} are both given.",
                "one of the two",
                f"tfxai methods {name}",
            )
        click.echo(catalogue.text_of(catalogue.find(name)))
        return
    rows = catalogue.listed(family, search)
    shown = [
        (r["name"], f"{r['summary']}\nneeds {r['needs']}\n{r['paper']}") for r in rows
    ]
    print_table(["method", "description, requirements, publication"], shown, lines=True)
    print_message("tfxai methods METHOD prints the options of a method")


@main.command()
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("tfxai-demo.html"),
    show_default=True, help="The page to write.",
)  # fmt: skip
@click.option("--retrain", is_flag=True, help="Train the demo network again.")
def demo(out: Path, retrain: bool) -> None:
    """Write an HTML page with explanations of a small network."""
    quiet.import_tensorflow()
    from tfxai.cli.demo.page import write_page

    page, results = write_page(out, retrain=retrain)
    headings = ["method", "in the explained digit", "in the other digit", "correlation"]
    rows = [
        (
            f"{r.method} {r.note}",
            f"{r.explained:.0%}",
            f"{r.other:.0%}",
            f"{r.correlation:+.2f}",
        )
        for r in results
    ]
    print_table(headings, rows)
    print_line(f"The page: {page.resolve()}")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, not a table.")
@click.option("--gpu", "need_gpu", is_flag=True, help="Without a GPU, the check fails.")
def doctor(as_json: bool, need_gpu: bool) -> None:
    """Check the installation, the devices and the speed, in about a minute.

    The command prints versions, devices and memory. It runs kernels and one method of
    each family on the CPU and on the GPU, and compares the maps; without a GPU, two
    logical CPUs. The exit code is 1 if a check failed. Paste the table into an issue.
    """
    quiet.import_tensorflow()
    from tfxai.cli import doctor as work

    work.report(need_gpu, as_json)


# -- printed results -----------------------------------------------------------------


def _print_rules(analyzer: Any) -> None:
    """Print the rule of every step; raise OptionError for a method without rules."""
    if not hasattr(analyzer, "coverage"):
        raise OptionError(
            f"--explain-rules: the method {analyzer.method!r} has no rules.",
            "a method of the family relevance",
            "tfxai methods --family relevance",
        )
    names = ["step", "kind", "rule"]
    print_table(names, [[row[n] for n in names] for row in analyzer.coverage()])


def _class_cells(row: Any) -> list[str]:
    """Return label, probability and score of a class as text."""
    probability = "" if row.probability is None else f"{row.probability:.1%}"
    return [row.label, probability, f"{row.score:.4g}"]


def _print_result(result: Any, out: Path) -> None:
    """Print a row per class, warnings and errors; exit with 1 after an error."""
    rows = []
    for image, found in groupby(result.done, key=lambda r: r.image):
        classes = [_class_cells(r) for r in found]
        files = [image.name, f"→ {result.outputs[image].name}.png"]
        pairs = zip_longest(files, classes, fillvalue="")
        rows += [(file, *(numbers or ["", "", ""])) for file, numbers in pairs]
    if rows:
        print_table(["image → overlay", "class", "probability", "score"], rows)
        print_line(f"written to {out.resolve()}, each with its .npz")
    for image, changed in result.changed:
        numbers = [(label, f"{b:.3g}", f"{a:.3g}") for label, b, a in changed]
        print_table([f"highest classes of {image.name}", "before", "after"], numbers)
    for text in result.warned:
        print_message(text, "yellow")
    for error in result.failed:
        print_message(str(error), "red")
    if result.failed:
        click.get_current_context().exit(1)


if __name__ == "__main__":
    main()
