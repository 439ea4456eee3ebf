"""What each type of TensorFlow's operations is: a table from the type to a kind."""


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


CONVOLUTION = _set("Conv2D Conv3D")
TRANSPOSED = _set("Conv2DBackpropInput Conv2DBackpropInputV2 Conv3DBackpropInputV2")
DEPTHWISE = _set("DepthwiseConv2dNative")
MATRIX = _set("MatMul BatchMatMul BatchMatMulV2 BatchMatMulV3 Einsum")
#: Linear in each operand: with a constant operand a kernel, else a product.
BILINEAR = CONVOLUTION | TRANSPOSED | DEPTHWISE | MATRIX
SUM = _set("AddV2 Add Sub AddN BiasAdd")
DIVISION = _set("RealDiv DivNoNan Xdivy Div")
PRODUCT = _set("Mul MulNoNan") | DIVISION
AVERAGE = _set(
    "Mean Sum AvgPool AvgPool3D Cumsum ResizeBilinear UnsortedSegmentSum SegmentSumV2"
    " SegmentSum SegmentMean"
)
#: Resampling with weights of both signs.
RESAMPLING = _set("ResizeBicubic ScaleAndTranslate ImageProjectiveTransformV3")
ROUTE = _set(
    "Reshape Transpose ConjugateTranspose StridedSlice Slice ConcatV2 Split SplitV Pack"
    " Unpack Pad PadV2 MirrorPad GatherV2 Gather GatherNd ExpandDims Squeeze Tile"
    " BroadcastTo SpaceToBatchND BatchToSpaceND SpaceToDepth DepthToSpace ReverseV2"
    " Roll Cast ResizeNearestNeighbor ScatterNd TensorScatterUpdate TensorScatterAdd"
    " ReverseSequence MatrixBandPart ExtractImagePatches XlaDynamicSlice"
    " XlaDynamicUpdateSlice MatrixDiagPartV3 MatrixDiagV3 ExtractVolumePatches"
    " TensorStridedSliceUpdate"
)
#: Routes that change nothing but the axes; they keep the order of the values.
SHAPES = _set("Reshape ExpandDims Squeeze")
#: Operations that read the shape of a value, and not the value.
LENGTHS = _set("Shape ShapeN Size Rank ZerosLike OnesLike")
MAX = _set("MaxPool MaxPoolV2 MaxPool3D Max Min TopKV2 SelectV2 Select Maximum Minimum")
MAX |= _set("MaxPoolWithArgmax SegmentMax UnsortedSegmentMax")
SOFTMAX = _set("Softmax LogSoftmax")
COMPLEX = _set(
    "Complex Real Imag FFT FFT2D FFT3D IFFT IFFT2D IFFT3D RFFT RFFT2D RFFT3D IRFFT"
    " IRFFT2D IRFFT3D Conj FFTND IFFTND RFFTND IRFFTND"
)
#: Functions of one value at a time that have a slope.
SMOOTH_ONE = _set(
    "Relu Relu6 Elu Selu LeakyRelu Tanh Sigmoid Erf Erfc Exp Expm1 Log Log1p Softplus"
    " Softsign Square Sqrt Rsqrt Reciprocal Inv Pow Abs Sin Cos Tan Atan Asin Acos Sinh"
    " Cosh Asinh Acosh Atanh Erfinv Ndtri Lgamma ClipByValue Atan2"
    " Digamma Neg"
)
#: A normalisation with stored statistics, as Keras 2 and SavedModels write it.
NORMS = _set("FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3")
#: What an activation is written with.
POINTWISE = SMOOTH_ONE | SUM - _set("BiasAdd") | PRODUCT
POINTWISE |= _set("Maximum Minimum SelectV2 Select Cast Greater GreaterEqual Less")
POINTWISE |= _set("LessEqual ZerosLike OnesLike Sign LogicalAnd LogicalNot Equal")
#: What a function with a gradient of its own may be made of, if the two agree.
SMOOTH = SMOOTH_ONE | SUM | PRODUCT | _set("Maximum Minimum Cast")
#: The nonlinear ones: an activation has one of these.
CURVED = SMOOTH_ONE - _set("Neg") | _set("Maximum Minimum SelectV2 Select Cast")
#: What has no slope: its result carries no relevance.
FIXED = _set(
    "Shape ShapeN Size Rank ZerosLike OnesLike StopGradient ArgMax ArgMin Less"
    " LessEqual Greater GreaterEqual Equal NotEqual LogicalAnd LogicalOr LogicalNot All"
    " Any OneHot Sign Floor Round Rint Ceil IsFinite IsNan IsInf Where Bucketize"
    " FloorDiv FloorMod LookupTableFindV2 SearchSorted UpperBound LowerBound InTopKV2"
    " ApproximateEqual Unique UniqueV2 InvertPermutation TruncateDiv TruncateMod"
    " BitwiseAnd BitwiseOr LeftShift RightShift"
)
#: Operations that draw at random, by the start of their name.
RANDOM = (
    "Random", "StatelessRandom", "StatefulStandardNormal", "StatefulUniform",
    "ParameterizedTruncatedNormal", "TruncatedNormal", "Multinomial",
)  # fmt: skip

#: type -> the kind of a step of that operation alone, all its operands from the input.
KINDS: dict[str, str] = {
    **dict.fromkeys(BILINEAR, "product"),
    **dict.fromkeys(SUM, "add"),
    **dict.fromkeys(PRODUCT, "product"),
    **dict.fromkeys(AVERAGE, "average"),
    **dict.fromkeys(RESAMPLING, "dense"),
    **dict.fromkeys(ROUTE, "route"),
    **dict.fromkeys(MAX, "max"),
    **dict.fromkeys(SOFTMAX, "softmax"),
    **dict.fromkeys(SMOOTH_ONE, "activation"),
    "Neg": "scale",
    "Rounded": "route",
}
