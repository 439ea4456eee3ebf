"""The registry of methods: what each needs, its paper, its options, its builder."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tfxai.base.errors import OptionError
from tfxai.base.options import Option, read_options
from tfxai.base.registry import Registry, built_in, modules_of
from tfxai.base.validation import check_options, unmasked, whole_number
from tfxai.core.analyzer import Analyzer
from tfxai.core.model import ModelWrapper, wrap
from tfxai.core.texts import Texts, Tokens

#: The order in which families are listed; others follow.
FAMILIES = ("gradient", "path", "noise", "cam", "relevance", "sampling", "perturbation")
#: Families that need image axes, with channels last.
SPATIAL = ("cam", "sampling", "perturbation")
#: Packages whose modules register methods when they are imported.
PACKAGES = ("gradient", "relevance", "sampling", "perturbation")


#: The option of every method that `build` handles.
JIT = Option("jit_compile", False, "Compile with XLA; meant for GPUs.")
#: The option of the methods of some families that `build` handles.
RECOMPUTE = Option(
    "recompute", False, "Compute tensors again that are not kept, for long inputs."
)
RECOMPUTES = ("gradient", "path", "relevance")


@dataclass(frozen=True)
class MethodSpec:
    """A method of explanation.

    Attributes:
        name: What `create_analyzer` takes, such as "lime".
        family: The group in which it is listed, such as "sampling".
        summary: One line that says what it computes.
        needs: What the model must offer.
        paper: Where it is published.
        build: (wrapped model, **options) -> analyzer.
        forwards: Functions to which `build` passes its `**options` on.
        internal: Parameters of these functions that are no options.
        not_xla: Why XLA does not compile it; "" where it does.
        formula: What `relevance` is, as a formula; "" where rules and a head state it.
        limits: When it fails: one or two sentences.
        also_in: Other libraries that have it.
        cost: What an explanation of one sample costs; "" is the cost of the family.
    """

    name: str
    family: str
    summary: str
    needs: str = field(repr=False)
    paper: str = field(repr=False)
    build: Callable[..., Analyzer] = field(repr=False)
    forwards: tuple[Callable[..., Any], ...] = field(default=(), repr=False)
    internal: tuple[str, ...] = field(default=(), repr=False)
    not_xla: str = field(default="", repr=False)
    formula: str = field(default="", repr=False)
    limits: str = field(default="", repr=False)
    also_in: str = field(default="", repr=False)
    cost: str = field(default="", repr=False)

    @cached_property
    def options(self) -> Mapping[str, Option]:
        """The options besides `preprocess` and `output`, by name."""
        own = read_options(self.build, *self.forwards, without=self.internal)
        shared = [JIT, RECOMPUTE] if self.family in RECOMPUTES else [JIT]
        return {**own, **{o.name: o for o in shared}}

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Check the names of options.

        Raises:
            OptionError: The method has no such option.
        """
        check_options(f"The method {self.name!r}", options, self.options)


METHODS: Registry[str, MethodSpec] = Registry(
    "method",
    listing="one of tfxai.methods()",
    usage="tfxai.create_analyzer({!r}, model)",
    modules=lambda: modules_of(*(f"tfxai.{name}" for name in PACKAGES)),
    aliases={"deep_lift.wrapper": "deeplift", "gradient.baseline": "gradient"},
)


def register(spec: MethodSpec, replace: bool = False) -> MethodSpec:
    """Add a method to `METHODS`, and return it."""
    return METHODS.register(spec.name, spec, replace)


def lookup(name: str) -> MethodSpec:
    """Return a method by name.

    Raises:
        UnknownNameError: There is no such method; the error suggests the nearest ones.
    """
    return METHODS[name]


def methods() -> list[MethodSpec]:
    """Return all methods: by family, then by module, then in order of registration."""
    known = list(METHODS.values())
    families = list(dict.fromkeys([*FAMILIES, *(m.family for m in known)]))

    def position(spec: MethodSpec) -> tuple[int, bool, str]:
        module = str(getattr(spec.build, "__module__", ""))
        return (
            families.index(spec.family), not built_in(spec.build), module,
        )  # fmt: skip

    return sorted(known, key=position)


def build(name: str, wrapped: ModelWrapper, options: Mapping[str, Any]) -> Analyzer:
    """Return the analyzer of a method for a wrapped model.

    Raises:
        UnknownNameError: There is no such method.
        OptionError: The method has no such option, or the value is invalid.
        BlackBoxError: The method needs more than the outputs of a callable.
    """
    spec = lookup(name)
    spec.check_options(options)
    for option, value in options.items():
        unmasked(option, value)
    if options.get("seed") is not None:
        whole_number("seed", options["seed"], 0)
    if spec.family in SPATIAL:
        wrapped.check_channels_last(name)
    own = {k: v for k, v in options.items() if k not in (JIT.name, RECOMPUTE.name)}
    jit_compile = _check_jit(spec, options.get(JIT.name, False), wrapped)
    recompute = _check_recompute(options.get(RECOMPUTE.name, False), jit_compile)
    analyzer = spec.build(wrapped, **own)
    if not isinstance(analyzer, Analyzer):
        raise OptionError(
            f"The builder of the method {name!r} returned a {type(analyzer).__name__}.",
            "an Analyzer",
            f"return extend.sampling_analyzer({name!r}, wrapped, explain, target)",
        )
    analyzer.jit_compile, analyzer.family = jit_compile, spec.family
    analyzer.recompute = recompute
    return analyzer


def _check_recompute(value: Any, jit_compile: bool) -> bool:
    """Return the option `recompute`."""
    if not isinstance(value, bool):
        raise OptionError(f"recompute={value!r}.", "True or False", "recompute=True")
    if value and jit_compile:
        raise OptionError(
            "recompute=True with jit_compile=True: XLA decides what it keeps.",
            "one of the two",
            "recompute=True, jit_compile=False",
        )
    return value


def _check_jit(spec: MethodSpec, value: Any, wrapped: ModelWrapper) -> bool:
    """Return the option `jit_compile`, if method and model allow it."""
    if not isinstance(value, bool):
        raise OptionError(
            f"jit_compile={value!r}.", "True or False", "jit_compile=True"
        )
    if value and not wrapped.differentiable:
        raise OptionError(
            "jit_compile=True, and the model is a plain callable: nothing is compiled.",
            "a model that TensorFlow compiles",
            "jit_compile=False",
        )
    if value and spec.not_xla:
        raise OptionError(
            f"jit_compile=True, and XLA cannot compile {spec.name!r}: {spec.not_xla}.",
            "no compilation by XLA",
            "jit_compile=False",
        )
    return value


def create_analyzer(
    method: str,
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    **options: Any,
) -> Analyzer:
    """Return the analyzer of a method for a model; `analyzer.analyze(x)` explains.

    Args:
        method: The name of a method; `tfxai.methods()` lists them.
        model: A Keras model, a loaded SavedModel, a callable, or what `wrap` returned.
        preprocess: `raw batch -> network input`, in TensorFlow operations.
        output: The number or the name of the output to explain, where the model has
            several: its key in a dict, or the name of its layer.
        names: The names of the classes, for figures, tables and files.
        features: The names of the columns of a table or the channels of a series; for
            several inputs a mapping from the name of an input.
        tokens: A function of the token ids (L,) of one sample that returns their texts.
        **options: The options of the method; `tfxai.describe(method)` lists them. Every
            method has `jit_compile`: True compiles its functions with XLA. Those of
            gradients, paths and relevance have `recompute`: True keeps few tensors of
            the forward pass, and computes the others again in the backward pass, for
            long inputs.

    Raises:
        UnknownNameError: There is no such method.
        OptionError: The method has no such option, or the value is invalid. With
            `jit_compile=True`, `analyze` raises it where XLA cannot compile the method.
        ModelError: The model is not one that the method can explain.
        UnsupportedLayerError: A layer has no relevance rule.
        BlackBoxError: The method needs more than the outputs of a callable.
    """
    analyzer = build(method, wrap(model, preprocess, output), options)
    analyzer.texts = Texts(names, features, tokens)
    return analyzer
