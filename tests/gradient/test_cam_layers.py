"""Which layer a class activation map is of, and where its positions are."""

from functools import cache

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tests import zoo
from tests.gradient.test_cam import enlarged, images
from tfxai.errors import ModelError, OptionError, UnknownNameError
from tfxai.gradient.token_grids import token_grids

L, ops = keras.layers, keras.ops

# -- layer= --------------------------------------------------------------------------


@cache
def nested():
    """Return a network of two blocks whose layers have the same names."""

    def block(shape, filters, name):
        i = keras.Input(shape)
        y = L.Conv2D(filters, 3, padding="same", name="conv")(i)
        return keras.Model(i, L.ReLU(name=f"{name}_relu")(y), name=name)

    x = keras.Input((8, 8, 2))
    first, second = block((8, 8, 2), 4, "first"), block((4, 4, 4), 3, "second")
    y = second(L.MaxPooling2D(name="pool")(first(x)))
    model = zoo.fill(keras.Model(x, L.Dense(2, name="end")(L.Flatten(name="flat")(y))))
    return tfxai.wrap(model)


def map_of(layer, **options):
    return tfxai.explain(nested(), images(2, (8, 8, 2)), "gradcam", 1, layer=layer,
                         **options)  # fmt: skip


def test_a_layer_by_object_number_and_short_name():
    model = nested().model
    first = model.get_layer("first")
    for layer, name in [
        (first.get_layer("conv"), "first/conv"),
        (first, "first/first_relu"),
        (2, "pool"),
        (-3, "second/second_relu"),
        (model.layers[-3], "second/second_relu"),
        ("first_relu", "first/first_relu"),
        ("second/conv", "second/conv"),
    ]:
        e = map_of(layer)
        assert e.extra["layer"] == name
        np.testing.assert_array_equal(e.relevance, map_of(name).relevance)


def test_a_list_is_the_mean_of_the_resized_maps():
    names = ["first/conv", 2, "second_relu"]
    wanted = np.mean([map_of(n).relevance for n in names], 0)
    e = map_of(names)
    assert e.extra["layer"] == ["first/conv", "pool", "second/second_relu"]
    assert np.abs(e.relevance - wanted).max() <= 1e-5 * np.abs(wanted).max()
    positive = map_of(names, relu=True).relevance
    np.testing.assert_allclose(positive, np.maximum(wanted, 0), atol=1e-6)


def test_what_no_layer_is_and_what_several_are():
    with pytest.raises(OptionError, match="'conv' is the name of 2 layers") as caught:
        map_of("conv")
    assert "['first/conv', 'second/conv']" in str(caught.value)
    map_of("second/conv")  # what the error says to type
    with pytest.raises(OptionError, match="layer=7, and the model has 6 layers"):
        map_of(7)
    with pytest.raises(OptionError, match=r"layer=1\.5"):
        map_of(1.5)
    with pytest.raises(OptionError, match=r"layer=\[\]"):
        map_of([])
    with pytest.raises(OptionError, match="2 layers"):
        map_of(["pool", "first"], resize="none")
    with pytest.raises(UnknownNameError, match="'other' is none of this model"):
        map_of(L.ReLU(name="other"))


# -- tokens --------------------------------------------------------------------------


class WithOthers(L.Layer):
    """Adds learned tokens before or behind those of the patches."""

    def __init__(self, before, after):
        super().__init__()
        self.count = before + after
        self.before = before

    def build(self, shape):
        self.others = self.add_weight(shape=(1, self.count, shape[-1]), name="others")
        positions = (1, self.count + shape[1], shape[-1])
        self.positions = self.add_weight(shape=positions, name="positions")

    def call(self, x):
        others = ops.broadcast_to(
            self.others, (ops.shape(x)[0], *self.others.shape[1:])
        )
        parts = [others[:, : self.before], x, others[:, self.before :]]
        return ops.concatenate(parts, 1) + self.positions


def vit(before, after, pooled):
    """Return a vision transformer of 3 x 2 patches, and its last normalised tokens."""
    x = keras.Input((12, 8, 2))
    y = L.Reshape((6, 5))(L.Conv2D(5, 4, 4, name="patches")(x))
    y = WithOthers(before, after)(y) if before + after else y
    for i in (1, 2):
        z = L.LayerNormalization(name=f"norm_{i}")(y)
        y = L.Add()([y, L.MultiHeadAttention(2, 3, name=f"attention_{i}")(z, z)])
        mlp = L.Dense(5, "gelu")(L.LayerNormalization(name=f"then_{i}")(y))
        y = L.Add(name=f"block_{i}")([y, mlp])
    y = L.LayerNormalization(name="last")(y)
    y = L.GlobalAveragePooling1D()(y) if pooled else y[:, 0]
    return zoo.fill(keras.Model(x, L.Dense(3)(y)))


@pytest.mark.parametrize(
    "before, after, pooled, layer",
    [
        (1, 0, False, "norm_2"),  # a class token
        (1, 4, False, "norm_2"),  # and registers behind
        (3, 0, True, "norm_2"),
        (0, 0, True, "last"),
    ],
)
def test_tokens_are_laid_back_on_their_grid(before, after, pooled, layer):
    model, x = vit(before, after, pooled), images(2, (12, 8, 2))
    both = keras.Model(model.inputs, [model.get_layer(layer).output, model.output])
    x_tensor = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x_tensor)
        a, y = both(x_tensor)
        score = y[:, 1]
    g = tape.gradient(score, a).numpy().astype(float)
    a, g = (v[:, before : before + 6].reshape(2, 3, 2, 5) for v in (a.numpy(), g))
    wanted = enlarged((a * g.mean((1, 2), keepdims=True)).sum(-1), (12, 8))
    e = tfxai.explain(model, x, "gradcam", 1)
    assert e.extra["layer"] == layer
    assert np.abs(e.relevance - wanted).max() <= 1e-4 * np.abs(wanted).max()


def test_heads_of_attention_are_no_positions():
    program = tfxai.wrap(vit(1, 0, False)).program("rule")
    grids = token_grids(program, 0).grids
    assert {g.shape for g in grids.values()} == {(3, 2)}
    assert {g.count for g in grids.values()} == {6, 7}
    assert all(len(s.shape) == 2 for s in program.steps if s.output in grids)


@pytest.mark.slow
def test_a_swin_transformer_of_keras_hub():
    hub = pytest.importorskip("keras_hub")
    backbone = hub.models.SwinTransformerBackbone(
        image_shape=(16, 16, 3), embed_dim=4, depths=(2, 1), num_heads=(2, 2),
        window_size=4, patch_size=2, drop_path=0.0,
    )  # fmt: skip
    tokens = backbone.output
    y = L.Dense(3)(L.GlobalAveragePooling1D()(tokens))
    model = zoo.fill(keras.Model(backbone.input, [tokens, y]))
    x = images(2, (16, 16, 3))
    wrapped = tfxai.wrap(model, output=1)
    e = tfxai.explain(wrapped, x, "gradcam", 1, resize="none")
    kernel = model.layers[-1].kernel.numpy()[:, 1]  # over 16 tokens of 4 x 4
    a = np.asarray(model(x)[0]).reshape(2, 4, 4, -1)
    wanted = (a * kernel / 16).sum(-1)
    assert np.abs(e.relevance[..., 0] - wanted).max() <= 1e-4 * np.abs(wanted).max()
    # a block whose windows are shifted: its tokens are back in their order
    program = wrapped.program("rule")
    found = token_grids(program, 0)
    assert found.windows
    for grid in found.grids.values():
        assert np.array_equal(grid.tokens, np.arange(grid.count))
        assert grid.shape in ((8, 8), (4, 4))


@pytest.mark.slow
def test_a_vision_transformer_of_keras_hub():
    hub = pytest.importorskip("keras_hub")
    backbone = hub.models.ViTBackbone(
        image_shape=(16, 24, 3), patch_size=8, num_layers=2, num_heads=2, hidden_dim=6,
        mlp_dim=8,
    )  # fmt: skip
    model = zoo.fill(hub.models.ViTImageClassifier(backbone, num_classes=3))
    x = images(2, (16, 24, 3))
    e = tfxai.explain(model, x, "layercam", 1, resize="none")
    assert e.extra["layer"].endswith("transformer_block_2/ln_1")
    assert e.relevance.shape == (2, 2, 3, 1)
    # the block, written out: what is behind its first normalisation
    encoder = backbone.get_layer("vit_encoder")
    block = encoder.encoder_layers[1]
    y = encoder.encoder_layers[0](backbone.get_layer("vit_patching_and_embedding")(x))
    a = block.layer_norm_1(y)
    with tf.GradientTape() as tape:
        tape.watch(a)
        z = y + block.mha(a, a)
        z = z + block.mlp(block.layer_norm_2(z))
        score = model.output_dense(encoder.layer_norm(z)[:, 0])[:, 1]
    g = np.maximum(tape.gradient(score, a).numpy(), 0)
    wanted = (a.numpy() * g).sum(-1)[:, 1:].reshape(2, 2, 3)
    assert np.abs(e.relevance[..., 0] - wanted).max() <= 1e-4 * np.abs(wanted).max()


# -- frames and unknown sizes --------------------------------------------------------


def test_a_layer_for_every_frame():
    """The maps of TimeDistributed are those of the layer on each frame."""
    x = keras.Input((3, 8, 6, 2))
    conv = L.Conv2D(4, 3, activation="relu")
    y = L.TimeDistributed(conv, name="frames")(x)
    model = zoo.fill(keras.Model(x, L.Dense(2, name="end")(L.Flatten()(y))))
    v = images(2, (3, 8, 6, 2))
    a = np.stack([conv(v[:, t]).numpy() for t in range(3)], 1)
    w = model.get_layer("end").kernel.numpy()[:, 1].reshape(3, 6, 4, 4).mean((0, 1, 2))
    wanted = (a * w).sum(-1)
    for layer in (None, "frames", 1):
        e = tfxai.explain(model, v, "gradcam", 1, layer=layer, resize="none")
        assert np.abs(e.relevance[..., 0] - wanted).max() <= 1e-5 * np.abs(wanted).max()


@pytest.mark.slow
def test_a_network_for_every_frame_of_any_number():
    """A layer inside a network inside TimeDistributed, which is called per frame."""
    x = keras.Input((None, 8, 6, 2))
    conv = L.Conv2D(4, 3, activation="relu", name="conv")
    mean, end = L.GlobalAveragePooling2D(), L.Dense(2, name="end")
    frame = keras.Sequential([conv, mean], name="frame")
    y = end(L.GlobalAveragePooling1D()(L.TimeDistributed(frame)(x)))
    model = zoo.fill(keras.Model(x, y))
    parts = L.TimeDistributed(mean)(L.TimeDistributed(conv)(x))
    other = keras.Model(x, end(L.GlobalAveragePooling1D()(parts)))
    v = images(2, (3, 8, 6, 2))
    a = np.stack([conv(v[:, t]).numpy() for t in range(3)], 1)
    wanted = (a * end.kernel.numpy()[:, 1]).sum(-1) / (3 * 6 * 4)
    for layer in (None, "conv", conv):
        e = tfxai.explain(model, v, "hirescam", 1, layer=layer, resize="none")
        assert np.abs(e.relevance[..., 0] - wanted).max() <= 1e-5 * np.abs(wanted).max()
    for method in ("ablationcam", "eigencam"):
        found, same = (tfxai.explain(m, v, method, 1) for m in (model, other))
        assert found.relevance.shape == (2, 3, 8, 6, 1)
        np.testing.assert_allclose(found.relevance, same.relevance, atol=1e-4)
    with pytest.raises(ModelError, match="called for each frame"):
        tfxai.explain(model, v, "shapleycam", 1)


def test_sizes_that_the_model_leaves_open():
    x = keras.Input((None, None, 2))
    y = L.Conv2D(4, 4, 4, activation="relu", name="patches")(x)
    z = L.Reshape((-1, 4), name="tokens")(y)
    model = zoo.fill(keras.Model(x, L.Dense(2)(L.GlobalAveragePooling1D()(z))))
    analyzer = tfxai.create_analyzer("hirescam", model, layer="tokens", resize="none")
    kernel = model.layers[-1].kernel.numpy()[:, 1]
    for shape in ((8, 8), (12, 20)):
        v = images(2, (*shape, 2))
        a = keras.Model(x, y)(v).numpy()
        wanted = (a * kernel).sum(-1) / (a.shape[1] * a.shape[2])
        e = analyzer.analyze(v, 1)
        np.testing.assert_allclose(e.relevance[..., 0], wanted, rtol=1e-4, atol=1e-7)
