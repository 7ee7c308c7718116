//! What can be wrong with a request or reply.

use std::fmt;

use sordino_fault::classify;

/// Which message an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Encrypted images.
    Request,
    /// Encrypted scores.
    Reply,
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Request => "request",
            Self::Reply => "reply",
        })
    }
}

/// Why a message cannot be made or taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The message was made for another plan.
    #[error(
        "the {message} was made with plan {found}, this is plan {expected}: use the server.plan and client.plan of one compilation for all commands"
    )]
    WrongPlan {
        /// The message.
        message: Message,
        /// The plan in use, shortened.
        expected: String,
        /// The plan that the message names, shortened.
        found: String,
    },
    /// The message has other parameters than the plan.
    #[error(
        "the {message} has parameters {found}, the plan has {expected}: make keys and {message} again from this plan"
    )]
    WrongParameters {
        /// The message.
        message: Message,
        /// The plan's parameters, shortened.
        expected: String,
        /// The parameters that the message names, shortened.
        found: String,
    },
    /// The message belongs to another secret key.
    #[error(
        "the {message} belongs to key {found}, the {key} is {expected}: use the keys that one `sordino keygen` wrote"
    )]
    WrongKey {
        /// The message.
        message: Message,
        /// Which key was given.
        key: &'static str,
        /// The identity of that key, shortened.
        expected: String,
        /// The identity that the message names, shortened.
        found: String,
    },
    /// A number in the header is not what the plan fixes.
    #[error("the {message} says {field} = {found}, expected {expected}: {advice}")]
    Field {
        /// The message.
        message: Message,
        /// The field.
        field: &'static str,
        /// What would be accepted.
        expected: String,
        /// What the header says.
        found: String,
        /// What to try.
        advice: &'static str,
    },
    /// The payload is not as long as the header says.
    #[error(
        "the {message} has {found} bytes of payload, its header describes {expected}: the file is damaged, make it again"
    )]
    PayloadLength {
        /// The message.
        message: Message,
        /// Bytes that the header describes.
        expected: u64,
        /// Bytes that were found.
        found: u64,
    },
    /// A size is over a limit, or too large to compute with.
    #[error("{what} of {found}, at most {limit} are accepted: use a smaller batch")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The size.
        found: u64,
        /// The most that is accepted.
        limit: u64,
    },
    /// The residues are not valid ciphertexts.
    #[error("the {message}, block {block}: {source}")]
    Ciphertexts {
        /// The message.
        message: Message,
        /// The block, from 0.
        block: usize,
        /// What the scheme said.
        source: sordino_ckks::Error,
    },
    /// The parameters in the header are refused.
    #[error("the parameters of the {message}: {source}")]
    Parameters {
        /// The message.
        message: Message,
        /// What the scheme said.
        source: sordino_ckks::Error,
    },
    /// The file layer refused.
    #[error(transparent)]
    File(#[from] sordino_container::Error),
}

classify!(Error {
    BadFile: WrongPlan, WrongParameters, WrongKey, Field, PayloadLength, TooLarge, Ciphertexts, Parameters;
} inner { File });
