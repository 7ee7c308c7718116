//! Uniform ternary polynomials: secret keys.

use zeroize::Zeroize;

use super::SecretRng;

/// Fills `out` with independent uniform values in {-1, 0, 1}.
///
/// A random byte below 255 gives its remainder mod 3. Only rejected bytes, which are not used, influence the control
/// flow; the remainder is taken without division or table.
pub fn ternary(rng: &mut SecretRng, out: &mut [i8]) {
    let mut bytes = [0_u8; 1024];
    let mut filled = 0;
    while filled < out.len() {
        let wanted = (out.len() - filled).min(bytes.len());
        rng.fill(&mut bytes[..wanted]);
        for &byte in bytes[..wanted].iter().filter(|&&byte| byte != 255) {
            // 171 / 512 is 1/3 closely enough for every byte.
            let third = (u16::from(byte) * 171) >> 9;
            out[filled] = (u16::from(byte) - 3 * third) as i8 - 1;
            filled += 1;
        }
    }
    bytes.zeroize();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_uniform() {
        const SAMPLES: usize = 300_000;
        let mut rng = SecretRng::from_seed([1; 32]);
        let mut out = vec![9_i8; SAMPLES];
        ternary(&mut rng, &mut out);
        let mut counts = [0_usize; 3];
        for &x in &out {
            counts[usize::try_from(x + 1).unwrap()] += 1;
        }
        let expected = SAMPLES as f64 / 3.0;
        let chi_square: f64 = counts
            .iter()
            .map(|&c| (c as f64 - expected).powi(2) / expected)
            .sum();
        // Two degrees of freedom: above 13.8 with probability 0.001.
        assert!(chi_square < 13.8, "{counts:?}");
        // Neighbours are independent: the mean product has standard deviation 2/3 / √n = 0.0012.
        let product: i64 = out
            .windows(2)
            .map(|w| i64::from(w[0]) * i64::from(w[1]))
            .sum();
        assert!((product as f64 / SAMPLES as f64).abs() < 0.005);
    }

    #[test]
    fn every_byte_has_its_remainder() {
        for byte in 0..255_u16 {
            assert_eq!(byte - 3 * ((byte * 171) >> 9), byte % 3);
        }
    }
}
