//! What the byte-plane kernels of all vector widths have in common: which input rows are packed side by side, the
//! weights in the order in which a kernel reads them, and the walk over both.

mod kernel;
mod panel;
mod weights;

pub(super) use kernel::{Instructions, Job, Scratch, prepare};
pub(super) use weights::{Layout, MAX_WIDTH, PanelWork};
