//! What can go wrong in this crate.

use sordino_fault::classify;

/// Everything this crate refuses, with what was expected, what was found and what to try.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The ring degree is no power of two, or outside the supported range.
    #[error(
        "ring degree {found}: expected a power of two from {smallest} to {largest}: choose one of these"
    )]
    RingDegree {
        /// The degree that was asked for.
        found: usize,
        /// The smallest degree accepted here.
        smallest: usize,
        /// The largest degree accepted here.
        largest: usize,
    },
    /// A modulus chain without a prime, or with too many.
    #[error(
        "a modulus chain of {found} primes: expected 1 to {largest}: take larger or fewer primes"
    )]
    ChainLength {
        /// The number of primes, special ones included.
        found: usize,
        /// The largest number accepted.
        largest: usize,
    },
    /// A modulus that cannot be used with this ring degree.
    #[error(
        "modulus {modulus} {reason}: expected distinct primes below 2^50 that are 1 modulo {step} (four times the ring degree): take them from ring::primes_below"
    )]
    Modulus {
        /// The modulus.
        modulus: u64,
        /// What is wrong with it.
        reason: &'static str,
        /// Four times the ring degree.
        step: u64,
    },
    /// The gadget and the special primes do not fit together, or the digit width is out of range.
    #[error("gadget {gadget} with {special_primes} special primes: expected {expected}")]
    GadgetShape {
        /// The gadget, in words.
        gadget: String,
        /// How many special primes were given.
        special_primes: usize,
        /// What would be accepted.
        expected: &'static str,
    },
    /// The modulus is too large for the ring degree: below 128 bits of security.
    #[error(
        "log2(QP) = {log2_qp:.2} at ring degree {ring_degree} is above the bound of {bound} for 128-bit security: {suggestion}"
    )]
    Insecure {
        /// The ring degree N.
        ring_degree: usize,
        /// The size of the modulus, special primes included, in bits.
        log2_qp: f64,
        /// The largest size that is allowed at this degree, in bits.
        bound: u32,
        /// What to try.
        suggestion: String,
    },
    /// Parameters marked as made for tests came from outside.
    #[error(
        "these parameters are marked insecure (made for tests, ring degree {ring_degree}): compile the model again without test parameters"
    )]
    MadeForTests {
        /// The ring degree N.
        ring_degree: usize,
    },
    /// A scale that is not a positive finite number.
    #[error("scale {found}: expected a positive finite number")]
    Scale {
        /// The number that was given.
        found: f64,
    },
    /// A key identity that is not 32 hexadecimal digits.
    #[error("key identity {found:?}: expected 32 hexadecimal digits")]
    KeyIdText {
        /// The text that was given, cut to a few characters.
        found: String,
    },
    /// Two things were made for different parameters.
    #[error(
        "{what} belongs to parameters {found}, expected {expected}: use files made from one plan"
    )]
    ParametersMismatch {
        /// What was being used.
        what: &'static str,
        /// The digest of the context's parameters.
        expected: sordino_container::Digest,
        /// The digest that was found.
        found: sordino_container::Digest,
    },
    /// A count (rows, limbs, components, slots ...) is not what it should be.
    #[error("{what}: expected {expected}, found {found}")]
    Count {
        /// What was counted.
        what: &'static str,
        /// How many there should be.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// Two operands differ in their level, or more primes were to be dropped than can be.
    #[error(
        "{what}: level {found}, expected {expected}: drop limbs of the operand with the higher level, or plan more levels"
    )]
    Level {
        /// The operation.
        what: &'static str,
        /// The level it needs.
        expected: usize,
        /// The level it found.
        found: usize,
    },
    /// Two operands differ in their scale.
    #[error(
        "{what}: scales 2^{left:.6} and 2^{right:.6} differ: multiply one operand by an integer that brings it to the other's scale"
    )]
    ScaleMismatch {
        /// The operation.
        what: &'static str,
        /// log2 of the first scale.
        left: f64,
        /// log2 of the second scale.
        right: f64,
    },
    /// The number of components does not fit the operation.
    #[error("{what}: {found} components, expected {expected}: relinearize products first")]
    Components {
        /// The operation.
        what: &'static str,
        /// The number of components it needs, in words.
        expected: &'static str,
        /// The number it found.
        found: usize,
    },
    /// A plaintext does not fit into the coefficients.
    #[error(
        "encoded coefficient 2^{found:.1} is not below the limit 2^{limit:.1}: use a smaller scale, smaller values or a higher level"
    )]
    MessageRange {
        /// log2 of the largest coefficient.
        found: f64,
        /// log2 of the limit.
        limit: f64,
    },
    /// A value to encode is NaN or infinite.
    #[error("slot {slot} holds a value that is not finite: check the input for NaN")]
    NotFinite {
        /// The first such slot.
        slot: usize,
    },
    /// Relinearization was asked of parameters without a gadget.
    #[error(
        "these parameters have no relinearization gadget: compile a plan that relinearizes, or leave out the evaluation key"
    )]
    NoGadget,
    /// A set of rotations that is not sorted, distinct and in range.
    #[error(
        "rotations of an evaluation key: {steps} {reason}: list distinct steps from 1 to N - 1 in rising order"
    )]
    Rotations {
        /// The first that is wrong.
        steps: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The evaluation key has no key for relinearization.
    #[error(
        "the evaluation key has no key for relinearization: make one with the key set that the plan asks for"
    )]
    MissingRelinearization,
    /// The evaluation key has no key for a rotation.
    #[error(
        "the evaluation key has no key for a rotation by {steps} steps: make one with the key set that the plan asks for"
    )]
    MissingRotation {
        /// The steps to the left, in rotation order.
        steps: usize,
    },
    /// Some terms of a sum have a plaintext and some have none.
    #[error(
        "term {term} of output {output}: {reason}: give every term of a call a plaintext, or none and no plaintexts"
    )]
    Terms {
        /// The output.
        output: usize,
        /// Its first term that does not fit.
        term: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A ring operation or a residue check failed.
    #[error(transparent)]
    Ring(#[from] sordino_ring::Error),
    /// A file or buffer could not be read or written.
    #[error(transparent)]
    Container(#[from] sordino_container::Error),
}

classify!(Error {
    Limits: Insecure;
    BadFile: RingDegree, ChainLength, Modulus, GadgetShape, MadeForTests, Scale, KeyIdText, ParametersMismatch, Count,
        Level, ScaleMismatch, Components, MessageRange, NotFinite, NoGadget, Rotations, MissingRelinearization,
        MissingRotation, Terms;
} inner { Ring, Container });

/// [`Error::Count`] unless a condition on the two numbers holds.
pub(crate) fn check(
    holds: bool,
    what: &'static str,
    expected: usize,
    found: usize,
) -> Result<(), Error> {
    if holds {
        return Ok(());
    }
    Err(Error::Count {
        what,
        expected,
        found,
    })
}

/// A list, or a side of a matrix, is as long as it must be.
pub(crate) fn check_count(what: &'static str, expected: usize, found: usize) -> Result<(), Error> {
    check(expected == found, what, expected, found)
}

/// A number is from 1 to a limit.
pub(crate) fn check_range(what: &'static str, limit: usize, found: usize) -> Result<(), Error> {
    check((1..=limit).contains(&found), what, limit, found)
}

/// An index is below the number of things that there are.
pub(crate) fn check_index(what: &'static str, count: usize, found: usize) -> Result<(), Error> {
    check(found < count, what, count, found)
}

/// There is something.
pub(crate) fn check_some(what: &'static str, found: usize) -> Result<(), Error> {
    check(found > 0, what, 1, found)
}
