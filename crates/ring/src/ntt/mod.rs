//! The number-theoretic transform (NTT) of the conjugate-invariant ring `Z_q[X + 1/X] / (X^2N + 1)`.
//!
//! A polynomial is given by its N coefficients in the basis 1, X + 1/X, X^2 + X^-2, …, or by its values at N points.
//! With ζ a primitive 4N-th root of unity mod q and i = ζ^N, it is reduced mod X^N - i to
//! b_0 = a_0, b_k = a_k - i·a_(N-k) (*fold*), X = Y/ζ turns X^N = i into Y^N = -1 (*twist* by ζ^-k), and a negacyclic
//! transform of size N gives the values at the roots of Y^N = -1, that is at X = ζ^(4t+1), one of each conjugate pair.
//!
//! **Order and roots**, which files depend on: ψ is the primitive 2N-th root that Tonelli-Shanks square roots give when
//! they start from -1 (non-residue: the smallest one), ζ is the smaller square root of ψ, and position t holds the value
//! at X = ψ^(2·r(t)+1) / ζ, r reversing the log2 N bits of t. [`portable`](crate::backend::portable) defines this by a
//! plain implementation; the fast transform (`tfhe-ntt`) chooses the same ψ and order, which a test checks.
//!
//! A constant has the same value at every point, so adding one to a polynomial in evaluation form adds it everywhere.

mod negacyclic;
mod roots;

use crate::{
    Error, Modulus,
    backend::{Backend, Transform, twist::Twist},
    error::check_ring_degree,
};

use self::roots::Roots;

#[derive(Clone)]
enum Plan {
    Portable(negacyclic::Table),
    Tfhe(tfhe_ntt::prime64::Plan),
}

/// Tables to transform polynomials of one ring degree modulo one prime.
///
/// # Cost
/// 48 bytes a coefficient of tables.
#[derive(Clone)]
pub struct NttTable {
    ring_degree: usize,
    modulus: Modulus,
    backend: &'static Backend,
    twist: Twist,
    plan: Plan,
}

impl NttTable {
    /// Builds the tables for ring degree N.
    ///
    /// # Errors
    /// [`Error::RingDegree`] if N is not a power of two from 2^4 to 2^16, [`Error::NoRootOfUnity`] if q is not 1 mod 4N.
    pub fn new(
        ring_degree: usize,
        modulus: Modulus,
        backend: &'static Backend,
    ) -> Result<Self, Error> {
        check_ring_degree(ring_degree)?;
        let order = 4 * ring_degree as u64;
        let missing = Error::NoRootOfUnity {
            modulus: modulus.value(),
            ring_degree,
            order,
        };
        if modulus.value() % order != 1 {
            return Err(missing);
        }
        let roots = Roots::new(&modulus);
        let psi = roots.primitive(order / 2);
        let zeta = roots.smaller_square_root(psi);
        let plan = match backend.transform {
            Transform::Portable => {
                Plan::Portable(negacyclic::Table::new(ring_degree, &modulus, psi))
            }
            Transform::Tfhe => Plan::Tfhe(
                tfhe_ntt::prime64::Plan::try_new(ring_degree, modulus.value()).ok_or(missing)?,
            ),
        };
        let twist = Twist::new(ring_degree, &modulus, zeta, backend.limb.shoup_shift());
        Ok(Self {
            ring_degree,
            modulus,
            backend,
            twist,
            plan,
        })
    }

    /// The ring degree N.
    pub fn ring_degree(&self) -> usize {
        self.ring_degree
    }

    /// The prime q.
    pub fn modulus(&self) -> &Modulus {
        &self.modulus
    }

    /// The backend that the tables were built for.
    pub fn backend(&self) -> &'static Backend {
        self.backend
    }

    /// Coefficients to evaluations, in place.
    ///
    /// # Range
    /// Canonical residues in, canonical residues out.
    ///
    /// # Panics
    /// If `limb` is not N long.
    pub fn forward(&self, limb: &mut [u64]) {
        self.check(limb);
        self.backend.limb.fold(&self.twist, limb);
        match &self.plan {
            Plan::Portable(table) => table.forward(limb),
            Plan::Tfhe(plan) => plan.fwd(limb),
        }
    }

    /// Evaluations to coefficients, in place: the exact inverse of [`forward`](Self::forward).
    ///
    /// # Range
    /// Canonical residues in, canonical residues out.
    ///
    /// # Panics
    /// If `limb` is not N long.
    pub fn inverse(&self, limb: &mut [u64]) {
        self.check(limb);
        match &self.plan {
            Plan::Portable(table) => table.inverse(limb),
            Plan::Tfhe(plan) => plan.inv(limb),
        }
        self.backend.limb.unfold(&self.twist, limb);
    }

    #[track_caller]
    fn check(&self, limb: &[u64]) {
        assert_eq!(
            limb.len(),
            self.ring_degree,
            "a limb has as many residues as the ring degree"
        );
    }
}

impl std::fmt::Debug for NttTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "NttTable(N = {}, q = {}, {})",
            self.ring_degree, self.modulus, self.backend.name
        )
    }
}
