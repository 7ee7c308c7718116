//! The command `evaluate`: from a request file to a reply file.

use std::io::{Read, Write};
use std::ops::Deref;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use serde::Serialize;
use sordino_ckks::EvaluationKey;
use sordino_container::{Access, AtomicFile, Digest, Error as FileError, Overwrite, memory};
use sordino_plan::{Budget, Schedule, ServerPlan};
use sordino_protocol::{Message, ReceivedBlock, RequestReader, check_key};
use sordino_ring::backend::Backend;
use sordino_runtime::{Options, Progress, Trace};

use crate::{Error, Identity, ScratchFolder, ScratchOptions, Server, Stop};

/// A request up to this size is read before it is evaluated, a larger one while it is.
const READ_FIRST_BYTES: u64 = 1 << 29;

/// How a request is evaluated; nothing here changes the reply.
pub struct EvaluateOptions<'a> {
    /// Threads of a pool of its own; `None` uses the current one.
    pub threads: Option<usize>,
    /// The back end.
    pub backend: &'static Backend,
    /// Most bytes of memory; by default most of what is free.
    pub memory_bytes: Option<u64>,
    /// Where pieces go that have no room in memory, and checkpoints; by default beside the reply, and removed if the evaluation is
    /// interrupted.
    pub scratch: Option<&'a Path>,
    /// Most bytes there; [`Budget::USUAL_SCRATCH_BYTES`] by default.
    pub scratch_bytes: Option<u64>,
    /// Whether to go on from a checkpoint that is there.
    pub resume: bool,
    /// Ends the evaluation with an error once it says so.
    pub stop: Option<Arc<Stop>>,
    /// How often to write checkpoints; by default when they take little of the time.
    pub checkpoint_interval: Option<Duration>,
    /// Whether an older reply may be replaced.
    pub overwrite: Overwrite,
    /// Called after every step.
    pub progress: Option<&'a (dyn Fn(&Progress<'_>) + Sync)>,
    /// Told what people may want to know meanwhile.
    pub note: Option<&'a (dyn Fn(&str) + Sync)>,
    /// Where to write what every step took, as JSON.
    pub trace: Option<&'a Path>,
    /// Whether to keep what every step took in [`Evaluation::trace`].
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
    /// Blocks of N images.
    pub blocks: u32,
    /// Most memory by the schedule.
    pub memory_bytes: u64,
    /// Most scratch by it.
    pub scratch_bytes: u64,
    /// Whether an evaluation that was ended was gone on with.
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
    let Some(threads) = options.threads else {
        return run(plan, keys, request, reply, options);
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|error| Error::Threads {
        threads,
        detail: error.to_string(),
    })?;
    pool.install(|| run(plan, keys, request, reply, options))
}

fn run(
    plan: &Path,
    keys: Option<&Path>,
    request: &Path,
    reply: &Path,
    options: &EvaluateOptions<'_>,
) -> Result<Evaluation, Error> {
    // Asked before the work: whether the outputs can be written at all.
    for path in [Some(reply), options.trace].into_iter().flatten() {
        drop(AtomicFile::create(path, options.overwrite, Access::Shared)?);
    }
    let start = Instant::now();
    let server = Server::new(ServerPlan::read(plan)?, options.backend)?;
    let key = match keys {
        _ if !server.plan().needs_evaluation_key() => None,
        None => return Err(Error::MissingKey),
        Some(path) => Some(EvaluationKey::read_file(server.context(), path)?),
    };
    let reader = RequestReader::open(request, &server.request_shape())?;
    evaluate(
        Evaluator::Fresh(Box::new(server)),
        key.as_ref(),
        reader,
        reply,
        options,
        start,
    )
}

/// Evaluates a request that was opened, on a server that stays, and writes the reply file.
///
/// # Errors
/// As [`evaluate_file`].
pub fn evaluate_request<R: Read + Send>(
    server: &Server,
    key: Option<&EvaluationKey>,
    request: RequestReader<R>,
    reply: &Path,
    options: &EvaluateOptions<'_>,
) -> Result<Evaluation, Error> {
    let server = Evaluator::Prepared(server);
    evaluate(server, key, request, reply, options, Instant::now())
}

/// A server for one evaluation, or one that stays.
enum Evaluator<'a> {
    Fresh(Box<Server>),
    Prepared(&'a Server),
}

impl Deref for Evaluator<'_> {
    type Target = Server;

    fn deref(&self) -> &Server {
        match self {
            Self::Fresh(server) => server,
            Self::Prepared(server) => server,
        }
    }
}

impl Evaluator<'_> {
    /// One that evaluates within the budget.
    fn within(self, budget: Budget, backend: &'static Backend) -> Result<Self, Error> {
        let server = match self {
            Self::Prepared(server) if server.budget() == budget => return Ok(self),
            // What is gone on with was begun with another budget.
            Self::Prepared(server) => Server::new(server.plan().clone(), backend)?,
            Self::Fresh(server) => *server,
        };
        Ok(Self::Fresh(Box::new(server.with_budget(budget)?)))
    }
}

fn evaluate<R: Read + Send>(
    server: Evaluator<'_>,
    key: Option<&EvaluationKey>,
    reader: RequestReader<R>,
    reply: &Path,
    options: &EvaluateOptions<'_>,
    start: Instant,
) -> Result<Evaluation, Error> {
    let header = reader.header().clone();
    if let Some(key) = key {
        check_key(
            Message::Request,
            "evaluation key",
            key.key_id(),
            header.key_id,
        )?;
    }
    let layout = server.request_shape().layout(header.images as usize)?;
    let payload_bytes = layout.payload_bytes();
    let mut scratch = open_scratch(&server, &reader, reply, options)?;
    let server = server.within(scratch.budget(), options.backend)?;
    let schedule = server.prepare()?;
    let estimate = server.plan().estimate();
    let (memory_bytes, scratch_bytes) = schedule.map_or((estimate.memory_bytes, 0), |schedule| {
        (schedule.memory_bytes(), schedule.scratch_bytes())
    });
    scratch.set_schedule(schedule.map(Schedule::digest), scratch_bytes)?;
    let note = |text: &str| options.note.into_iter().for_each(|note| note(text));
    note(&needs(memory_bytes, scratch_bytes));
    if options.resume {
        note(&goes_on(scratch.done_before(), schedule));
    }
    let source = if payload_bytes > READ_FIRST_BYTES || options.memory_bytes.is_some() {
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
        server.evaluate_blocks(key, &header, blocks, runtime_options)
    };
    let (request_digest, replies) = match source {
        Source::Read(digest, blocks) => (digest, evaluate(&mut blocks.into_iter())?),
        Source::Ahead(reader) => evaluate_ahead(*reader, evaluate)?,
    };
    let answer = server.reply(&header, request_digest, replies)?;
    let evaluate_seconds = start.elapsed().as_secs_f64();

    let start = Instant::now();
    let digest = answer.write_file(reply, options.overwrite)?;
    if let Some(path) = options.trace {
        write_trace(path, &trace, options.overwrite)?;
    }
    if let Some(why) = scratch.given_up() {
        note(&format!("no checkpoints were written: {why}"));
    }
    scratch.finish();
    let size = std::fs::metadata(reply).map_err(|error| FileError::io(reply, "look up", error))?;
    Ok(Evaluation {
        reply: digest,
        request: request_digest,
        plan: server.plan().digest(),
        images: header.images,
        blocks: header.blocks,
        memory_bytes,
        scratch_bytes,
        resumed,
        read_seconds,
        evaluate_seconds,
        write_seconds: start.elapsed().as_secs_f64(),
        amortized_seconds: evaluate_seconds / header.images as f64,
        reply_bytes: size.len(),
        peak_rss_bytes: memory::peak_resident_bytes(),
        threads: rayon::current_num_threads(),
        backend: options.backend.name,
        trace: options.keep_trace.then_some(trace),
    })
}

/// The scratch folder of an evaluation, with the budget that it is done within.
fn open_scratch<R: Read>(
    server: &Server,
    reader: &RequestReader<R>,
    reply: &Path,
    options: &EvaluateOptions<'_>,
) -> Result<ScratchFolder, Error> {
    let beside = reply
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = options.scratch.or(beside).unwrap_or(Path::new("."));
    let identity = Identity {
        plan: server.plan().digest(),
        request: reader.claimed_digest(),
    };
    let budget = Budget {
        memory_bytes: options.memory_bytes.or_else(most_of_the_memory),
        scratch_bytes: options.scratch_bytes.unwrap_or(Budget::USUAL_SCRATCH_BYTES),
    };
    let mut scratch = ScratchFolder::new(
        folder,
        identity,
        budget,
        ScratchOptions {
            resume: options.resume,
            keep: options.resume || options.scratch.is_some(),
            interval: options.checkpoint_interval,
        },
    )?;
    if let Some(stop) = &options.stop {
        scratch.set_stop(Arc::clone(stop));
    }
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

/// Where an evaluation goes on.
fn goes_on(done: Option<(usize, usize)>, schedule: Option<&Schedule>) -> String {
    let of = schedule.map_or(0, |schedule| schedule.units().len());
    match done {
        None => "no checkpoint of this evaluation: begins anew".to_owned(),
        Some((blocks, 0)) => format!("goes on after block {blocks}"),
        Some((blocks, units)) => {
            format!(
                "goes on in block {}, {units} of {of} pieces done",
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
fn most_of_the_memory() -> Option<u64> {
    Some(memory::available_bytes()? / 10 * 9)
}
