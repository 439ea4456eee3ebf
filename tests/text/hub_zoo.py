"""Tiny models of every language model and text classifier of KerasHub.

Vocabularies are built here: pieces of bytes, of words, or of a SentencePiece model that
is trained on three sentences. Nothing is downloaded. `build(name)` returns a model with
its preprocessor.
"""

import functools
import io
import sys
import types

import numpy as np

sys.modules.setdefault("grain", types.SimpleNamespace(MapDataset=object))

WORDS = ("the", "keys", "to", "cabinet", "is", "are")
PROMPT = "the keys to the cabinet"
LENGTH = 24
#: Two prompts of classes with a vocabulary of their own, by the start of the name.
TEXTS = {"ESM": ("LAGV", "LAGVSERT")}

#: The sizes of attention that most backbones share.
HEADS = {"num_layers": 2, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 32}
GROUPED = {
    "num_layers": 2, "num_query_heads": 4, "num_key_value_heads": 2,
    "hidden_dim": 16, "intermediate_dim": 32,
}  # fmt: skip
EXPERTS = {"num_experts": 4, "top_k": 2}
WIDE = {**GROUPED, "head_dim": 8}
POSITIONS = {"max_sequence_length": 64}
T5_GEMMA = {
    f"{part}_{name}": value
    for part in ("encoder", "decoder")
    for name, value in {
        "hidden_dim": 16, "intermediate_dim": 32, "num_layers": 1, "head_dim": 4,
        "num_attention_heads": 4, "num_key_value_heads": 2,
        "layer_types": ["full_attention"],
    }.items()
}  # fmt: skip
QWEN_3_5 = {
    "layer_types": ["linear_attention", "full_attention"], "linear_num_key_heads": 2,
    "linear_num_value_heads": 2, "linear_key_head_dim": 8,
    "linear_value_head_dim": 8, "head_dim": 8,
}  # fmt: skip

VISION = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|image_pad|>",
    "<|vision_start|>", "<|vision_end|>", "<|video_pad|>",
)  # fmt: skip

BYTES, PIECES, LETTERS = "bytes", "pieces", "letters"
#: class -> (its backbone, kind of tokenizer, special tokens, sizes of the backbone).
CAUSAL = {
    "Bloom": (BYTES, ("<s>", "</s>", "<pad>"), HEADS),
    "Falcon": (BYTES, ("<|endoftext|>",), {
        "num_layers": 2, "num_attention_heads": 2, "hidden_dim": 16,
        "intermediate_dim": 32,
    }),
    "GPT2": (BYTES, ("<|endoftext|>",), {**HEADS, **POSITIONS}),
    "GPTNeoX": (BYTES, ("<|endoftext|>",), {**HEADS, **POSITIONS}),
    "Gemma": (PIECES, (), WIDE),
    "Gemma3": (PIECES, (), {**WIDE, "image_size": 16}),
    "Gemma3n": (PIECES, (), {
        "text_vocab_size": None, "text_hidden_size": 16, "num_hidden_layers": 2,
        "pad_token_id": 0, "num_attention_heads": 2, "num_key_value_heads": 1,
        "head_dim": 8, "intermediate_size": [32, 32],
        "hidden_activation": "gelu_approximate",
        "layer_types": ["full_attention", "sliding_attention"], "sliding_window": 64,
        "rope_theta": 10000.0, "max_position_embeddings": 64,
        "vocab_size_per_layer_input": None, "hidden_size_per_layer_input": 4,
        "altup_num_inputs": 2, "laurel_rank": 4,
    }),
    "Gemma4": (PIECES, (), {**WIDE, "image_size": 16}),
    "GptOss": (BYTES, ("<|startoftext|>", "<|return|>", "<|endoftext|>"),
               {**GROUPED, **EXPERTS, "head_dim": 4}),
    "Llama": (PIECES, (), GROUPED),
    "Llama3": (BYTES, (
        "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>",
        "<|end_header_id|>", "<|eot_id|>"), GROUPED),
    "Mistral": (PIECES, (), GROUPED),
    "Mixtral": (PIECES, (), {**GROUPED, **EXPERTS}),
    "OPT": (BYTES, ("<s>", "<pad>", "</s>"), {**HEADS, **POSITIONS}),
    "Phi3": (PIECES, (), GROUPED),
    "Qwen": (BYTES, ("<|endoftext|>", "<|im_end|>"), GROUPED),
    "Qwen3": (BYTES, ("<|endoftext|>", "<|im_end|>"), WIDE),
    "Qwen3Moe": (BYTES, ("<|endoftext|>", "<|im_end|>"),
                 {**WIDE, **EXPERTS, "moe_intermediate_dim": 16}),
    "Qwen3_5": (BYTES, VISION, {**GROUPED, **QWEN_3_5}),
    "Qwen3_5Moe": (BYTES, VISION, {
        **{k: v for k, v in GROUPED.items() if k != "intermediate_dim"}, **QWEN_3_5,
        **EXPERTS, "moe_intermediate_dim": 16, "shared_expert_intermediate_size": 16,
    }),
    "QwenMoe": (BYTES, ("<|endoftext|>", "<|im_end|>"), {
        **GROUPED, **EXPERTS, "moe_intermediate_dim": 16,
        "shared_expert_intermediate_dim": 16}),
    "SmolLM3": (BYTES, ("<|begin_of_text|>", "<|end_of_text|>", "<|im_start|>",
                        "<|im_end|>", "<think>", "</think>"), {
        "hidden_dim": 16, "intermediate_dim": 32, "num_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "attention_bias": False,
        "attention_dropout": 0.0, "rope_layer_enabled_list": [True, False],
        "layer_types": ["full_attention"] * 2, "mlp_bias": False,
        "layer_norm_epsilon": 1e-6, "max_position_embeddings": 64,
        "rope_theta": 10000.0, "partial_rotary_factor": 1.0,
    }),
    "RWKV7": (LETTERS, (), {
        "hidden_size": 16, "head_size": 8, "num_layers": 2, "intermediate_dim": 32,
        "gate_lora": 4, "mv_lora": 4, "aaa_lora": 4, "decay_lora": 4,
    }),
    "PaliGemma": (PIECES, (), {
        **WIDE, "image_size": 16, "vit_patch_size": 8, "vit_num_heads": 2,
        "vit_hidden_dim": 16, "vit_num_layers": 1, "vit_intermediate_dim": 32,
    }),
}  # fmt: skip
SEQ_2_SEQ = {
    "Bart": (BYTES, ("<s>", "<pad>", "</s>", "<mask>"), {**HEADS, **POSITIONS}),
    "T5": (PIECES, (), {**HEADS, "key_value_dim": 8}),
    "T5Gemma": (PIECES, (), {**T5_GEMMA, "cross_attention_hidden_size": 16}),
    "T5Gemma2": (PIECES, (), {**T5_GEMMA, "cross_attention_hidden_size": 16}),
}
CLASSIFIERS = {
    "Albert": (PIECES, (), {**HEADS, **POSITIONS, "embedding_dim": 8}),
    "Bert": (WORDS, ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
             {**HEADS, **POSITIONS}),
    "DebertaV3": (PIECES, (), {**HEADS, **POSITIONS, "bucket_size": 8}),
    "DistilBert": (WORDS, ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
                   {**HEADS, **POSITIONS}),
    "FNet": (PIECES, (), {
        k: v for k, v in {**HEADS, **POSITIONS}.items() if k != "num_heads"}),
    "Roberta": (BYTES, ("<s>", "<pad>", "</s>", "<mask>"), {**HEADS, **POSITIONS}),
    "RoformerV2": (WORDS, ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
                   {**HEADS, "head_size": 8}),
    "XLMRoberta": (PIECES, (), {**HEADS, **POSITIONS}),
    "ESM": (WORDS, ("<cls>", "<pad>", "<eos>", "<unk>", "<mask>"),
            {**HEADS, **POSITIONS}),
}  # fmt: skip
TABLES = {
    "CausalLM": CAUSAL, "Seq2SeqLM": SEQ_2_SEQ, "TextClassifier": CLASSIFIERS,
}  # fmt: skip


def names():
    """Return the classes that `build` knows: "GPT2CausalLM", ..."""
    ends = {"ESM": "ProteinClassifier"}
    return [
        name + (ends.get(name, end)) for end, table in TABLES.items() for name in table
    ]


def byte_pieces(special):
    """Return vocabulary and merges of byte-pair encoding, for `WORDS`."""
    vocabulary, merges = {t: i for i, t in enumerate(special)}, []
    for word in [*WORDS, *(f"Ġ{w}" for w in WORDS)]:
        for letter in word:
            vocabulary.setdefault(letter, len(vocabulary))
        for i in range(1, len(word)):
            pair = f"{word[:i]} {word[i]}"
            if pair not in merges:
                merges.append(pair)
            vocabulary.setdefault(word[: i + 1], len(vocabulary))
    return vocabulary, merges


#: Names of special tokens of SentencePiece models, by number.
SPECIAL = {
    "Albert": ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"),
    "FNet": ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"),
    "DebertaV3": ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"),
    "T5": ("<pad>", "</s>", "<unk>"),
}
MORE = (
    "<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<img>", "<end_of_image>",
    "<image_soft_token>", "<audio_soft_token>", "<|turn>", "<turn|>", "<|image|>",
    "<|image>", "<image|>", "<|video|>", "<|audio|>", "<|audio>", "<audio|>",
    "<|endoftext|>", "<start_of_audio>", "<end_of_audio>", "[multimodal]",
)  # fmt: skip


@functools.cache
def proto(family):
    """Return a SentencePiece model with the special tokens of a family."""
    import sentencepiece

    special = SPECIAL.get(family, ("<pad>", "<unk>", "<s>", "</s>"))
    if "Gemma" in family:
        special = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")
    if family == "XLMRoberta":
        special = ("<unk>", "<s>", "</s>")
    places = {"pad_id": -1, "unk_id": 0, "bos_id": -1, "eos_id": -1}
    known = {
        "pad": ("<pad>", "[PAD]"), "unk": ("<unk>", "[UNK]"),
        "bos": ("<s>", "<bos>", "[CLS]"), "eos": ("</s>", "<eos>", "[SEP]"),
    }  # fmt: skip
    pieces = {}
    for name, spelled in known.items():
        found = [i for i, t in enumerate(special) if t in spelled]
        if found:
            places[f"{name}_id"] = found[0]
            pieces[f"{name}_piece"] = special[found[0]]
    rest = [t for t in special if t not in pieces.values()]
    rest += [t for t in MORE if "Gemma" in family]
    rest += ["<|endoftext|>"] if family == "Phi3" else []
    out = io.BytesIO()
    sentences = iter([f"{PROMPT} are", f"{PROMPT} is", " ".join(WORDS)] * 4)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=sentences, model_writer=out, vocab_size=90,
        hard_vocab_limit=False, model_type="unigram", user_defined_symbols=rest,
        minloglevel=2, num_threads=1, **places, **pieces,
    )  # fmt: skip
    return out.getvalue()


def tokenizer_of(models, family, kind, special):
    """Return the tokenizer of a family."""
    own = {"RWKV7": "RWKV"}.get(family, family)
    cls = getattr(models, f"{own}Tokenizer")
    if kind == BYTES:
        vocabulary, merges = byte_pieces(special)
        return cls(vocabulary=vocabulary, merges=merges)
    if kind == PIECES:
        return cls(proto(family))
    if kind == LETTERS:
        lines = [f"{i + 1} {chr(i)!r} 1" for i in range(128)]
        return cls(vocabulary=lines)
    if family == "ESM":
        return cls(vocabulary=[*special, *"LAGVSERTIDPKQNFYMHWC"])
    return cls(vocabulary=[*special, *WORDS], lowercase=True)


def drawn(model):
    """Return the model with weights that make its answers differ."""
    rng = np.random.default_rng(0)
    for v in model.weights:
        if "float" in str(v.dtype) and "seed" not in v.path:
            v.assign_add(0.2 * rng.standard_normal(v.shape).astype("float32"))
    return model


def build(name):
    """Return the model of a class name of `names()`."""
    import keras_hub.layers as hub_layers
    import keras_hub.models as models

    for end, table in TABLES.items():
        family = name.removesuffix("ProteinClassifier").removesuffix(end)
        if family in table:
            break
    kind, special, sizes = table[family]
    tokenizer = tokenizer_of(models, family, kind, special)
    count = max(tokenizer.vocabulary_size(), 260 if family == "Gemma3n" else 0)
    sizes = {k: count if v is None else v for k, v in sizes.items()}
    if "text_vocab_size" not in sizes:
        sizes["vocabulary_size"] = count
    backbone = getattr(models, f"{family}Backbone")(**sizes)
    cls = getattr(models, name)
    given = {"sequence_length": LENGTH}
    if end == "Seq2SeqLM":
        given = {"encoder_sequence_length": LENGTH, "decoder_sequence_length": LENGTH}
    if family == "PaliGemma":
        size = (sizes["image_size"],) * 2
        given["image_converter"] = hub_layers.PaliGemmaImageConverter(image_size=size)
    made = cls.preprocessor_cls(tokenizer=tokenizer, **given)
    options = {"num_classes": 3} if end == "TextClassifier" else {}
    return drawn(cls(backbone=backbone, preprocessor=made, **options))
