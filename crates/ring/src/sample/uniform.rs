//! Uniform residues from a public seed: part of the file format.
//!
//! The residues of many polynomials at the same few positions come from one stretch of one stream. A reader that takes
//! a strip of columns through a layer so expands just these columns, in one piece, into memory that stays in its cache.

use std::ops::Range;

use rayon::prelude::*;

use crate::{Modulus, ResidueMatrix, StripMut, backend::Backend};

/// Positions that share a stream: the width of the strips into which a polynomial is cut for expansion.
pub const SEGMENT: usize = 64;

/// What a stretch of uniform residues is for: other values give independent residues from the same seed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UniformDomain {
    /// Which limb, as its position in the list of primes.
    pub limb: u32,
    /// Which use of the seed: ciphertext, evaluation key, …; the users number them.
    pub purpose: u8,
}

/// The largest index of a polynomial: the stream's positions stay below 2^64.
pub const MAX_INDEX: u64 = 1 << 48;

/// Separates the uses of the seed as a BLAKE3 key from each other.
const CANDIDATES: &[u8] = b"sordino ring uniform residues v2";
const REPLACEMENTS: &[u8] = b"sordino ring uniform replacements v2";

/// The uniform residues of one domain, by index of the polynomial and position.
///
/// **Format.** Positions are cut into segments of [`SEGMENT`]; the last one may be shorter. The *candidates* of segment
/// s are the extended output of BLAKE3 in keyed mode, key `seed`, over `"sordino ring uniform residues v2"`, `purpose`
/// (1 byte), `limb` (4) and s (4), little-endian, cut into numbers of [`byte_width`](Modulus::byte_width) little-endian
/// bytes, masked to [`bits`](Modulus::bits) bits. Candidate `index` · SEGMENT + j is residue j of the segment of
/// polynomial `index`, if it is below q. Those of a segment that are not are replaced, in their order, by the accepted
/// numbers of another stream, cut and masked alike: that over `"sordino ring uniform replacements v2"`, `purpose`,
/// `limb`, s and `index` (8).
///
/// Seed and result are public, the time depends on them.
///
/// # Cost
/// Fastest for primes just below a power of two, which need hardly any replacement.
pub struct UniformStream<'a> {
    backend: &'a Backend,
    seed: &'a [u8; 32],
    domain: UniformDomain,
    modulus: &'a Modulus,
}

impl<'a> UniformStream<'a> {
    /// The residues of that seed, domain and modulus.
    pub fn new(
        backend: &'a Backend,
        seed: &'a [u8; 32],
        domain: UniformDomain,
        modulus: &'a Modulus,
    ) -> Self {
        Self {
            backend,
            seed,
            domain,
            modulus,
        }
    }

    /// Fills a strip with one segment of consecutive polynomials: row r is polynomial `first_index` + r.
    ///
    /// # Shapes
    /// `strip` polynomials × positions of the segment.
    ///
    /// # Panics
    /// If the strip is wider than a segment or has residues of another width, or an index is above [`MAX_INDEX`].
    pub fn expand_strip(&self, segment: usize, first_index: u64, strip: &mut ResidueMatrix) {
        let rows = strip.rows() as u64;
        let all = first_index..first_index + rows;
        self.expand_strip_of(segment, std::slice::from_ref(&all), strip);
    }

    /// The same for the polynomials of several ranges, range after range.
    ///
    /// # Panics
    /// As [`expand_strip`](Self::expand_strip), or if the ranges have not as many indices as the strip has rows.
    pub fn expand_strip_of(
        &self,
        segment: usize,
        indices: &[Range<u64>],
        strip: &mut ResidueMatrix,
    ) {
        let (width, columns) = (self.modulus.byte_width(), strip.columns());
        assert!(columns <= SEGMENT, "a strip of {columns} positions");
        assert_eq!(strip.width(), width, "width of the strip");
        let count: u64 = indices.iter().map(|range| range.end - range.start).sum();
        assert_eq!(
            count,
            strip.rows() as u64,
            "polynomials for the strip's rows"
        );
        let row_bytes = columns * width;
        let mut rest = strip.as_mut_bytes();
        for range in indices {
            let rows = (range.end - range.start) as usize;
            let (bytes, others) = rest.split_at_mut(rows * row_bytes);
            rest = others;
            let mut stream = self.candidates(segment, range.clone());
            if columns == SEGMENT {
                stream.fill(bytes);
            } else {
                let mut whole = [0; SEGMENT * 8];
                for row in bytes.chunks_exact_mut(row_bytes) {
                    stream.fill(&mut whole[..SEGMENT * width]);
                    row.copy_from_slice(&whole[..row_bytes]);
                }
            }
            self.accept(segment, range.start, row_bytes, bytes);
        }
    }

    /// Fills whole rows: row r becomes polynomial `first_index` + r.
    ///
    /// # Panics
    /// If the residues have another width, or an index is above [`MAX_INDEX`].
    ///
    /// # Cost
    /// Parallel over segments.
    pub fn expand_rows(&self, first_index: u64, rows: &mut ResidueMatrix) {
        rows.strips_mut(SEGMENT)
            .into_par_iter()
            .enumerate()
            .for_each_init(
                || ResidueMatrix::zeros(0, 1, 1),
                |strip, (segment, target)| self.expand_into(segment, first_index, strip, target),
            );
    }

    fn expand_into(
        &self,
        segment: usize,
        first_index: u64,
        strip: &mut ResidueMatrix,
        mut target: StripMut<'_>,
    ) {
        strip.reshape(target.rows(), target.columns(), target.width());
        self.expand_strip(segment, first_index, strip);
        for row in 0..target.rows() {
            target.row_mut(row).copy_from_slice(strip.row(row));
        }
    }

    /// Fills `out` with the first residues of one polynomial.
    ///
    /// # Panics
    /// If the index is above [`MAX_INDEX`].
    pub fn expand_row(&self, index: u64, out: &mut [u64]) {
        let width = self.modulus.byte_width();
        let mut bytes = [0; SEGMENT * 8];
        for (segment, out) in out.chunks_mut(SEGMENT).enumerate() {
            let bytes = &mut bytes[..SEGMENT * width];
            self.candidates(segment, index..index + 1).fill(bytes);
            let bytes = &mut bytes[..out.len() * width];
            self.accept(segment, index, bytes.len(), bytes);
            self.backend.unpack(width, bytes, out);
        }
    }

    /// Masks the candidates of one segment of consecutive polynomials and replaces those that are not below q.
    fn accept(&self, segment: usize, first_index: u64, row_bytes: usize, bytes: &mut [u8]) {
        let mut rejected = Vec::new();
        let limb = self.backend.limb;
        limb.screen(self.modulus, row_bytes, bytes, &mut rejected);
        for row in rejected {
            let bytes = &mut bytes[row * row_bytes..(row + 1) * row_bytes];
            self.replace(segment, first_index + row as u64, bytes);
        }
    }

    /// Replaces the masked candidates of one polynomial and segment that are not below q.
    fn replace(&self, segment: usize, index: u64, bytes: &mut [u8]) {
        /// Numbers taken from the stream at a time: they are a whole number of its blocks.
        const CHUNK: usize = 64;
        let width = self.modulus.byte_width();
        let (q, mask) = (self.modulus.value(), u64::MAX >> (64 - self.modulus.bits()));
        let number = |bytes: &[u8]| {
            let mut word = [0; 8];
            word[..width].copy_from_slice(bytes);
            u64::from_le_bytes(word) & mask
        };
        let mut stream = self.replacements(segment, index);
        let mut chunk = [0; CHUNK * 8];
        let mut next = CHUNK;
        for residue in bytes.chunks_exact_mut(width) {
            while number(residue) >= q {
                if next == CHUNK {
                    stream.fill(&mut chunk[..CHUNK * width]);
                    next = 0;
                }
                residue.copy_from_slice(
                    &number(&chunk[next * width..][..width]).to_le_bytes()[..width],
                );
                next += 1;
            }
        }
    }

    fn hasher(&self, context: &[u8], segment: usize) -> blake3::Hasher {
        let segment = u32::try_from(segment).expect("a polynomial has fewer than 2^32 positions");
        let mut hasher = blake3::Hasher::new_keyed(self.seed);
        hasher
            .update(context)
            .update(&[self.domain.purpose])
            .update(&self.domain.limb.to_le_bytes())
            .update(&segment.to_le_bytes());
        hasher
    }

    fn candidates(&self, segment: usize, indices: Range<u64>) -> blake3::OutputReader {
        assert!(indices.end <= MAX_INDEX, "index {} too large", indices.end);
        let mut stream = self.hasher(CANDIDATES, segment).finalize_xof();
        let size = SEGMENT * self.modulus.byte_width();
        stream.set_position(indices.start * size as u64);
        stream
    }

    fn replacements(&self, segment: usize, index: u64) -> blake3::OutputReader {
        let mut hasher = self.hasher(REPLACEMENTS, segment);
        hasher.update(&index.to_le_bytes());
        hasher.finalize_xof()
    }
}
