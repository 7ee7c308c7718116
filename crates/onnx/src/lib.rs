//! Networks exported as ONNX, read into [`sordino_graph::Graph`]s.
//!
//! [`Network::read`] decodes a file, [`Network::import`] makes a graph of it, and [`Network::check`] computes both in the
//! clear and compares them. The page `docs/reference/onnx.md` lists the operators that are read, from the table here;
//! whatever cannot be computed under encryption is refused by name with the nearest alternative.
//!
//! While a file is read, a value is a polynomial or an activation of a graph node's value, and a view: the file's
//! dimensions and the order of the elements. Operators that only move elements change the view. Constants are computed
//! as the file says, whatever their type.
//!
//! A file may be hostile: sizes are checked before memory is taken, work is bounded, and nothing is executed.

mod activation;
mod arithmetic;
mod array;
mod attributes;
mod blocks;
mod branches;
mod check;
mod computed;
mod element;
mod error;
mod evaluate;
mod faults;
mod gates;
mod import;
mod input;
mod interval;
mod layout;
mod linear;
mod model;
mod network;
mod operators;
mod options;
mod outputs;
mod placement;
mod polynomial;
mod pools;
mod preprocess;
mod printed;
mod proto;
mod quantization;
mod reader;
mod resize;
mod simplify;
mod table;
mod tensor;
#[cfg(test)]
mod tests;

mod transposed;
mod view;
mod window;

pub use check::CHECK_TOLERANCE;
pub use error::Error;
pub use import::import;
pub use model::Description;
pub use network::{Imported, Network};
pub use options::{ImportOptions, InputLayout};
pub use preprocess::{CenterWidth, Fit, ImageSettings, OfFile, WindowSetting};
pub use table::reference;
pub use tensor::MAX_FILE_BYTES;
