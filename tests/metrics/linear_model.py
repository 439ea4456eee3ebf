"""A linear model with known relevance, and random images."""

import keras
import numpy as np

from tfxai.core.explanation import Explanation
from tfxai.metrics.registry import compute

SIDE, CHANNELS, CLASSES = 12, 3, 3


def linear(activation="softmax", seed=0, side=SIDE, channels=CHANNELS):
    """Return a dense layer without bias on Flatten: the relevance is x * w."""
    x = keras.Input((side, side, channels))
    dense = keras.layers.Dense(CLASSES, activation, use_bias=False)
    model = keras.Model(x, dense(keras.layers.Flatten()(x)))
    rng = np.random.default_rng(seed)
    shape = model.weights[0].shape
    # Most weights are small and a few are large, so the order matters.
    model.set_weights([0.1 * rng.normal(size=shape) * rng.uniform(size=shape) ** 3])
    return model


def images(count=3, side=SIDE, channels=CHANNELS, seed=1):
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 1, (count, side, side, channels)).astype(np.float32)


def weights(model, target):
    """Return the weights (B, H, W, C) of each target."""
    w = np.asarray(model.weights[0]).astype(float)
    return w.T[np.asarray(target)].reshape(-1, *model.input_shape[1:])


def explained(model, x, relevance, target, **extra):
    """Return an explanation with this relevance and the model's score."""
    target = np.asarray(target)
    score = (weights(model, target) * x).reshape(len(x), -1).sum(1)
    relevance = np.asarray(relevance, np.float32)
    return Explanation(relevance, target, np.float32(score), "by hand", x, extra)


def exact(model, x, target, base=None):
    """Return the exact relevance (x - base) * w; base is the mean of each channel."""
    base = x.mean((1, 2), keepdims=True) if base is None else base
    return explained(model, x, (x - base) * weights(model, target), target)


def softmax(z):
    p = np.exp(z - z.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


def value(name, model, heatmap, **options):
    """Return the metric of one heatmap, which is given as rows."""
    heatmap = np.array(heatmap, float)[None, ..., None]
    x = images(1, heatmap.shape[1], 1)
    return compute(name, model, explained(model, x, heatmap, [0]), **options)[0]
