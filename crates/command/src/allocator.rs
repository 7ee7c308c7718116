//! The allocator of the binaries: running out of memory is one line and an exit code instead of an abort.
//!
//! This is the one file outside of `ring` with `unsafe`: the trait of allocators has it. Memory comes from the system's allocator. Where that
//! has none, unfinished files are removed as they are on Ctrl-C and the process exits, unless the caller said that it can do without
//! ([`sordino_fault::with_optional_memory`]).

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::time::Duration;

use sordino_fault::{Fault, memory_is_optional};

use crate::exit;

/// Memory that is kept for the removal of files, in one piece that the system gets back at once.
const RESERVE: Layout = match Layout::from_size_align(1 << 20, 16) {
    Ok(layout) => layout,
    Err(_) => panic!("a size and an alignment that are in order"),
};

/// The system's allocator with an end that is in order; for `#[global_allocator]`.
#[derive(Debug)]
pub struct Allocator {
    /// The binary's name.
    program: &'static str,
    reserve: AtomicPtr<u8>,
    ending: AtomicBool,
}

thread_local! {
    /// Whether this thread ends the process.
    static ENDS: Cell<bool> = const { Cell::new(false) };
}

impl Allocator {
    /// The allocator of a binary of this name.
    pub const fn new(program: &'static str) -> Self {
        Self {
            program,
            reserve: AtomicPtr::new(null_mut()),
            ending: AtomicBool::new(false),
        }
    }

    /// Takes the memory that is kept for the end. Without it, unfinished files may stay behind where memory runs out.
    pub fn keep_reserve(&self) {
        // SAFETY: the layout's size is not zero.
        let fresh = unsafe { System.alloc(RESERVE) };
        self.release(self.reserve.swap(fresh, Ordering::AcqRel));
    }

    fn release(&self, reserve: *mut u8) {
        if !reserve.is_null() {
            // SAFETY: only `keep_reserve` stores a pointer, which is of this allocator and layout, and whoever swaps it out owns it.
            unsafe { System.dealloc(reserve, RESERVE) };
        }
    }

    /// Passes on a pointer, or ends the process where there was no memory.
    fn or_end(&self, memory: *mut u8, bytes: usize) -> *mut u8 {
        if memory.is_null() && !memory_is_optional() {
            self.end(bytes);
        }
        memory
    }

    #[cold]
    fn end(&self, bytes: usize) {
        let code = i32::from(exit::code(Fault::Limits));
        if ENDS.replace(true) {
            // Even what follows had no memory.
            std::process::exit(code);
        }
        if self.ending.swap(true, Ordering::AcqRel) {
            // Another thread ends the process.
            loop {
                std::thread::sleep(Duration::from_secs(1));
            }
        }
        self.release(self.reserve.swap(null_mut(), Ordering::AcqRel));
        // Written piece by piece, since a text in one piece would need memory.
        let mut out = std::io::stderr().lock();
        let _ = writeln!(
            out,
            "{}: no memory for {bytes} bytes more: free some, raise the limit (ulimit -v), give fewer --threads, or let `evaluate` take less with --memory",
            self.program
        );
        drop(out);
        sordino_container::remove_unfinished_now();
        std::process::exit(code);
    }
}

// SAFETY: every call is the system allocator's with the same arguments, and a null pointer is passed on or never returns.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of the same function.
        self.or_end(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of the same function.
        self.or_end(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of the same function.
        unsafe { System.dealloc(memory, layout) };
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller keeps the contract of the same function.
        self.or_end(unsafe { System.realloc(memory, layout, size) }, size)
    }
}
