//! What can go wrong in the service.

/// Everything that keeps the service from running, with what was expected, what was found and what to try.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A configuration that cannot be used.
    #[error("{location}: {detail}")]
    Config {
        /// The file.
        location: String,
        /// What is wrong, and what to write.
        detail: String,
    },
    /// A model of the service cannot be used.
    #[error("model {name:?}: {source}")]
    Model {
        /// Its name.
        name: String,
        /// Why.
        source: Box<Error>,
    },
    /// The service cannot run.
    #[error("the {what} cannot be used: {detail}")]
    Service {
        /// What it needs.
        what: String,
        /// Why that cannot be had.
        detail: String,
    },
    /// The system has no randomness.
    #[error("the system gives no randomness: {detail}")]
    Entropy {
        /// The system's reason.
        detail: String,
    },
    /// An evaluation, or a plan, was refused.
    #[error(transparent)]
    Evaluator(#[from] sordino_evaluator::Error),
    /// A plan could not be read.
    #[error(transparent)]
    Plan(#[from] sordino_plan::Error),
    /// The keys that a plan needs cannot be described.
    #[error(transparent)]
    Scheme(#[from] sordino_ckks::Error),
    /// The command cannot do its work.
    #[error(transparent)]
    Command(#[from] sordino_command::Error),
    /// The file layer refused.
    #[error(transparent)]
    File(#[from] sordino_container::Error),
}
