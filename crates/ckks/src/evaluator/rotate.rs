//! Sums of rotated ciphertexts: what is asked for, checked and ordered.

use std::collections::BTreeMap;

use super::product::check_two_components;
use super::rotated_sums::{RotatedSums, Rotation};
use crate::error::{check_index, check_some};
use crate::{Ciphertexts, Context, Error, EvaluationKey, Plaintexts};

/// One term of a sum: plaintext · rotation of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RotatedTerm {
    /// The row of the ciphertexts that are rotated.
    pub input: usize,
    /// How far to the left, in rotation order; below N.
    pub steps: usize,
    /// The row of the plaintexts that it is multiplied by; 1 without.
    pub plaintext: Option<usize>,
}

impl Context {
    /// Output o is the sum of its terms: plaintext · rotation of an input by some steps.
    ///
    /// Rotation by s steps moves entry p + s of a vector in [`RotationOrder`](crate::RotationOrder) to entry p, indices
    /// modulo N. This one operation covers hoisted rotations of an input with products, giant steps, and folds.
    ///
    /// # Shapes
    /// Any inputs → as many ciphertexts as there are outputs, of two components.
    ///
    /// # Level and scale
    /// The level stays, any will do with the one key. Either all terms have a plaintext, and the scale is multiplied by
    /// theirs, or none has. The noise is [`noise::rotated_sum`](crate::noise::rotated_sum).
    ///
    /// # Errors
    /// [`Error::Components`] unless there are two; [`Error::Terms`] for terms with and without plaintext;
    /// [`Error::Count`] for rows that do not exist, steps of N or more, no output, an output without a term, or
    /// plaintexts with fewer limbs; [`Error::MissingRotation`]; [`Error::ParametersMismatch`]; [`Error::Scale`].
    ///
    /// # Cost
    /// With ℓ limbs and a special prime: ℓ² + ℓ transforms an input that is rotated, 2ℓ + 2 an output, and 2ℓ products of
    /// polynomials a modulus for every distinct (input, steps): its key is read once. Digits are cut once an input and the
    /// division by the special prime happens once an output. Memory: 8 N bytes a digit and input for one modulus at a
    /// time, and 16 kB a thread and output. Parallel over digits and positions, so that a single output uses all cores.
    ///
    /// # Reference
    /// Bossuat et al., "Efficient Bootstrapping for Approximate Homomorphic Encryption with Non-Sparse Keys", EUROCRYPT
    /// 2021, section 4 (double hoisting).
    pub fn sum_rotated(
        &self,
        a: &Ciphertexts,
        outputs: &[Vec<RotatedTerm>],
        plaintexts: Option<&Plaintexts>,
        key: &EvaluationKey,
    ) -> Result<Ciphertexts, Error> {
        self.check_parameters("rotation", a)?;
        check_two_components("rotation", a)?;
        key.check(self)?;
        if let Some(plaintexts) = plaintexts {
            self.check_plaintexts("products with rotations", a, plaintexts)?;
        }
        let counts = [a.len(), plaintexts.map_or(0, Plaintexts::len)];
        self.check_terms(counts, outputs, plaintexts.is_some())?;

        let mut uses: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (output, terms) in outputs.iter().enumerate() {
            for term in terms {
                uses.entry((term.input, term.steps))
                    .or_default()
                    .push((output, term.plaintext));
            }
        }
        let rotations = uses
            .into_iter()
            .map(|((input, steps), uses)| {
                let key = match steps {
                    0 => None,
                    _ => Some(key.rotation(steps)?),
                };
                Ok(Rotation { input, key, uses })
            })
            .collect::<Result<Vec<_>, Error>>()?;
        let scale = match plaintexts {
            Some(plaintexts) => a.scale.times(plaintexts.scale().value())?,
            None => a.scale,
        };
        let mut sums = Ciphertexts::zeros(self, outputs.len(), 2, a.limbs(), scale);
        RotatedSums::new(self, a, plaintexts, key, &rotations).run(&mut sums.parts);
        Ok(sums)
    }

    /// Every ciphertext rotated by `steps` to the left, in [`RotationOrder`](crate::RotationOrder).
    ///
    /// # Level and scale
    /// Both stay.
    ///
    /// # Errors
    /// As [`sum_rotated`](Self::sum_rotated).
    pub fn rotate(
        &self,
        a: &Ciphertexts,
        steps: usize,
        key: &EvaluationKey,
    ) -> Result<Ciphertexts, Error> {
        let term = |input| RotatedTerm {
            input,
            steps,
            plaintext: None,
        };
        let outputs: Vec<_> = (0..a.len()).map(|input| vec![term(input)]).collect();
        self.sum_rotated(a, &outputs, None, key)
    }

    /// Inputs, steps and plaintexts exist, and all terms have a plaintext or none has; `counts` of inputs and plaintexts.
    fn check_terms(
        &self,
        counts: [usize; 2],
        outputs: &[Vec<RotatedTerm>],
        with_plaintexts: bool,
    ) -> Result<(), Error> {
        check_some("sums of rotations (at least 1)", outputs.len())?;
        for (output, terms) in outputs.iter().enumerate() {
            check_some("terms of an output (at least 1)", terms.len())?;
            for (term, found) in terms.iter().enumerate() {
                check_index("input of a term (below)", counts[0], found.input)?;
                check_index("steps of a term (below)", self.ring_degree(), found.steps)?;
                let reason = match (found.plaintext, with_plaintexts) {
                    (Some(plaintext), true) => {
                        check_index("plaintext of a term (below)", counts[1], plaintext)?;
                        continue;
                    }
                    (None, false) => continue,
                    (Some(_), false) => "it names a plaintext, and the call has none",
                    (None, true) => "it has no plaintext, and the call has plaintexts",
                };
                return Err(Error::Terms {
                    output,
                    term,
                    reason,
                });
            }
        }
        Ok(())
    }
}
