//! The operators that are read: the page `docs/reference/onnx.md` is generated from this table.

use crate::Error;
use crate::attributes::Attributes;

/// Operators that become the same.
struct Row {
    operators: &'static [&'static str],
    /// Attributes that are understood; a node with another one is refused.
    attributes: &'static [&'static str],
    becomes: &'static str,
    limits: &'static str,
}

const fn row(
    operators: &'static [&'static str],
    attributes: &'static [&'static str],
    becomes: &'static str,
    limits: &'static str,
) -> Row {
    Row {
        operators,
        attributes,
        becomes,
        limits,
    }
}

/// The domain of operators that scikit-learn's exporter uses.
const LEARN: &str = "ai.onnx.ml";
const LEARN_OPERATORS: [&str; 4] = ["Scaler", "LinearClassifier", "Normalizer", "ZipMap"];

/// Oldest and newest version of the standard operators.
pub(crate) const OPSETS: std::ops::RangeInclusive<i64> = 7..=24;

const WINDOW: &[&str] = &[
    "auto_pad",
    "ceil_mode",
    "count_include_pad",
    "dilations",
    "kernel_shape",
    "pads",
    "storage_order",
    "strides",
];

const TABLE: &[Row] = &[
    row(
        &["Conv"],
        &[
            "auto_pad",
            "dilations",
            "group",
            "kernel_shape",
            "pads",
            "strides",
        ],
        "convolution",
        "two dimensions; weights are constants",
    ),
    row(
        &["ConvTranspose"],
        &[
            "auto_pad",
            "dilations",
            "group",
            "kernel_shape",
            "output_padding",
            "output_shape",
            "pads",
            "strides",
        ],
        "zeros between the elements, and a convolution",
        "as Conv",
    ),
    row(
        &["Gemm", "MatMul"],
        &["alpha", "beta", "transA", "transB"],
        "dense layer; on more than two dimensions a convolution of one pixel",
        "one of the two is a constant matrix",
    ),
    row(
        &["BatchNormalization"],
        &["epsilon", "momentum", "spatial", "training_mode"],
        "batch normalization",
        "evaluation mode",
    ),
    row(
        &["AveragePool", "GlobalAveragePool"],
        WINDOW,
        "average pool; padding and incomplete windows as the file says",
        "dilation 1",
    ),
    row(
        &["ReduceMean", "ReduceSum"],
        &["axes", "keepdims", "noop_with_empty_axes"],
        "average pool over any axes, times their size for a sum",
        "not over the batch",
    ),
    row(
        &["MaxPool", "GlobalMaxPool", "ReduceMax"],
        &[
            "auto_pad",
            "axes",
            "ceil_mode",
            "dilations",
            "keepdims",
            "kernel_shape",
            "noop_with_empty_axes",
            "pads",
            "storage_order",
            "strides",
        ],
        "maximum, of a teacher only, with a warning: the student has the average of the same window",
        "only the values, not their places",
    ),
    row(
        &[
            "Relu",
            "LeakyRelu",
            "PRelu",
            "Elu",
            "Celu",
            "Selu",
            "Gelu",
            "HardSwish",
            "HardSigmoid",
            "Tanh",
            "Sigmoid",
            "Softplus",
            "Mish",
            "Swish",
        ],
        &["alpha", "approximate", "beta", "gamma"],
        "activation, of a teacher only: `sordino distill` or `sordino convert` replaces it by a quadratic",
        "slopes of PRelu for the layer or each channel",
    ),
    row(
        &["Clip", "Max", "Min"],
        &["max", "min"],
        "activation (ReLU6 and its kind), of a teacher only",
        "the other value of Max and Min is one number",
    ),
    row(
        &["Erf"],
        &[],
        "part of GELU",
        "as exporters write it: `x * (1 + erf(x / sqrt 2)) / 2`",
    ),
    row(
        &["Add", "Sub", "Sum", "Mean"],
        &[],
        "residual sum or difference; with constants one quadratic",
        "broadcast as ONNX does",
    ),
    row(
        &["Mul", "Div", "Neg", "Pow"],
        &[],
        "one quadratic with constants for the layer, each channel or each element; SiLU, HardSwish, GELU and Mish as exporters write them",
        "degree 2; no product of two different values",
    ),
    row(
        &["Concat"],
        &["axis"],
        "concatenation",
        "not along the batch",
    ),
    row(
        &[
            "Reshape",
            "Flatten",
            "Squeeze",
            "Unsqueeze",
            "Transpose",
            "Expand",
            "Tile",
            "Slice",
            "Split",
            "Gather",
            "DepthToSpace",
            "SpaceToDepth",
        ],
        &[
            "allowzero",
            "axes",
            "axis",
            "blocksize",
            "ends",
            "mode",
            "num_outputs",
            "perm",
            "split",
            "starts",
        ],
        "a view of the value: taken into the weights of the next dense layer, else a selection of elements; no depth",
        "shapes and indices do not depend on the image; the batch stays an axis",
    ),
    row(
        &["Pad"],
        &["mode", "pads", "value"],
        "padding of the next convolution, or a selection of elements",
        "constant, edge, reflect or wrap",
    ),
    row(
        &["Resize", "Upsample"],
        &[
            "antialias",
            "axes",
            "coordinate_transformation_mode",
            "cubic_coeff_a",
            "exclude_outside",
            "extrapolation_value",
            "keep_aspect_ratio_policy",
            "mode",
            "nearest_mode",
            "scales",
        ],
        "a selection of elements",
        "nearest neighbour",
    ),
    row(
        &["Identity", "Dropout", "Cast", "CastLike"],
        &["ratio", "round_mode", "saturate", "seed", "to"],
        "nothing",
        "evaluation mode; casts between floating-point types, and from the uint8 of the images",
    ),
    row(
        &["QuantizeLinear", "DequantizeLinear"],
        &[
            "axis",
            "block_size",
            "output_dtype",
            "precision",
            "saturate",
        ],
        "weights as they were rounded; nothing between layers, with a warning",
        "one scale for the tensor or one per index of an axis",
    ),
    row(
        &["Softmax", "LogSoftmax"],
        &["axis"],
        "the kind of output",
        "over all classes; only what changes nothing may follow",
    ),
    row(
        &["Shape", "Size", "Constant", "ConstantOfShape", "Range"],
        &[
            "end",
            "start",
            "value",
            "value_float",
            "value_floats",
            "value_int",
            "value_ints",
        ],
        "constants",
        "of all numeric types of 8 bits and more",
    ),
    row(
        &[
            "Abs",
            "And",
            "Ceil",
            "Cos",
            "Equal",
            "Exp",
            "Floor",
            "Greater",
            "GreaterOrEqual",
            "Less",
            "LessOrEqual",
            "Log",
            "Mod",
            "Not",
            "Or",
            "Reciprocal",
            "ReduceL2",
            "ReduceMin",
            "ReduceProd",
            "ReduceSumSquare",
            "Round",
            "Sign",
            "Sin",
            "Softsign",
            "Sqrt",
            "ThresholdedRelu",
            "Where",
            "Xor",
        ],
        &["alpha", "axes", "fmod", "keepdims", "noop_with_empty_axes"],
        "constants",
        "of constants only",
    ),
    row(
        &LEARN_OPERATORS,
        &[
            "classlabels_int64s",
            "classlabels_ints",
            "classlabels_strings",
            "coefficients",
            "intercepts",
            "multi_class",
            "norm",
            "offset",
            "post_transform",
            "scale",
        ],
        "scikit-learn's scaling and linear classifiers",
        "scores by softmax, or two classes; the label output is left to the client",
    ),
];

/// The table of operators for the documentation, in Markdown.
pub fn reference() -> String {
    let mut text = String::from("| operator | becomes | limits |\n|---|---|---|\n");
    for row in TABLE {
        let operators = row.operators.join(", ");
        text += &format!("| {operators} | {} | {} |\n", row.becomes, row.limits);
    }
    text
}

/// Refuses an operator, or an attribute of it, that is not in the table.
pub(crate) fn check(at: Attributes) -> Result<(), Error> {
    let (operator, domain) = (at.operator(), &at.node.domain[..]);
    let row = TABLE.iter().find(|row| row.operators.contains(&operator));
    let learn = LEARN_OPERATORS.contains(&operator);
    if !(matches!(domain, "" | "ai.onnx") && !learn || domain == LEARN && learn) {
        return Err(match domain {
            "" | "ai.onnx" | LEARN => refusal(at),
            other => at.unsupported(&format!(
                "it is of the domain {other:?}: export with standard operators only"
            )),
        });
    }
    let row = row.ok_or_else(|| refusal(at))?;
    let mut attributes = at.node.attribute.iter();
    match attributes.find(|attribute| !row.attributes.contains(&&attribute.name[..])) {
        Some(attribute) => Err(at.wrong(format!(
            "its attribute {:?} is not known: export with operator version (opset) {} to {}",
            attribute.name,
            OPSETS.start(),
            OPSETS.end()
        ))),
        None => Ok(()),
    }
}

/// A node whose operator is not read, and what to do about it.
pub(crate) fn refusal(at: Attributes) -> Error {
    match at.operator() {
        "ArgMax" | "ArgMin" | "TopK" | "Hardmax" | "ArrayFeatureExtractor" | "LabelEncoder" => at
            .unsupported(&format!(
                "the client chooses the class: import the scores that it reads with --output {}",
                scores(at)
            )),
        "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" | "Equal" | "Not" | "And" | "Or"
        | "Xor" | "Where" | "Floor" | "Ceil" | "Round" | "Sign" | "Mod" => {
            at.unsupported(&step(at))
        }
        operator => at.unsupported(nearest(operator)),
    }
}

/// What is said of operators that are steps.
pub(crate) fn step(at: Attributes) -> String {
    format!(
        "a step function, which cannot be computed under encryption: where it only chooses the class, import the scores that it \
         reads with --output {}, else train the network without it",
        scores(at)
    )
}

/// The value that a node at the end of a network chooses a class of.
fn scores(at: Attributes<'_>) -> &str {
    at.node.input.first().map_or("NAME", |name| name)
}

/// What to use instead of an operator that cannot be computed under encryption.
fn nearest(operator: &str) -> &'static str {
    match operator {
        "Exp" | "Softsign" | "ThresholdedRelu" | "Shrink" | "Sin" | "Cos" => {
            "train the network with an activation of the list (docs/reference/onnx.md), which `sordino distill` replaces by quadratics"
        }
        "LayerNormalization"
        | "GroupNormalization"
        | "InstanceNormalization"
        | "LRN"
        | "RMSNormalization"
        | "MeanVarianceNormalization"
        | "LpNormalization" => "its statistics depend on the image: train with batch normalization",
        "Sqrt" | "Reciprocal" | "Abs" | "Log" | "ReduceL2" | "ReduceProd" | "ReduceMin"
        | "ReduceSumSquare" => {
            "only polynomials of degree 2 with constant coefficients are computed"
        }
        "Einsum" | "Attention" => "use Conv and Gemm",
        "LpPool" => "use an average pool",
        "QLinearConv"
        | "QLinearMatMul"
        | "ConvInteger"
        | "MatMulInteger"
        | "DynamicQuantizeLinear" => {
            "quantize in the QDQ format (QuantizeLinear and DequantizeLinear), or export the float network"
        }
        "LSTM" | "GRU" | "RNN" | "Loop" | "If" | "Scan" => "export a plain feed-forward network",
        "RandomNormal" | "RandomUniform" | "RandomNormalLike" | "RandomUniformLike"
        | "Bernoulli" => "it is random: export in evaluation mode (model.eval())",
        "TreeEnsembleClassifier" | "SVMClassifier" | "TreeEnsemble" => {
            "trees and support vectors are no networks: train a linear model or an MLP"
        }
        _ => {
            "supported are convolutions, dense layers, pools, sums, quadratics and the usual activations (docs/reference/onnx.md)"
        }
    }
}
