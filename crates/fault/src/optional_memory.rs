//! Memory that a caller can do without.
//!
//! The binaries' allocator ends the process where there is no memory, since almost no code copes with that. Code that does says so here.

use std::cell::Cell;

thread_local! {
    static OPTIONAL: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`, which copes with memory that cannot be had: an allocator that would end the process returns nothing instead.
pub fn with_optional_memory<T>(work: impl FnOnce() -> T) -> T {
    let before = OPTIONAL.replace(true);
    let result = work();
    OPTIONAL.set(before);
    result
}

/// Whether this thread is inside of [`with_optional_memory`].
pub fn memory_is_optional() -> bool {
    OPTIONAL.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_optional_inside_and_not_after() {
        assert!(!memory_is_optional());
        assert!(with_optional_memory(|| with_optional_memory(
            memory_is_optional
        ) && memory_is_optional()));
        assert!(!memory_is_optional());
    }
}
