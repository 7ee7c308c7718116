//! Matrix products.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

/// Values as a row-major matrix.
pub(crate) fn matrix(values: &[f32], columns: usize) -> MatRef<'_, f32> {
    MatRef::from_row_major_slice(values, values.len() / columns, columns)
}

/// Adds the product of two matrices to `sum`, a row-major matrix, on this thread.
pub(crate) fn add_product(sum: &mut [f32], left: MatRef<'_, f32>, right: MatRef<'_, f32>) {
    let sum = MatMut::from_row_major_slice_mut(sum, left.nrows(), right.ncols());
    matmul(sum, Accum::Add, left, right, 1.0, Par::Seq);
}

/// The product of two matrices, row-major.
pub(crate) fn product(left: MatRef<'_, f32>, right: MatRef<'_, f32>) -> Vec<f32> {
    let mut product = vec![0.0; left.nrows() * right.ncols()];
    add_product(&mut product, left, right);
    product
}
