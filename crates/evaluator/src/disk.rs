//! Room on disks.

use std::path::Path;

/// Bytes that the file system of a folder has left, where the system tells.
pub fn free_bytes(path: &Path) -> Option<u64> {
    #[cfg(unix)]
    {
        let found = rustix::fs::statvfs(path).ok()?;
        found.f_bavail.checked_mul(found.f_frsize)
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}
