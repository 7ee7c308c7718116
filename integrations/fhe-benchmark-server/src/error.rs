//! What can go wrong on the server's side.

/// Everything this crate refuses, with what was expected, what was found and what to try.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The reported times could not be formed.
    #[error("the reported steps cannot be written: {detail}")]
    Report {
        /// Why.
        detail: String,
    },
    /// A plan that is part of this program could not be read.
    #[error(
        "the plan for size {size} that is part of this program cannot be used: {source}: build the program again"
    )]
    Plan {
        /// The size's number.
        size: usize,
        /// What is wrong with it.
        source: sordino_plan::Error,
    },
    /// The evaluation was refused or failed.
    #[error(transparent)]
    Evaluator(#[from] sordino_evaluator::Error),
    /// The evaluation key was refused.
    #[error(transparent)]
    Scheme(#[from] sordino_ckks::Error),
    /// The encrypted input was refused.
    #[error(transparent)]
    Protocol(#[from] sordino_protocol::Error),
    /// The back end that the environment names cannot be used.
    #[error(transparent)]
    Ring(#[from] sordino_ring::Error),
    /// The file layer refused.
    #[error(transparent)]
    File(#[from] sordino_container::Error),
}
