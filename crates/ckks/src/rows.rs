//! Rows of several matrices side by side, for parallel loops over ciphertexts.

use rayon::prelude::*;
use sordino_ring::ResidueMatrix;
use sordino_ring::backend::Backend;

/// Row r of every matrix, row after row: chunk r of the result holds one slice a matrix, in their order.
///
/// # Cost
/// One allocation of a pointer a row and matrix.
pub fn rows_of<'a>(matrices: impl Iterator<Item = &'a mut ResidueMatrix>) -> Vec<&'a mut [u8]> {
    let mut rows: Vec<_> = matrices
        .map(|matrix| {
            let size = matrix.row_bytes();
            matrix.as_mut_bytes().chunks_exact_mut(size)
        })
        .collect();
    let count = rows.first().map_or(0, ExactSizeIterator::len);
    let mut slices = Vec::with_capacity(count * rows.len());
    for _ in 0..count {
        slices.extend(rows.iter_mut().filter_map(Iterator::next));
    }
    slices
}

/// Changes every row of a matrix in place: `change(row, residues)`.
pub(crate) fn update_rows(
    backend: &Backend,
    matrix: &mut ResidueMatrix,
    change: impl Fn(usize, &mut [u64]) + Sync + Send,
) {
    let (columns, width) = (matrix.columns(), matrix.width());
    matrix.rows_mut().enumerate().for_each_init(
        || vec![0; columns],
        |residues, (row, bytes)| {
            backend.unpack(width, bytes, residues);
            change(row, residues);
            backend.pack(width, residues, bytes);
        },
    );
}

/// Changes every row of a matrix in place by the same row of another: `change(row, residues, others)`.
pub(crate) fn update_rows_by(
    backend: &Backend,
    matrix: &mut ResidueMatrix,
    other: &ResidueMatrix,
    change: impl Fn(usize, &mut [u64], &[u64]) + Sync + Send,
) {
    let (columns, width) = (matrix.columns(), matrix.width());
    matrix.rows_mut().enumerate().for_each_init(
        || vec![0; 2 * columns],
        |scratch, (row, bytes)| {
            let (residues, others) = scratch.split_at_mut(columns);
            backend.unpack(width, bytes, residues);
            backend.unpack_row(other, row, others);
            change(row, residues, others);
            backend.pack(width, residues, bytes);
        },
    );
}
