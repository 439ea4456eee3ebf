"""The command `tfxai`: explain pictures, compare methods, run over a whole data set.

`methods` lists the methods, and `demo` makes a page that shows them at work.

TensorFlow takes seconds to import, so that each command imports what it needs itself.
"""

import os
from itertools import groupby, zip_longest
from pathlib import Path
from typing import Any

import click

from tfxai.base.errors import OptionError, TfxaiError
from tfxai.cli import arguments
from tfxai.cli.terminal import say, table


class Commands(click.Group):
    """A group that tells what went wrong instead of showing a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except TfxaiError as error:
            say(str(error), "red")
            ctx.exit(2)
        except KeyboardInterrupt:
            say("stopped", "red")
            ctx.exit(130)


def _version(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:
    if wanted:
        from tfxai import __version__

        click.echo(f"tfxai {__version__}")
        ctx.exit()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version,
    help="Show the version and exit.",
)  # fmt: skip
def main() -> None:
    """Why did this network answer that?"""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@main.command()
@click.option(
    "--model", "model_name", required=True, metavar="NET",
    help="A .keras or .h5 file, a SavedModel folder, or a name of keras.applications.",
)  # fmt: skip
@click.option("--method", default="sglrp", show_default=True, help="See tfxai methods.")
@click.option(
    "--preprocess", metavar="NAME",
    help="A module of keras.applications (vgg16), package.module:function, or "
    "file.py:function. A network of keras.applications brings its own.",
)  # fmt: skip
@click.option(
    "--labels", metavar="FILE",
    help="The classes' names: JSON (a list, or index to name), or one per line.",
)  # fmt: skip
@click.option(
    "--target", "targets", multiple=True, metavar="CLASS",
    help="A label or an index; may be given several times.",
)  # fmt: skip
@click.option(
    "--top", type=click.IntRange(1), metavar="N",
    help="Explain the first N classes of each picture.  [default: 1]",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("."),
    metavar="DIR", help="Where to write.  [default: the current folder]",
)  # fmt: skip
@click.option("--low", type=float, help="The smallest value of the network's input,")
@click.option("--high", type=float, help="and the largest, for the methods that ask.")
@click.option("--relu", is_flag=True, help="Keep what speaks for the class.")
@click.option(
    "--option", "options", multiple=True, metavar="NAME=VALUE",
    help="An option of the method; VALUE is JSON, or else text.",
)  # fmt: skip
@click.option(
    "--batch-size", type=click.IntRange(1), default=8, show_default=True, metavar="N",
    help="Pictures (times classes) at once.",
)  # fmt: skip
@click.option("--explain-rules", is_flag=True, help="Show the rule of every layer.")
@click.option("--unsafe", is_flag=True, help="Run Python code that the model carries.")
@click.argument("paths", nargs=-1, metavar="PICTURE_OR_FOLDER...")
def explain(**given: Any) -> None:
    """Explain pictures: which parts speak for a class, and which against it.

    For every picture, NAME.METHOD.png shows it beside one overlay per class, and
    NAME.METHOD.npz holds the relevance, which tfxai.load reads.
    """
    arguments.check(given)
    from tfxai.base.progress import bar
    from tfxai.cli import explain as explain_files
    from tfxai.io import images, networks

    found = arguments.not_ours(images.find(given["paths"]))
    labels = networks.labels(given["labels"]) if given["labels"] else []
    targets = [networks.find_label(t, labels) for t in given["targets"]]
    analyzer = arguments.analyzer(given)
    if given["explain_rules"]:
        _rules(analyzer)
    if not found:
        return
    arguments.folder(given["out"])
    job = explain_files.Job(
        analyzer,
        given["out"],
        list(dict.fromkeys(targets)),
        given["top"] or 1,
        labels,
        given["batch_size"],
    )
    with bar("explaining", len(found), long=len(found) > 1) as advance:
        outcome = explain_files.run(job, found, advance)
    _report(outcome, given["out"])


@main.command()
@click.option(
    "--model", "model_name", required=True, metavar="NET", help="See explain."
)
@click.option(
    "--methods", default="gradient,lrp.epsilon,sglrp,random,edges", show_default=True,
    help="Names, with commas; random and edges know nothing of the network.",
)  # fmt: skip
@click.option("--metrics", metavar="NAMES", help="Names of metrics, with commas.")
@click.option("--preprocess", metavar="NAME", help="See explain.")
@click.option("--labels", metavar="FILE", help="The classes' names; see explain.")
@click.option(
    "--target", metavar="CLASS", help="A label or an index, for all pictures."
)
@click.option(
    "--boxes", type=click.Path(path_type=Path), metavar="FILE",
    help="JSON: a picture's file name -> a list of [y0, x0, y1, x1] in fractions.",
)  # fmt: skip
@click.option(
    "--randomise", type=click.IntRange(0), default=0, metavar="N",
    help="Explain the first N pictures again while the weights are drawn anew, and "
    "print how like the first maps those are: near 1 is a bad sign.",
)  # fmt: skip
@click.option("--report", type=click.Path(path_type=Path), help="The page to write.")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), help="All numbers.")
@click.option("--batch-size", type=click.IntRange(1), default=32, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--unsafe", is_flag=True, help="Run Python code that the model carries.")
@click.argument("paths", nargs=-1, required=True, metavar="PICTURE_OR_FOLDER...")
def compare(**given: Any) -> None:
    """Measure several methods on the same pictures, side by side.

    Prints a table of means; --report writes a page to look at, --csv every number.
    Methods that ask for the bounds of their input get those of pictures, as in explain.
    """
    from tfxai.cli import compare as compare_files

    compare_files.run(given, arguments.preprocess(given))


@main.command()
@click.option(
    "--model", "model_name", required=True, metavar="NET", help="See explain."
)
@click.option("--method", default="sglrp", show_default=True, help="See tfxai methods.")
@click.option("--preprocess", metavar="NAME", help="See explain.")
@click.option(
    "--labels", metavar="FILE",
    help="The classes' names; also finds the classes of subfolders by their names.",
)  # fmt: skip
@click.option(
    "--target", "targets", multiple=True, metavar="CLASS",
    help="A label or an index, several times for several maps; label: the class that "
    "the data say; all.  [default: each top class]",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, metavar="DIR",
    help="The folder of shards; the same command again goes on there.",
)  # fmt: skip
@click.option("--low", type=float, help="See explain.")
@click.option("--high", type=float, help="See explain.")
@click.option("--relu", is_flag=True, help="Keep what speaks for the class.")
@click.option(
    "--option", "options", multiple=True, metavar="NAME=VALUE", help="See explain."
)
@click.option("--size", metavar="HxW", help="Where the network takes any size.")
@click.option(
    "--first-label", type=int, default=0, show_default=True,
    help="The number of the first class in the data: 1 in ImageNet's TFRecords.",
)  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--dtype", type=click.Choice(["float16", "float32"]), default="float32",
    show_default=True, help="float16 comes with a scale for each map.",
)  # fmt: skip
@click.option("--shard-size", type=click.IntRange(1), default=256, show_default=True)
@click.option("--batch-size", type=click.IntRange(1), default=32, show_default=True)
@click.option(
    "--shard", metavar="i/n", help="Job i of n, from 0: the shards k with k % n == i."
)
@click.option("--overwrite", is_flag=True, help="Delete the maps of another run.")
@click.option(
    "--engine", type=click.Choice(["serial", "ray"]), default="serial",
    show_default=True, help="ray: a model in each of several workers of a cluster.",
)  # fmt: skip
@click.option("--workers", type=click.IntRange(1), help="How many, of Ray.")
@click.option("--address", help="Of the Ray cluster.  [default: RAY_ADDRESS]")
@click.option("--gpus", type=float, default=0, help="For each worker of Ray.")
@click.option(
    "--strategy", type=click.Choice(["mirrored"]),
    help="mirrored: split each batch over the GPUs of this machine.",
)  # fmt: skip
@click.option("--unsafe", is_flag=True, help="Run Python code that the model carries.")
@click.argument("paths", nargs=-1, required=True, metavar="FOLDER|TFRECORD|NPZ...")
def run(**given: Any) -> None:
    """Explain a whole data set, into shards that tfxai.load reads.

    A folder of pictures (subfolders are classes), TFRecord files with image/encoded
    and image/class/label, or an npz of x and y. Stopped at any instant and started
    again, it makes what is missing. The exit code is 1 where a sample failed.
    """
    arguments.check_bounds(given)
    from tfxai.cli import run as run_files

    run_files.run(given, *arguments.asked(given, pictures=not run_files.is_npz(given)))


@main.command()
@click.option("--family", help="Only those of one family, such as relevance.")
def methods(family: str | None) -> None:
    """List the methods: what each is, needs, and where it is published."""
    from tfxai import api
    from tfxai.base.validation import nearest

    rows = api.methods()
    families = list(dict.fromkeys(r.family for r in rows))
    if family is not None and family not in families:
        close = nearest(family, families)
        raise OptionError(
            f"There is no family {family!r}.",
            f"one of {', '.join(families)}",
            f"tfxai methods --family {(close or families)[0]}",
        )
    wanted = [r for r in rows if family in (None, r.family)]
    shown = [(r.name, f"{r.summary}\nneeds {r.needs}\n{r.paper}") for r in wanted]
    table(["method", "what it is, needs, and where it is published"], shown, lines=True)


@main.command()
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("tfxai-demo.html"),
    show_default=True, help="The page to write.",
)  # fmt: skip
@click.option("--retrain", is_flag=True, help="Train the demo's network again.")
def demo(out: Path, retrain: bool) -> None:
    """Make a page that shows the methods at work."""
    from tfxai.cli.demo.page import run

    page, measured = run(out, retrain=retrain)
    head = ["method", "in the right digit", "in the other", "correlation"]
    rows = [
        (f"{m.method} {m.note}", f"{m.right:.0%}", f"{m.wrong:.0%}", f"{m.alike:+.2f}")
        for m in measured
    ]
    table(head, rows)
    click.echo(f"The page: {page.resolve()}")


# -- what is shown -------------------------------------------------------------------


def _rules(analyzer: Any) -> None:
    if not hasattr(analyzer, "coverage"):
        raise OptionError(
            f"--explain-rules: {analyzer.method} has no rules.",
            "a method of the family relevance",
            "tfxai methods --family relevance",
        )
    names = ["step", "kind", "rule"]
    table(names, [[row[n] for n in names] for row in analyzer.coverage()])


def _numbers(row: Any) -> list[str]:
    chance = "" if row.probability is None else f"{row.probability:.1%}"
    return [row.label, chance, f"{row.score:.4g}"]


def _report(outcome: Any, out: Path) -> None:
    """One row per class, and whatever went wrong; the exit code 1 if anything did."""
    rows = []
    for picture, found in groupby(outcome.done, key=lambda r: r.picture):
        classes = [_numbers(r) for r in found]
        files = [picture.name, f"→ {outcome.places[picture].name}.png"]
        pairs = zip_longest(files, classes, fillvalue="")
        rows += [(file, *(numbers or ["", "", ""])) for file, numbers in pairs]
    if rows:
        table(["picture → written", "class", "probability", "score"], rows)
        click.echo(f"written to {out.resolve()}, each with its .npz")
    for picture, changed in outcome.changed:
        numbers = [(label, f"{b:.3g}", f"{a:.3g}") for label, b, a in changed]
        table([f"first classes of {picture.name}", "before", "after"], numbers)
    for text in outcome.warned:
        say(text, "yellow")
    for error in outcome.broken:
        say(str(error), "red")
    if outcome.broken:
        click.get_current_context().exit(1)


if __name__ == "__main__":
    main()
