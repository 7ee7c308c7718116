//! Polynomials in the residue number system, typed by form.

use std::marker::PhantomData;

use crate::{Error, NttTable};

/// Form: residues are coefficients in the basis 1, X + 1/X, X^2 + X^-2, …
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Coefficient {}

/// Form: residues are values at the points of the transform.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Evaluation {}

/// A polynomial as residues modulo several primes, the working form of one row of a feature map.
///
/// # Shapes
/// limbs × ring degree N, contiguous.
#[derive(Clone, PartialEq, Eq)]
pub struct RnsPolynomial<Form> {
    ring_degree: usize,
    residues: Vec<u64>,
    form: PhantomData<Form>,
}

impl<Form> RnsPolynomial<Form> {
    /// The zero polynomial.
    ///
    /// # Panics
    /// If `ring_degree` is 0.
    pub fn zero(limbs: usize, ring_degree: usize) -> Self {
        assert!(ring_degree > 0, "the ring degree must be positive");
        Self {
            ring_degree,
            residues: vec![0; limbs * ring_degree],
            form: PhantomData,
        }
    }

    /// Takes residues, limb after limb.
    ///
    /// # Errors
    /// [`Error::Shape`] if they are not whole limbs.
    pub fn from_residues(ring_degree: usize, residues: Vec<u64>) -> Result<Self, Error> {
        if ring_degree == 0 || !residues.len().is_multiple_of(ring_degree) {
            let expected = residues
                .len()
                .checked_div(ring_degree)
                .map_or(1, |limbs| (limbs + 1) * ring_degree);
            return Err(Error::Shape {
                place: "residues of whole limbs",
                expected,
                found: residues.len(),
            });
        }
        Ok(Self {
            ring_degree,
            residues,
            form: PhantomData,
        })
    }

    /// The ring degree N.
    pub fn ring_degree(&self) -> usize {
        self.ring_degree
    }

    /// The number of limbs.
    pub fn limbs(&self) -> usize {
        self.residues.len() / self.ring_degree
    }

    /// The residues modulo the prime of that index.
    ///
    /// # Panics
    /// If there is no such limb.
    pub fn limb(&self, index: usize) -> &[u64] {
        &self.residues[index * self.ring_degree..][..self.ring_degree]
    }

    /// The residues modulo the prime of that index, mutable.
    ///
    /// # Panics
    /// If there is no such limb.
    pub fn limb_mut(&mut self, index: usize) -> &mut [u64] {
        &mut self.residues[index * self.ring_degree..][..self.ring_degree]
    }

    /// All limbs in order, mutable.
    pub fn limbs_mut(&mut self) -> impl Iterator<Item = &mut [u64]> {
        self.residues.chunks_exact_mut(self.ring_degree)
    }

    /// All residues, limb after limb.
    pub fn residues(&self) -> &[u64] {
        &self.residues
    }

    /// All residues, limb after limb, mutable.
    pub fn residues_mut(&mut self) -> &mut [u64] {
        &mut self.residues
    }

    /// Keeps the first `limbs` limbs.
    pub fn truncate(&mut self, limbs: usize) {
        self.residues.truncate(limbs * self.ring_degree);
    }

    fn transformed<'t, Other>(
        mut self,
        tables: impl IntoIterator<Item = &'t NttTable>,
        transform: impl Fn(&NttTable, &mut [u64]),
    ) -> RnsPolynomial<Other> {
        let mut tables = tables.into_iter();
        for limb in self.residues.chunks_exact_mut(self.ring_degree) {
            transform(tables.next().expect("a table for every limb"), limb);
        }
        RnsPolynomial {
            ring_degree: self.ring_degree,
            residues: self.residues,
            form: PhantomData,
        }
    }
}

impl RnsPolynomial<Coefficient> {
    /// Transforms every limb with the table of its prime; further tables are ignored.
    ///
    /// # Panics
    /// If there are fewer tables than limbs or one is for another ring degree.
    pub fn into_evaluation<'t>(
        self,
        tables: impl IntoIterator<Item = &'t NttTable>,
    ) -> RnsPolynomial<Evaluation> {
        self.transformed(tables, NttTable::forward)
    }
}

impl RnsPolynomial<Evaluation> {
    /// Transforms every limb back with the table of its prime; further tables are ignored.
    ///
    /// # Panics
    /// If there are fewer tables than limbs or one is for another ring degree.
    pub fn into_coefficient<'t>(
        self,
        tables: impl IntoIterator<Item = &'t NttTable>,
    ) -> RnsPolynomial<Coefficient> {
        self.transformed(tables, NttTable::inverse)
    }
}

/// Secrets are polynomials as well: only the shape is shown.
impl<Form> std::fmt::Debug for RnsPolynomial<Form> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "RnsPolynomial({} limbs × {})",
            self.limbs(),
            self.ring_degree
        )
    }
}

impl<Form> zeroize::Zeroize for RnsPolynomial<Form> {
    fn zeroize(&mut self) {
        self.residues.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Modulus, backend, primes_below};

    #[test]
    fn forms_round_trip_limb_by_limb() {
        let n = 32;
        let tables: Vec<NttTable> = primes_below(1 << 40, n)
            .take(3)
            .map(|q| NttTable::new(n, Modulus::new(q).unwrap(), backend::portable()).unwrap())
            .collect();
        let residues: Vec<u64> = (0..3 * n as u64).collect();
        let polynomial = RnsPolynomial::<Coefficient>::from_residues(n, residues.clone()).unwrap();
        assert_eq!((polynomial.limbs(), polynomial.ring_degree()), (3, n));
        let mut evaluated = polynomial.clone().into_evaluation(&tables);
        for (i, table) in tables.iter().enumerate() {
            let mut limb = polynomial.limb(i).to_vec();
            table.forward(&mut limb);
            assert_eq!(evaluated.limb(i), limb);
        }
        assert!(evaluated.clone().into_coefficient(&tables) == polynomial);
        evaluated.truncate(2);
        assert_eq!(
            evaluated.into_coefficient(&tables).residues(),
            &residues[..2 * n]
        );
        assert!(matches!(
            RnsPolynomial::<Evaluation>::from_residues(n, vec![0; n + 1]),
            Err(Error::Shape {
                expected: 64,
                found: 33,
                ..
            })
        ));
        assert_eq!(format!("{polynomial:?}"), "RnsPolynomial(3 limbs × 32)");
    }
}
