//! Files of evaluation keys.

use std::io::Read;
use std::path::Path;

use sordino_container::{self as container, Access, Digest, Kind, Limits, Overwrite, StreamReader};
use sordino_ring::ResidueMatrix;

use crate::evaluation_key::{EvaluationKeyMetadata, SEED_BYTES, check_set};
use crate::{Context, Error, EvaluationKey, KeySet};

/// What is enough to name 64 primes and the largest set of rotations.
const METADATA_BYTES: u64 = 1 << 16;

impl EvaluationKey {
    /// The key as the bytes of a file.
    ///
    /// # Errors
    /// [`Error::Container`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let mut payload = Vec::with_capacity(self.size_bytes());
        self.parts()
            .for_each(|part| payload.extend_from_slice(part));
        Ok(container::to_bytes(
            Kind::EvaluationKey,
            &self.metadata,
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
        let reader = StreamReader::from_bytes(bytes, Kind::EvaluationKey, limits)?;
        Self::read(context, reader, "bytes in memory")
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
        let parts: Vec<&[u8]> = self.parts().collect();
        Ok(container::write_file_parts(
            path,
            Kind::EvaluationKey,
            &self.metadata,
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
        let path = path.as_ref();
        let reader = StreamReader::open(path, Kind::EvaluationKey, limits)?;
        Self::read(context, reader, &path.display().to_string())
    }

    /// Reads a key of `length` bytes that come from `source` and are not trusted; messages call it `name`.
    ///
    /// # Errors
    /// As [`from_bytes`](Self::from_bytes).
    pub fn from_source(
        context: &Context,
        source: impl Read,
        length: u64,
        name: &str,
    ) -> Result<Self, Error> {
        let limits = Self::limits(context)?;
        let reader = StreamReader::from_source(source, length, Kind::EvaluationKey, limits, name)?;
        Self::read(context, reader, name)
    }

    fn parts(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(self.seed.as_slice()).chain(self.bodies.iter().map(ResidueMatrix::as_bytes))
    }

    /// What any key set of this context stays within.
    fn limits(context: &Context) -> Result<Limits, Error> {
        match Self::payload_of(context.parameters(), KeySet::MAX_ROTATIONS + 1) {
            0 => Err(Error::NoGadget),
            payload_bytes => Ok(Limits {
                metadata_bytes: METADATA_BYTES,
                payload_bytes,
            }),
        }
    }

    /// Reads the payload, once the metadata says that it is what this context can use and how long it is.
    fn read(
        context: &Context,
        mut reader: StreamReader<impl Read, EvaluationKeyMetadata>,
        location: &str,
    ) -> Result<Self, Error> {
        if let Err(error) = check_metadata(context, reader.metadata(), reader.left(), location) {
            return Err(reader.damaged_or(error));
        }
        let mut seed = [0; SEED_BYTES];
        seed.copy_from_slice(&reader.read_part(SEED_BYTES as u64)?);
        let rows = context.digits().len() * reader.metadata().key_set.len();
        let n = context.ring_degree();
        let bodies = (0..context.all_limbs())
            .map(|limb| {
                let width = context.modulus(limb).byte_width();
                let bytes = reader.read_part((rows * n * width) as u64)?;
                Ok(ResidueMatrix::from_bytes(rows, n, width, bytes)?)
            })
            .collect::<Result<Vec<_>, Error>>()?;
        let (_, metadata) = reader.finish()?;
        Self::from_parts(context, metadata.key_id, seed, metadata.key_set, bodies)
    }
}

/// A key of this context, and a payload of exactly its size.
fn check_metadata(
    context: &Context,
    metadata: &EvaluationKeyMetadata,
    payload_bytes: u64,
    location: &str,
) -> Result<(), Error> {
    let what = "the evaluation key";
    context.check_record(what, metadata.parameters_digest, &metadata.parameters)?;
    check_set(context, &metadata.key_set)?;
    let expected = EvaluationKey::payload_bytes(context.parameters(), &metadata.key_set);
    if payload_bytes == expected {
        Ok(())
    } else {
        Err(container::Error::Length {
            location: format!("{location}, payload of an evaluation key"),
            expected,
            found: payload_bytes,
        }
        .into())
    }
}
