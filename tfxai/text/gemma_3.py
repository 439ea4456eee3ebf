"""Gemma 3 with vision, as a model of one prompt and at most one image.

KerasHub scatters the vectors of all images over those of the tokens of all prompts at
once, so that samples mix. Here the same layers, with the same weights, take the vectors
of each prompt by themselves; the logits are those of KerasHub.
"""

from typing import Any

import keras
from keras import ops

from tfxai.text.readers import named_inputs
from tfxai.text.signals import IMAGES


def of_one_image(model: Any, images: bool) -> keras.Model | None:
    """Return a Gemma 3 as a model of token ids, a mask, and an image for each prompt.

    Args:
        model: A model.
        images: Whether it reads an image; else it has no input for one.

    Returns:
        None where the model is no Gemma 3 with vision.
    """
    backbone: Any = getattr(model, "backbone", None)
    sees = "vision_indices" in named_inputs(model)
    if not sees or type(backbone).__name__ != "Gemma3Backbone":
        return None
    names = ("token_ids", "padding_mask")
    inputs = {n: keras.Input((None,), dtype="int32", name=n) for n in names}
    x = backbone.token_embedding(inputs["token_ids"])
    x = x * ops.cast(ops.sqrt(backbone.hidden_dim), x.dtype)
    more = {}
    if images:
        shape = model.input[IMAGES].shape[2:]
        inputs[IMAGES] = keras.Input(shape, name=IMAGES)
        place = model.preprocessor.tokenizer.image_placeholder_id
        held = ops.cast(ops.equal(inputs["token_ids"], place), "int32")
        x = _with_image(x, held, backbone.vision_encoder(inputs[IMAGES][:, None]))
        more = {"vision_mask": held}
    for layer in backbone.transformer_layers:
        x = layer(x, padding_mask=inputs["padding_mask"], **more)
    z = backbone.token_embedding(backbone.layer_norm(x), reverse=True)
    return keras.Model(inputs, z)


def _with_image(tokens: Any, held: Any, image: Any) -> Any:
    """The vectors of tokens, with those of the image at its places, in their order."""
    number = ops.maximum(ops.cumsum(held, 1) - 1, 0)
    held = ops.cast(held, tokens.dtype)[..., None]
    place = held * ops.one_hot(number, image.shape[1], dtype=tokens.dtype)
    return tokens * (1 - held) + ops.matmul(place, image)
