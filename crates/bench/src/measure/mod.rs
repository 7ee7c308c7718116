//! Measuring whole networks: times, sizes, memory, and how good the results are.

mod accuracy;
mod evaluation;
mod layers;
mod options;
mod parts;
mod process;
mod rates;
mod run;
mod scaling;

pub use accuracy::measure_accuracy;
pub use layers::measure_layers;
pub use options::{LONG_RUN_SECONDS, MeasureOptions};
pub use process::{SeparateOptions, measure_separately, set_separate};
pub use run::{Measurement, measure};
pub use scaling::{BlockSeries, measure_block_scaling, measure_thread_scaling};
