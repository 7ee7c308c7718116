//! What a submission reports while it runs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sordino_container::Digest;
use sordino_protocol::api::{Id, Job};

use crate::Marks;

/// Hears what happens; called from whichever task does the work, so it should be quick.
pub type Observer = Arc<dyn Fn(&Event<'_>) + Send + Sync>;

/// Something that happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// New keys were made.
    KeysMade {
        /// Where they are.
        folder: &'a Path,
    },
    /// The keys that the caller chose were used before.
    KeysUsedBefore {
        /// Where they are.
        folder: &'a Path,
        /// How many replies they decrypted.
        used: u64,
    },
    /// The evaluation key is larger than the request, so that keys are kept for some replies.
    KeysKept {
        /// Where they are.
        folder: &'a Path,
        /// Bytes of the evaluation key.
        evaluation_bytes: u64,
        /// How many replies they decrypted.
        used: u64,
        /// How many they decrypt before others are made.
        most: u64,
    },
    /// The plan of a model is seen for the first time, or another one is accepted, and remembered.
    PlanSeen {
        /// The model.
        model: &'a str,
        /// BLAKE3 digest of the client plan's file.
        client_plan: Digest,
    },
    /// Something was guessed or passed over while the images were read.
    Note {
        /// What, in one sentence.
        text: &'a str,
    },
    /// Images are unlike those that the network is made for.
    Unusual {
        /// Which, and which of them are left out.
        marks: &'a Marks,
    },
    /// Check images came back wrong, and the batch is sent once more without the images that a layer of the network names.
    SentAgain {
        /// The images, by their places in the batch.
        without: &'a [usize],
    },
    /// Images are being encrypted.
    Encrypting {
        /// How many.
        images: usize,
    },
    /// An earlier run of the same submission is resumed.
    Resumed {
        /// Its job.
        job: &'a Id,
    },
    /// The plan of the model is another one than an earlier, unfinished submission of these images was made with.
    PlanChanged {
        /// The model.
        model: &'a str,
        /// The job that was given up.
        job: &'a Id,
    },
    /// The server does not know the job any more, so it is made again.
    JobForgotten {
        /// The job.
        job: &'a Id,
    },
    /// The server lost chunks of the request or of its key, so they are sent again.
    ChunksLost {
        /// The job.
        job: &'a Id,
    },
    /// So much has arrived at the server.
    Uploaded {
        /// What is sent.
        what: Upload,
        /// Bytes that are there.
        done: u64,
        /// Bytes in all.
        of: u64,
    },
    /// Where the job is.
    Job(&'a Job),
    /// So much of the reply has arrived.
    Downloaded {
        /// Bytes that are here.
        done: u64,
        /// Bytes in all.
        of: u64,
    },
    /// Something failed and is tried again after a pause.
    Retry {
        /// Why, in words.
        reason: &'a str,
        /// How long the pause is.
        pause: Duration,
    },
    /// The job could not be removed from the server, where it stays until it expires.
    JobLeft {
        /// The job.
        job: &'a Id,
        /// Why, in words.
        reason: &'a str,
    },
}

/// What is uploaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upload {
    /// An evaluation key.
    Key,
    /// A request.
    Request,
}
