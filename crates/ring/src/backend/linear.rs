//! The plain product that defines the result.

use std::ops::{AddAssign, Mul};

use super::{bytes, groups::Group, table::LinearKernel};
use crate::{Modulus, Strip, StripMut, linear_map::LinearMap};

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

/// The matrix kernel of the plain back end.
pub(super) fn prepare(map: &LinearMap) -> Box<dyn LinearKernel> {
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
    fn apply(&self, modulus: &Modulus, input: Strip<'_>, output: &mut StripMut<'_>) {
        let width = input.width();
        for group in &self.groups {
            let largest = (i128::from(self.max_weight) << (8 * width)) * group.inputs.len() as i128;
            if largest <= i128::from(i64::MAX) {
                group.product::<i64>(input, output, |sum| modulus.from_i64(sum));
            } else {
                group.product::<i128>(input, output, |sum| modulus.from_i128(sum));
            }
        }
    }
}

impl OwnedGroup {
    /// `Sum` holds the exact sum of all products, so the only reduction is at the end.
    fn product<Sum>(&self, input: Strip<'_>, output: &mut StripMut<'_>, reduce: impl Fn(Sum) -> u64)
    where
        Sum: Copy + Default + From<i64> + AddAssign + Mul<Output = Sum>,
    {
        let (width, columns, outputs) = (input.width(), input.columns(), self.outputs.len());
        let mut sums = vec![Sum::default(); outputs * columns];
        let mut residues = vec![0; columns];
        for (&row, weights) in self.inputs.iter().zip(self.weights.chunks_exact(outputs)) {
            bytes::unpack(width, input.row(row as usize), &mut residues);
            for (sums, &weight) in sums.chunks_exact_mut(columns).zip(weights) {
                let weight = Sum::from(i64::from(weight));
                for (sum, &residue) in sums.iter_mut().zip(&residues) {
                    *sum += weight * Sum::from(residue as i64);
                }
            }
        }
        for (sums, &row) in sums.chunks_exact(columns).zip(&self.outputs) {
            for (residue, &sum) in residues.iter_mut().zip(sums) {
                *residue = reduce(sum);
            }
            bytes::pack(width, &residues, output.row_mut(row as usize));
        }
    }
}
