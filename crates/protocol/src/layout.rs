//! How residues lie in a payload.

use sordino_ckks::Parameters;
use sordino_ring::ResidueMatrix;

use crate::error::Message;
use crate::message::RawBlock;
use crate::{Error, limits};

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

impl Layout {
    /// The layout of `blocks` blocks of feature maps.
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
            ("ciphertexts per block", rows, limits::ROWS),
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

    /// Blocks of the payload.
    pub(crate) fn blocks(&self) -> usize {
        self.blocks
    }

    /// One block of matrices; `take` gives the next so many bytes of the payload.
    pub(crate) fn block(
        &self,
        message: Message,
        block: usize,
        mut take: impl FnMut(usize) -> Result<Vec<u8>, Error>,
    ) -> Result<RawBlock, Error> {
        let mut matrix = |&width: &usize| {
            let bytes = take(self.rows * self.ring_degree * width)?;
            let matrix = ResidueMatrix::from_bytes(self.rows, self.ring_degree, width, bytes);
            matrix.map_err(|source| Error::Ciphertexts {
                message,
                block,
                source: source.into(),
            })
        };
        (0..self.components)
            .map(|_| self.widths.iter().map(&mut matrix).collect())
            .collect()
    }
}
