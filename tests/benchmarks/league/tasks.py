"""The tasks of the league: name -> how to draw data, and the networks that learn it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from tests.benchmarks.league import columns, digits, images, series, tokens

Drawn = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Task:
    """A source of samples with known truth.

    kind: "images", "tables", "series" or "tokens". draw: (rng, n) -> inputs, classes,
    and the mask of the positions that carry the class. networks: names of `networks`.
    group: the column of the league's table.
    """

    kind: str
    group: str
    draw: Callable[[np.random.Generator, int], Drawn]
    networks: tuple[str, ...]


#: (rule, background) -> the weight of the shape in the image.
ALPHAS = {
    ("linear", "white"): 0.25, ("linear", "correlated"): 0.1,
    ("linear", "natural"): 0.2,
    ("multiplicative", "white"): 0.9, ("multiplicative", "correlated"): 0.9,
    ("multiplicative", "natural"): 0.9,
    ("moved", "white"): 0.5, ("moved", "correlated"): 0.3, ("moved", "natural"): 0.4,
    ("xor", "white"): 0.35, ("xor", "correlated"): 0.15, ("xor", "natural"): 0.3,
}  # fmt: skip
#: The same for images of 64 x 64.
LARGE = {("multiplicative", "natural"): 0.9, ("moved", "natural"): 0.4,
         ("xor", "natural"): 0.3}  # fmt: skip
#: Further tasks of the dense networks.
DENSE = {("linear", "white"), ("multiplicative", "white"), ("xor", "white")}


def _images() -> dict[str, Task]:
    made = {}
    for (rule, background), alpha in ALPHAS.items():
        draw = partial(
            images.tetrominoes, rule=rule, background=background, alpha=alpha
        )
        # a dense network learns no moved shapes in white or natural noise
        dense = background == "correlated" or (rule, background) in DENSE
        who = ("cnn", *["mlp"] * dense, *["linear"] * (dense and rule == "linear"))
        made[f"{rule}-{background}"] = Task("images", rule, draw, who)
    for (rule, background), alpha in LARGE.items():
        draw = partial(
            images.tetrominoes, rule=rule, background=background, alpha=alpha, side=64
        )
        made[f"{rule}-{background}-64"] = Task("images", "64 x 64", draw, ("cnn64",))
    made["relation"] = Task("images", "relation", images.scenes, ("cnn16",))
    for name, two in (("red-digit", digits.red), ("bright-digit", digits.bright)):
        made[name] = Task("images", "digits", two, ("digits",))
    return made


TASKS: Mapping[str, Task] = {
    **_images(),
    **{
        name: Task("tables", name, draw, ("linear", "mlp"))
        for name, draw in (
            ("suppressors", columns.suppressors), ("correlated", columns.correlated),
        )
    },
    "interactions": Task("tables", "interactions", columns.interactions, ("mlp",)),
    "mixed": Task("tables", "mixed", columns.mixed, ("mlp",)),
    "event": Task("series", "event", series.event, ("cnn", "lstm")),
    "frequency": Task("series", "frequency", series.frequency, ("cnn", "lstm")),
    "order": Task("series", "order", series.order, ("cnn", "lstm")),
    "negation": Task("tokens", "negation", tokens.negation, ("attention", "lstm")),
    "agreement": Task("tokens", "agreement", tokens.agreement, ("attention", "lstm")),
    "counting": Task("tokens", "counting", tokens.counting, ("attention", "lstm")),
}  # fmt: skip
#: The tasks of the short run, each with its first network. (Every method takes some
#: seconds to read a network of attention.)
SMOKE = ("linear-white", "xor-white", "suppressors", "event")
