//! What can go wrong on the data owner's side; no message holds anything secret.

use std::path::PathBuf;

use sordino_container::Digest;
use sordino_fault::{Fault, classify};
use sordino_protocol::api::{Id, ProblemKind};
use sordino_protocol::shorten;

/// Everything this crate refuses, with what was expected, what was found and what to try.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The prepared images are not whole images of the plan's shape.
    #[error(
        "expected prepared images of {features} values each, found {found} values: prepare them with the preprocessing of the client plan"
    )]
    Images {
        /// Values per image.
        features: usize,
        /// Values given.
        found: usize,
    },
    /// No image, or more than the plan was compiled for.
    #[error(
        "the plan was compiled for 1 to {limit} images a request, found {found}: compile with a larger --batch or split the images"
    )]
    Batch {
        /// The plan's batch.
        limit: usize,
        /// Images given.
        found: usize,
    },
    /// A value that is NaN or infinite.
    #[error("image {image} holds a value that is not finite: repair it or leave it out")]
    NotFinite {
        /// The first such image.
        image: usize,
    },
    /// A list that should have one entry per image.
    #[error(
        "expected {expected} {what}, one per image, found {found}: give the list that belongs to these images"
    )]
    ListLength {
        /// What is listed.
        what: &'static str,
        /// Images.
        expected: usize,
        /// Entries.
        found: usize,
    },
    /// A key was made for other parameters than the plan's.
    #[error(
        "the secret key was made for parameters {found}, the plan has {expected}: run `sordino keygen` with this plan, or take the plan that the key was made for"
    )]
    KeyParameters {
        /// The plan's parameters, shortened.
        expected: String,
        /// The key's parameters, shortened.
        found: String,
    },
    /// The plan holds numbers that cannot be used.
    #[error("the client plan cannot be used: {what}: ask for a plan that was compiled again")]
    Plan {
        /// What is wrong.
        what: String,
    },
    /// The reply is wrong for images whose right logits are known.
    #[error(
        "{different} of {images} check images came back with other logits than the plan gives for them, by up to {worst:.0e} where {tolerance:.0e} is accepted, so nothing of this reply is released. {}The server did not run the plan, or a value left its range (one unusual image in a block is enough), or hardware is damaged: look for unusual images and leave them out, encrypt again with a fresh key, and if that fails too, ask the server's owner to evaluate on another machine, or do not use this server",
        named(suspects)
    )]
    CheckImages {
        /// Check images with a wrong logit.
        different: usize,
        /// All check images.
        images: usize,
        /// The largest difference.
        worst: f64,
        /// The largest difference that is accepted.
        tolerance: f64,
        /// Images whose values in a layer on the way are unlike those of all others, by their places in the batch.
        suspects: Vec<usize>,
    },
    /// No request is recorded for the key that the reply answers.
    #[error(
        "{location} is not there, so the reply answers no request that is known to have been made with this key: take the reply to your own request, or copy the record from where the images were encrypted"
    )]
    UnknownRequest {
        /// Where its record would be.
        location: String,
    },
    /// The record of a request that cannot be read.
    #[error("{location}: {detail}: encrypt the images again")]
    Record {
        /// The file.
        location: String,
        /// What is wrong.
        detail: String,
    },
    /// No image of the batch is usual.
    #[error(
        "all of {images} images are unlike those that the network is made for, so that none is left to encrypt: give the images that the network was made for, or encrypt them as they are (--unusual keep)"
    )]
    AllUnusual {
        /// Images of the batch.
        images: usize,
    },
    /// No room for blocks of unusual images.
    #[error(
        "{unusual} unusual images would need a block of their own, which does not fit into the plan's batch of {limit}: leave them out (--unusual exclude), or compile with a larger --batch"
    )]
    Separate {
        /// Unusual images.
        unusual: usize,
        /// The plan's batch.
        limit: usize,
    },
    /// More views of an image than there can be.
    #[error("views: {what}")]
    Views {
        /// What was expected, what was found and what to do.
        what: String,
    },
    /// Marks of images that are not in the batch.
    #[error("the list of unusual images does not fit the batch: encrypt the images again")]
    Marks,
    /// A table of predictions that cannot be read.
    #[error(
        "{location}: expected {expected}, found {found}: give the CSV that `sordino decrypt` wrote"
    )]
    Predictions {
        /// The file.
        location: String,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A table could not be formed.
    #[error("the predictions cannot be written: {detail}")]
    Table {
        /// Why.
        detail: String,
    },
    /// A request or reply does not fit.
    #[error(transparent)]
    Protocol(#[from] sordino_protocol::Error),
    /// Key generation, encryption or decryption failed.
    #[error(transparent)]
    Secret(#[from] sordino_secret::Error),
    /// The scheme refused.
    #[error(transparent)]
    Scheme(#[from] sordino_ckks::Error),
    /// The file layer refused.
    #[error(transparent)]
    File(#[from] sordino_container::Error),
    /// The plan could not be read.
    #[error(transparent)]
    PlanFile(#[from] sordino_plan::Error),
    /// The images could not be read or prepared.
    #[cfg(feature = "files")]
    #[error(transparent)]
    Data(#[from] sordino_data::Error),
    /// A key folder that cannot be used with a plan.
    #[error("key folder {}: {found}: {advice}", folder.display())]
    KeyFolder {
        /// The folder.
        folder: PathBuf,
        /// What is in it.
        found: String,
        /// What to try.
        advice: &'static str,
    },
    /// A text that is no address of a server.
    #[error(
        "{address:?} is no address of a server: {what}: give one such as https://example.org or http://127.0.0.1:8080"
    )]
    Address {
        /// The text.
        address: String,
        /// What is wrong.
        what: String,
    },
    /// Plain HTTP to another machine.
    #[error(
        "http://{host} is not encrypted, so that anybody on the way could read the token and use it: give an https:// address, or allow plain HTTP (--plain) where the network itself is protected"
    )]
    PlainHttp {
        /// The host.
        host: String,
    },
    /// A token that cannot be one.
    #[error("{location}: {what}: give the file that `sordino-server token` wrote")]
    Token {
        /// The file, or where else it comes from.
        location: String,
        /// What is wrong.
        what: &'static str,
    },
    /// Certificates that cannot be used.
    #[error(
        "{location}: {what}: give a PEM file with the certificate that the server's is signed with"
    )]
    Certificates {
        /// The file, or what stands for the system's.
        location: String,
        /// What is wrong.
        what: String,
    },
    /// No connection, or one that broke.
    #[error(
        "cannot {what} at {server}: {detail}: check the address, and that the server runs and can be reached"
    )]
    Connection {
        /// What was asked for.
        what: String,
        /// The server.
        server: String,
        /// The reason.
        detail: String,
    },
    /// The server's certificate is not trusted.
    #[error("cannot {what} at {server}: {detail}: {advice}")]
    Certificate {
        /// What to try.
        advice: &'static str,
        /// What was asked for.
        what: String,
        /// The server.
        server: String,
        /// The reason.
        detail: String,
    },
    /// The server speaks http where https was asked for, or the other way round.
    #[error("cannot {what} at {server}: the server does not speak {scheme} there: {advice}")]
    OtherProtocol {
        /// What was asked for.
        what: String,
        /// The server.
        server: String,
        /// The scheme that was asked for.
        scheme: &'static str,
        /// What to try.
        advice: &'static str,
    },
    /// The server refused.
    #[error("cannot {what} at {server}: {detail} (status {status})")]
    Refused {
        /// What was asked for.
        what: String,
        /// The server.
        server: String,
        /// The HTTP status.
        status: u16,
        /// The sort of problem, if the server named one that is known here.
        kind: Option<ProblemKind>,
        /// What the server said.
        detail: String,
    },
    /// Tried for as long as was allowed.
    #[error(
        "{last}; tried for {seconds:.0} s: run the same command again, which resumes from here"
    )]
    GaveUp {
        /// Seconds since the last answer.
        seconds: f64,
        /// What went wrong last.
        last: Box<Error>,
    },
    /// An answer that does not belong to the protocol.
    #[error(
        "cannot {what} at {server}: expected {expected}, found {found}: check that this is a Sordino server of this version"
    )]
    Answer {
        /// What was asked for.
        what: String,
        /// The server.
        server: String,
        /// What should have come.
        expected: String,
        /// What came.
        found: String,
    },
    /// The client plan that the server hands out is not that of the model that it offers.
    #[error(
        "the client plan of model {model:?} does not fit: the server says {what} {expected}, the plan has {found}: do not use this server before its owner has mended it"
    )]
    ServedPlan {
        /// The model.
        model: String,
        /// What differs.
        what: &'static str,
        /// What the server says of the model.
        expected: String,
        /// What the plan has.
        found: String,
    },
    /// The client plan that the server hands out is refused: damaged, or below 128 bits of security.
    #[error(
        "the client plan of model {model:?} at {server} is refused, and nothing was encrypted: {reason}"
    )]
    RefusedPlan {
        /// The model.
        model: String,
        /// The server.
        server: String,
        /// Why.
        reason: Box<sordino_plan::Error>,
    },
    /// The server has another plan than when the model was first seen.
    #[error(
        "the client plan of model {model:?} at {server} is {found}, when it was first seen it was {expected} ({location}): ask the model's owner whether it was exchanged, and if so accept the new one (--accept-plan)"
    )]
    PlanChanged {
        /// The model.
        model: String,
        /// The server.
        server: String,
        /// Digest of the plan that was seen first.
        expected: String,
        /// Digest of the plan that the server has now.
        found: String,
        /// Where the first is noted.
        location: String,
    },
    /// What was noted of a model's plan cannot be read.
    #[error(
        "{location} is no record of a plan: {detail}: remove it if you trust the server's plan as it is now"
    )]
    Pin {
        /// The file.
        location: String,
        /// What is wrong.
        detail: String,
    },
    /// The user's folders are not known.
    #[error(
        "there is no home folder to remember plans in: set HOME, or name a folder (--state DIR)"
    )]
    NoHome,
    /// The server could not evaluate the job.
    #[error("job {job} failed at {server}: {detail} (status {status})")]
    JobFailed {
        /// The job.
        job: Id,
        /// The server.
        server: String,
        /// The HTTP status that goes with the reason.
        status: u16,
        /// What the server said.
        detail: String,
    },
    /// Somebody cancelled the job.
    #[error("job {job} was cancelled at the server: run the command again for a new one")]
    JobCancelled {
        /// The job.
        job: Id,
    },
    /// Another process submits the same images.
    #[error("{}: another process is submitting the same images with these keys: wait for it", folder.display())]
    Busy {
        /// The folder that it works in.
        folder: PathBuf,
    },
    /// Something that cannot fail did.
    #[error("the {what} failed: {detail}: this is a bug, report it")]
    Bug {
        /// What was done.
        what: &'static str,
        /// How it failed.
        detail: String,
    },
}

classify!(Error {
    Usage: Address, NoHome, OtherProtocol, PlainHttp, Token;
    BadFile: AllUnusual, Images, Batch, NotFinite, ListLength, KeyParameters, Marks, Plan, Record, UnknownRequest, Predictions, KeyFolder, Certificates, Answer,
        Pin, PlanChanged, ServedPlan;
    CheckFailed: CheckImages;
    Limits: Separate, Views;
    Io: Table, Connection, Certificate, Busy;
    Interrupted: JobCancelled;
    Bug: Bug;
} inner { Protocol, Secret, Scheme, File, PlanFile, #[cfg(feature = "files")] Data } by {
    Refused { status, .. } => of_status(*status),
    JobFailed { status, .. } => of_status(*status),
    GaveUp { last, .. } => last.fault(),
    RefusedPlan { reason, .. } => reason.fault(),
});

/// A number of images in words.
fn images(count: usize) -> String {
    match count {
        1 => "1 image".to_owned(),
        _ => format!("{count} images"),
    }
}

/// How many images a message names.
const NAMED: usize = 5;

/// A sentence about images that may have ruined a reply.
fn named(suspects: &[usize]) -> String {
    if suspects.is_empty() {
        return String::new();
    }
    let first: Vec<String> = suspects.iter().take(NAMED).map(usize::to_string).collect();
    let more = if suspects.len() > NAMED { ", …" } else { "" };
    format!(
        "In a layer on the way {} had values unlike all others (index {}{more}): leave out what is named. ",
        images(suspects.len()),
        first.join(", ")
    )
}

/// What the one who meets a server's refusal can do about it.
fn of_status(status: u16) -> Fault {
    match status {
        401 | 403 => Fault::Refused,
        // The name of a model that is not there.
        404 => Fault::Usage,
        408 | 500.. => Fault::Io,
        413 | 429 => Fault::Limits,
        _ => Fault::BadFile,
    }
}

impl Error {
    /// Something that cannot fail did, such as writing plain numbers as JSON.
    #[cfg(feature = "files")]
    pub(crate) fn bug(what: &'static str, detail: impl ToString) -> Self {
        let detail = detail.to_string();
        Self::Bug { what, detail }
    }

    /// A key that was made for other parameters than the plan's.
    pub(crate) fn key_parameters(expected: Digest, found: Digest) -> Self {
        Self::KeyParameters {
            expected: shorten(expected),
            found: shorten(found),
        }
    }
}

impl From<csv::Error> for Error {
    fn from(error: csv::Error) -> Self {
        Self::Table {
            detail: error.to_string(),
        }
    }
}
