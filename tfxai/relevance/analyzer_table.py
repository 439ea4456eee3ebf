"""Table of the relevance methods: name, summary, preset, head, paper.

A new method is one more row. Its options are the arguments of its preset, of its head
and of `analyzers.build`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from tfxai.relevance import heads as H
from tfxai.relevance import presets as P
from tfxai.relevance import rules as R
from tfxai.relevance.heads import Head

BACH = "Bach et al. 2015, doi:10.1371/journal.pone.0130140"
MONTAVON = "Montavon et al. 2017, doi:10.1016/j.patcog.2016.11.008"
GU = "Gu, Yang and Tresp 2018, arXiv:1812.02100"
IWANA = "Iwana, Kuroki and Uchida 2019, arXiv:1908.04351"
LAPUSCHKIN = "Lapuschkin et al. 2019, doi:10.1038/s41467-019-08987-4"
OVERVIEW = "Montavon et al. 2019, doi:10.1007/978-3-030-28954-6_10"
ZENNIT = "Anders et al. 2021, arXiv:2106.13200"
ZHANG = "Zhang et al. 2016, arXiv:1608.00507"
ACHTIBAT = "Achtibat et al. 2024, arXiv:2402.05602"
ALI = "Ali et al. 2022, arXiv:2202.07304"


#: The cost of a head with two seeds.
TWO_SEEDS = "one forward pass, and one backward pass by the rules for each of two seeds"

#: Spelling of the rules without biases in Zennit.
NO_BIAS = 'zero_params="bias"'

#: When methods fail.
CANCEL = (
    "Where contributions of both signs cancel, the divisor is near 0: relevance "
    "grows with both signs, and the map is noisy."
)
EPSILON = (
    "With a small epsilon it is input x gradient of a ReLU network: noisy, and 0 "
    "where the input is 0. A large epsilon absorbs relevance."
)
ALIKE = (
    "Negative contributions are dropped: the maps of two classes are nearly the "
    "same, and hardly depend on the upper layers (Sixt et al. 2020, "
    "arXiv:1912.09818)."
)
WEIGHTS = (
    "It ignores the values of the layers, so it shows the architecture more than "
    "the input. It is meant for the first layer, below another rule."
)
BETA = (
    "Positive and negative parts are scaled apart, so small negative contributions "
    "may get much relevance. The maps of two classes are nearly the same (Sixt et "
    "al. 2020, arXiv:1912.09818)."
)
COMPOSITE = (
    "The rule of the convolutions favours positive contributions: the maps of two "
    "classes differ less than their logits. Negative relevance is rare."
)
UNTIL = (
    "The number is a place in `model.layers`, where layers without weights count, "
    "so that another model needs another number. Further limits are those of the two "
    "rules."
)
BOX = "It is for inputs inside [low, high]; OutOfBoundsWarning reports others."
UNBIASED = (
    "The divisor is not the output of the layer, so a decision by biases is not "
    "shown, and in a very deep network the relevance overflows, as in MobileNetV2."
)
POSITIVE_LOGIT = "A class whose logit is 0 or less gets no relevance."
CONTRAST = (
    "It shows what distinguishes the target from the other classes: evidence that "
    "all of them share cancels."
)
GUIDED = (
    "It is no share of the score. It hardly depends on the class, or on the weights of "
    "the upper layers (Adebayo et al. 2018, arXiv:1810.03292): it restores edges of "
    "the image."
)
TOKENS = (
    "On a network of ReLU layers it is `lrp.epsilon`, with its noise. Relevance at "
    "the first token and at separators is often large in both signs."
)


@dataclass(frozen=True)
class AnalyzerSpec:
    """Specification of a relevance method.

    Args:
        name: Name of the method.
        summary: One line that describes the method.
        preset: Function (options) -> preset.
        head: Function (options) -> head.
        paper: Paper that defines the method.
        needs: What it needs besides a model that TensorFlow can trace.
        limits: When it fails.
        also_in: Other libraries that have it.
        cost: What an explanation of one sample costs; "" is the cost of the family.
        detail: What distinguishes it from its relatives, in a few sentences.
    """

    name: str
    summary: str
    preset: Callable[..., P.Preset]
    head: Callable[..., Head]
    paper: str
    family: str = "relevance"
    needs: str = ""
    limits: str = ""
    also_in: str = ""
    cost: str = ""
    detail: str = ""


def contrastive_head(balanced: Head, signed: Head) -> Callable[..., Head]:
    """Return a function of options that returns one of two heads.

    Args:
        balanced: Head that scales the dual half for each sample.
        signed: Head that does not scale it.
    """

    def head(scaling: bool = True, relu_logits: bool = False) -> Head:
        """Return the head.

        Args:
            scaling: Scale the dual half so that the relevance sums to 0.
            relu_logits: Use max(f, 0) as logits f; a class with f <= 0 gets no seed.
        """
        return (balanced if scaling else signed)(relu_logits=relu_logits)

    return head


clrp_head = contrastive_head(H.contrastive, H.contrastive_difference)
sglrp_head = contrastive_head(H.softmax_gradient, H.softmax_gradient_difference)


def signed_head(relu_logits: bool = False) -> Head:
    """Return the head with SGLRP's signed seed, which needs one backward pass.

    Args:
        relu_logits: Use max(f, 0) as logits f; a class with f <= 0 gets no seed.
    """
    return H.softmax_gradient_difference(relu_logits=relu_logits)


def fixed(head: Head) -> Callable[[], Head]:
    """Return a function without options that returns the head."""
    return lambda: head


ANALYZERS = (
    AnalyzerSpec(
        "lrp.z", "the z rule (LRP-0) in every layer",
        P.uniform(R.z_rule), fixed(H.one_hot), BACH,
        limits=CANCEL,
        also_in="iNNvestigate, Zennit (rule Epsilon, epsilon 0), Captum (EpsilonRule, "
        "epsilon 1e-9)",
        detail="The contribution of an input to a unit is its value times its weight, "
        "and each unit shares its relevance in proportion to the contributions. For a "
        "ReLU network without biases the result is input times gradient: `lrp.z` is "
        "the reference for the other rules more than a map to look at.",
    ),
    AnalyzerSpec(
        "lrp.z_IB", "the z rule without biases",
        P.uniform(R.z_rule(bias=False)), fixed(H.one_hot), BACH,
        limits=f"{CANCEL} {UNBIASED}",
        also_in=f"iNNvestigate 1.0, Zennit (rule Epsilon, epsilon 0, {NO_BIAS})",
        detail="As `lrp.z`, with divisors that leave the biases out. No bias absorbs "
        "relevance, so the relevance of the inputs sums to the explained logit.",
    ),
    AnalyzerSpec(
        "lrp.epsilon",
        "the epsilon rule in every layer; with a small epsilon, input x gradient of "
        "a ReLU network",
        P.epsilon, fixed(H.one_hot), BACH,
        limits=EPSILON,
        also_in="iNNvestigate, Zennit (rule Epsilon), Captum (EpsilonRule), LXT "
        "(EpsilonRule)",
        detail="As `lrp.z`, with `epsilon` added to each divisor with its sign. Units "
        "whose contributions nearly cancel pass on less relevance; the difference is "
        "absorbed.",
    ),
    AnalyzerSpec(
        "lrp.epsilon_IB", "the epsilon rule without biases",
        P.epsilon_unbiased, fixed(H.one_hot), BACH,
        limits=f"{EPSILON} {UNBIASED}",
        also_in=f"iNNvestigate 1.0, Zennit (rule Epsilon, {NO_BIAS})",
        detail="As `lrp.epsilon`, with divisors that leave the biases out: only "
        "`epsilon` absorbs relevance.",
    ),
    AnalyzerSpec(
        "lrp.w_square", "relevance divided by squared weights, in every layer",
        P.uniform(R.w_square, average=R.z_flat), fixed(H.one_hot), MONTAVON,
        limits=WEIGHTS, also_in="iNNvestigate, Zennit (rule WSquare)",
        detail="Each unit shares its relevance in proportion to the squared weights, "
        "whatever the values are. The rule is derived for the first layer of a "
        "network whose inputs have no bounds: "
        '`input_layer_rule="w_square"` puts it there, below another preset.',
    ),
    AnalyzerSpec(
        "lrp.flat", "relevance divided evenly, in every layer",
        P.uniform(R.flat, average=R.z_flat), fixed(H.one_hot), LAPUSCHKIN,
        limits="It ignores values and weights, so in every layer it shows the shape "
        "of the receptive fields. It is meant for the first layer, below another "
        "rule.",
        also_in="iNNvestigate, Zennit (rule Flat)",
        detail="Each unit shares its relevance evenly among the inputs it is "
        "connected to, whatever their values and weights are. In the first layer it "
        "makes the map independent of brightness and colour: "
        '`input_layer_rule="flat"` puts it there, below another preset.',
    ),
    AnalyzerSpec(
        "lrp.alpha_beta", "positive contributions times alpha, minus negative ones "
        "times beta", P.alpha_beta, fixed(H.one_hot), BACH,
        limits=BETA, also_in="iNNvestigate, Zennit (rule AlphaBeta)",
        detail="Positive and negative contributions are divided by their own sums, "
        "and weighted by `alpha` and `beta`, with alpha - beta = 1. A larger beta "
        "shows more negative relevance.",
    ),
    AnalyzerSpec(
        "lrp.alpha_2_beta_1", "alpha-beta with alpha 2, beta 1",
        P.uniform(R.alpha_beta), fixed(H.one_hot), BACH,
        limits=BETA, also_in="iNNvestigate, Zennit (rule AlphaBeta)",
        detail="`lrp.alpha_beta` with the two numbers of the first papers: the "
        "positive contributions get twice the relevance, the negative ones its "
        "negative.",
    ),
    AnalyzerSpec(
        "lrp.alpha_2_beta_1_IB", "alpha 2, beta 1, without biases",
        P.uniform(R.alpha_beta(bias=False)), fixed(H.one_hot), BACH,
        limits=BETA, also_in=f"iNNvestigate, Zennit (rule AlphaBeta, {NO_BIAS})",
        detail="As `lrp.alpha_2_beta_1`; the two sums leave the biases out, so that "
        "no bias absorbs relevance.",
    ),
    AnalyzerSpec(
        "lrp.alpha_1_beta_0", "alpha-beta with alpha 1, beta 0",
        P.uniform(R.alpha_beta(alpha=1.0, beta=0.0)), fixed(H.one_hot), BACH,
        limits=ALIKE,
        also_in="iNNvestigate, Zennit (rule AlphaBeta), Captum (Alpha1_Beta0_Rule)",
        detail="Positive contributions share the whole relevance, negative ones get "
        "nothing. A positive bias takes its share: in this it differs from "
        "`lrp.z_plus`.",
    ),
    AnalyzerSpec(
        "lrp.alpha_1_beta_0_IB", "alpha 1, beta 0, without biases",
        P.uniform(R.alpha_beta(alpha=1.0, beta=0.0, bias=False)),
        fixed(H.one_hot), BACH,
        limits=ALIKE, also_in=f"iNNvestigate, Zennit (rule AlphaBeta, {NO_BIAS})",
        detail="As `lrp.alpha_1_beta_0` without the biases. It equals `lrp.z_plus`, "
        "and is listed for its name in iNNvestigate.",
    ),
    AnalyzerSpec(
        "lrp.z_plus", "positive contributions only, in every layer",
        P.uniform(R.z_plus), fixed(H.one_hot), MONTAVON,
        limits=ALIKE, also_in="iNNvestigate, Zennit (rule ZPlus)",
        detail="Positive contributions share the whole relevance, without the biases, "
        "so that the sum of the relevance stays the logit. For inputs of both signs, "
        "products of two negative numbers count as positive contributions.",
    ),
    AnalyzerSpec(
        "lrp.z_plus_fast", "positive weights only: z_plus for inputs >= 0",
        P.uniform(R.z_plus_fast), fixed(H.one_hot), MONTAVON,
        limits="For inputs below 0 the divisor can cancel: write `lrp.z_plus`. "
        f"{ALIKE}",
        also_in="iNNvestigate",
        detail="It takes the positive weights alone, with one product instead of two. "
        "Behind a ReLU the inputs are not negative, and it equals `lrp.z_plus`.",
    ),
    AnalyzerSpec(
        "lrp.gamma", "the gamma rule: contributions of the output's sign count "
        "more",
        P.gamma, fixed(H.one_hot), OVERVIEW,
        limits="A small gamma is as noisy as `lrp.z`. A large gamma is `lrp.z_plus`: "
        "the maps of two classes are nearly the same.",
        also_in="Zennit (rule Gamma), Captum (GammaRule)",
        detail="Contributions of the sign of the unit's output count 1 + `gamma` "
        "times. With gamma 0 it is `lrp.z`; the larger gamma is, the less noise the "
        "map has, and the more it resembles `lrp.z_plus`.",
    ),
    AnalyzerSpec(
        "lrp.sequential_preset_a", "epsilon in dense layers, alpha 1 beta 0 in "
        "convolutions", P.sequential_a, fixed(H.one_hot), LAPUSCHKIN,
        limits=COMPOSITE, also_in="iNNvestigate",
        detail="The dense layers, which combine evidence for classes, get the epsilon "
        "rule, and the convolutions, which detect parts, the positive contributions.",
    ),
    AnalyzerSpec(
        "lrp.sequential_preset_b", "epsilon in dense layers, alpha 2 beta 1 in "
        "convolutions", P.sequential_b, fixed(H.one_hot), LAPUSCHKIN,
        limits=BETA, also_in="iNNvestigate",
        detail="As preset A, and the convolutions also pass on negative relevance, "
        "half of the positive one.",
    ),
    AnalyzerSpec(
        "lrp.sequential_preset_a_flat", "preset A, flat at the input (the SGLRP "
        "repository's LRPA)", P.flat_a, fixed(H.one_hot), LAPUSCHKIN,
        limits=f"{COMPOSITE} The map is smoothed by the kernel of the first layer, 7 "
        "pixels in a ResNet.",
        also_in="iNNvestigate, the SGLRP repository",
        detail="As preset A; the first layer spreads its relevance evenly, so that "
        "the map is smooth and does not depend on the colour of the input.",
    ),
    AnalyzerSpec(
        "lrp.sequential_preset_b_flat", "preset B, flat at the input (the SGLRP "
        "repository's LRPB)", P.flat_b, fixed(H.one_hot), LAPUSCHKIN,
        limits=f"{BETA} The map is smoothed by the kernel of the first layer.",
        also_in="iNNvestigate, the SGLRP repository",
        detail="As preset B; the first layer spreads its relevance evenly, so that "
        "the map is smooth and does not depend on the colour of the input.",
    ),
    AnalyzerSpec(
        "lrp.sequential_preset_b_flat_until_idx", "preset B, flat up to "
        "model.layers[until_layer_idx]",
        P.flat_b_until, fixed(H.one_hot), LAPUSCHKIN,
        limits=UNTIL, also_in="iNNvestigate",
        detail="As `lrp.sequential_preset_b_flat`, with the flat rule in all layers "
        "up to a number. The more layers are flat, the coarser the map.",
    ),
    AnalyzerSpec(
        "lrp.rule_until_index", "one rule, and another up to "
        "model.layers[until_layer_idx]", P.until_index, fixed(H.one_hot), BACH,
        limits=UNTIL, also_in="iNNvestigate (lrp with until_layer_idx)",
        detail="Two rules, given by name, and the place where one follows the other. "
        "`rules=` and `preset=` of every relevance method do the same by kind or name "
        "of a layer.",
    ),
    AnalyzerSpec(
        "lrp.epsilon_plus", "Zennit's EpsilonPlus: z+ in convolutions, epsilon above",
        P.epsilon_plus, fixed(H.one_hot), ZENNIT,
        limits=COMPOSITE, also_in="Zennit",
        detail="Convolutions get z+ with the positive bias in the divisor; dense "
        "layers, sums and means get the epsilon rule.",
    ),
    AnalyzerSpec(
        "lrp.epsilon_plus_flat", "EpsilonPlus, flat at the input",
        P.epsilon_plus_flat, fixed(H.one_hot), ZENNIT,
        limits=f"{COMPOSITE} The map is smoothed by the kernel of the first layer.",
        also_in="Zennit",
        detail="As `lrp.epsilon_plus`; the first layer spreads its relevance evenly, "
        "so that the map is smooth and does not depend on the colour of the input.",
    ),
    AnalyzerSpec(
        "lrp.epsilon_gamma_box", "Zennit's EpsilonGammaBox: gamma in convolutions, "
        "epsilon above, the box rule at the input",
        P.epsilon_gamma_box, fixed(H.one_hot), ZENNIT,
        limits=f"{BOX} A small gamma leaves the noise of `lrp.z`, a large one makes "
        "the maps of two classes nearly the same.",
        also_in="Zennit",
        detail="Convolutions get the gamma rule, dense layers, sums and means the "
        "epsilon rule, and the first layer the box rule, which compares each input "
        "with both ends of its interval.",
    ),
    AnalyzerSpec(
        "lrp.epsilon_alpha2_beta1", "Zennit's EpsilonAlpha2Beta1",
        P.epsilon_alpha2_beta1, fixed(H.one_hot), ZENNIT,
        limits=BETA, also_in="Zennit",
        detail="Convolutions get alpha 2, beta 1; dense layers, sums and means get "
        "the epsilon rule. It differs from `lrp.sequential_preset_b` by the epsilon, "
        "1e-6 instead of 0.1, and by the rule of sums.",
    ),
    AnalyzerSpec(
        "lrp.epsilon_alpha2_beta1_flat", "EpsilonAlpha2Beta1, flat at the input",
        P.epsilon_alpha2_beta1_flat, fixed(H.one_hot), ZENNIT,
        limits=f"{BETA} The map is smoothed by the kernel of the first layer.",
        also_in="Zennit",
        detail="As `lrp.epsilon_alpha2_beta1`; the first layer spreads its relevance "
        "evenly.",
    ),
    AnalyzerSpec(
        "lrp.excitation_backprop", "z+ in every layer, gradients at activations",
        P.excitation_backprop, fixed(H.one_hot), ZHANG,
        limits="The paper defines it for ReLU networks, whose activations are not "
        f"negative. {ALIKE}",
        also_in="Zennit, TorchRay",
        detail="The relevance is a probability in the paper: the chance that a walk "
        "from the class down to the input passes a unit, if it follows positive "
        "weights alone.",
    ),
    AnalyzerSpec(
        "lrp.attn", "AttnLRP, for transformers: epsilon in linear layers",
        P.attention, fixed(H.one_hot), ACHTIBAT,
        limits=TOKENS, also_in="LXT",
        detail="Attention, gates and norms have rules of their own: a product gives "
        "half of its relevance to each factor, the softmax gets its first-order "
        "Taylor share, a norm is the identity with its statistics fixed.",
    ),
    AnalyzerSpec(
        "lrp.cp", "CP-LRP, for transformers: attention weights are constants",
        P.conservative, fixed(H.one_hot), ALI,
        limits=f"What decides where attention looks gets nothing. {TOKENS}",
        also_in="LXT",
        detail="As `lrp.attn`, with attention weights and gates as constants: the "
        "relevance of an attention goes to its values, that of a gated unit to its "
        "signal.",
    ),
    AnalyzerSpec(
        "deep_taylor",
        "positive contributions only, in every layer",
        P.deep_taylor, fixed(H.masked), MONTAVON,
        limits=f"{POSITIVE_LOGIT} {ALIKE}",
        also_in="iNNvestigate",
        detail="It starts from the positive part of the logit. Each layer is expanded "
        "at a root point in the domain of ReLU outputs, which leads to z+, also in "
        "sums and means.",
    ),
    AnalyzerSpec(
        "deep_taylor.bounded",
        "deep_taylor with the box rule for inputs in [low, high]",
        P.bounded, fixed(H.masked), MONTAVON,
        limits=f"{BOX} {POSITIVE_LOGIT} {ALIKE}",
        also_in="iNNvestigate",
        detail="As `deep_taylor`; the first layer is expanded in the box of all "
        "possible inputs, so that dark and bright pixels both get relevance.",
    ),
    AnalyzerSpec(
        "lrp",
        "the SGLRP repository's LRP: bounded deep Taylor of the target's logit",
        P.bounded, fixed(H.masked), IWANA,
        limits=f"{BOX} {POSITIVE_LOGIT} {ALIKE}",
        also_in="the SGLRP repository",
        detail="The method that the SGLRP paper compares with, and its name there. It "
        "equals `deep_taylor.bounded`.",
    ),
    AnalyzerSpec(
        "clrp",
        "contrastive LRP: the target minus the mean of all other classes",
        P.bounded, clrp_head, GU,
        limits=f"{BOX} {POSITIVE_LOGIT} {CONTRAST}",
        also_in="the SGLRP repository, the code of the authors", cost=TWO_SEEDS,
        detail="Two halves start from the logit of the target: one at the target, one "
        "spread evenly over all other classes. Their difference shows what counts for "
        "the target alone.",
    ),
    AnalyzerSpec(
        "sglrp",
        "softmax-gradient LRP: the target minus the others, weighted by probability",
        P.bounded, sglrp_head, IWANA,
        limits=f"{BOX} {CONTRAST} Where the probability of the target is near 1, the "
        "seed is near 0.",
        also_in="the SGLRP repository", cost=TWO_SEEDS,
        detail="The seed is the gradient of the softmax: p_t (1 - p_t) at the target, "
        "and -p_t p_j at class j. The most probable other classes are subtracted with "
        "the largest weights.",
    ),
    AnalyzerSpec(
        "sglrp.sequential_preset_a",
        "SGLRP's seed, propagated by epsilon, alpha 1 beta 0 and flat rules",
        P.flat_a, signed_head, IWANA,
        limits=f"{CONTRAST} Where the probability of the target is near 1, the seed "
        "is near 0.",
        also_in="the SGLRP repository",
        detail="As `sglrp`, with one signed seed in place of two halves, and with "
        "preset A, flat at the input, in place of deep Taylor.",
    ),
    AnalyzerSpec(
        "sglrp.sequential_preset_b",
        "SGLRP's seed, propagated by epsilon, alpha 2 beta 1 and flat rules",
        P.flat_b, signed_head, IWANA,
        limits=f"{CONTRAST} Where the probability of the target is near 1, the seed "
        "is near 0. Negative relevance comes from the other classes and from beta: "
        "the two cannot be distinguished.",
        also_in="the SGLRP repository",
        detail="As `sglrp`, with one signed seed in place of two halves, and with "
        "preset B, flat at the input, in place of deep Taylor.",
    ),
    AnalyzerSpec(
        "guided_backprop", "the gradient, without negative values at each ReLU",
        lambda: P.modified_gradient(R.guided), fixed(H.unit),
        "Springenberg et al. 2015, arXiv:1412.6806",
        limits=GUIDED, also_in="iNNvestigate, Zennit, Captum, Xplique, tf-keras-vis "
        "(GuidedBackpropagation), pytorch-grad-cam, TorchRay",
        detail="The backward pass of the gradient; at each ReLU it drops what is "
        "negative, and what belongs to an inactive unit.",
    ),
    AnalyzerSpec(
        "deconvnet", "the gradient, with a ReLU of the gradient in place of every "
        "ReLU's derivative", lambda: P.modified_gradient(R.deconv), fixed(H.unit),
        "Zeiler and Fergus 2014, arXiv:1311.2901",
        limits="Without max pooling the map of a ReLU network does not depend on the "
        f"input. {GUIDED}",
        also_in="iNNvestigate, Zennit, Captum, Xplique, TorchRay",
        detail="The backward pass of the gradient; at each ReLU it drops what is "
        "negative, whether the unit is active or not. Only the winners of max pooling "
        "carry the input into the map.",
    ),
    AnalyzerSpec(
        "deeplift", "contributions of the input's difference from a baseline to the "
        "output's difference, by the rescale rule", P.rescale, fixed(H.unit),
        "Shrikumar et al. 2017, arXiv:1704.02685",
        limits="The result depends on the baseline: an input that equals it gets 0. "
        "Where a difference is near 0, the quotient is noisy.",
        also_in="DeepLIFT, DeepExplain, SHAP (DeepExplainer), Captum (DeepLift)",
        cost="two forward passes, of the input and of the baseline, and one backward "
        "pass by the rules",
        detail="Two passes, of the input and of a baseline. A multiplier is the "
        "difference of the output divided by that of the input; multipliers follow "
        "the chain rule, and the relevance sums to f(x) - f(baseline).",
    ),
    AnalyzerSpec(
        "deepshap", "the mean of `deeplift` over the examples of a background",
        P.rescale_over, fixed(H.unit), "Lundberg and Lee 2017, arXiv:1705.07874",
        needs="; `background=`, examples like x",
        limits="It depends on the background: a few examples give a noisy mean. It "
        "approximates Shapley values, which it equals for linear models.",
        also_in="SHAP (DeepExplainer), Captum (DeepLiftShap)",
        cost="that of deeplift for each example of the background",
        detail="`deeplift` with each example of the background as baseline, and the "
        "mean of the maps. The relevance sums to f(x) minus the mean output over the "
        "background.",
    ),
)  # fmt: skip
