"""Errors and warnings: what was found, what is needed, what to type.

Every error is a `TfxaiError` and also the built-in error of its kind (`ValueError` for
a wrong value, `FileNotFoundError` for a missing file).
"""


class TfxaiError(Exception):
    """Base class of every error that this package raises on purpose.

    Args:
        seen: What was found: the sentence that states the error.
        wanted: What is needed instead.
        write: The line of code or the option to type.
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
    """Return the first line of an error's message, cut to `most` characters.

    Args:
        error: An error of any library; its message may be empty.
        most: The maximum number of characters. None returns the whole line.
    """
    return str(error).partition("\n")[0][:most]


class InputError(TfxaiError, ValueError):
    """The input is not a batch of finite numbers of the model's input shape."""


class TargetError(TfxaiError, ValueError):
    """The target is not a class (or an index) of the model's output."""


class OptionError(TfxaiError, ValueError):
    """The option does not exist, or its value is invalid."""


class UnknownNameError(TfxaiError, KeyError):
    """No method, rule, metric or network has this name."""


class LabelError(TfxaiError, KeyError):
    """No class has this label, or several classes have it."""


class UnsupportedLayerError(TfxaiError, NotImplementedError):
    """The model contains a step that no rule covers."""


class ModelError(TfxaiError, TypeError):
    """The object is not a model, or a model that cannot be explained."""


class BlackBoxError(TfxaiError, TypeError):
    """The method needs gradients or layers, but the model is only a callable."""


class ImageError(TfxaiError, ValueError):
    """The file is not an image that can be read."""


class MissingFileError(TfxaiError, FileNotFoundError):
    """The file or folder does not exist."""


class MissingPackageError(TfxaiError, ImportError):
    """The option needs a package that is not installed."""


class DownloadError(TfxaiError, OSError):
    """Keras could not download the weights of a named network."""


class SolverError(TfxaiError, RuntimeError):
    """A solver failed, or stopped before it converged."""


class RecipeError(TfxaiError, ValueError):
    """A folder of relevance was written with other settings than those given now."""


class BrokenFileError(RecipeError):
    """A file of a run is damaged, incomplete, or in the place of another."""


class WriteError(TfxaiError, OSError):
    """Some relevance could not be written (for example because the disk was full)."""


class TfxaiWarning(UserWarning):
    """Base class of every warning of this package."""


class NothingToExplainWarning(TfxaiWarning):
    """The method returns no relevance for this class (for example a logit <= 0)."""


class OutOfBoundsWarning(TfxaiWarning):
    """The input exceeds the interval [low, high] of a bounded rule."""


class NotFiniteWarning(TfxaiWarning):
    """The relevance or an output contains NaN or infinity."""


class NoFirstLayerWarning(TfxaiWarning):
    """A rule was given for the first layer, but the model has no such layer."""


class UnusedOptionWarning(TfxaiWarning):
    """An option is given, and another option replaces the rule that reads it."""


class UnreachedInputWarning(TfxaiWarning):
    """The relevance of one input is all zeros, and that of other inputs is not."""


class DoubtfulRelevanceWarning(TfxaiWarning):
    """The relevance is constant, rounding noise, or nearly |x| or its edges."""


class RandomOutputWarning(TfxaiWarning):
    """The model returns different outputs for the same input."""


class OtherOutputWarning(TfxaiWarning):
    """The method needs the gradient of an output that the model does not have."""


class LowFidelityWarning(TfxaiWarning):
    """A local linear model fits the network poorly."""


class SingleSegmentWarning(TfxaiWarning):
    """A segmenter found one single segment, and a grid takes its place."""


class WholeNumberWarning(TfxaiWarning):
    """A callable returns one whole number per sample, which may be a class."""


class WeakBaselineWarning(TfxaiWarning):
    """The baseline hardly changes the output, so there is little to attribute."""


class InexactWarning(TfxaiWarning):
    """The error of an estimate exceeds the requested tolerance."""


class MoreEvaluationsWarning(TfxaiWarning):
    """The smallest estimate of a method takes more evaluations than n_samples."""


class MemoryRunsOutWarning(TfxaiWarning):
    """A pass is expected to take more memory than is available."""


class UncertainClassWarning(TfxaiWarning):
    """The probability of the explained class is below 0.5."""


class StuckWarning(TfxaiWarning):
    """An optimisation ended without reaching its goal."""


class EvenKernelWarning(TfxaiWarning):
    """The kernel of a convolution has an even size and therefore no centre."""


class WriterWarning(TfxaiWarning):
    """A writer of the training callback failed; the training continued."""


class NotExplainedWarning(TfxaiWarning):
    """A training step was not explained or evaluated; the training continued."""


class FailedSamplesWarning(TfxaiWarning):
    """Some samples of a data set could not be read or explained."""


class SkippedFilesWarning(TfxaiWarning):
    """A folder of images contains files that are not read."""


class RecipeWarning(TfxaiWarning):
    """A recipe cannot distinguish a part of a run from another of the same type."""


class BrokenFileWarning(TfxaiWarning):
    """A file of a run is damaged, and is computed again."""


class UncheckedWarning(TfxaiWarning):
    """Files of an earlier version hold no digest, so that damage is not noticed."""


class IncompleteWarning(TfxaiWarning):
    """A folder of relevance is read before it is complete."""
