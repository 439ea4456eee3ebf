"""Tiny models of KerasHub that read audio or images, or that have no preprocessor.

`BUILDERS` has a function for each class; it returns what `tfxai.text.explain` takes: a
model, or (model, encode, decode).
"""

import numpy as np

from tests.text import hub_zoo

#: The height and width of images, and the samples of audio.
SIDE, SAMPLES = 16, 1600
VISION = {
    "image_size": SIDE, "patch_size": 8, "num_layers": 1, "num_heads": 2,
    "hidden_dim": 16, "intermediate_dim": 32, "use_patch_bias": True,
    "use_class_token": True, "use_mha_bias": True, "use_mlp_bias": True,
    "dropout_rate": 0.0, "layer_norm_epsilon": 1e-6, "initializer_range": 0.02,
}  # fmt: skip
QUERIES = {
    "num_query_tokens": 3, "num_layers": 2, "num_heads": 2, "hidden_dim": 16,
    "intermediate_dim": 32, "vision_dim": 16, "cross_attention_frequency": 1,
    "dropout": 0.0, "layer_norm_epsilon": 1e-6,
}  # fmt: skip
LANGUAGE = {
    "num_layers": 1, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 32,
    "num_query_tokens": 3, "qformer_hidden_dim": 16, "dropout": 0.0,
}  # fmt: skip


def image(seed=0):
    """Return an image (H, W, 3)."""
    return np.random.default_rng(seed).random((SIDE, SIDE, 3)).astype("float32")


def audio(seed=0, samples=SAMPLES):
    """Return audio (samples,)."""
    return np.random.default_rng(seed).uniform(-1, 1, samples).astype("float32")


def pair(name):
    """Return two things that a class reads, and the images beside them or None."""
    if name in ("MoonshineAudioToText", "WhisperBackbone"):
        return (audio(0), audio(1)), None
    if name == "PARSeqCausalLM":
        return (image(0), image(1)), None
    texts = hub_zoo.TEXTS.get(name[:3], (hub_zoo.PROMPT, hub_zoo.PROMPT + " is"))
    sees = name.startswith(("BLIP2", "PaliGemma"))
    return texts, np.stack([image(0), image(1)]) if sees else None


def models():
    """Return keras_hub.models and keras_hub.layers."""
    import keras_hub.layers
    import keras_hub.models

    return keras_hub.models, keras_hub.layers


def blip_2(language):
    """Return the backbone of BLIP-2 around a language model."""
    hub, _ = models()
    from keras_hub.src.models.blip2.blip2_qformer import BLIP2QFormer
    from keras_hub.src.models.blip2.blip2_vision_encoder import BLIP2VisionEncoder

    encoder, bridge = BLIP2VisionEncoder(**VISION), BLIP2QFormer(**QUERIES)
    return hub.BLIP2Backbone(encoder, bridge, language)


def blip_2_causal():
    hub, layers = models()
    special = ("</s>", "<pad>", "<image>", "Ċ")
    vocabulary, merges = hub_zoo.byte_pieces(special)
    tokenizer = hub.BLIP2OPTTokenizer(vocabulary=vocabulary, merges=merges)
    language = hub.BLIP2CustomOPT(
        vocabulary_size=len(vocabulary), max_sequence_length=64, **LANGUAGE
    )
    made = hub.BLIP2CausalLMPreprocessor(
        tokenizer, layers.BLIP2ImageConverter((SIDE, SIDE)), hub_zoo.LENGTH
    )
    return hub.BLIP2CausalLM(preprocessor=made, backbone=blip_2(language))


def blip_2_seq_2_seq():
    hub, layers = models()
    from keras_hub.src.models.blip2.blip2_flan_t5_lm import BLIP2FlanT5

    tokenizer = hub.BLIP2FlanT5Tokenizer(hub_zoo.proto("T5"))
    language = BLIP2FlanT5(
        vocabulary_size=tokenizer.vocabulary_size(), key_value_dim=8, **LANGUAGE
    )
    made = hub.BLIP2Seq2SeqLMPreprocessor(
        tokenizer, layers.BLIP2ImageConverter((SIDE, SIDE)), hub_zoo.LENGTH,
        hub_zoo.LENGTH,
    )  # fmt: skip
    return hub.BLIP2Seq2SeqLM(preprocessor=made, backbone=blip_2(language))


def moonshine():
    hub, layers = models()
    tokenizer = hub.MoonshineTokenizer(hub_zoo.proto("Moonshine"))
    backbone = hub.MoonshineBackbone(
        tokenizer.vocabulary_size(), filter_dim=16, encoder_num_layers=1,
        decoder_num_layers=1, hidden_dim=16, intermediate_dim=32, encoder_num_heads=2,
        decoder_num_heads=2,
    )  # fmt: skip
    made = hub.MoonshineAudioToTextPreprocessor(
        layers.MoonshineAudioConverter(), tokenizer, hub_zoo.LENGTH
    )
    return hub.MoonshineAudioToText(backbone, made)


def parseq():
    hub, layers = models()
    tokenizer = hub.PARSeqTokenizer(list("abcdefghij"), max_label_length=8)
    encoder = hub.ViTBackbone(
        (SIDE, SIDE, 3), (8, 8), 1, 2, 16, 32, use_class_token=False
    )
    backbone = hub.PARSeqBackbone(encoder, tokenizer.vocabulary_size(), 8, 16, 2, 2, 32)
    made = hub.PARSeqCausalLMPreprocessor(
        layers.PARSeqImageConverter((SIDE, SIDE)), tokenizer, 8
    )
    return hub.PARSeqCausalLM(made, backbone)


def ed_rec():
    hub, _ = models()
    words = ["<pad>", "<start>", *hub_zoo.WORDS]
    backbone = hub.EdRecBackbone(len(words), 1, 2, 16, 32, 2)
    model = hub.EdRecSeq2SeqLM(backbone)
    return (
        model,
        lambda text: ([words.index(w) for w in text.split()], [1]),
        lambda ids: " ".join(words[i] for i in ids),
    )


def whisper():
    """Whisper's backbone with its embedding as the output layer."""
    import keras

    hub, layers = models()
    words = ["<|startoftranscript|>", "<|endoftext|>", *hub_zoo.WORDS]
    backbone = hub.WhisperBackbone(
        len(words), 1, 2, 16, 32, num_mels=8, max_encoder_sequence_length=100,
        max_decoder_sequence_length=16,
    )  # fmt: skip
    hidden = backbone.output["decoder_sequence_output"]
    logits = backbone.token_embedding(hidden, reverse=True)
    convert = layers.WhisperAudioConverter(num_mels=8, max_audio_length=1)

    def decode(ids):
        return " ".join(words[i] for i in ids)

    model = keras.Model(backbone.input, logits)
    return model, lambda audio: (np.asarray(convert(audio)), [0]), decode


#: class -> what builds it.
BUILDERS = {
    "BLIP2CausalLM": blip_2_causal,
    "BLIP2Seq2SeqLM": blip_2_seq_2_seq,
    "EdRecSeq2SeqLM": ed_rec,
    "MoonshineAudioToText": moonshine,
    "PARSeqCausalLM": parseq,
    "WhisperBackbone": whisper,
}


def build(name):
    """Return what `tfxai.text.explain` takes for a class, with drawn weights."""
    made = BUILDERS[name]()
    hub_zoo.drawn(made[0] if isinstance(made, tuple) else made)
    return made
