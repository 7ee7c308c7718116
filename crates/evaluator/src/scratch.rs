//! A folder for what has no room in memory, and for what a later run resumes from.
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
mod pieces;
mod policy;
mod stop;
mod worker;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sordino_ckks::{Ciphertexts, Context};
use sordino_container::{Digest, Error as FileError, LockedFolder, TemporaryFolder, memory};
use sordino_plan::Budget;
use sordino_runtime::{BlockState, Error as RuntimeError, Scratch};

use crate::{Error, free_bytes};
use files::{Checkpoint, read_piece, write_piece};
use pieces::Pieces;
use policy::CheckpointPolicy;
pub use stop::Stop;

/// How long to wait for the process before this one: one that was killed takes a while to give gigabytes back.
const PATIENCE: Duration = Duration::from_secs(5);

/// What an evaluation is of; two with the same identity give the same reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
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
#[derive(Clone, Debug, Default)]
pub(crate) struct ScratchOptions {
    /// Whether to resume from a checkpoint, if there is one.
    pub resume: bool,
    /// Whether to leave a checkpoint behind when the evaluation fails or is interrupted.
    pub keep: bool,
    /// Writes checkpoints this often, whatever that takes.
    pub interval: Option<Duration>,
    /// Ends the evaluation with [`RuntimeError::Stopped`] once it says so.
    pub stop: Option<Arc<Stop>>,
}

/// A scratch folder that belongs to this process.
pub(crate) struct ScratchFolder {
    options: ScratchOptions,
    identity: Identity,
    budget: Budget,
    schedule: Option<Digest>,
    /// Bytes of pieces that the schedule keeps here at most.
    reserved: u64,
    /// The folder, from the first file on: removed first, then unlocked.
    open: Option<(TemporaryFolder, LockedFolder)>,
    pieces: Pieces,
    /// Results of finished blocks.
    finished: Vec<Digest>,
    begun: Instant,
    policy: CheckpointPolicy,
    /// The checkpoint of an earlier run, until its block is begun.
    resumed: Option<Checkpoint>,
    /// Why no more checkpoints are written.
    given_up: Option<String>,
}

impl ScratchFolder {
    /// A scratch folder in `folder` for an evaluation, made when something is written. One that is there is taken over: its checkpoint
    /// is read if the evaluation resumes, else its files are removed.
    ///
    /// # Errors
    /// [`Error::Busy`] while another process evaluates the same request there, [`Error::File`] where a checkpoint to resume from
    /// cannot be read, [`Error::Checkpoint`] where it is of another evaluation.
    pub(crate) fn new(
        folder: &Path,
        identity: Identity,
        budget: Budget,
        options: ScratchOptions,
    ) -> Result<Self, Error> {
        let mut scratch = Self {
            policy: CheckpointPolicy::new(options.interval),
            options,
            identity,
            budget,
            schedule: None,
            reserved: 0,
            open: None,
            pieces: Pieces::new(folder.join(identity.folder_name())),
            finished: Vec::new(),
            begun: Instant::now(),
            resumed: None,
            given_up: None,
        };
        if !scratch.pieces.folder().exists() {
            return Ok(scratch);
        }
        scratch.open()?;
        let path = scratch.pieces.checkpoint_path();
        if !(scratch.options.resume && path.exists()) {
            scratch.pieces.remove_files(|_| true)?;
            return Ok(scratch);
        }
        let found = Checkpoint::read(&path)?;
        if found.identity != identity {
            let differs = "plan or request";
            return Err(Error::Checkpoint { path, differs });
        }
        scratch.budget.memory_bytes = found.memory_bytes;
        scratch.budget.scratch_bytes = found.scratch_bytes;
        scratch.resumed = Some(found);
        Ok(scratch)
    }

    /// The budget to schedule for: the requested one, or the checkpoint's when resuming.
    pub(crate) fn budget(&self) -> Budget {
        self.budget
    }

    /// Says which schedule units belong to and what it keeps here at most.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] where the one to resume from is of another schedule; [`Error::Space`] where the disk has no room, and
    /// [`Error::File`] where the folder cannot be written to, if the schedule needs it.
    pub(crate) fn set_schedule(
        &mut self,
        schedule: Option<Digest>,
        reserved: u64,
    ) -> Result<(), Error> {
        if self
            .resumed
            .as_ref()
            .is_some_and(|checkpoint| checkpoint.schedule != schedule)
        {
            return Err(Error::Checkpoint {
                path: self.pieces.checkpoint_path(),
                differs: "schedule (it is of another version of this program)",
            });
        }
        (self.schedule, self.reserved) = (schedule, reserved);
        self.pieces.limit_transfers(self.budget.transfer_bytes());
        if reserved > 0 {
            self.open()?;
            if let Some(free) = free_bytes(self.pieces.folder())
                && free + self.pieces.file_bytes() < reserved
            {
                return Err(Error::Space {
                    path: self.pieces.folder().to_owned(),
                    needed: reserved,
                    free,
                });
            }
        }
        Ok(())
    }

    /// How much the earlier run had done: blocks, and units of the next one.
    pub(crate) fn done_before(&self) -> Option<(usize, usize)> {
        let checkpoint = self.resumed.as_ref()?;
        Some((checkpoint.finished.len(), checkpoint.units))
    }

    /// Why no more checkpoints are written, if so.
    pub(crate) fn given_up(&self) -> Option<&str> {
        self.given_up.as_deref()
    }

    /// Removes the folder: the evaluation is done.
    pub(crate) fn finish(mut self) {
        self.options.keep = false;
    }

    fn open(&mut self) -> Result<(), Error> {
        if self.open.is_none() {
            let path = self.pieces.folder();
            let Some(lock) = LockedFolder::open(path, PATIENCE)? else {
                let path = path.to_owned();
                return Err(Error::Busy { path });
            };
            let folder = TemporaryFolder::create(path, self.options.keep)?;
            self.open = Some((folder, lock));
        }
        Ok(())
    }

    /// [`open`](Self::open) while the evaluation runs: the folder may not be there yet.
    fn open_for_checkpoint(&mut self) -> Result<(), FileError> {
        self.open().map_err(|error| match error {
            Error::File(error) => error,
            other => FileError::io(
                self.pieces.folder(),
                "use",
                std::io::Error::other(other.to_string()),
            ),
        })
    }

    /// What to fail with, if the evaluation is to end.
    fn stopped(&self) -> Result<(), RuntimeError> {
        match &self.options.stop {
            Some(stop) if stop.is_asked() => Err(RuntimeError::Stopped),
            _ => Ok(()),
        }
    }

    /// Whether a checkpoint is due that makes this many more bytes durable.
    fn is_due(&self, bytes: u64) -> bool {
        self.stopped().is_err() || self.policy.is_due(self.begun.elapsed(), bytes)
    }

    /// Writes down where the evaluation is; everything named is on the disk.
    fn write_checkpoint(
        &mut self,
        units: usize,
        in_memory: &[(usize, &Ciphertexts)],
    ) -> Result<(), RuntimeError> {
        self.open_for_checkpoint()?;
        for &(unit, piece) in in_memory {
            self.pieces.store(unit, piece)?;
        }
        let checkpoint = Checkpoint {
            identity: self.identity,
            schedule: self.schedule,
            memory_bytes: self.budget.memory_bytes,
            scratch_bytes: self.budget.scratch_bytes,
            finished: self.finished.clone(),
            units,
            pieces: self.pieces.sync(units == 0)?,
        };
        checkpoint.write(&self.pieces.checkpoint_path())?;
        self.pieces.checkpoint_written()?;
        self.policy.restart(self.begun.elapsed());
        Ok(())
    }

    /// Writes a checkpoint. Where it cannot be written, the evaluation continues without checkpoints.
    fn checkpoint(&mut self, units: usize, in_memory: &[(usize, &Ciphertexts)]) {
        let start = Instant::now();
        let bytes = self.pieces.volatile_bytes() + self.pieces.unstored_bytes(in_memory);
        if let Err(error) = self.write_checkpoint(units, in_memory) {
            self.given_up = Some(error.to_string());
        }
        self.policy.count(bytes, start.elapsed());
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
        self.pieces.begin_block(block);
        self.stopped()?;
        let Some(checkpoint) = &mut self.resumed else {
            return Ok(BlockState::New);
        };
        if let Some(&digest) = checkpoint.finished.get(block) {
            let reply = read_piece(&self.pieces.reply_path(block), context, digest)?;
            self.finished.push(digest);
            return Ok(BlockState::Finished(reply));
        }
        let (units, pieces) = (checkpoint.units, std::mem::take(&mut checkpoint.pieces));
        self.resumed = None;
        self.policy.restart(self.begun.elapsed());
        self.pieces.resume(pieces)?;
        Ok(match units {
            0 => BlockState::New,
            units => BlockState::Units(units),
        })
    }

    fn store(&mut self, unit: usize, piece: Ciphertexts) -> Result<(), RuntimeError> {
        let limit = self.budget.scratch_bytes;
        self.pieces.make_room(piece.size_bytes() as u64, limit)?;
        Ok(self.pieces.store_beside(unit, piece)?)
    }

    fn prefetch(&mut self, context: &Context, unit: usize) -> bool {
        self.pieces.read_beside(context, unit)
    }

    fn load(&mut self, context: &Context, unit: usize) -> Result<Ciphertexts, RuntimeError> {
        self.pieces.load(context, unit)
    }

    fn free(&mut self, units: &[usize]) -> Result<(), RuntimeError> {
        Ok(self.pieces.free(units)?)
    }

    fn units_done(
        &mut self,
        units: usize,
        in_memory: &[(usize, &Ciphertexts)],
    ) -> Result<(), RuntimeError> {
        self.stay_within_memory();
        let urgent = self.options.stop.as_ref();
        if self.given_up.is_some() || urgent.is_some_and(|stop| stop.is_urgent()) {
            return self.stopped();
        }
        let bytes = self.pieces.unstored_bytes(in_memory);
        let limit = self.budget.scratch_bytes;
        if policy::fits(self.pieces.used(), bytes, self.reserved, limit)
            && self.is_due(bytes + self.pieces.volatile_bytes())
        {
            self.checkpoint(units, in_memory);
        }
        self.stopped()
    }

    fn end_block(&mut self, result: &Ciphertexts) -> Result<(), RuntimeError> {
        // What a checkpoint before the last unit had stored.
        self.pieces.free_all()?;
        let due = self.open.is_some() || self.is_due(result.size_bytes() as u64);
        if due && self.given_up.is_none() {
            let block = self.pieces.block();
            let digest = self
                .open_for_checkpoint()
                .and_then(|()| write_piece(&self.pieces.reply_path(block), result));
            match digest {
                Ok(digest) if self.finished.len() == block => {
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
        self.pieces.finish();
        if let Some((folder, lock)) = self.open.take() {
            if self.options.keep && self.pieces.checkpoint_path().exists() {
                folder.keep();
            } else {
                drop(folder);
            }
            drop(lock);
        }
    }
}
