//! Encoded vectors, for products and sums with ciphertexts.

use std::borrow::Cow;

use rayon::prelude::*;
use sordino_container::Digest;
use sordino_ring::ResidueMatrix;

use crate::error::{check_count, check_range, check_some};
use crate::rows::rows_of;
use crate::{Context, Error, Scale, check_message_range};

/// F encoded vectors of N slots at one scale, for ciphertexts of any level up to their own.
///
/// # Shapes
/// A matrix of F × N residues in evaluation form for each limb, and one for each special modulus, which
/// products before its division need. [`compact`](Context::encode_compact) ones hold their F × N coefficients instead.
#[derive(Clone, Debug, PartialEq)]
pub struct Plaintexts {
    parameters: Digest,
    encoded: Encoded,
    count: usize,
    limbs: usize,
    scale: Scale,
}

/// How vectors are held.
#[derive(Clone, Debug, PartialEq)]
enum Encoded {
    /// The limbs, then the special moduli.
    Residues(Vec<ResidueMatrix>),
    /// Vector after vector; each is multiplied by 2 to the power of `shift`.
    Coefficients { values: Vec<i64>, shift: u64 },
}

impl Plaintexts {
    /// The digest of the parameters that these vectors belong to.
    pub fn parameters(&self) -> Digest {
        self.parameters
    }

    /// The number of vectors F.
    pub fn len(&self) -> usize {
        self.count
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

    /// Bytes of residues or coefficients.
    pub fn size_bytes(&self) -> usize {
        match &self.encoded {
            Encoded::Residues(residues) => residues.iter().map(|m| m.as_bytes().len()).sum(),
            Encoded::Coefficients { values, .. } => size_of_val(&values[..]),
        }
    }

    /// The residues modulo a limb, or a special modulus as `context` numbers it, in evaluation form.
    ///
    /// # Cost
    /// A transform per vector where these are compact, in parallel over vectors.
    pub(crate) fn of_modulus(&self, context: &Context, modulus: usize) -> Cow<'_, ResidueMatrix> {
        match &self.encoded {
            Encoded::Residues(residues) if modulus < context.limbs() => {
                Cow::Borrowed(&residues[modulus])
            }
            Encoded::Residues(residues) => {
                Cow::Borrowed(&residues[self.limbs + modulus - context.limbs()])
            }
            Encoded::Coefficients { values, shift } => {
                let n = context.ring_degree();
                let mut matrix = context.unspecified(self.count, modulus);
                matrix
                    .rows_mut()
                    .zip(values.par_chunks_exact(n))
                    .for_each_init(
                        || vec![0; n],
                        |residues, (row, coefficients)| {
                            context.transform_coefficients(modulus, coefficients, *shift, residues);
                            context.pack(modulus, residues, row);
                        },
                    );
                Cow::Owned(matrix)
            }
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
    /// The slots are multiplied by `scale` and each coefficient is rounded to the nearest integer; what that adds in a
    /// slot is [`noise::rounding`](crate::noise::rounding). Above a scale of 2^48 coefficients are rounded at that
    /// scale, with 48 bits, and multiplied by the power of two that is missing.
    ///
    /// # Errors
    /// [`Error::Count`] if there is no vector, not a whole number of them, or no or too many limbs;
    /// [`Error::NotFinite`] with the place in its vector, [`Error::MessageRange`] for coefficients that do not
    /// fit into half of the modulus.
    ///
    /// # Cost
    /// A cosine transform per vector and a transform per vector and modulus, in parallel over vectors.
    pub fn encode_plaintexts(
        &self,
        slots: &[f64],
        scale: Scale,
        limbs: usize,
    ) -> Result<Plaintexts, Error> {
        let n = self.ring_degree();
        let count = slots.len() / n;
        check_count("slots of whole vectors", count.max(1) * n, slots.len())?;
        let shift = self.check_encoding(limbs, scale)?;
        let moduli: Vec<usize> = (0..limbs).chain(self.limbs()..self.all_limbs()).collect();
        let mut residues: Vec<_> = moduli
            .iter()
            .map(|&modulus| self.unspecified(count, modulus))
            .collect();
        rows_of(residues.iter_mut())
            .par_chunks_exact_mut(moduli.len())
            .zip(slots.par_chunks_exact(n))
            .try_for_each_init(
                || (self.encoding(), vec![0; n], vec![0; n]),
                |(encoding, coefficients, values), (rows, slots)| {
                    encoding.encode(slots, scale, (limbs, shift), coefficients)?;
                    for (&modulus, row) in moduli.iter().zip(rows) {
                        self.transform_coefficients(modulus, coefficients, shift, values);
                        self.pack(modulus, values, row);
                    }
                    Ok::<_, Error>(())
                },
            )?;
        Ok(Plaintexts {
            parameters: self.digest(),
            encoded: Encoded::Residues(residues),
            count,
            limbs,
            scale,
        })
    }

    /// As [`encode_plaintexts`](Self::encode_plaintexts), of `count` vectors that `fill` writes when they are needed. The result is
    /// smaller by the number of moduli, and every product with it takes a transform per vector and modulus.
    ///
    /// # Shapes
    /// `fill(f, slots)` writes the N slots of vector f.
    ///
    /// # Errors
    /// As [`encode_plaintexts`](Self::encode_plaintexts).
    pub fn encode_compact(
        &self,
        count: usize,
        fill: impl Fn(usize, &mut [f64]) + Sync,
        scale: Scale,
        limbs: usize,
    ) -> Result<Plaintexts, Error> {
        let n = self.ring_degree();
        check_some("vectors to encode (at least 1)", count)?;
        let shift = self.check_encoding(limbs, scale)?;
        let mut values = vec![0; count * n];
        values
            .par_chunks_exact_mut(n)
            .enumerate()
            .try_for_each_init(
                || (self.encoding(), vec![0.0; n]),
                |(encoding, slots), (vector, coefficients)| {
                    fill(vector, slots);
                    encoding.encode(slots, scale, (limbs, shift), coefficients)
                },
            )?;
        Ok(Plaintexts {
            parameters: self.digest(),
            encoded: Encoded::Coefficients { values, shift },
            count,
            limbs,
            scale,
        })
    }

    /// Checks the limbs of an encoding, and returns the power of two that its coefficients lack.
    fn check_encoding(&self, limbs: usize, scale: Scale) -> Result<u64, Error> {
        let what = "limbs of encoded vectors (at most those of the chain, at least 1)";
        check_range(what, self.limbs(), limbs)?;
        Ok((scale.log2() - ENCODED_BITS).ceil().max(0.0) as u64)
    }

    fn encoding(&self) -> Encoding<'_> {
        Encoding {
            context: self,
            ordered: vec![0.0; self.ring_degree()],
            transform: vec![0.0; self.encoder().scratch_len()],
        }
    }

    /// Coefficients times 2 to the power of `shift`, modulo a limb and in evaluation form.
    fn transform_coefficients(
        &self,
        modulus: usize,
        coefficients: &[i64],
        shift: u64,
        values: &mut [u64],
    ) {
        let (table, backend) = (self.table(modulus), self.backend());
        backend.reduce_i64_into(table.modulus(), coefficients, values);
        table.forward(values);
        if shift > 0 {
            let factor = table.modulus().pow(2, shift);
            backend.multiply_scalar_assign(table.modulus(), values, factor);
        }
    }
}

/// Memory of a thread that encodes vectors.
struct Encoding<'a> {
    context: &'a Context,
    ordered: Vec<f64>,
    transform: Vec<f64>,
}

impl Encoding<'_> {
    /// The coefficients of a vector at a scale without the factor 2 to the power of `shift`, for so many limbs.
    fn encode(
        &mut self,
        slots: &[f64],
        scale: Scale,
        (limbs, shift): (usize, u64),
        coefficients: &mut [i64],
    ) -> Result<(), Error> {
        if let Some(slot) = slots.iter().position(|value| !value.is_finite()) {
            return Err(Error::NotFinite { slot });
        }
        let (context, shift) = (self.context, shift as f64);
        let limit = context.parameters().log2_q_at(limbs - 1) - 1.0 - shift;
        let scale = Scale::new(scale.value() / shift.exp2())?;
        context
            .rotation_order()
            .to_slots_into(slots, &mut self.ordered);
        let transform = &mut self.transform;
        let encoder = context.encoder();
        encoder.encode_in_place(&mut self.ordered, transform, scale, coefficients)?;
        check_message_range(coefficients, limit)
    }
}
