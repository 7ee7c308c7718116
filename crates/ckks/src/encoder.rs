//! Slots to integer coefficients and back.
//!
//! In the basis 1, X^k + X^-k the value in slot j is a_0 + 2 Σ a_k cos(π(2j+1)k / 2N), twice the DCT-III of
//! the coefficients. The basis is orthogonal over the slots, so the inverse is the DCT-II divided by N.

use std::fmt;
use std::sync::Arc;

use rustdct::{DctPlanner, TransformType2And3};

use crate::error::{check, check_count};
use crate::{Error, Scale};

/// Encoded coefficients stay below this, so that an error can be added to them in an `i64`.
const COEFFICIENT_LIMIT_LOG2: f64 = 62.0;

/// Encodes and decodes vectors of N real slots.
#[derive(Clone)]
pub struct Encoder {
    ring_degree: usize,
    transform: Arc<dyn TransformType2And3<f64>>,
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder")
            .field("ring_degree", &self.ring_degree)
            .finish_non_exhaustive()
    }
}

/// Below this, [`round_small`] is exact.
const SMALL: f64 = (1_u64 << 51) as f64;

/// The nearest integer, ties to even: the sum with 1.5 · 2^52 is rounded by the processor and has it in its low bits.
/// Vectorizes on every machine, where `round_ties_even` is a call.
#[inline]
fn round_small(value: f64) -> i64 {
    const ROUND: f64 = 3.0 * SMALL;
    (value + ROUND).to_bits() as i64 - ROUND.to_bits() as i64
}

impl Encoder {
    /// An encoder for N slots, N a power of two.
    pub fn new(ring_degree: usize) -> Self {
        Self {
            ring_degree,
            transform: DctPlanner::new().plan_dct2(ring_degree),
        }
    }

    /// The number of slots N.
    pub fn slots(&self) -> usize {
        self.ring_degree
    }

    /// Numbers of scratch memory that the `_in_place` functions need.
    pub fn scratch_len(&self) -> usize {
        self.transform.get_scratch_len()
    }

    /// The integer coefficients whose slots are `slots` · `scale`, each coefficient rounded to nearest.
    ///
    /// # Errors
    /// As [`encode_in_place`](Self::encode_in_place).
    pub fn encode_into(
        &self,
        slots: &[f64],
        scale: Scale,
        coefficients: &mut [i64],
    ) -> Result<(), Error> {
        let mut buffer = slots.to_vec();
        let mut scratch = vec![0.0; self.scratch_len()];
        self.encode_in_place(&mut buffer, &mut scratch, scale, coefficients)
    }

    /// As [`encode_into`](Self::encode_into) without allocation; overwrites `slots`.
    ///
    /// # Shapes
    /// `slots`: N. `scratch`: [`scratch_len`](Self::scratch_len). `coefficients`: N.
    ///
    /// # Range
    /// A slot value v adds at most |v| · scale / N to each coefficient.
    ///
    /// # Errors
    /// [`Error::Count`] for other lengths, [`Error::NotFinite`] for NaN or infinity, [`Error::MessageRange`]
    /// for a coefficient of 2^62 or more.
    pub fn encode_in_place(
        &self,
        slots: &mut [f64],
        scratch: &mut [f64],
        scale: Scale,
        coefficients: &mut [i64],
    ) -> Result<(), Error> {
        self.check_length("slots to encode", slots.len())?;
        self.check_length("coefficients to encode into", coefficients.len())?;
        if let Some(slot) = slots.iter().position(|value| !value.is_finite()) {
            return Err(Error::NotFinite { slot });
        }
        self.check_scratch(scratch)?;
        self.transform.process_dct2_with_scratch(slots, scratch);
        let factor = scale.value() / self.ring_degree as f64;
        let (mut largest, mut fits) = (0.0f64, true);
        let limit = COEFFICIENT_LIMIT_LOG2.exp2();
        for value in slots.iter_mut() {
            *value *= factor;
            largest = largest.max(value.abs());
            // False for the NaN that overflowing sums of finite slots can end in.
            fits &= value.abs() < limit;
        }
        if !fits {
            return Err(Error::MessageRange {
                found: largest.log2(),
                limit: COEFFICIENT_LIMIT_LOG2,
            });
        }
        let rounded = coefficients.iter_mut().zip(slots.iter());
        if largest < SMALL {
            for (coefficient, value) in rounded {
                *coefficient = round_small(*value);
            }
        } else {
            for (coefficient, value) in rounded {
                *coefficient = value.round_ties_even() as i64;
            }
        }
        Ok(())
    }

    /// The slots of a polynomial, divided by `scale`.
    ///
    /// # Errors
    /// [`Error::Count`] for lengths other than N.
    pub fn decode_into(
        &self,
        coefficients: &[f64],
        scale: Scale,
        slots: &mut [f64],
    ) -> Result<(), Error> {
        self.check_length("slots to decode into", slots.len())?;
        self.check_length("coefficients to decode", coefficients.len())?;
        slots.copy_from_slice(coefficients);
        let mut scratch = vec![0.0; self.scratch_len()];
        self.decode_in_place(slots, &mut scratch, scale)
    }

    /// Turns coefficients into slots divided by `scale`, in place and without allocation.
    ///
    /// # Shapes
    /// `values`: N. `scratch`: [`scratch_len`](Self::scratch_len).
    ///
    /// # Errors
    /// [`Error::Count`] for other lengths.
    pub fn decode_in_place(
        &self,
        values: &mut [f64],
        scratch: &mut [f64],
        scale: Scale,
    ) -> Result<(), Error> {
        self.check_length("coefficients to decode", values.len())?;
        self.check_scratch(scratch)?;
        self.transform.process_dct3_with_scratch(values, scratch);
        let factor = 2.0 / scale.value();
        values.iter_mut().for_each(|value| *value *= factor);
        Ok(())
    }

    fn check_length(&self, what: &'static str, found: usize) -> Result<(), Error> {
        check_count(what, self.ring_degree, found)
    }

    fn check_scratch(&self, scratch: &[f64]) -> Result<(), Error> {
        let (expected, found) = (self.scratch_len(), scratch.len());
        let what = "scratch numbers of the encoder";
        check(found >= expected, what, expected, found)
    }
}

/// Refuses coefficients of 2^`limit` or more in magnitude: beyond half of the modulus a message wraps around.
///
/// # Errors
/// [`Error::MessageRange`].
pub fn check_message_range(coefficients: &[i64], limit: f64) -> Result<(), Error> {
    let largest = coefficients
        .iter()
        .fold(0, |largest, a| largest.max(a.unsigned_abs()));
    let found = (largest as f64).log2();
    if found < limit {
        Ok(())
    } else {
        Err(Error::MessageRange { found, limit })
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use super::*;

    fn slot(coefficients: &[i64], j: usize) -> f64 {
        let n = coefficients.len() as f64;
        let cosine = |k: usize| (PI * (2 * j + 1) as f64 * k as f64 / (2.0 * n)).cos();
        coefficients
            .iter()
            .enumerate()
            .map(|(k, &a)| a as f64 * if k == 0 { 1.0 } else { 2.0 * cosine(k) })
            .sum()
    }

    fn values(n: usize, seed: u64) -> Vec<f64> {
        let mut state = seed;
        (0..n)
            .map(|_| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
                (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
            })
            .collect()
    }

    #[test]
    fn coefficients_have_the_slots_of_the_definition() {
        for n in [16, 64, 512] {
            let (encoder, scale) = (Encoder::new(n), Scale::from_log2(40.0).unwrap());
            let slots = values(n, 7);
            let mut coefficients = vec![0; n];
            encoder
                .encode_into(&slots, scale, &mut coefficients)
                .unwrap();
            for (j, &value) in slots.iter().enumerate() {
                let found = slot(&coefficients, j) / scale.value();
                assert!((found - value).abs() < n as f64 * 2f64.powi(-40), "{n} {j}");
            }
        }
    }

    #[test]
    fn decoding_follows_the_definition() {
        let n = 64;
        let coefficients: Vec<i64> = (0..n as i64).map(|k| (k * k * 37) % 101 - 50).collect();
        let floats: Vec<f64> = coefficients.iter().map(|&a| a as f64).collect();
        let mut slots = vec![0.0; n];
        Encoder::new(n)
            .decode_into(&floats, Scale::new(8.0).unwrap(), &mut slots)
            .unwrap();
        for (j, found) in slots.iter().enumerate() {
            assert!((found - slot(&coefficients, j) / 8.0).abs() < 1e-10);
        }
    }

    #[test]
    fn constants_and_round_trips_at_every_degree() {
        for log2_n in 4..=15 {
            let n = 1 << log2_n;
            let (encoder, scale) = (Encoder::new(n), Scale::from_log2(45.0).unwrap());
            let mut coefficients = vec![0; n];
            encoder
                .encode_into(&vec![3.0; n], scale, &mut coefficients)
                .unwrap();
            assert_eq!(coefficients[0], 3 << 45);
            assert!(coefficients[1..].iter().all(|a| a.abs() <= 1));

            let slots = values(n, 99);
            encoder
                .encode_into(&slots, scale, &mut coefficients)
                .unwrap();
            let floats: Vec<f64> = coefficients.iter().map(|&a| a as f64).collect();
            let mut decoded = vec![0.0; n];
            encoder.decode_into(&floats, scale, &mut decoded).unwrap();
            // Rounding: sqrt(2N/12) in a slot. Slot 0 is the one that an uncentred rounding would spoil.
            let rms = (n as f64 / 6.0).sqrt() / scale.value();
            let error = |j: usize| (decoded[j] - slots[j]).abs();
            assert!(error(0) < 6.0 * rms, "slot 0 at degree {n}");
            let mean_square = (0..n).map(|j| error(j) * error(j)).sum::<f64>() / n as f64;
            assert!(mean_square.sqrt() < 2.0 * rms, "degree {n}");
        }
    }

    #[test]
    fn small_values_round_to_the_nearest_integer_ties_to_even() {
        let halves = (-9..=9).map(|i| f64::from(i) / 2.0);
        let large = [
            SMALL - 1.0,
            1.0 - SMALL,
            1e15 + 0.5,
            -1e15 - 0.5,
            0.49999999999999994,
        ];
        for value in halves.chain(large) {
            assert_eq!(
                round_small(value),
                value.round_ties_even() as i64,
                "{value}"
            );
        }
    }

    #[test]
    fn rounding_is_unbiased_in_slot_zero() {
        // Half of a unit too much in every coefficient would add 0.64 N to slot 0.
        let (n, scale) = (1024, Scale::new(1000.0).unwrap());
        let (encoder, mut coefficients, mut decoded) = (Encoder::new(n), vec![0; n], vec![0.0; n]);
        let mut sum = 0.0;
        let runs = 200;
        for run in 0..runs {
            let slots = values(n, 1 + run);
            encoder
                .encode_into(&slots, scale, &mut coefficients)
                .unwrap();
            let floats: Vec<f64> = coefficients.iter().map(|&a| a as f64).collect();
            encoder.decode_into(&floats, scale, &mut decoded).unwrap();
            sum += (decoded[0] - slots[0]) * scale.value();
        }
        let deviation = (n as f64 / 6.0).sqrt() / (runs as f64).sqrt();
        assert!((sum / runs as f64).abs() < 5.0 * deviation);
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let (encoder, mut coefficients) = (Encoder::new(16), vec![0; 16]);
        let scale = Scale::from_log2(60.0).unwrap();
        let mut encode = |slots: &[f64]| encoder.encode_into(slots, scale, &mut coefficients);
        assert!(matches!(encode(&[0.0; 15]), Err(Error::Count { .. })));
        let mut slots = [0.5; 16];
        encode(&slots).unwrap();
        slots[5] = f64::NAN;
        assert!(matches!(encode(&slots), Err(Error::NotFinite { slot: 5 })));
        assert!(matches!(
            encode(&[4.0; 16]),
            Err(Error::MessageRange { .. })
        ));
        assert!(matches!(
            encode(&[f64::MAX; 16]),
            Err(Error::MessageRange { .. })
        ));
    }
}
