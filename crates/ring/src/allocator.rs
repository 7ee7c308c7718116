//! Freed memory that the allocator still holds.

/// Gives freed memory back to the system. Does nothing unless the allocator is the GNU C library's.
///
/// # Cost
/// Some milliseconds per gigabyte in use, and the system clears each page again on its next use: worth it only for a
/// process that would otherwise pass a memory limit.
pub fn give_back() {
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
