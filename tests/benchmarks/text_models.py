"""Every language model and text classifier of KerasHub, explained in three lines.

    python -m tests.benchmarks.text_models [CLASS ...]

Each class of `tests/text/hub_zoo.py` is built in a tiny configuration with drawn
weights and a vocabulary of its own, and a prompt is explained by `lrp.attn`. The rows
are kept in `build/text_models.jsonl`, the run goes on where it stopped, and
`docs/tables/text_models.md` is written. It needs keras-hub. Columns:

- method: `lrp.attn`; where it raises an error `input_t_gradient`, or neither (-);
- score: largest difference of the explained score from the model's own logit of the
  sequence without padding, as a share of the largest logit;
- batch: largest difference of the relevance of a prompt beside a longer one from that
  of the prompt alone, as a share of the largest relevance.
"""

import json
import sys
from pathlib import Path

import keras
import numpy as np

import tfxai
from tests.benchmarks.measured import when_and_where
from tests.text import hub_zoo
from tfxai.base.errors import TfxaiError

ROOT = Path(__file__).resolve().parents[2]
ROWS, TABLE = ROOT / "build/text_models.jsonl", ROOT / "docs/tables/text_models.md"
#: Classes that are not explained, or not from a text alone.
WITHOUT = {
    "BLIP2CausalLM": "image and text through a bridge between two models",
    "BLIP2Seq2SeqLM": "image and text through a bridge between two models",
    "EdRecSeq2SeqLM": "no preprocessor in KerasHub",
    "Gemma4AssistantCausalLM": "no preprocessor in KerasHub",
    "MoonshineAudioToText": "reads audio",
    "RWKV7CausalLM": "`lrp.attn` raises an error that names its recurrent time mix",
    "PARSeqCausalLM": "reads images",
}
#: Aliases of KerasHub, and classes with the backbone and the tokenizer of another.
SAME = {
    "AlbertClassifier": "AlbertTextClassifier",
    "BertClassifier": "BertTextClassifier",
    "DebertaV3Classifier": "DebertaV3TextClassifier",
    "DistilBertClassifier": "DistilBertTextClassifier",
    "FNetClassifier": "FNetTextClassifier",
    "Qwen2CausalLM": "QwenCausalLM",
    "RobertaClassifier": "RobertaTextClassifier",
    "SmolLMCausalLM": "SmolLM3CausalLM",
    "XLMRobertaClassifier": "XLMRobertaTextClassifier",
}
HEAD = """# Language models and text classifiers of KerasHub

Written by `python -m tests.benchmarks.text_models`, whose text describes the columns;
KerasHub {version}, tiny configurations with drawn weights.
{measured}

| class | method | score | batch |
|---|---|---|---|
"""
TEXTS = {"ESM": ("LAGV", "LAGVSERT")}


def own_logits(lm, answer, start):
    """Return the logits by the model itself of the first and the second token."""
    inputs = answer.inputs[0] if isinstance(answer.inputs, list) else answer.inputs
    found = []
    for k, words in enumerate(answer.tokens):
        ids = np.asarray(inputs)[k, : len(words)][None].astype("int32")
        x = {"token_ids": ids, "padding_mask": np.ones_like(ids)}
        if "position_ids" in lm.input:
            x["position_ids"] = np.arange(ids.shape[1], dtype="int32")[None]
        if start is not None:
            begin = len(answer.tokens[0]) - len(start)
            source, ids = ids[:, :begin], ids[:, begin:]
            x = {
                "encoder_token_ids": source,
                "encoder_padding_mask": np.ones_like(source),
                "decoder_token_ids": ids,
                "decoder_padding_mask": np.ones_like(ids),
            }
        if isinstance(answer.inputs, list):
            x["images"] = answer.inputs[1][k : k + 1]
            x["response_mask"] = np.arange(ids.shape[1])[None] >= len(answer.tokens[0])
        found.append(np.asarray(lm(x))[0, -1].astype(float))
    return np.stack(found)


def tokens_of(e):
    """Return the relevance of tokens."""
    return np.asarray(e.relevance[0] if isinstance(e.relevance, list) else e.relevance)


def measured(name):
    """Return the row of a class."""
    lm, row = hub_zoo.build(name), {"class": name, "method": "lrp.attn"}
    short, long = TEXTS.get(name[:3], (hub_zoo.PROMPT, hub_zoo.PROMPT + " is"))
    writes = "Classifier" not in name
    options = {"n_tokens": 2} if writes else {}
    image = np.random.default_rng(0).random((16, 16, 3)).astype("float32")
    one = {"images": image} if "PaliGemma" in name else {}
    two = {"images": np.stack([image, image])} if one else {}
    methods = ("lrp.attn", "input_t_gradient")
    for method in methods:
        row["method"] = method
        try:
            analyzer = tfxai.text.create_analyzer(method, lm)
            e = analyzer.analyze(short, **options, **one)
        except TfxaiError as error:
            row.setdefault("error", f"{type(error).__name__}: {error}"[:200])
            continue
        break
    else:
        row["method"] = "-"
        return row
    if writes:
        z = own_logits(lm, e, analyzer.reader.start)
        chosen = z[np.arange(len(e.target)), e.target]
        assert (z.argmax(-1) == e.target).all(), (z.argmax(-1), e.target)
        row["score"] = float(np.abs(chosen - e.score).max() / np.abs(z).max())
    options = {"answer": "the"} if writes else {"target": 1}
    alone = tokens_of(analyzer.analyze([short], **options, **two_of(two, 1)))
    both = tokens_of(analyzer.analyze([short, long], **options, **two))
    width = alone.shape[-1]
    gap = np.abs(both[:1, ..., :width] - alone).max()
    row["batch"] = float(gap / np.abs(alone).max())
    return row


def two_of(images, count):
    """Return the first images."""
    return {k: v[:count] for k, v in images.items()}


def line(row):
    """Return the row of the table."""
    method = row["method"] if row["method"] == "-" else f"`{row['method']}`"
    numbers = [f"{row[k]:.0e}" if k in row else "-" for k in ("score", "batch")]
    return f"| {row['class']} | {method} | " + " | ".join(numbers) + " |\n"


def stored():
    """Return class -> its row."""
    lines = ROWS.read_text().splitlines() if ROWS.exists() else []
    return {row["class"]: row for row in map(json.loads, lines)}


def main(names):
    """Measure the classes that have no row yet, and write the table."""
    import keras_hub

    ROWS.parent.mkdir(exist_ok=True)
    known = {*stored(), *WITHOUT}
    for name in [n for n in names or hub_zoo.names() if n not in known]:
        row = measured(name)
        with ROWS.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(line(row), end="", flush=True)
        keras.backend.clear_session()
    rows = stored()
    text = HEAD.format(version=keras_hub.__version__, measured=when_and_where())
    text += "".join(line(rows[n]) for n in hub_zoo.names() if n in rows)
    text += "\nOther names of the same: "
    text += ", ".join(f"{a} = {b}" for a, b in SAME.items())
    text += ".\n\nNot explained, or not from a text alone:\n\n"
    text += "".join(f"- {n}: {why}\n" for n, why in WITHOUT.items())
    TABLE.write_text(text)


if __name__ == "__main__":
    main(sys.argv[1:])
