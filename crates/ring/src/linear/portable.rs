//! The plain product that defines the result.

use std::ops::{AddAssign, Mul};

use rayon::prelude::*;

use super::{Group, LinearKernel, LinearMap};
use crate::{Modulus, ResidueMatrix, pack, unpack};

/// Columns of one piece of work: its sums stay in the second-level cache for a hundred outputs.
const BLOCK: usize = 256;

struct OwnedGroup {
    inputs: Vec<u32>,
    outputs: Vec<u32>,
    /// Column-major \[inputs, outputs\]: the order in which they are used.
    weights: Vec<i16>,
}

struct Portable {
    groups: Vec<OwnedGroup>,
    max_weight: i64,
}

/// The portable entry of the backend table.
pub(crate) fn prepare(map: &LinearMap) -> Box<dyn LinearKernel> {
    let groups = Group::of(map)
        .into_iter()
        .map(|group| OwnedGroup {
            inputs: group.inputs.to_vec(),
            outputs: group.outputs.iter().map(|&(output, _)| output).collect(),
            weights: (0..group.inputs.len())
                .flat_map(|k| group.outputs.iter().map(move |(_, weights)| weights[k]))
                .collect(),
        })
        .collect();
    Box::new(Portable {
        groups,
        max_weight: map.weight_width().max_weight().into(),
    })
}

impl LinearKernel for Portable {
    fn apply(&self, modulus: &Modulus, input: &ResidueMatrix, output: &mut ResidueMatrix) {
        let width = input.width();
        let row_bytes = input.row_bytes();
        for group in &self.groups {
            // Whole blocks are computed apart and copied into place, so that threads never share a row.
            let blocks: Vec<Vec<u8>> = (0..input.columns().div_ceil(BLOCK))
                .into_par_iter()
                .map(|block| {
                    let start = block * BLOCK;
                    let columns = BLOCK.min(input.columns() - start);
                    let slice = |row: u32| {
                        &input.row(row as usize)[start * width..(start + columns) * width]
                    };
                    let largest =
                        (i128::from(self.max_weight) << (8 * width)) * group.inputs.len() as i128;
                    if largest <= i128::from(i64::MAX) {
                        group.product::<i64>(width, columns, slice, |sum| modulus.from_i64(sum))
                    } else {
                        group.product::<i128>(width, columns, slice, |sum| modulus.from_i128(sum))
                    }
                })
                .collect();
            let bytes = output.as_mut_bytes();
            for (block, results) in blocks.iter().enumerate() {
                let size = results.len() / group.outputs.len();
                for (&row, result) in group.outputs.iter().zip(results.chunks_exact(size)) {
                    let start = row as usize * row_bytes + block * BLOCK * width;
                    bytes[start..start + size].copy_from_slice(result);
                }
            }
        }
    }
}

impl OwnedGroup {
    /// The packed results of one block of columns, \[outputs, columns\].
    ///
    /// `Sum` holds the exact sum of all products, so the only reduction is at the end.
    fn product<'a, Sum>(
        &self,
        width: usize,
        columns: usize,
        slice: impl Fn(u32) -> &'a [u8],
        reduce: impl Fn(Sum) -> u64,
    ) -> Vec<u8>
    where
        Sum: Copy + Default + From<i64> + AddAssign + Mul<Output = Sum>,
    {
        let outputs = self.outputs.len();
        let mut sums = vec![Sum::default(); outputs * columns];
        let mut residues = vec![0; columns];
        for (&row, weights) in self.inputs.iter().zip(self.weights.chunks_exact(outputs)) {
            unpack(width, slice(row), &mut residues);
            for (sums, &weight) in sums.chunks_exact_mut(columns).zip(weights) {
                let weight = Sum::from(i64::from(weight));
                for (sum, &residue) in sums.iter_mut().zip(&residues) {
                    *sum += weight * Sum::from(residue as i64);
                }
            }
        }
        let mut bytes = vec![0; outputs * columns * width];
        for (sums, bytes) in sums
            .chunks_exact(columns)
            .zip(bytes.chunks_exact_mut(columns * width))
        {
            for (residue, &sum) in residues.iter_mut().zip(sums) {
                *residue = reduce(sum);
            }
            pack(width, &residues, bytes);
        }
        bytes
    }
}
