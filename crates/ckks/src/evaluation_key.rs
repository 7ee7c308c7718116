//! The public key that relinearization needs.

use std::path::Path;

use serde::{Deserialize, Serialize};
use sordino_container::{
    self as container, Access, Digest, Kind, Limits, METADATA_LIMIT, Overwrite,
};
use sordino_ring::ResidueMatrix;

use crate::ciphertexts::zero_matrix;
use crate::parameters::ParametersRecord;
use crate::seed::{Purpose, uniform};
use crate::{Context, Error, KeyId, Parameters};

/// Relinearization key: for every digit of the gadget an encryption of factor · s² under s.
///
/// Digit d has the pair (b, a) modulo the whole chain and the special prime, with a expanded from a public
/// seed and b = −a·s + e + factor · s², where factor (P or 2^shift) is added modulo the digit's own limb only.
/// That makes the key usable at every level.
///
/// # Shapes
/// One matrix a modulus of digits × N residues, for b and for a; evaluation form.
pub struct EvaluationKey {
    parameters: ParametersRecord,
    parameters_digest: Digest,
    key_id: KeyId,
    seed: [u8; 32],
    pub(crate) bodies: Vec<ResidueMatrix>,
    pub(crate) uniform: Vec<ResidueMatrix>,
}

/// What a key file says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationKeyMetadata {
    /// The parameters, unchecked.
    pub parameters: ParametersRecord,
    /// Their digest, which decides whether the key fits.
    pub parameters_digest: Digest,
    /// The public name of the secret key.
    pub key_id: KeyId,
}

impl std::fmt::Debug for EvaluationKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EvaluationKey")
            .field("key_id", &self.key_id)
            .field("parameters", &self.parameters_digest)
            .field("bodies", &self.bodies)
            .finish_non_exhaustive()
    }
}

impl EvaluationKey {
    /// Takes the bodies of a key from outside, checks every residue and expands the uniform halves.
    ///
    /// # Shapes
    /// `bodies`: one matrix a modulus, the special one last, of digits × N residues.
    ///
    /// # Errors
    /// [`Error::NoGadget`] if the parameters have none, [`Error::Count`] for other shapes, [`Error::Ring`] for
    /// residues that are not below their modulus.
    pub fn from_parts(
        context: &Context,
        key_id: KeyId,
        seed: [u8; 32],
        bodies: Vec<ResidueMatrix>,
    ) -> Result<Self, Error> {
        let digits = context.digits().len();
        if digits == 0 {
            return Err(Error::NoGadget);
        }
        let count = |what, expected, found| {
            if expected == found {
                Ok(())
            } else {
                Err(Error::Count {
                    what,
                    expected,
                    found,
                })
            }
        };
        count(
            "moduli of an evaluation key",
            context.all_limbs(),
            bodies.len(),
        )?;
        for (limb, matrix) in bodies.iter().enumerate() {
            count("digits of an evaluation key", digits, matrix.rows())?;
            count(
                "residues of a polynomial",
                context.ring_degree(),
                matrix.columns(),
            )?;
            matrix.validate(context.modulus(limb))?;
        }
        let uniform = (0..context.all_limbs())
            .map(|limb| {
                let mut matrix = zero_matrix(context, digits, limb);
                let purpose = Purpose::Relinearization;
                uniform(&seed, purpose, limb, context.modulus(limb)).expand_rows(0, &mut matrix);
                matrix
            })
            .collect();
        Ok(Self {
            parameters: context.parameters().record().clone(),
            parameters_digest: context.digest(),
            key_id,
            seed,
            bodies,
            uniform,
        })
    }

    /// The digest of the parameters that the key belongs to.
    pub fn parameters(&self) -> Digest {
        self.parameters_digest
    }

    /// The public name of the secret key that it was made from.
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// Bytes of the key's payload, which is what its file holds beside a few hundred bytes of description.
    pub fn size_bytes(&self) -> usize {
        self.seed.len()
            + self
                .bodies
                .iter()
                .map(|matrix| matrix.as_bytes().len())
                .sum::<usize>()
    }

    /// Bytes of the payload of a key for these parameters; 0 without a gadget.
    pub fn payload_bytes(parameters: &Parameters) -> u64 {
        let rows = parameters.digits().len() as u64;
        if rows == 0 {
            return 0;
        }
        let width = |prime: &u64| u64::from((u64::BITS - prime.leading_zeros()).div_ceil(8));
        let moduli = parameters
            .primes()
            .iter()
            .chain(parameters.special_primes());
        32 + rows * parameters.ring_degree() as u64 * moduli.map(width).sum::<u64>()
    }

    fn metadata(&self) -> EvaluationKeyMetadata {
        EvaluationKeyMetadata {
            parameters: self.parameters.clone(),
            parameters_digest: self.parameters_digest,
            key_id: self.key_id,
        }
    }

    /// The key as the bytes of a file.
    ///
    /// # Errors
    /// [`Error::Container`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let mut payload = Vec::with_capacity(self.size_bytes());
        payload.extend_from_slice(&self.seed);
        for matrix in &self.bodies {
            payload.extend_from_slice(matrix.as_bytes());
        }
        Ok(container::to_bytes(
            Kind::EvaluationKey,
            &self.metadata(),
            &payload,
        )?)
    }

    /// Reads a key from the bytes of a file; they are not trusted.
    ///
    /// # Errors
    /// [`Error::Container`] for damaged bytes or another kind or size, [`Error::ParametersMismatch`] for a key
    /// of other parameters, and those of [`from_parts`](Self::from_parts).
    pub fn from_bytes(context: &Context, bytes: &[u8]) -> Result<Self, Error> {
        let limits = Self::limits(context)?;
        Self::from_contents(
            context,
            container::from_bytes(bytes, Kind::EvaluationKey, limits)?,
        )
    }

    /// Writes the key to a file.
    ///
    /// # Errors
    /// [`Error::Container`].
    pub fn write_file(
        &self,
        path: impl AsRef<Path>,
        overwrite: Overwrite,
    ) -> Result<Digest, Error> {
        let parts: Vec<&[u8]> = std::iter::once(self.seed.as_slice())
            .chain(self.bodies.iter().map(ResidueMatrix::as_bytes))
            .collect();
        Ok(container::write_file_parts(
            path,
            Kind::EvaluationKey,
            &self.metadata(),
            &parts,
            overwrite,
            Access::Shared,
        )?)
    }

    /// Reads a key from a file, which is not trusted.
    ///
    /// # Errors
    /// As [`from_bytes`](Self::from_bytes).
    pub fn read_file(context: &Context, path: impl AsRef<Path>) -> Result<Self, Error> {
        let limits = Self::limits(context)?;
        Self::from_contents(
            context,
            container::read_file(path, Kind::EvaluationKey, limits)?,
        )
    }

    fn limits(context: &Context) -> Result<Limits, Error> {
        match Self::payload_bytes(context.parameters()) {
            0 => Err(Error::NoGadget),
            payload_bytes => Ok(Limits {
                metadata_bytes: METADATA_LIMIT,
                payload_bytes,
            }),
        }
    }

    fn from_contents(
        context: &Context,
        contents: container::Contents<EvaluationKeyMetadata>,
    ) -> Result<Self, Error> {
        let metadata = contents.metadata;
        if metadata.parameters_digest != context.digest()
            || metadata.parameters != *context.parameters().record()
        {
            return Err(Error::ParametersMismatch {
                what: "the evaluation key",
                expected: context.digest(),
                found: metadata.parameters_digest,
            });
        }
        let mut reader = container::Reader::named(&contents.payload, "evaluation key");
        let seed = reader.array()?;
        let (rows, n) = (context.digits().len(), context.ring_degree());
        let bodies = (0..context.all_limbs())
            .map(|limb| {
                let width = context.modulus(limb).byte_width();
                let bytes = reader.bytes(rows * n * width)?.to_vec();
                Ok(ResidueMatrix::from_bytes(rows, n, width, bytes)?)
            })
            .collect::<Result<Vec<_>, Error>>()?;
        reader.finish()?;
        Self::from_parts(context, metadata.key_id, seed, bodies)
    }
}
