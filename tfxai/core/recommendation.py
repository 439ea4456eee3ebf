"""Which methods to begin with, for a model and its inputs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfxai.base import catalogue
from tfxai.base.errors import TfxaiError
from tfxai.core.model import ModelWrapper, wrap
from tfxai.core.registry import lookup

Array = np.ndarray[Any, Any]
#: Number of axes of an input of numbers -> its kind.
KINDS = {1: "table", 2: "table", 3: "series", 4: "image"}
#: method -> why it is recommended.
REASONS = {
    "lrp.epsilon_gamma_box": "localises well and adds up to the score, in one pass",
    "squaregrad": "first of the league on images; needs the gradient alone",
    "smoothgrad": "needs the gradient alone, and averages its noise",
    "integrated_gradients": "adds up to the difference of the score from a baseline",
    "gradcam": "shows the region of the class, coarsely, and is hard to mislead",
    "lrp.epsilon": "adds up to the score, in one backward pass",
    "sglrp": "contrasts the class with the other classes, in one backward pass",
    "lrp.attn": "has rules for attention and norms, and adds up to the score",
    "kernel_shap": "measures the effect of leaving a part out, in all contexts",
    "occlusion": "measures the effect of leaving one part out; easy to check",
    "lime": "fits a linear model of superpixels to the model's outputs",
    "partition_shap": "values of groups of neighbours, with fewer evaluations",
    "rise": "needs no segments, and evaluates the model alone",
}
#: (what can be read of the model, kind of input) -> the methods, the best one first.
TABLE: dict[tuple[str, str], tuple[str, ...]] = {
    ("steps", "image"): ("lrp.epsilon_gamma_box", "squaregrad", "sglrp"),
    ("steps", "series"): ("integrated_gradients", "lrp.epsilon", "occlusion"),
    ("steps", "table"): ("integrated_gradients", "kernel_shap", "lrp.epsilon"),
    ("steps", "tokens"): ("lrp.attn", "integrated_gradients", "occlusion"),
    ("steps", "several inputs"): ("lrp.epsilon", "integrated_gradients", "occlusion"),
    ("gradient", "image"): ("squaregrad", "integrated_gradients", "rise"),
    ("gradient", "series"): ("integrated_gradients", "smoothgrad", "occlusion"),
    ("gradient", "table"): ("integrated_gradients", "kernel_shap", "occlusion"),
    ("gradient", "tokens"): ("kernel_shap", "integrated_gradients", "occlusion"),
    ("gradient", "several inputs"): (
        *("integrated_gradients", "kernel_shap", "occlusion"),
    ),
    ("outputs", "image"): ("kernel_shap", "lime", "rise"),
    ("outputs", "series"): ("kernel_shap", "occlusion", "lime"),
    ("outputs", "table"): ("kernel_shap", "occlusion", "lime"),
    ("outputs", "tokens"): ("kernel_shap", "occlusion", "lime"),
    ("outputs", "texts"): ("kernel_shap", "lime", "partition_shap"),
    ("outputs", "several inputs"): ("kernel_shap", "occlusion", "lime"),
}
#: What a part that is left out becomes, where no default is right.
TABLE_OPTIONS = {
    "kernel_shap": "background=x_train[:100]", "lime": "baseline=x_train.mean(0)",
}  # fmt: skip
#: Kind of input -> method -> the option that it needs there.
OPTIONS: dict[str, dict[str, str]] = {
    "table": TABLE_OPTIONS,
    "tokens": dict.fromkeys(("kernel_shap", "lime"), "baseline=0"),
}
#: What the words of `TABLE` mean.
ACCESS = {
    "steps": "a network whose operations can be read",
    "gradient": "a model that TensorFlow can differentiate",
    "outputs": "a model of which only outputs are known",
}


@dataclass(frozen=True)
class Recommendation:
    """A method to begin with.

    Attributes:
        method: The name of the method.
        why: What it is good for.
        cost: What one explanation costs.
        option: An option that the method needs for this kind of input; x_train are the
            training data, and 0 is the id of a padding or mask token.
    """

    method: str
    why: str
    cost: str
    option: str = ""

    @property
    def line(self) -> str:
        """The line to type."""
        words = ["model", "x", f'"{self.method}"', *filter(None, [self.option])]
        return f"tfxai.explain({', '.join(words)})"

    def __str__(self) -> str:
        return f"{self.line}\n    {self.why}\n    cost: {self.cost}"


@dataclass(frozen=True, repr=False)
class Recommendations:
    """Methods to begin with, the best one first; iteration yields each.

    Attributes:
        of: What they are recommended for.
        rows: The methods.
    """

    of: str
    rows: tuple[Recommendation, ...] = field(default=())

    def __iter__(self) -> Any:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> Recommendation:
        return self.rows[number]

    def __repr__(self) -> str:
        return "\n".join([f"For {self.of}:", *map(str, self.rows)])


def recommend(
    model: Any,
    x: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
) -> Recommendations:
    """Return three methods to begin with, why, and what each costs.

    They depend on what can be read of the model, the kind of input and the number of
    classes. The first one is the default of `tfxai.explain`.

    Args:
        model: A Keras model, a callable, or what `wrap` returned.
        x: Inputs; see `Analyzer.analyze`. Values do not matter.
        preprocess: `raw batch -> network input`.
        output: The number or the name of the output to explain.

    Raises:
        InputError: x is not a batch that the model takes.

    Example:
        >>> tfxai.recommend(model, x)[0].method
    """
    wrapped = wrap(model, preprocess, output)
    inputs = wrapped.checked(x)
    access = access_to(wrapped, inputs)
    kind = kind_of(wrapped, inputs, access)
    names = chosen(wrapped, inputs, access, kind)
    needed = OPTIONS.get(kind, {})
    rows = [
        Recommendation(name, REASONS[name], _cost(name), needed.get(name, ""))
        for name in names
    ]
    return Recommendations(f"{ACCESS[access]}; input: {kind}", tuple(rows))


def chosen(
    wrapped: ModelWrapper, inputs: list[Array], access: str, kind: str
) -> tuple[str, ...]:
    """Return the names of the methods to begin with, the best one first.

    Those of `TABLE`; for images AttnLRP comes first where the network has attention,
    and SGLRP needs more than two classes.
    """
    names = TABLE[access, kind]
    if (access, kind) != ("steps", "image"):
        return names
    first, *rest = names
    if any(s.kind == "softmax" for s in wrapped.program().steps):
        first = "lrp.attn"
    if not has_rivals(wrapped, inputs):
        rest = ["integrated_gradients" if n == "sglrp" else n for n in rest]
    return first, *rest


def access_to(wrapped: ModelWrapper, inputs: list[Array]) -> str:
    """Return what can be read of a model; a key of `ACCESS`.

    Texts have no gradient, and no rule leads back to them.
    """
    if not wrapped.differentiable or any(v.dtype.kind in "OUS" for v in inputs):
        return "outputs"
    try:
        wrapped.program()
    except TfxaiError:
        return "gradient"
    return "steps"


def kind_of(wrapped: ModelWrapper, inputs: list[Array], access: str) -> str:
    """Return the kind of inputs of a model with this access, a word of `TABLE`."""
    values = [v for v in inputs if not _is_mask(v)]
    if len(values) > 1:
        return "several inputs"
    (x,) = values or inputs[:1]
    if x.dtype.kind in "OUS":
        return "table" if x.ndim > 1 else "texts"
    if x.ndim == 2 and _reads_tokens(wrapped, access):
        return "tokens"
    return KINDS.get(x.ndim, "image")


def has_rivals(wrapped: ModelWrapper, inputs: list[Array]) -> bool:
    """Return True if a class has at least two others, beside which SGLRP sets it."""
    size = wrapped.output_shape(inputs)[-1]
    return size is None or size > 2


def _reads_tokens(wrapped: ModelWrapper, access: str) -> bool:
    """Return True for a model of whole numbers, or one that looks its inputs up."""
    if any("int" in dtype for _, dtype in wrapped.specs or []):
        return True
    return access == "steps" and bool(wrapped.program().lookups)


def _is_mask(x: Array) -> bool:
    """True for the padding mask beside token ids."""
    return x.dtype.kind in "biu" and x.ndim == 2 and bool(np.isin(x, (0, 1)).all())


def _cost(name: str) -> str:
    """What one explanation by a method costs."""
    return str(catalogue.entry(lookup(name))["cost"])
