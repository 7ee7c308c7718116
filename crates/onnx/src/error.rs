//! Why a network could not be imported.

use sordino_fault::classify;

/// A file that is not ONNX, or a network that cannot be computed under encryption.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are no ONNX model, or parts of it are missing or contradict each other.
    #[error("ONNX model: {what}")]
    Malformed {
        /// What was expected and found.
        what: String,
    },
    /// An operator that has no counterpart.
    #[error("ONNX node {node:?}: operator {operator} is not supported: {advice}")]
    Unsupported {
        /// The node's name, or its output's if it has none.
        node: String,
        /// The operator.
        operator: String,
        /// What comes nearest.
        advice: String,
    },
    /// A supported operator with unsupported settings.
    #[error("ONNX node {node:?} ({operator}): {what}")]
    Node {
        /// The node's name, or its output's if it has none.
        node: String,
        /// The operator.
        operator: String,
        /// What was expected and found, and what to do.
        what: String,
    },
    /// The operations do not form a network.
    #[error(transparent)]
    Graph(#[from] sordino_graph::Error),
}

classify!(Error { BadFile: Malformed, Unsupported, Node; } inner { Graph });
