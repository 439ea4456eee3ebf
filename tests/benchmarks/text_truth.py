"""Language models with known reasons: how often is the word that must matter first?

    python -m tests.benchmarks.text_truth [--count 60]

Three small language models (words as tokens, two layers of attention, about 80,000
parameters) are trained here, without a download, on generated sentences:

- agreement: "the keys near the cabinet" -> "are", by the first noun, with distractors;
- copying: "anna and tom went to the shop . anna thanked" -> "tom", the other name;
- negation: "the film was not superb so i felt" -> "sad", by the adjective and "not".

The explained score is the difference of the logits of the right and of the wrong
answer. A text counts where the words that must matter (the noun; the name; the
adjective and, where it stands there, "not") are those of the largest |relevance|. The
command writes `docs/tables/text_truth.md`, with 95 % intervals (Wilson); about two
minutes of one core.
"""

import argparse
import time
from pathlib import Path

import keras
import numpy as np
from keras import layers as L
from keras import ops

import tfxai
from tests.benchmarks.measured import when_and_where

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "docs/tables/text_truth.md"
LENGTH, WIDTH, HEADS, LAYERS = 16, 64, 4, 2
#: name -> the options beside the method's name.
METHODS = {
    "lrp.attn": {},
    "input_t_gradient": {},
    "gradient": {},
    "integrated_gradients": {"baseline": 0},
    "occlusion": {},
    "kernel_shap": {"n_samples": 256},
    "attention_rollout": {},
}
NOUNS = [("key", "keys"), ("dog", "dogs"), ("car", "cars"), ("book", "books"),
         ("friend", "friends"), ("river", "rivers")]  # fmt: skip
NAMES = ["anna", "tom", "lea", "max", "ida", "jan"]
GOOD = ["superb", "lovely", "great", "charming"]
BAD = ["dull", "awful", "boring", "weak"]


def agreement(rng):
    """Return the words, the right and the wrong answer, and what must matter."""
    number = rng.integers(2)
    words = ["today"] * rng.integers(2) + ["the", NOUNS[rng.integers(6)][number]]
    must = {len(words) - 1}
    for _ in range(rng.integers(1, 3)):
        other = NOUNS[rng.integers(6)][rng.integers(2)]
        words += [["near", "behind", "with"][rng.integers(3)], "the", other]
    return words, *(("are", "is") if number else ("is", "are")), must


def copying(rng):
    """Return a sentence with two names, one of which is named again."""
    first, second = rng.permutation(NAMES)[:2]
    named = rng.integers(2)
    again, answer = ((first, second), (second, first))[named]
    place = ["shop", "park", "lake"][rng.integers(3)]
    words = ["today"] * rng.integers(2)
    at = len(words)
    words += [first, "and", second, "went", "to", "the", place, ".", again, "thanked"]
    return words, answer, again, {at + (2, 0)[named]}


def negation(rng):
    """Return a sentence whose adjective is negated, or not."""
    good, negated = rng.integers(2), rng.integers(2)
    adjective = (BAD, GOOD)[good][rng.integers(4)]
    between = "not" if negated else ["very", "really", "so"][rng.integers(3)]
    thing = ["film", "book", "play"][rng.integers(3)]
    words = ["the", thing, "was", between, adjective, "so", "i", "felt"]
    right, wrong = ("happy", "sad") if good != negated else ("sad", "happy")
    return words, right, wrong, {3, 4} if negated else {4}


TASKS = {"agreement": agreement, "copying": copying, "negation": negation}
VOCABULARY = [
    "<pad>", "today", "the", "near", "behind", "with", "is", "are", "and", "went",
    "to", ".", "thanked", "shop", "park", "lake", "film", "book", "play", "was",
    "not", "very", "really", "so", "i", "felt", "happy", "sad", *NAMES, *GOOD, *BAD,
    *(w for pair in NOUNS for w in pair if w != "book"),
]  # fmt: skip
NUMBER = {w: i for i, w in enumerate(VOCABULARY)}


def encode(text):
    """Return the ids of words; -1 for an unknown one."""
    return [NUMBER.get(w, -1) for w in text.split()]


def decode(ids):
    """Return the text of ids."""
    return " ".join(VOCABULARY[i] for i in ids)


class Positions(L.Layer):
    """Adds a learned vector to each position."""

    def build(self, shape):
        """Create the table."""
        self.table = self.add_weight(shape=(LENGTH, shape[-1]), name="table")

    def call(self, x):
        """Return x + table."""
        return x + self.table


def language_model():
    """Return a decoder of words, token ids (B, 16) -> logits (B, 16, V)."""
    ids = keras.Input((LENGTH,), dtype="int32", name="token_ids")
    x = Positions()(L.Embedding(len(VOCABULARY), WIDTH)(ids))
    for _ in range(LAYERS):
        y = L.LayerNormalization()(x)
        x = x + L.MultiHeadAttention(HEADS, WIDTH // HEADS)(y, y, use_causal_mask=True)
        y = L.Dense(2 * WIDTH, "gelu")(L.LayerNormalization()(x))
        x = x + L.Dense(WIDTH)(y)
    return keras.Model(ids, L.Dense(len(VOCABULARY))(L.LayerNormalization()(x)))


def arrays(samples):
    """Return ids (N, 16), the last position of each, and the right answers."""
    ids = np.zeros((len(samples), LENGTH), np.int32)
    for row, (words, *_) in zip(ids, samples, strict=True):
        row[: len(words)] = [NUMBER[w] for w in words]
    last = np.array([len(words) - 1 for words, *_ in samples])
    return ids, last, np.array([NUMBER[right] for _, right, *_ in samples])


def trained(task, seed=0, steps=1500, batch=64):
    """Return a trained model, and its accuracy on new sentences."""
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    model = language_model()
    samples = [TASKS[task](rng) for _ in range(steps // 5 * batch)]
    ids, last, right = arrays(samples)
    y = np.zeros((*ids.shape, 1), np.int32)
    weight = np.zeros(ids.shape, np.float32)
    rows = np.arange(len(ids))
    y[rows, last, 0], weight[rows, last] = right, LENGTH
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(2e-3), loss)
    for _ in range(8):
        model.fit(ids, y, batch, 1, sample_weight=weight, verbose=0)
        new = arrays([TASKS[task](rng) for _ in range(400)])
        z = ops.convert_to_numpy(model(new[0]))[np.arange(400), new[1]]
        accuracy = float((z.argmax(-1) == new[2]).mean())
        if accuracy > 0.99:
            break
    return model, accuracy


def found(relevance, must):
    """Are the words of the largest |relevance| those that must matter?"""
    order = np.argsort(-np.abs(relevance), kind="stable")
    return set(order[: len(must)].tolist()) == must


def hits(method, options, model, samples):
    """Return whether each sample is found."""
    analyzer = tfxai.text.create_analyzer(method, (model, encode, decode), **options)
    groups = {}
    for words, right, wrong, must in samples:
        groups.setdefault((right, wrong), []).append((" ".join(words), must))
    made = []
    for (right, wrong), group in groups.items():
        texts = [t for t, _ in group]
        e = analyzer.analyze(texts, answer=right, contrast=wrong)
        for (text, must), r in zip(group, e.relevance[:, 0], strict=True):
            made.append(found(r[: len(text.split())], must))
    return made


def wilson(k, n, z=1.96):
    """Return the 95 % interval of a share."""
    p, q = k / n, z * z / n
    centre, half = (p + q / 2) / (1 + q), z * np.sqrt(p * (1 - p) / n + q / n / 4)
    return max(0.0, centre - half / (1 + q)), min(1.0, centre + half / (1 + q))


def cell(made):
    """Return a share with its interval."""
    low, high = wilson(sum(made), len(made))
    return f"{np.mean(made):.0%} ({low:.0%}–{high:.0%})"


def main(count):
    """Train, explain, and write the table."""
    begin, columns, accuracy = time.process_time(), {}, {}
    for task, draw in TASKS.items():
        model, accuracy[task] = trained(task)
        print(task, f"accuracy {accuracy[task]:.1%}", flush=True)
        rng = np.random.default_rng(1)
        samples = [draw(rng) for _ in range(count)]
        columns[task] = {
            name: hits(name, options, model, samples)
            for name, options in METHODS.items()
        }
        shuffled = [
            found(rng.random(len(words)), must) for words, *_, must in samples * 20
        ]
        columns[task]["random"] = shuffled
        print({k: f"{np.mean(v):.2f}" for k, v in columns[task].items()}, flush=True)
    text = (
        "# Words that must matter\n\nWritten by `python -m tests.benchmarks."
        "text_truth`, whose text describes the sentences: how often the words that "
        f"must matter are first, of {count} sentences, with 95 % intervals.\n"
        f"{when_and_where()}\n\n"
        f"| method | {' | '.join(TASKS)} |\n|---|{'---|' * len(TASKS)}\n"
    )
    for name in (*METHODS, "random"):
        cells = " | ".join(cell(columns[t][name]) for t in TASKS)
        text += (
            f"| {'random numbers' if name == 'random' else f'`{name}`'} | {cells} |\n"
        )
    right = ", ".join(f"{t} {a:.1%}" for t, a in accuracy.items())
    text += f"\nRight answers of the models on new sentences: {right}.\n"
    TABLE.write_text(text)
    print(f"{time.process_time() - begin:.0f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=60)
    main(parser.parse_args().count)
