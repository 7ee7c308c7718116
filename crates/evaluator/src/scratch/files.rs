//! The files of a scratch folder.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sordino_ckks::{Ciphertexts, Context, Scale};
use sordino_container::{
    self as container, Access, Digest, Error as FileError, Kind, Limits, METADATA_LIMIT, Overwrite,
    StreamWriter,
};
use sordino_ring::ResidueMatrix;
use sordino_runtime::Error as RuntimeError;

use super::Identity;

/// What a later run resumes from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Checkpoint {
    pub identity: Identity,
    /// Digest of the schedule that units count in.
    pub schedule: Option<Digest>,
    /// The budget that the schedule was made for.
    pub memory_bytes: Option<u64>,
    pub scratch_bytes: u64,
    /// Results of finished blocks.
    pub finished: Vec<Digest>,
    /// Units done of the block after them.
    pub units: usize,
    /// Their pieces that are still read, by unit.
    pub pieces: BTreeMap<usize, Digest>,
}

impl Checkpoint {
    pub(super) fn read(path: &Path) -> Result<Self, FileError> {
        let limits = Limits {
            metadata_bytes: METADATA_LIMIT,
            payload_bytes: 0,
        };
        Ok(container::read_file(path, Kind::Checkpoint, limits)?.metadata)
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), FileError> {
        let (kind, access) = (Kind::Checkpoint, Access::Shared);
        container::write_file(path, kind, self, &[], Overwrite::Replace, access)?;
        Ok(())
    }
}

/// The shape of a piece.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PieceShape {
    parameters: Digest,
    ciphertexts: usize,
    components: usize,
    limbs: usize,
    scale: f64,
}

/// Writes a piece, without waiting until it is on the disk.
pub(super) fn write_piece(path: &Path, map: &Ciphertexts) -> Result<Digest, FileError> {
    let shape = PieceShape {
        parameters: map.parameters(),
        ciphertexts: map.len(),
        components: map.components(),
        limbs: map.limbs(),
        scale: map.scale().value(),
    };
    let bytes = map.size_bytes() as u64;
    let mut writer = StreamWriter::create_uncached(path, Kind::Piece, &shape, bytes)?;
    for matrix in map.parts().iter().flatten() {
        writer.write(matrix.as_bytes())?;
    }
    writer.commit_unsynced()
}

/// Reads a piece that must have a digest, and checks its residues.
pub(super) fn read_piece(
    path: &Path,
    context: &Context,
    expected: Digest,
) -> Result<Ciphertexts, RuntimeError> {
    let limits = Limits {
        metadata_bytes: 1 << 12,
        payload_bytes: u64::MAX,
    };
    let bad = |expected: &'static str| FileError::BadField {
        location: path.display().to_string(),
        expected,
        offset: 0,
    };
    let mut reader =
        container::StreamReader::<_, PieceShape>::open_uncached(path, Kind::Piece, limits)?;
    let shape = reader.metadata();
    let (rows, components) = (shape.ciphertexts, shape.components);
    let (limbs, scale) = (shape.limbs, Scale::new(shape.scale));
    let widths = (0..limbs.min(context.limbs())).map(|limb| context.modulus(limb).byte_width());
    let row_bytes: usize = widths.map(|width| width * context.ring_degree()).sum();
    let bytes = [rows, components]
        .iter()
        .try_fold(row_bytes as u64, |bytes, &count| {
            bytes.checked_mul(count as u64)
        });
    if shape.parameters != context.digest()
        || limbs > context.limbs()
        || bytes != Some(reader.left())
    {
        return Err(bad("a piece of this evaluation").into());
    }
    let mut parts = Vec::with_capacity(components);
    for _ in 0..components {
        let mut component = Vec::with_capacity(limbs);
        for limb in 0..limbs {
            let width = context.modulus(limb).byte_width();
            let bytes = reader.read_part((rows * context.ring_degree() * width) as u64)?;
            let matrix = ResidueMatrix::from_bytes(rows, context.ring_degree(), width, bytes);
            component.push(matrix.map_err(|_| bad("residues of the shape that is named"))?);
        }
        parts.push(component);
    }
    let (digest, _) = reader.finish()?;
    if digest != expected {
        return Err(bad("the piece that the checkpoint names").into());
    }
    let scale = scale.map_err(|_| bad("a scale"))?;
    let piece = Ciphertexts::from_parts(context, parts, scale);
    Ok(piece.map_err(|_| bad("residues below their primes"))?)
}
