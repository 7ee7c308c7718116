//! Benchmarks: everything that measures, and nothing that a user's run needs.
//!
//! [`measure`] runs whole networks, [`calibrate()`] makes the planner's table of costs. [`record`] is what scripts read, [`report`]
//! the page of a benchmark. A [`Suite`] is what `sordino bench` runs.

mod calibrate;
mod digits;
mod error;
mod kernels;
pub mod measure;
pub mod record;
pub mod report;
mod suites;

pub use calibrate::calibrate;
pub use digits::{shifted_digits, show_training, train_digits};
pub use error::Error;
pub use suites::Suite;
