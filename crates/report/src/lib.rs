//! Benchmark records and reports: what is measured, on which machine, where it is kept, and how it is shown.
//!
//! A [`Record`] is one row of a benchmark of a network, a [`KernelRecord`] one of a single kernel; their field names are
//! what scripts rely on. [`write_records`] and [`write_kernels`] keep the rows of a run as a JSON array under a dated
//! name, [`table`] and its neighbours show them in a terminal. A [`Report`] puts records, a sweep of batch sizes, accuracies
//! and sample images together; [`page`] makes one HTML file of it that needs nothing else. The crate measures nothing but its
//! own process's memory ([`peak_rss_bytes`]) and knows nothing of networks or encryption.

mod ablation;
mod amortized;
mod comparison;
mod data_address;
mod document;
mod error;
mod kernel;
mod lines;
mod machine;
mod page;
mod quantity;
mod record;
mod results;
mod sample;
mod series;
mod sweep;
mod table;

pub use ablation::{AccuracyGroup, ablation_table, accuracy_groups};
pub use amortized::{AmortizedRatio, amortized_ratios, amortized_table};
pub use comparison::{Cell, Comparison, Row, comparisons, parameter_tables};
pub use document::{Figure, Provenance, Report, StepTime, Verdict};
pub use error::Error;
pub use kernel::{KernelRecord, kernel_tables};
pub use lines::{bytes_text, lines, seconds_text};
pub use machine::{Environment, peak_rss_bytes};
pub use page::page;
pub use quantity::Unit;
pub use record::{Layer, Phase, Record, Statistics};
pub use results::{newest, read_records, results_name, write_kernels, write_records};
pub use sample::{ConfusionMatrix, Sample, picture};
pub use series::{FLAT_WITHIN, block_table, largest_deviation, thread_table};
pub use sweep::{BreakEven, SweepPoint, break_even, sweep_table};
pub use table::{layer_table, table};
