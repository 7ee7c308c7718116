//! Three components back to two.

use rayon::prelude::*;
use sordino_ring::Modulus;

use super::check_components;
use super::rescale::Division;
use crate::rows::rows_of;
use crate::{Ciphertexts, Context, Error, EvaluationKey};

/// Ciphertexts that a worker relinearizes together, so that each polynomial of the key is unpacked once for
/// all of them. Their digits and sums still fit a second-level cache or little more.
const LARGEST_BLOCK: usize = 4;

/// Key and sizes of one call.
struct KeySwitch<'a> {
    context: &'a Context,
    key: &'a EvaluationKey,
    /// Where the digits of the key for relinearization start.
    first_row: usize,
    limbs: usize,
    /// Division by the special prime, with that gadget.
    division: Option<Division>,
}

/// Memory of one worker for a block of ciphertexts.
struct Scratch {
    /// Centred residues of component 2: limb, ciphertext, coefficient.
    centred: Vec<i64>,
    /// Sums of digit · b and digit · a: ciphertext, half, coefficient.
    sums: Vec<u64>,
    /// Centred coefficients of the sums modulo the special prime: ciphertext, half, coefficient.
    remainders: Vec<i64>,
    digits: Vec<i64>,
    values: Vec<u64>,
    body: Vec<u64>,
    uniform: Vec<u64>,
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
    /// With ℓ limbs: ℓ² + 3ℓ + 2 transforms a ciphertext with a special prime, ℓ + Dℓ with D small digits.
    pub fn relinearize(
        &self,
        mut a: Ciphertexts,
        key: &EvaluationKey,
    ) -> Result<Ciphertexts, Error> {
        self.check_parameters("relinearization", &a)?;
        key.check(self)?;
        check_components("relinearization", "three", 3, a.components())?;
        let (rows, limbs) = (a.len(), a.limbs());
        let special = self.limbs()..self.all_limbs();
        let switch = KeySwitch {
            context: self,
            key,
            first_row: key.relinearization_row()?,
            limbs,
            division: (!special.is_empty()).then(|| Division::new(self, special, limbs)),
        };
        let block = rows
            .div_ceil(rayon::current_num_threads())
            .clamp(1, LARGEST_BLOCK);
        rows_of(a.parts.iter_mut().flatten())
            .par_chunks_mut(block * 3 * limbs)
            .for_each_init(
                || Scratch::new(self.ring_degree(), limbs, block),
                |scratch, rows| switch.run(rows, scratch),
            );
        a.parts.truncate(2);
        Ok(a)
    }
}

impl Scratch {
    fn new(n: usize, limbs: usize, block: usize) -> Self {
        Self {
            centred: vec![0; limbs * block * n],
            sums: vec![0; 2 * block * n],
            remainders: vec![0; 2 * block * n],
            digits: vec![0; n],
            values: vec![0; n],
            body: vec![0; n],
            uniform: vec![0; n],
        }
    }
}

impl KeySwitch<'_> {
    /// Switches a block of ciphertexts; `rows` holds, a ciphertext, the limbs of components 0, 1 and 2.
    fn run(&self, rows: &mut [&mut [u8]], scratch: &mut Scratch) {
        let (context, limbs, n) = (self.context, self.limbs, self.context.ring_degree());
        let block = rows.len() / (3 * limbs);
        for (limb, centred) in scratch
            .centred
            .chunks_exact_mut(block * n)
            .take(limbs)
            .enumerate()
        {
            let modulus = context.modulus(limb);
            for (row, centred) in rows
                .chunks_exact(3 * limbs)
                .zip(centred.chunks_exact_mut(n))
            {
                context.unpack(limb, row[2 * limbs + limb], &mut scratch.values);
                context.table(limb).inverse(&mut scratch.values);
                center_into(modulus, &scratch.values, centred);
            }
        }
        if self.division.is_some() {
            let special = context.limbs();
            let modulus = context.modulus(special);
            self.sum_digits(special, rows, scratch);
            for (sums, remainders) in scratch
                .sums
                .chunks_exact_mut(n)
                .zip(scratch.remainders.chunks_exact_mut(n))
                .take(2 * block)
            {
                context.table(special).inverse(sums);
                center_into(modulus, sums, remainders);
            }
        }
        for limb in 0..limbs {
            self.sum_digits(limb, rows, scratch);
            self.add_sums(limb, rows, scratch);
        }
    }

    /// Σ digit · (b, a) modulo one modulus, for every ciphertext of the block.
    fn sum_digits(&self, target: usize, rows: &[&mut [u8]], scratch: &mut Scratch) {
        let (context, limbs, n) = (self.context, self.limbs, self.context.ring_degree());
        let (modulus, backend) = (context.modulus(target), context.backend());
        let block = rows.len() / (3 * limbs);
        scratch.sums[..2 * block * n].fill(0);
        // Digits are listed limb by limb, so those of the limbs that are left come first.
        for (index, digit) in context.digits().iter().enumerate() {
            if digit.limb >= limbs {
                break;
            }
            let row = self.first_row + index;
            backend.unpack_row(&self.key.bodies[target], row, &mut scratch.body);
            backend.unpack_row(&self.key.uniform[target], row, &mut scratch.uniform);
            let centred = &scratch.centred[digit.limb * block * n..][..block * n];
            for ((row, centred), sums) in rows
                .chunks_exact(3 * limbs)
                .zip(centred.chunks_exact(n))
                .zip(scratch.sums.chunks_exact_mut(2 * n))
            {
                if digit.limb == target && digit.shift == 0 && digit.last {
                    // The digit is the limb's own residue, which is there in evaluation form.
                    context.unpack(target, row[2 * limbs + target], &mut scratch.values);
                } else {
                    digit.cut_into(centred, &mut scratch.digits);
                    backend.reduce_i64_into(modulus, &scratch.digits, &mut scratch.values);
                    context.table(target).forward(&mut scratch.values);
                }
                let (with_body, with_uniform) = sums.split_at_mut(n);
                let values = &scratch.values;
                backend.multiply_add_assign(modulus, with_body, values, &scratch.body);
                backend.multiply_add_assign(modulus, with_uniform, values, &scratch.uniform);
            }
        }
    }

    /// Adds the sums, divided by the special prime if there is one, to components 0 and 1.
    fn add_sums(&self, limb: usize, rows: &mut [&mut [u8]], scratch: &mut Scratch) {
        let (context, limbs, n) = (self.context, self.limbs, self.context.ring_degree());
        let modulus = context.modulus(limb);
        let Scratch {
            sums,
            remainders,
            values: spare,
            ..
        } = scratch;
        let halves = sums.chunks_exact_mut(n).zip(remainders.chunks_exact(n));
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

pub(super) fn center_into(modulus: &Modulus, residues: &[u64], centred: &mut [i64]) {
    for (centred, &residue) in centred.iter_mut().zip(residues) {
        *centred = modulus.center(residue);
    }
}
