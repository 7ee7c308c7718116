//! Operations of a graph and their weights.

use crate::{Error, Function, Padding, Shape};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Position of a node in its graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub usize);

/// A dense array of weights, row major.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: Vec<f32>,
}

impl Tensor {
    /// Wraps `data` of the given shape.
    ///
    /// # Errors
    /// [`Error::TensorLength`] when the shape does not hold `data.len()` values.
    pub fn new(shape: &[usize], data: Vec<f32>) -> Result<Self, Error> {
        let expected = shape
            .iter()
            .try_fold(1usize, |product, &axis| product.checked_mul(axis));
        if expected != Some(data.len()) {
            return Err(Error::TensorLength {
                shape: shape.to_vec(),
                found: data.len(),
            });
        }
        Ok(Self {
            shape: shape.to_vec(),
            data,
        })
    }

    /// Length of every axis.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The values, row major.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    pub(crate) fn into_data(self) -> Vec<f32> {
        self.data
    }
}

/// Which elements of a feature map share the coefficients of an activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Granularity {
    /// One triple for the layer.
    Layer,
    /// One triple per channel (a feature of a vector).
    Channel,
    /// One triple per element.
    Element,
}

impl Granularity {
    /// How many coefficients a value of this shape needs.
    pub const fn coefficients(self, shape: &Shape) -> usize {
        match self {
            Self::Layer => 1,
            Self::Channel => shape.channels(),
            Self::Element => shape.elements(),
        }
    }

    /// Which coefficient an element uses.
    pub const fn index(self, shape: &Shape, element: usize) -> usize {
        match self {
            Self::Layer => 0,
            Self::Channel => element / shape.channel_elements(),
            Self::Element => element,
        }
    }
}

/// What a node computes.
///
/// Serialized, an operation is its description in the model file: weights are left out, and are empty when it is read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    remote = "Self",
    tag = "kind",
    rename_all = "snake_case",
    deny_unknown_fields
)]
pub enum Op {
    /// The prepared image.
    Input,
    /// Cross-correlation of a feature map (as every framework's "convolution").
    Conv2d {
        /// `[out channels, in channels / groups, kernel height, kernel width]`.
        #[serde(skip)]
        weight: Tensor,
        /// One value per output channel.
        #[serde(skip)]
        bias: Vec<f32>,
        /// Vertical and horizontal step.
        stride: [usize; 2],
        /// Rows and columns of zeros added around the map.
        padding: Padding,
        /// Vertical and horizontal distance of the taps.
        #[serde(default = "ones", skip_serializing_if = "is_ones")]
        dilation: [usize; 2],
        /// Parts that input and output channels are divided into; each part of the output reads one part of the input.
        #[serde(default = "one", skip_serializing_if = "is_one")]
        groups: usize,
    },
    /// Fully connected layer on a vector.
    Dense {
        /// `[out features, in features]`.
        #[serde(skip)]
        weight: Tensor,
        /// One value per output feature.
        #[serde(skip)]
        bias: Vec<f32>,
    },
    /// Mean over windows that lie wholly inside the map (no padding, incomplete windows are left out).
    AveragePool {
        /// Window height and width.
        kernel: [usize; 2],
        /// Vertical and horizontal step.
        stride: [usize; 2],
    },
    /// Maximum over windows; padding is never the maximum. Of a teacher only, it cannot be folded.
    MaxPool {
        /// Window height and width.
        kernel: [usize; 2],
        /// Vertical and horizontal step.
        stride: [usize; 2],
        /// Rows and columns of minus infinity added around the map.
        #[serde(default, skip_serializing_if = "Padding::is_none")]
        padding: Padding,
        /// Vertical and horizontal distance of the taps.
        #[serde(default = "ones", skip_serializing_if = "is_ones")]
        dilation: [usize; 2],
    },
    /// Batch normalization with recorded statistics, per channel of a map or per feature of a vector:
    /// `gamma * (x - mean) / sqrt(variance + epsilon) + beta`.
    BatchNorm {
        /// Factor.
        #[serde(skip)]
        gamma: Vec<f32>,
        /// Offset.
        #[serde(skip)]
        beta: Vec<f32>,
        /// Recorded mean.
        #[serde(skip)]
        mean: Vec<f32>,
        /// Recorded (biased) variance.
        #[serde(skip)]
        variance: Vec<f32>,
        /// Added to the variance.
        epsilon: f64,
    },
    /// `factor * x + offset`.
    Affine {
        /// Which elements share numbers; gives the length of `factor` and `offset`.
        granularity: Granularity,
        /// Factors.
        #[serde(skip)]
        factor: Vec<f32>,
        /// Constants.
        #[serde(skip)]
        offset: Vec<f32>,
    },
    /// A map as a vector, channel-first.
    Flatten,
    /// Elements of the value in a new order and shape: padding with zeros, cropping, permuted axes, nearest upsampling.
    Select {
        /// Shape of the result.
        shape: Shape,
        /// For every element of the result the element of the value that it is, or -1 for 0.
        #[serde(skip)]
        indices: Vec<i32>,
    },
    /// The values one after the other: the channels of maps of one size, or the features of vectors.
    Concat,
    /// Sum of two or more values of the same shape.
    Add {
        /// Factor of every value; none when all are 1.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        factors: Vec<f32>,
    },
    /// A function of every element: of a teacher only, it cannot be folded. Its `kind` is the function's.
    #[serde(skip)]
    Activation(Function),
    /// `a x^2 + b x + c`.
    Quadratic {
        /// Which elements share coefficients; gives the length of `a`, `b` and `c`.
        granularity: Granularity,
        /// Coefficients of the square.
        #[serde(skip)]
        a: Vec<f32>,
        /// Coefficients of the value.
        #[serde(skip)]
        b: Vec<f32>,
        /// Constants.
        #[serde(skip)]
        c: Vec<f32>,
    },
}

const fn one() -> usize {
    1
}

const fn ones() -> [usize; 2] {
    [1, 1]
}

fn is_one(value: &usize) -> bool {
    *value == 1
}

fn is_ones(values: &[usize; 2]) -> bool {
    *values == ones()
}

impl Serialize for Op {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Activation(function) => function.serialize(serializer),
            other => Op::serialize(other, serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Op {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let description = serde_json::Value::deserialize(deserializer)?;
        let kind = description.get("kind").and_then(|kind| kind.as_str());
        match kind.is_some_and(Function::is_kind) {
            true => Function::deserialize(description).map(Self::Activation),
            false => Op::deserialize(description),
        }
        .map_err(de::Error::custom)
    }
}

impl Op {
    /// The sum of values as they are.
    pub const SUM: Self = Self::Add {
        factors: Vec::new(),
    };

    /// The rectifier, of a teacher only.
    pub const RELU: Self = Self::Activation(Function::Relu);

    /// A convolution of neighbouring taps in one group.
    pub const fn conv2d(
        weight: Tensor,
        bias: Vec<f32>,
        stride: [usize; 2],
        padding: Padding,
    ) -> Self {
        Self::Conv2d {
            weight,
            bias,
            stride,
            padding,
            dilation: ones(),
            groups: 1,
        }
    }

    /// Name of the operation, as in the model file.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Conv2d { .. } => "conv2d",
            Self::Dense { .. } => "dense",
            Self::AveragePool { .. } => "average_pool",
            Self::MaxPool { .. } => "max_pool",
            Self::BatchNorm { .. } => "batch_norm",
            Self::Affine { .. } => "affine",
            Self::Flatten => "flatten",
            Self::Select { .. } => "select",
            Self::Concat => "concat",
            Self::Add { .. } => "add",
            Self::Activation(function) => function.kind(),
            Self::Quadratic { .. } => "quadratic",
        }
    }

    /// How many values the operation reads, at least and at most.
    pub fn arity(&self) -> std::ops::RangeInclusive<usize> {
        match self {
            Self::Input => 0..=0,
            Self::Add { .. } => 2..=crate::MAX_NODES,
            Self::Concat => 1..=crate::MAX_NODES,
            _ => 1..=1,
        }
    }

    /// Whether only a teacher may have the operation: it cannot be computed on encrypted values.
    pub const fn is_teacher_only(&self) -> bool {
        matches!(self, Self::Activation(_) | Self::MaxPool { .. })
    }
}

/// One operation of a graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Unique name of letters, digits and `_ - . /`; tensors of the model file are named after it.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// The nodes it reads, all earlier in the graph.
    pub inputs: Vec<NodeId>,
}
