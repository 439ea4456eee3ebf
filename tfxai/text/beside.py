"""Models of prompts beside which images or audio may stand, without them.

Their preprocessors say what such a model reads where there are none: inputs of size 0,
and masks of zeros. Of Gemma 3, KerasHub scatters the vectors of all images over those
of the tokens of all prompts at once, so that samples mix. Here the same layers, with
the same weights, take the vectors of each prompt by themselves, and of one image; the
logits are those of KerasHub.
"""

from contextlib import suppress
from typing import Any

import keras
import numpy as np
from keras import ops

from tfxai.text.readers import named_inputs
from tfxai.text.signals import IMAGES

#: Inputs that tell where images or audio are among the tokens.
PLACES = frozenset({"vision_indices", "audio_indices", "input_features"})
#: The length of a prompt that shows what is read beside it.
LENGTH = 8
#: Parts of the names of inputs that a prompt alone has.
_OF_PROMPTS = ("token_ids", "padding_mask", "position_ids")


def without_others(model: Any, images: bool = False) -> keras.Model | None:
    """Return a model of prompts that is one of token ids and masks alone.

    Args:
        model: A model.
        images: Whether each prompt of a Gemma 3 has an image.

    Returns:
        None where the model reads nothing else, or something else that it needs.
    """
    names = set(named_inputs(model))
    if not names & PLACES or "token_ids" not in names:
        return None
    if type(getattr(model, "backbone", None)).__name__ == "Gemma3Backbone":
        return _gemma_3(model, images)
    given = None
    with suppress(Exception):  # preprocessors differ in what they raise
        given = model.preprocessor.generate_preprocess(["a"], sequence_length=LENGTH)
    if given is None:
        return None
    own = [n for n in _OF_PROMPTS if n in names]
    inputs = {n: keras.Input((None,), dtype="int32", name=n) for n in own}
    found: dict[str, Any] = dict(inputs)
    for name in names - set(own):
        value = np.asarray(given[name]) if name in given else None
        made = None if value is None else _none(value, model.input[name], inputs)
        if made is None:
            return None
        found[name] = made
    with suppress(Exception):  # a model that needs an image
        return keras.Model(inputs, model(found))
    return None


def _none(value: Any, spec: Any, inputs: dict[str, Any]) -> Any:
    """What stands for no image and no audio; None where the model needs one."""
    ids = inputs["token_ids"]
    if value.size and value.any():
        return None
    if value.shape == (1, LENGTH):
        zeros = ops.zeros_like(ids)
    elif value.size:
        zeros = ops.zeros_like(ids[:, :1]) * ops.zeros(value.shape, "int32")
        zeros = zeros if value.ndim == 2 else None
    else:
        shape = [n or 1 for n in value.shape[2:]]
        first = ops.reshape(ids[:, :0], (-1, 0, *(1 for _ in shape)))
        zeros = first * ops.zeros((1, 1, *shape), "int32")
        zeros = zeros if value.ndim > 1 and value.shape[1] == 0 else None
    return None if zeros is None else ops.cast(zeros, spec.dtype)


def _gemma_3(model: Any, images: bool) -> keras.Model:
    """A Gemma 3 of token ids, a mask, and an image for each prompt or none."""
    backbone: Any = model.backbone
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
