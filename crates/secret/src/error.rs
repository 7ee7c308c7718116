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

classify!(Error { BadFile: SlotTag, Coefficient; } inner { Ckks, Ring, Container });
