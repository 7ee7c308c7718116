//! Memory of large matrices, kept for the next ones, and freed memory that the system's allocator still holds.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Smaller buffers are left to the system's allocator, which keeps them itself.
const LEAST_BYTES: usize = 256 << 10;

/// Freed buffers, by capacity.
struct Kept {
    limit: u64,
    bytes: u64,
    buffers: BTreeMap<usize, Vec<Vec<u8>>>,
}

static KEPT: Mutex<Kept> = Mutex::new(Kept {
    limit: 0,
    bytes: 0,
    buffers: BTreeMap::new(),
});

fn kept() -> MutexGuard<'static, Kept> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Kept {
    /// The smallest buffer that is large enough and not much too large.
    fn take(&mut self, bytes: usize) -> Option<Vec<u8>> {
        let mut fitting = self.buffers.range_mut(bytes..=bytes + bytes / 8);
        let (&capacity, buffers) = fitting.next()?;
        let buffer = buffers.pop();
        if buffers.is_empty() {
            self.buffers.remove(&capacity);
        }
        self.bytes -= capacity as u64;
        buffer
    }

    /// Frees the largest buffers until the rest is within the limit.
    fn shrink(&mut self) -> Vec<Vec<u8>> {
        let mut freed = Vec::new();
        while self.bytes > self.limit
            && let Some(mut largest) = self.buffers.last_entry()
        {
            freed.extend(largest.get_mut().pop());
            self.bytes -= *largest.key() as u64;
            if largest.get().is_empty() {
                largest.remove();
            }
        }
        freed
    }
}

/// A buffer of so many bytes, whatever they are.
pub(crate) fn take(bytes: usize) -> Vec<u8> {
    let found = match bytes {
        LEAST_BYTES.. => kept().take(bytes),
        _ => None,
    };
    let Some(mut buffer) = found else {
        return vec![0; bytes];
    };
    buffer.resize(bytes, 0);
    buffer
}

/// Takes a buffer that is not needed any more.
pub(crate) fn put(buffer: Vec<u8>) {
    let capacity = buffer.capacity();
    if capacity < LEAST_BYTES {
        return;
    }
    let mut kept = kept();
    if kept.bytes + capacity as u64 <= kept.limit {
        kept.bytes += capacity as u64;
        kept.buffers.entry(capacity).or_default().push(buffer);
    }
}

/// Memory of dropped matrices is kept for new ones as long as this lives: the system clears every page of new memory on its first use.
#[derive(Debug, Default)]
pub struct Keeping {
    bytes: u64,
}

impl Keeping {
    /// Keeps up to so many bytes from now on.
    pub fn limit(&mut self, bytes: u64) {
        let freed = {
            let mut kept = kept();
            kept.limit = kept.limit - self.bytes + bytes;
            self.bytes = bytes;
            kept.shrink()
        };
        // Without the lock.
        drop(freed);
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        self.limit(0);
    }
}

/// Gives freed memory back to the system, what is kept for new matrices among it. The system's allocator is only asked if it is the GNU C
/// library's.
///
/// # Cost
/// Some milliseconds per gigabyte in use, and the system clears each page again on its next use: worth it only for a
/// process that would otherwise pass a memory limit.
pub fn give_back() {
    let buffers = {
        let mut kept = kept();
        kept.bytes = 0;
        std::mem::take(&mut kept.buffers)
    };
    drop(buffers);
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        unsafe extern "C" {
            fn malloc_trim(padding: usize) -> std::ffi::c_int;
        }
        // SAFETY: part of the C library that the standard library links and allocates with; it takes its own locks, has
        // no preconditions and leaves memory in use alone.
        unsafe {
            malloc_trim(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_that_fit_are_used_again_within_the_limit() {
        let mut kept = Kept {
            limit: 3000,
            bytes: 0,
            buffers: BTreeMap::new(),
        };
        let buffers = [1000, 1200].map(Vec::<u8>::with_capacity);
        for buffer in buffers {
            kept.bytes += buffer.capacity() as u64;
            kept.buffers
                .entry(buffer.capacity())
                .or_default()
                .push(buffer);
        }
        assert!(kept.take(1201).is_none(), "too small");
        assert!(kept.take(700).is_none(), "much too large");
        assert_eq!(kept.take(990).map(|found| found.capacity()), Some(1000));
        assert_eq!(kept.bytes, 1200);
        assert!(kept.take(990).is_none(), "taken once");
        assert!(kept.shrink().is_empty());
        kept.limit = 1199;
        assert_eq!(kept.shrink().len(), 1);
        assert_eq!((kept.bytes, kept.buffers.len()), (0, 0));
    }

    #[test]
    fn nothing_is_kept_unless_asked_for() {
        // The limit is of the process: other tests of this crate do not set it.
        put(vec![1; LEAST_BYTES]);
        assert!(take(LEAST_BYTES).iter().all(|&byte| byte == 0));
        let mut keeping = Keeping::default();
        keeping.limit(2 * LEAST_BYTES as u64);
        put(vec![1; LEAST_BYTES]);
        assert!(take(LEAST_BYTES).iter().all(|&byte| byte == 1));
        put(vec![1; LEAST_BYTES]);
        drop(keeping);
        assert!(take(LEAST_BYTES).iter().all(|&byte| byte == 0));
    }
}
