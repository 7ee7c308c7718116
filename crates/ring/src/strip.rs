//! Some columns of all rows of a residue matrix: what a column-local operation reads and writes.
//!
//! In evaluation form sums, products and whole layers act on every column by itself. A thread can therefore take a
//! few columns of a feature map through several operations while they stay in its cache.

use std::{marker::PhantomData, ops::Range};

use crate::ResidueMatrix;

/// Columns of a matrix, to be read.
///
/// # Shapes
/// rows × columns residues of `width` bytes.
#[derive(Clone, Copy)]
pub struct Strip<'a> {
    /// From the strip's first byte in row 0 to its last byte in the last row.
    data: &'a [u8],
    /// Bytes from a row to the next.
    stride: usize,
    rows: usize,
    columns: usize,
    width: usize,
}

impl<'a> Strip<'a> {
    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Bytes per residue.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The packed residues of one row.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, row: usize) -> &'a [u8] {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        &self.data[row * self.stride..][..self.columns * self.width]
    }
}

/// Columns of a matrix, to be written; it borrows them exclusively.
///
/// # Shapes
/// rows × columns residues of `width` bytes.
pub struct StripMut<'a> {
    /// The strip's first byte in row 0.
    base: *mut u8,
    /// Bytes from a row to the next.
    stride: usize,
    rows: usize,
    columns: usize,
    width: usize,
    matrix: PhantomData<&'a mut [u8]>,
}

// SAFETY: it stands for a mutable borrow of bytes that no other strip has, and bytes may change threads.
unsafe impl Send for StripMut<'_> {}

impl StripMut<'_> {
    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Bytes per residue.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The packed residues of one row.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row_mut(&mut self, row: usize) -> &mut [u8] {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        // SAFETY: the row is inside the matrix that is borrowed mutably, these columns belong to this strip alone
        // (`ResidueMatrix::strips_mut`), and the result borrows the strip.
        unsafe {
            std::slice::from_raw_parts_mut(
                self.base.add(row * self.stride),
                self.columns * self.width,
            )
        }
    }

    /// The first byte of row 0 and the bytes from a row to the next.
    pub(crate) fn layout(&mut self) -> (*mut u8, usize) {
        (self.base, self.stride)
    }
}

impl ResidueMatrix {
    /// Becomes a copy of a strip. Allocates only if its own memory is too small.
    ///
    /// Rows of a large matrix lie in different pages, and at distances of a power of two they compete for the same
    /// lines of the cache. Rows of the copy do neither.
    pub fn copy_from_strip(&mut self, source: Strip<'_>) {
        self.reshape(source.rows, source.columns, source.width);
        self.fill_rows(source.rows, |row| source.row(row));
    }

    /// Becomes a copy of rows from anywhere. Allocates only if its own memory is too small.
    ///
    /// # Shapes
    /// `row(0..rows)` of `columns` residues of `width` bytes.
    ///
    /// # Panics
    /// If a row has another length.
    pub fn copy_from_rows<'a>(
        &mut self,
        (rows, columns, width): (usize, usize, usize),
        row: impl Fn(usize) -> &'a [u8],
    ) {
        self.reshape(rows, columns, width);
        self.fill_rows(rows, row);
    }

    fn fill_rows<'a>(&mut self, rows: usize, source: impl Fn(usize) -> &'a [u8]) {
        /// Rows requested ahead: at some 100 ns from memory, enough to keep a core's requests in flight.
        const AHEAD: usize = 12;
        let size = self.row_bytes();
        for (row, target) in self.as_mut_bytes().chunks_exact_mut(size).enumerate() {
            if row + AHEAD < rows {
                prefetch(source(row + AHEAD));
            }
            target.copy_from_slice(source(row));
        }
    }

    /// A range of columns, to be read.
    ///
    /// # Panics
    /// If there are no such columns.
    pub fn strip(&self, columns: Range<usize>) -> Strip<'_> {
        assert!(
            columns.start < columns.end && columns.end <= self.columns(),
            "columns {columns:?} of {}",
            self.columns()
        );
        Strip {
            data: self
                .as_bytes()
                .get(columns.start * self.width()..)
                .unwrap_or(&[]),
            stride: self.row_bytes(),
            rows: self.rows(),
            columns: columns.len(),
            width: self.width(),
        }
    }

    /// All columns, cut into strips of `columns` and a last one of what is left.
    ///
    /// # Panics
    /// If `columns` is 0.
    pub fn strips_mut(&mut self, columns: usize) -> Vec<StripMut<'_>> {
        assert!(columns > 0, "a strip needs columns");
        let (rows, all, width, stride) =
            (self.rows(), self.columns(), self.width(), self.row_bytes());
        let base = self.as_mut_bytes().as_mut_ptr();
        (0..all)
            .step_by(columns)
            .map(|start| StripMut {
                base: base.wrapping_add(start * width),
                stride,
                rows,
                columns: columns.min(all - start),
                width,
                matrix: PhantomData,
            })
            .collect()
    }

    /// All columns as one strip.
    pub fn strip_mut(&mut self) -> StripMut<'_> {
        let (rows, columns, width, stride) =
            (self.rows(), self.columns(), self.width(), self.row_bytes());
        StripMut {
            base: self.as_mut_bytes().as_mut_ptr(),
            stride,
            rows,
            columns,
            width,
            matrix: PhantomData,
        }
    }
}

/// Requests every cache line of some bytes; does nothing where there is no such instruction.
#[inline]
fn prefetch(bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    for offset in (0..bytes.len()).step_by(64) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: SSE is part of x86-64, and a prefetch reads nothing that the program could see.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(bytes.as_ptr().wrapping_add(offset).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = bytes;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strips_cover_the_matrix_once() {
        let mut matrix = ResidueMatrix::zeros(3, 10, 5);
        for (index, mut strip) in matrix.strips_mut(4).into_iter().enumerate() {
            assert_eq!(strip.columns(), [4, 4, 2][index]);
            for row in 0..3 {
                let value = (10 * row + index + 1) as u8;
                strip.row_mut(row).iter_mut().for_each(|b| *b += value);
            }
        }
        for row in 0..3 {
            for column in 0..10 {
                let expected = [(10 * row + column / 4 + 1) as u8; 5];
                assert_eq!(matrix.strip(column..column + 1).row(row), expected);
            }
        }
        assert_eq!(matrix.strip(0..10).row(2), matrix.row(2));
    }

    #[test]
    #[should_panic(expected = "row 3 of 3")]
    fn a_strip_ends_with_its_last_row() {
        ResidueMatrix::zeros(3, 16, 4).strip_mut().row_mut(3);
    }
}
