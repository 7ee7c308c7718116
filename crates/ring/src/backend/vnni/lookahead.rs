//! Requests the memory of the next piece of work while the present one computes.
//!
//! Rows are pages apart, so the processor's own prefetching does not foresee them, and the third level of the cache
//! is some hundred nanoseconds away. A core has only a dozen or so requests in flight: they must be spread.

use std::slice::Iter;

const LINE: usize = 64;

/// The lines of a block of columns in the rows to come.
#[derive(Clone)]
pub(super) struct Lookahead<'a> {
    /// The block's first byte in row 0.
    base: *const u8,
    row_bytes: usize,
    /// Lines of the block in a row.
    lines: usize,
    rows: Iter<'a, u32>,
    /// The present row's next line, and how many are left of it.
    next: *const u8,
    left: usize,
}

impl<'a> Lookahead<'a> {
    pub(super) fn new(base: *const u8, row_bytes: usize, rows: &'a [u32], bytes: usize) -> Self {
        Self {
            base,
            row_bytes,
            lines: bytes.div_ceil(LINE),
            rows: if bytes == 0 { [].iter() } else { rows.iter() },
            next: base,
            left: 0,
        }
    }

    /// The number of lines left.
    pub(super) fn lines(&self) -> usize {
        self.rows.len() * self.lines + self.left
    }

    /// The address to request next; when all are requested, the last once more.
    #[inline(always)]
    pub(super) fn next(&mut self) -> *const u8 {
        if self.left > 0 {
            self.left -= 1;
            self.next = self.next.wrapping_add(LINE);
        } else if let Some(&row) = self.rows.next() {
            self.left = self.lines - 1;
            self.next = self.base.wrapping_add(row as usize * self.row_bytes);
        }
        self.next
    }
}
