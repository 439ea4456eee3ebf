"""Errors and warnings: what was found, what is needed, what to type.

Every error is a `TfxaiError` and also the built-in error of its kind (`ValueError` for
a wrong value, `FileNotFoundError` for a missing file).

The docstring of each is its cause and its cure; `docs/errors.md` is made of them.
"""


class TfxaiError(Exception):
    """Base class of every error that this package raises on purpose.

    A traceback ends with a note that names the page of the error.

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
        self.add_note(f"Help: {page_of(type(self))}")

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would print the repr


def page_of(category: type[Exception]) -> str:
    """Return where the documentation has the cause and the cure of an error.

    A class of another module has the page of its nearest base class in this one.
    """
    known = next(c for c in category.__mro__ if c.__module__ == __name__)
    is_base = known in (TfxaiError, TfxaiWarning)
    return "docs/errors.md" + ("" if is_base else f"#{known.__name__.lower()}")


def on_one_line(message: Warning | str) -> str:
    """Return a warning and the page of help behind it, for lists of many."""
    if not isinstance(message, TfxaiWarning):
        return str(message)
    return f"{message.seen} ({page_of(type(message))})"


def first_line(error: Exception, most: int | None = 120) -> str:
    """Return the first line of an error's message, cut to `most` characters.

    Args:
        error: An error of any library; its message may be empty.
        most: The maximum number of characters. None returns the whole line.
    """
    return str(error).partition("\n")[0][:most]


class InputError(TfxaiError, ValueError):
    """The input is not a batch of finite numbers of the model's input shape.

    Cure: Compare the shape and the values in the message with `model.input_shape`.
    A single sample needs a batch axis, `x[None]`. Remove NaN and infinity.
    """


class TargetError(TfxaiError, ValueError):
    """The target is not a class (or an index) of the model's output.

    Cure: Give a class from 0 to the number of classes minus 1, one per sample or
    one for all; for an output with more axes an index such as `target=(0, 2, 3)`,
    or a function of `tfxai.targets`. See docs/usage.md.
    """


class OptionError(TfxaiError, ValueError):
    """The option does not exist, or its value is invalid.

    Cure: Type the line of the message. `tfxai.describe("lime")` lists the options
    of a method, their defaults and what each means.
    """


class UnknownNameError(TfxaiError, KeyError):
    """No method, rule, metric or network has this name.

    Cure: Type one of the nearest names in the message. `tfxai.methods()` lists the
    methods. A rule or method of your own is registered before its name is used, see
    docs/extending.md.
    """


class LabelError(TfxaiError, KeyError):
    """No class has this label, or several classes have it.

    Cure: Use the label exactly as in the file of labels, or the index of the class.
    """


class UnsupportedLayerError(TfxaiError, NotImplementedError):
    """The model contains an operation for which the method has no rule.

    Cure: Give the layer a rule, `rules={"layer name": "epsilon"}`; register the
    layer, see docs/extending.md; or choose a method that needs no rules,
    such as `integrated_gradients` or `kernel_shap`.
    """


class ModelError(TfxaiError, TypeError):
    """The object is not a model, or a model that cannot be explained.

    Cure: Pass a Keras model, a SavedModel or a function of a batch. For a
    scikit-learn estimator, pass its method that returns scores, such as
    `clf.predict_proba`. If the object is already a model, choose a method that works
    on this kind of model, see docs/model_kinds.md.
    """


class BlackBoxError(TfxaiError, TypeError):
    """The method needs gradients or layers, but the model is only a callable.

    Cure: Pass the Keras model in place of a function, or choose a method that needs
    outputs only, such as `lime`, `kernel_shap` or `occlusion`.
    """


class ImageError(TfxaiError, ValueError):
    """The file is not an image that can be read.

    Cure: Open the file with an image viewer. Save it again as PNG or JPEG, or pass
    arrays in an `.npz` file.
    """


class MissingFileError(TfxaiError, FileNotFoundError):
    """The file or folder does not exist.

    Cure: Check the path; relative paths start from the current folder.
    """


class MissingPackageError(TfxaiError, ImportError):
    """The option needs a package that is not installed.

    Cure: Install the package that the message names, into the same Python
    environment.
    """


class DownloadError(TfxaiError, OSError):
    """Keras could not download the weights of a named network.

    Cure: Connect to the network, or download the weights once and pass the file:
    `--model net.keras`.
    """


class SolverError(TfxaiError, RuntimeError):
    """A solver failed, or stopped before it converged.

    Cure: Choose another `solver=`, a larger value in `lambdas=`, or a smaller
    `base_size=`.
    """


class RecipeError(TfxaiError, ValueError):
    """A folder of relevance was written with other settings than those given now.

    Cure: Write to another folder, or repeat the earlier settings, which
    `recipe.json` holds. `overwrite=True` deletes the earlier files.
    """


class BrokenFileError(RecipeError):
    """A file of a run is damaged, incomplete, or in the place of another.

    Cure: Run the same command again: it computes the damaged files again. If
    `recipe.json` itself is damaged, write to another folder.
    """


class WriteError(TfxaiError, OSError):
    """Some relevance could not be written (for example because the disk was full).

    Cure: Free space on the disk, or write to a folder with write permission. The
    same command then computes only what is missing.
    """


class TfxaiWarning(UserWarning):
    """Base class of every warning of this package.

    Its message ends with a line that names the page of the warning.
    """

    @property
    def seen(self) -> str:
        """The message without the line of help."""
        return str(self.args[0]) if self.args else ""

    def __str__(self) -> str:
        return f"{self.seen}\n  Help: {page_of(type(self))}"


class NothingToExplainWarning(TfxaiWarning):
    """The method returns no relevance for this class (for example a logit <= 0).

    Cure: Explain another class, or use a method that starts from the signed logit,
    such as `lrp.epsilon` or `gradient`.
    """


class OutOfBoundsWarning(TfxaiWarning):
    """The input exceeds the interval [low, high] of a bounded rule.

    Cure: Pass `low=` and `high=` of the network's input after `preprocess`, or omit
    both: then the range of each sample is used.
    """


class NotFiniteWarning(TfxaiWarning):
    """The relevance or an output contains NaN or infinity.

    Cure: Check the weights and the outputs of the model for NaN. For relevance,
    choose a larger `epsilon=`; for a target function, avoid logarithms of 0.
    """


class NoFirstLayerWarning(TfxaiWarning):
    """A rule was given for the first layer, but the model has no such layer.

    Cure: Omit the rule of the first layer, or give it to a layer by name:
    `rules={"dense": "flat"}`.
    """


class UnusedOptionWarning(TfxaiWarning):
    """An option is given, and another option replaces the rule that reads it.

    Cure: Remove the option, or the option that replaces its rule.
    """


class UnreachedInputWarning(TfxaiWarning):
    """The relevance of one input is all zeros, and that of other inputs is not.

    Cure: Nothing, if the input is a mask, a gate or an index. Else choose a method
    that perturbs inputs, such as `occlusion`.
    """


class DoubtfulRelevanceWarning(TfxaiWarning):
    """The relevance is constant, rounding noise, or nearly |x| or its edges.

    Cure: Do not read the map as an explanation. Try another method,
    `tfxai.recommend(model, x)`, and compare it with control maps by
    `tfxai.compare`.
    """


class RandomOutputWarning(TfxaiWarning):
    """The model returns different outputs for the same input.

    Cure: Make the model deterministic: pass `training=False` to layers such as
    Dropout, and give random layers a fixed seed.
    """


class OtherOutputWarning(TfxaiWarning):
    """The method needs the gradient of an output that the model does not have.

    Cure: Choose the method that the message names, which does not need this output.
    """


class LowFidelityWarning(TfxaiWarning):
    """A local linear model fits the network poorly.

    Cure: Use fewer and larger segments, more `n_samples=`, or a method without a
    linear model, such as `kernel_shap` or `occlusion`.
    """


class SingleSegmentWarning(TfxaiWarning):
    """A segmenter found one single segment, and a grid takes its place.

    Cure: Pass `segmenter="grid"`, or options of the segmenter that suit the image,
    in `segmenter_options=`.
    """


class WholeNumberWarning(TfxaiWarning):
    """A callable returns one whole number per sample, which may be a class.

    Cure: Of a classifier, pass the function that returns probabilities, such as
    `clf.predict_proba`. Of a regression, nothing.
    """


class WeakBaselineWarning(TfxaiWarning):
    """The baseline hardly changes the output, so there is little to attribute.

    Cure: Choose a baseline that removes the evidence: `baseline="black"`, `"blur"`,
    or a `background=` of examples.
    """


class InexactWarning(TfxaiWarning):
    """The error of an estimate exceeds the requested tolerance.

    Cure: Raise `n_samples=`, or the `tolerance=`.
    """


class ShortenedTextWarning(TfxaiWarning):
    """A preprocessor cuts a text to its length; the model does not see the rest.

    Cure: Set the length in the message, if the model has as many positions, or shorten
    the text.
    """


class MoreEvaluationsWarning(TfxaiWarning):
    """The smallest estimate of a method takes more evaluations than n_samples.

    Cure: Raise `n_samples=` to the number in the message, or accept the larger
    number of evaluations.
    """


class MemoryRunsOutWarning(TfxaiWarning):
    """A pass is expected to take more memory than is available.

    Cure: Lower `batch_size=`, explain fewer targets at once, or use
    `recompute=True` for a method that has it.
    """


class UncertainClassWarning(TfxaiWarning):
    """The probability of the explained class is below 0.5.

    Cure: Explain the top class, or read the metric with care: the curve starts at a
    low probability.
    """


class StuckWarning(TfxaiWarning):
    """An optimisation ended without reaching its goal.

    Cure: Raise `n_iterations=` or `restarts=`, or lower the penalty `l1=`.
    """


class EvenKernelWarning(TfxaiWarning):
    """The kernel of a convolution has an even size and therefore no centre.

    Cure: Pass an odd `kernel_size=`.
    """


class CacheWarning(TfxaiWarning):
    """The demo network could not be read from, or written to, the user's cache.

    Cure: Set the variable `XDG_CACHE_HOME` to a folder with write permission. Until
    then the demo trains its network at every start.
    """


class WriterWarning(TfxaiWarning):
    """A writer of the training callback failed; the training continued.

    Cure: Read the error in the message and correct the writer; later epochs call it
    again.
    """


class NotExplainedWarning(TfxaiWarning):
    """A training step was not explained or evaluated; the training continued.

    Cure: Read the reason in the message; training losses and weights that are NaN
    are the usual one.
    """


class FailedSamplesWarning(TfxaiWarning):
    """Some samples of a data set could not be read or explained.

    Cure: Open the file that the message names: it lists each sample and its error.
    """


class SkippedFilesWarning(TfxaiWarning):
    """A folder of images contains files that are not read.

    Cure: Nothing, if the files are no images. Else rename them with an image
    suffix, or pass them by their own path.
    """


class RecipeWarning(TfxaiWarning):
    """A recipe cannot distinguish a part of a run from another of the same type.

    Cure: Give the object a `get_config` method, or keep in mind that a run with
    another such object is not noticed.
    """


class BrokenFileWarning(TfxaiWarning):
    """A file of a run is damaged, and is computed again.

    Cure: Nothing; the file is computed again. If it happens often, check the disk.
    """


class UncheckedWarning(TfxaiWarning):
    """Files of an earlier version hold no digest, so that damage is not noticed.

    Cure: Nothing, if the files come from you. To check them, write the run again to
    another folder.
    """


class IncompleteWarning(TfxaiWarning):
    """A folder of relevance is read before it is complete.

    Cure: Run the same command again: it computes what is missing.
    """
