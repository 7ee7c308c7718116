//! What can go wrong on the client's side.

use sordino_fhe_benchmark_server::Error as ServerError;

/// Everything this crate refuses, with what was expected, what was found and what to try; no message holds anything secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The suite's input is not what it is said to be.
    #[error("{location}: expected {expected}, found {found}: let the suite write its input again")]
    Input {
        /// File and line.
        location: String,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A reply to another input than that of the instance.
    #[error(
        "the encrypted result answers another input than the one in {upload}: run server_encrypted_compute again"
    )]
    StaleReply {
        /// The folder of the input.
        upload: String,
    },
    /// Keys, encryption or decryption failed, or what was read belongs to something else.
    #[error(transparent)]
    Client(#[from] sordino_client::Error),
    /// The images could not be read or prepared.
    #[error(transparent)]
    Data(#[from] sordino_data::Error),
    /// The back end that the environment names cannot be used.
    #[error(transparent)]
    Ring(#[from] sordino_ring::Error),
    /// The file layer refused.
    #[error(transparent)]
    File(#[from] sordino_container::Error),
    /// A folder could not be made, or a plan that is part of this program not be read.
    #[error(transparent)]
    Server(#[from] ServerError),
}
