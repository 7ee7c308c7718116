//! The stored form of one limb of many polynomials.

use rayon::prelude::*;

use crate::allocator;
use crate::{Error, error::check_shape};

/// One limb of one component of a feature map: a matrix of packed residues, one polynomial per row.
///
/// The bytes are exactly the file layout: row after row, `width` little-endian bytes per residue, no padding.
///
/// # Shapes
/// rows (features) × columns (ring degree N).
#[derive(Clone, PartialEq, Eq)]
pub struct ResidueMatrix {
    rows: usize,
    columns: usize,
    width: usize,
    data: Vec<u8>,
}

impl ResidueMatrix {
    /// A matrix of zeros.
    ///
    /// # Panics
    /// If `width` is not 1 to 8, `columns` is 0 or the size overflows.
    pub fn zeros(rows: usize, columns: usize, width: usize) -> Self {
        Self {
            rows,
            columns,
            width,
            data: vec![0; Self::size(rows, columns, width)],
        }
    }

    /// A matrix whose residues are unspecified: for results, of which every byte is written.
    ///
    /// # Panics
    /// As [`zeros`](Self::zeros).
    pub fn unspecified(rows: usize, columns: usize, width: usize) -> Self {
        Self {
            rows,
            columns,
            width,
            data: allocator::take(Self::size(rows, columns, width)),
        }
    }

    fn size(rows: usize, columns: usize, width: usize) -> usize {
        assert!((1..=8).contains(&width), "width must be 1 to 8 bytes");
        assert!(columns > 0, "a matrix needs columns");
        rows.checked_mul(columns)
            .and_then(|n| n.checked_mul(width))
            .expect("matrix size overflows")
    }

    /// Takes packed bytes as they are; [`Backend::validate`](crate::backend::Backend::validate) checks the residues.
    ///
    /// # Errors
    /// [`Error::Width`] or [`Error::Shape`] if the bytes are not exactly rows · columns · width.
    pub fn from_bytes(
        rows: usize,
        columns: usize,
        width: usize,
        data: Vec<u8>,
    ) -> Result<Self, Error> {
        if !(1..=8).contains(&width) {
            return Err(Error::Width { found: width });
        }
        check_shape("columns of a residue matrix", columns.max(1), columns)?;
        let size = rows
            .checked_mul(columns)
            .and_then(|n| n.checked_mul(width))
            .unwrap_or(usize::MAX);
        check_shape("bytes of a residue matrix", size, data.len())?;
        Ok(Self {
            rows,
            columns,
            width,
            data,
        })
    }

    /// Gives the matrix another shape; its residues are then unspecified. Allocates only if its memory is too small.
    ///
    /// # Panics
    /// As [`zeros`](Self::zeros).
    pub fn reshape(&mut self, rows: usize, columns: usize, width: usize) {
        self.data.resize(Self::size(rows, columns, width), 0);
        (self.rows, self.columns, self.width) = (rows, columns, width);
    }

    /// The number of polynomials.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of residues in a row: the ring degree N.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Bytes per residue.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Bytes per row.
    pub fn row_bytes(&self) -> usize {
        self.columns * self.width
    }

    /// All bytes: the file layout.
    pub fn as_bytes(&self) -> &[u8] {
        &self.data
    }

    /// All bytes, to be overwritten with packed residues.
    pub fn as_mut_bytes(&mut self) -> &mut [u8] {
        &mut self.data
    }

    /// The packed residues of one row.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, row: usize) -> &[u8] {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        &self.data[row * self.row_bytes()..][..self.row_bytes()]
    }

    /// The packed residues of one row, mutable.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row_mut(&mut self, row: usize) -> &mut [u8] {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        let size = self.row_bytes();
        &mut self.data[row * size..][..size]
    }

    /// All rows, in order, as a parallel iterator.
    pub fn par_rows(&self) -> impl IndexedParallelIterator<Item = &[u8]> {
        self.data.par_chunks_exact(self.row_bytes())
    }

    /// All rows, in order and mutable, as a parallel iterator.
    pub fn rows_mut(&mut self) -> impl IndexedParallelIterator<Item = &mut [u8]> {
        let size = self.row_bytes();
        self.data.par_chunks_exact_mut(size)
    }
}

impl Drop for ResidueMatrix {
    fn drop(&mut self) {
        allocator::put(std::mem::take(&mut self.data));
    }
}

impl std::fmt::Debug for ResidueMatrix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "ResidueMatrix({} × {}, {} bytes each)",
            self.rows, self.columns, self.width
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_sizes_that_do_not_fit() {
        assert!(matches!(
            ResidueMatrix::from_bytes(2, 16, 4, vec![0; 127]),
            Err(Error::Shape {
                expected: 128,
                found: 127,
                ..
            })
        ));
        assert!(matches!(
            ResidueMatrix::from_bytes(2, 16, 9, vec![0; 288]),
            Err(Error::Width { found: 9 })
        ));
        assert!(matches!(
            ResidueMatrix::from_bytes(usize::MAX, 16, 4, vec![]),
            Err(Error::Shape { .. })
        ));
        assert!(matches!(
            ResidueMatrix::from_bytes(0, 0, 4, vec![]),
            Err(Error::Shape { .. })
        ));
    }
}
