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
mod branches;
mod check;
mod computed;
mod element;
mod error;
mod evaluate;
mod import;
mod layout;
mod linear;
mod model;
mod network;
mod operators;
mod outputs;
mod polynomial;
mod pools;
mod proto;
mod reader;
mod resize;
mod simplify;
mod table;
mod tensor;
#[cfg(test)]
mod tests;

mod view;
mod window;

pub use check::CHECK_TOLERANCE;
pub use error::Error;
pub use model::Description;
pub use network::{ImportOptions, Imported, InputLayout, MAX_FILE_BYTES, Network, import};
pub use table::reference;
