//! A folder for what has no room in memory, and for what a later run goes on from.
//!
//! ```text
//! DIR/sordino-scratch-<plan and request>/
//!   lock          held while an evaluation works here
//!   b0-u17        the piece that unit 17 of block 0 made
//!   b0-reply      the result of a finished block
//!   checkpoint    which units are done, and the digests of the pieces that the rest reads
//! ```
//!
//! Every file is complete under its name or not there, and names a digest. What a checkpoint names is only removed after the
//! next one is there, so that the process may end at any moment.

mod files;
mod stop;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sordino_ckks::{Ciphertexts, Context};
use sordino_container::{
    self as container, Access, Digest, Error as FileError, Kind, Overwrite, TemporaryFolder, memory,
};
use sordino_plan::Budget;
use sordino_runtime::{BlockState, Error as RuntimeError, Scratch};

use crate::Error;
pub use stop::Stop;

pub(crate) use files::free_bytes;
use files::{Checkpoint, read_checkpoint, read_piece, remove, write_piece};

/// Share of the time that checkpoints may take where nobody says how often they are wanted.
const CHECKPOINT_SHARE: f64 = 0.03;
/// However fast they are.
const LEAST_INTERVAL: Duration = Duration::from_secs(5);
/// Bytes a second that are expected of a disk before any was measured.
const ASSUMED_RATE: f64 = 200e6;

/// How long to wait for the process before this one: one that was killed takes a while to give gigabytes back.
const PATIENCE: Duration = Duration::from_secs(5);

const LOCK: &str = "lock";
const CHECKPOINT: &str = "checkpoint";

/// What an evaluation is of; two with the same identity give the same reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Digest of the plan.
    pub plan: Digest,
    /// Digest of the request, as its header claims it.
    pub request: Digest,
}

impl Identity {
    /// The name of the scratch folder.
    fn folder_name(&self) -> String {
        let both = [*self.plan.as_bytes(), *self.request.as_bytes()].concat();
        let digest = Digest::of("sordino scratch folder v1", &both).to_string();
        format!("sordino-scratch-{}", &digest[..16])
    }
}

/// How a scratch folder is used.
#[derive(Clone, Copy, Debug)]
pub struct ScratchOptions {
    /// Goes on from a checkpoint, if there is one.
    pub resume: bool,
    /// Leaves a checkpoint behind when the evaluation fails or is interrupted.
    pub keep: bool,
    /// Writes checkpoints this often, whatever that takes.
    pub interval: Option<Duration>,
}

/// A scratch folder that belongs to this process.
pub struct ScratchFolder {
    path: PathBuf,
    options: ScratchOptions,
    identity: Identity,
    budget: Budget,
    schedule: Option<Digest>,
    /// Bytes of pieces that the schedule keeps here at most.
    reserved: u64,
    /// There from the first file on.
    open: Option<(TemporaryFolder, File)>,
    block: usize,
    /// Of the present block, by unit.
    pieces: BTreeMap<usize, Stored>,
    finished: Vec<Digest>,
    /// Files of which only the checkpoint on the disk has need.
    superseded: Vec<(PathBuf, u64)>,
    used: u64,
    begun: Instant,
    last_checkpoint: Instant,
    /// Bytes that checkpoints made durable, and the time that took.
    checkpoints: (u64, Duration),
    /// What a run before this one left.
    left: Option<Checkpoint>,
    /// Why there are no checkpoints any more.
    given_up: Option<String>,
    /// Whether the evaluation is still wanted.
    stop: Option<Arc<Stop>>,
}

#[derive(Clone, Copy)]
struct Stored {
    digest: Digest,
    bytes: u64,
    /// Whether the checkpoint on the disk names it; it is durable then.
    named: bool,
}

impl ScratchFolder {
    /// A scratch folder in `folder` for an evaluation, made when something is written. One that is there is taken over: its checkpoint
    /// is read if it is to be gone on from, else its files are removed.
    ///
    /// # Errors
    /// [`Error::Busy`] while another process evaluates the same request there, [`Error::File`] where a checkpoint that is to be
    /// gone on from cannot be read, [`Error::Checkpoint`] where it is of another evaluation.
    pub fn new(
        folder: &Path,
        identity: Identity,
        budget: Budget,
        options: ScratchOptions,
    ) -> Result<Self, Error> {
        let mut scratch = Self {
            path: folder.join(identity.folder_name()),
            options,
            identity,
            budget,
            schedule: None,
            reserved: 0,
            open: None,
            block: 0,
            pieces: BTreeMap::new(),
            finished: Vec::new(),
            superseded: Vec::new(),
            used: 0,
            begun: Instant::now(),
            last_checkpoint: Instant::now(),
            checkpoints: (0, Duration::ZERO),
            left: None,
            given_up: None,
            stop: None,
        };
        if scratch.path.exists() {
            scratch.open()?;
            let checkpoint = scratch.path.join(CHECKPOINT);
            if options.resume && checkpoint.exists() {
                let found = read_checkpoint(&checkpoint)?;
                if found.identity != identity {
                    return Err(Error::Checkpoint {
                        path: checkpoint,
                        differs: "plan or request",
                    });
                }
                scratch.budget.memory_bytes = found.memory_bytes;
                scratch.budget.scratch_bytes = found.scratch_bytes;
                scratch.left = Some(found);
            } else {
                scratch.remove_files(|_| true)?;
            }
        }
        Ok(scratch)
    }

    /// Ends the evaluation with [`RuntimeError::Stopped`] once `stop` says so.
    pub fn set_stop(&mut self, stop: Arc<Stop>) {
        self.stop = Some(stop);
    }

    /// What to fail with, if the evaluation is to end.
    fn stopped(&self) -> Result<(), RuntimeError> {
        match &self.stop {
            Some(stop) if stop.is_asked() => Err(RuntimeError::Stopped),
            _ => Ok(()),
        }
    }

    /// What the schedule is to be made for: what was asked for, or what the evaluation was begun with that is gone on with.
    pub fn budget(&self) -> Budget {
        self.budget
    }

    /// Says which schedule units belong to and what it keeps here at most.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] where the one to go on from is of another schedule; [`Error::Space`] where the disk has no room, and
    /// [`Error::File`] where the folder cannot be written to, if the schedule needs it.
    pub fn set_schedule(&mut self, schedule: Option<Digest>, reserved: u64) -> Result<(), Error> {
        if self
            .left
            .as_ref()
            .is_some_and(|left| left.schedule != schedule)
        {
            return Err(Error::Checkpoint {
                path: self.path.join(CHECKPOINT),
                differs: "schedule (it is of another version of this program)",
            });
        }
        (self.schedule, self.reserved) = (schedule, reserved);
        if reserved > 0 {
            self.open()?;
            if let Some(free) = free_bytes(&self.path)
                && free + self.used_before() < reserved
            {
                return Err(Error::Space {
                    path: self.path.clone(),
                    needed: reserved,
                    free,
                });
            }
        }
        Ok(())
    }

    /// What files here take already.
    fn used_before(&self) -> u64 {
        let files = self.files().unwrap_or_default();
        let sizes = files.iter().filter_map(|file| fs::metadata(file).ok());
        sizes.map(|found| found.len()).sum()
    }

    /// How much was done by the run before: blocks, and units of the next one.
    pub fn done_before(&self) -> Option<(usize, usize)> {
        let left = self.left.as_ref()?;
        Some((left.finished.len(), left.units))
    }

    /// Why there are no checkpoints any more, if so.
    pub fn given_up(&self) -> Option<&str> {
        self.given_up.as_deref()
    }

    /// Removes the folder: the evaluation is done.
    pub fn finish(mut self) {
        self.options.keep = false;
    }

    fn open(&mut self) -> Result<(), Error> {
        if self.open.is_some() {
            return Ok(());
        }
        let folder = TemporaryFolder::create(&self.path, self.options.keep)?;
        let path = self.path.join(LOCK);
        let failed = |action, error| FileError::io(&path, action, error);
        let lock = File::create(&path).map_err(|error| failed("create", error))?;
        let start = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if start.elapsed() < PATIENCE => {
                    std::thread::sleep(PATIENCE / 50);
                }
                Err(TryLockError::WouldBlock) => {
                    folder.keep();
                    return Err(Error::Busy {
                        path: self.path.clone(),
                    });
                }
                Err(TryLockError::Error(error)) => return Err(failed("lock", error).into()),
            }
        }
        self.open = Some((folder, lock));
        Ok(())
    }

    /// Our files in the folder.
    fn files(&self) -> Result<Vec<PathBuf>, FileError> {
        let failed = |error| FileError::io(&self.path, "list", error);
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let block = name.strip_prefix('b');
            let piece = block.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
            if piece || name == CHECKPOINT || name.ends_with(container::TEMPORARY_SUFFIX) {
                files.push(path);
            }
        }
        Ok(files)
    }

    fn remove_files(&self, unwanted: impl Fn(&Path) -> bool) -> Result<(), FileError> {
        self.files()?
            .iter()
            .filter(|path| unwanted(path))
            .try_for_each(|path| remove(path))
    }

    fn piece_path(&self, block: usize, unit: usize) -> PathBuf {
        self.path.join(format!("b{block}-u{unit}"))
    }

    fn reply_path(&self, block: usize) -> PathBuf {
        self.path.join(format!("b{block}-reply"))
    }

    /// Makes room for a piece that has to be kept, if need be at the price of the checkpoint.
    fn make_room(&mut self, bytes: u64) -> Result<(), FileError> {
        if self.used + bytes > self.budget.scratch_bytes && !self.superseded.is_empty() {
            remove(&self.path.join(CHECKPOINT))?;
            self.pieces
                .values_mut()
                .for_each(|piece| piece.named = false);
            self.remove_superseded()?;
        }
        Ok(())
    }

    fn remove_superseded(&mut self) -> Result<(), FileError> {
        for (path, bytes) in std::mem::take(&mut self.superseded) {
            remove(&path)?;
            self.used -= bytes;
        }
        Ok(())
    }

    /// Whether a checkpoint is due that makes so many more bytes durable.
    fn is_due(&self, bytes: u64) -> bool {
        if self.stop.as_ref().is_some_and(|stop| stop.is_asked()) {
            return true;
        }
        let since = self.last_checkpoint.elapsed();
        if let Some(interval) = self.options.interval {
            return since >= interval;
        }
        let (written, time) = self.checkpoints;
        let rate = if written > 0 {
            written as f64 / time.as_secs_f64()
        } else {
            ASSUMED_RATE
        };
        // All of them together stay within their share, however wrong the expectation is once.
        let spent = time.as_secs_f64() + bytes as f64 / rate;
        since >= LEAST_INTERVAL && spent < CHECKPOINT_SHARE * self.begun.elapsed().as_secs_f64()
    }

    /// Bytes of pieces here that no checkpoint has made durable.
    fn volatile_bytes(&self) -> u64 {
        let volatile = self.pieces.values().filter(|piece| !piece.named);
        volatile.map(|piece| piece.bytes).sum()
    }

    /// Writes down where the evaluation is; everything named is on the disk.
    fn write_checkpoint(&mut self, units: usize) -> Result<(), FileError> {
        let last_reply = (units == 0).then(|| self.reply_path(self.block));
        let volatile = self.pieces.iter().filter(|(_, piece)| !piece.named);
        let volatile = volatile.map(|(&unit, _)| self.piece_path(self.block, unit));
        for path in volatile.chain(last_reply) {
            let file = File::open(&path).and_then(|file| file.sync_all());
            file.map_err(|error| FileError::io(&path, "write", error))?;
        }
        let digests = self
            .pieces
            .iter()
            .map(|(&unit, stored)| (unit, stored.digest));
        let checkpoint = Checkpoint {
            identity: self.identity,
            schedule: self.schedule,
            memory_bytes: self.budget.memory_bytes,
            scratch_bytes: self.budget.scratch_bytes,
            finished: self.finished.clone(),
            units,
            pieces: digests.collect(),
        };
        container::write_file(
            self.path.join(CHECKPOINT),
            Kind::Checkpoint,
            &checkpoint,
            &[],
            Overwrite::Replace,
            Access::Shared,
        )?;
        self.pieces
            .values_mut()
            .for_each(|piece| piece.named = true);
        self.remove_superseded()?;
        self.last_checkpoint = Instant::now();
        Ok(())
    }

    /// [`open`](Self::open) while the evaluation runs: the folder may not be there yet.
    fn open_for_checkpoint(&mut self) -> Result<(), FileError> {
        self.open().map_err(|error| match error {
            Error::File(error) => error,
            other => FileError::io(&self.path, "use", std::io::Error::other(other)),
        })
    }

    fn try_checkpoint(
        &mut self,
        units: usize,
        in_memory: &[(usize, &Ciphertexts)],
    ) -> Result<(), RuntimeError> {
        self.open_for_checkpoint()?;
        for &(unit, piece) in in_memory {
            self.keep_piece(unit, piece)?;
        }
        Ok(self.write_checkpoint(units)?)
    }

    fn keep_piece(&mut self, unit: usize, piece: &Ciphertexts) -> Result<(), RuntimeError> {
        if self.pieces.contains_key(&unit) {
            return Ok(());
        }
        let bytes = piece.size_bytes() as u64;
        let digest = write_piece(&self.piece_path(self.block, unit), piece)?;
        let named = false;
        self.pieces.insert(
            unit,
            Stored {
                digest,
                bytes,
                named,
            },
        );
        self.used += bytes;
        Ok(())
    }

    /// A checkpoint is a service: where it cannot be written, there is none, and the evaluation goes on.
    fn checkpoint(&mut self, units: usize, in_memory: &[(usize, &Ciphertexts)]) {
        let start = Instant::now();
        let bytes = self.volatile_bytes() + self.new_bytes(in_memory);
        if let Err(error) = self.try_checkpoint(units, in_memory) {
            self.given_up = Some(error.to_string());
        }
        self.checkpoints.0 += bytes;
        self.checkpoints.1 += start.elapsed();
    }

    /// Bytes of pieces in memory that are not here.
    fn new_bytes(&self, in_memory: &[(usize, &Ciphertexts)]) -> u64 {
        let new = in_memory
            .iter()
            .filter(|(unit, _)| !self.pieces.contains_key(unit));
        new.map(|(_, piece)| piece.size_bytes() as u64).sum()
    }

    /// Gives memory back where what is lost between pieces would pass the limit.
    fn stay_within_memory(&self) {
        if let Some(limit) = self.budget.memory_bytes
            && memory::resident_bytes().is_some_and(|resident| resident > limit / 100 * 97)
        {
            sordino_ring::allocator::give_back();
        }
    }
}

impl Scratch for ScratchFolder {
    fn begin_block(&mut self, context: &Context, block: usize) -> Result<BlockState, RuntimeError> {
        self.block = block;
        self.stopped()?;
        let Some(left) = &mut self.left else {
            return Ok(BlockState::New);
        };
        if let Some(&digest) = left.finished.get(block) {
            let reply = read_piece(&self.reply_path(block), context, digest)?;
            self.finished.push(digest);
            return Ok(BlockState::Finished(reply));
        }
        let (units, pieces) = (left.units, std::mem::take(&mut left.pieces));
        let finished = left.finished.len();
        self.left = None;
        self.last_checkpoint = Instant::now();
        let mut wanted: BTreeSet<PathBuf> = (0..finished).map(|b| self.reply_path(b)).collect();
        wanted.insert(self.path.join(CHECKPOINT));
        for (unit, digest) in pieces {
            let path = self.piece_path(block, unit);
            let found =
                fs::metadata(&path).map_err(|error| FileError::io(&path, "look up", error))?;
            let bytes = found.len();
            self.used += bytes;
            let named = true;
            self.pieces.insert(
                unit,
                Stored {
                    digest,
                    bytes,
                    named,
                },
            );
            wanted.insert(path);
        }
        // What was written after the checkpoint.
        self.remove_files(|path| !wanted.contains(path))?;
        Ok(match units {
            0 => BlockState::New,
            units => BlockState::Units(units),
        })
    }

    fn store(&mut self, unit: usize, piece: &Ciphertexts) -> Result<(), RuntimeError> {
        self.make_room(piece.size_bytes() as u64)?;
        self.keep_piece(unit, piece)
    }

    fn load(&mut self, context: &Context, unit: usize) -> Result<Ciphertexts, RuntimeError> {
        let path = self.piece_path(self.block, unit);
        let missing = || FileError::io(&path, "find", std::io::ErrorKind::NotFound.into());
        let stored = self.pieces.get(&unit).ok_or_else(missing)?;
        read_piece(&path, context, stored.digest)
    }

    fn free(&mut self, units: &[usize]) -> Result<(), RuntimeError> {
        for unit in units {
            if let Some(Stored { bytes, named, .. }) = self.pieces.remove(unit) {
                let path = self.piece_path(self.block, *unit);
                if named {
                    self.superseded.push((path, bytes));
                } else {
                    remove(&path)?;
                    self.used -= bytes;
                }
            }
        }
        Ok(())
    }

    fn units_done(
        &mut self,
        units: usize,
        in_memory: &[(usize, &Ciphertexts)],
    ) -> Result<(), RuntimeError> {
        self.stay_within_memory();
        if self.given_up.is_some() || self.stop.as_ref().is_some_and(|stop| stop.is_urgent()) {
            return self.stopped();
        }
        let bytes = self.new_bytes(in_memory);
        // Whatever is written until the next one, there is room for what the schedule keeps here.
        let fits = self.used + bytes + self.reserved <= self.budget.scratch_bytes;
        if fits && self.is_due(bytes + self.volatile_bytes()) {
            self.checkpoint(units, in_memory);
        }
        self.stopped()
    }

    fn end_block(&mut self, result: &Ciphertexts) -> Result<(), RuntimeError> {
        // What a checkpoint before the last unit had stored.
        let pieces: Vec<usize> = self.pieces.keys().copied().collect();
        self.free(&pieces)?;
        let due = self.open.is_some() || self.is_due(result.size_bytes() as u64);
        if due && self.given_up.is_none() {
            let digest = self
                .open_for_checkpoint()
                .and_then(|()| write_piece(&self.reply_path(self.block), result));
            match digest {
                Ok(digest) if self.finished.len() == self.block => {
                    self.finished.push(digest);
                    self.checkpoint(0, &[]);
                }
                // A block before it was not kept.
                Ok(_) => {}
                Err(error) => self.given_up = Some(error.to_string()),
            }
        }
        self.stopped()
    }
}

impl Drop for ScratchFolder {
    fn drop(&mut self) {
        if let Some((folder, _)) = self.open.take()
            && self.options.keep
            && self.path.join(CHECKPOINT).exists()
        {
            folder.keep();
        }
    }
}
