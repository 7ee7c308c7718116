//! Folders that one process at a time works in.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::{Error, private_folder};

/// The file in the folder that is locked.
const LOCK: &str = "lock";
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(50);

/// A folder that no other process works in until this is dropped, or this process ends.
#[derive(Debug)]
pub struct LockedFolder {
    path: PathBuf,
    // Unlocked when it is closed.
    _lock: File,
}

impl LockedFolder {
    /// Makes the folder if it is not there, for this user alone, and locks it; `None` if another process still works in it after
    /// `patience`.
    ///
    /// # Errors
    /// Those of [`private_folder`].
    pub fn open(path: impl Into<PathBuf>, patience: Duration) -> Result<Option<Self>, Error> {
        let path = path.into();
        let start = Instant::now();
        loop {
            private_folder(&path)?;
            // The process before this one may remove the folder when it is done.
            if let Some(lock) = try_lock(&path.join(LOCK))? {
                return Ok(Some(Self { path, _lock: lock }));
            }
            if start.elapsed() >= patience {
                return Ok(None);
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Locks a folder, unless it is not there or another process works in it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn try_open(path: impl Into<PathBuf>) -> Result<Option<Self>, Error> {
        let path = path.into();
        let lock = try_lock(&path.join(LOCK))?;
        Ok(lock.map(|lock| Self { path, _lock: lock }))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Takes a lock, unless another process has it or has just removed its folder.
fn try_lock(path: &Path) -> Result<Option<File>, Error> {
    let lock = match File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
    {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(path, "create", error)),
    };
    match lock.try_lock() {
        Ok(()) => Ok(is_still(path, &lock).then_some(lock)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(Error::io(path, "lock", error)),
    }
}

/// Whether a path still leads to an open file.
fn is_still(path: &Path, file: &File) -> bool {
    let (Ok(there), Ok(open)) = (fs::metadata(path), file.metadata()) else {
        return false;
    };
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        (there.dev(), there.ino()) == (open.dev(), open.ino())
    }
    #[cfg(not(unix))]
    {
        // Open files cannot be removed there.
        let _ = (there, open);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("new/folder");
        assert!(LockedFolder::try_open(&path).unwrap().is_none());
        let first = LockedFolder::open(&path, Duration::ZERO).unwrap().unwrap();
        assert_eq!(first.path(), path);
        assert!(LockedFolder::try_open(&path).unwrap().is_none());
        let begun = Instant::now();
        let patience = Duration::from_millis(120);
        assert!(LockedFolder::open(&path, patience).unwrap().is_none());
        assert!(begun.elapsed() >= patience);
        drop(first);
        assert!(LockedFolder::try_open(&path).unwrap().is_some());
    }

    #[test]
    fn a_folder_that_was_removed_meanwhile_is_made_again() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("folder");
        let first = LockedFolder::open(&path, Duration::ZERO).unwrap().unwrap();
        let second = {
            let path = path.clone();
            std::thread::spawn(move || LockedFolder::open(path, Duration::from_secs(20)))
        };
        std::thread::sleep(2 * PAUSE);
        fs::remove_dir_all(&path).unwrap();
        drop(first);
        let second = second.join().unwrap().unwrap().unwrap();
        assert!(second.path().join(LOCK).exists());
        assert!(LockedFolder::try_open(&path).unwrap().is_none());
    }
}
