//! Three components back to two.

use super::RowOperation;
use super::digits::Digits;
use super::rescale::Division;
use crate::{Ciphertexts, Context, Error, EvaluationKey};

/// Digits that are multiplied with the key together.
const TOGETHER: usize = 8;

/// A key, for ciphertexts with some number of limbs.
pub(super) struct KeySwitch<'a> {
    context: &'a Context,
    key: &'a EvaluationKey,
    /// The first row of the digits of the key for relinearization.
    first_row: usize,
    pub(super) limbs: usize,
    digits: Digits<'a>,
    /// Division by the special primes, with a gadget that has any.
    division: Option<Division>,
}

/// Memory of one worker for a block of ciphertexts.
pub(super) struct Scratch {
    /// Coefficients of component 2 of one ciphertext, then of one sum modulo the special primes: limb, coefficient.
    residues: Vec<u64>,
    /// Component 2, centred modulo the limbs of each digit: ciphertext, limb, coefficient.
    centred: Vec<u64>,
    /// Sums of digit · b and digit · a: special primes, then one of a limb; ciphertext, half, position.
    sums: Vec<u64>,
    /// The sums centred modulo the special primes, in mixed radix: ciphertext, half, prime, coefficient.
    remainders: Vec<u64>,
    cut: Vec<i64>,
    /// Digits in evaluation form.
    values: Vec<u64>,
}

impl Context {
    /// Replaces component 2, which decrypts with s², by its key switch to s; two components are left.
    ///
    /// # Level and scale
    /// Both stay. Works at every level with the one key. The noise is
    /// [`noise::relinearization`](crate::noise::relinearization).
    ///
    /// # Errors
    /// [`Error::Components`] unless there are three, [`Error::MissingRelinearization`], [`Error::ParametersMismatch`]
    /// for the ciphertexts or the key.
    ///
    /// # Cost
    /// Transforms per ciphertext, with ℓ limbs: ℓ + D(ℓ + k) − ℓ + 2(ℓ + k) with k special primes and D digits of whole limbs (ℓ² + 3ℓ + 2
    /// with one special prime and one digit per limb), ℓ + Dℓ with D small digits.
    pub fn relinearize(&self, a: Ciphertexts, key: &EvaluationKey) -> Result<Ciphertexts, Error> {
        self.check_parameters("relinearization", &a)?;
        let relinearize = RowOperation::Relinearize { key };
        Ok(self.apply_rows(a, &[relinearize])?.ciphertexts)
    }
}

impl<'a> KeySwitch<'a> {
    /// # Errors
    /// [`Error::ParametersMismatch`], [`Error::MissingRelinearization`].
    pub(super) fn new(
        context: &'a Context,
        key: &'a EvaluationKey,
        limbs: usize,
    ) -> Result<Self, Error> {
        key.check(context)?;
        let special = context.limbs()..context.all_limbs();
        Ok(Self {
            context,
            key,
            first_row: key.relinearization_row()?,
            limbs,
            digits: Digits::new(context, limbs),
            division: (!special.is_empty()).then(|| Division::new(context, special, limbs)),
        })
    }
}

impl KeySwitch<'_> {
    /// Memory for as many ciphertexts.
    pub(super) fn scratch(&self, block: usize) -> Scratch {
        let (limbs, n) = (self.limbs, self.context.ring_degree());
        let special = self.context.all_limbs() - self.context.limbs();
        Scratch {
            residues: vec![0; limbs.max(special) * n],
            centred: vec![0; block * limbs * n],
            sums: vec![0; special.max(1) * 2 * block * n],
            remainders: vec![0; 2 * block * special * n],
            cut: vec![0; n],
            values: vec![0; self.digits.len().clamp(1, TOGETHER) * n],
        }
    }

    /// Switches a block of ciphertexts; `rows` holds the limbs of components 0, 1 and 2 of each ciphertext.
    pub(super) fn run(&self, rows: &mut [&mut [u8]], scratch: &mut Scratch) {
        let (context, limbs, n) = (self.context, self.limbs, self.context.ring_degree());
        let block = rows.len() / (3 * limbs);
        for (row, centred) in rows
            .chunks_exact(3 * limbs)
            .zip(scratch.centred.chunks_exact_mut(limbs * n))
        {
            let residues = &mut scratch.residues[..limbs * n];
            for (limb, values) in residues.chunks_exact_mut(n).enumerate() {
                context.unpack(limb, row[2 * limbs + limb], values);
                context.table(limb).inverse(values);
            }
            self.digits.center(residues, centred);
        }
        if let Some(division) = &self.division {
            let special = context.limbs()..context.all_limbs();
            for (place, limb) in special.clone().enumerate() {
                self.sum_digits(limb, place, rows, scratch);
            }
            let Scratch {
                residues,
                sums,
                remainders,
                ..
            } = scratch;
            let residues = &mut residues[..special.len() * n];
            for (sum, remainder) in remainders
                .chunks_exact_mut(special.len() * n)
                .take(2 * block)
                .enumerate()
            {
                for ((place, limb), values) in special
                    .clone()
                    .enumerate()
                    .zip(residues.chunks_exact_mut(n))
                {
                    values.copy_from_slice(&sums[(place * 2 * block + sum) * n..][..n]);
                    context.table(limb).inverse(values);
                }
                let backend = context.backend();
                division.group.digits_into(backend, residues, remainder);
            }
        }
        for limb in 0..limbs {
            self.sum_digits(limb, 0, rows, scratch);
            self.add_sums(limb, rows, scratch);
        }
    }

    /// Σ digit · (b, a) modulo one modulus, for every ciphertext of the block, at a place of the sums.
    fn sum_digits(&self, target: usize, place: usize, rows: &[&mut [u8]], scratch: &mut Scratch) {
        let (context, limbs, n) = (self.context, self.limbs, self.context.ring_degree());
        let (modulus, backend) = (context.modulus(target), context.backend());
        let block = rows.len() / (3 * limbs);
        let sums = &mut scratch.sums[place * 2 * block * n..][..2 * block * n];
        sums.fill(0);
        for first in (0..self.digits.len()).step_by(TOGETHER) {
            let indices = first..self.digits.len().min(first + TOGETHER);
            for ((row, centred), sums) in rows
                .chunks_exact(3 * limbs)
                .zip(scratch.centred.chunks_exact(limbs * n))
                .zip(sums.chunks_exact_mut(2 * n))
            {
                for (index, values) in indices.clone().zip(scratch.values.chunks_exact_mut(n)) {
                    if self.digits.is_residue(index, target) {
                        // It is there in evaluation form.
                        context.unpack(target, row[2 * limbs + target], values);
                    } else {
                        self.digits
                            .transform(index, target, centred, values, &mut scratch.cut);
                    }
                }
                let keys = [&self.key.bodies[target], &self.key.uniform[target]];
                for (sum, key) in sums.chunks_exact_mut(n).zip(keys) {
                    let rows = indices.clone().map(|index| key.row(self.first_row + index));
                    let products: Vec<_> = scratch.values.chunks_exact(n).zip(rows).collect();
                    backend.add_packed_products(modulus, sum, &products);
                }
            }
        }
    }

    /// Adds the sums, divided by the special primes if there are any, to components 0 and 1.
    fn add_sums(&self, limb: usize, rows: &mut [&mut [u8]], scratch: &mut Scratch) {
        let (context, limbs, n) = (self.context, self.limbs, self.context.ring_degree());
        let modulus = context.modulus(limb);
        let Scratch {
            sums,
            remainders,
            values,
            ..
        } = scratch;
        let spare = &mut values[..n];
        let special = context.all_limbs() - context.limbs();
        let remainders = (0..).map(|sum| &remainders[sum * special * n..][..special * n]);
        let halves = sums.chunks_exact_mut(n).zip(remainders);
        let components = rows
            .chunks_exact_mut(3 * limbs)
            .flat_map(|row| row.chunks_exact_mut(limbs).take(2));
        for (component, (sums, remainder)) in components.zip(halves) {
            if let Some(division) = &self.division {
                division.divide(context, limb, remainder, sums, spare);
            }
            context.unpack(limb, component[limb], spare);
            context.backend().add_assign(modulus, spare, sums);
            context.pack(limb, spare, component[limb]);
        }
    }
}
