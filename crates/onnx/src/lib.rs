//! Networks exported as ONNX, read into [`sordino_graph::Graph`]s.
//!
//! [`import`] takes what PyTorch's exporters write for image classifiers: convolutions, dense layers, batch
//! normalizations, pools, residual sums, ReLUs, and quadratic activations written as products and sums with constants
//! for the layer, each channel or each element. Whatever cannot be computed under encryption is refused by name with the
//! nearest alternative. The page `docs/reference/onnx.md` lists both.
//!
//! A file may be hostile: sizes are checked before memory is taken, and nothing is executed.

mod array;
mod attributes;
mod error;
mod import;
mod model;
mod operators;
mod polynomial;
mod proto;
mod reader;
mod simplify;
#[cfg(test)]
mod tests;

pub use error::Error;
pub use import::{Imported, MAX_FILE_BYTES, import};
pub use model::Description;
