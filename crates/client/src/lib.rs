//! The data owner's side: keys for a plan, encryption and decryption of batches.
//!
//! [`Client`] works on buffers and uses neither files nor threads of its own, so that it can be built for places
//! that have neither. The feature `files` adds key folders and files of images, requests, replies and predictions,
//! the feature `parallel` all cores; both are on by default. The feature `http` adds [`http`], which talks to a server.
//!
//! Decrypted scores carry noise that depends on the secret key. They leave this crate only as [`Predictions`],
//! rounded to the precision that the plan guarantees less two bits, and everything else is derived from the
//! rounded values.

mod check;
mod client;
mod decisions;
mod error;
#[cfg(feature = "files")]
mod files;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "files")]
mod key_folder;
#[cfg(feature = "files")]
mod key_uses;
mod marks;
mod predictions;
#[cfg(feature = "files")]
mod provenance;
mod read_table;
#[cfg(feature = "files")]
mod record;
mod screen;
mod slots;
mod table;
mod views;

pub use check::Check;
pub use client::{Client, Keys};
pub use decisions::{Decision, DecisionAtPoint, close_margin};
pub use error::Error;
#[cfg(feature = "files")]
pub use files::{EVALUATION_KEY_FILE, ImageSource, KeyFiles, PredictionFormat, SECRET_KEY_FILE};
#[cfg(feature = "http")]
use key_folder::secret_key_id;
#[cfg(feature = "files")]
pub use key_folder::{EvaluationKeyFile, KeyFolder};
#[cfg(feature = "files")]
use key_uses::KeyUses;
pub use marks::{Marks, Status, UnusualImage, UnusualPolicy};
pub use predictions::Predictions;
#[cfg(feature = "files")]
pub use provenance::Provenance;
pub use read_table::{PredictionTable, TableDecision};
#[cfg(feature = "files")]
pub use record::RequestRecord;
#[cfg(feature = "files")]
pub use sordino_secret::Passphrase;
pub use views::ViewCount;
