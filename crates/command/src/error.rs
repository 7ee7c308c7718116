//! What can go wrong around a command.

/// What keeps a command from its work, or from showing it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A thread pool of the size asked for cannot be had.
    #[error("cannot start {threads} threads: {detail}: give a smaller --threads")]
    Threads {
        /// Threads asked for.
        threads: usize,
        /// The system's reason.
        detail: String,
    },
    /// The result could not be printed.
    #[error("cannot write to standard output: {0}: check where it is redirected to")]
    Output(std::io::Error),
    /// The back end cannot be used.
    #[error(transparent)]
    Ring(#[from] sordino_ring::Error),
    /// The request was not evaluated.
    #[error(transparent)]
    Evaluator(#[from] sordino_evaluator::Error),
}
