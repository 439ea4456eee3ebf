"""Attention rollout: the product of the attention weights of all layers.

Abnar and Zuidema 2020, arXiv:2005.00928, section 3. It is no explanation of a target,
and is here for comparison: the answer does not change it.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.errors import ModelError
from tfxai.base.tensors import Tensor
from tfxai.core.inputs import signature
from tfxai.core.model import ModelWrapper

Array = np.ndarray[Any, Any]
NAME = "attention_rollout"


class Rollout:
    """Attention rollout of a model, compiled once for each length.

    Args:
        wrapped: The model, with one stack of attention layers.
    """

    def __init__(self, wrapped: ModelWrapper) -> None:
        self.wrapped = wrapped
        self._functions: dict[Any, Any] = {}

    def rows(self, inputs: list[Array], positions: Array) -> Array:
        """Return how much each token (B, L) is attended to, through all layers.

        A = (mean of the heads + I) / 2 in each layer; the row of the position of the
        product of all layers, whose sum is 1.

        Args:
            inputs: The checked inputs.
            positions: The position (B,) that reads the others.

        Raises:
            ModelError: No softmax of the model is one over the tokens.
        """
        self.wrapped.confirm(inputs)
        specs = signature(self.wrapped.specs, inputs)
        key = tuple(tuple(v.shape[1:]) for v in inputs)
        if key not in self._functions:
            self._functions[key] = tf.function(
                lambda *x: self._product(list(x)), list(specs), autograph=False
            )
        product = self._functions[key](*inputs).numpy()
        found: Array = product[np.arange(len(product)), positions]
        return found

    def _product(self, x: list[Tensor]) -> Tensor:
        prepared = self.wrapped.prepared(x)
        program = self.wrapped.program().at([v.shape for v in prepared])
        length = x[0].shape[1]
        values = program.run(prepared)
        total = None
        for step in program.steps:
            weights = values[step.output]
            square = [*weights.shape[-2:]] == [length, length]
            if step.kind != "softmax" or not square or weights.shape.rank < 3:
                continue
            axes = list(range(1, weights.shape.rank - 2))
            mean = tf.reduce_mean(weights, axes) if axes else weights
            mixed = (mean + tf.eye(length)) / 2
            total = mixed if total is None else mixed @ total
        if total is None:
            raise ModelError(
                "No step of the model is a softmax over all pairs of tokens.",
                "a decoder or an encoder with attention layers",
                'method="lrp.attn"',
            )
        return total
