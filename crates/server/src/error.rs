//! What can go wrong in the service.

use std::path::Path;

use sordino_fault::classify;

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
    #[error("model {name:?}: {reason}")]
    Model {
        /// Its name.
        name: String,
        /// Why.
        reason: Box<Error>,
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

classify!(Error {
    Usage: Config;
    Io: Service, Entropy;
} inner { Evaluator, Plan, Scheme, Command, File } by {
    Model { reason, .. } => reason.fault(),
});

impl Error {
    /// A configuration that cannot be used: where, and why.
    pub(crate) fn config(location: impl AsRef<Path>, detail: impl ToString) -> Self {
        Self::Config {
            location: location.as_ref().display().to_string(),
            detail: detail.to_string(),
        }
    }

    /// Something that the service needs and cannot have.
    pub(crate) fn service(what: impl Into<String>, detail: impl ToString) -> Self {
        Self::Service {
            what: what.into(),
            detail: detail.to_string(),
        }
    }
}
