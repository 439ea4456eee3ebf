"""From a generator to an analyzer: the objective, and one optimisation per sample."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.errors import InputError, ModelError
from tfxai.base.progress import bar
from tfxai.base.tensors import Tensor, chunks
from tfxai.base.validation import above, at_least, whole_number
from tfxai.core.analyzer import Analyzer
from tfxai.core.embedding_cut import TargetFn, select_scaled, select_scores
from tfxai.core.inputs import signature
from tfxai.core.model import ModelWrapper
from tfxai.core.output_scale import check_rows, scaled
from tfxai.perturbation.checks import check_result
from tfxai.perturbation.descent import Descent, compile_by_shape
from tfxai.perturbation.generator import Generator
from tfxai.perturbation.restarts import Array, best_of_starts, stack_records


@dataclass(frozen=True)
class OptimisationConfig:
    """Options that all methods of this package share; see `perturbation_cnn`."""

    n_iterations: int = 300
    learning_rate: float = 0.1
    tolerance: float = 0.0
    restarts: int = 0
    seed: int = 0
    scale: str = "auto"

    def __post_init__(self) -> None:
        whole_number("n_iterations", self.n_iterations, 1)
        whole_number("restarts", self.restarts, 0)
        whole_number("seed", self.seed, 0)
        above("learning_rate", self.learning_rate)
        at_least("tolerance", self.tolerance, 0)


def optimise(
    name: str,
    wrapped: ModelWrapper,
    generator: Callable[[tuple[int, ...]], Generator],
    config: OptimisationConfig,
    target: Any = None,
    options: dict[str, Any] | None = None,
    heatmap: Callable[[Array], Array] | None = None,
) -> Analyzer:
    """Return the analyzer of a generator, with one compiled loop for a whole batch.

    Args:
        name: Name of the method.
        wrapped: The model.
        generator: Function (shape of an image, (H, W, C)) -> generator.
        config: The options of the optimisation.
        target: Default target of `analyze`.
        options: Further options that the explanation reports in `extra`.
        heatmap: Function of the difference x - x' that computes extra["heatmap"], for
            a method with its own postprocessing.
    """
    wrapped.check_differentiable()
    scale, output_scale = scaled(wrapped, config.scale)

    def make(
        inputs: list[Any], target_fn: TargetFn, single_target: bool
    ) -> Callable[..., Any]:
        shape = _image_shape(name, wrapped, inputs)
        check_rows(wrapped, scale, inputs)
        objective = Objective(
            wrapped, generator(shape), output_scale, target_fn, config.n_iterations,
            signature(wrapped.specs, inputs)[0].dtype,
        )  # fmt: skip
        return _ExplainBatch(objective, config, heatmap)

    reported = asdict(config) | {"scale": scale, **(options or {})}
    return Analyzer(name, wrapped, make, target, reported, check_result, together=True)


class _ExplainBatch:
    """Function (batch, target (B, T), max_batch) -> result dict."""

    def __init__(
        self,
        objective: "Objective",
        config: OptimisationConfig,
        heatmap: Callable[[Array], Array] | None,
    ) -> None:
        self._objective, self._config, self._heatmap = objective, config, heatmap
        generator = objective.generator
        self._descent = Descent(
            objective.loss, generator.project, config.n_iterations,
            config.learning_rate, config.tolerance, generator.optimiser,
        )  # fmt: skip

    def __call__(
        self, batch: list[Array], target: Array, max_batch: int
    ) -> dict[str, Any]:
        _check_not_constant(batch[0])
        n_samples, n_targets = target.shape
        x = np.repeat(batch[0].astype(np.float32, copy=False), n_targets, 0)
        targets = target.reshape(-1, 1)
        names = np.repeat(np.arange(n_samples), n_targets)
        records: list[dict[str, Any]] = []
        total = len(x) * self._config.n_iterations * (1 + self._config.restarts)
        with bar("iterations", total) as advance:
            for s in chunks(len(x), max_batch):
                records += best_of_starts(
                    self._objective, self._descent, x[s], targets[s], names[s],
                    self._config.restarts, self._config.seed, advance,
                )  # fmt: skip
        arrays = stack_records(records, x, self._heatmap)
        result: dict[str, Any] = {
            k: v.reshape(n_samples, n_targets, *v.shape[1:]) for k, v in arrays.items()
        }
        result["relevance"] = [np.float32(np.moveaxis(result["relevance"], 1, 0))]
        return result


class Objective:
    """The loss of a wrapped model and a generator, and the outputs before and after.

    Args:
        wrapped: The model.
        generator: The functions that change the input.
        output_scale: Function (outputs) -> explained numbers; see `output_scale`.
        target_fn: The target function, or None where targets are classes.
        n_iterations: Number of iterations; the criterion uses the last cost weight.
        dtype: Data type of the model's input.
    """

    def __init__(
        self, wrapped: ModelWrapper, generator: Generator,
        output_scale: Callable[[Tensor], Tensor], target_fn: TargetFn,
        n_iterations: int, dtype: Any = tf.float32,
    ) -> None:  # fmt: skip
        self.generator, self._wrapped, self._dtype = generator, wrapped, dtype
        self._output_scale, self._target_fn = output_scale, target_fn
        self._n_iterations = n_iterations
        self._probability: Callable[[Tensor], Tensor] | None = None
        if target_fn is None:
            with suppress(ModelError):  # raised where the model has no probabilities
                self._probability = scaled(wrapped, "probability")[1]
        self.evaluate = compile_by_shape(self._evaluate)
        self.resolve_target = compile_by_shape(self._resolve_target)

    def loss(
        self, parameters: list[Tensor], iteration: Tensor, data: list[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the loss, the loss with the last cost weight, and the score, (B,).

        Args:
            parameters: The generator's parameters (B, ...).
            iteration: Number of the iteration.
            data: x, target (B, 1), and the generator's constants.
        """
        x, target, *constants = data
        changed = self.generator.perturb(parameters, x, constants)
        y = self._outputs(self.generator.augment(changed, iteration))
        score = self._scaled(y, target)[:, 0]
        cost = self.generator.cost(parameters, x, changed, iteration)
        now, at_end = (
            self.generator.cost_growth ** tf.cast(n, tf.float32)
            for n in (iteration, self._n_iterations)
        )
        signed = self.generator.sign * score
        return signed + now * cost, signed + at_end * cost, score

    def _resolve_target(self, x: Tensor, target: Tensor) -> Tensor:
        """Return targets (B, 1), with -1 replaced by the top class of x."""
        return select_scores(self._outputs(x), target, self._target_fn)[1]

    def _evaluate(self, parameters: list[Tensor], data: list[Tensor]) -> Any:
        """Return the relevance, x', and the outputs before and after.

        These are the logits and probabilities (B, 1) of x (NaN where there are none),
        the scores (B, 1) of x and of x', and the scaled outputs of x and of x'.
        """
        x, target, *constants = data
        changed = self.generator.perturb(parameters, x, constants)
        y, after = self._outputs(x), self._outputs(changed)
        logit, _ = select_scores(y, target, self._target_fn)
        probability = tf.fill(tf.shape(logit), np.float32(np.nan))
        if self._probability is not None:
            probability = select_scores(self._probability(y), target, None)[0]
        outputs = [self._output_scale(v) for v in (y, after)]
        scores = [self._scaled(v, target) for v in (y, after)]
        relevance = self.generator.relevance(parameters, x, changed)
        return relevance, changed, logit, probability, *scores, *outputs

    def _scaled(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Return the scores (B, 1) of explained outputs."""
        scale, function = self._output_scale, self._target_fn
        return select_scaled(outputs, scale, target, function)[0]

    def _outputs(self, x: Tensor) -> Tensor:
        """Return the model's outputs for raw images of float32."""
        prepared = self._wrapped.prepared([tf.cast(x, self._dtype)])
        return self._wrapped.outputs_of(prepared)


def _image_shape(
    name: str, wrapped: ModelWrapper, inputs: list[Any]
) -> tuple[int, ...]:
    """Return the shape (H, W, C) of an image; raise InputError for other inputs."""
    x = inputs[0]
    if len(inputs) > 1 or x.ndim != 4:
        raise InputError(
            f"{name} received inputs of shapes {[v.shape for v in inputs]}.",
            "one batch of images, (B, H, W, channels)",
            'method="lime"',
        )
    if signature(wrapped.specs, inputs)[0].dtype.is_integer:
        raise InputError(
            f"{name} changes images continuously, and the model takes whole numbers.",
            'inputs of floats, keras.Input(..., dtype="float32")',
            'method="lime"',
        )
    return tuple(x.shape[1:])


def _check_not_constant(x: Array) -> None:
    """Raise InputError for images in which all values are equal."""
    constant = [i for i, v in enumerate(x) if v.max() == v.min()]
    if constant:
        raise InputError(
            f"Sample(s) {constant[:5]} are of one colour, which no perturbation "
            "changes.",
            "images with at least two different values",
        )
