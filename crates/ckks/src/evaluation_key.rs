//! The public keys that relinearization and rotations need.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sordino_container::Digest;
use sordino_ring::{Automorphism, ResidueMatrix};

use crate::error::{check_count, check_some};
use crate::seed::Purpose;
use crate::{Context, Error, KeyId, KeySet, Parameters, ParametersRecord};

/// Bytes of the public seed.
pub(crate) const SEED_BYTES: usize = 32;

/// The metadata of a file of evaluation keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationKeyMetadata {
    /// The parameters, unchecked.
    pub parameters: ParametersRecord,
    /// The digest of the parameters, which decides whether the key fits.
    pub parameters_digest: Digest,
    /// The public name of the secret key.
    pub key_id: KeyId,
    /// The switching keys in the file; files that do not say have the one for relinearization.
    #[serde(
        default = "KeySet::relinearization_only",
        skip_serializing_if = "KeySet::is_relinearization_only"
    )]
    pub key_set: KeySet,
}

/// Switching keys: for relinearization, if it is wanted, and for a set of rotations.
///
/// Every digit d of the gadget has the pair (b, a) modulo the whole chain and the special primes, with a expanded
/// from a public seed and b an encryption with the digit's factor (P or 2^shift), added modulo the digit's own
/// limbs only. That makes a key usable at every level.
///
/// - Relinearization: b = −a·s + e + factor · s².
/// - Rotation by t steps, with σ the automorphism X → X^(5^t): b = −a·σ⁻¹(s) + e + factor · s. The sum of digit ·
///   (b, a) is applied first and σ to its result, so that the digits of one ciphertext serve every rotation.
///
/// # Shapes
/// One matrix per modulus of rows × N residues, for b and for a; evaluation form. Rows are the digits of the key for
/// relinearization, then those of each rotation, in rising order.
pub struct EvaluationKey {
    pub(crate) metadata: EvaluationKeyMetadata,
    digits: usize,
    pub(crate) seed: [u8; SEED_BYTES],
    pub(crate) bodies: Vec<ResidueMatrix>,
    pub(crate) uniform: Vec<ResidueMatrix>,
    /// One per rotation.
    automorphisms: Vec<Automorphism>,
}

impl std::fmt::Debug for EvaluationKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EvaluationKey")
            .field("key_id", &self.metadata.key_id)
            .field("parameters", &self.metadata.parameters_digest)
            .field("key_set", &self.metadata.key_set)
            .field("bodies", &self.bodies)
            .finish_non_exhaustive()
    }
}

impl EvaluationKey {
    /// Takes the bodies of keys from outside, checks every residue and expands the uniform halves.
    ///
    /// # Shapes
    /// `bodies`: one matrix per modulus, special ones last, of keys · digits × N residues.
    ///
    /// # Errors
    /// [`Error::NoGadget`] if the parameters have none, [`Error::Rotations`] for rotations by N steps or more,
    /// [`Error::Count`] for an empty set and other shapes, [`Error::Ring`] for residues that are not below their
    /// modulus.
    ///
    /// # Cost
    /// Twice the memory of the bodies.
    pub fn from_parts(
        context: &Context,
        key_id: KeyId,
        seed: [u8; 32],
        key_set: KeySet,
        bodies: Vec<ResidueMatrix>,
    ) -> Result<Self, Error> {
        let (digits, n) = (context.digits().len(), context.ring_degree());
        check_set(context, &key_set)?;
        let rows = key_set.len() * digits;
        let moduli = context.all_limbs();
        check_count("moduli of an evaluation key", moduli, bodies.len())?;
        for (limb, matrix) in bodies.iter().enumerate() {
            check_count("digits of an evaluation key", rows, matrix.rows())?;
            check_count("residues of a polynomial", n, matrix.columns())?;
            context.backend().validate(context.modulus(limb), matrix)?;
        }
        let uniform = (0..moduli)
            .map(|limb| context.uniform_rows(&seed, Purpose::EvaluationKey, limb, 0, rows))
            .collect();
        let automorphisms = key_set
            .rotations()
            .par_iter()
            .map(|&steps| Automorphism::new(n, steps))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            metadata: EvaluationKeyMetadata {
                parameters: context.parameters().record().clone(),
                parameters_digest: context.digest(),
                key_id,
                key_set,
            },
            digits,
            seed,
            bodies,
            uniform,
            automorphisms,
        })
    }

    /// The digest of the parameters that the key belongs to.
    pub fn parameters(&self) -> Digest {
        self.metadata.parameters_digest
    }

    /// The public name of the secret key that it was made from.
    pub fn key_id(&self) -> KeyId {
        self.metadata.key_id
    }

    /// Which switching keys there are.
    pub fn key_set(&self) -> &KeySet {
        &self.metadata.key_set
    }

    /// Bytes of the key's payload; its file has a few hundred bytes of description more.
    pub fn size_bytes(&self) -> usize {
        self.seed.len()
            + self
                .bodies
                .iter()
                .map(|matrix| matrix.as_bytes().len())
                .sum::<usize>()
    }

    /// Bytes of the payload of a key for these parameters; 0 without a gadget or for an empty set.
    pub fn payload_bytes(parameters: &Parameters, key_set: &KeySet) -> u64 {
        Self::payload_of(parameters, key_set.len())
    }

    /// Bytes of the payload of some number of switching keys.
    pub(crate) fn payload_of(parameters: &Parameters, keys: usize) -> u64 {
        let rows = (parameters.digits().len() * keys) as u64;
        if rows == 0 {
            return 0;
        }
        let width = |prime: &u64| u64::from((u64::BITS - prime.leading_zeros()).div_ceil(8));
        let moduli = parameters
            .primes()
            .iter()
            .chain(parameters.special_primes());
        SEED_BYTES as u64 + rows * parameters.ring_degree() as u64 * moduli.map(width).sum::<u64>()
    }

    /// The key belongs to this context.
    pub(crate) fn check(&self, context: &Context) -> Result<(), Error> {
        context.check_digest("the evaluation key", self.parameters())
    }

    /// The first row of the key for relinearization.
    pub(crate) fn relinearization_row(&self) -> Result<usize, Error> {
        if self.key_set().relinearization() {
            Ok(0)
        } else {
            Err(Error::MissingRelinearization)
        }
    }

    /// The first row of the key for a rotation, and what is applied to the sum of its digits.
    pub(crate) fn rotation(&self, steps: usize) -> Result<(usize, &Automorphism), Error> {
        let position = self
            .key_set()
            .position(steps)
            .ok_or(Error::MissingRotation { steps })?;
        let place = position - usize::from(self.key_set().relinearization());
        Ok((position * self.digits, &self.automorphisms[place]))
    }
}

/// The context can have keys at all, and these.
pub(crate) fn check_set(context: &Context, key_set: &KeySet) -> Result<(), Error> {
    if context.digits().is_empty() {
        return Err(Error::NoGadget);
    }
    let what = "switching keys of an evaluation key (at least 1)";
    check_some(what, key_set.len())?;
    key_set.check(context.ring_degree())
}
