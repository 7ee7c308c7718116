//! Uniform residues from a public seed: part of the file format.

use crate::{Modulus, pack, unpack};

/// What a stretch of uniform residues is for: other values give independent residues from the same seed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UniformDomain {
    /// Which polynomial, e.g. the index of the ciphertext or of the digit.
    pub index: u64,
    /// Which limb, as its position in the list of primes.
    pub limb: u32,
    /// Which use of the seed: ciphertext, evaluation key, …; the users number them.
    pub purpose: u8,
}

/// Separates this use of the seed as a BLAKE3 key from every other.
const CONTEXT: &[u8] = b"sordino ring uniform residues v1";

/// Candidates taken from the stream at a time: several KiB, so that BLAKE3 computes many blocks at once.
const CHUNK: usize = 1024;

/// Fills `out` with uniform residues in `[0, q)`.
///
/// **Format.** The stream is the extended output of BLAKE3 in keyed mode, key `seed`, over `"sordino ring uniform residues
/// v1"`, `purpose` (1 byte), `index` (8) and `limb` (4), little-endian. It is cut into candidates of
/// [`byte_width`](Modulus::byte_width) little-endian bytes, masked to [`bits`](Modulus::bits) bits; those not below q
/// are skipped.
///
/// Seed and result are public, the time depends on them.
pub fn expand_uniform(seed: &[u8; 32], domain: UniformDomain, modulus: &Modulus, out: &mut [u64]) {
    let mut candidates = Candidates::new(seed, domain, modulus);
    let mut rest = out;
    while !rest.is_empty() {
        let accepted = candidates.next();
        let taken = accepted.len().min(rest.len());
        let (filled, unfilled) = rest.split_at_mut(taken);
        filled.copy_from_slice(&accepted[..taken]);
        rest = unfilled;
    }
}

/// Like [`expand_uniform`], but writes packed residues: a row of a [`ResidueMatrix`](crate::ResidueMatrix).
///
/// # Panics
/// If `out` is not a whole number of residues.
pub fn expand_uniform_packed_into(
    seed: &[u8; 32],
    domain: UniformDomain,
    modulus: &Modulus,
    out: &mut [u8],
) {
    let width = modulus.byte_width();
    assert!(
        out.len().is_multiple_of(width),
        "the buffer must hold whole residues"
    );
    let mut candidates = Candidates::new(seed, domain, modulus);
    let mut rest = out;
    while !rest.is_empty() {
        let accepted = candidates.next();
        let taken = accepted.len().min(rest.len() / width);
        let (filled, unfilled) = rest.split_at_mut(taken * width);
        pack(width, &accepted[..taken], filled);
        rest = unfilled;
    }
}

/// The stream, a chunk of accepted candidates at a time.
struct Candidates<'m> {
    stream: blake3::OutputReader,
    modulus: &'m Modulus,
    bytes: Vec<u8>,
    accepted: [u64; CHUNK],
}

impl<'m> Candidates<'m> {
    fn new(seed: &[u8; 32], domain: UniformDomain, modulus: &'m Modulus) -> Self {
        let mut hasher = blake3::Hasher::new_keyed(seed);
        hasher
            .update(CONTEXT)
            .update(&[domain.purpose])
            .update(&domain.index.to_le_bytes())
            .update(&domain.limb.to_le_bytes());
        let bytes = vec![0; CHUNK * modulus.byte_width()];
        Self {
            stream: hasher.finalize_xof(),
            modulus,
            bytes,
            accepted: [0; CHUNK],
        }
    }

    fn next(&mut self) -> &[u64] {
        self.stream.fill(&mut self.bytes);
        unpack(self.modulus.byte_width(), &self.bytes, &mut self.accepted);
        let (q, mask) = (self.modulus.value(), u64::MAX >> (64 - self.modulus.bits()));
        let mut rejected = 0;
        for value in &mut self.accepted {
            *value &= mask;
            rejected += u64::from(*value >= q);
        }
        if rejected == 0 {
            // The common case for a prime just below a power of two.
            return &self.accepted;
        }
        // Writes every candidate and advances only past accepted ones: no branch to mispredict.
        let mut end = 0;
        for i in 0..CHUNK {
            let value = self.accepted[i];
            self.accepted[end] = value;
            end += usize::from(value < q);
        }
        &self.accepted[..end]
    }
}
