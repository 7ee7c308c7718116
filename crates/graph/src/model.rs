//! A trained network with everything needed to use it.

use crate::{Calibration, Graph, OutputKind, Preprocess};

/// A trained network with everything needed to use it on images.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// The network.
    pub graph: Graph,
    /// How images become its input.
    pub preprocess: Preprocess,
    /// One name a logit.
    pub classes: Vec<String>,
    /// What the logits stand for.
    pub output: OutputKind,
    /// The network's name (architecture).
    pub name: String,
    /// The data set it was trained on.
    pub dataset: String,
    /// Ranges on calibration images; a model without them is not compiled.
    pub calibration: Option<Calibration>,
    /// How it was trained, for the reader.
    pub training: serde_json::Value,
}
