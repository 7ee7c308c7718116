//! What can go wrong in this crate; no message holds anything secret.

use sordino_fault::classify;

/// Everything this crate refuses, with what was expected, what was found and what to try.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The scheme refused: shapes, levels, scales, parameters, message range.
    #[error(transparent)]
    Ckks(#[from] sordino_ckks::Error),
    /// A ring operation failed, or the operating system gave no random bytes.
    #[error(transparent)]
    Ring(#[from] sordino_ring::Error),
    /// A key file could not be read or written.
    #[error(transparent)]
    Container(#[from] sordino_container::Error),
    /// The tag of a reply was not made with this key, or for another number of images or another plan.
    #[error(
        "the reply does not name the slots of the request's images as this key does: it was changed on the way, or it belongs to another request, or the client plan is not the one that the request was made with: fetch the reply again, and decrypt with the plan that you encrypted with"
    )]
    SlotTag,
    /// A passphrase of no length, or of too many bytes.
    #[error("{location}: expected a passphrase of 1 to {limit} bytes, found {found}: give another")]
    Passphrase {
        /// Where it comes from.
        location: String,
        /// Most bytes.
        limit: usize,
        /// Bytes found.
        found: usize,
    },
    /// A key file is encrypted and no passphrase was given.
    #[error("{location} is encrypted with a passphrase: give it (--passphrase-file FILE)")]
    Sealed {
        /// The file.
        location: String,
    },
    /// A passphrase does not open a key file.
    #[error(
        "{location}: the passphrase is not the one of this key, or the file was changed: give the right one, or restore the file from a copy"
    )]
    Unsealed {
        /// The file.
        location: String,
    },
    /// A key file holds something that is no coefficient of a ternary secret.
    #[error(
        "{location}: coefficient {position} of the secret is not -1, 0 or 1: the file is damaged, restore it from a copy"
    )]
    Coefficient {
        /// The file.
        location: String,
        /// The first such coefficient.
        position: usize,
    },
}

classify!(Error {
    Usage: Passphrase, Sealed, Unsealed;
    BadFile: SlotTag, Coefficient;
} inner { Ckks, Ring, Container });
