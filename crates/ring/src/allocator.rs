//! Memory that feature maps leave behind.

/// Gives memory back to the system that the allocator keeps between and behind what is in use; nothing where the allocator is not
/// the GNU C library's.
///
/// # Cost
/// Some milliseconds a gigabyte in use, and the system clears every page anew when it is used again: for a process that would otherwise pass a limit.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        unsafe extern "C" {
            fn malloc_trim(padding: usize) -> std::ffi::c_int;
        }
        // SAFETY: part of the C library that the standard library links and allocates with; it takes its own locks, has no
        // preconditions and leaves what is in use alone.
        unsafe {
            malloc_trim(0);
        }
    }
}
