//! The server's stages of the FHE benchmarking suite of HomomorphicEncryption.org, workload ML inference on MNIST.
//!
//! [`preprocess_model`] and [`compute`] are the two programs that the suite starts on the server's side; [`Folders`] is
//! where the suite wants files to be, and [`stage`] how a program reads its argument and ends. The programs themselves
//! are binaries of `sordino-fhe-benchmark`, which has the client's stages too. What runs on the server is in this crate, so that the
//! boundary holds here as well: its dependencies do not reach the secret key, images or training.
//!
//! The compiled plans are part of the program ([`server_plan`]). Nothing is planned and no network is read at run time.

mod compute;
mod error;
mod folders;
mod plans;
mod size;
pub mod stage;

pub use compute::{compute, preprocess_model};
pub use error::Error;
pub use folders::{EVALUATION_KEY_FILE, Folders, REPLY_FILE, REQUEST_FILE};
pub use plans::{server_plan, server_plan_bytes};
pub use size::Size;
