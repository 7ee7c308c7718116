//! The pieces of an evaluation as files of a folder.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use sordino_ckks::{Ciphertexts, Context};
use sordino_container::{Digest, Error as FileError, TEMPORARY_SUFFIX, file_bytes, remove_file};
use sordino_runtime::Error as RuntimeError;

use super::files::{read_piece, write_piece};
use super::worker::{Pending, Worker};

/// The name of the file that says what is done.
const CHECKPOINT: &str = "checkpoint";

/// A piece that is in the folder.
#[derive(Clone, Copy, Debug)]
struct Stored {
    digest: Digest,
    bytes: u64,
    /// Whether the checkpoint on the disk names it; it is durable then.
    named: bool,
}

/// A piece on its way into the folder.
#[derive(Debug)]
struct Written {
    unit: usize,
    bytes: u64,
    digest: Pending<Result<Digest, FileError>>,
}

/// A piece on its way back.
#[derive(Debug)]
struct Read {
    bytes: u64,
    piece: Pending<Result<Ciphertexts, RuntimeError>>,
}

/// The pieces of one block, and the results of those before it.
#[derive(Debug)]
pub(super) struct Pieces {
    folder: PathBuf,
    block: usize,
    /// By unit.
    stored: BTreeMap<usize, Stored>,
    /// Files that only the checkpoint on the disk needs.
    superseded: Vec<(PathBuf, u64)>,
    /// Bytes of all pieces, the superseded ones and those on their way here among them.
    used: u64,
    /// Most bytes in memory on the way here, and as many on the way back.
    transfer_bytes: u64,
    /// On the way here, first begun first.
    written: VecDeque<Written>,
    /// On the way back, by unit.
    read: BTreeMap<usize, Read>,
    writer: Worker,
    reader: Worker,
}

impl Pieces {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            block: 0,
            stored: BTreeMap::new(),
            superseded: Vec::new(),
            used: 0,
            transfer_bytes: 0,
            written: VecDeque::new(),
            read: BTreeMap::new(),
            writer: Worker::default(),
            reader: Worker::default(),
        }
    }

    /// Most bytes in memory on the way here, and as many on the way back.
    pub(super) fn limit_transfers(&mut self, bytes: u64) {
        self.transfer_bytes = bytes;
    }

    /// Waits for what is on the way; nothing reads or writes the folder then.
    pub(super) fn finish(&mut self) {
        // Whoever needed the pieces has failed already.
        let _ = self.settle(0);
        self.written.clear();
        self.read.clear();
        (self.writer, self.reader) = Default::default();
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn block(&self) -> usize {
        self.block
    }

    pub(super) fn begin_block(&mut self, block: usize) {
        self.block = block;
    }

    pub(super) fn used(&self) -> u64 {
        self.used
    }

    pub(super) fn checkpoint_path(&self) -> PathBuf {
        self.folder.join(CHECKPOINT)
    }

    pub(super) fn reply_path(&self, block: usize) -> PathBuf {
        self.folder.join(format!("b{block}-reply"))
    }

    fn path(&self, unit: usize) -> PathBuf {
        self.folder.join(format!("b{}-u{unit}", self.block))
    }

    fn is_here(&self, unit: usize) -> bool {
        let mut written = self.written.iter();
        self.stored.contains_key(&unit) || written.any(|written| written.unit == unit)
    }

    /// Writes a piece, unless it is here.
    pub(super) fn store(&mut self, unit: usize, piece: &Ciphertexts) -> Result<(), FileError> {
        if !self.is_here(unit) {
            let digest = write_piece(&self.path(unit), piece)?;
            self.used += piece.size_bytes() as u64;
            self.insert(unit, digest, piece.size_bytes() as u64, false);
        }
        Ok(())
    }

    /// Takes a piece to write it beside the evaluation, unless it is here. Waits while too much is on the way.
    pub(super) fn store_beside(
        &mut self,
        unit: usize,
        piece: Ciphertexts,
    ) -> Result<(), FileError> {
        if self.is_here(unit) {
            return Ok(());
        }
        let bytes = piece.size_bytes() as u64;
        self.settle(self.transfer_bytes.saturating_sub(bytes))?;
        let path = self.path(unit);
        let digest = self.writer.start(move || write_piece(&path, &piece));
        self.used += bytes;
        self.written.push_back(Written {
            unit,
            bytes,
            digest,
        });
        match bytes > self.transfer_bytes {
            true => self.settle(0),
            false => Ok(()),
        }
    }

    /// Takes note of what has been written, and waits until at most so many bytes are on the way.
    pub(super) fn settle(&mut self, most: u64) -> Result<(), FileError> {
        let mut on_the_way: u64 = self.written.iter().map(|written| written.bytes).sum();
        while let Some(Written {
            unit,
            bytes,
            digest,
        }) = self.written.pop_front()
        {
            let digest = match digest.ready() {
                Ok(digest) => digest,
                Err(pending) if on_the_way > most => pending.wait(),
                Err(digest) => {
                    let back = Written {
                        unit,
                        bytes,
                        digest,
                    };
                    self.written.push_front(back);
                    break;
                }
            };
            on_the_way -= bytes;
            self.insert(unit, digest?, bytes, false);
        }
        Ok(())
    }

    /// Begins to read a piece, if it is here. Returns whether there is room for more.
    pub(super) fn read_beside(&mut self, context: &Context, unit: usize) -> bool {
        let Some(&Stored { digest, bytes, .. }) = self.stored.get(&unit) else {
            return true;
        };
        if self.read.contains_key(&unit) {
            return true;
        }
        let on_the_way: u64 = self.read.values().map(|read| read.bytes).sum();
        if on_the_way + bytes > self.transfer_bytes {
            return false;
        }
        let (path, context) = (self.path(unit), context.clone());
        let piece = self
            .reader
            .start(move || read_piece(&path, &context, digest));
        self.read.insert(unit, Read { bytes, piece });
        true
    }

    fn insert(&mut self, unit: usize, digest: Digest, bytes: u64, named: bool) {
        let stored = Stored {
            digest,
            bytes,
            named,
        };
        self.stored.insert(unit, stored);
    }

    pub(super) fn load(
        &mut self,
        context: &Context,
        unit: usize,
    ) -> Result<Ciphertexts, RuntimeError> {
        if let Some(Read { piece, .. }) = self.read.remove(&unit) {
            return piece.wait();
        }
        if !self.stored.contains_key(&unit) {
            self.settle(0)?;
        }
        let path = self.path(unit);
        let missing = || FileError::io(&path, "find", std::io::ErrorKind::NotFound.into());
        let stored = self.stored.get(&unit).ok_or_else(missing)?;
        read_piece(&path, context, stored.digest)
    }

    /// Removes pieces, but for those that the checkpoint on the disk names.
    pub(super) fn free(&mut self, units: &[usize]) -> Result<(), FileError> {
        if units
            .iter()
            .any(|unit| !self.stored.contains_key(unit) && self.is_here(*unit))
        {
            self.settle(0)?;
        }
        for &unit in units {
            if let Some(Stored { bytes, named, .. }) = self.stored.remove(&unit) {
                let path = self.path(unit);
                if named {
                    self.superseded.push((path, bytes));
                } else {
                    remove_file(&path)?;
                    self.used -= bytes;
                }
            }
        }
        Ok(())
    }

    /// [`free`](Self::free) of every piece of the block.
    pub(super) fn free_all(&mut self) -> Result<(), FileError> {
        self.settle(0)?;
        let units: Vec<usize> = self.stored.keys().copied().collect();
        self.free(&units)
    }

    /// Makes room for a piece that has to be kept, if need be at the price of the checkpoint.
    pub(super) fn make_room(&mut self, bytes: u64, limit: u64) -> Result<(), FileError> {
        if self.used + bytes > limit && !self.superseded.is_empty() {
            remove_file(self.checkpoint_path())?;
            self.set_named(false);
            self.remove_superseded()?;
        }
        Ok(())
    }

    fn set_named(&mut self, named: bool) {
        self.stored
            .values_mut()
            .for_each(|piece| piece.named = named);
    }

    fn remove_superseded(&mut self) -> Result<(), FileError> {
        for (path, bytes) in std::mem::take(&mut self.superseded) {
            remove_file(&path)?;
            self.used -= bytes;
        }
        Ok(())
    }

    /// Bytes that a checkpoint would have to write: of those pieces that are in memory only.
    pub(super) fn unstored_bytes(&self, in_memory: &[(usize, &Ciphertexts)]) -> u64 {
        let unstored = in_memory.iter().filter(|(unit, _)| !self.is_here(*unit));
        unstored.map(|(_, piece)| piece.size_bytes() as u64).sum()
    }

    fn volatile(&self) -> impl Iterator<Item = (usize, Stored)> {
        let stored = self.stored.iter().map(|(&unit, &stored)| (unit, stored));
        stored.filter(|(_, stored)| !stored.named)
    }

    /// Bytes of pieces here, and on their way, that no checkpoint has made durable.
    pub(super) fn volatile_bytes(&self) -> u64 {
        let written = self.written.iter().map(|written| written.bytes);
        let stored = self.volatile().map(|(_, stored)| stored.bytes);
        stored.chain(written).sum()
    }

    /// Waits until every piece, and the result of the block if it is `done`, is on the disk; returns the digests by unit.
    pub(super) fn sync(&mut self, done: bool) -> Result<BTreeMap<usize, Digest>, FileError> {
        self.settle(0)?;
        let pieces = self.volatile().map(|(unit, _)| self.path(unit));
        for path in pieces.chain(done.then(|| self.reply_path(self.block))) {
            let file = File::open(&path).and_then(|file| file.sync_all());
            file.map_err(|error| FileError::io(&path, "write", error))?;
        }
        let digests = self.stored.iter();
        Ok(digests
            .map(|(&unit, stored)| (unit, stored.digest))
            .collect())
    }

    /// A checkpoint that names every piece here has taken the place of the one before it.
    pub(super) fn checkpoint_written(&mut self) -> Result<(), FileError> {
        self.set_named(true);
        self.remove_superseded()
    }

    /// Takes over the pieces of a block that a checkpoint names, and removes what was written after it.
    pub(super) fn resume(&mut self, pieces: BTreeMap<usize, Digest>) -> Result<(), FileError> {
        let mut wanted: Vec<PathBuf> = (0..self.block).map(|b| self.reply_path(b)).collect();
        wanted.push(self.checkpoint_path());
        for (unit, digest) in pieces {
            let path = self.path(unit);
            let missing = || FileError::io(&path, "find", std::io::ErrorKind::NotFound.into());
            let bytes = file_bytes(&path)?.ok_or_else(missing)?;
            self.used += bytes;
            self.insert(unit, digest, bytes, true);
            wanted.push(path);
        }
        self.remove_files(|path| !wanted.iter().any(|wanted| wanted == path))
    }

    /// The files of evaluations in the folder.
    fn files(&self) -> Result<Vec<PathBuf>, FileError> {
        let failed = |error| FileError::io(&self.folder, "list", error);
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let block = name.strip_prefix('b');
            let piece = block.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
            if piece || name == CHECKPOINT || name.ends_with(TEMPORARY_SUFFIX) {
                files.push(path);
            }
        }
        Ok(files)
    }

    /// Bytes that the files of evaluations in the folder take.
    pub(super) fn file_bytes(&self) -> u64 {
        let files = self.files().unwrap_or_default();
        let sizes = files.iter().filter_map(|file| fs::metadata(file).ok());
        sizes.map(|found| found.len()).sum()
    }

    /// Removes the files of evaluations that are not wanted.
    pub(super) fn remove_files(&self, unwanted: impl Fn(&Path) -> bool) -> Result<(), FileError> {
        self.files()?
            .iter()
            .filter(|path| unwanted(path))
            .try_for_each(remove_file)
    }
}
