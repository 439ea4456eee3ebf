"""A preprocessing of images by numbers: factor, order of channels, mean, deviation."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from tfxai.base.errors import OptionError


@dataclass(frozen=True)
class Scaling:
    """The function x -> (scale x - mean) / std of RGB images (B, H, W, C).

    Attributes:
        scale: The factor of the pixels 0 to 255.
        mean: What is subtracted: one number, or one per channel of the network.
        std: What it is divided by: one number, or one per channel of the network.
        bgr: Reverse the order of the channels first; `mean` and `std` are in the order
            blue, green, red then.
    """

    scale: float = 1.0
    mean: Sequence[float] = (0.0,)
    std: Sequence[float] = (1.0,)
    bgr: bool = False

    def __call__(self, x: Any) -> Any:
        import tensorflow as tf

        x = tf.cast(x, tf.float32) * self.scale
        x = tf.reverse(x, [-1]) if self.bgr else x
        return (x - tf.constant(self.mean)) / tf.constant(self.std)


def read_number(option: str, text: str) -> float:
    """Return the number of "0.5", "1e-3" or "1/255".

    Raises:
        OptionError: The text is no such number, or it is 0.
    """
    try:
        value = float(Fraction(text.strip().replace(" ", "")))
    except (ValueError, ZeroDivisionError):
        value = 0.0
    if not value > 0:
        raise OptionError(
            f"{option} {text}", "a number above 0, such as 1/255", f"{option} 1/255"
        )
    return value


def read_numbers(option: str, text: str) -> tuple[float, ...]:
    """Return the numbers of "0.485,0.456,0.406", or the one of "127.5".

    Raises:
        OptionError: The text does not hold one number, or one for each of 3 channels.
    """
    try:
        values = tuple(float(Fraction(t.strip())) for t in text.split(","))
    except (ValueError, ZeroDivisionError):
        values = ()
    if len(values) not in (1, 3) or (option == "--std" and min(values) <= 0):
        raise OptionError(
            f"{option} {text}",
            "one number, or three separated by commas"
            + (", above 0" if option == "--std" else ""),
            f"{option} 0.485,0.456,0.406",
        )
    return values
