//! Encoded vectors, for products and sums with ciphertexts.

use rayon::prelude::*;
use sordino_container::Digest;
use sordino_ring::ResidueMatrix;

use crate::error::{check_count, check_range};
use crate::rows::rows_of;
use crate::{Context, Error, Scale, check_message_range};

/// F encoded vectors of N slots at one scale, for ciphertexts of any level up to their own.
///
/// # Shapes
/// A matrix of F × N residues in evaluation form for each limb, and one more for the special modulus, which
/// products before its division need.
#[derive(Clone, Debug, PartialEq)]
pub struct Plaintexts {
    pub(crate) parameters: Digest,
    /// The limbs, then the special modulus if the parameters have one.
    pub(crate) residues: Vec<ResidueMatrix>,
    limbs: usize,
    scale: Scale,
}

impl Plaintexts {
    /// The digest of the parameters that these vectors belong to.
    pub fn parameters(&self) -> Digest {
        self.parameters
    }

    /// The number of vectors F.
    pub fn len(&self) -> usize {
        self.residues[0].rows()
    }

    /// Whether there are none, which construction excludes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of limbs, without the special modulus: ciphertexts of this many or fewer can be multiplied.
    pub fn limbs(&self) -> usize {
        self.limbs
    }

    /// The scale of the slots.
    pub fn scale(&self) -> Scale {
        self.scale
    }

    /// Bytes of residues.
    pub fn size_bytes(&self) -> usize {
        self.residues
            .iter()
            .map(|matrix| matrix.as_bytes().len())
            .sum()
    }

    /// The residues modulo a limb, or the special modulus as `context` numbers it.
    pub(crate) fn of_modulus(&self, context: &Context, modulus: usize) -> &ResidueMatrix {
        if modulus < context.limbs() {
            &self.residues[modulus]
        } else {
            &self.residues[self.limbs + modulus - context.limbs()]
        }
    }
}

/// Bits of the scale that coefficients are rounded at.
const ENCODED_BITS: f64 = 48.0;

impl Context {
    /// Encodes vectors that are given in rotation order: entry p of a vector is slot `order[p]` of
    /// [`RotationOrder`](crate::RotationOrder).
    ///
    /// # Shapes
    /// `slots`: F × N, vector after vector. The result has `limbs` limbs and the special modulus.
    ///
    /// # Level and scale
    /// The slots are multiplied by `scale` and each coefficient is rounded to the nearest integer; what that adds in
    /// a slot is [`noise::rounding`](crate::noise::rounding). Above a scale of 2^48 coefficients are rounded at that scale,
    /// with 48 bits, and multiplied by the power of two that is missing.
    ///
    /// # Errors
    /// [`Error::Count`] if there is no vector, not a whole number of them, or no or too many limbs;
    /// [`Error::NotFinite`] with the place in its vector, [`Error::MessageRange`] for coefficients that do not
    /// fit into half of the modulus.
    ///
    /// # Cost
    /// A cosine transform a vector and a transform a vector and modulus, in parallel over vectors.
    pub fn encode_plaintexts(
        &self,
        slots: &[f64],
        scale: Scale,
        limbs: usize,
    ) -> Result<Plaintexts, Error> {
        let n = self.ring_degree();
        let what = "limbs of encoded vectors (at most those of the chain, at least 1)";
        check_range(what, self.limbs(), limbs)?;
        let count = slots.len() / n;
        check_count("slots of whole vectors", count.max(1) * n, slots.len())?;
        let moduli: Vec<usize> = (0..limbs).chain(self.limbs()..self.all_limbs()).collect();
        let mut residues: Vec<_> = moduli
            .iter()
            .map(|&modulus| self.zeros(count, modulus))
            .collect();
        let shift = (scale.log2() - ENCODED_BITS).ceil().max(0.0);
        let limit = self.parameters().log2_q_at(limbs - 1) - 1.0 - shift;
        let encoded_scale = Scale::new(scale.value() / shift.exp2())?;
        let encoder = self.encoder();
        rows_of(residues.iter_mut())
            .par_chunks_exact_mut(moduli.len())
            .zip(slots.par_chunks_exact(n))
            .try_for_each_init(
                || {
                    let transform = vec![0.0; encoder.scratch_len()];
                    (vec![0.0; n], transform, vec![0; n], vec![0; n])
                },
                |(ordered, transform, coefficients, values), (rows, slots)| {
                    if let Some(slot) = slots.iter().position(|value| !value.is_finite()) {
                        return Err(Error::NotFinite { slot });
                    }
                    self.rotation_order().to_slots_into(slots, ordered);
                    encoder.encode_in_place(ordered, transform, encoded_scale, coefficients)?;
                    check_message_range(coefficients, limit)?;
                    for (&modulus, row) in moduli.iter().zip(rows) {
                        let (table, backend) = (self.table(modulus), self.backend());
                        backend.reduce_i64_into(table.modulus(), coefficients, values);
                        table.forward(values);
                        if shift > 0.0 {
                            let factor = table.modulus().pow(2, shift as u64);
                            backend.multiply_scalar_assign(table.modulus(), values, factor);
                        }
                        self.pack(modulus, values, row);
                    }
                    Ok(())
                },
            )?;
        Ok(Plaintexts {
            parameters: self.digest(),
            residues,
            limbs,
            scale,
        })
    }
}
