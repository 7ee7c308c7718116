//! Training of networks with polynomial activations, and export to the model file.
//!
//! A network is a list of convolutions, dense layers, average pools and activations. An activation is ReLU or a
//! trainable quadratic with coefficients per layer, channel or element, behind a batch normalization; both are kept as
//! nodes of the exported graph, where folding removes the latter. Training bounds what encryption pays for: the size
//! of pre-activations, logits and weights and the quadratics' coefficients.
//!
//! The gradient is a walk over the network's own steps in reverse. Every sum has an order that the number of threads
//! does not change, so that a run is reproducible.

mod architecture;
mod backward;
mod balance;
mod batches;
mod builder;
mod checkpoint;
mod config;
mod convert;
mod data;
mod error;
mod export;
mod first_quadratic;
mod forward;
mod kernel;
mod loss;
mod network;
mod optimizer;
mod score;
mod student;
#[cfg(test)]
mod student_tests;
mod training;

pub use architecture::{Architecture, Layer, LayerList};
pub use balance::{ClassWeights, MOST_BALANCED_WEIGHT};
pub use config::{Activation, Distillation, Optimizer, Schedule, TrainConfig};
pub use convert::{Conversion, ConvertConfig, ConvertPhase, ConvertProgress, Difference, convert};
pub use data::TrainingData;
pub use error::Error;
pub use network::{RELU_FIT, SLOPE_BOUND};
pub use score::Measure;
pub use training::{Progress, Trainer, train};
