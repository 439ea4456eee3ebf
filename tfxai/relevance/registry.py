"""What a rule is: a named function, its options, and where it is found by name."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfxai.base.errors import OptionError, UnknownNameError
from tfxai.base.validation import nearest
from tfxai.graph.linear import Local
from tfxai.relevance.algebra import Activation, Relevance, plain_relevance


@dataclass(frozen=True)
class Rule:
    """A named rule with its options filled in; `rule(**options)` fills in more."""

    name: str
    function: Callable
    options: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, **options: Any) -> "Rule":
        known = list(inspect.signature(self.function).parameters)[3:]
        for name in options:
            if name not in known:
                raise OptionError(
                    f"The rule {self.name!r} has no option {name!r}.",
                    f"one of {known}" if known else "no option",
                )
        return Rule(self.name, self.function, {**self.options, **options})

    def apply(self, linear: Local, x: Activation, r: Relevance) -> Relevance:
        """The relevance of the step's inputs."""
        result = self.function(linear, x, r, **self.options)
        return result if isinstance(result, Relevance) else plain_relevance(result)

    def get_config(self) -> list:
        """The rule as plain data: its name and options."""
        if RULES.get(self.name, Rule("", lambda: 0)).function is not self.function:
            raise OptionError(
                f"The rule {self.name!r} is not registered, so it cannot be saved.",
                "a rule that has a name of its own",
                f"from tfxai.relevance.rules import rule, and then "
                f'@rule("{self.name}") above its function',
            )
        return [self.name, {k: plain(v) for k, v in self.options.items()}]

    def __str__(self) -> str:
        options = ", ".join(f"{k}={v}" for k, v in self.options.items())
        return f"{self.name}({options})" if options else self.name


def plain(value: Any) -> Any:
    """A number, or the nested lists of an array."""
    return np.asarray(value).tolist() if np.ndim(value) else value


RULES: dict[str, Rule] = {}


def rule(name: str) -> Callable[[Callable], Rule]:
    """Register a function as the rule `name`."""

    def put(function: Callable) -> Rule:
        RULES[name] = Rule(name, function)
        return RULES[name]

    return put


def find(value: "Rule | str | tuple") -> Rule:
    """A rule, its name, or (low, high) for the box rule."""
    if isinstance(value, Rule):
        return value
    if isinstance(value, tuple) and len(value) == 2:
        return RULES["z_box"](low=value[0], high=value[1])
    if isinstance(value, str) and value in RULES:
        return RULES[value]
    raise UnknownNameError(
        f"There is no rule {value!r}.",
        f"one of {sorted(RULES)}, perhaps {nearest(str(value), RULES)}",
    )


def from_config(config: list) -> Rule:
    """The rule of a config."""
    return find(config[0])(**config[1])
