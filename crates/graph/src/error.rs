//! What can go wrong with graphs and model files.

use crate::Shape;
use sordino_container as container;
use sordino_fault::classify;

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
    /// Views that images cannot have.
    #[error("views: {what}")]
    Views {
        /// What was expected, what was found and what to do.
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
    /// An operation of teachers in a network that is to be folded.
    #[error(
        "node {node:?} is {operation}, which cannot be computed on encrypted values: make a polynomial network of this one with `sordino distill` (trains a student) or `sordino convert` (keeps the weights)"
    )]
    TeacherOnly {
        /// The node's name.
        node: String,
        /// What it computes, as in the model file.
        operation: &'static str,
    },
    /// The folded network would take too much memory.
    #[error(
        "node {node:?}: the folded network has {found} matrix entries, at most {limit} are supported: use smaller images or fewer channels"
    )]
    FoldedSize {
        /// The node at which the limit was passed.
        node: String,
        /// Entries up to this node.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// Weight formats that do not fit the folded network.
    #[error("quantize: {what}")]
    Quantize {
        /// What was expected, what was found and what to do.
        what: String,
    },
    /// Operating points that are not of the network.
    #[error("operating points: {what}: choose them again with `sordino thresholds`")]
    OperatingPoints {
        /// What was expected and what was found.
        what: String,
    },
    /// Calibration that cannot be computed.
    #[error("calibrate: {what}")]
    Calibrate {
        /// What was expected, what was found and what to do.
        what: String,
    },
    /// A statistic of inputs that cannot be used.
    #[error("statistic of the inputs: {what}: record it again with `sordino ranges`")]
    InputStatistic {
        /// What was expected and what was found.
        what: String,
    },
    /// A file that is not a good model file.
    #[error("{location}: {what}")]
    ModelFile {
        /// The path, or what the bytes are.
        location: String,
        /// What was expected, what was found and what to do.
        what: String,
    },
    /// A model file that is well-formed and describes a network that cannot be used.
    #[error("{location}: {reason}")]
    ModelContent {
        /// The path, or what the bytes are.
        location: String,
        /// What is wrong with the network. The message has it, so it is no `source`, which would print it a second time.
        reason: Box<Error>,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] container::Error),
}

classify!(Error {
    Usage: Views;
    BadFile: TensorLength, Preprocess, Images, Node, Graph, NotFinite, TeacherOnly, Quantize, OperatingPoints, Calibrate, InputStatistic, ModelFile, ModelContent;
    Limits: FoldedSize;
} inner { File });
