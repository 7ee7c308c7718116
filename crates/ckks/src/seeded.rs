//! Fresh ciphertexts as they travel: one component and a public seed.

use std::ops::Range;

use sordino_container::Digest;
use sordino_ring::ResidueMatrix;
use sordino_ring::sample::{MAX_INDEX, UniformStream};

use crate::ciphertexts::{check_component, check_size};
use crate::error::check;
use crate::seed::Purpose;
use crate::{Ciphertexts, Context, Error, Scale};

/// Fresh ciphertexts whose uniform component is expanded from a public seed: half the size.
///
/// Row f of component 1 is expanded from the seed with index `first_index` + f.
#[derive(Clone, Debug, PartialEq)]
pub struct SeededCiphertexts {
    parameters: Digest,
    seed: [u8; 32],
    first_index: u64,
    parts: Vec<ResidueMatrix>,
    scale: Scale,
}

impl SeededCiphertexts {
    /// Takes component 0 from outside, one matrix a limb, and checks every residue.
    ///
    /// # Errors
    /// As [`Ciphertexts::from_parts`], and [`Error::Count`] if the indices of the expansion are too large.
    pub fn from_parts(
        context: &Context,
        seed: [u8; 32],
        first_index: u64,
        parts: Vec<ResidueMatrix>,
        scale: Scale,
    ) -> Result<Self, Error> {
        let rows = parts.first().map_or(0, ResidueMatrix::rows);
        check_size(context, parts.len(), rows)?;
        check_component(context, &parts, parts.len(), rows)?;
        let last = first_index.saturating_add(rows as u64);
        check(
            last <= MAX_INDEX,
            "last index of seeded ciphertexts (at most)",
            MAX_INDEX as usize,
            last as usize,
        )?;
        Ok(Self {
            parameters: context.digest(),
            seed,
            first_index,
            parts,
            scale,
        })
    }

    /// The digest of the parameters that these ciphertexts belong to.
    pub fn parameters(&self) -> Digest {
        self.parameters
    }

    /// The number of ciphertexts F.
    pub fn len(&self) -> usize {
        self.parts[0].rows()
    }

    /// Whether there are none, which construction excludes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of limbs.
    pub fn limbs(&self) -> usize {
        self.parts.len()
    }

    /// The number of primes that can still be dropped.
    pub fn level(&self) -> usize {
        self.limbs() - 1
    }

    /// The scale of the slots.
    pub fn scale(&self) -> Scale {
        self.scale
    }

    /// The public seed of the uniform component.
    pub fn seed(&self) -> &[u8; 32] {
        &self.seed
    }

    /// The index of the first row in the expansion of the seed.
    pub fn first_index(&self) -> u64 {
        self.first_index
    }

    /// Component 0, one matrix a limb.
    pub fn parts(&self) -> &[ResidueMatrix] {
        &self.parts
    }

    /// Component 0 without a copy, one matrix a limb.
    pub fn into_parts(self) -> Vec<ResidueMatrix> {
        self.parts
    }

    /// Bytes of residues, without the seed.
    pub fn size_bytes(&self) -> usize {
        self.parts
            .iter()
            .map(|matrix| matrix.as_bytes().len())
            .sum()
    }

    /// A copy of consecutive ciphertexts.
    ///
    /// # Errors
    /// [`Error::Count`] if the range is empty or out of bounds.
    pub fn select(&self, rows: Range<usize>) -> Result<Self, Error> {
        check(
            !rows.is_empty() && rows.end <= self.len(),
            "end of the rows to select (not empty, at most the number there are)",
            self.len(),
            rows.end,
        )?;
        let select = |matrix: &ResidueMatrix| {
            let bytes =
                &matrix.as_bytes()[rows.start * matrix.row_bytes()..rows.end * matrix.row_bytes()];
            ResidueMatrix::from_bytes(rows.len(), matrix.columns(), matrix.width(), bytes.to_vec())
        };
        Ok(Self {
            parameters: self.parameters,
            seed: self.seed,
            first_index: self.first_index + rows.start as u64,
            parts: self.parts.iter().map(select).collect::<Result<_, _>>()?,
            scale: self.scale,
        })
    }

    /// Component 1 of one limb.
    pub(crate) fn uniform<'a>(&'a self, context: &'a Context, limb: usize) -> UniformStream<'a> {
        context.uniform(&self.seed, Purpose::Ciphertext, limb)
    }

    /// Both components: the uniform one is expanded from the seed.
    ///
    /// # Errors
    /// [`Error::ParametersMismatch`] if they were made in another context.
    pub fn expand(self, context: &Context) -> Result<Ciphertexts, Error> {
        context.check_digest("a fresh feature map", self.parameters)?;
        let (purpose, first, rows) = (Purpose::Ciphertext, self.first_index, self.len());
        let uniform = (0..self.limbs())
            .map(|limb| context.uniform_rows(&self.seed, purpose, limb, first, rows))
            .collect();
        Ok(Ciphertexts {
            parameters: self.parameters,
            parts: vec![self.parts, uniform],
            scale: self.scale,
        })
    }
}
