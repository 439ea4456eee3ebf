"""Every language model and text classifier of KerasHub, explained in three lines.

    python -m tests.benchmarks.text_models [CLASS ...]

Each class of `tests/text/hub_zoo.py` is built in a tiny configuration with drawn
weights and a vocabulary of its own, and a prompt is explained by `lrp.attn`. The rows
are kept in `build/text_models.jsonl`, the run goes on where it stopped, and
`docs/tables/text_models.md` is written. It needs keras-hub. Columns:

- reads: what is given to `explain`; (`encode`, `decode`) is a class without a
  preprocessor, which is given as `(model, encode, decode)`;
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
from tests.text import hub_signals, hub_zoo
from tfxai.base.errors import TfxaiError

ROOT = Path(__file__).resolve().parents[2]
ROWS, TABLE = ROOT / "build/text_models.jsonl", ROOT / "docs/tables/text_models.md"
#: Classes that are not explained.
WITHOUT = {
    "Gemma4AssistantCausalLM": "drafts tokens for another model, beside which alone "
    "KerasHub calls it; explain that model",
}
#: Answers where "the" is none.
ANSWERS = {"PARSeqCausalLM": "a"}
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

| class | reads | method | score | batch |
|---|---|---|---|---|
"""


def own_logits(analyzer, e):
    """Return the logits by the model itself of the tokens that follow."""
    model, start = analyzer.wrapped.model, analyzer.reader.start
    several = isinstance(e.inputs, list)
    inputs = e.inputs[0] if several else e.inputs
    found = []
    for k, words in enumerate(e.tokens):
        ids = np.asarray(inputs)[k, : len(words)][None].astype("int32")
        source, ids = split(ids, e, start)
        x = {}
        for name in model.input:
            own = source if "encoder" in name else ids
            if name == "response_mask":
                x[name] = np.arange(ids.shape[1])[None] >= len(e.tokens[0])
            elif name == "position_ids":
                x[name] = np.arange(ids.shape[1], dtype="int32")[None]
            elif several and name == analyzer.reader.signal.input:
                x[name] = e.inputs[1][k : k + 1]
            elif "mask" in name and own.size:
                x[name] = np.ones_like(own)
            elif "mask" in name:
                x[name] = np.ones(e.inputs[1].shape[1:2], "int32")[None]
            else:
                x[name] = own
        found.append(np.asarray(model(x))[0, -1].astype(float))
    return np.stack(found)


def split(ids, e, start):
    """Return the ids that an encoder reads, and those of the decoder."""
    begin = 0 if start is None else len(e.tokens[0]) - len(start)
    return ids[:, :begin], ids[:, begin:]


def parts_of(e):
    """Return the relevance of the first sample, of tokens and of what is beside."""
    parts = e.relevance if isinstance(e.relevance, list) else [e.relevance]
    return [np.asarray(p)[0] for p in parts]


def explained(row, made, given, **options):
    """Return analyzer and explanation by the first method that explains the class."""
    for method in ("lrp.attn", "input_t_gradient"):
        row["method"] = method
        try:
            analyzer = tfxai.text.create_analyzer(method, made)
            return analyzer, analyzer.analyze(given, **options)
        except TfxaiError as error:
            row.setdefault("error", f"{type(error).__name__}: {error}"[:200])
    row["method"] = "-"
    return None, None


def measured(name):
    """Return the row of a class."""
    own = name in hub_signals.BUILDERS
    made, row = (hub_signals if own else hub_zoo).build(name), {"class": name}
    two, images = hub_signals.pair(name)
    row["reads"] = reads(two[0], images, isinstance(made, tuple))
    writes = "Classifier" not in name
    options = {"n_tokens": 2} if writes else {}
    one = {} if images is None else {"images": images[:1]}
    analyzer, e = explained(row, made, two[0], **options, **one)
    if e is None:
        return row
    if writes:
        z = own_logits(analyzer, e)
        chosen = z[np.arange(len(e.target)), e.target]
        assert (z.argmax(-1) == e.target).all(), (z.argmax(-1), e.target)
        row["score"] = float(np.abs(chosen - e.score).max() / np.abs(z).max())
    options = {"answer": ANSWERS.get(name, "the")} if writes else {"target": 1}
    alone = parts_of(analyzer.analyze([two[0]], **options, **one))
    beside = {} if images is None else {"images": images}
    both = parts_of(analyzer.analyze(list(two), **options, **beside))
    gaps = [
        np.abs(b[tuple(map(slice, a.shape))] - a).max()
        for a, b in zip(alone, both, strict=True)
    ]
    row["batch"] = float(max(gaps) / max(np.abs(a).max() for a in alone))
    return row


def reads(given, images, own):
    """Return what a class reads, and where its tokenizer is from."""
    kind = {1: "audio", 3: "image"}.get(np.ndim(given), "text")
    kind += "" if images is None else ", image"
    return kind + (" (`encode`, `decode`)" if own else "")


def line(row):
    """Return the row of the table."""
    method = row["method"] if row["method"] == "-" else f"`{row['method']}`"
    numbers = [f"{row[k]:.0e}" if k in row else "-" for k in ("score", "batch")]
    first = f"| {row['class']} | {row['reads']} | {method} | "
    return first + " | ".join(numbers) + " |\n"


def stored():
    """Return class -> its row."""
    lines = ROWS.read_text().splitlines() if ROWS.exists() else []
    return {row["class"]: row for row in map(json.loads, lines)}


def every():
    """Return the classes that have a row."""
    return [*hub_zoo.names(), *hub_signals.BUILDERS]


def main(names):
    """Measure the classes that have no row yet, and write the table."""
    import keras_hub

    ROWS.parent.mkdir(exist_ok=True)
    known = {*stored(), *WITHOUT}
    for name in [n for n in names or every() if n not in known]:
        row = measured(name)
        with ROWS.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(line(row), end="", flush=True)
        keras.backend.clear_session()
    rows = stored()
    text = HEAD.format(version=keras_hub.__version__, measured=when_and_where())
    text += "".join(line(rows[n]) for n in every() if n in rows)
    text += "\nOther names of the same: "
    text += ", ".join(f"{a} = {b}" for a, b in SAME.items())
    text += ".\n\nNot explained:\n\n"
    text += "".join(f"- {n}: {why}\n" for n, why in WITHOUT.items())
    TABLE.write_text(text)


if __name__ == "__main__":
    main(sys.argv[1:])
