"""Models of KerasHub: tiny ones, with a vocabulary built here."""

import os
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tests.text import hub_signals, hub_zoo
from tfxai.base.errors import InputError, OptionError, ShortenedTextWarning

pytestmark = pytest.mark.slow
PROMPT = "the keys to the cabinet"
SIZES = {"num_heads": 2, "hidden_dim": 16, "intermediate_dim": 32}


@pytest.fixture(scope="module")
def models():
    """keras_hub.models; skipped without keras-hub, which `.ci/run` installs."""
    sys.modules.setdefault("grain", types.SimpleNamespace(MapDataset=object))
    if not os.environ.get("CI"):
        pytest.importorskip("keras_hub", reason="needs keras-hub, not installed")
    import keras_hub.models

    return keras_hub.models


def drawn(model):
    """The model with weights that make its answers differ."""
    rng = np.random.default_rng(0)
    for v in model.weights:
        if "float" in str(v.dtype) and "seed" not in v.path:
            v.assign_add(0.3 * rng.standard_normal(v.shape).astype("float32"))
    return model


@pytest.fixture(scope="module")
def gpt2(models):
    vocabulary, merges = hub_zoo.byte_pieces(["<|endoftext|>"])
    tokenizer = models.GPT2Tokenizer(vocabulary=vocabulary, merges=merges)
    backbone = models.GPT2Backbone(
        vocabulary_size=len(vocabulary), num_layers=2, max_sequence_length=32, **SIZES
    )
    preprocessor = models.GPT2CausalLMPreprocessor(tokenizer, sequence_length=16)
    return drawn(models.GPT2CausalLM(backbone=backbone, preprocessor=preprocessor))


def taped(lm, ids, score):
    """sum over the token's vector of x * d score / d x, by a tape, without padding."""
    table = lm.backbone.token_embedding
    call, seen = table.call, []

    def shifted(inputs, reverse=False):
        made = call(inputs, reverse=reverse)
        if not reverse:
            shift = tf.zeros_like(made)
            tape.watch(shift)
            seen.extend([made, shift])
            made = made + shift
        return made

    with tf.GradientTape() as tape:
        table.call = shifted
        try:
            z = lm(
                {"token_ids": np.array([ids]), "padding_mask": np.ones((1, len(ids)))}
            )
            value = score(z[0])
        finally:
            table.call = call
    return tf.reduce_sum(seen[0] * tape.gradient(value, seen[1]), -1)[0].numpy()


def test_a_causal_lm(gpt2):
    analyzer = tfxai.text.create_analyzer("input_t_gradient", gpt2)
    e = analyzer.analyze(PROMPT, n_tokens=3)
    assert "".join(e.tokens[0]).replace("Ġ", " ") == "<|endoftext|>" + PROMPT
    row = [int(i) for i in e.inputs[-1]]
    for k, token in enumerate(e.target):
        prefix = row[: len(e.tokens[k])]
        wanted = taped(gpt2, prefix, lambda z, token=token: z[-1, token])
        found = e.relevance[k, : len(prefix)]
        np.testing.assert_allclose(found, wanted, atol=2e-4 * np.abs(wanted).max())
    e = analyzer.analyze(PROMPT, answer="are", contrast="is")
    are, is_ = (gpt2.preprocessor.tokenizer.token_to_id(w) for w in ("are", "is"))
    assert e.target.tolist() == [are]
    prefix = row[: len(e.tokens[0])]
    wanted = taped(gpt2, prefix, lambda z: z[-1, are] - z[-1, is_])
    np.testing.assert_allclose(e.relevance[0], wanted, atol=2e-4 * abs(wanted).max())
    with pytest.raises(InputError, match="32, the positions of the model"):
        analyzer.analyze(" ".join([PROMPT] * 8))
    for method in ("lrp.attn", "gradient", "occlusion", "kernel_shap"):
        e = tfxai.text.explain(gpt2, [PROMPT, "the keys"], 2, method)
        assert np.isfinite(e.relevance).all() and e.relevance[1].any()


def test_an_encoder_and_a_decoder(models):
    vocabulary, merges = hub_zoo.byte_pieces(["<s>", "<pad>", "</s>", "<mask>"])
    tokenizer = models.BartTokenizer(vocabulary=vocabulary, merges=merges)
    backbone = models.BartBackbone(
        vocabulary_size=len(vocabulary), num_layers=1, max_sequence_length=32, **SIZES
    )
    preprocessor = models.BartSeq2SeqLMPreprocessor(
        tokenizer, encoder_sequence_length=16, decoder_sequence_length=16
    )
    lm = drawn(models.BartSeq2SeqLM(backbone=backbone, preprocessor=preprocessor))
    e = tfxai.text.explain(lm, PROMPT, n_tokens=2)
    assert e.tokens[0][-2:] == ["</s>", "<s>"]  # what the decoder begins with
    source = [t for t in e.tokens[0][:-2] if t not in ("<s>", "</s>")]
    assert "".join(source).replace("Ġ", " ") == PROMPT
    assert e.relevance[:, : len(source)].any() and e.relevance[1, -1] != 0
    x = preprocessor.generate_preprocess([PROMPT])
    z = lm({k: np.asarray(v) for k, v in x.items()})[0, 1].numpy()
    assert e.target[0] == z.argmax()
    np.testing.assert_allclose(e.score[0], z.max(), rtol=1e-3)
    analyzer = tfxai.text.create_analyzer("lrp.attn", lm)
    names, heads = analyzer.heads(f"{PROMPT} {PROMPT}", answer="the")  # 32 and 16 long
    kinds = [n.split("/")[-2] for n in names]
    assert kinds == ["self_attention_layer", "self_attention", "cross_attention"]
    assert heads.shape[:2] == (1, 3) and np.abs(heads).sum(-1).all()


def test_a_classifier(models):
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "a",
        "superb",
        "love",
        "##ly",
    ]
    tokenizer = models.BertTokenizer(vocabulary=words, lowercase=True)
    backbone = models.BertBackbone(
        vocabulary_size=len(words), num_layers=1, max_sequence_length=32, **SIZES
    )
    preprocessor = models.BertTextClassifierPreprocessor(tokenizer, sequence_length=16)
    model = drawn(
        models.BertTextClassifier(
            backbone=backbone, preprocessor=preprocessor, num_classes=2
        )
    )
    texts = ["a superb lovely", "a lovely"]
    x = {k: np.asarray(v).astype("int32") for k, v in preprocessor(texts).items()}
    for method in ("lrp.attn", "input_t_gradient"):
        e = tfxai.text.explain(model, texts, method=method, target=1)
        wanted = tfxai.explain(model, x, method, 1)["token_ids"].relevance
        size = np.abs(wanted).max()
        np.testing.assert_allclose(e.relevance, wanted[:, :6], atol=1e-4 * size)
    assert e.tokens[1] == ["[CLS]", "a", "love", "##ly", "[SEP]"]
    assert e.sum_by("words").tokens[1] == ["[CLS]", "a", "lovely", "[SEP]"]
    long = "a superb lovely a superb lovely a superb lovely a superb lovely"
    with pytest.warns(ShortenedTextWarning, match=r"keeps 16 of the 18 tokens"):
        tfxai.text.explain(model, long, method="input_t_gradient")
    e = tfxai.text.explain(model, texts, method="occlusion", mask_token="[MASK]")
    y = np.asarray(model(x))
    np.testing.assert_allclose(e.score, y.max(-1), rtol=1e-3)
    masked = {**x, "token_ids": x["token_ids"].copy()}
    masked["token_ids"][1, 2:4] = 4  # both pieces of "lovely"
    gap = y[1].max() - np.asarray(model(masked))[1, y[1].argmax()]
    np.testing.assert_allclose(e.relevance[1, 2:4].sum(), gap, rtol=1e-3, atol=1e-5)


def test_the_target_prefix_of_t5(models):
    lm = hub_zoo.build("T5Seq2SeqLM")
    e = tfxai.text.explain(lm, PROMPT, n_tokens=2)
    source = e.tokens[1].index("</s>") + 1
    ids = e.inputs[1].astype("int32")[None]
    x = {"encoder_token_ids": ids[:, :source], "decoder_token_ids": ids[:, source:]}
    x |= {k.replace("token_ids", "padding_mask"): np.ones_like(v) for k, v in x.items()}
    z = np.asarray(lm(x))[0]
    assert z.argmax(-1)[:2].tolist() == e.target.tolist()
    np.testing.assert_allclose(e.score, z.max(-1)[:2], rtol=1e-4)
    assert e.relevance[1, source + 1] != 0 and e.relevance[0, source + 1] == 0


def test_an_image_and_words_in_one_explanation(models):
    lm = hub_zoo.build("PaliGemmaCausalLM")
    image = np.random.default_rng(0).random((16, 16, 3)).astype("float32")
    with pytest.raises(InputError, match="reads images"):
        tfxai.text.explain(lm, PROMPT)
    analyzer = tfxai.text.create_analyzer("input_t_gradient", lm)
    e = analyzer.analyze(PROMPT, n_tokens=2, images=image)
    words, pixels = e["token_ids"], e["images"]
    assert words.relevance.shape[0] == 2 and pixels.relevance.shape == (2, 16, 16, 3)
    ids = words.inputs[1].astype("int32")[None]
    begin = len(words.tokens[0])

    def logit(x):
        answered = (np.arange(ids.shape[1]) >= begin)[None].astype("int32")
        given = {"token_ids": ids, "padding_mask": np.ones_like(ids)}
        given = {k: tf.constant(v) for k, v in given.items()}
        z = lm({**given, "images": x, "response_mask": tf.constant(answered)})
        return z[0, -1, int(e.target[1])]

    x = tf.constant(pixels.inputs[1:])
    with tf.GradientTape() as tape:
        tape.watch(x)
        score = logit(x)
    wanted = (x * tape.gradient(score, x))[0].numpy()
    size = np.abs(wanted).max()
    np.testing.assert_allclose(pixels.relevance[1], wanted, atol=1e-4 * size)
    np.testing.assert_allclose(e.score[1], score, rtol=1e-4)
    total = words.relevance[1].sum() + pixels.relevance[1].sum()
    found = analyzer.evaluate(e, ["additivity"])["additivity"][1]
    np.testing.assert_allclose(found, abs(total / score - 1), rtol=1e-3)
    both = analyzer.analyze([PROMPT, "the keys"], answer="the", images=[image, image])
    one = analyzer.analyze(["the keys"], answer="the", images=[image])
    width = one["token_ids"].relevance.shape[-1]
    gap = both["token_ids"].relevance[1, :, :width] - one["token_ids"].relevance[0]
    assert np.abs(gap).max() < 1e-5 * np.abs(one["token_ids"].relevance).max()


@pytest.mark.parametrize("name", ["MoonshineAudioToText", "PARSeqCausalLM"])
def test_audio_or_an_image_in_place_of_a_prompt(models, name):
    model, given = hub_signals.build(name), hub_signals.pair(name)[0][0]
    analyzer = tfxai.text.create_analyzer("input_t_gradient", model)
    e = analyzer.analyze(given, n_tokens=2)
    words, seen = e["token_ids"], e["audio" if name[0] == "M" else "images"]
    ids = words.inputs[1].astype("int32")[None]
    x = tf.constant(seen.inputs[1:])
    own = analyzer.reader.signal.input
    with tf.GradientTape() as tape:
        tape.watch(x)
        mask = {n: tf.ones(x.shape[:2], "int32") for n in model.input if "encoder" in n}
        rest = {n: tf.ones(ids.shape, "int32") for n in model.input if "mask" in n}
        tokens = {n: tf.constant(ids) for n in model.input if "ids" in n}
        z = model({**rest, **mask, **tokens, own: x})[0, -1]
        score = z[int(e.target[1])]
    wanted = (x * tape.gradient(score, x))[0].numpy()
    assert z.numpy().argmax() == e.target[1] and words.relevance[1].any()
    size = np.abs(wanted).max()
    np.testing.assert_allclose(seen.relevance[1], wanted, atol=1e-5 * size)
    if name[0] == "M":
        with pytest.raises(InputError, match=r"The audio has 500 samples, 0\.0312 s"):
            analyzer.analyze(given[:500])


def test_gemma_3_with_and_without_an_image(models):
    from keras_hub.layers import Gemma3ImageConverter
    from keras_hub.src.models.gemma3.gemma3_vision_encoder import Gemma3VisionEncoder

    tokenizer = hub_zoo.tokenizer_of(models, "Gemma3", hub_zoo.PIECES, ())
    sizes = {**hub_zoo.WIDE, "image_size": 16, "num_layers": 1}
    sizes["vocabulary_size"] = tokenizer.vocabulary_size()
    eyes = Gemma3VisionEncoder(16, 4, 2, 8, 1, 16, 16, pool_size=2)
    reader = models.Gemma3CausalLMPreprocessor(
        tokenizer, Gemma3ImageConverter(image_size=(16, 16)), sequence_length=32,
        num_vision_tokens_per_image=4, max_images_per_prompt=1,
    )  # fmt: skip
    sees = models.Gemma3Backbone(**sizes, vision_encoder=eyes)
    lm = drawn(models.Gemma3CausalLM(reader, sees))
    e = tfxai.text.explain(lm, PROMPT, 1)
    text = models.Gemma3CausalLM(None, models.Gemma3Backbone(**sizes))
    own = [w for w in lm.weights if not w.path.startswith(("image_", "vision_"))]
    for w, value in zip(text.weights, own, strict=True):
        w.assign(value)
    ids = e.inputs.astype("int32")
    z = np.asarray(text({"token_ids": ids, "padding_mask": np.ones_like(ids)}))[0, -1]
    assert e.target[0] == z.argmax()
    np.testing.assert_allclose(e.score[0], z.max(), rtol=1e-5)
    image, prompt = hub_signals.image(), f"<start_of_image> {PROMPT}"
    with pytest.raises(InputError, match="0 places for the image") as caught:
        tfxai.text.explain(lm, PROMPT, 1, images=image)
    assert prompt in caught.value.write
    e = tfxai.text.explain(lm, prompt, 1, images=image)
    x = reader.generate_preprocess({"prompts": [prompt], "images": [image]})
    x = {k: np.asarray(v) for k, v in x.items()}
    z = np.asarray(lm(x))[0, x["padding_mask"].sum() - 1]
    assert e.target[0] == z.argmax() and e["images"].relevance.any()
    np.testing.assert_allclose(e.score[0], z.max(), rtol=1e-5)
    with pytest.raises(OptionError, match="reads texts alone") as caught:
        tfxai.text.create_analyzer("lrp.attn", lm).analyze(prompt, 1, images=image)
    scope = {"tfxai": tfxai, "method": "lrp.attn", "model": lm}
    seen = eval(caught.value.write, scope).analyze(prompt, 1, images=image)
    np.testing.assert_array_equal(seen.score, e.score)


def test_gemma_4_that_sees_reads_a_prompt_alone(models):
    from keras_hub.layers import Gemma4ImageConverter
    from keras_hub.src.models.gemma4.gemma4_vision_encoder import Gemma4VisionEncoder

    tokenizer = hub_zoo.tokenizer_of(models, "Gemma4", hub_zoo.PIECES, ())
    sizes = {**hub_zoo.WIDE, "image_size": 16, "num_layers": 1}
    sizes["vocabulary_size"] = tokenizer.vocabulary_size()
    eyes = Gemma4VisionEncoder(
        image_size=16, patch_size=4, num_heads=2, hidden_dim=8, num_layers=1,
        num_key_value_heads=2, head_dim=4, intermediate_dim=16, output_dim=16,
        pool_size=2,
    )  # fmt: skip
    sees = models.Gemma4Backbone(**sizes, vision_encoder=eyes)
    text = models.Gemma4Backbone(**sizes)
    converter = Gemma4ImageConverter(image_size=(16, 16), patch_size=4)
    reader = models.Gemma4CausalLMPreprocessor(
        tokenizer, converter, sequence_length=32, max_images_per_prompt=1,
        num_vision_tokens_per_image=4,
    )  # fmt: skip
    lm = drawn(models.Gemma4CausalLM(reader, sees))
    e = tfxai.text.explain(lm, PROMPT, 1)
    names = {w.path: w for w in text.weights}
    own = [w for w in sees.weights if w.path in names]
    for w, value in zip(text.weights, own, strict=True):
        w.assign(value)
    ids = e.inputs.astype("int32")
    x = {"token_ids": ids, "padding_mask": np.ones_like(ids)}
    x["position_ids"] = np.arange(ids.shape[1])[None]
    z = np.asarray(models.Gemma4CausalLM(None, text)(x))[0, -1]
    assert e.target[0] == z.argmax() and e.relevance.all()
    np.testing.assert_allclose(e.score[0], z.max(), rtol=1e-5)
    with pytest.raises(OptionError, match="Gemma4CausalLM is explained without images"):
        tfxai.text.explain(lm, PROMPT, 1, images=hub_signals.image())


def test_every_class_has_a_row(models):
    from keras_hub.src.models.causal_lm import CausalLM
    from keras_hub.src.models.text_classifier import TextClassifier

    table = (Path(__file__).parents[2] / "docs/tables/text_models.md").read_text()
    words = set(re.findall(r"\w+", table))
    bases = {"CausalLM", "Seq2SeqLM", "TextClassifier", "Classifier"}
    found = [
        name for name in dir(models)
        if isinstance(c := getattr(models, name), type) and name not in bases
        and issubclass(c, CausalLM | TextClassifier)
    ]  # fmt: skip
    assert len(found) > 40 and not set(found) - words
