//! The file of a secret key.

use std::path::Path;

use sordino_ckks::{Context, Error as SchemeError};
use sordino_container::{
    self as container, Access, Digest, Kind, Limits, METADATA_LIMIT, Overwrite,
};
use zeroize::Zeroizing;

use crate::key::{Coefficients, SecretKeyMetadata};
use crate::{Error, SecretKey};

impl SecretKey {
    /// Writes the key to a new file that only its owner can read (mode 0600); an existing file stays.
    ///
    /// The payload is one byte a coefficient: 0, 1 or 2 for -1, 0 or 1.
    ///
    /// # Errors
    /// [`Error::Container`], for a file that exists among others.
    pub fn write_file(&self, path: impl AsRef<Path>) -> Result<Digest, Error> {
        let bytes = self.coefficients.0.iter().map(|&s| (s + 1).cast_unsigned());
        let payload: Zeroizing<Vec<u8>> = Zeroizing::new(bytes.collect());
        Ok(container::write_file(
            path,
            Kind::SecretKey,
            &self.metadata,
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
        let what = "the secret key";
        context.check_record(what, metadata.parameters_digest, &metadata.parameters)?;
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
        Ok(Self {
            metadata,
            coefficients: Coefficients(values.collect()),
        })
    }
}
