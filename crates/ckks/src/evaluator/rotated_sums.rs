//! The work behind sums of rotated ciphertexts, modulus by modulus.
//!
//! With σ the automorphism of a rotation, P the special prime (or 1) and d_k the digits of c_1, a rotated ciphertext
//! modulo QP is σ(P·c_0 + Σ d_k·b_k), σ(Σ d_k·a_k): the digits do not depend on the rotation. These are multiplied
//! by plaintexts and added up, and only the sum is divided by P.
//!
//! In evaluation form all of this acts on positions, except for σ, which takes a strip of positions to another strip
//! ([`Automorphism::source_of`]). So a thread makes a strip of all outputs, with sums that stay in its cache.

use rayon::prelude::*;
use sordino_ring::{Automorphism, ResidueMatrix, StripMut, pack, unpack};

use super::relinearize::center_into;
use super::rescale::Division;
use crate::ciphertexts::zero_matrix;
use crate::gadget::Digit;
use crate::{Ciphertexts, Context, EvaluationKey, Plaintexts};

/// Positions that a thread works on at a time.
const STRIP: usize = 512;

/// A rotated input and the sums that it is a term of.
pub(super) struct Rotation<'a> {
    pub(super) input: usize,
    /// The first row of its key and what is applied to the switched input; none for 0 steps.
    pub(super) key: Option<(usize, &'a Automorphism)>,
    /// Outputs, and what it is multiplied by there.
    pub(super) uses: Vec<(usize, Option<usize>)>,
}

/// One call.
pub(super) struct RotatedSums<'a> {
    context: &'a Context,
    a: &'a Ciphertexts,
    plaintexts: Option<&'a Plaintexts>,
    key: &'a EvaluationKey,
    rotations: &'a [Rotation<'a>],
    /// Inputs of which digits are needed, in rising order.
    switched: Vec<usize>,
    /// The digits of the limbs that there are.
    digits: &'a [Digit],
    /// Division by the special prime, where something is switched with that gadget.
    division: Option<Division>,
}

/// Memory of one thread.
struct Scratch {
    /// Output, half, position.
    sums: Vec<u64>,
    /// A switched strip, by halves, before and after the automorphism.
    switched: Vec<u64>,
    moved: Vec<u64>,
    factor: Vec<u64>,
}

impl<'a> RotatedSums<'a> {
    pub(super) fn new(
        context: &'a Context,
        a: &'a Ciphertexts,
        plaintexts: Option<&'a Plaintexts>,
        key: &'a EvaluationKey,
        rotations: &'a [Rotation<'a>],
    ) -> Self {
        let mut switched: Vec<_> = rotations
            .iter()
            .filter(|rotation| rotation.key.is_some())
            .map(|rotation| rotation.input)
            .collect();
        // Rotations come in the order of their inputs.
        switched.dedup();
        let special = context.limbs()..context.all_limbs();
        let divides = !switched.is_empty() && !special.is_empty();
        let digits = context.digits();
        Self {
            context,
            a,
            plaintexts,
            key,
            rotations,
            switched,
            digits: &digits[..digits.partition_point(|digit| digit.limb < a.limbs())],
            division: divides.then(|| Division::new(context, special, a.limbs())),
        }
    }

    /// Fills two components with the sums.
    pub(super) fn run(&self, components: &mut [Vec<ResidueMatrix>]) {
        let (context, n) = (self.context, self.context.ring_degree());
        let outputs = components[0][0].rows();
        let centred = self.centred();
        let digit_count = self.switched.len() * self.digits.len();
        let mut digits = vec![0; digit_count * n];
        let mut remainders = Vec::new();
        if self.division.is_some() {
            let special = context.limbs();
            let mut halves = [(); 2].map(|()| zero_matrix(context, outputs, special));
            let [first, second] = &mut halves;
            self.sum(special, &centred, &mut digits, [first, second]);
            remainders = vec![0; 2 * outputs * n];
            for (half, remainders) in halves.iter().zip(remainders.chunks_exact_mut(outputs * n)) {
                self.center_rows(special, half, remainders);
            }
        }
        let [first, second] = components else {
            unreachable!("two components were made");
        };
        for (limb, halves) in first.iter_mut().zip(second).enumerate() {
            let mut halves = [halves.0, halves.1];
            self.sum(
                limb,
                &centred,
                &mut digits,
                halves.each_mut().map(|half| &mut **half),
            );
            if let Some(division) = &self.division {
                let width = context.modulus(limb).byte_width();
                let rows = halves.into_iter().flat_map(|half| {
                    let size = half.row_bytes();
                    half.as_mut_bytes().chunks_exact_mut(size)
                });
                let rows: Vec<_> = rows.zip(remainders.chunks_exact(n)).collect();
                rows.into_par_iter().for_each_init(
                    || (vec![0; n], vec![0; n]),
                    |(values, spare), (row, remainder)| {
                        unpack(width, row, values);
                        division.divide(context, limb, remainder, values, spare);
                        pack(width, values, row);
                    },
                );
            }
        }
    }

    /// The centred coefficients of component 1 of every switched input: limb, input, coefficient.
    fn centred(&self) -> Vec<i64> {
        let (inputs, n) = (self.switched.len(), self.context.ring_degree());
        let mut centred = vec![0; self.a.limbs() * inputs * n];
        if inputs > 0 {
            centred.par_chunks_exact_mut(n).enumerate().for_each_init(
                || vec![0; n],
                |values, (place, centred)| {
                    let (limb, input) = (place / inputs, self.switched[place % inputs]);
                    self.a.parts[1][limb].unpack_row_into(input, values);
                    self.context.table(limb).inverse(values);
                    center_into(self.context.modulus(limb), values, centred);
                },
            );
        }
        centred
    }

    /// The centred coefficients of the rows of a matrix.
    fn center_rows(&self, limb: usize, matrix: &ResidueMatrix, centred: &mut [i64]) {
        let n = self.context.ring_degree();
        centred.par_chunks_exact_mut(n).enumerate().for_each_init(
            || vec![0; n],
            |values, (row, centred)| {
                matrix.unpack_row_into(row, values);
                self.context.table(limb).inverse(values);
                center_into(self.context.modulus(limb), values, centred);
            },
        );
    }

    /// All outputs modulo one modulus, times the special prime if there is a division to come.
    fn sum(
        &self,
        target: usize,
        centred: &[i64],
        digits: &mut [u64],
        halves: [&mut ResidueMatrix; 2],
    ) {
        let n = self.context.ring_degree();
        self.transform_digits(target, centred, digits);
        let digits = &*digits;
        let (length, outputs) = (STRIP.min(n), halves[0].rows());
        let [first, second] = halves.map(|half| half.strips_mut(length));
        first.into_par_iter().zip(second).enumerate().for_each_init(
            || Scratch {
                sums: vec![0; 2 * outputs * length],
                switched: vec![0; 2 * length],
                moved: vec![0; 2 * length],
                factor: vec![0; length],
            },
            |scratch, (index, (first, second))| {
                self.sum_strip(target, index * length, digits, scratch, [first, second]);
            },
        );
    }

    /// The digits of every switched input modulo one modulus, in evaluation form: input, digit, position.
    fn transform_digits(&self, target: usize, centred: &[i64], digits: &mut [u64]) {
        let (context, n) = (self.context, self.context.ring_degree());
        let (modulus, inputs) = (context.modulus(target), self.switched.len());
        digits.par_chunks_exact_mut(n).enumerate().for_each_init(
            || vec![0; n],
            |cut, (place, values)| {
                let (input, digit) = (
                    place / self.digits.len(),
                    self.digits[place % self.digits.len()],
                );
                if digit.limb == target && digit.shift == 0 && digit.last {
                    // The digit is the limb's own residue, which is there in evaluation form.
                    self.a.parts[1][target].unpack_row_into(self.switched[input], values);
                } else {
                    let centred = &centred[(digit.limb * inputs + input) * n..][..n];
                    digit.cut_into(centred, cut);
                    context.backend().reduce_i64_into(modulus, cut, values);
                    context.table(target).forward(values);
                }
            },
        );
    }

    /// One strip of all outputs modulo one modulus.
    fn sum_strip(
        &self,
        target: usize,
        start: usize,
        digits: &[u64],
        scratch: &mut Scratch,
        mut halves: [StripMut<'_>; 2],
    ) {
        let (modulus, backend) = (self.context.modulus(target), self.context.backend());
        let (width, length) = (modulus.byte_width(), halves[0].columns());
        scratch.sums.fill(0);
        for rotation in self.rotations {
            let Some(term) = self.switch(target, start, digits, rotation, scratch) else {
                continue;
            };
            let term = if term {
                &scratch.moved
            } else {
                &scratch.switched
            };
            for &(output, plaintext) in &rotation.uses {
                let sums = &mut scratch.sums[2 * output * length..][..2 * length];
                match (self.plaintexts, plaintext) {
                    (Some(plaintexts), Some(row)) => {
                        let row = plaintexts.of_modulus(self.context, target).row(row);
                        unpack(
                            width,
                            &row[start * width..][..length * width],
                            &mut scratch.factor,
                        );
                        for (sums, term) in
                            sums.chunks_exact_mut(length).zip(term.chunks_exact(length))
                        {
                            backend.multiply_add_assign(modulus, sums, term, &scratch.factor);
                        }
                    }
                    _ => backend.add_assign(modulus, sums, term),
                }
            }
        }
        for (output, sums) in scratch.sums.chunks_exact(2 * length).enumerate() {
            for (half, sums) in halves.iter_mut().zip(sums.chunks_exact(length)) {
                pack(width, sums, half.row_mut(output));
            }
        }
    }

    /// A strip of a rotated input, times the special prime; none where that is zero.
    ///
    /// It is in `scratch.moved` or, where the result is false, in `scratch.switched`.
    fn switch(
        &self,
        target: usize,
        start: usize,
        digits: &[u64],
        rotation: &Rotation<'_>,
        scratch: &mut Scratch,
    ) -> Option<bool> {
        let (modulus, backend) = (self.context.modulus(target), self.context.backend());
        let (width, length) = (modulus.byte_width(), scratch.factor.len());
        let special = target == self.context.limbs();
        let strip = start..start + length;
        let (first_row, automorphism) = match rotation.key {
            Some((row, automorphism)) => (row, Some(automorphism)),
            None if special => return None,
            None => (0, None),
        };
        let source = automorphism.map_or(strip.clone(), |moved| moved.source_of(strip.clone()));
        let packed = source.start * width..source.end * width;
        scratch.switched.fill(0);
        if automorphism.is_some() {
            let input = self.switched.binary_search(&rotation.input).ok()?;
            let n = self.context.ring_degree();
            for index in 0..self.digits.len() {
                let digit = &digits[(input * self.digits.len() + index) * n..][..n][source.clone()];
                for (half, sums) in [&self.key.bodies, &self.key.uniform]
                    .into_iter()
                    .zip(scratch.switched.chunks_exact_mut(length))
                {
                    let row = &half[target].row(first_row + index)[packed.clone()];
                    unpack(width, row, &mut scratch.factor);
                    backend.multiply_add_assign(modulus, sums, digit, &scratch.factor);
                }
            }
        }
        if !special {
            let components = if automorphism.is_some() { 1 } else { 2 };
            let p = self.division.as_ref().and(self.context.special_modulus());
            for (part, sums) in self.a.parts[..components]
                .iter()
                .zip(scratch.switched.chunks_exact_mut(length))
            {
                let row = &part[target].row(rotation.input)[packed.clone()];
                unpack(width, row, &mut scratch.factor);
                match p {
                    Some(p) => {
                        let p = modulus.reduce_u64(p.value());
                        backend.multiply_scalar_add_assign(modulus, sums, &scratch.factor, p);
                    }
                    None => backend.add_assign(modulus, sums, &scratch.factor),
                }
            }
        }
        if let Some(automorphism) = automorphism {
            for (from, to) in scratch
                .switched
                .chunks_exact(length)
                .zip(scratch.moved.chunks_exact_mut(length))
            {
                automorphism.apply_strip_into(backend, strip.clone(), from, to);
            }
        }
        Some(automorphism.is_some())
    }
}
