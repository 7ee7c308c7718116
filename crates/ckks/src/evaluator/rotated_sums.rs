//! The work behind sums of rotated ciphertexts, modulus by modulus.
//!
//! With σ the automorphism of a rotation, P the product of the special primes (or 1) and d_k the digits of c_1, a rotated ciphertext
//! modulo QP is σ(P·c_0 + Σ d_k·b_k), σ(Σ d_k·a_k): the digits do not depend on the rotation. These are multiplied
//! by plaintexts and added up, and only the sum is divided by P.
//!
//! In evaluation form all of this acts on positions, except for σ, which takes a strip of positions to another strip
//! ([`Automorphism::source_of`]). So a thread makes a strip of all outputs, with sums that stay in its cache.

use std::collections::BTreeMap;
use std::ops::Range;

use rayon::prelude::*;
use sordino_ring::{Automorphism, ResidueMatrix, StripMut};

use super::digits::Digits;
use super::rescale::Division;
use crate::{Ciphertexts, Context, EvaluationKey, Plaintexts};

/// Positions that a thread works on at a time.
const STRIP: usize = 1024;

/// A rotated input and the sums that it is a term of.
pub(super) struct Rotation<'a> {
    pub(super) input: usize,
    /// The first row of its key and what is applied to the switched input; none for 0 steps.
    pub(super) key: Option<(usize, &'a Automorphism)>,
    /// Outputs, and what it is multiplied by there.
    pub(super) uses: Terms,
}

/// Rotations that are switched together, so that a sum is reduced once for all of them.
const GROUP: usize = 8;

/// Places in a group, or outputs, each with the row of a plaintext.
type Terms = Vec<(usize, Option<usize>)>;

/// Some rotations and what they are terms of.
struct Group<'a> {
    rotations: &'a [Rotation<'a>],
    /// Each output with its terms, by their place in the group.
    outputs: Vec<(usize, Terms)>,
}

impl<'a> Group<'a> {
    fn new(rotations: &'a [Rotation<'a>]) -> Self {
        let mut outputs: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (place, rotation) in rotations.iter().enumerate() {
            for &(output, plaintext) in &rotation.uses {
                outputs.entry(output).or_default().push((place, plaintext));
            }
        }
        Self {
            rotations,
            outputs: outputs.into_iter().collect(),
        }
    }
}

/// One call.
pub(super) struct RotatedSums<'a> {
    context: &'a Context,
    a: &'a Ciphertexts,
    plaintexts: Option<&'a Plaintexts>,
    key: &'a EvaluationKey,
    groups: Vec<Group<'a>>,
    /// Inputs whose digits are needed, in rising order.
    switched: Vec<usize>,
    /// The digits of the limbs of `a`.
    digits: Digits<'a>,
    /// Division by the special primes, where something is switched with a gadget that has any.
    division: Option<Division>,
}

/// Memory of one thread.
struct Scratch {
    /// Output, half, position.
    sums: Vec<u64>,
    /// A switched strip before the automorphism, by halves.
    switched: Vec<u64>,
    /// The rotated strips of a group: place, half, position.
    terms: Vec<u64>,
    unpacked: Vec<u64>,
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
        Self {
            context,
            a,
            plaintexts,
            key,
            groups: rotations.chunks(GROUP).map(Group::new).collect(),
            switched,
            digits: Digits::new(context, a.limbs()),
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
        let special = context.limbs()..context.all_limbs();
        if let Some(division) = &self.division {
            let sums: Vec<_> = special
                .clone()
                .map(|limb| {
                    let mut halves = [(); 2].map(|()| context.zeros(outputs, limb));
                    let [first, second] = &mut halves;
                    self.sum(limb, &centred, &mut digits, [first, second]);
                    halves
                })
                .collect();
            remainders = vec![0; 2 * outputs * special.len() * n];
            remainders
                .par_chunks_exact_mut(special.len() * n)
                .enumerate()
                .for_each_init(
                    || vec![0; special.len() * n],
                    |residues, (place, remainders)| {
                        let (half, row) = (place / outputs, place % outputs);
                        let limbs = special.clone().zip(&sums);
                        for ((limb, halves), values) in limbs.zip(residues.chunks_exact_mut(n)) {
                            self.coefficients(limb, &halves[half], row, values);
                        }
                        let backend = context.backend();
                        division.group.digits_into(backend, residues, remainders);
                    },
                );
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
                let rows = halves.into_iter().flat_map(|half| {
                    let size = half.row_bytes();
                    half.as_mut_bytes().chunks_exact_mut(size)
                });
                let rows: Vec<_> = rows
                    .zip(remainders.chunks_exact(special.len() * n))
                    .collect();
                rows.into_par_iter().for_each_init(
                    || [(); 2].map(|()| vec![0; n]),
                    |[values, scratch], (row, remainder)| {
                        context.unpack(limb, row, values);
                        division.divide(context, limb, remainder, values, scratch);
                        context.pack(limb, values, row);
                    },
                );
            }
        }
    }

    /// Component 1 of every switched input, centred modulo the limbs of each digit: input, limb, coefficient.
    fn centred(&self) -> Vec<u64> {
        let (limbs, n) = (self.a.limbs(), self.context.ring_degree());
        let mut residues = vec![0; self.switched.len() * limbs * n];
        residues
            .par_chunks_exact_mut(n)
            .enumerate()
            .for_each(|(place, values)| {
                let (input, limb) = (self.switched[place / limbs], place % limbs);
                self.coefficients(limb, &self.a.parts[1][limb], input, values);
            });
        let mut centred = vec![0; residues.len()];
        centred
            .par_chunks_exact_mut(limbs * n)
            .zip(residues.par_chunks_exact(limbs * n))
            .for_each(|(centred, residues)| self.digits.center(residues, centred));
        centred
    }

    /// The coefficients of a row of a matrix.
    fn coefficients(&self, limb: usize, matrix: &ResidueMatrix, row: usize, values: &mut [u64]) {
        self.context.backend().unpack_row(matrix, row, values);
        self.context.table(limb).inverse(values);
    }

    /// All outputs modulo one modulus, times the special prime if there is a division to come.
    fn sum(
        &self,
        target: usize,
        centred: &[u64],
        digits: &mut [u64],
        halves: [&mut ResidueMatrix; 2],
    ) {
        let n = self.context.ring_degree();
        self.transform_digits(target, centred, digits);
        let digits = &*digits;
        let weights = self
            .plaintexts
            .map(|plaintexts| plaintexts.of_modulus(self.context, target));
        let weights = weights.as_deref();
        let (length, outputs) = (STRIP.min(n), halves[0].rows());
        let [first, second] = halves.map(|half| half.strips_mut(length));
        first.into_par_iter().zip(second).enumerate().for_each_init(
            || Scratch {
                sums: vec![0; 2 * outputs * length],
                switched: vec![0; 2 * length],
                terms: vec![0; GROUP * 2 * length],
                unpacked: vec![0; length],
            },
            |scratch, (index, (first, second))| {
                let operands = (digits, weights);
                self.sum_strip(target, index * length, operands, scratch, [first, second]);
            },
        );
    }

    /// The digits of every switched input modulo one modulus, in evaluation form: input, digit, position.
    fn transform_digits(&self, target: usize, centred: &[u64], digits: &mut [u64]) {
        let (limbs, n) = (self.a.limbs(), self.context.ring_degree());
        digits.par_chunks_exact_mut(n).enumerate().for_each_init(
            || vec![0; n],
            |cut, (place, values)| {
                let (input, digit) = (place / self.digits.len(), place % self.digits.len());
                if self.digits.is_residue(digit, target) {
                    // It is there in evaluation form.
                    let (backend, part) = (self.context.backend(), &self.a.parts[1][target]);
                    backend.unpack_row(part, self.switched[input], values);
                } else {
                    let centred = &centred[input * limbs * n..][..limbs * n];
                    self.digits.transform(digit, target, centred, values, cut);
                }
            },
        );
    }

    /// One strip of all outputs modulo one modulus.
    fn sum_strip(
        &self,
        target: usize,
        start: usize,
        (digits, weights): (&[u64], Option<&ResidueMatrix>),
        scratch: &mut Scratch,
        mut halves: [StripMut<'_>; 2],
    ) {
        let (modulus, backend) = (self.context.modulus(target), self.context.backend());
        let (width, length) = (modulus.byte_width(), halves[0].columns());
        let strip = start..start + length;
        let packed = strip.start * width..strip.end * width;
        let Scratch {
            sums,
            switched,
            terms,
            unpacked,
        } = scratch;
        sums.fill(0);
        for group in &self.groups {
            for (rotation, term) in group
                .rotations
                .iter()
                .zip(terms.chunks_exact_mut(2 * length))
            {
                match rotation.key {
                    Some((row, automorphism)) => {
                        let source = automorphism.source_of(strip.clone());
                        switched.fill(0);
                        self.add_switched(
                            target,
                            source.clone(),
                            digits,
                            (rotation.input, row),
                            switched,
                        );
                        let first = &mut switched[..length];
                        self.add_component(target, source, (rotation.input, 0), unpacked, first);
                        for (from, to) in switched
                            .chunks_exact(length)
                            .zip(term.chunks_exact_mut(length))
                        {
                            automorphism.apply_strip_into(backend, strip.clone(), from, to);
                        }
                    }
                    None => {
                        term.fill(0);
                        for (component, half) in term.chunks_exact_mut(length).enumerate() {
                            let place = (rotation.input, component);
                            self.add_component(target, strip.clone(), place, unpacked, half);
                        }
                    }
                }
            }
            for (output, uses) in &group.outputs {
                let sums = &mut sums[2 * output * length..][..2 * length];
                for (half, sums) in sums.chunks_exact_mut(length).enumerate() {
                    let term = |place: usize| &terms[(2 * place + half) * length..][..length];
                    let Some(weights) = weights else {
                        for &(place, _) in uses {
                            backend.add_assign(modulus, sums, term(place));
                        }
                        continue;
                    };
                    let weight = |row: usize| &weights.row(row)[packed.clone()];
                    let products: Vec<_> = uses
                        .iter()
                        .filter_map(|&(place, row)| Some((term(place), weight(row?))))
                        .collect();
                    backend.add_packed_products(modulus, sums, &products);
                }
            }
        }
        for (output, sums) in sums.chunks_exact(2 * length).enumerate() {
            for (half, sums) in halves.iter_mut().zip(sums.chunks_exact(length)) {
                backend.pack(width, sums, half.row_mut(output));
            }
        }
    }

    /// sums += Σ digit · (b, a), for a strip of an input and the key that starts at a row.
    fn add_switched(
        &self,
        target: usize,
        strip: Range<usize>,
        digits: &[u64],
        (input, first_row): (usize, usize),
        sums: &mut [u64],
    ) {
        let modulus = self.context.modulus(target);
        let (n, width) = (self.context.ring_degree(), modulus.byte_width());
        let packed = strip.start * width..strip.end * width;
        let input = self.switched.partition_point(|&switched| switched < input);
        let digits = &digits[input * self.digits.len() * n..][..self.digits.len() * n];
        for (half, sums) in [&self.key.bodies, &self.key.uniform]
            .into_iter()
            .zip(sums.chunks_exact_mut(strip.len()))
        {
            let rows = (first_row..).map(|row| &half[target].row(row)[packed.clone()]);
            let digits = digits.chunks_exact(n).map(|digit| &digit[strip.clone()]);
            let products: Vec<_> = digits.zip(rows).collect();
            let backend = self.context.backend();
            backend.add_packed_products(modulus, sums, &products);
        }
    }

    /// sum += P · component, for a strip of an input; without P where nothing will be divided by it.
    fn add_component(
        &self,
        target: usize,
        strip: Range<usize>,
        (input, component): (usize, usize),
        unpacked: &mut [u64],
        sum: &mut [u64],
    ) {
        if target >= self.context.limbs() {
            return;
        }
        let (modulus, backend) = (self.context.modulus(target), self.context.backend());
        let width = modulus.byte_width();
        let row = self.a.parts[component][target].row(input);
        let packed = &row[strip.start * width..strip.end * width];
        backend.unpack(width, packed, unpacked);
        match &self.division {
            Some(_) => {
                let special = self.context.special_product(target);
                backend.multiply_scalar_add_assign(modulus, sum, unpacked, special);
            }
            None => backend.add_assign(modulus, sum, unpacked),
        }
    }
}
