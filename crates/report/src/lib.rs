//! Benchmark records: what is measured, on which machine, where it is kept, and how it is shown.
//!
//! A [`Record`] is one row of a benchmark of a network, a [`KernelRecord`] one of a single kernel; their field names are
//! what scripts rely on. [`write_records`] and [`write_kernels`] keep the rows of a run as a JSON array under a dated
//! name, [`table`] and its neighbours show them in a terminal. The crate measures nothing but its own
//! process's memory ([`peak_rss_bytes`]) and knows nothing of networks or encryption.

mod ablation;
mod error;
mod kernel;
mod lines;
mod machine;
mod record;
mod results;
mod series;
mod table;

pub use ablation::ablation_table;
pub use error::Error;
pub use kernel::{KernelRecord, kernel_tables};
pub use lines::{bytes_text, lines, seconds_text};
pub use machine::{Environment, peak_rss_bytes};
pub use record::{Layer, Phase, Record, Statistics};
pub use results::{newest, read_records, results_name, write_kernels, write_records};
pub use series::{FLAT_WITHIN, block_table, largest_deviation, thread_table};
pub use table::{layer_table, table};
