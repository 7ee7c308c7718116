//! Records: one row of a benchmark each, and the files and tables of them.

mod files;
mod kernel;
mod network;
mod origin;
mod series;
mod table;
mod timing;

pub use files::{read_records, write_records};
pub use kernel::{KernelRecord, kernel_tables};
pub use network::{Layer, Record};
pub use origin::Origin;
pub use series::{block_table, thread_table};
pub use table::{layer_table, table};
pub use timing::Timing;
