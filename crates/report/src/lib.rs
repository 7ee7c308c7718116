//! Benchmark records: what is measured, on which machine, where it is kept, and how it is shown.
//!
//! A [`Record`] is one row of a benchmark; its field names are what scripts rely on. [`write_records`] keeps the rows of
//! a run as a JSON array under a dated name, [`table`] shows them in a terminal. The crate measures nothing but its own
//! process's memory ([`peak_rss_bytes`]) and knows nothing of networks or encryption.

mod error;
mod machine;
mod record;
mod results;
mod table;

pub use error::Error;
pub use machine::{Environment, peak_rss_bytes};
pub use record::{Phase, Record, Statistics};
pub use results::{newest, read_records, results_name, write_records};
pub use table::{bytes_text, seconds_text, table};
