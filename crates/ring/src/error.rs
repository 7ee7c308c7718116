//! The one error type of the crate.

use sordino_fault::classify;

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
    /// A tile of a linear map names a row that the matrix does not have.
    #[error(
        "tile {tile} names {side} row {found} of a map with {rows}: check the index lists against the shapes"
    )]
    TileRow {
        /// The position of the tile.
        tile: usize,
        /// "input" or "output".
        side: &'static str,
        /// The row named.
        found: u32,
        /// The rows there are.
        rows: usize,
    },
    /// Two rows of tiles write the same output.
    #[error(
        "tile {tile} writes output row {output} a second time: join the tiles, as sums over tiles are not formed"
    )]
    RepeatedOutput {
        /// The position of the second tile.
        tile: usize,
        /// The output row.
        output: u32,
    },
    /// A tile has more inputs than its sums of byte products stay exact for.
    #[error(
        "tile {tile} has {found} inputs and sums stay exact up to {limit}: \
         split the layer into several and add their outputs"
    )]
    TileInputs {
        /// The position of the tile.
        tile: usize,
        /// Its inputs.
        found: usize,
        /// The most that the weight width allows.
        limit: usize,
    },
    /// A weight is outside the range of its width.
    #[error(
        "tile {tile} has weight {found}, allowed is up to ±{limit}: clamp it or use wider weights"
    )]
    WeightRange {
        /// The position of the tile.
        tile: usize,
        /// The refused weight.
        found: i16,
        /// The largest magnitude allowed.
        limit: i16,
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

classify!(Error {
    Usage: Backend;
    BadFile: Modulus, RingDegree, NoRootOfUnity, Shape, Width, ResidueRange, TileRow, RepeatedOutput, TileInputs, WeightRange;
    Io: Entropy;
});

/// A size is what the operation needs.
pub(crate) fn check_shape(place: &'static str, expected: usize, found: usize) -> Result<(), Error> {
    if expected == found {
        return Ok(());
    }
    Err(Error::Shape {
        place,
        expected,
        found,
    })
}

/// A ring degree is a power of two that the transform supports.
pub(crate) fn check_ring_degree(found: usize) -> Result<(), Error> {
    let (min, max) = (1 << 4, 1 << 16);
    if found.is_power_of_two() && (min..=max).contains(&found) {
        return Ok(());
    }
    Err(Error::RingDegree { found, min, max })
}
