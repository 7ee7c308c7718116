//! How residues lie in a payload.

use sordino_ckks::{Parameters, ParametersRecord};
use sordino_container::Digest;
use sordino_ring::ResidueMatrix;

use crate::error::Message;
use crate::{Error, limits, shorten};

/// Where the residues of each block, component and limb lie in a payload: in this order, without gaps.
///
/// # Shapes
/// blocks × components × limbs matrices of rows × N residues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    ring_degree: usize,
    rows: usize,
    components: usize,
    blocks: usize,
    /// Bytes of a residue of each limb.
    widths: Vec<usize>,
    payload_bytes: u64,
}

/// Matrices of a payload, `[block][component][limb]`.
pub(crate) type Matrices = Vec<Vec<Vec<ResidueMatrix>>>;

impl Layout {
    /// The layout of so many blocks of feature maps.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for a shape over the [`limits`], or limbs that the parameters do not have.
    pub fn new(
        parameters: &Parameters,
        limbs: usize,
        components: usize,
        rows: usize,
        blocks: usize,
    ) -> Result<Self, Error> {
        for (what, found, limit) in [
            ("limbs", limbs, parameters.limbs()),
            ("components", components, 3),
            ("ciphertexts a block", rows, limits::ROWS),
            ("blocks", blocks, limits::BLOCKS),
        ] {
            if found > limit {
                let (found, limit) = (found as u64, limit as u64);
                return Err(Error::TooLarge { what, found, limit });
            }
        }
        let width = |prime: &u64| (u64::BITS - prime.leading_zeros()).div_ceil(8) as usize;
        let widths: Vec<usize> = parameters.primes()[..limbs].iter().map(width).collect();
        let ring_degree = parameters.ring_degree();
        // Below 2^24 · 2^15 · 2^12 · 3 · 64 · 8: a u128 cannot overflow.
        let bytes = [rows, ring_degree, blocks, components, widths.iter().sum()]
            .into_iter()
            .map(|factor| factor as u128)
            .product::<u128>();
        match u64::try_from(bytes) {
            Ok(payload_bytes)
                if payload_bytes <= limits::PAYLOAD_BYTES && usize::try_from(bytes).is_ok() =>
            {
                Ok(Self {
                    ring_degree,
                    rows,
                    components,
                    blocks,
                    widths,
                    payload_bytes,
                })
            }
            _ => Err(Error::TooLarge {
                what: "payload bytes",
                found: u64::try_from(bytes).unwrap_or(u64::MAX),
                limit: limits::PAYLOAD_BYTES.min(usize::MAX as u64),
            }),
        }
    }

    /// Bytes of the whole payload.
    pub fn payload_bytes(&self) -> u64 {
        self.payload_bytes
    }

    /// Cuts a payload into matrices; residues are not looked at.
    pub(crate) fn split(&self, message: Message, mut payload: Vec<u8>) -> Result<Matrices, Error> {
        if payload.len() as u64 != self.payload_bytes {
            return Err(Error::PayloadLength {
                message,
                expected: self.payload_bytes,
                found: payload.len() as u64,
            });
        }
        // From the end, giving back what was cut off, so that the residues are not in memory twice.
        let mut blocks: Matrices = (0..self.blocks)
            .map(|_| vec![Vec::with_capacity(self.widths.len()); self.components])
            .collect();
        for (block, parts) in blocks.iter_mut().enumerate().rev() {
            for component in parts.iter_mut().rev() {
                for &width in self.widths.iter().rev() {
                    let bytes = self.rows * self.ring_degree * width;
                    let part = payload.split_off(payload.len() - bytes);
                    payload.shrink_to_fit();
                    let matrix =
                        ResidueMatrix::from_bytes(self.rows, self.ring_degree, width, part);
                    component.push(matrix.map_err(|source| Error::Ciphertexts {
                        message,
                        block,
                        source: source.into(),
                    })?);
                }
                component.reverse();
            }
        }
        Ok(blocks)
    }
}

/// The checked parameters of a header, whose digest must be the one that the header names.
pub(crate) fn checked_parameters(
    message: Message,
    record: &ParametersRecord,
    digest: Digest,
) -> Result<Parameters, Error> {
    let parameters = Parameters::try_from(record.clone())
        .map_err(|source| Error::Parameters { message, source })?;
    if parameters.digest() != digest {
        return Err(Error::WrongParameters {
            message,
            expected: shorten(parameters.digest()),
            found: shorten(digest),
        });
    }
    Ok(parameters)
}
