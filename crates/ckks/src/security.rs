//! How large a modulus may be at a ring degree.
//!
//! Classical security of a uniform ternary secret with error deviation 3.2. The ring is the real
//! (conjugate-invariant) subring: secret and error are independent in an orthogonal basis of dimension N,
//! so the tables are read at N.
//!
//! # Reference
//! 128 bits: Bossuat et al., "Security Guidelines for Implementing Homomorphic Encryption", IACR
//! Communications in Cryptology 2024 (ePrint 2024/463), table 5.2. 192 bits: Albrecht et al.,
//! "Homomorphic Encryption Security Standard", 2018, uniform ternary secret, classical.

/// The smallest ring degree of parameters that are not made for tests.
pub const SMALLEST_RING_DEGREE: usize = 1 << 12;

/// The largest ring degree of parameters.
pub const LARGEST_RING_DEGREE: usize = 1 << 15;

/// Standard deviation of the discrete Gaussian error of encryptions and keys.
pub const ERROR_DEVIATION: f64 = sordino_ring::sample::GAUSSIAN_SIGMA;

/// The largest log2(QP) that keep 128 and 192 bits of security, by ring degree.
const LARGEST_LOG2_QP: [(usize, u32, Option<u32>); 5] = [
    (4_096, 106, Some(75)),
    (8_192, 214, Some(152)),
    (16_384, 430, Some(305)),
    (32_768, 868, Some(611)),
    (65_536, 1_747, None),
];

/// The largest log2(QP) that keeps 128 bits of security at a ring degree, if the table has that degree.
pub fn largest_log2_qp(ring_degree: usize) -> Option<u32> {
    let mut rows = LARGEST_LOG2_QP.iter();
    rows.find_map(|&(degree, bits, _)| (degree == ring_degree).then_some(bits))
}

/// The largest log2(QP) that keeps 192 bits of security at a ring degree, if the table has that degree.
pub fn largest_log2_qp_192(ring_degree: usize) -> Option<u32> {
    let mut rows = LARGEST_LOG2_QP.iter();
    rows.find_map(|&(degree, _, bits)| bits.filter(|_| degree == ring_degree))
}

/// The security level of a modulus at a ring degree: 192, 128, or 0 for less than that.
pub fn security_bits(ring_degree: usize, log2_qp: f64) -> u32 {
    let within = |bound: Option<u32>| bound.is_some_and(|bits| log2_qp <= f64::from(bits));
    if within(largest_log2_qp_192(ring_degree)) {
        192
    } else if within(largest_log2_qp(ring_degree)) {
        128
    } else {
        0
    }
}
