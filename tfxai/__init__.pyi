# Written by `python -m tests.write_tables`; do not edit.
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypedDict, Unpack, overload

from tfxai import callbacks as callbacks
from tfxai import demo as demo
from tfxai import errors as errors
from tfxai import extend as extend
from tfxai import plot as plot
from tfxai import targets as targets
from tfxai import text as text
from tfxai.api import describe as describe
from tfxai.api import load as load
from tfxai.api import methods as methods
from tfxai.core.analyzer import Analyzer
from tfxai.core.explanation import Explanation as Explanation
from tfxai.core.model import wrap as wrap
from tfxai.core.recommendation import recommend as recommend
from tfxai.core.texts import Tokens
from tfxai.datasets.reference_samples import reference_samples as reference_samples
from tfxai.datasets.run import run as run
from tfxai.gradient.craft import craft as craft
from tfxai.gradient.tcav import tcav as tcav
from tfxai.metrics.compare import compare as compare
from tfxai.metrics.preset_search import search_preset as search_preset
from tfxai.perturbation.visualization import visualize as visualize
from tfxai.sampling.sp_lime import sp_lime as sp_lime

__version__: str
__all__: list[str]

class _AttentionRollout(TypedDict, total=False):
    resize: str
    jit_compile: Any
    recompute: Any

class _PatternNet(TypedDict, total=False):
    estimator: str
    background: Any
    jit_compile: Any
    recompute: Any

class _Gradient(TypedDict, total=False):
    postprocess: str
    at: Any
    jit_compile: Any
    recompute: Any

class _InputTGradient(TypedDict, total=False):
    at: Any
    jit_compile: Any
    recompute: Any

class _Random(TypedDict, total=False):
    stddev: float
    seed: int
    jit_compile: Any
    recompute: Any

class _ExpectedGradients(TypedDict, total=False):
    background: Any
    n_samples: int
    seed: int
    at: Any
    jit_compile: Any
    recompute: Any

class _GuidedIntegratedGradients(TypedDict, total=False):
    n_steps: int
    baseline: Any
    fraction: float
    distance: float
    jit_compile: Any
    recompute: Any

class _Idgi(TypedDict, total=False):
    n_steps: int
    baseline: Any
    at: Any
    jit_compile: Any
    recompute: Any

class _Conductance(TypedDict, total=False):
    n_steps: int
    baseline: Any
    at: Any
    conditions: Any
    jit_compile: Any
    recompute: Any

class _IntegratedGradients(TypedDict, total=False):
    n_steps: int
    baseline: Any
    quadrature: str
    relu: bool
    background: Any
    at: Any
    jit_compile: Any
    recompute: Any

class _BlurIntegratedGradients(TypedDict, total=False):
    n_steps: int
    sigma: float | None
    jit_compile: Any
    recompute: Any

class _Xrai(TypedDict, total=False):
    n_steps: int
    baseline: Any
    scales: Sequence[float]
    sigma: float
    min_size: int
    dilation: int
    least: int
    jit_compile: Any
    recompute: Any

class _Certified(TypedDict, total=False):
    base_method: str
    base_options: Mapping[str, Any] | None
    fraction: float
    sigma: float
    tau: float
    alpha: float
    n_samples: int
    seed: int
    jit_compile: Any

class _Smoothgrad(TypedDict, total=False):
    base_method: str
    base_options: Mapping[str, Any] | None
    n_samples: int
    noise: float
    seed: int
    relu: bool
    jit_compile: Any

class _Squaregrad(TypedDict, total=False):
    base_method: str
    base_options: Mapping[str, Any] | None
    n_samples: int
    noise: float
    seed: int
    jit_compile: Any

class _Gradcam(TypedDict, total=False):
    layer: Any
    relu: bool | str
    resize: str
    jit_compile: Any

class _Scorecam(TypedDict, total=False):
    layer: Any
    relu: bool | str
    jit_compile: Any

class _Eigencam(TypedDict, total=False):
    layer: Any
    relu: bool | str
    resize: str
    center: bool
    jit_compile: Any

class _Finercam(TypedDict, total=False):
    layer: Any
    relu: bool | str
    resize: str
    n_classes: int
    alpha: float
    jit_compile: Any

class _Fullgrad(TypedDict, total=False):
    rescale: bool
    resize: str
    jit_compile: Any

class _Shapleycam(TypedDict, total=False):
    layer: Any
    relu: bool | str
    resize: str
    utility: str
    jit_compile: Any

class _LrpZ(TypedDict, total=False):
    relu: bool
    rules: Mapping[str, Any] | None
    input_layer_rule: Any
    preset: Any
    head: Any
    batch_norm: str
    conditions: Any
    at: Any
    positions: bool
    jit_compile: Any
    recompute: Any

class _LrpEpsilon(TypedDict, total=False):
    epsilon: float
    bias: bool
    relu: bool
    rules: Mapping[str, Any] | None
    input_layer_rule: Any
    preset: Any
    head: Any
    batch_norm: str
    conditions: Any
    at: Any
    positions: bool
    jit_compile: Any
    recompute: Any

class _LrpEpsilonIb(TypedDict, total=False):
    epsilon: float
    relu: bool
    rules: Mapping[str, Any] | None
    input_layer_rule: Any
    preset: Any
    head: Any
    batch_norm: str
    conditions: Any
    at: Any
    positions: bool
    jit_compile: Any
    recompute: Any

class _LrpAlphaBeta(TypedDict, total=False):
    alpha: float
    beta: float
    bias: bool
    relu: bool
    rules: Mapping[str, Any] | None
    input_layer_rule: Any
    preset: Any
    head: Any
    batch_norm: str
    conditions: Any
    at: Any
    positions: bool
    jit_compile: Any
    recompute: Any

class _LrpGamma(TypedDict, total=False):
    gamma: float
    bias: bool
    relu: bool
    rules: Mapping[str, Any] | None
    input_layer_rule: Any
    preset: Any
    head: Any
    batch_norm: str
    conditions: Any
    at: Any
    positions: bool
    jit_compile: Any
    recompute: Any

class _LrpSequentialPresetBFlatUntilIdx(TypedDict, total=False):
    until_layer_idx: int
    epsilon: float
    relu: bool
    rules: Mapping[str, Any] | None
    input_layer_rule: Any
    preset: Any
    head: Any
    batch_norm: str
    conditions: Any
    at: Any
    positions: bool
    jit_compile: Any
    recompute: Any

class _LrpRuleUntilIndex(TypedDict, total=False):
    rule: Any
    until_layer_idx: int
    until_layer_rule: Any
    relu: bool
    rules: Mapping[str, Any] | None
    input_layer_rule: Any
    preset: Any
    head: Any
    batch_norm: str
    conditions: Any
    at: Any
    positions: bool
    jit_compile: Any
    recompute: Any

class _LrpEpsilonGammaBox(TypedDict, total=False):
    low: Any
    high: Any
    gamma: float
    epsilon: float
    relu: bool
    rules: Mapping[str, Any] | None
    input_layer_rule: Any
    preset: Any
    head: Any
    batch_norm: str
    conditions: Any
    at: Any
    positions: bool
    jit_compile: Any
    recompute: Any

class _LrpAttn(TypedDict, total=False):
    epsilon: float
    gamma: float | None
    relu: bool
    rules: Mapping[str, Any] | None
    input_layer_rule: Any
    preset: Any
    head: Any
    batch_norm: str
    conditions: Any
    at: Any
    positions: bool
    jit_compile: Any
    recompute: Any

class _DeepTaylor(TypedDict, total=False):
    bias: bool | str
    relu: bool
    rules: Mapping[str, Any] | None
    input_layer_rule: Any
    preset: Any
    head: Any
    batch_norm: str
    conditions: Any
    at: Any
    positions: bool
    jit_compile: Any
    recompute: Any

class _DeepTaylorBounded(TypedDict, total=False):
    low: Any
    high: Any
    bias: bool | str
    relu: bool
    rules: Mapping[str, Any] | None
    input_layer_rule: Any
    preset: Any
    head: Any
    batch_norm: str
    conditions: Any
    at: Any
    positions: bool
    jit_compile: Any
    recompute: Any

class _Clrp(TypedDict, total=False):
    low: Any
    high: Any
    bias: bool | str
    scaling: bool
    relu_logits: bool
    relu: bool
    rules: Mapping[str, Any] | None
    input_layer_rule: Any
    preset: Any
    head: Any
    batch_norm: str
    conditions: Any
    at: Any
    positions: bool
    jit_compile: Any
    recompute: Any

class _SglrpSequentialPresetA(TypedDict, total=False):
    epsilon: float
    relu_logits: bool
    relu: bool
    rules: Mapping[str, Any] | None
    input_layer_rule: Any
    preset: Any
    head: Any
    batch_norm: str
    conditions: Any
    at: Any
    positions: bool
    jit_compile: Any
    recompute: Any

class _Deeplift(TypedDict, total=False):
    baseline: Any
    rule: str
    relu: bool
    rules: Mapping[str, Any] | None
    input_layer_rule: Any
    preset: Any
    head: Any
    batch_norm: str
    conditions: Any
    at: Any
    positions: bool
    jit_compile: Any
    recompute: Any

class _Deepshap(TypedDict, total=False):
    background: Any
    rule: str
    relu: bool
    rules: Mapping[str, Any] | None
    input_layer_rule: Any
    preset: Any
    head: Any
    batch_norm: str
    conditions: Any
    at: Any
    positions: bool
    jit_compile: Any
    recompute: Any

class _DRise(TypedDict, total=False):
    boxes: Any
    classes: Any
    box_format: str
    n_samples: int
    cells: int
    keep: float
    baseline: Any
    seed: int
    tolerance: float | None
    jit_compile: Any

class _ShapleyInteractions(TypedDict, total=False):
    n_samples: int
    seed: int
    segmenter: Any
    segmenter_options: dict[str, Any] | None
    baseline: Any
    background: Any
    groups: Any
    scale: str
    precision: str
    jit_compile: Any

class _Leg(TypedDict, total=False):
    contrast: int | None
    scale: str
    base_size: Any
    bordered: bool
    noise: float
    unit: float | None
    n_samples: int | None
    sampling: str
    estimator: str
    tolerance: float | None
    clip: tuple[float, float] | None
    truncate: bool
    seed: int
    precision: str
    covariance: Any
    jit_compile: Any

class _LegTv(TypedDict, total=False):
    lambdas: Sequence[float]
    solver: str
    contrast: int | None
    scale: str
    base_size: Any
    bordered: bool
    noise: float
    unit: float | None
    n_samples: int | None
    sampling: str
    estimator: str
    tolerance: float | None
    clip: tuple[float, float] | None
    truncate: bool
    seed: int
    precision: str
    jit_compile: Any

class _Lime(TypedDict, total=False):
    segmenter: Any
    segmenter_options: dict[str, Any] | None
    n_samples: int
    baseline: Any
    background: Any
    kernel_width: float
    distance: str
    regressor: str
    n_features: int | None
    feature_selection: str
    scale: str
    seed: int
    precision: str
    tolerance: float | None
    jit_compile: Any

class _Occlusion(TypedDict, total=False):
    window: Any
    stride: Any
    segments: Any
    baseline: Any
    precision: str
    background: Any
    at: Any
    jit_compile: Any

class _PartitionShap(TypedDict, total=False):
    hierarchy: Any
    n_samples: int
    segmenter: Any
    segmenter_options: dict[str, Any] | None
    baseline: Any
    background: Any
    scale: str
    precision: str
    jit_compile: Any

class _Rise(TypedDict, total=False):
    n_samples: int
    cells: int
    keep: float
    baseline: Any
    scale: str
    seed: int
    precision: str
    tolerance: float | None
    jit_compile: Any

class _Sobol(TypedDict, total=False):
    n_samples: int
    seed: int
    segmenter: Any
    segmenter_options: dict[str, Any] | None
    baseline: Any
    background: Any
    scale: str
    precision: str
    sampling: str
    jit_compile: Any

class _KernelShap(TypedDict, total=False):
    n_samples: int
    seed: int
    segmenter: Any
    segmenter_options: dict[str, Any] | None
    baseline: Any
    background: Any
    groups: Any
    n_features: int | None
    estimator: str
    scale: str
    precision: str
    tolerance: float | None
    jit_compile: Any

class _ShapleySampling(TypedDict, total=False):
    n_samples: int
    seed: int
    segmenter: Any
    segmenter_options: dict[str, Any] | None
    baseline: Any
    background: Any
    groups: Any
    scale: str
    precision: str
    tolerance: float | None
    jit_compile: Any

class _CShapley(TypedDict, total=False):
    max_size: int
    diagonal: bool
    segmenter: Any
    segmenter_options: dict[str, Any] | None
    baseline: Any
    background: Any
    groups: Any
    scale: str
    precision: str
    jit_compile: Any

class _PerturbationCnn(TypedDict, total=False):
    kernel_size: int
    n_blocks: int
    n_layers: int
    n_iterations: int
    learning_rate: float
    l1: float
    shared_kernel: bool
    width: int
    start: str
    normalise: str
    unit: float | None
    tolerance: float
    restarts: int
    power: float | None
    border: float | None
    dilation: int | None
    scale: str
    seed: int
    jit_compile: Any

class _MeaningfulPerturbation(TypedDict, total=False):
    cells: int
    blur: float
    l1: float
    tv: float
    beta: float
    jitter: int | None
    n_iterations: int
    learning_rate: float
    tolerance: float
    restarts: int
    scale: str
    seed: int
    jit_compile: Any

class _ExtremalPerturbation(TypedDict, total=False):
    area: float
    stride: int | None
    sigma: float | None
    blur: float
    levels: int
    area_weight: float
    flip: bool
    n_iterations: int
    learning_rate: float
    tolerance: float
    scale: str
    seed: int
    jit_compile: Any

@overload
def create_analyzer(
    method: Literal["attention_rollout", "attention_relevance"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_AttentionRollout],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal["pattern.net", "pattern.attribution"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_PatternNet],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal["gradient"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_Gradient],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal["input_t_gradient", "input"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_InputTGradient],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal["random"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_Random],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal["expected_gradients"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_ExpectedGradients],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal["guided_integrated_gradients"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_GuidedIntegratedGradients],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal["idgi", "internal_influence"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_Idgi],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal["conductance"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_Conductance],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal["integrated_gradients"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_IntegratedGradients],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal["blur_integrated_gradients"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_BlurIntegratedGradients],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal["xrai"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_Xrai],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal["certified"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_Certified],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal["smoothgrad"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_Smoothgrad],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal["squaregrad", "vargrad"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_Squaregrad],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal[
        "gradcam",
        "gradcam_plus_plus",
        "layercam",
        "guided_gradcam",
        "hirescam",
        "xgradcam",
    ],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_Gradcam],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal["scorecam", "ablationcam"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_Scorecam],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal["eigencam", "eigengradcam"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_Eigencam],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal["finercam"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_Finercam],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal["fullgrad"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_Fullgrad],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal["shapleycam"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_Shapleycam],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal[
        "lrp.z",
        "lrp.z_IB",
        "lrp.w_square",
        "lrp.flat",
        "lrp.alpha_2_beta_1",
        "lrp.alpha_2_beta_1_IB",
        "lrp.alpha_1_beta_0",
        "lrp.alpha_1_beta_0_IB",
        "lrp.z_plus",
        "lrp.z_plus_fast",
        "lrp.excitation_backprop",
        "guided_backprop",
        "deconvnet",
    ],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_LrpZ],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal["lrp.epsilon"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_LrpEpsilon],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal[
        "lrp.epsilon_IB",
        "lrp.sequential_preset_a",
        "lrp.sequential_preset_b",
        "lrp.sequential_preset_a_flat",
        "lrp.sequential_preset_b_flat",
        "lrp.epsilon_plus",
        "lrp.epsilon_plus_flat",
        "lrp.epsilon_alpha2_beta1",
        "lrp.epsilon_alpha2_beta1_flat",
    ],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_LrpEpsilonIb],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal["lrp.alpha_beta"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_LrpAlphaBeta],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal["lrp.gamma"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_LrpGamma],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal["lrp.sequential_preset_b_flat_until_idx"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_LrpSequentialPresetBFlatUntilIdx],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal["lrp.rule_until_index"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_LrpRuleUntilIndex],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal["lrp.epsilon_gamma_box"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_LrpEpsilonGammaBox],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal["lrp.attn", "lrp.cp"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_LrpAttn],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal["deep_taylor"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_DeepTaylor],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal["deep_taylor.bounded", "lrp"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_DeepTaylorBounded],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal["clrp", "sglrp"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_Clrp],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal["sglrp.sequential_preset_a", "sglrp.sequential_preset_b"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_SglrpSequentialPresetA],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal["deeplift"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_Deeplift],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal["deepshap"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_Deepshap],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal["d_rise"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_DRise],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal["shapley_interactions"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_ShapleyInteractions],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal["leg"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_Leg],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal["leg_tv"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_LegTv],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal["lime"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_Lime],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal["occlusion"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_Occlusion],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal["partition_shap"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_PartitionShap],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal["rise"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_Rise],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal["sobol", "hsic"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_Sobol],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal["kernel_shap"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_KernelShap],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal["shapley_sampling"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_ShapleySampling],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal["c_shapley"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_CShapley],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal["perturbation_cnn"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_PerturbationCnn],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal["meaningful_perturbation"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_MeaningfulPerturbation],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: Literal["extremal_perturbation"],
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Unpack[_ExtremalPerturbation],
) -> Analyzer: ...
@overload
def create_analyzer(
    method: str,
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    *,
    target: Any = None,
    **options: Any,
) -> Analyzer: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["attention_rollout", "attention_relevance"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_AttentionRollout],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["pattern.net", "pattern.attribution"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_PatternNet],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["gradient"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_Gradient],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["input_t_gradient", "input"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_InputTGradient],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["random"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_Random],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["expected_gradients"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_ExpectedGradients],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["guided_integrated_gradients"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_GuidedIntegratedGradients],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["idgi", "internal_influence"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_Idgi],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["conductance"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_Conductance],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["integrated_gradients"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_IntegratedGradients],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["blur_integrated_gradients"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_BlurIntegratedGradients],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["xrai"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_Xrai],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["certified"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_Certified],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["smoothgrad"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_Smoothgrad],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["squaregrad", "vargrad"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_Squaregrad],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal[
        "gradcam",
        "gradcam_plus_plus",
        "layercam",
        "guided_gradcam",
        "hirescam",
        "xgradcam",
    ],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_Gradcam],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["scorecam", "ablationcam"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_Scorecam],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["eigencam", "eigengradcam"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_Eigencam],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["finercam"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_Finercam],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["fullgrad"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_Fullgrad],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["shapleycam"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_Shapleycam],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal[
        "lrp.z",
        "lrp.z_IB",
        "lrp.w_square",
        "lrp.flat",
        "lrp.alpha_2_beta_1",
        "lrp.alpha_2_beta_1_IB",
        "lrp.alpha_1_beta_0",
        "lrp.alpha_1_beta_0_IB",
        "lrp.z_plus",
        "lrp.z_plus_fast",
        "lrp.excitation_backprop",
        "guided_backprop",
        "deconvnet",
    ],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_LrpZ],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["lrp.epsilon"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_LrpEpsilon],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal[
        "lrp.epsilon_IB",
        "lrp.sequential_preset_a",
        "lrp.sequential_preset_b",
        "lrp.sequential_preset_a_flat",
        "lrp.sequential_preset_b_flat",
        "lrp.epsilon_plus",
        "lrp.epsilon_plus_flat",
        "lrp.epsilon_alpha2_beta1",
        "lrp.epsilon_alpha2_beta1_flat",
    ],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_LrpEpsilonIb],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["lrp.alpha_beta"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_LrpAlphaBeta],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["lrp.gamma"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_LrpGamma],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["lrp.sequential_preset_b_flat_until_idx"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_LrpSequentialPresetBFlatUntilIdx],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["lrp.rule_until_index"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_LrpRuleUntilIndex],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["lrp.epsilon_gamma_box"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_LrpEpsilonGammaBox],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["lrp.attn", "lrp.cp"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_LrpAttn],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["deep_taylor"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_DeepTaylor],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["deep_taylor.bounded", "lrp"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_DeepTaylorBounded],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["clrp", "sglrp"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_Clrp],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["sglrp.sequential_preset_a", "sglrp.sequential_preset_b"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_SglrpSequentialPresetA],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["deeplift"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_Deeplift],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["deepshap"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_Deepshap],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["d_rise"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_DRise],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["shapley_interactions"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_ShapleyInteractions],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["leg"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_Leg],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["leg_tv"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_LegTv],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["lime"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_Lime],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["occlusion"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_Occlusion],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["partition_shap"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_PartitionShap],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["rise"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_Rise],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["sobol", "hsic"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_Sobol],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["kernel_shap"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_KernelShap],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["shapley_sampling"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_ShapleySampling],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["c_shapley"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_CShapley],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["perturbation_cnn"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_PerturbationCnn],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["meaningful_perturbation"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_MeaningfulPerturbation],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: Literal["extremal_perturbation"],
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Unpack[_ExtremalPerturbation],
) -> Explanation: ...
@overload
def explain(
    model: Any,
    x: Any,
    method: str | None = None,
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Tokens = None,
    output: int | str = 0,
    **options: Any,
) -> Explanation: ...
