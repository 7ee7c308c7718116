//! Feature maps of ciphertexts.

use rayon::prelude::*;
use sordino_container::Digest;
use sordino_ring::ResidueMatrix;

use crate::error::{check_count, check_index, check_range, check_some};
use crate::{Context, Error, Scale};

/// A feature map of F ciphertexts that share level, scale and number of components.
///
/// Component c of ciphertext f is row f of the matrices of component c, one matrix per limb, in evaluation
/// form. A decryption is c_0 + c_1 s + c_2 s² …; two components are usual, products have three until they
/// are relinearized.
///
/// # Shapes
/// components × limbs matrices of F × N residues.
#[derive(Clone, Debug, PartialEq)]
pub struct Ciphertexts {
    pub(crate) parameters: Digest,
    pub(crate) parts: Vec<Vec<ResidueMatrix>>,
    pub(crate) scale: Scale,
}

/// Checks one component: the right number of limbs, equal row counts, width and residues of each modulus.
pub(crate) fn check_component(
    context: &Context,
    component: &[ResidueMatrix],
    limbs: usize,
    rows: usize,
) -> Result<(), Error> {
    check_count("limbs of a component", limbs, component.len())?;
    let n = context.ring_degree();
    for (limb, matrix) in component.iter().enumerate() {
        check_count("ciphertexts of a feature map", rows, matrix.rows())?;
        check_count("residues of a polynomial", n, matrix.columns())?;
        context.backend().validate(context.modulus(limb), matrix)?;
    }
    Ok(())
}

/// Checks the number of limbs and rows of a feature map from outside.
pub(crate) fn check_size(context: &Context, limbs: usize, rows: usize) -> Result<(), Error> {
    check_range(
        "limbs of a feature map (at most those of the chain, at least 1)",
        context.limbs(),
        limbs,
    )?;
    check_some("ciphertexts of a feature map (at least 1)", rows)
}

impl Ciphertexts {
    /// The most components that operations produce.
    pub const MAX_COMPONENTS: usize = 3;

    /// Takes packed residues from outside, `parts[component][limb]`, and checks every one of them.
    ///
    /// # Errors
    /// [`Error::Count`] for shapes that do not fit each other or the context, [`Error::Components`] for none
    /// or more than three components, [`Error::Ring`] for residues that are not below their modulus.
    pub fn from_parts(
        context: &Context,
        parts: Vec<Vec<ResidueMatrix>>,
        scale: Scale,
    ) -> Result<Self, Error> {
        if parts.is_empty() || parts.len() > Self::MAX_COMPONENTS {
            return Err(Error::Components {
                what: "a feature map",
                expected: "1 to 3",
                found: parts.len(),
            });
        }
        let limbs = parts[0].len();
        let rows = parts[0].first().map_or(0, ResidueMatrix::rows);
        check_size(context, limbs, rows)?;
        for component in &parts {
            check_component(context, component, limbs, rows)?;
        }
        Ok(Self {
            parameters: context.digest(),
            parts,
            scale,
        })
    }

    /// Zeros: what an encryption of 0 without noise looks like, to be filled by an operation.
    pub(crate) fn zeros(
        context: &Context,
        rows: usize,
        components: usize,
        limbs: usize,
        scale: Scale,
    ) -> Self {
        let component = || (0..limbs).map(|limb| context.zeros(rows, limb)).collect();
        Self {
            parameters: context.digest(),
            parts: (0..components).map(|_| component()).collect(),
            scale,
        }
    }

    /// Unspecified residues, for an operation that writes all of them.
    pub(crate) fn unspecified(
        context: &Context,
        rows: usize,
        components: usize,
        limbs: usize,
        scale: Scale,
    ) -> Self {
        let component = || {
            (0..limbs)
                .map(|limb| context.unspecified(rows, limb))
                .collect()
        };
        Self {
            parameters: context.digest(),
            parts: (0..components).map(|_| component()).collect(),
            scale,
        }
    }

    /// The digest of the parameters that these ciphertexts belong to.
    pub fn parameters(&self) -> Digest {
        self.parameters
    }

    /// The number of ciphertexts F.
    pub fn len(&self) -> usize {
        self.parts[0][0].rows()
    }

    /// Whether there are none, which construction excludes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of components: 1 to 3.
    pub fn components(&self) -> usize {
        self.parts.len()
    }

    /// The number of limbs.
    pub fn limbs(&self) -> usize {
        self.parts[0].len()
    }

    /// The number of primes that can still be dropped.
    pub fn level(&self) -> usize {
        self.limbs() - 1
    }

    /// The scale of the slots.
    pub fn scale(&self) -> Scale {
        self.scale
    }

    /// One limb of one component, one row per ciphertext.
    ///
    /// # Panics
    /// If there is no such component or limb.
    pub fn part(&self, component: usize, limb: usize) -> &ResidueMatrix {
        &self.parts[component][limb]
    }

    /// All parts, `[component][limb]`.
    pub fn parts(&self) -> &[Vec<ResidueMatrix>] {
        &self.parts
    }

    /// The parts without a copy, `[component][limb]`.
    pub fn into_parts(self) -> Vec<Vec<ResidueMatrix>> {
        self.parts
    }

    /// The same residues read at another scale: divides the slots by `scale` / [`scale`](Self::scale).
    pub fn with_scale(mut self, scale: Scale) -> Self {
        self.scale = scale;
        self
    }

    /// Bytes of residues.
    pub fn size_bytes(&self) -> usize {
        self.parts
            .iter()
            .flatten()
            .map(|matrix| matrix.as_bytes().len())
            .sum()
    }

    /// A copy of some ciphertexts, in the order given; one may occur several times.
    ///
    /// # Errors
    /// [`Error::Count`] if an index is out of range or there are none.
    pub fn select(&self, rows: &[usize]) -> Result<Self, Error> {
        let rows: Vec<_> = rows.iter().map(|&row| (self, row)).collect();
        Self::gather(&rows, self.limbs())
    }

    /// A copy of the first `limbs` limbs of ciphertexts from several feature maps, at the scale of the first.
    ///
    /// # Errors
    /// [`Error::Count`] if there are none, an index is out of range, or a feature map has fewer limbs or another number
    /// of components; [`Error::ParametersMismatch`].
    pub fn gather(rows: &[(&Self, usize)], limbs: usize) -> Result<Self, Error> {
        check_some("ciphertexts to select (at least 1)", rows.len())?;
        let first = rows[0].0;
        for &(map, row) in rows {
            let what = "index of a ciphertext to select (below the number there are)";
            check_index(what, map.len(), row)?;
            let what = "limbs to select (at least 1, at most the number there are)";
            check_range(what, map.limbs(), limbs)?;
            check_count(
                "components of ciphertexts to select",
                first.components(),
                map.components(),
            )?;
            if map.parameters != first.parameters {
                return Err(Error::ParametersMismatch {
                    what: "ciphertexts to select",
                    expected: first.parameters,
                    found: map.parameters,
                });
            }
        }
        let gather = |component: usize, limb: usize| {
            let shape = &first.parts[component][limb];
            let (columns, width) = (shape.columns(), shape.width());
            let mut gathered = ResidueMatrix::unspecified(rows.len(), columns, width);
            gathered
                .rows_mut()
                .zip(rows)
                .for_each(|(target, &(map, row))| {
                    target.copy_from_slice(map.parts[component][limb].row(row));
                });
            gathered
        };
        Ok(Self {
            parameters: first.parameters,
            parts: (0..first.components())
                .map(|component| (0..limbs).map(|limb| gather(component, limb)).collect())
                .collect(),
            scale: first.scale,
        })
    }
}
