"""Small Keras networks for the tests, each with weights from an explicit seed.

`LAYERS` is a table name -> (layer, input shapes), one row per kind of linear layer;
`one_layer(name)` is that layer as a model. `NETWORKS` is a table name -> builder;
`network(name)` is the model. Biases are never zero, BatchNormalization has negative
gammas, and `inputs` are of both signs by default.
"""

from collections.abc import Callable

import keras
import numpy as np

L = keras.layers
Shape = tuple[int, ...]


def fill(model: keras.Model, seed: int = 0) -> keras.Model:
    """Set every variable of the model to values that suit its name."""
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        if "seed" not in variable.name:
            variable.assign(_value(variable.name, tuple(variable.shape), rng))
    return model


def _value(name: str, shape: Shape, rng: np.random.Generator) -> np.ndarray:
    if name in ("moving_variance", "gamma"):
        sign = np.resize([1, -1], shape) if name == "gamma" else 1
        return sign * rng.uniform(0.5, 1.5, shape)
    if "kernel" in name:
        return rng.normal(size=shape) / np.sqrt(np.prod(shape[:-1]))
    return rng.choice([-1, 1], shape) * rng.uniform(0.1, 0.4, shape)


def inputs(
    model: keras.Model, samples: int = 2, signed: bool = True, seed: int = 1
) -> list[np.ndarray]:
    """Return a float32 batch for every input, in (-1, 1); unsigned: as after a ReLU."""
    rng = np.random.default_rng(seed)
    values = [rng.uniform(-1, 1, (samples, *t.shape[1:])) for t in model.inputs]
    return [np.float32(v if signed else np.maximum(v, 0)) for v in values]


# -- one linear layer ----------------------------------------------------------------

#: name -> (builder of the layer, shapes of its inputs)
LAYERS: dict[str, tuple[Callable[[], keras.Layer], list[Shape]]] = {
    "dense": (lambda: L.Dense(4), [(6,)]),
    "dense_3d": (lambda: L.Dense(4), [(3, 5)]),
    "dense_without_bias": (lambda: L.Dense(4, use_bias=False), [(6,)]),
    "dense_large": (lambda: L.Dense(1030), [(1024,)]),  # its kernel is read in blocks
    "conv1d": (lambda: L.Conv1D(3, 3), [(8, 2)]),
    "conv1d_same_strided": (
        lambda: L.Conv1D(3, 3, strides=2, padding="same"), [(8, 2)],
    ),
    "conv1d_causal": (lambda: L.Conv1D(3, 3, padding="causal"), [(8, 2)]),
    "conv1d_causal_dilated": (
        lambda: L.Conv1D(3, 2, padding="causal", dilation_rate=3), [(8, 2)],
    ),
    "conv2d": (lambda: L.Conv2D(3, 3), [(6, 5, 2)]),
    "conv2d_same": (lambda: L.Conv2D(3, (3, 2), padding="same"), [(5, 6, 2)]),
    "conv2d_same_strided": (
        lambda: L.Conv2D(3, 3, strides=2, padding="same"), [(6, 5, 2)],
    ),
    "conv2d_dilated": (lambda: L.Conv2D(3, 2, dilation_rate=2), [(6, 6, 2)]),
    "conv2d_same_dilated": (
        lambda: L.Conv2D(2, 3, padding="same", dilation_rate=2), [(6, 5, 2)],
    ),
    "conv2d_groups": (
        lambda: L.Conv2D(4, 2, padding="same", groups=2), [(4, 4, 4)],
    ),
    "conv2d_without_bias": (lambda: L.Conv2D(3, 3, use_bias=False), [(5, 5, 2)]),
    "conv3d": (lambda: L.Conv3D(2, 2), [(3, 4, 3, 2)]),
    "conv3d_same_strided": (
        lambda: L.Conv3D(2, 3, strides=2, padding="same"), [(4, 3, 4, 2)],
    ),
    "depthwise1d": (lambda: L.DepthwiseConv1D(3, depth_multiplier=2), [(8, 2)]),
    "depthwise1d_same_strided": (
        lambda: L.DepthwiseConv1D(3, strides=2, padding="same", depth_multiplier=2),
        [(8, 2)],
    ),
    "depthwise2d": (lambda: L.DepthwiseConv2D(3, depth_multiplier=2), [(5, 6, 2)]),
    "depthwise2d_same_strided": (
        lambda: L.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=2),
        [(6, 6, 3)],
    ),
    "depthwise2d_dilated": (
        lambda: L.DepthwiseConv2D(2, dilation_rate=2, depth_multiplier=2), [(5, 5, 2)],
    ),
    "depthwise2d_channels_first": (
        lambda: L.DepthwiseConv2D(
            2, depth_multiplier=2, data_format="channels_first"
        ),
        [(3, 4, 5)],
    ),
    "separable1d": (lambda: L.SeparableConv1D(3, 3, depth_multiplier=2), [(8, 2)]),
    "separable1d_same_strided": (
        lambda: L.SeparableConv1D(3, 3, strides=2, padding="same"), [(8, 2)],
    ),
    "separable2d": (lambda: L.SeparableConv2D(3, 3, depth_multiplier=2), [(5, 5, 2)]),
    "separable2d_same_strided": (
        lambda: L.SeparableConv2D(
            3, 3, strides=2, padding="same", depth_multiplier=2
        ),
        [(5, 6, 2)],
    ),
    "separable2d_dilated": (
        lambda: L.SeparableConv2D(3, 2, dilation_rate=2), [(5, 5, 2)],
    ),
    "conv1d_transpose": (lambda: L.Conv1DTranspose(3, 3), [(4, 2)]),
    "conv1d_transpose_same_strided": (
        lambda: L.Conv1DTranspose(3, 3, strides=2, padding="same"), [(4, 2)],
    ),
    "conv2d_transpose": (lambda: L.Conv2DTranspose(3, 3), [(3, 4, 2)]),
    "conv2d_transpose_same_strided": (
        lambda: L.Conv2DTranspose(3, 3, strides=2, padding="same"), [(3, 4, 2)],
    ),
    "conv2d_transpose_output_padding": (
        lambda: L.Conv2DTranspose(2, 3, strides=2, output_padding=1), [(3, 3, 2)],
    ),
    "conv3d_transpose": (
        lambda: L.Conv3DTranspose(2, 2, strides=2), [(2, 2, 3, 2)],
    ),
    "average1d": (lambda: L.AveragePooling1D(3, strides=2), [(8, 2)]),
    "average1d_same": (lambda: L.AveragePooling1D(3, padding="same"), [(8, 2)]),
    "average2d": (lambda: L.AveragePooling2D((2, 3)), [(6, 6, 2)]),
    "average2d_same_strided": (
        lambda: L.AveragePooling2D(3, strides=2, padding="same"), [(6, 5, 2)],
    ),
    "average2d_channels_first": (
        lambda: L.AveragePooling2D(2, data_format="channels_first"), [(3, 4, 4)],
    ),
    "average3d": (lambda: L.AveragePooling3D(2), [(4, 4, 2, 2)]),
    "average3d_same": (
        lambda: L.AveragePooling3D(2, strides=1, padding="same"), [(3, 3, 3, 2)],
    ),
    "global_average1d": (lambda: L.GlobalAveragePooling1D(), [(6, 3)]),
    "global_average2d": (lambda: L.GlobalAveragePooling2D(), [(4, 3, 3)]),
    "global_average2d_kept": (
        lambda: L.GlobalAveragePooling2D(keepdims=True), [(4, 3, 3)],
    ),
    "global_average3d": (lambda: L.GlobalAveragePooling3D(), [(3, 2, 3, 2)]),
    "add": (lambda: L.Add(), [(3, 4), (3, 4)]),
    "add_three": (lambda: L.Add(), [(5,), (5,), (5,)]),
    "batch_norm": (lambda: L.BatchNormalization(), [(4, 4, 3)]),
    "batch_norm_first_axis": (lambda: L.BatchNormalization(axis=1), [(4, 3)]),
    "batch_norm_dense": (lambda: L.BatchNormalization(epsilon=0.1), [(6,)]),
    "batch_norm_bare": (
        lambda: L.BatchNormalization(scale=False, center=False), [(4, 3)],
    ),
}  # fmt: skip


def stacked(layers: list[keras.Layer], *shapes: Shape, seed: int = 0) -> keras.Model:
    """Return a sequential model of the layers, with weights set."""
    tensors = [keras.Input(s) for s in shapes]
    y = tensors if len(tensors) > 1 else tensors[0]
    for layer in layers:
        y = layer(y)
    return fill(keras.Model(tensors, y), seed)


def one_layer(name: str, seed: int = 0) -> keras.Model:
    """Return the layer `name` of the table as a model."""
    make, shapes = LAYERS[name]
    return stacked([make()], *shapes, seed=seed)


# -- whole networks ------------------------------------------------------------------


def _mlp() -> keras.Model:
    x = keras.Input((6,))
    y = L.Dense(16, "relu")(x)
    y = L.Dense(12, "relu")(y)
    return keras.Model(x, L.Dense(4)(y))


def _mlp_softmax() -> keras.Model:
    x = keras.Input((6,))
    y = L.Dense(16, "relu")(x)
    return keras.Model(x, L.Dense(4, "softmax")(y))


def _cnn() -> keras.Model:
    x = keras.Input((7, 7, 2))
    y = L.Conv2D(4, 3, padding="same", activation="relu")(x)
    y = L.AveragePooling2D(2)(y)
    y = L.Conv2D(6, 2)(y)
    y = L.ReLU()(y)
    return keras.Model(x, L.Dense(4)(L.Flatten()(y)))


def _cnn_max() -> keras.Model:
    x = keras.Input((8, 8, 2))
    y = L.ReLU()(L.Conv2D(4, 3)(x))
    y = L.Dropout(0.5)(L.MaxPooling2D(2)(y))
    y = L.Activation("relu")(L.Conv2D(5, 2, strides=2, padding="same")(y))
    return keras.Model(x, L.Dense(4, "softmax")(L.Flatten()(y)))


def _residual() -> keras.Model:
    x = keras.Input((6, 6, 2))
    a = L.Conv2D(4, 3, padding="same", activation="relu")(x)
    b = L.Conv2D(4, 3, padding="same", activation="relu")(a)
    b = L.Conv2D(4, 3, padding="same")(b)
    y = L.ReLU()(L.Add()([a, b]))
    return keras.Model(x, L.Dense(4)(L.GlobalAveragePooling2D()(y)))


def _branches() -> keras.Model:
    x = keras.Input((6, 6, 2))
    y = L.Conv2D(4, 3, padding="same", activation="relu")(x)
    a = L.Conv2D(3, 1, activation="relu")(y)
    b = L.Conv2D(3, 3, padding="same", activation="relu")(y)
    y = L.Concatenate()([a, b, y])
    y = L.Conv2D(3, 2, strides=2)(y)
    return keras.Model(x, L.Dense(4)(L.Flatten()(L.ReLU()(y))))


def _read_twice() -> keras.Model:
    x = keras.Input((6,))
    y = L.Dense(12, "relu")(x)
    y = L.Dense(8, "relu")(L.Add()([y, y]))
    return keras.Model(x, L.Dense(4)(L.Concatenate()([y, y])))


def _separable() -> keras.Model:
    x = keras.Input((6, 6, 3))
    y = L.SeparableConv2D(4, 3, padding="same", activation="relu")(x)
    y = L.DepthwiseConv2D(2, depth_multiplier=2, activation="relu")(y)
    return keras.Model(x, L.Dense(4)(L.Flatten()(y)))


def _linear() -> keras.Model:
    x = keras.Input((7, 7, 2))
    y = L.Conv2D(4, 3, padding="same")(x)
    y = L.AveragePooling2D(2)(y)
    y = L.Conv2D(5, 2)(y)
    return keras.Model(x, L.Dense(4)(L.Dense(6)(L.Flatten()(y))))


def _activations() -> keras.Model:
    x = keras.Input((6,))
    y = L.LeakyReLU(0.2)(L.Dense(10, "tanh")(x))
    y = L.Dense(10, "elu")(L.Dense(12, "relu6")(y))
    return keras.Model(x, L.Dense(4)(L.Dense(8, "sigmoid")(y)))


def _conv1d() -> keras.Model:
    x = keras.Input((10, 2))
    y = L.Conv1D(6, 3, padding="causal", activation="relu")(x)
    y = L.AveragePooling1D(2)(y)
    y = L.Conv1D(8, 3, activation="relu")(y)
    return keras.Model(x, L.Dense(4)(L.GlobalAveragePooling1D()(y)))


def _two_inputs() -> keras.Model:
    a, b = keras.Input((5,)), keras.Input((3,))
    y = L.Concatenate()([L.Dense(12, "relu")(a), L.Dense(10, "relu")(b)])
    return keras.Model([a, b], L.Dense(4)(L.Dense(12, "relu")(y)))


def _batch_norm() -> keras.Model:
    x = keras.Input((6, 6, 3))
    y = L.ReLU()(L.BatchNormalization()(L.Conv2D(4, 3, use_bias=False)(x)))
    y = L.BatchNormalization()(L.Conv2D(4, 3, padding="same", activation="relu")(y))
    y = L.MaxPooling2D(2)(y)
    return keras.Model(x, L.Dense(4)(L.Flatten()(y)))


#: name -> builder of the network. Classifiers of four classes.
NETWORKS: dict[str, Callable[[], keras.Model]] = {
    "mlp": _mlp,
    "mlp_softmax": _mlp_softmax,
    "cnn": _cnn,
    "cnn_max": _cnn_max,
    "residual": _residual,
    "branches": _branches,
    "read_twice": _read_twice,
    "separable": _separable,
    "linear": _linear,
    "activations": _activations,
    "conv1d": _conv1d,
    "two_inputs": _two_inputs,
    "batch_norm": _batch_norm,
}


def network(name: str, seed: int = 0) -> keras.Model:
    """Return the network `name` of the table, with weights from the seed."""
    return fill(NETWORKS[name](), seed)


def nested(seed: int = 0) -> tuple[keras.Model, keras.Model]:
    """Return the same network twice: with a nested model, and without."""
    body = [
        lambda: L.Conv2D(4, 3, activation="relu", name="a"),
        lambda: L.Conv2D(3, 2, activation="relu", name="b"),
    ]
    inner = keras.Sequential([keras.Input((6, 6, 2)), *[f() for f in body]])
    models = []
    for middle in ([inner], [f() for f in body]):
        x = y = keras.Input((6, 6, 2))
        for layer in [*middle, L.Flatten(), L.Dense(4, name="logits")]:
            y = layer(y)
        models.append(keras.Model(x, y))
    fill(models[0], seed)
    models[1].set_weights(models[0].get_weights())
    return models[0], models[1]


def image_network(*last):
    """Return a small network of images 6 x 6 x 2 that ends in the layers `last`."""
    i = keras.Input((6, 6, 2))
    y = L.GlobalAveragePooling2D()(L.Conv2D(4, 3, activation="relu")(i))
    for layer in last:
        y = layer(y)
    return fill(keras.Model(i, y))
