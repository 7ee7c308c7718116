//! The one error type of the crate.

/// What can go wrong in ring arithmetic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The number is not an odd prime below 2^50.
    #[error(
        "{found} cannot be a modulus: {reason}; choose an odd prime below 2^50 (see `primes_below`)"
    )]
    Modulus {
        /// The refused number.
        found: u64,
        /// Which condition it fails.
        reason: &'static str,
    },
    /// The ring degree is not a power of two that the transform supports.
    #[error("ring degree {found} is not supported: choose a power of two from {min} to {max}")]
    RingDegree {
        /// The refused degree.
        found: usize,
        /// The smallest degree supported.
        min: usize,
        /// The largest degree supported.
        max: usize,
    },
    /// The prime has no root of unity of the order that the ring degree asks for.
    #[error(
        "modulus {modulus} is not 1 mod {order}, so it has no transform for ring degree {ring_degree}: \
         choose a prime from `primes_below` for this degree"
    )]
    NoRootOfUnity {
        /// The modulus.
        modulus: u64,
        /// The ring degree N.
        ring_degree: usize,
        /// The order 4N that must divide the modulus minus one.
        order: u64,
    },
    /// No backend of that name exists or the processor lacks its instructions.
    #[error(
        "backend \"{found}\" is unknown or not supported by this processor: choose one of {available}"
    )]
    Backend {
        /// The name that was asked for.
        found: String,
        /// The names that can be chosen here, comma separated.
        available: String,
    },
    /// A buffer or matrix has another size than the operation needs.
    #[error("{place}: expected {expected}, found {found}; check the shapes that are combined")]
    Shape {
        /// The operation and the quantity that differs.
        place: &'static str,
        /// The size needed.
        expected: usize,
        /// The size given.
        found: usize,
    },
    /// The bytes of a residue do not fit into a machine word, or are none at all.
    #[error("{found} bytes a residue: choose 1 to 8 (`Modulus::byte_width`)")]
    Width {
        /// The refused width.
        found: usize,
    },
    /// A packed residue is not below its modulus.
    #[error(
        "residue at row {row}, column {column} is not below its modulus {modulus}: \
         the data is damaged or belongs to other parameters; fetch or create it again"
    )]
    ResidueRange {
        /// The row of the first such residue.
        row: usize,
        /// Its column.
        column: usize,
        /// The modulus it must be below.
        modulus: u64,
    },
    /// The operating system gave no random bytes.
    #[error(
        "the operating system gave no random bytes ({reason}): try again, or check the random device"
    )]
    Entropy {
        /// The system's reason.
        reason: String,
    },
}
