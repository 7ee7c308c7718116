//! Files that appear under their final name only when they are complete.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use tempfile::NamedTempFile;

use crate::Error;
use crate::uncached::PageWriter;

/// How the name of every temporary file ends.
pub const TEMPORARY_SUFFIX: &str = ".tmp-sordino";

/// Whether a file may take the place of an older one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overwrite {
    /// An existing file is an error, also one that appears while we write.
    Refuse,
    /// An existing regular file is replaced in one step.
    Replace,
}

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// As the process's umask says.
    Shared,
    /// Only the owner (mode 0600 on Unix), from the moment the file is created.
    OwnerOnly,
}

// The temporary files of running writers, and temporary folders. The lock is held while one is created, named or
// removed, so that `remove_unfinished` sees each of them either in the list or not on the disk.
static UNFINISHED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn unfinished() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    // A set of paths is in order even if a holder panicked.
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Deletes the temporary files of all writers of this process, and its temporary folders, for an interrupt handler that
/// exits next.
///
/// A writer that is still running keeps its open file and fails at its commit.
pub fn remove_unfinished() {
    remove_all(&mut unfinished());
}

/// [`remove_unfinished`] for a thread that cannot wait for another: files stay behind where one is just being started or finished.
pub fn remove_unfinished_now() {
    match UNFINISHED.try_lock() {
        Ok(mut paths) => remove_all(&mut paths),
        Err(TryLockError::Poisoned(paths)) => remove_all(&mut paths.into_inner()),
        Err(TryLockError::WouldBlock) => {}
    }
}

fn remove_all(paths: &mut BTreeSet<PathBuf>) {
    for path in paths.iter() {
        // The process ends, so a failure cannot be reported; the name says what the file is.
        let _ = if path.is_dir() {
            fs::remove_dir_all(path)
        } else {
            fs::remove_file(path)
        };
    }
    paths.clear();
}

/// A file that is written under a temporary name in its final folder and takes its name at [`commit`](Self::commit).
///
/// Dropped without a commit it is removed. Writes are buffered.
#[derive(Debug)]
pub struct AtomicFile {
    // None only after commit or drop have taken it.
    writer: Option<BufWriter<PageWriter<NamedTempFile>>>,
    target: PathBuf,
    overwrite: Overwrite,
}

impl AtomicFile {
    /// Starts a file that will be called `path`; its folder must exist.
    ///
    /// # Errors
    /// [`Error::Exists`] where `path` is there and may not be replaced, [`Error::NotAFile`] where it is a
    /// folder, device or pipe, [`Error::Io`] where the folder cannot be written to.
    pub fn create(
        path: impl AsRef<Path>,
        overwrite: Overwrite,
        access: Access,
    ) -> Result<Self, Error> {
        let target = path.as_ref().to_path_buf();
        let name = target.file_name().ok_or_else(|| Error::NotAFile {
            path: target.clone(),
        })?;
        // Told now, since the work that fills the file may be long; the commit checks again.
        match fs::symlink_metadata(&target) {
            Ok(_) if overwrite == Overwrite::Refuse => return Err(Error::Exists { path: target }),
            Ok(found) if !(found.is_file() || found.is_symlink()) => {
                return Err(Error::NotAFile { path: target });
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io(target, "look up", error)),
        }
        let folder = match target.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let mut prefix = std::ffi::OsString::from(".");
        // A long name with more added to it could pass the file system's limit.
        let name = name.to_string_lossy();
        prefix.push(name.chars().take(40).collect::<String>());
        prefix.push(".");
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(TEMPORARY_SUFFIX);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = match access {
                Access::Shared => 0o666,
                Access::OwnerOnly => 0o600,
            };
            builder.permissions(fs::Permissions::from_mode(mode));
        }
        #[cfg(not(unix))]
        let _ = access;
        let mut paths = unfinished();
        let file = builder
            .tempfile_in(folder)
            .map_err(|error| Error::io(&target, "create", error))?;
        paths.insert(file.path().to_path_buf());
        drop(paths);
        // Content for the owner alone passes through no buffer, in which a copy would stay behind.
        let buffer_bytes = match access {
            Access::Shared => 1 << 18,
            Access::OwnerOnly => 0,
        };
        Ok(Self {
            writer: Some(BufWriter::with_capacity(
                buffer_bytes,
                PageWriter::new(file),
            )),
            target,
            overwrite,
        })
    }

    /// Writes past the system's cache, where the system can; for content that is larger than it. Nothing was written before.
    pub(crate) fn uncached(&mut self) {
        self.writer().get_mut().uncached();
    }

    /// The final path.
    pub fn path(&self) -> &Path {
        &self.target
    }

    fn writer(&mut self) -> &mut BufWriter<PageWriter<NamedTempFile>> {
        self.writer
            .as_mut()
            .expect("only commit and drop take the writer")
    }

    /// Writes everything to the disk and gives the file its name in one step.
    ///
    /// # Errors
    /// [`Error::Io`] where that fails, such as for a full disk, [`Error::Exists`] where the name was taken
    /// since and may not be replaced. In both cases nothing is left behind.
    pub fn commit(self) -> Result<(), Error> {
        self.commit_with(true)
    }

    /// [`commit`](Self::commit) that leaves it to the system when the content reaches the disk: if the process ends,
    /// nothing is lost; after a power cut the file may be there with another content.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub fn commit_unsynced(self) -> Result<(), Error> {
        self.commit_with(false)
    }

    fn commit_with(mut self, sync: bool) -> Result<(), Error> {
        let target = self.target.clone();
        self.writer()
            .flush()
            .map_err(|error| Error::io(&target, "write", error))?;
        if sync {
            let file = self.writer().get_ref().file.as_file();
            file.sync_all()
                .map_err(|error| Error::io(&target, "write", error))?;
        }
        let file = self
            .writer
            .take()
            .expect("commit runs once")
            .into_parts()
            .0
            .file;
        let temporary = file.path().to_path_buf();
        let mut paths = unfinished();
        let outcome = match self.overwrite {
            Overwrite::Replace => file.persist(&target),
            Overwrite::Refuse => file.persist_noclobber(&target),
        };
        // On failure the temporary file goes with `outcome`, still under the lock.
        let outcome = outcome.map(drop).map_err(|failed| failed.error);
        paths.remove(&temporary);
        drop(paths);
        match outcome {
            Ok(()) => {
                if sync {
                    sync_folder(&target);
                }
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(Error::Exists { path: target })
            }
            Err(error) => Err(Error::io(target, "rename the finished file", error)),
        }
    }
}

/// Checks before long work that a file can be written later: it does not exist or may be replaced, and its folder can be
/// written to.
///
/// # Errors
/// As [`AtomicFile::create`].
pub fn check_writable(path: &Path, overwrite: Overwrite, access: Access) -> Result<(), Error> {
    AtomicFile::create(path, overwrite, access).map(drop)
}

/// Writes a whole file in one step.
///
/// # Errors
/// As [`AtomicFile::create`] and [`AtomicFile::commit`].
pub fn write_atomic(
    path: &Path,
    bytes: impl AsRef<[u8]>,
    overwrite: Overwrite,
    access: Access,
) -> Result<(), Error> {
    let mut file = AtomicFile::create(path, overwrite, access)?;
    file.write_all(bytes.as_ref())
        .map_err(|error| Error::io(path, "write", error))?;
    file.commit()
}

/// A folder that is removed with its content when this is dropped, and when the process is interrupted.
#[derive(Debug)]
pub struct TemporaryFolder {
    path: PathBuf,
    kept: bool,
}

impl TemporaryFolder {
    /// A new folder inside `folder`, or inside the system's folder for temporary files.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn unique(folder: Option<&Path>) -> Result<Self, Error> {
        let folder = folder.map_or_else(std::env::temp_dir, Path::to_path_buf);
        let mut paths = unfinished();
        let made = tempfile::Builder::new()
            .prefix("sordino-")
            .tempdir_in(&folder);
        let path = made
            .map_err(|error| Error::io(&folder, "make a folder in", error))?
            .keep();
        paths.insert(path.clone());
        Ok(Self { path, kept: false })
    }

    /// The folder `path`, which may be there already; an interrupt removes it unless it `survives_interrupts`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn create(path: impl Into<PathBuf>, survives_interrupts: bool) -> Result<Self, Error> {
        let path = path.into();
        let mut paths = unfinished();
        match fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(Error::io(&path, "create", error));
            }
            _ => {}
        }
        if !survives_interrupts {
            paths.insert(path.clone());
        }
        Ok(Self { path, kept: false })
    }

    /// The path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps the folder.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        let mut paths = unfinished();
        paths.remove(&self.path);
        if !self.kept {
            // A failure cannot be reported from here.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Makes the new name itself durable, where the system can; the content already is.
fn sync_folder(target: &Path) {
    if cfg!(unix) {
        let folder = target
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        if let Ok(folder) = fs::File::open(folder.unwrap_or(Path::new("."))) {
            // Not every file system can; after a power cut the name may then be missing, never half a file.
            let _ = folder.sync_all();
        }
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer().flush()
    }
}

impl Seek for AtomicFile {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.writer().seek(position)
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if let Some(writer) = self.writer.take() {
            // `into_parts` does not flush: what is being thrown away need not reach the disk first.
            let file = writer.into_parts().0.file;
            let path = file.path().to_path_buf();
            let mut paths = unfinished();
            drop(file);
            paths.remove(&path);
        }
    }
}
