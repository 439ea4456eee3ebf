"""Layers, cells and models as users write them, for the tests of the reader."""

import keras

L = keras.layers
ops = keras.ops

CLASSES, WORDS, LENGTH, BATCH = 3, 12, 3, 5


def weight(layer, name, *shape):
    return layer.add_weight(shape=shape, initializer="normal", name=name)


class Positions(L.Layer):
    """Embeddings of words and of positions."""

    def __init__(self):
        super().__init__()
        self.words = L.Embedding(WORDS, 6)
        self.places = L.Embedding(LENGTH, 6, name="shift_places")

    def call(self, x):
        return self.words(x) + self.places(ops.arange(0, LENGTH))


class ClassToken(L.Layer):
    """Prepend one learned token."""

    def build(self, shape):
        self.token = weight(self, "shift_token", 1, 1, shape[-1])

    def call(self, x):
        first = ops.broadcast_to(self.token, (ops.shape(x)[0], 1, x.shape[-1]))
        return ops.concatenate([first, x], 1)

    def compute_output_shape(self, shape):
        return (shape[0], shape[1] + 1, shape[2])


class Patches(L.Layer):
    """Patches of 2 x 2 as tokens."""

    def call(self, x):
        p = ops.image.extract_patches(x, size=2)
        return ops.reshape(p, (ops.shape(x)[0], p.shape[1] * p.shape[2], p.shape[3]))


class WeightTimes(L.Layer):
    """`self.w * x`: the variable on the left."""

    def build(self, shape):
        self.w = weight(self, "kernel", shape[-1])

    def call(self, x):
        return self.w * x


class Sliced(L.Layer):
    """A product with a part of a variable."""

    def build(self, shape):
        self.w = weight(self, "kernel", shape[-1], 7)

    def call(self, x):
        return ops.matmul(x, self.w[:, :5])


class Symmetric(L.Layer):
    """A product with a kernel computed from a variable."""

    def build(self, shape):
        self.w = weight(self, "kernel", shape[-1], shape[-1])

    def call(self, x):
        return ops.matmul(x, (self.w + ops.transpose(self.w)) / 2.0)


class EinsumVariable(L.Layer):
    """ops.einsum of a tensor and a variable."""

    def build(self, shape):
        self.w = weight(self, "kernel", shape[-1], 2, 3)

    def call(self, x):
        return ops.einsum("...i,iho->...ho", x, self.w)


class ByHand(L.Layer):
    """A dense layer by operations."""

    def build(self, shape):
        self.w = weight(self, "kernel", shape[-1], 4)
        self.b = weight(self, "bias", 4)

    def call(self, x):
        return ops.matmul(x, self.w) + self.b


class ConvVariable(L.Layer):
    """ops.conv with a variable; weights are standardised first."""

    def build(self, shape):
        self.w = weight(self, "kernel", 3, 3, shape[-1], 3)

    def call(self, x):
        w = self.w - ops.mean(self.w, (0, 1, 2), keepdims=True)
        return ops.conv(x, w, strides=1, padding="same")


class OwnCell(L.Layer):
    """A recurrent cell written by hand."""

    state_size = 4

    def build(self, shape):
        self.w = weight(self, "kernel", shape[-1], 4)
        self.u = weight(self, "recurrent_kernel", 4, 4)

    def call(self, x, states):
        h = ops.tanh(ops.matmul(x, self.w) + ops.matmul(states[0], self.u))
        return h, [h]


class ConcatenatingCell(L.Layer):
    """A recurrent cell that concatenates input and state."""

    state_size = 4

    def build(self, shape):
        self.w = weight(self, "kernel", shape[-1] + 4, 4)

    def call(self, x, states):
        h = ops.tanh(ops.matmul(ops.concatenate([x, states[0]], -1), self.w))
        return h, [h]


class Encoder(L.Layer):
    """A transformer block, as a layer of layers."""

    def __init__(self):
        super().__init__()
        self.look = L.MultiHeadAttention(2, 3)
        self.one, self.two = L.LayerNormalization(), L.LayerNormalization()
        self.up, self.down = L.Dense(8, "gelu"), L.Dense(6)
        self.supports_masking = True

    def call(self, x, training=None):
        x = self.one(x + self.look(x, x))
        return self.two(x + self.down(self.up(x), training=training))


class Subclassed(keras.Model):
    """A model with a `call` of its own, and a Sequential inside."""

    def __init__(self):
        super().__init__()
        self.body = keras.Sequential([L.Dense(6, "relu"), L.Dropout(0.5), L.Dense(5)])
        self.last = L.Dense(CLASSES)

    def call(self, x, training=False):
        return self.last(ops.relu(self.body(x, training=training)) * 2.0)


class Reader(keras.Model):
    """A subclassed model that reads tokens and computes its own mask."""

    def __init__(self):
        super().__init__()
        self.words = L.Embedding(WORDS, 6)
        self.mean, self.last = L.GlobalAveragePooling1D(), L.Dense(CLASSES)

    def call(self, x):
        return self.last(self.mean(self.words(x), mask=ops.not_equal(x, 0)))


class OwnCall(keras.Model):
    """A functional model with its own `call`."""

    def __init__(self):
        x = keras.Input((6,))
        super().__init__(x, L.Dense(CLASSES)(x))

    def call(self, x, **options):
        return super().call(x) * 2.0


class SequentialOwnCall(keras.Sequential):
    def call(self, x, **options):
        return super().call(x) * 2.0


class Lookup(L.Layer):
    """An embedding by ops.take."""

    def build(self, shape):
        self.table = weight(self, "embeddings", WORDS, 6)

    def call(self, x):
        return ops.take(self.table, x, 0)
