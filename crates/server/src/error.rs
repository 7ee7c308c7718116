//! What can go wrong on the evaluating side.

/// Everything this crate refuses, with what was expected, what was found and what to try.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The plan relinearizes and no key was given.
    #[error(
        "this plan needs the client's evaluation key, and none was given: add --keys with the evaluation.key that `sordino keygen` wrote for this plan"
    )]
    MissingKey,
    /// The evaluation would not fit into the memory that it may use.
    #[error(
        "the evaluation needs about {} MiB and may use {} MiB: raise --memory, or compile with a smaller --batch or with --memory",
        mebibytes(*estimate), mebibytes(*limit)
    )]
    Memory {
        /// Bytes by the plan's estimate.
        estimate: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// A thread pool of the size asked for cannot be had.
    #[error("cannot start {threads} threads: {detail}: give a smaller --threads")]
    Threads {
        /// Threads asked for.
        threads: usize,
        /// The system's reason.
        detail: String,
    },
    /// The request does not fit the plan, or the key does not fit the request.
    #[error(transparent)]
    Protocol(#[from] sordino_protocol::Error),
    /// The evaluation failed.
    #[error(transparent)]
    Runtime(#[from] sordino_runtime::Error),
    /// The plan could not be read.
    #[error(transparent)]
    Plan(#[from] sordino_plan::Error),
    /// The key or the parameters were refused.
    #[error(transparent)]
    Scheme(#[from] sordino_ckks::Error),
    /// The back end cannot be used.
    #[error(transparent)]
    Ring(#[from] sordino_ring::Error),
    /// The result could not be printed.
    #[error("cannot write to standard output: {0}: check where it is redirected to")]
    Output(#[source] std::io::Error),
    /// The file layer refused.
    #[error(transparent)]
    File(#[from] sordino_container::Error),
}

fn mebibytes(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}
