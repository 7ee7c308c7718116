//! The generator of everything secret.

use rand_chacha::{
    ChaCha20Rng,
    rand_core::{Rng, SeedableRng},
};
use zeroize::Zeroizing;

use crate::Error;

/// Fills a buffer with random bytes of the operating system.
///
/// # Errors
/// [`Error::Entropy`] if it gives none.
pub fn system_bytes(bytes: &mut [u8]) -> Result<(), Error> {
    getrandom::fill(bytes).map_err(|error| Error::Entropy {
        reason: error.to_string(),
    })
}

/// A cryptographic generator (ChaCha20) for keys and errors.
///
/// It is neither `Clone` nor `Debug`, and its state is overwritten when it is dropped. The same state must never make
/// two encryptions: the difference of two ciphertexts with the same error reveals the messages.
pub struct SecretRng {
    /// Boxed, so that moving the generator leaves no copies of the state behind.
    generator: Box<ChaCha20Rng>,
}

impl SecretRng {
    /// A generator seeded by the operating system.
    ///
    /// # Errors
    /// [`Error::Entropy`] if the system gives no random bytes.
    pub fn from_os() -> Result<Self, Error> {
        let mut seed = Zeroizing::new([0; 32]);
        system_bytes(&mut *seed)?;
        Ok(Self::keyed(&seed))
    }

    /// A generator with a given seed, for tests and known answers.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self::keyed(&Zeroizing::new(seed))
    }

    fn keyed(seed: &[u8; 32]) -> Self {
        Self {
            generator: Box::new(ChaCha20Rng::from_seed(*seed)),
        }
    }

    /// A family of independent generators for parallel work, so that the order of the work does not matter.
    ///
    /// It advances this generator: every call gives another family, never the same streams twice.
    pub fn streams(&mut self) -> SecretStreams {
        let mut key = Zeroizing::new([0; 32]);
        self.fill(&mut *key);
        SecretStreams { key }
    }

    /// Fills a buffer with random bytes.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.generator.fill_bytes(bytes);
    }
}

impl Drop for SecretRng {
    fn drop(&mut self) {
        *self.generator = ChaCha20Rng::from_seed([0; 32]);
        // Without a reader the compiler could drop the assignment.
        std::hint::black_box(&mut *self.generator);
    }
}

/// Independent generators by index, all drawn from one [`SecretRng`]; can be shared between threads.
///
/// ChaCha20 with one key and the index as its nonce, so the streams do not overlap.
pub struct SecretStreams {
    key: Zeroizing<[u8; 32]>,
}

impl SecretStreams {
    /// The generator of that index: use every index once.
    pub fn fork(&self, index: u64) -> SecretRng {
        let mut rng = SecretRng::keyed(&self.key);
        rng.generator.set_stream(index);
        rng
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(rng: &mut SecretRng) -> [u8; 64] {
        let mut bytes = [0; 64];
        rng.fill(&mut bytes);
        bytes
    }

    #[test]
    fn is_chacha20() {
        // RFC 8439, appendix A.1, test vectors 1 and 2: key 0, nonce 0, blocks 0 and 1 (first 16 bytes of each).
        let mut rng = SecretRng::from_seed([0; 32]);
        assert_eq!(
            draw(&mut rng)[..16],
            [
                0x76, 0xb8, 0xe0, 0xad, 0xa0, 0xf1, 0x3d, 0x90, 0x40, 0x5d, 0x6a, 0xe5, 0x53, 0x86,
                0xbd, 0x28
            ]
        );
        assert_eq!(
            draw(&mut rng)[..16],
            [
                0x9f, 0x07, 0xe7, 0xbe, 0x55, 0x51, 0x38, 0x7a, 0x98, 0xba, 0x97, 0x7c, 0x73, 0x2d,
                0x08, 0x0d
            ]
        );
    }

    #[test]
    fn streams_differ_by_index_by_call_and_from_the_parent() {
        let mut rng = SecretRng::from_seed([7; 32]);
        let (first, second) = (rng.streams(), rng.streams());
        let mut seen: Vec<[u8; 64]> = (0..20).map(|i| draw(&mut first.fork(i))).collect();
        seen.extend((0..20).map(|i| draw(&mut second.fork(i))));
        seen.push(draw(&mut rng));
        seen.push(draw(&mut SecretRng::from_seed([7; 32])));
        for (i, a) in seen.iter().enumerate() {
            assert!(
                seen[..i].iter().all(|b| a != b),
                "stream {i} repeats another"
            );
            // Half of the 512 bits differ, with a standard deviation of 11.
            let unequal = |b: &[u8; 64]| {
                a.iter()
                    .zip(b)
                    .map(|(x, y)| (x ^ y).count_ones())
                    .sum::<u32>()
            };
            assert!(
                seen[..i].iter().all(|b| (180..332).contains(&unequal(b))),
                "stream {i} is correlated"
            );
        }
    }

    #[test]
    fn streams_do_not_depend_on_the_order() {
        let streams = SecretRng::from_seed([9; 32]).streams();
        let again = SecretRng::from_seed([9; 32]).streams();
        let ascending: Vec<_> = (0..8).map(|i| draw(&mut streams.fork(i))).collect();
        let mut descending: Vec<_> = (0..8).rev().map(|i| draw(&mut again.fork(i))).collect();
        descending.reverse();
        assert_eq!(ascending, descending);
    }

    #[test]
    fn the_system_seeds_differently_each_time() {
        assert_ne!(
            draw(&mut SecretRng::from_os().unwrap()),
            draw(&mut SecretRng::from_os().unwrap())
        );
    }
}
