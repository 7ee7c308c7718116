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
    /// Settings of images that cannot be read, or that do not fit the network.
    #[error("preprocessing of images: {what}")]
    Preprocess {
        /// What was expected and found, and what to do.
        what: String,
    },
    /// More than one node that has no counterpart.
    #[error("{count} nodes of the ONNX network cannot be imported:\n{list}")]
    Several {
        /// How many nodes.
        count: usize,
        /// One line for each operator and reason: how many nodes, the first ones' names, what to do.
        list: String,
    },
    /// The network as imported and the file do not compute the same.
    #[error(
        "the imported network gives {found} where the file gives {expected} (output {output} of random input {input}): \
         please report this file; `--no-check` imports it as it is"
    )]
    Differs {
        /// Which random input.
        input: usize,
        /// Which output.
        output: usize,
        /// What the imported network computes.
        found: f64,
        /// What the file computes.
        expected: f64,
    },
    /// The file, or one beside it with its weights, could not be read.
    #[error("{path}: cannot read: {reason}: {advice}")]
    Read {
        /// The path.
        path: String,
        /// What to try.
        advice: &'static str,
        /// What the system says.
        reason: std::io::Error,
    },
    /// The operations do not form a network.
    #[error(transparent)]
    Graph(#[from] sordino_graph::Error),
}

classify!(Error { BadFile: Malformed, Preprocess, Unsupported, Node, Several; CheckFailed: Differs; Io: Read; } inner { Graph });

/// A file that contradicts itself or what its user says.
pub(crate) fn malformed(what: impl Into<String>) -> Error {
    Error::Malformed { what: what.into() }
}
