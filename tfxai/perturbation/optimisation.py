"""What every explanation by optimisation shares: from a generator to an analyzer."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.errors import InputError, ModelError
from tfxai.base.progress import bar
from tfxai.base.tensors import Tensor, chunks
from tfxai.base.validation import above, at_least, whole_number
from tfxai.core.analyzer import Analyzer
from tfxai.core.embedding_cut import Function, scored
from tfxai.core.inputs import signature
from tfxai.core.model import ModelWrapper
from tfxai.core.output_scale import check_rows, scaled
from tfxai.perturbation.checks import doubt
from tfxai.perturbation.descent import Descended, Descent, by_shape
from tfxai.perturbation.generator import Generator
from tfxai.perturbation.postprocess import centre

#: How many classes stand in the table of answers before and after.
TOP = 5
#: A channel is lost when its deviation has fallen below this share.
FLAT = 0.05


def learnt(
    name: str,
    wrapped: ModelWrapper,
    generator: Callable[[tuple[int, ...]], Generator],
    picture: Callable[[np.ndarray], np.ndarray] | None = None,
    steps: int = 300,
    learning_rate: float = 0.1,
    tolerance: float = 0.0,
    restarts: int = 0,
    seed: int = 0,
    scale: str = "auto",
    target: Any = None,
    options: dict[str, Any] | None = None,
) -> Analyzer:
    """The analyzer of a generator, by one compiled loop for a whole batch.

    generator: (shape of a picture, (H, W, C)) -> what rewrites it.
    picture: (its difference x - x') -> extra["heatmap"], where the method has its own.
    The other arguments: see `perturbation_cnn`.
    """
    wrapped.check_differentiable()
    whole_number("steps", steps, 1)
    whole_number("restarts", restarts, 0)
    whole_number("seed", seed, 0)
    above("learning_rate", learning_rate)
    at_least("tolerance", tolerance, 0)
    scale, number = scaled(wrapped, scale)

    def make(inputs: list, function: Function, one: bool) -> Callable:
        shape = _shape(name, wrapped, inputs)
        check_rows(wrapped, scale, inputs)
        asked = _Asked(
            wrapped, generator(shape), number, function, steps,
            signature(wrapped.specs, inputs)[0].dtype,
        )  # fmt: skip
        descent = Descent(
            asked.loss, asked.generator.settle, steps, learning_rate, tolerance,
            asked.generator.rule,
        )  # fmt: skip

        def maps(batch: list, target: np.ndarray, max_batch: int) -> dict[str, Any]:
            samples, targets = target.shape
            _check(batch[0])
            x = np.repeat(batch[0].astype(np.float32, copy=False), targets, 0)
            goals = target.reshape(-1, 1)
            names = np.repeat(np.arange(samples), targets)
            rows: list[dict] = []
            with bar("steps", len(x) * steps * (1 + restarts)) as advance:
                for s in chunks(len(x), max_batch):
                    rows += _explained(
                        asked, descent, x[s], goals[s], names[s], restarts, seed,
                        advance,
                    )  # fmt: skip
            found = _gathered(rows, x, picture)
            made: dict[str, Any] = {
                k: v.reshape(samples, targets, *v.shape[1:]) for k, v in found.items()
            }
            made["relevance"] = [np.float32(np.moveaxis(made["relevance"], 1, 0))]
            return made

        return maps

    told: dict[str, Any] = {"steps": steps, "learning_rate": learning_rate}
    told |= {
        "tolerance": tolerance,
        "restarts": restarts,
        "seed": seed,
        "scale": scale,
        **(options or {}),
    }
    return Analyzer(name, wrapped, make, target, told, doubt, together=True)


class _Asked:
    """A wrapped model and a generator: losses, and answers before and after."""

    def __init__(
        self, wrapped: ModelWrapper, generator: Generator, number: Callable,
        function: Any, steps: int, dtype: Any = tf.float32,
    ) -> None:  # fmt: skip
        self.generator, self._wrapped, self._dtype = generator, wrapped, dtype
        self._number, self._function, self._steps = number, function, steps
        self._chance: Callable | None = None
        if function is None:
            with suppress(ModelError):  # where the model gives no probabilities
                self._chance = scaled(wrapped, "probability")[1]
        self.answers, self.resolved = by_shape(self._answers), by_shape(self._resolved)

    def loss(self, parameters: list, step: Tensor, data: list) -> tuple:
        """Loss, loss as at the last step, and score, (B,).

        data: x, target (B, 1), and what the generator needs.
        """
        x, goal, *aside = data
        changed = self.generator.paint(parameters, x, aside)
        y = self._outputs(self.generator.shaken(changed, step))
        score = scored(self._number(y), goal, self._function)[0][:, 0]
        cost = self.generator.cost(parameters, x, changed, step)
        grown, at_last = (
            self.generator.growth ** tf.cast(n, tf.float32) for n in (step, self._steps)
        )
        gain = self.generator.wanted * score
        return gain + grown * cost, gain + at_last * cost, score

    def _resolved(self, x: Tensor, goal: Tensor) -> Tensor:
        """Targets (B, 1), the top class of x where none was given."""
        return scored(self._outputs(x), goal, self._function)[1]

    def _answers(self, parameters: list, data: list) -> tuple:
        """The map, x', logits, probabilities (NaN where there are none), and the
        explained numbers of x and of x'.
        """
        x, goal, *aside = data
        changed = self.generator.paint(parameters, x, aside)
        y, after = self._outputs(x), self._outputs(changed)
        logit, _ = scored(y, goal, self._function)
        chance = tf.fill(tf.shape(logit), np.float32(np.nan))
        if self._chance is not None:
            chance = scored(self._chance(y), goal, None)[0]
        pairs = [self._number(v) for v in (y, after)]
        scores = [scored(v, goal, self._function)[0] for v in pairs]
        map = self.generator.map(parameters, x, changed)
        return map, changed, logit, chance, *scores, *pairs

    def _outputs(self, x: Tensor) -> Tensor:
        seen = self._wrapped.prepared([tf.cast(x, self._dtype)])
        return self._wrapped.outputs_of(seen)


def _explained(
    asked: _Asked,
    descent: Descent,
    x: np.ndarray,
    goal: np.ndarray,
    names: np.ndarray,
    restarts: int,
    seed: int,
    advance: Callable,
) -> list[dict[str, Any]]:
    """A dict for each of x (B, H, W, C): what the best of all starts came to.

    names: (B,), the numbers of the samples, for errors.
    """
    began = time.perf_counter()
    data = [tf.constant(v) for v in (x, goal, *asked.generator.aside(x))]
    data[1] = asked.resolved(*data[:2])  # of x, once: not of what it becomes
    rows: list[Any] = [None] * len(x)
    todo = np.arange(len(x))
    for attempt in range(1 + restarts):
        rng = np.random.default_rng([seed, attempt])
        one = asked.generator.start(rng, attempt)
        start = [np.stack([p] * len(todo)) for p in one]
        some = [tf.gather(v, todo) for v in data]
        found = _with_bar(descent, start, some, names[todo], advance)
        for row in _rows(asked, found, some, todo):
            old = rows[row["sample"]]
            if old is None or _worth(row) < _worth(old):
                rows[row["sample"]] = row
        todo = np.array(
            [i for i in todo if asked.generator.wanted > 0 and _stuck(rows[i])]
        )
        if not len(todo):
            break
    for row in rows:
        row["seconds"] = np.float32((time.perf_counter() - began) / len(x))
        del row["sample"]
    return rows


def _with_bar(
    descent: Descent, start: list, data: list, names: np.ndarray, advance: Callable
) -> Descended:
    done = 0

    def seen(steps: int, score: float) -> None:
        nonlocal done
        advance((steps - done) * len(start[0]), f"score {score:.3f}")
        done = steps

    return descent(start, data, seen, names)


def _rows(asked: _Asked, found: Descended, data: list, which: np.ndarray) -> list[dict]:
    """One dict per sample, of what was found."""
    parameters = [tf.constant(p) for p in found.parameters]
    map, changed, logit, chance, before, after, *pairs = (
        v.numpy() for v in asked.answers(parameters, data)
    )
    x, goal = data[0].numpy(), data[1].numpy()
    rows = []
    for i, sample in enumerate(which):
        row = {
            "sample": sample,
            "relevance": map[i],
            "perturbed": changed[i],
            "score": logit[i, 0],
            "target": goal[i, 0],
            "score_before": before[i, 0],
            "score_after": after[i, 0],
            "probability": chance[i, 0],
            "loss": found.loss[i],
            "loss_history": found.history[0, i],
            "score_history": found.history[1, i],
            "steps_taken": found.steps[i],
            "best_step": found.best[i],
            "l1": np.abs(x[i] - changed[i]).mean(),
            "channels_lost": _lost(x[i], changed[i]),
        }
        if pairs[0].ndim == 2:
            top = np.argsort(-pairs[0][i], kind="stable")[:TOP]
            row["top_classes"] = top
            row["top_before"], row["top_after"] = (p[i, top] for p in pairs)
        rows.append(row)
    return rows


def _worth(row: dict) -> tuple[bool, float]:
    """What the starts of a sample are compared by: the smaller, the better."""
    return _stuck(row), float(row["loss"])


def _gathered(
    rows: list[dict], x: np.ndarray, picture: Callable | None
) -> dict[str, np.ndarray]:
    """What was found as arrays (B, ...), with its picture and centre of mass."""
    for v, row in zip(x, rows, strict=True):
        seen = row["relevance"].sum(-1)
        if picture is not None:
            seen = row["heatmap"] = np.float32(picture(v - row["perturbed"]))
        row["center_of_mass"] = centre(seen)
    return {k: np.stack([row[k] for row in rows]) for k in rows[0]}


def _stuck(row: dict) -> bool:
    """Has the score fallen by less than nine tenths of its size, or a channel died?"""
    before = float(row["score_before"])
    kept = float(row["score_after"]) > before - 0.9 * abs(before)
    return kept or row["channels_lost"] > 0


def _lost(x: np.ndarray, changed: np.ndarray) -> int:
    """How many channels of x (H, W, C) came out flat.

    Behind a ReLU that is 0 everywhere there is no slope that would bring one back.
    """
    before, after = x.std((0, 1)), changed.std((0, 1))
    return int((after < FLAT * before).sum())


def _shape(name: str, wrapped: ModelWrapper, inputs: list) -> tuple[int, ...]:
    """The shape of a picture, or an error that says what was given."""
    x = inputs[0]
    if len(inputs) > 1 or x.ndim != 4:
        raise InputError(
            f"{name} was asked about inputs of shapes {[v.shape for v in inputs]}.",
            "one batch of pictures, (B, H, W, channels)",
            'method="lime"',
        )
    if signature(wrapped.specs, inputs)[0].dtype.is_integer:
        raise InputError(
            f"{name} changes pictures bit by bit, and the model takes whole numbers.",
            'inputs of floats, keras.Input(..., dtype="float32")',
            'method="lime"',
        )
    return x.shape[1:]


def _check(x: np.ndarray) -> None:
    plain = [i for i, v in enumerate(x) if v.max() == v.min()]
    if plain:
        raise InputError(
            f"Sample(s) {plain[:5]} are of one colour: there is nothing to take away.",
            "pictures with something in them",
        )
