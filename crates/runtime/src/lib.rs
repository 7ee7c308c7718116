//! Walking a plan over an engine, clear or encrypted.
//!
//! [`evaluate`] runs the steps on ciphertexts; [`evaluate_clear`] runs the same integers in the clear and defines what
//! the ciphertexts should decrypt to. A plan is cut into units, and every [`Engine`] computes units: the two encrypted ones,
//! one per packing, and the clear one differ in arithmetic only. This crate reads no files and knows no secret key.

mod channel;
mod check_images;
mod clear;
mod clear_product;
mod element;
mod engine;
mod error;
mod evaluate;
mod recorder;
mod scratch;
mod trace;

pub use channel::{ChannelEngine, ChannelWeights};
pub use check_images::compile;
pub use clear::ClearEngine;
pub use element::{ElementEngine, PackedWeights};
pub use engine::{Computed, Engine, Piece, walk};
pub use error::Error;
pub use evaluate::{Options, Progress, Weights, evaluate, evaluate_blocks, evaluate_clear};
pub use scratch::{BlockState, Scratch};
pub use trace::{StepTrace, Trace};
