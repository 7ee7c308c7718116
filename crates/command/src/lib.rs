//! What the binaries share: the arguments of every command and of `evaluate`, exit codes, what is shown on the terminal, and
//! sizes as people write them.

mod allocator;
mod arguments;
mod error;
mod evaluate;
pub mod exit;
mod output;
mod settings;
mod size;
pub mod terminal;

pub use allocator::Allocator;
pub use arguments::{GlobalArgs, version};
pub use error::Error;
pub use evaluate::{EvaluateArgs, summary};
pub use output::{Outcome, Output};
pub use settings::read_settings;
pub use size::parse_size;
