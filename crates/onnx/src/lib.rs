//! Networks exported as ONNX, read into [`sordino_graph::Graph`]s.
//!
//! [`import`] takes what PyTorch's exporters write for image classifiers: convolutions, dense layers, batch
//! normalizations, pools, residual sums, ReLUs, and quadratic activations written as products and sums with constants
//! for the layer, each channel or each element. Whatever cannot be computed under encryption is refused by name with the
//! nearest alternative. The page `docs/reference/onnx.md` lists both.
//!
//! A file is hostile until shown otherwise: sizes are checked before memory is taken, and nothing is executed.

mod array;
mod attributes;
mod error;
mod model;
mod operators;
mod polynomial;
mod proto;
mod reader;
mod simplify;
#[cfg(test)]
mod tests;

pub use error::Error;
pub use model::Description;

use prost::Message;
use sordino_graph::{Graph, OutputKind};

/// Largest file: 512 MiB, as for model files.
pub const MAX_FILE_BYTES: usize = 512 << 20;

/// What came of an ONNX file.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The network. Layers that exporters split are one node again where that is exact.
    pub graph: Graph,
    /// What the logits stand for, by the last operation: a softmax, a sigmoid, or nothing, which is raw.
    pub output: OutputKind,
    /// Where the network differs from the file (a maximum pool became an average pool).
    pub warnings: Vec<String>,
    /// The program that wrote the file.
    pub producer: String,
}

/// Reads a network from the bytes of an ONNX file.
///
/// # Errors
/// [`Error::Malformed`] for bytes that are no ONNX model, [`Error::Unsupported`] and [`Error::Node`] for what has no
/// counterpart, [`Error::Graph`] for operations that do not form a network.
pub fn import(bytes: &[u8]) -> Result<Imported, Error> {
    let malformed = |what: String| Error::Malformed { what };
    if bytes.len() > MAX_FILE_BYTES {
        return Err(malformed(format!(
            "{} bytes, expected at most {MAX_FILE_BYTES}",
            bytes.len()
        )));
    }
    let model = proto::ModelProto::decode(bytes).map_err(|error| {
        malformed(format!(
            "expected an ONNX file, found other bytes ({error})"
        ))
    })?;
    let producer = format!("{} {}", model.producer_name, model.producer_version);
    let graph = model
        .graph
        .ok_or_else(|| malformed("expected a graph, found none".to_string()))?;
    let (graph, output, warnings) = reader::read(&graph)?;
    Ok(Imported {
        graph: simplify::simplify(&graph)?,
        output,
        warnings,
        producer: producer.trim().to_string(),
    })
}
