"""Small configurations of families of KerasHub that `../shared/kerashub` leaves out.

    python -m tests.benchmarks.keras_hub_families FILE.json

It writes the configurations in the form of `configs.json`, for the `--configs` of
check.py there. `tests.benchmarks.keras_hub` runs them behind the others.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import keras_hub
import numpy as np

WORDS, LENGTH = 10, 5
models = keras_hub.models


def ids(name: str = "token_ids", length: int = LENGTH) -> dict[str, Any]:
    """Return the specs of token ids and of their padding mask."""
    mask = name.replace("token_ids", "padding_mask")
    return {
        name: {"shape": [2, length], "dtype": "int32"},
        mask: {"shape": [2, length], "dtype": "int32", "values": 1},
    }


def segments() -> dict[str, Any]:
    """Return the spec of segment ids, all of them 0."""
    return {"segment_ids": {"shape": [2, LENGTH], "dtype": "int32", "values": 0}}


def images(*shape: int, name: str = "") -> dict[str, Any]:
    """Return the spec of images or of other signals."""
    return {name: {"shape": [2, *shape], "dtype": "float32"}}


SMALL = {"vocabulary_size": WORDS, "num_layers": 2, "num_heads": 2, "hidden_dim": 16}
SMALL |= {"intermediate_dim": 32}
#: Decoders with grouped queries.
GROUPED = {"vocabulary_size": WORDS, "num_layers": 2, "num_query_heads": 4}
GROUPED |= {"num_key_value_heads": 2, "hidden_dim": 16, "intermediate_dim": 32}


def resnet() -> Any:
    """Return a small ResNet with a pyramid of features."""
    return models.ResNetBackbone(
        input_conv_filters=[8], input_conv_kernel_sizes=[7],
        stackwise_num_filters=[8, 8, 8, 8], stackwise_num_blocks=[1, 1, 1, 1],
        stackwise_num_strides=[1, 2, 2, 2], block_type="basic_block",
        image_shape=(64, 64, 3),
    )  # fmt: skip


def hgnet() -> Any:
    """Return a small HGNetV2 with two feature maps."""
    return models.HGNetV2Backbone(
        stem_channels=[3, 8, 8],
        stackwise_stage_filters=[
            [8, 8, 16, 1, 1, 3], [16, 8, 32, 1, 1, 3],
        ],
        apply_downsample=[False, True], use_lightweight_conv_block=[False, False],
        depths=[1, 1], hidden_sizes=[16, 32], embedding_size=8,
        use_learnable_affine_block=True, hidden_act="relu",
        image_shape=(None, None, 3), out_features=["stage1", "stage2"],
    )  # fmt: skip


def dfine() -> Any:
    """Return a small D-FINE detector."""
    return models.DFineBackbone(
        backbone=hgnet(), decoder_in_channels=[16, 16], encoder_hidden_dim=16,
        num_labels=4, num_denoising=0, learn_initial_query=False, num_queries=10,
        anchor_image_size=(32, 32), feat_strides=[4, 8], num_feature_levels=2,
        hidden_dim=16, encoder_in_channels=[16, 32], encode_proj_layers=[1],
        num_attention_heads=2, encoder_ffn_dim=32, num_encoder_layers=1,
        hidden_expansion=0.5, depth_multiplier=0.5, eval_idx=-1, num_decoder_layers=1,
        decoder_attention_heads=2, decoder_ffn_dim=32, decoder_n_points=[2, 2],
        lqe_hidden_dim=8, num_lqe_layers=2, image_shape=(32, 32, 3),
    )  # fmt: skip


def siglip() -> Any:
    """Return a small SigLIP: an image encoder and a text encoder."""
    from keras_hub.src.models.siglip.siglip_text_encoder import SigLIPTextEncoder
    from keras_hub.src.models.siglip.siglip_vision_encoder import SigLIPVisionEncoder

    return models.SigLIPBackbone(
        vision_encoder=SigLIPVisionEncoder(
            patch_size=4, hidden_dim=16, num_layers=2, num_heads=2,
            intermediate_dim=32, image_shape=(16, 16, 3),
        ),
        text_encoder=SigLIPTextEncoder(
            vocabulary_size=WORDS, embedding_dim=16, hidden_dim=16, num_layers=2,
            num_heads=2, intermediate_dim=32, max_sequence_length=LENGTH,
        ),
    )  # fmt: skip


#: family -> (its backbone, the specs of its inputs).
FAMILIES: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "AlbertBackbone": (
        lambda: models.AlbertBackbone(
            **SMALL, embedding_dim=8, max_sequence_length=LENGTH, dropout=0.1
        ),
        ids() | segments(),
    ),
    "BartBackbone": (
        lambda: models.BartBackbone(**SMALL, max_sequence_length=LENGTH),
        ids("encoder_token_ids") | ids("decoder_token_ids", 4),
    ),
    "DFineBackbone": (dfine, images(32, 32, 3, name="pixel_values")),
    "DINOV3Backbone": (
        lambda: models.DINOV3Backbone(
            patch_size=4, num_layers=2, hidden_dim=16, num_heads=2,
            intermediate_dim=32, image_shape=(16, 16, 3),
            use_mask_token=False,
        ),
        images(16, 16, 3, name="pixel_values"),
    ),
    "ElectraBackbone": (
        lambda: models.ElectraBackbone(
            vocab_size=WORDS, num_layers=2, num_heads=2, hidden_dim=16,
            embedding_dim=8, intermediate_dim=32, max_sequence_length=LENGTH,
        ),
        ids() | segments(),
    ),
    "Llama3Backbone": (
        lambda: models.Llama3Backbone(**GROUPED, tie_word_embeddings=True),
        ids(),
    ),
    "MistralBackbone": (
        lambda: models.MistralBackbone(**GROUPED, sliding_window=3),
        ids(),
    ),
    "MoonshineBackbone": (
        lambda: models.MoonshineBackbone(
            vocabulary_size=WORDS, filter_dim=16, encoder_num_layers=1,
            decoder_num_layers=1, hidden_dim=16, intermediate_dim=32,
            encoder_num_heads=2, decoder_num_heads=2,
        ),
        images(2000, 1, name="encoder_input_values")
        | {
            "encoder_padding_mask": {"shape": [2, 2000], "dtype": "int32", "values": 1}
        }
        | ids("decoder_token_ids"),
    ),
    "OPTBackbone": (
        lambda: models.OPTBackbone(**SMALL, max_sequence_length=LENGTH),
        ids(),
    ),
    "Phi3Backbone": (lambda: models.Phi3Backbone(**GROUPED), ids()),
    "QwenBackbone": (lambda: models.QwenBackbone(**GROUPED), ids()),
    "QwenMoeBackbone": (
        lambda: models.QwenMoeBackbone(
            **GROUPED, moe_intermediate_dim=8, shared_expert_intermediate_dim=8,
            num_experts=4, top_k=2, norm_top_k_prob=True,
        ),
        ids(),
    ),
    "SigLIPBackbone": (
        siglip,
        images(16, 16, 3, name="images")
        | {"token_ids": {"shape": [2, LENGTH], "dtype": "int32"}},
    ),
    "SwinTransformerBackbone": (
        lambda: models.SwinTransformerBackbone(
            image_shape=(32, 32, 3), embed_dim=8, depths=[2, 2], num_heads=[2, 4],
            window_size=4, patch_size=2,
        ),
        images(32, 32, 3),
    ),
    "WhisperBackbone": (
        lambda: models.WhisperBackbone(
            **SMALL, num_mels=8, max_encoder_sequence_length=12,
            max_decoder_sequence_length=LENGTH,
        ),
        images(12, 8, name="encoder_features") | ids("decoder_token_ids"),
    ),
    "XLNetBackbone": (
        lambda: models.XLNetBackbone(**SMALL),
        ids() | segments(),
    ),
}  # fmt: skip


def config(name: str) -> dict[str, Any]:
    """Return a family's configuration in the form of configs.json."""
    build, inputs = FAMILIES[name]
    made = keras.saving.serialize_keras_object(build())
    return {"config": made, "inputs": inputs, "vocabulary": WORDS}


def plain(value: Any) -> Any:
    """Return a NumPy number as a number of Python."""
    return value.item() if isinstance(value, np.generic) else str(value)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(
        json.dumps({name: config(name) for name in FAMILIES}, default=plain)
    )
