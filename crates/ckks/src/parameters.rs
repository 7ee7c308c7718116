//! The numbers of a scheme instance: ring degree, modulus chain, gadget.

use serde::{Deserialize, Serialize};
use sordino_container::Digest;

use crate::gadget::{Digit, LARGEST_DIGIT_BITS, SMALLEST_DIGIT_BITS};
use crate::security::{self, LARGEST_RING_DEGREE, SMALLEST_RING_DEGREE};
use crate::{Error, Gadget};

/// The most primes that a chain may have, special ones included.
pub const MAX_LIMBS: usize = 64;

/// The smallest ring degree of parameters made for tests.
const SMALLEST_TEST_RING_DEGREE: usize = 16;

/// Moduli stay below 2^50, where the fast transforms are exact.
const MODULUS_LIMIT: u64 = 1 << 50;

/// Ring degree, modulus chain and gadget: numbers only, checked on construction and on deserialization.
///
/// The first prime is never dropped; a rescale drops primes from the end. A ciphertext of level l has
/// l + 1 limbs. Only parameters with at least 128 bits of security can be made ([`new`](Self::new)), except
/// for [`insecure_for_tests`](Self::insecure_for_tests), whose result cannot be deserialized.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "ParametersRecord", into = "ParametersRecord")]
pub struct Parameters {
    record: ParametersRecord,
}

/// The numbers of [`Parameters`] as they stand in a file, before any check.
///
/// Only for comparing and showing what a file says; [`Parameters::try_from`] checks them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParametersRecord {
    /// The ring degree N, which is also the number of slots.
    pub ring_degree: usize,
    /// The modulus chain, first prime first.
    pub primes: Vec<u64>,
    /// The special primes of key switching.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub special_primes: Vec<u64>,
    /// How products are relinearized, if they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gadget: Option<Gadget>,
    /// Whether these numbers are too small for any use but tests.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure_for_tests: bool,
}

impl Parameters {
    /// Parameters with at least 128 bits of security.
    ///
    /// # Errors
    /// [`Error::RingDegree`] outside 2^12 … 2^15, [`Error::ChainLength`], [`Error::Modulus`] for moduli that
    /// are not distinct primes below 2^50 and 1 modulo 4N, [`Error::GadgetShape`] (a special-prime gadget
    /// takes one special prime, wide digits one or more, small digits none), [`Error::Insecure`] above the bound of the security table.
    pub fn new(
        ring_degree: usize,
        primes: Vec<u64>,
        special_primes: Vec<u64>,
        gadget: Option<Gadget>,
    ) -> Result<Self, Error> {
        Self::try_from(ParametersRecord {
            ring_degree,
            primes,
            special_primes,
            gadget,
            insecure_for_tests: false,
        })
    }

    /// Parameters without regard to security, for tests only: ring degrees from 16, any modulus size.
    ///
    /// # Errors
    /// As [`new`](Self::new), except that the security table is not asked.
    pub fn insecure_for_tests(
        ring_degree: usize,
        primes: Vec<u64>,
        special_primes: Vec<u64>,
        gadget: Option<Gadget>,
    ) -> Result<Self, Error> {
        let record = ParametersRecord {
            ring_degree,
            primes,
            special_primes,
            gadget,
            insecure_for_tests: true,
        };
        record.check()?;
        Ok(Self { record })
    }

    /// The ring degree N.
    pub fn ring_degree(&self) -> usize {
        self.record.ring_degree
    }

    /// The number of real slots of a ciphertext: N.
    pub fn slots(&self) -> usize {
        self.record.ring_degree
    }

    /// The modulus chain, first prime first.
    pub fn primes(&self) -> &[u64] {
        &self.record.primes
    }

    /// The special primes: as many as the gadget has.
    pub fn special_primes(&self) -> &[u64] {
        &self.record.special_primes
    }

    /// How products are relinearized, if they are.
    pub fn gadget(&self) -> Option<Gadget> {
        self.record.gadget
    }

    /// Whether these were made by [`insecure_for_tests`](Self::insecure_for_tests).
    pub fn is_insecure_for_tests(&self) -> bool {
        self.record.insecure_for_tests
    }

    /// The numbers alone.
    pub fn record(&self) -> &ParametersRecord {
        &self.record
    }

    /// The number of limbs of a fresh ciphertext.
    pub fn limbs(&self) -> usize {
        self.record.primes.len()
    }

    /// The level of a fresh ciphertext: the number of primes that can be dropped.
    pub fn max_level(&self) -> usize {
        self.limbs() - 1
    }

    /// The size of the modulus chain in bits.
    pub fn log2_q(&self) -> f64 {
        log2_product(self.primes())
    }

    /// The size of the modulus of a ciphertext at a level, in bits.
    pub fn log2_q_at(&self, level: usize) -> f64 {
        log2_product(&self.primes()[..=level])
    }

    /// The size of the largest modulus, special primes included, in bits: what security depends on.
    pub fn log2_qp(&self) -> f64 {
        self.log2_q() + log2_product(self.special_primes())
    }

    /// 128 or 192, by the tables of [`security`]; 0 for parameters made for tests.
    pub fn security_bits(&self) -> u32 {
        if self.record.insecure_for_tests {
            0
        } else {
            security::security_bits(self.ring_degree(), self.log2_qp())
        }
    }

    /// The digits that relinearization of a fresh ciphertext uses; empty without a gadget.
    pub fn digits(&self) -> Vec<Digit> {
        self.gadget()
            .map_or_else(Vec::new, |gadget| Digit::of_chain(gadget, self.primes()))
    }

    /// A digest of the numbers, which keys bind to.
    pub fn digest(&self) -> Digest {
        let record = &self.record;
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&(record.ring_degree as u64).to_le_bytes());
        for primes in [&record.primes, &record.special_primes] {
            bytes.extend_from_slice(&(primes.len() as u64).to_le_bytes());
            primes
                .iter()
                .for_each(|prime| bytes.extend_from_slice(&prime.to_le_bytes()));
        }
        let (tag, width) = match record.gadget {
            None => (0u32, 0),
            Some(Gadget::SpecialPrime) => (1, 0),
            Some(Gadget::SmallDigits { digit_bits }) => (2, digit_bits),
            Some(Gadget::WideDigits { limbs }) => (3, limbs),
        };
        bytes.extend_from_slice(&tag.to_le_bytes());
        bytes.extend_from_slice(&width.to_le_bytes());
        bytes.push(u8::from(record.insecure_for_tests));
        Digest::of("sordino parameters v1", &bytes)
    }
}

impl ParametersRecord {
    /// Every check but that of security.
    fn check(&self) -> Result<(), Error> {
        let smallest = if self.insecure_for_tests {
            SMALLEST_TEST_RING_DEGREE
        } else {
            SMALLEST_RING_DEGREE
        };
        if !self.ring_degree.is_power_of_two()
            || !(smallest..=LARGEST_RING_DEGREE).contains(&self.ring_degree)
        {
            return Err(Error::RingDegree {
                found: self.ring_degree,
                smallest,
                largest: LARGEST_RING_DEGREE,
            });
        }
        let length = self.primes.len().saturating_add(self.special_primes.len());
        if self.primes.is_empty() || length > MAX_LIMBS {
            return Err(Error::ChainLength {
                found: length,
                largest: MAX_LIMBS,
            });
        }
        let step = 4 * self.ring_degree as u64;
        let moduli: Vec<u64> = self
            .primes
            .iter()
            .chain(&self.special_primes)
            .copied()
            .collect();
        for (position, &modulus) in moduli.iter().enumerate() {
            let reason = if modulus >= MODULUS_LIMIT {
                "is not below 2^50"
            } else if modulus % step != 1 {
                "is not 1 modulo 4N"
            } else if !sordino_ring::is_prime(modulus) {
                "is not prime"
            } else if moduli[..position].contains(&modulus) {
                "occurs twice"
            } else {
                continue;
            };
            return Err(Error::Modulus {
                modulus,
                reason,
                step,
            });
        }
        self.check_gadget()
    }

    fn check_gadget(&self) -> Result<(), Error> {
        let (gadget, expected, special_primes) = match self.gadget {
            None => (
                "none".to_owned(),
                "no special prime without a gadget",
                0..=0,
            ),
            Some(Gadget::SpecialPrime) => (
                "special prime".to_owned(),
                "exactly one special prime: add one, or use small digits",
                1..=1,
            ),
            Some(Gadget::WideDigits { limbs }) => {
                let gadget = format!("digits of {limbs} limbs");
                if !(1..=MAX_LIMBS as u32).contains(&limbs) {
                    return Err(Error::GadgetShape {
                        gadget,
                        special_primes: self.special_primes.len(),
                        expected: "digits of 1 to 64 limbs",
                    });
                }
                (
                    gadget,
                    "at least one special prime: add some, or use small digits",
                    1..=MAX_LIMBS,
                )
            }
            Some(Gadget::SmallDigits { digit_bits }) => {
                let gadget = format!("small digits of {digit_bits} bits");
                if !(SMALLEST_DIGIT_BITS..=LARGEST_DIGIT_BITS).contains(&digit_bits) {
                    return Err(Error::GadgetShape {
                        gadget,
                        special_primes: self.special_primes.len(),
                        expected: "digits of 4 to 50 bits",
                    });
                }
                (
                    gadget,
                    "no special prime: leave it out, or use the special-prime gadget",
                    0..=0,
                )
            }
        };
        if special_primes.contains(&self.special_primes.len()) {
            Ok(())
        } else {
            Err(Error::GadgetShape {
                gadget,
                special_primes: self.special_primes.len(),
                expected,
            })
        }
    }
}

impl TryFrom<ParametersRecord> for Parameters {
    type Error = Error;

    /// Checks everything that [`Parameters::new`] checks; refuses records of parameters made for tests.
    fn try_from(record: ParametersRecord) -> Result<Self, Error> {
        let ring_degree = record.ring_degree;
        if record.insecure_for_tests {
            return Err(Error::MadeForTests { ring_degree });
        }
        record.check()?;
        let parameters = Self { record };
        let log2_qp = parameters.log2_qp();
        match security::largest_log2_qp(ring_degree) {
            Some(bound) if log2_qp <= f64::from(bound) => Ok(parameters),
            bound => Err(Error::Insecure {
                ring_degree,
                log2_qp,
                bound: bound.unwrap_or(0),
                suggestion: larger_ring(log2_qp),
            }),
        }
    }
}

/// What to try when a modulus does not fit.
fn larger_ring(log2_qp: f64) -> String {
    let fits = |degree: &usize| {
        security::largest_log2_qp(*degree).is_some_and(|bound| log2_qp <= f64::from(bound))
    };
    match (12..=15).map(|log2| 1usize << log2).find(fits) {
        Some(degree) => format!(
            "use ring degree {degree}, or fewer or smaller primes (less precision, fewer activations)"
        ),
        None => "no supported ring degree is large enough: use fewer or smaller primes (less precision, fewer activations)".to_owned(),
    }
}

impl From<Parameters> for ParametersRecord {
    fn from(parameters: Parameters) -> Self {
        parameters.record
    }
}

fn log2_product(primes: &[u64]) -> f64 {
    primes.iter().map(|&prime| (prime as f64).log2()).sum()
}
