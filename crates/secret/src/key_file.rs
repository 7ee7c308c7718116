//! The file of a secret key.

use std::path::Path;

use serde::{Deserialize, Serialize};
use sordino_ckks::{Context, Error as SchemeError, KeyId, ParametersRecord};
use sordino_container::{
    self as container, Access, Digest, Kind, Limits, METADATA_LIMIT, Overwrite,
};
use zeroize::Zeroizing;

use crate::key::Coefficients;
use crate::{Error, SecretKey};

/// What a secret key file says about itself; nothing of it is secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretKeyMetadata {
    /// The parameters, unchecked.
    pub parameters: ParametersRecord,
    /// Their digest, which decides whether the key fits.
    pub parameters_digest: Digest,
    /// The public name of the key.
    pub key_id: KeyId,
}

impl SecretKey {
    /// Writes the key to a new file that only its owner can read (mode 0600); an existing file stays.
    ///
    /// The payload is one byte a coefficient: 0, 1 or 2 for -1, 0 or 1.
    ///
    /// # Errors
    /// [`Error::Container`], for a file that exists among others.
    pub fn write_file(&self, path: impl AsRef<Path>) -> Result<Digest, Error> {
        let bytes = self.coefficients().iter().map(|&s| (s + 1).cast_unsigned());
        let payload: Zeroizing<Vec<u8>> = Zeroizing::new(bytes.collect());
        let metadata = SecretKeyMetadata {
            parameters: self.parameters_record().clone(),
            parameters_digest: self.parameters(),
            key_id: self.key_id(),
        };
        Ok(container::write_file(
            path,
            Kind::SecretKey,
            &metadata,
            &payload,
            Overwrite::Refuse,
            Access::OwnerOnly,
        )?)
    }

    /// Reads a key that was made for the parameters of this context.
    ///
    /// # Errors
    /// [`Error::Container`] for a damaged file or another kind, [`Error::Ckks`] for other parameters or size,
    /// [`Error::Coefficient`] for a value that is not ternary.
    pub fn read_file(path: impl AsRef<Path>, context: &Context) -> Result<Self, Error> {
        let path = path.as_ref();
        let n = context.ring_degree();
        let limits = Limits {
            metadata_bytes: METADATA_LIMIT,
            payload_bytes: n as u64,
        };
        let contents = container::read_file::<SecretKeyMetadata>(path, Kind::SecretKey, limits)?;
        let payload = Zeroizing::new(contents.payload);
        let metadata = contents.metadata;
        if metadata.parameters_digest != context.digest()
            || metadata.parameters != *context.parameters().record()
        {
            return Err(SchemeError::ParametersMismatch {
                what: "the secret key",
                expected: context.digest(),
                found: metadata.parameters_digest,
            }
            .into());
        }
        if payload.len() != n {
            return Err(SchemeError::Count {
                what: "coefficients of the secret key",
                expected: n,
                found: payload.len(),
            }
            .into());
        }
        // Counted without a branch on a coefficient; only a bad file is searched.
        if payload
            .iter()
            .map(|&byte| usize::from(byte > 2))
            .sum::<usize>()
            > 0
        {
            return Err(Error::Coefficient {
                location: path.display().to_string(),
                position: payload.iter().position(|&byte| byte > 2).unwrap_or(0),
            });
        }
        let values = payload.iter().map(|&byte| byte.cast_signed() - 1);
        Ok(Self::from_parts(
            metadata.parameters,
            metadata.parameters_digest,
            metadata.key_id,
            Coefficients(values.collect()),
        ))
    }
}
