//! Activation functions of teachers, by their ONNX definitions.

use serde::{Deserialize, Serialize};

/// An activation function that only a teacher may have: it cannot be computed on encrypted values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Function {
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, min), max)`; ReLU6 is [`Function::RELU6`].
    Clip {
        /// Least value.
        min: f32,
        /// Largest value.
        max: f32,
    },
    /// `x` above 0, `slope * x` below.
    LeakyRelu {
        /// Factor of negative values.
        slope: f32,
    },
    /// `x` above 0, `slope * x` below, with one slope per channel.
    #[serde(rename = "prelu")]
    PRelu {
        /// Factors of negative values, one per channel of a map or feature of a vector.
        #[serde(skip)]
        slope: Vec<f32>,
    },
    /// `x` above 0, `alpha * (exp(x) - 1)` below.
    Elu {
        /// Factor of the exponential.
        alpha: f32,
    },
    /// `gamma * x` above 0, `gamma * alpha * (exp(x) - 1)` below.
    Selu {
        /// Factor of the exponential.
        alpha: f32,
        /// Factor of both parts.
        gamma: f32,
    },
    /// `x * Phi(x)` with the normal distribution function `Phi`.
    Gelu {
        /// Whether `Phi` is approximated by a hyperbolic tangent, as some networks were trained.
        tanh: bool,
    },
    /// `x * sigmoid(x)`, also called swish.
    Silu,
    /// `x * min(max(x / 6 + 1 / 2, 0), 1)`.
    HardSwish,
    /// `min(max(alpha * x + beta, 0), 1)`.
    HardSigmoid {
        /// Factor.
        alpha: f32,
        /// Offset.
        beta: f32,
    },
    /// Hyperbolic tangent.
    Tanh,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `ln(1 + exp(x))`.
    Softplus,
    /// `x * tanh(softplus(x))`.
    Mish,
}

impl Function {
    /// `min(max(x, 0), 6)`.
    pub const RELU6: Self = Self::Clip { min: 0.0, max: 6.0 };

    /// Name of the function, as in the model file.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Relu => "relu",
            Self::Clip { .. } => "clip",
            Self::LeakyRelu { .. } => "leaky_relu",
            Self::PRelu { .. } => "prelu",
            Self::Elu { .. } => "elu",
            Self::Selu { .. } => "selu",
            Self::Gelu { .. } => "gelu",
            Self::Silu => "silu",
            Self::HardSwish => "hard_swish",
            Self::HardSigmoid { .. } => "hard_sigmoid",
            Self::Tanh => "tanh",
            Self::Sigmoid => "sigmoid",
            Self::Softplus => "softplus",
            Self::Mish => "mish",
        }
    }

    /// Whether an operation of this name in a model file is a function.
    pub(crate) fn is_kind(kind: &str) -> bool {
        const KINDS: [&str; 14] = [
            "relu",
            "clip",
            "leaky_relu",
            "prelu",
            "elu",
            "selu",
            "gelu",
            "silu",
            "hard_swish",
            "hard_sigmoid",
            "tanh",
            "sigmoid",
            "softplus",
            "mish",
        ];
        KINDS.contains(&kind)
    }

    /// The parameters that the model file has in its description.
    pub(crate) fn parameters(&self) -> Vec<(&'static str, f32)> {
        match *self {
            Self::Clip { min, max } => vec![("min", min), ("max", max)],
            Self::LeakyRelu { slope } => vec![("slope", slope)],
            Self::Elu { alpha } => vec![("alpha", alpha)],
            Self::Selu { alpha, gamma } => vec![("alpha", alpha), ("gamma", gamma)],
            Self::HardSigmoid { alpha, beta } => vec![("alpha", alpha), ("beta", beta)],
            _ => Vec::new(),
        }
    }

    /// The function of a value of a channel.
    ///
    /// # Panics
    /// When the function has slopes per channel and none for this one.
    pub fn apply(&self, x: f64, channel: usize) -> f64 {
        let negative = |slope: f32| if x < 0.0 { f64::from(slope) * x } else { x };
        match *self {
            Self::Relu => if_above(x, x),
            Self::Clip { min, max } => x.max(f64::from(min)).min(f64::from(max)),
            Self::LeakyRelu { slope } => negative(slope),
            Self::PRelu { ref slope } => negative(slope[channel]),
            Self::Elu { alpha } => exponential(x, f64::from(alpha)),
            Self::Selu { alpha, gamma } => f64::from(gamma) * exponential(x, f64::from(alpha)),
            Self::Gelu { tanh: false } => {
                0.5 * x * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2)
            }
            Self::Gelu { tanh: true } => {
                let root = (2.0 / std::f64::consts::PI).sqrt();
                // (1 + tanh y) / 2 = sigmoid(2 y), which loses no digits below zero.
                x * sigmoid(2.0 * root * (x + 0.044_715 * x * x * x))
            }
            Self::Silu => x * sigmoid(x),
            Self::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
            Self::HardSigmoid { alpha, beta } => {
                (f64::from(alpha) * x + f64::from(beta)).clamp(0.0, 1.0)
            }
            Self::Tanh => x.tanh(),
            Self::Sigmoid => sigmoid(x),
            Self::Softplus => softplus(x),
            Self::Mish => x * softplus(x).tanh(),
        }
    }
}

/// `value` for positive `x`, else 0; 0 for NaN, as in the single-precision executor.
fn if_above(x: f64, value: f64) -> f64 {
    if x > 0.0 { value } else { 0.0 }
}

fn exponential(x: f64, alpha: f64) -> f64 {
    if x < 0.0 { alpha * x.exp_m1() } else { x }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}
