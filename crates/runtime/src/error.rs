use sordino_container::Digest;

/// What can go wrong while a plan runs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The plan relinearizes and no key was given.
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
        /// What does not fit.
        what: &'static str,
        /// The plan's parameters.
        expected: Digest,
        /// The other ones.
        found: Digest,
    },
    /// The input is not laid out as the plan says.
    #[error(
        "the input's {what} is {found}, the plan expects {expected}: encrypt with the client half of this plan"
    )]
    Input {
        /// Which property.
        what: &'static str,
        /// By the plan.
        expected: String,
        /// In the input.
        found: String,
    },
    /// The plan cannot be cut into units as small as asked for.
    #[error(transparent)]
    Plan(#[from] sordino_plan::Error),
    /// Pieces have to leave memory, and there is nowhere to put them.
    #[error(
        "the evaluation keeps {} MiB outside of memory and was given no scratch: give it some, or more memory",
        needed.div_ceil(1 << 20)
    )]
    NoScratch {
        /// Bytes by the schedule.
        needed: u64,
    },
    /// Scratch failed.
    #[error(transparent)]
    Scratch(#[from] sordino_container::Error),
    /// The evaluation is not wanted any more.
    #[error("the evaluation was stopped")]
    Stopped,
    /// What watches the evaluation failed.
    #[error("looking at a value of the evaluation: {0}")]
    Watched(Box<dyn std::error::Error + Send + Sync>),
    /// The scheme refused an operation.
    #[error("step \"{step}\": {source}")]
    Step {
        /// The step.
        step: String,
        /// Why.
        source: sordino_ckks::Error,
    },
}
