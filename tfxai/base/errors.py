"""Errors and warnings that teach: what was seen, what was wanted, what to type.

Every error is a `TfxaiError` and also the built-in error that a Python reader would
expect (a `ValueError` for a wrong value, a `FileNotFoundError` for a missing file).
"""


class TfxaiError(Exception):
    """Base of every error that this package raises on purpose.

    `seen` is what was given, `wanted` what would have been right, and `write` the
    line to write instead.
    """

    def __init__(self, seen: str, wanted: str = "", write: str = "") -> None:
        self.seen, self.wanted, self.write = seen, wanted, write
        parts = [seen]
        if wanted:
            parts.append(f"Wanted: {wanted}")
        if write:
            parts.append(f"Write: {write}")
        super().__init__("\n  ".join(parts))

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would print the repr


def first_line(error: Exception, most: int | None = 120) -> str:
    """What another library's error says first; some say nothing."""
    return str(error).partition("\n")[0][:most]


class InputError(TfxaiError, ValueError):
    """The input is no batch of finite numbers of the shape that the model takes."""


class TargetError(TfxaiError, ValueError):
    """The target is no class (or index) of the model's output."""


class OptionError(TfxaiError, ValueError):
    """There is no such option, or its value is out of range."""


class UnknownNameError(TfxaiError, KeyError):
    """No analyzer, rule or network has this name."""


class LabelError(TfxaiError, KeyError):
    """No class has this label, or several have it."""


class UnsupportedLayerError(TfxaiError, NotImplementedError):
    """The model holds a step that no rule covers."""


class ModelError(TfxaiError, TypeError):
    """The object is no model, or a model in no state to be explained."""


class BlackBoxError(TfxaiError, TypeError):
    """The method needs more than answers, and the callable gives only answers."""


class ImageError(TfxaiError, ValueError):
    """The file is no picture that can be read."""


class MissingFileError(TfxaiError, FileNotFoundError):
    """There is no such file or folder."""


class MissingPackageError(TfxaiError, ImportError):
    """The option needs a package that is not installed."""


class DownloadError(TfxaiError, OSError):
    """Keras could not download the weights of a named network."""


class SolverError(TfxaiError, RuntimeError):
    """A solver failed, or stopped before it was done."""


class RecipeError(TfxaiError, ValueError):
    """A folder of maps was made from something else than what is asked for now."""


class WriteError(TfxaiError, OSError):
    """Some maps could not be written (for example since the disk was full)."""


class TfxaiWarning(UserWarning):
    """Base of every warning of this package."""


class NothingToExplainWarning(TfxaiWarning):
    """The method has no relevance to give for this class (for example a logit <= 0)."""


class OutOfBoundsWarning(TfxaiWarning):
    """The input leaves the interval [low, high] that a bounded rule was told."""


class NotFiniteWarning(TfxaiWarning):
    """A map or an answer holds NaN or infinity."""


class NoFirstLayerWarning(TfxaiWarning):
    """A rule for the first layer was asked for, and there is no such layer."""


class UnreachedInputWarning(TfxaiWarning):
    """One of several inputs has a map of zeros, and the others have not."""


class OtherOutputWarning(TfxaiWarning):
    """The method starts from the slope of an output that the model does not have."""


class LowFidelityWarning(TfxaiWarning):
    """A local linear model says little of what the network does."""


class InexactWarning(TfxaiWarning):
    """An estimate is farther off than the tolerance that was asked for."""


class UncertainClassWarning(TfxaiWarning):
    """The network itself gives the explained class less than an even chance."""


class StuckWarning(TfxaiWarning):
    """An optimisation ended without having done what it was for."""


class EvenKernelWarning(TfxaiWarning):
    """A convolution was asked for with a kernel that has no middle."""


class WriterWarning(TfxaiWarning):
    """A place that the maps of a training go to failed; the training went on."""


class NotExplainedWarning(TfxaiWarning):
    """A step of a training was not explained or measured; the training went on."""


class FailedSamplesWarning(TfxaiWarning):
    """Some samples of a data set could not be read or explained."""


class RecipeWarning(TfxaiWarning):
    """A recipe cannot tell a part of a run from another one of the same type."""


class IncompleteWarning(TfxaiWarning):
    """A folder of maps is read before all of them are there."""
