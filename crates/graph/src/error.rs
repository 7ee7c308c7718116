//! What can go wrong with graphs and model files.

use crate::Shape;

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tensor's shape and its number of values disagree.
    #[error(
        "a tensor of shape {shape:?} cannot hold {found} values: give as many values as the shape says"
    )]
    TensorLength {
        /// The shape.
        shape: Vec<usize>,
        /// Number of values.
        found: usize,
    },
    /// Preprocessing that cannot be used.
    #[error("preprocessing: {what}: correct the model's preprocessing")]
    Preprocess {
        /// What is wrong with which field.
        what: String,
    },
    /// Images do not fit the network's input.
    #[error(
        "expected {batch} images of {shape} ({expected} values), found {found} values: prepare the images as the model's preprocessing says"
    )]
    Images {
        /// Number of images asked for.
        batch: usize,
        /// Shape of an image.
        shape: Shape,
        /// Values needed.
        expected: usize,
        /// Values given.
        found: usize,
    },
    /// A graph that cannot be computed.
    #[error("node {node:?}: {what}")]
    Node {
        /// The node's name.
        node: String,
        /// What was expected, what was found and what to do.
        what: String,
    },
    /// A graph whose nodes do not form a network.
    #[error("graph: {what}")]
    Graph {
        /// What was expected, what was found and what to do.
        what: String,
    },
    /// A weight that is NaN or infinite.
    #[error(
        "node {node:?}: {tensor} holds {value} at index {index}: weights must be finite, train or export the model again"
    )]
    NotFinite {
        /// The node's name.
        node: String,
        /// Which of its tensors.
        tensor: &'static str,
        /// Position in the tensor.
        index: usize,
        /// The value.
        value: f32,
    },
}
