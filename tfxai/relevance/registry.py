"""What a rule is: a named function, its options, and where it is found by name."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfxai.base.errors import OptionError, UnknownNameError
from tfxai.base.registry import Registry, built_in
from tfxai.base.validation import finite
from tfxai.graph.linear import Local
from tfxai.relevance.algebra import Activation, Relevance, plain_relevance


@dataclass(frozen=True)
class Rule:
    """A named rule with its options filled in; `rule(**options)` fills in more."""

    name: str
    function: Callable[..., Any]
    options: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, **options: Any) -> "Rule":
        parameters = inspect.signature(self.function).parameters
        known = list(parameters)[3:]
        for name, value in options.items():
            if name not in known:
                raise OptionError(
                    f"The rule {self.name!r} has no option {name!r}.",
                    f"one of {known}" if known else "no option",
                )
            if isinstance(parameters[name].default, float):
                finite(name, value)
            elif name in ("low", "high") and value is not None:
                finite(name, value, shaped=True)
        return Rule(self.name, self.function, {**self.options, **options})

    def apply(self, linear: Local, x: Activation, r: Relevance) -> Relevance:
        """The relevance of the step's inputs."""
        result = self.function(linear, x, r, **self.options)
        return result if isinstance(result, Relevance) else plain_relevance(result)

    def get_config(self) -> list[Any]:
        """Return the rule as plain data: its name and options."""
        return config_of(RULES, self, self.options)

    def __str__(self) -> str:
        options = ", ".join(f"{k}={v}" for k, v in self.options.items())
        return f"{self.name}({options})" if options else self.name


def plain(value: Any) -> Any:
    """A number, or the nested lists of an array."""
    return np.asarray(value).tolist() if np.ndim(value) else value


RULES: Registry[str, Rule] = Registry("rule")


def rule(name: str, replace: bool = False) -> Callable[[Callable[..., Any]], Rule]:
    """Return a decorator that registers a function `(linear, x, r, **options)`.

    Args:
        name: The name of the rule.
        replace: Exchange a rule of the same name; else that is an OptionError.
    """

    def put(function: Callable[..., Any]) -> Rule:
        return RULES.register(name, Rule(name, function), replace)

    return put


def find(value: Any) -> Rule:
    """Return a rule.

    Args:
        value: A rule, its name, (name, options), a function `(linear, x, r)`, or (low,
            high) for the box rule. A list, as in JSON, is the same as a tuple.
    """
    if isinstance(value, Rule):
        return value
    if inspect.isfunction(value):
        return Rule(value.__name__, value)
    if isinstance(value, tuple | list) and len(value) == 2:
        if isinstance(value[0], str) and isinstance(value[1], Mapping):
            return RULES[value[0]](**value[1])
        return RULES["z_box"](low=value[0], high=value[1])
    return RULES[value]


def from_config(config: list[Any]) -> Rule:
    """Return the rule of a config.

    Raises:
        UnknownNameError: The rule is not registered; the error says what to import.
    """
    rule: Rule = entry_of(RULES, config)
    return rule(**config[1])


def config_of(
    registry: Registry[str, Any], value: Any, options: Mapping[str, Any]
) -> list[Any]:
    """Return a rule or a head as plain data: its name, options, and a user's module.

    Raises:
        OptionError: It is not registered.
    """
    kind, known = registry.kind, registry.get(value.name)
    if known is not None and known.function is not value.function:
        raise OptionError(
            f"A {kind} {value.name!r} is registered, but this one is not the same "
            "object, so it cannot be saved.",
            f"the registered {kind}, by its name, or another name for this one",
            f"{value.name!r} in place of the function",
        )
    if known is None:
        raise OptionError(
            f"The {kind} {value.name!r} is not registered, so it cannot be saved.",
            f"a {kind} with a name of its own",
            f'from tfxai import extend, and then @extend.{kind}("{value.name}") above '
            "its function",
        )
    function = value.function
    own = [] if built_in(function) else [str(getattr(function, "__module__", ""))]
    return [value.name, {k: plain(v) for k, v in options.items()}, *own]


def entry_of(registry: Registry[str, Any], config: Sequence[Any]) -> Any:
    """Return the rule or the head of a config; the error says what to import."""
    name, module = config[0], config[2] if len(config) > 2 else ""
    if name in registry:
        return registry[name]
    kind = registry.kind
    script = module in ("", "__main__")
    raise UnknownNameError(
        f"The file holds the {kind} {name!r}, which is not registered.",
        f"the code that registers it, @extend.{kind}({name!r}), run before",
        f"@extend.{kind}({name!r})" if script else f"import {module}",
    )
