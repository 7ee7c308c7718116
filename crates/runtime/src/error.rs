use sordino_container::Digest;
use sordino_fault::classify;

/// What can go wrong while a plan runs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The plan relinearizes, and no key was given.
    #[error(
        "step \"{step}\" relinearizes and no evaluation key was given: pass the evaluation.key that keygen wrote for this plan"
    )]
    MissingKey {
        /// The step.
        step: String,
    },
    /// Context, key or ciphertexts belong to other parameters than the plan's.
    #[error(
        "{what} belongs to parameters {found}, the plan to {expected}: make it again for this plan"
    )]
    Parameters {
        /// What belongs to other parameters.
        what: &'static str,
        /// The plan's parameters.
        expected: Digest,
        /// The other ones.
        found: Digest,
    },
    /// The input does not have the layout of the plan.
    #[error(
        "the input's {what} is {found}, the plan expects {expected}: encrypt with the client half of this plan"
    )]
    Input {
        /// The property.
        what: &'static str,
        /// The plan's value.
        expected: String,
        /// The input's value.
        found: String,
    },
    /// The plan cannot be cut into units that are small enough.
    #[error(transparent)]
    Plan(#[from] sordino_plan::Error),
    /// Pieces have to leave memory, and there is nowhere to put them.
    #[error(
        "the evaluation keeps {} MiB outside of memory and was given no scratch: give it some, or more memory",
        needed.div_ceil(1 << 20)
    )]
    NoScratch {
        /// Bytes that the schedule keeps on scratch.
        needed: u64,
    },
    /// Scratch failed.
    #[error(transparent)]
    Scratch(#[from] sordino_container::Error),
    /// The evaluation was asked to stop.
    #[error("the evaluation was stopped")]
    Stopped,
    /// An observer of the evaluation failed.
    #[error("observing a value of the evaluation: {0}")]
    Watched(Box<dyn std::error::Error + Send + Sync>),
    /// The scheme refused an operation.
    #[error("step \"{step}\": {reason}")]
    Step {
        /// The step.
        step: String,
        /// The scheme's error. The message has it, so it is no `source`, which would print it a second time.
        reason: sordino_ckks::Error,
    },
}

classify!(Error {
    Usage: MissingKey;
    BadFile: Parameters, Input;
    Limits: NoScratch;
    Interrupted: Stopped;
    Bug: Watched;
} inner { Plan, Scratch } by {
    Step { reason, .. } => sordino_fault::Classified::fault(reason),
});

impl Error {
    /// The input's value of a property, where the plan has another one.
    pub(crate) fn input(what: &'static str, expected: impl ToString, found: impl ToString) -> Self {
        Self::Input {
            what,
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }
}
