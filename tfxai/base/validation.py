"""Checks of option values and names, with errors that list the valid ones."""

import difflib
from collections.abc import Collection, Iterable
from numbers import Real
from typing import Any

import numpy as np

from tfxai.base.errors import InputError, OptionError


def one_of(name: str, value: Any, known: Collection[Any]) -> None:
    """Raise OptionError unless `value` is in `known`."""
    if value not in known:
        raise OptionError(f"{name}={value!r}.", f"one of {list(known)}")


def above(name: str, value: Any) -> None:
    """Raise OptionError unless `value` is a finite number above 0."""
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not 0 < value < np.inf:
        raise OptionError(f"{name}={value!r}.", "a number above 0")


def at_least(name: str, value: Any, least: float) -> None:
    """Raise OptionError unless `value` is a finite number of at least `least`."""
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not least <= value < np.inf:
        raise OptionError(f"{name}={value!r}.", f"a number of at least {least}")


def whole_number(name: str, value: Any, least: int, most: int = 2**63 - 1) -> None:
    """Raise OptionError unless `value` is an integer from `least` to `most`."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < least:
        raise OptionError(f"{name}={value!r}.", f"a whole number of at least {least}")
    if value > most:
        raise OptionError(f"{name}={value!r}.", f"a whole number of at most {most}")


def unmasked(name: str, value: Any) -> Any:
    """Return `value`; raise InputError if it is an array with masked numbers.

    `np.asarray` drops a mask, so that the numbers behind it would be used.
    """
    masked = np.ma.getmask(value) if isinstance(value, np.ma.MaskedArray) else False
    count = np.count_nonzero(masked)
    if count:
        raise InputError(
            f"{name} is a masked array, and {count} of its {np.size(value)} numbers "
            "are masked.",
            "numbers for all of them",
            f"{name}.filled(0), with 0 for what is masked",
        )
    return value


#: Names that other tools and papers use, without case and punctuation -> name here.
SYNONYMS = {
    **dict.fromkeys(
        ("saliency", "saliencymap", "saliencymaps", "vanillagradient", "gradients",
         "simplegradient", "sensitivitymap", "vanilla"), "gradient",
    ),
    **dict.fromkeys(
        ("inputxgradient", "gradientxinput", "inputtimesgradient", "gradientinput",
         "gradienttimesinput", "inputgradient"), "input_t_gradient",
    ),
    **dict.fromkeys(("ig", "intgrad", "intgrads", "integratedgradient"),
                    "integrated_gradients"),
    **dict.fromkeys(("guidedig", "gig"), "guided_integrated_gradients"),
    **dict.fromkeys(("blurig", "big"), "blur_integrated_gradients"),
    **dict.fromkeys(("gradientshap", "gradshap", "eg", "gradientexplainer"),
                    "expected_gradients"),
    **dict.fromkeys(("sg", "noisetunnel"), "smoothgrad"),
    **dict.fromkeys(("shap", "kernelexplainer", "shapley", "shapleyvalues"),
                    "kernel_shap"),
    **dict.fromkeys(("svs", "shapleyvaluesampling", "montecarloshapley"),
                    "shapley_sampling"),
    **dict.fromkeys(("gradcampp", "gradcam++", "gradcamplus"), "gradcam_plus_plus"),
    **dict.fromkeys(("gbp", "guidedbackpropagation", "guidedgradient"),
                    "guided_backprop"),
    **dict.fromkeys(("deconvolution", "deconv"), "deconvnet"),
    **dict.fromkeys(("dtd", "deeptaylordecomposition"), "deep_taylor"),
    **dict.fromkeys(("contrastivelrp",), "clrp"),
    **dict.fromkeys(("softmaxgradientlrp",), "sglrp"),
    **dict.fromkeys(("deepshap", "deepexplainer", "rescale"), "deeplift"),
    **dict.fromkeys(("attnlrp", "lxt"), "lrp.attn"),
    **dict.fromkeys(("excitationbackprop",), "lrp.excitation_backprop"),
    **dict.fromkeys(("slidingwindow", "ablation", "featureablation"), "occlusion"),
    **dict.fromkeys(("limeimage", "limeimageexplainer"), "lime"),
}  # fmt: skip


def nearest(name: str, names: Iterable[Any]) -> list[str]:
    """Return up to three of `names` that resemble `name`, the closest first.

    A name of `SYNONYMS`, and one that differs in case and punctuation alone, comes
    first and alone. The list is empty where nothing is near.
    """
    lower = {str(n).lower(): str(n) for n in names}
    plain = {_plain(n): n for n in reversed(lower.values())}
    synonym = SYNONYMS.get(_plain(name))
    if synonym in lower:
        return [lower[synonym]]
    if _plain(name) in plain:
        return [plain[_plain(name)]]
    close = difflib.get_close_matches(str(name).lower(), lower, n=3, cutoff=0.6)
    return [lower[match] for match in close]


def _plain(name: Any) -> str:
    """Return a name in lower case, without spaces and punctuation (but +)."""
    return "".join(c for c in str(name).lower() if c.isalnum() or c == "+")


def check_options(who: str, options: Iterable[str], known: Collection[str]) -> None:
    """Raise OptionError for the first of `options` that is not in `known`.

    Args:
        who: The subject of the error message, such as "The analyzer 'lime'".
        options: The names to check.
        known: The valid names.
    """
    for option in options:
        if option not in known:
            close = nearest(option, known)
            perhaps = f", perhaps {', '.join(close)}" if close else ""
            raise OptionError(
                f"{who} has no option {option!r}.", f"one of {sorted(known)}{perhaps}"
            )
