//! The conjugate-invariant ring, encoding and decryption once more, from their definitions and with big integers.
//!
//! Written to check the library, so it shares no code with it: no transform but sums over all points, no reduction but
//! that of big integers, no product but that of two long integers. It is slow, and knows only what
//! `docs/reference/formats.md` says.

use std::f64::consts::PI;

use num_bigint::{BigInt, BigUint, Sign};

/// The polynomials a_0 + Σ a_k (X^k + X^-k), 0 < k < N, modulo X^2N + 1, and their residues modulo distinct primes.
pub(crate) struct Ring {
    pub(crate) n: usize,
    pub(crate) primes: Vec<u64>,
    /// x^k + x^-k for the powers of the root ζ of each prime: entry e is ζ^e + ζ^-e.
    cosines: Vec<Vec<u64>>,
    /// Exponent of ζ that position t of a polynomial in evaluation form stands for.
    exponents: Vec<usize>,
}

fn multiply(a: u64, b: u64, q: u64) -> u64 {
    (u128::from(a) * u128::from(b) % u128::from(q)) as u64
}

fn power(mut base: u64, mut exponent: u64, q: u64) -> u64 {
    let mut result = 1;
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = multiply(result, base, q);
        }
        base = multiply(base, base, q);
        exponent >>= 1;
    }
    result
}

/// A square root modulo a prime by Tonelli and Shanks, with the smallest non-residue.
fn square_root(of: u64, q: u64) -> u64 {
    let (mut odd, mut twos) = (q - 1, 0);
    while odd % 2 == 0 {
        odd /= 2;
        twos += 1;
    }
    let non_residue = (2..)
        .find(|&z| power(z, (q - 1) / 2, q) == q - 1)
        .expect("half of all numbers");
    let mut generator = power(non_residue, odd, q);
    let (mut rest, mut root) = (power(of, odd, q), power(of, odd.div_ceil(2), q));
    while rest != 1 {
        let (mut order, mut square) = (0, rest);
        while square != 1 {
            square = multiply(square, square, q);
            order += 1;
        }
        assert!(order < twos, "{of} is no square modulo {q}");
        let factor = power(generator, 1 << (twos - order - 1), q);
        generator = multiply(factor, factor, q);
        rest = multiply(rest, generator, q);
        root = multiply(root, factor, q);
        twos = order;
    }
    assert_eq!(multiply(root, root, q), of);
    root
}

impl Ring {
    pub(crate) fn new(n: usize, primes: &[u64]) -> Self {
        let cosines = primes
            .iter()
            .map(|&q| {
                assert_eq!(q % (4 * n as u64), 1, "{q} is 1 modulo 4N");
                // From -1, which has order 2, to order 2N; then the smaller root once more.
                let mut psi = q - 1;
                for _ in 0..n.ilog2() {
                    psi = square_root(psi, q);
                }
                let zeta = square_root(psi, q);
                let zeta = zeta.min(q - zeta);
                let mut powers = vec![1; 4 * n];
                for e in 1..4 * n {
                    powers[e] = multiply(powers[e - 1], zeta, q);
                }
                assert_eq!(powers[2 * n], q - 1, "ζ has order 4N");
                (0..4 * n)
                    .map(|e| (powers[e] + powers[(4 * n - e) % (4 * n)]) % q)
                    .collect()
            })
            .collect();
        // Position t is X = ψ^(2r+1) / ζ = ζ^(4r+1), r being t with its bits reversed.
        let bits = n.ilog2();
        let exponents = (0..n)
            .map(|t| 4 * (t.reverse_bits() >> (usize::BITS - bits)) + 1)
            .collect();
        Self {
            n,
            primes: primes.to_vec(),
            cosines,
            exponents,
        }
    }

    /// The product of the first primes.
    pub(crate) fn modulus_of(&self, limbs: usize) -> BigInt {
        self.primes[..limbs]
            .iter()
            .map(|&q| BigInt::from(q))
            .product()
    }

    /// Values at all points, by the definition.
    pub(crate) fn evaluate(&self, limb: usize, coefficients: &[u64]) -> Vec<u64> {
        let (q, cosines) = (u128::from(self.primes[limb]), &self.cosines[limb]);
        let value = |&exponent: &usize| {
            let sum: u128 = (1..self.n)
                .map(|k| {
                    u128::from(coefficients[k]) * u128::from(cosines[exponent * k % (4 * self.n)])
                })
                .sum();
            ((sum + u128::from(coefficients[0])) % q) as u64
        };
        self.exponents.iter().map(value).collect()
    }

    /// Coefficients from values at all points: the columns 1, x^k + x^-k are orthogonal, with squares N and 2N.
    pub(crate) fn interpolate(&self, limb: usize, values: &[u64]) -> Vec<u64> {
        let (q, cosines) = (self.primes[limb], &self.cosines[limb]);
        let half = power(2 * self.n as u64, q - 2, q);
        let coefficient = |k: usize| {
            // Column 0 is x^0 + x^-0 = 2 in the table, and its square 4N: the factor is the same.
            let sum: u128 = values
                .iter()
                .zip(&self.exponents)
                .map(|(&value, &exponent)| {
                    u128::from(value) * u128::from(cosines[exponent * k % (4 * self.n)])
                })
                .sum();
            multiply((sum % u128::from(q)) as u64, half, q)
        };
        (0..self.n).map(coefficient).collect()
    }

    /// The integer polynomial with these residues modulo the first primes, its coefficients in (−Q/2, Q/2].
    pub(crate) fn lift(&self, residues: &[Vec<u64>]) -> Vec<BigInt> {
        let modulus = self.modulus_of(residues.len());
        // Q/q · ((Q/q)^-1 mod q) is 1 modulo q and 0 modulo every other prime.
        let units: Vec<BigInt> = self.primes[..residues.len()]
            .iter()
            .map(|&q| {
                let others = &modulus / q;
                let rest: u64 = (&others % q).try_into().expect("a residue");
                others * power(rest, q - 2, q)
            })
            .collect();
        (0..self.n)
            .map(|k| {
                let sum: BigInt = units
                    .iter()
                    .zip(residues)
                    .map(|(unit, r)| unit * r[k])
                    .sum();
                centred(&sum, &modulus)
            })
            .collect()
    }

    /// The residues of an integer polynomial modulo the first primes.
    pub(crate) fn reduce(&self, polynomial: &[BigInt], limbs: usize) -> Vec<Vec<u64>> {
        let residue = |value: &BigInt, q: u64| -> u64 {
            let q = BigInt::from(q);
            (((value % &q) + &q) % &q).try_into().expect("a residue")
        };
        self.primes[..limbs]
            .iter()
            .map(|&q| polynomial.iter().map(|value| residue(value, q)).collect())
            .collect()
    }

    /// The product in Z[X] / (X^2N + 1): that of two long integers, whose digits are the coefficients of all 2N powers.
    pub(crate) fn product(&self, a: &[BigInt], b: &[BigInt]) -> Vec<BigInt> {
        let bits = |p: &[BigInt]| p.iter().map(BigInt::bits).max().unwrap_or(0);
        // A coefficient of the product is a sum of 2N products, with a sign.
        let digit_bytes = (bits(a) + bits(b) + u64::from(self.n.ilog2()) + 3).div_ceil(8) as usize;
        let powers = [a, b].map(|p| long_integer(&self.all_powers(p), digit_bytes));
        let digits = balanced_digits(&(&powers[0] * &powers[1]), digit_bytes, 4 * self.n);
        let reduced: Vec<BigInt> = (0..2 * self.n)
            .map(|power| &digits[power] - &digits[power + 2 * self.n])
            .collect();
        // The ring is closed: X^-k = -X^(2N-k) has the coefficient of X^k.
        assert_eq!(reduced[self.n], BigInt::ZERO);
        for k in 1..self.n {
            assert_eq!(reduced[2 * self.n - k], -&reduced[k]);
        }
        reduced[..self.n].to_vec()
    }

    /// Coefficients of X^0 … X^(2N-1).
    fn all_powers(&self, polynomial: &[BigInt]) -> Vec<BigInt> {
        let mut powers = vec![BigInt::ZERO; 2 * self.n];
        powers[0] = polynomial[0].clone();
        for k in 1..self.n {
            powers[k] = polynomial[k].clone();
            powers[2 * self.n - k] = -&polynomial[k];
        }
        powers
    }

    /// Σ c_i s^i modulo the first primes: what decryption starts from.
    pub(crate) fn phase(
        &self,
        components: &[Vec<BigInt>],
        secret: &[BigInt],
        limbs: usize,
    ) -> Vec<BigInt> {
        let modulus = self.modulus_of(limbs);
        let (last, others) = components.split_last().expect("a component");
        let mut sum = last.clone();
        for component in others.iter().rev() {
            let product = self.product(&sum, secret);
            let pairs = product.iter().zip(component);
            sum = pairs.map(|(a, b)| centred(&(a + b), &modulus)).collect();
        }
        sum
    }

    /// Slot j: a_0 + 2 Σ a_k cos(π (2j + 1) k / 2N).
    pub(crate) fn slots(&self, polynomial: &[f64]) -> Vec<f64> {
        let table = self.cosine_table();
        let slot = |j: usize| {
            let sum: f64 = (1..self.n)
                .map(|k| polynomial[k] * table[(2 * j + 1) * k % (4 * self.n)])
                .sum();
            polynomial[0] + 2.0 * sum
        };
        (0..self.n).map(slot).collect()
    }

    /// The real coefficients that have these slots: the columns above are orthogonal, with squares N and 2N.
    pub(crate) fn coefficients_of_slots(&self, slots: &[f64]) -> Vec<f64> {
        let table = self.cosine_table();
        let coefficient = |k: usize| {
            let sum: f64 = (0..self.n)
                .map(|j| slots[j] * table[(2 * j + 1) * k % (4 * self.n)])
                .sum();
            sum / self.n as f64
        };
        (0..self.n).map(coefficient).collect()
    }

    fn cosine_table(&self) -> Vec<f64> {
        (0..4 * self.n)
            .map(|e| (PI * e as f64 / (2 * self.n) as f64).cos())
            .collect()
    }
}

/// The representative in (−Q/2, Q/2].
pub(crate) fn centred(value: &BigInt, modulus: &BigInt) -> BigInt {
    let residue = ((value % modulus) + modulus) % modulus;
    if &residue * 2 > *modulus {
        residue - modulus
    } else {
        residue
    }
}

/// value / divisor rounded to the nearest integer, for odd divisors.
pub(crate) fn divide_rounded(value: &BigInt, divisor: &BigInt) -> BigInt {
    (value - centred(value, divisor)) / divisor
}

/// Σ p_i 2^(8·bytes·i).
fn long_integer(polynomial: &[BigInt], bytes: usize) -> BigInt {
    let part = |sign: Sign| {
        let mut digits = vec![0; polynomial.len() * bytes];
        for (place, value) in digits.chunks_exact_mut(bytes).zip(polynomial) {
            if value.sign() == sign {
                let magnitude = value.magnitude().to_bytes_le();
                place[..magnitude.len()].copy_from_slice(&magnitude);
            }
        }
        BigInt::from(BigUint::from_bytes_le(&digits))
    };
    part(Sign::Plus) - part(Sign::Minus)
}

/// The digits of a number to the base 2^(8·bytes), in (−base/2, base/2).
fn balanced_digits(number: &BigInt, bytes: usize, count: usize) -> Vec<BigInt> {
    let negative = number.sign() == Sign::Minus;
    let mut raw = number.magnitude().to_bytes_le();
    raw.resize(count * bytes, 0);
    let base = BigInt::from(1) << (8 * bytes);
    let mut carry = 0;
    raw.chunks_exact(bytes)
        .map(|digit| {
            let mut digit = BigInt::from(BigUint::from_bytes_le(digit)) + carry;
            carry = u8::from(&digit * 2 > base);
            if carry == 1 {
                digit -= &base;
            }
            if negative { -digit } else { digit }
        })
        .collect()
}

/// As a float; coefficients here are far below 2^1000.
pub(crate) fn to_float(value: &BigInt) -> f64 {
    let magnitude = value.magnitude();
    let shift = magnitude.bits().saturating_sub(64);
    let top: u64 = (magnitude >> shift).try_into().expect("64 bits");
    let float = top as f64 * (shift as f64).exp2();
    if value.sign() == Sign::Minus {
        -float
    } else {
        float
    }
}

/// Metadata and payload of a container file, by the table of `docs/reference/formats.md`; the digest is not looked at.
pub(crate) fn container(bytes: &[u8]) -> (serde_json::Value, Vec<u8>) {
    assert_eq!(&bytes[..8], b"SORDINO\0");
    let metadata_bytes = u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
    let payload_bytes = u64::from_le_bytes(bytes[16..24].try_into().unwrap()) as usize;
    let (metadata, payload) = bytes[56..].split_at(metadata_bytes);
    assert_eq!(payload.len(), payload_bytes);
    (serde_json::from_slice(metadata).unwrap(), payload.to_vec())
}

/// Residues of as few whole bytes as their prime needs, little-endian.
pub(crate) fn unpack(bytes: &[u8], q: u64) -> Vec<u64> {
    let width = (u64::BITS - q.leading_zeros()).div_ceil(8) as usize;
    let residue = |bytes: &[u8]| {
        let residue = bytes
            .iter()
            .rev()
            .fold(0, |sum, &byte| sum << 8 | u64::from(byte));
        assert!(residue < q);
        residue
    };
    bytes.chunks_exact(width).map(residue).collect()
}

/// The polynomial that a public seed stands for, as "Expansion of a seed" in `docs/reference/formats.md` says.
pub(crate) fn expand(
    seed: &[u8; 32],
    purpose: u8,
    limb: u32,
    index: u64,
    q: u64,
    n: usize,
) -> Vec<u64> {
    let bits = u64::BITS - q.leading_zeros();
    let width = bits.div_ceil(8) as usize;
    let stream = |name: &str, segment: u32, index: Option<u64>| {
        let mut hasher = blake3::Hasher::new_keyed(seed);
        hasher.update(name.as_bytes());
        hasher.update(&[purpose]);
        hasher.update(&limb.to_le_bytes());
        hasher.update(&segment.to_le_bytes());
        if let Some(index) = index {
            hasher.update(&index.to_le_bytes());
        }
        hasher.finalize_xof()
    };
    let number = |bytes: &[u8]| {
        let all = bytes
            .iter()
            .rev()
            .fold(0_u64, |sum, &byte| sum << 8 | u64::from(byte));
        all & ((1 << bits) - 1)
    };
    let mut out = Vec::with_capacity(n);
    for segment in 0..n.div_ceil(64) as u32 {
        let mut reader = stream("sordino ring uniform residues v2", segment, None);
        reader.set_position(64 * index * width as u64);
        let mut bytes = vec![0; 64.min(n) * width];
        reader.fill(&mut bytes);
        let mut replacements = stream("sordino ring uniform replacements v2", segment, Some(index));
        for bytes in bytes.chunks_exact(width) {
            let mut value = number(bytes);
            while value >= q {
                let mut bytes = vec![0; width];
                replacements.fill(&mut bytes);
                value = number(&bytes);
            }
            out.push(value);
        }
    }
    out
}
