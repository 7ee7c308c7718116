//! Keys, messages and measured errors for the tests of this crate.

// Every test binary uses its own part of this.
#![allow(dead_code)]

use sordino_ckks::{Ciphertexts, Context, Gadget, Parameters, Scale};
use sordino_ring::sample::SecretRng;
use sordino_ring::{ResidueMatrix, backend, primes_below};
use sordino_secret::{SecretKey, decrypt, encrypt};

/// Distinct primes just below 2^bits, one for each entry.
pub(crate) fn primes(n: usize, bits: &[u32]) -> Vec<u64> {
    let mut taken = Vec::new();
    for &bits in bits {
        let prime = primes_below(1 << bits, n).find(|prime| !taken.contains(prime));
        taken.push(prime.expect("there are enough primes"));
    }
    taken
}

/// Parameters of 128 bits with primes just below the given powers of two; the special prime is the last entry, and wide digits have as
/// many as limbs.
pub(crate) fn secure(n: usize, bits: &[u32], gadget: Option<Gadget>) -> Parameters {
    let (chain, special) = split(n, bits, gadget);
    Parameters::new(n, chain, special, gadget).expect("within the bound")
}

/// Toy parameters, otherwise as [`secure`].
pub(crate) fn toy(n: usize, bits: &[u32], gadget: Option<Gadget>) -> Parameters {
    let (chain, special) = split(n, bits, gadget);
    Parameters::insecure_for_tests(n, chain, special, gadget).expect("sound numbers")
}

/// Toy parameters with digits of some limbs and any number of special primes.
pub(crate) fn toy_wide(n: usize, bits: &[u32], special: &[u32], limbs: u32) -> Parameters {
    let mut chain = primes(n, &[bits, special].concat());
    let special = chain.split_off(bits.len());
    let gadget = Some(Gadget::WideDigits { limbs });
    Parameters::insecure_for_tests(n, chain, special, gadget).expect("sound numbers")
}

fn split(n: usize, bits: &[u32], gadget: Option<Gadget>) -> (Vec<u64>, Vec<u64>) {
    let mut chain = primes(n, bits);
    let special = match gadget {
        Some(Gadget::SpecialPrime) => 1,
        Some(Gadget::WideDigits { limbs }) => limbs as usize,
        _ => 0,
    };
    let special = chain.split_off(chain.len() - special);
    (chain, special)
}

/// A context on the best backend of this machine.
pub(crate) fn context(parameters: Parameters) -> Context {
    let backend = backend::select(None).expect("a backend");
    Context::new(parameters, backend).expect("sound parameters have tables")
}

pub(crate) fn scale(log2: f64) -> Scale {
    Scale::from_log2(log2).expect("positive")
}

/// A context with a fresh key and generator.
pub(crate) struct Party {
    pub(crate) context: Context,
    pub(crate) key: SecretKey,
    pub(crate) rng: SecretRng,
}

impl Party {
    pub(crate) fn new(context: &Context) -> Self {
        let mut rng = SecretRng::from_os().expect("entropy");
        let key = SecretKey::generate(context, &mut rng).expect("entropy");
        Self {
            context: context.clone(),
            key,
            rng,
        }
    }

    /// Encrypts `values[feature][slot]` at the highest level.
    pub(crate) fn encrypt(&mut self, values: &[Vec<f64>], scale: Scale) -> Ciphertexts {
        let level = self.context.parameters().max_level();
        let fill = |feature: usize, slots: &mut [f64]| slots.copy_from_slice(&values[feature]);
        encrypt(
            &self.context,
            &self.key,
            &mut self.rng,
            values.len(),
            &fill,
            level,
            scale,
        )
        .expect("a message that fits")
        .expand(&self.context)
        .expect("of this context")
    }

    pub(crate) fn decrypt(&self, map: &Ciphertexts) -> Vec<Vec<f64>> {
        decrypt(&self.context, &self.key, map).expect("of this context")
    }

    /// The slots of the secret: what an encryption of nothing with component 1 equal to one decrypts to.
    pub(crate) fn secret_slots(&self) -> Vec<f64> {
        let context = &self.context;
        let part = |value: u64| -> Vec<_> {
            (0..context.limbs())
                .map(|limb| {
                    let n = context.ring_degree();
                    let mut matrix = ResidueMatrix::zeros(1, n, context.modulus(limb).byte_width());
                    context.backend().pack_row(&mut matrix, 0, &vec![value; n]);
                    matrix
                })
                .collect()
        };
        let map = Ciphertexts::from_parts(context, vec![part(0), part(1)], scale(0.0)).unwrap();
        self.decrypt(&map).remove(0)
    }
}

/// Values in [-1, 1], a vector a feature.
pub(crate) fn values(features: usize, n: usize, seed: u64) -> Vec<Vec<f64>> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    (0..features)
        .map(|_| (0..n).map(|_| next()).collect())
        .collect()
}

/// found − expected in every slot, times a factor.
pub(crate) fn errors(found: &[Vec<f64>], expected: &[Vec<f64>], factor: f64) -> Vec<Vec<f64>> {
    assert_eq!(found.len(), expected.len());
    let pair = |(found, expected): (&Vec<f64>, &Vec<f64>)| {
        found
            .iter()
            .zip(expected)
            .map(|(f, e)| (f - e) * factor)
            .collect()
    };
    found.iter().zip(expected).map(pair).collect()
}

/// The largest absolute value.
pub(crate) fn worst(errors: &[Vec<f64>]) -> f64 {
    errors
        .iter()
        .flatten()
        .fold(0.0, |worst, e| e.abs().max(worst))
}

/// f applied to every slot of two feature maps.
pub(crate) fn slotwise(
    a: &[Vec<f64>],
    b: &[Vec<f64>],
    f: impl Fn(f64, f64) -> f64,
) -> Vec<Vec<f64>> {
    a.iter()
        .zip(b)
        .map(|(a, b)| a.iter().zip(b).map(|(&a, &b)| f(a, b)).collect())
        .collect()
}
