//! Operations of a graph and their weights.

use crate::{Error, Shape};
use serde::{Deserialize, Serialize};

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
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Op {
    /// The prepared image.
    Input,
    /// Cross-correlation of a feature map (as every framework's "convolution").
    Conv2d {
        /// `[out channels, in channels, kernel height, kernel width]`.
        #[serde(skip)]
        weight: Tensor,
        /// One value per output channel.
        #[serde(skip)]
        bias: Vec<f32>,
        /// Vertical and horizontal step.
        stride: [usize; 2],
        /// Rows and columns of zeros added on both sides.
        padding: [usize; 2],
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
    /// A map as a vector, channel-first.
    Flatten,
    /// Sum of two values of the same shape.
    Add,
    /// `max(x, 0)`: of a teacher only, it cannot be folded.
    Relu,
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

impl Op {
    /// Name of the operation, as in the model file.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Conv2d { .. } => "conv2d",
            Self::Dense { .. } => "dense",
            Self::AveragePool { .. } => "average_pool",
            Self::BatchNorm { .. } => "batch_norm",
            Self::Flatten => "flatten",
            Self::Add => "add",
            Self::Relu => "relu",
            Self::Quadratic { .. } => "quadratic",
        }
    }

    /// How many values the operation reads.
    pub const fn arity(&self) -> usize {
        match self {
            Self::Input => 0,
            Self::Add => 2,
            _ => 1,
        }
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
