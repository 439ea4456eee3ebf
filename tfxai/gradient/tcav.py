"""TCAV: does the score of a class rise in the direction of a concept?

Kim et al. 2018, arXiv:1711.11279. A concept is a set of example inputs. Its direction
(CAV) is the normal of a linear classifier between the activations of the examples and
those of random inputs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfxai.base.errors import InputError, OptionError, TargetError
from tfxai.base.validation import whole_number
from tfxai.core.layer_cut import activations_of
from tfxai.core.model import wrap
from tfxai.core.registry import create_analyzer

Array = np.ndarray[Any, Any]
#: Smallest number of examples: two to train, one to test.
LEAST = 3
#: Share of the examples on which the accuracy of a direction is measured.
HELD_OUT = 1 / 3


@dataclass(frozen=True)
class ConceptScores:
    """The TCAV scores of concepts, as `tfxai.tcav` returns them.

    Attributes:
        names: Names of the concepts.
        scores: Share of the samples whose score rises in the direction of the concept,
            (concepts, runs).
        random: The same of directions between random inputs, (runs,).
        p_value: Of a two-sided t-test of `scores` against `random`, (concepts,).
        accuracy: Share of held-out examples that the direction separates, (concepts,
            runs). Near 0.5 the layer does not know the concept.
        directions: The directions, of length 1, (concepts, runs, ...).
        derivatives: Derivative of the score of each sample in each direction,
            (concepts, runs, samples).
        at: The layer.
    """

    names: list[str]
    scores: Array
    random: Array
    p_value: Array
    accuracy: Array
    directions: Array
    derivatives: Array
    at: str

    def significant(self, alpha: float = 0.05) -> dict[str, bool]:
        """Return which concepts differ from random, with Bonferroni's correction."""
        found = self.p_value < alpha / len(self.names)
        return dict(zip(self.names, found.tolist(), strict=True))

    def to_dataframe(self) -> Any:
        """Return a `pandas.DataFrame` with a row for each concept."""
        import pandas

        return pandas.DataFrame(
            {
                "concept": self.names,
                "score": self.scores.mean(1),
                "random": self.random.mean(),
                "p_value": self.p_value,
                "accuracy": self.accuracy.mean(1),
            }
        )

    def plot(self, alpha: float = 0.05) -> Any:
        """Return bars of the mean scores with standard deviations.

        A line is the mean of the random directions; bars of concepts that do not differ
        from it at the level `alpha` are pale.
        """
        from tfxai.viz.figure_grid import new_figure
        from tfxai.viz.look import INK, PALE

        figure = new_figure((2 + 0.9 * len(self.names), 3.2))
        axes = figure.add_axes((0.2, 0.2, 0.75, 0.65))
        strong = self.significant(alpha)
        colours = [INK if strong[name] else PALE for name in self.names]
        axes.bar(
            range(len(self.names)), self.scores.mean(1), 0.6, color=colours,
            yerr=self.scores.std(1), ecolor=PALE,
        )  # fmt: skip
        axes.axhline(self.random.mean(), color=PALE, linestyle=":")
        axes.set_xticks(range(len(self.names)), self.names, parse_math=False)
        axes.set_ylim(0, 1)
        axes.set_ylabel("TCAV score")
        axes.set_title(f"at {self.at}", parse_math=False)
        return figure


def tcav(
    model: Any,
    x: Any,
    concepts: Mapping[str, Any],
    random: Any,
    at: Any,
    target: Any = None,
    *,
    n_runs: int = 10,
    seed: int = 0,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    batch_size: int = 32,
) -> ConceptScores:
    """Return how often the score of a target rises in the direction of each concept.

    A run draws as many random inputs as the concept has examples, and fits the linear
    classifier of the authors' code (scikit-learn's SGDClassifier, alpha 0.01) on two
    thirds of both. The derivative is that of the logit.

    Args:
        model: A model that TensorFlow can differentiate, or what `wrap` returned.
        x: Samples, most often those of the class, (B, ...).
        concepts: Name -> examples of the concept, (n, ...); at least three each.
        random: Inputs without any of the concepts, (m, ...); at least twice as many as
            the examples of a concept, for directions between two random sets.
        at: The layer: its name, its number in `model.layers`, or the layer.
        target: What is explained, one for each sample; None is the top class.
        n_runs: Number of runs with different random inputs.
        seed: Seed of the draws and the classifier.
        preprocess: `raw batch -> network input`, in TensorFlow operations.
        output: The number or the name of the output, where the model has several.
        batch_size: How many inputs are computed at once.

    Raises:
        InputError: There are too few examples, or inputs do not fit the model.
        OptionError: `concepts` is no mapping.
        TargetError: There are several targets for each sample.
        UnknownNameError: There is no such layer.

    References:
        Kim et al. 2018, arXiv:1711.11279, sections 3.2 to 3.5.

    Example:
        >>> concepts = {"striped": x_striped}
        >>> tfxai.tcav(model, x, concepts, x_random, "block3", 340).significant()
    """
    whole_number("n_runs", n_runs, 2)
    whole_number("seed", seed, 0)
    if not isinstance(concepts, Mapping) or not concepts:
        raise OptionError(
            f"concepts is a {type(concepts).__name__}.",
            "a mapping from names to examples",
            'concepts={"striped": x_striped}',
        )
    wrapped = wrap(model, preprocess, output)
    analyzer = create_analyzer("gradient", wrapped, at=at)
    e = analyzer.analyze(x, target, batch_size)
    if e.target.ndim != 1:
        raise TargetError(f"target={target!r}.", "one target for each sample")
    slopes = np.asarray(e.relevance, np.float64).reshape(len(e), -1)

    inputs = wrapped.checked(x)
    read = activations_of(wrapped, at, inputs, batch_size)

    def activations(examples: Any) -> Array:
        return read(wrapped.checked(examples)).astype(np.float64)

    pool = activations(random)
    shape = pool.shape[1:]
    examples = {name: activations(v) for name, v in concepts.items()}
    _check_counts(examples, pool)
    size = min(len(v) for v in examples.values())
    rng = np.random.default_rng(seed)
    others = pool.reshape(len(pool), -1)
    rows = []
    for values in examples.values():
        flat = values.reshape(len(values), -1)
        draws = [rng.permutation(len(pool))[: len(flat)] for _ in range(n_runs)]
        rows.append([direction(flat, others[d], seed) for d in draws])
    splits = [rng.permutation(len(pool))[: 2 * size] for _ in range(n_runs)]
    chance = [direction(others[s[:size]], others[s[size:]], seed)[0] for s in splits]
    found = np.array([[v for v, _ in row] for row in rows])
    derivatives = found @ slopes.T
    scores = (derivatives > 0).mean(2)
    baseline = (np.array(chance) @ slopes.T > 0).mean(1)
    return ConceptScores(
        list(examples), scores, baseline,
        np.array([p_value(s, baseline) for s in scores]),
        np.array([[a for _, a in row] for row in rows]),
        found.reshape(len(found), n_runs, *shape), derivatives,
        str(analyzer.options["at"]),
    )  # fmt: skip


def _check_counts(examples: Mapping[str, Array], pool: Array) -> None:
    """Raise InputError for too few examples, or too few random inputs."""
    for name, values in examples.items():
        if len(values) < LEAST:
            raise InputError(
                f"The concept {name!r} has {len(values)} examples.",
                f"at least {LEAST}",
            )
    most = max(len(v) for v in examples.values())
    least = 2 * min(len(v) for v in examples.values())
    if len(pool) < max(most, least):
        raise InputError(
            f"random holds {len(pool)} inputs.",
            f"at least {max(most, least)}: as many as a concept has examples, and two "
            "sets of the smallest concept's size",
        )


def direction(concept: Array, other: Array, seed: int) -> tuple[Array, float]:
    """Return the direction (F,) from other to concept rows, and its accuracy.

    Args:
        concept: Activations (n, F) of the examples.
        other: Activations (m, F) of random inputs.
        seed: Seed of split and classifier.
    """
    from sklearn.linear_model import SGDClassifier
    from sklearn.model_selection import train_test_split

    rows = np.concatenate([concept, other])
    labels = np.repeat([1, 0], [len(concept), len(other)])
    train, test, known, wanted = train_test_split(
        rows, labels, test_size=HELD_OUT, stratify=labels, random_state=seed % 2**32
    )
    classifier = SGDClassifier(
        alpha=0.01, max_iter=1000, tol=1e-3, random_state=seed % 2**32
    )
    classifier.fit(train, known)
    normal = classifier.coef_[0]
    length = np.linalg.norm(normal) or 1.0
    return normal / length, float(classifier.score(test, wanted))


def p_value(scores: Array, random: Array) -> float:
    """Return the p-value of a two-sided t-test; 1 or 0 where no score varies."""
    from scipy.stats import ttest_ind

    if np.ptp(scores) == 0 and np.ptp(random) == 0:
        return float(scores[0] == random[0])
    return float(ttest_ind(scores, random).pvalue)
