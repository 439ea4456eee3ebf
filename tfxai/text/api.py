"""The public functions of `tfxai.text`: `create_analyzer` and `explain`."""

from collections.abc import Sequence
from typing import Any

import keras

from tfxai.base.errors import OptionError
from tfxai.core.explanation import Explanation
from tfxai.core.model import ModelWrapper, wrap
from tfxai.text.analyzer import TextAnalyzer
from tfxai.text.beside import without_others
from tfxai.text.games import WordGame, is_game, of_texts
from tfxai.text.readers import listed_texts, named_inputs
from tfxai.text.reading import reader_of
from tfxai.text.signals import IMAGES


def _check_callable(method: str, whole: bool, *others: Any) -> None:
    """Raise OptionError for what a function of texts cannot do."""
    if whole or not all(v is None for v in others):
        raise OptionError(
            "contrast, answer, whole, at or images is given, and the model is a "
            "function of texts.",
            "a language model; a function of texts has classes",
            "target=0",
        )
    if not is_game(method):
        raise OptionError(
            f"method={method!r}, and the model is a function of texts: it has no "
            "tokens and no gradients.",
            "a method of words",
            'method="kernel_shap"',
        )


def create_analyzer(
    method: str, model: Any, images: bool = False, **options: Any
) -> TextAnalyzer:
    """Return the analyzer of a method for a model of texts, for many prompts.

    Args:
        method: The name of a method, or "occlusion" or "kernel_shap" of words.
        model: A language model or classifier of KerasHub with its preprocessor; or
            (model, encode, decode): a Keras model of token ids, a function text -> ids
            and a function ids -> text. Of an encoder-decoder model encode returns two:
            what the encoder reads, ids or features, and the ids that the decoder begins
            with.
        images: Whether each prompt of a Gemma 3 has an image, at its
            "<start_of_image>".
        **options: The options of the method.

    Raises:
        OptionError: images is given, and the model is explained without images.
        ModelError: The model has no tokenizer.
        TfxaiError: As for `tfxai.create_analyzer`.
    """
    parts = model if isinstance(model, tuple) else (model,)
    if len(parts) not in (1, 3):
        raise OptionError(
            f"model is a tuple of {len(parts)}.", "(model, encode, decode)"
        )
    given = parts[0].model if isinstance(parts[0], ModelWrapper) else parts[0]
    alone = without_others(given, images) if len(parts) == 1 else None
    if images and alone is not None and IMAGES not in named_inputs(alone):
        raise OptionError(
            f"images is given, and {type(given).__name__} is explained without images.",
            "prompts alone; or PaliGemma, BLIP-2 or Gemma 3",
            "images=None",
        )
    wrapped = wrap(parts[0] if alone is None else alone)
    own = getattr(given, "preprocessor", None)
    encode, decode = parts[1:] if len(parts) == 3 else (None, None)
    reader = reader_of(wrapped.model, encode, decode, own)
    return TextAnalyzer(method, wrapped, reader, options)


def explain(
    model: Any,
    texts: str | Sequence[str],
    n_tokens: int = 3,
    method: str = "lrp.attn",
    contrast: Any = None,
    answer: str | Sequence[str] | None = None,
    whole: bool = False,
    target: Any = None,
    batch_size: int = 32,
    images: Any = None,
    at: str | None = None,
    **options: Any,
) -> Explanation:
    """Return the explanation of what a model makes of texts.

    Args:
        model: As for `create_analyzer`; or a function `texts -> outputs (N, classes)`,
            for "occlusion" and "kernel_shap" of words.
        texts: As for `TextAnalyzer.analyze`, as the following arguments.
        n_tokens: How many tokens are generated.
        method: The name of the method.
        contrast: A token that the answer is compared with.
        answer: The text that is explained in place of the generated one, or one for
            each prompt.
        whole: Explain all tokens of the answer at once.
        target: The class, of a classifier.
        batch_size: How many sequences are computed at once.
        images: The image of each prompt, of a vision-language model.
        at: The name of a layer whose output is explained, or "heads".
        **options: The options of the method.

    Example:
        >>> e = tfxai.text.explain(lm, "The keys to the cabinet", contrast=" is")
    """
    if callable(model) and not isinstance(model, keras.Model | ModelWrapper | tuple):
        _check_callable(method, whole, contrast, answer, images, at)
        many = listed_texts(texts)
        return of_texts(WordGame(method, options), model, many, target, batch_size)
    analyzer = create_analyzer(method, model, images is not None, **options)
    return analyzer.analyze(
        texts, n_tokens, contrast, answer, whole, target, batch_size, images, at
    )
