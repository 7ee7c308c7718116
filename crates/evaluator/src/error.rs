//! What can go wrong when a request is evaluated.

use std::path::PathBuf;

use sordino_fault::classify;

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
        "the evaluation needs about {} MiB and may use {} MiB: give at least as much with --memory",
        mebibytes(*estimate), mebibytes(*limit)
    )]
    Memory {
        /// Bytes by the plan's estimate.
        estimate: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// Another process evaluates the same request with the same scratch.
    #[error(
        "{}: another process evaluates this request here: wait for it, or give another --scratch",
        path.display()
    )]
    Busy {
        /// The scratch folder.
        path: PathBuf,
    },
    /// A checkpoint that does not belong to the evaluation.
    #[error(
        "{}: expected a checkpoint of this evaluation, found one of another {differs}: start anew without --resume",
        path.display()
    )]
    Checkpoint {
        /// The checkpoint.
        path: PathBuf,
        /// What differs.
        differs: &'static str,
    },
    /// The disk has less room than the schedule needs.
    #[error(
        "{}: the evaluation keeps {} MiB outside of memory and the disk has {} MiB free: raise --memory, or give a --scratch on another disk",
        path.display(), mebibytes(*needed), mebibytes(*free)
    )]
    Space {
        /// The scratch folder.
        path: PathBuf,
        /// Bytes by the schedule.
        needed: u64,
        /// Bytes there are.
        free: u64,
    },
    /// The disk of the reply has less room than it needs.
    #[error(
        "{}: the reply has {} MiB and the disk has {} MiB free: free some of it, or give an --out on another disk",
        path.display(), mebibytes(*needed), mebibytes(*free)
    )]
    ReplySpace {
        /// The reply.
        path: PathBuf,
        /// Bytes of the reply.
        needed: u64,
        /// Bytes there are.
        free: u64,
    },
    /// Less memory than the evaluation was begun with.
    #[error(
        "this evaluation was begun with --memory {begun}, and cannot resume with --memory {given}: give as much, or start anew without --resume"
    )]
    LessMemory {
        /// Bytes at the beginning.
        begun: u64,
        /// Bytes now.
        given: u64,
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
    /// The file layer refused.
    #[error(transparent)]
    File(#[from] sordino_container::Error),
}

classify!(Error {
    Usage: MissingKey, LessMemory;
    BadFile: Checkpoint;
    Limits: Memory;
    Io: Busy, Space, ReplySpace;
} inner { Protocol, Runtime, Plan, Scheme, Ring, File });

fn mebibytes(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}
