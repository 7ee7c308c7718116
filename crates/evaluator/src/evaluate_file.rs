//! From a request file to a reply file.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use serde::Serialize;
use sordino_ckks::EvaluationKey;
use sordino_container::{
    Access, AtomicFile, Digest, Error as FileError, Overwrite, file_bytes, memory,
};
use sordino_plan::{Budget, Schedule, ServerPlan};
use sordino_protocol::{ReceivedBlock, RequestReader};
use sordino_ring::backend::Backend;
use sordino_runtime::{Options, Progress, Trace};

use crate::scratch::{Identity, ScratchFolder, ScratchOptions};
use crate::{Error, Evaluator, Stop, free_bytes};

/// A request up to this size is read before it is evaluated, a larger one while it is.
const READ_FIRST_BYTES: u64 = 1 << 29;

/// How a request is evaluated; nothing here changes the reply.
pub struct EvaluateOptions<'a> {
    /// The back end.
    pub backend: &'static Backend,
    /// Most bytes of memory; by default most of what is free.
    pub memory_bytes: Option<u64>,
    /// Where pieces go that have no room in memory, and checkpoints; made if it is not there. By default the folder of the reply, and
    /// removed if the evaluation is interrupted.
    pub scratch: Option<&'a Path>,
    /// Most bytes there; [`Budget::USUAL_SCRATCH_BYTES`] by default.
    pub scratch_bytes: Option<u64>,
    /// Whether to resume from a checkpoint that is there.
    pub resume: bool,
    /// Ends the evaluation with [`sordino_runtime::Error::Stopped`] once it says so.
    pub stop: Option<Arc<Stop>>,
    /// How often to write checkpoints; by default when they take little of the time.
    pub checkpoint_interval: Option<Duration>,
    /// Whether an older reply may be replaced.
    pub overwrite: Overwrite,
    /// Called after every step.
    pub progress: Option<&'a (dyn Fn(&Progress<'_>) + Sync)>,
    /// Called with what people may want to know meanwhile.
    pub note: Option<&'a (dyn Fn(&str) + Sync)>,
    /// Where to write what every step took, as JSON.
    pub trace: Option<&'a Path>,
    /// Whether to return what every step took in [`Evaluation::trace`].
    pub keep_trace: bool,
}

/// What an evaluation did.
#[derive(Clone, Debug, Serialize)]
pub struct Evaluation {
    /// The reply's digest.
    pub reply: Digest,
    /// The request's digest.
    pub request: Digest,
    /// The plan's digest.
    pub plan: Digest,
    /// Images in the request.
    pub images: u64,
    /// Blocks of ciphertexts.
    pub blocks: u32,
    /// Most memory in bytes, by the schedule.
    pub memory_bytes: u64,
    /// Most scratch in bytes, by the schedule.
    pub scratch_bytes: u64,
    /// Whether an earlier evaluation was resumed.
    pub resumed: bool,
    /// Reading plan, key and request and checking their digests.
    pub read_seconds: f64,
    /// From the request's bytes in memory to the reply's.
    pub evaluate_seconds: f64,
    /// Writing the reply.
    pub write_seconds: f64,
    /// `evaluate_seconds` / `images`.
    pub amortized_seconds: f64,
    /// Size of the reply file.
    pub reply_bytes: u64,
    /// Largest resident memory of this process so far, where the system tells.
    pub peak_rss_bytes: Option<u64>,
    /// Threads used.
    pub threads: usize,
    /// Back end used.
    pub backend: &'static str,
    /// What every step took, where that was to be kept.
    #[serde(skip)]
    pub trace: Option<Trace>,
}

impl EvaluateOptions<'_> {
    /// The defaults on a back end: nothing is replaced, resumed, reported or traced.
    pub fn new(backend: &'static Backend) -> Self {
        Self {
            backend,
            memory_bytes: None,
            scratch: None,
            scratch_bytes: None,
            resume: false,
            stop: None,
            checkpoint_interval: None,
            overwrite: Overwrite::Refuse,
            progress: None,
            note: None,
            trace: None,
            keep_trace: false,
        }
    }
}

/// Evaluates a request file with a plan file and writes the reply file.
///
/// # Errors
/// Every one of [`Error`]; then there is no reply, or the older one.
pub fn evaluate_file(
    plan: &Path,
    keys: Option<&Path>,
    request: &Path,
    reply: &Path,
    options: &EvaluateOptions<'_>,
) -> Result<Evaluation, Error> {
    // Checked before the work: whether the outputs can be written at all.
    for path in [Some(reply), options.trace].into_iter().flatten() {
        drop(AtomicFile::create(path, options.overwrite, Access::Shared)?);
    }
    let start = Instant::now();
    let evaluator = Evaluator::new(ServerPlan::read(plan)?, options.backend)?;
    let key = match keys {
        _ if !evaluator.plan().needs_evaluation_key() => None,
        None => return Err(Error::MissingKey),
        Some(path) => Some(EvaluationKey::read_file(evaluator.context(), path)?),
    };
    let request = RequestReader::open(request, &evaluator.request_shape())?;
    evaluator.check_key(key.as_ref(), request.header())?;
    let scratch = open_scratch(&evaluator, &request, reply, options)?;
    let evaluator = evaluator.with_budget(scratch.budget())?;
    evaluate(
        &evaluator,
        key.as_ref(),
        request,
        reply,
        scratch,
        options,
        start,
    )
}

/// Evaluates a request that was opened, and writes the reply file.
///
/// # Errors
/// As [`evaluate_file`].
pub fn evaluate_request<R: Read + Send>(
    evaluator: &Evaluator,
    key: Option<&EvaluationKey>,
    request: RequestReader<R>,
    reply: &Path,
    options: &EvaluateOptions<'_>,
) -> Result<Evaluation, Error> {
    let start = Instant::now();
    evaluator.check_key(key, request.header())?;
    let scratch = open_scratch(evaluator, &request, reply, options)?;
    let budget = scratch.budget();
    let fresh;
    let evaluator = if budget == evaluator.budget() {
        evaluator
    } else {
        // The evaluation that is resumed was begun with another budget.
        fresh = Evaluator::new(evaluator.plan().clone(), options.backend)?.with_budget(budget)?;
        &fresh
    };
    evaluate(evaluator, key, request, reply, scratch, options, start)
}

/// Refuses an evaluation whose reply would not fit the disk that it is written to, which need not be that of the scratch.
fn check_room(reply: &Path, needed: u64) -> Result<(), Error> {
    let folder = match reply.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    match free_bytes(folder) {
        Some(free) if free < needed => Err(Error::ReplySpace {
            path: reply.to_owned(),
            needed,
            free,
        }),
        _ => Ok(()),
    }
}

fn evaluate<R: Read + Send>(
    evaluator: &Evaluator,
    key: Option<&EvaluationKey>,
    reader: RequestReader<R>,
    reply: &Path,
    mut scratch: ScratchFolder,
    options: &EvaluateOptions<'_>,
    start: Instant,
) -> Result<Evaluation, Error> {
    let header = reader.header().clone();
    let layout = evaluator.request_shape().layout(header.images as usize)?;
    let schedule = evaluator.prepare()?;
    let (memory_bytes, scratch_bytes) = evaluator.needs()?;
    scratch.set_schedule(schedule.map(Schedule::digest), scratch_bytes)?;
    let reply_layout = evaluator.reply_shape().layout(header.images as usize)?;
    check_room(reply, reply_layout.payload_bytes())?;
    let note = |text: &str| options.note.into_iter().for_each(|note| note(text));
    note(&needs(memory_bytes, scratch_bytes));
    if options.resume {
        note(&resumes(scratch.done_before(), schedule));
    }
    let source = if layout.payload_bytes() > READ_FIRST_BYTES || options.memory_bytes.is_some() {
        Source::Ahead(Box::new(reader))
    } else {
        Source::read(reader)?
    };
    let read_seconds = start.elapsed().as_secs_f64();

    let start = Instant::now();
    let resumed = scratch.done_before().is_some();
    let mut trace = Trace::default();
    let runtime_options = Options {
        progress: options.progress,
        trace: (options.keep_trace || options.trace.is_some()).then_some(&mut trace),
        scratch: Some(&mut scratch),
    };
    let evaluate = |blocks: &mut dyn Iterator<Item = ReceivedBlock>| {
        evaluator.evaluate_blocks(key, &header, blocks, runtime_options)
    };
    let (request_digest, results) = match source {
        Source::Read(digest, blocks) => (digest, evaluate(&mut blocks.into_iter())?),
        Source::Ahead(reader) => evaluate_ahead(*reader, evaluate)?,
    };
    let message = evaluator.reply(&header, request_digest, results)?;
    let evaluate_seconds = start.elapsed().as_secs_f64();

    let start = Instant::now();
    let digest = message.write_file(reply, options.overwrite)?;
    if let Some(path) = options.trace {
        write_trace(path, &trace, options.overwrite)?;
    }
    if let Some(why) = scratch.given_up() {
        note(&format!("no checkpoints were written: {why}"));
    }
    scratch.finish();
    Ok(Evaluation {
        reply: digest,
        request: request_digest,
        plan: evaluator.plan().digest(),
        images: header.images,
        blocks: header.blocks,
        memory_bytes,
        scratch_bytes,
        resumed,
        read_seconds,
        evaluate_seconds,
        write_seconds: start.elapsed().as_secs_f64(),
        amortized_seconds: evaluate_seconds / header.images as f64,
        reply_bytes: file_bytes(reply)?.unwrap_or(0),
        peak_rss_bytes: memory::peak_resident_bytes(),
        threads: rayon::current_num_threads(),
        backend: options.backend.name,
        trace: options.keep_trace.then_some(trace),
    })
}

/// The scratch folder of an evaluation, with the budget that it is done within.
fn open_scratch<R: Read>(
    evaluator: &Evaluator,
    reader: &RequestReader<R>,
    reply: &Path,
    options: &EvaluateOptions<'_>,
) -> Result<ScratchFolder, Error> {
    let reply_folder = reply
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = options.scratch.or(reply_folder).unwrap_or(Path::new("."));
    let identity = Identity {
        plan: evaluator.plan().digest(),
        request: reader.claimed_digest(),
    };
    let budget = Budget {
        memory_bytes: options.memory_bytes.or_else(most_of_free_memory),
        scratch_bytes: options.scratch_bytes.unwrap_or(Budget::USUAL_SCRATCH_BYTES),
    };
    let scratch = ScratchFolder::new(
        folder,
        identity,
        budget,
        ScratchOptions {
            resume: options.resume,
            keep: options.resume || options.scratch.is_some(),
            interval: options.checkpoint_interval,
            stop: options.stop.clone(),
        },
    )?;
    match (scratch.budget().memory_bytes, options.memory_bytes) {
        (Some(begun), Some(given)) if given < begun => Err(Error::LessMemory { begun, given }),
        _ => Ok(scratch),
    }
}

/// What an evaluation will take, before it begins.
fn needs(memory_bytes: u64, scratch_bytes: u64) -> String {
    let mebibytes = |bytes: u64| bytes.div_ceil(1 << 20);
    let memory = format!(
        "this evaluation needs at most {} MiB of memory",
        mebibytes(memory_bytes)
    );
    match scratch_bytes {
        0 => memory,
        bytes => format!("{memory} and {} MiB of scratch", mebibytes(bytes)),
    }
}

/// Where an evaluation resumes.
fn resumes(done: Option<(usize, usize)>, schedule: Option<&Schedule>) -> String {
    let of = schedule.map_or(0, |schedule| schedule.units().len());
    match done {
        None => "no checkpoint of this evaluation: begins anew".to_owned(),
        Some((blocks, 0)) => format!("resumes after block {blocks}"),
        Some((blocks, units)) => {
            format!(
                "resumes in block {}, {units} of {of} pieces done",
                blocks + 1
            )
        }
    }
}

/// Where the blocks of a request come from.
enum Source<R> {
    /// Memory; the digest was checked.
    Read(Digest, Vec<ReceivedBlock>),
    /// Where the request comes from, while they are evaluated.
    Ahead(Box<RequestReader<R>>),
}

impl<R: Read> Source<R> {
    fn read(mut reader: RequestReader<R>) -> Result<Self, Error> {
        let mut blocks = Vec::new();
        while let Some(block) = reader.next_block()? {
            blocks.push(block);
        }
        Ok(Source::Read(reader.finish()?, blocks))
    }
}

/// Evaluates blocks while the next one is read; returns the request's digest, checked, and the results.
///
/// At most two blocks are in memory, the one that is evaluated and the next.
fn evaluate_ahead<R: Read + Send, T>(
    mut reader: RequestReader<R>,
    evaluate: impl FnOnce(&mut dyn Iterator<Item = ReceivedBlock>) -> Result<T, Error>,
) -> Result<(Digest, T), Error> {
    std::thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel(0);
        let reading = scope.spawn(move || {
            let mut wanted = true;
            while let Some(block) = reader.next_block()? {
                // After a failed evaluation the rest is still read: a damaged file is the better explanation.
                wanted = wanted && sender.send(block).is_ok();
            }
            reader.finish()
        });
        let result = evaluate(&mut receiver.iter());
        drop(receiver);
        let digest = match reading.join() {
            Ok(digest) => digest?,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        Ok((digest, result?))
    })
}

fn write_trace(path: &Path, trace: &Trace, overwrite: Overwrite) -> Result<(), Error> {
    let mut file = AtomicFile::create(path, overwrite, Access::Shared)?;
    let failed = |error| FileError::io(path, "write", error);
    serde_json::to_writer_pretty(&mut file, trace).map_err(|error| failed(error.into()))?;
    file.write_all(b"\n").map_err(failed)?;
    Ok(file.commit()?)
}

/// Nine tenths of the memory that is free now, where the system tells.
pub fn most_of_free_memory() -> Option<u64> {
    Some(memory::available_bytes()? / 10 * 9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_of_the_reply_is_looked_at() {
        let folder = tempfile::tempdir().expect("a folder");
        let reply = folder.path().join("reply");
        check_room(&reply, 1).expect("room for a byte");
        let error = check_room(&reply, 1 << 60).expect_err("no disk is as large");
        let Error::ReplySpace { path, free, .. } = &error else {
            panic!("{error}");
        };
        assert!(*path == reply && *free > 0, "{error}");
        assert!(error.to_string().contains("--out"), "{error}");
        // A file in the current folder has no folder in its path, and a folder that is not there has no disk.
        assert!(check_room(Path::new("reply"), 1 << 60).is_err());
        check_room(&folder.path().join("missing/reply"), 1 << 60).expect("nothing is known");
    }
}
