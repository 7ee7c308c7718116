//! The file of a secret key.

use std::path::Path;

use sordino_ckks::{Context, Error as SchemeError};
use sordino_container::{
    self as container, Access, Digest, Kind, Limits, METADATA_LIMIT, Overwrite,
};
use zeroize::Zeroizing;

use crate::key::{Coefficients, SecretKeyMetadata};
use crate::{Error, SecretKey};
#[cfg(feature = "passphrase")]
use crate::{Passphrase, Seal};

/// Bytes that the file of an encrypted key has more.
const TAG_BYTES: usize = 16;

impl SecretKey {
    /// Writes the key to a new file that only its owner can read (mode 0600); an existing file stays.
    ///
    /// The payload has one byte per coefficient: 0, 1 or 2 for -1, 0 or 1.
    ///
    /// # Errors
    /// [`Error::Container`], for a file that exists among others.
    pub fn write_file(&self, path: impl AsRef<Path>) -> Result<Digest, Error> {
        write(path, &self.metadata, &self.payload())
    }

    /// As [`write_file`](Self::write_file), encrypted with a passphrase.
    ///
    /// # Errors
    /// As [`write_file`](Self::write_file), and [`Error::Ring`] without random bytes.
    #[cfg(feature = "passphrase")]
    pub fn write_sealed_file(
        &self,
        path: impl AsRef<Path>,
        passphrase: &Passphrase,
    ) -> Result<Digest, Error> {
        let seal = Seal::new()?;
        let mut metadata = self.metadata.clone();
        let payload = seal.close(passphrase, &metadata, &self.payload());
        let payload = payload.ok_or_else(|| Error::Unsealed {
            location: path.as_ref().display().to_string(),
        })?;
        metadata.seal = Some(seal);
        write(path, &metadata, &payload)
    }

    fn payload(&self) -> Zeroizing<Vec<u8>> {
        let bytes = self.coefficients.0.iter().map(|&s| (s + 1).cast_unsigned());
        Zeroizing::new(bytes.collect())
    }

    /// Reads a key that was made for the parameters of this context.
    ///
    /// # Errors
    /// [`Error::Container`] for a damaged file or another kind, [`Error::Ckks`] for other parameters or size,
    /// [`Error::Coefficient`] for a value that is not ternary.
    pub fn read_file(path: impl AsRef<Path>, context: &Context) -> Result<Self, Error> {
        let path = path.as_ref();
        let (metadata, payload) = read(path, context)?;
        #[cfg(feature = "passphrase")]
        if metadata.seal.is_some() {
            let location = path.display().to_string();
            return Err(Error::Sealed { location });
        }
        Self::from_payload(path, context, metadata, &payload)
    }

    /// Whether the key in a file is encrypted with a passphrase; only the header is read.
    ///
    /// # Errors
    /// [`Error::Container`].
    #[cfg(feature = "passphrase")]
    pub fn is_sealed(path: impl AsRef<Path>) -> Result<bool, Error> {
        let limits = Limits {
            metadata_bytes: METADATA_LIMIT,
            payload_bytes: u64::MAX,
        };
        let file = container::StreamReader::<_, SecretKeyMetadata>::open(
            path.as_ref(),
            Kind::SecretKey,
            limits,
        )?;
        Ok(file.metadata().seal.is_some())
    }

    /// Reads a key that may be encrypted with a passphrase; otherwise as [`read_file`](Self::read_file).
    ///
    /// # Errors
    /// As [`read_file`](Self::read_file), and [`Error::Unsealed`] for another passphrase.
    #[cfg(feature = "passphrase")]
    pub fn read_sealed_file(
        path: impl AsRef<Path>,
        context: &Context,
        passphrase: &Passphrase,
    ) -> Result<Self, Error> {
        let path = path.as_ref();
        let (mut metadata, mut payload) = read(path, context)?;
        if let Some(seal) = metadata.seal.take() {
            let opened = seal.open(passphrase, &metadata, &payload);
            payload = opened.ok_or_else(|| Error::Unsealed {
                location: path.display().to_string(),
            })?;
        }
        Self::from_payload(path, context, metadata, &payload)
    }

    fn from_payload(
        path: &Path,
        context: &Context,
        metadata: SecretKeyMetadata,
        payload: &[u8],
    ) -> Result<Self, Error> {
        let n = context.ring_degree();
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

fn write(
    path: impl AsRef<Path>,
    metadata: &SecretKeyMetadata,
    payload: &[u8],
) -> Result<Digest, Error> {
    let (kind, keep, access) = (Kind::SecretKey, Overwrite::Refuse, Access::OwnerOnly);
    Ok(container::write_file(
        path, kind, metadata, payload, keep, access,
    )?)
}

/// The content of a file, whose parameters are those of the context.
fn read(path: &Path, context: &Context) -> Result<(SecretKeyMetadata, Zeroizing<Vec<u8>>), Error> {
    let limits = Limits {
        metadata_bytes: METADATA_LIMIT,
        payload_bytes: (context.ring_degree() + TAG_BYTES) as u64,
    };
    let contents = container::read_file::<SecretKeyMetadata>(path, Kind::SecretKey, limits)?;
    let (metadata, payload) = (contents.metadata, Zeroizing::new(contents.payload));
    let what = "the secret key";
    context.check_record(what, metadata.parameters_digest, &metadata.parameters)?;
    Ok((metadata, payload))
}
