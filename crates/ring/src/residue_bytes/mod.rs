//! Residues as little-endian bytes without padding: the storage and file layout of every polynomial.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512_vbmi;
pub(crate) mod portable;

use crate::backend;

/// Reads `out.len()` residues of `width` bytes each.
///
/// # Panics
/// If `width` is not 1 to 8 or `bytes` is not exactly `width · out.len()` long.
pub fn unpack(width: usize, bytes: &[u8], out: &mut [u64]) {
    assert!((1..=8).contains(&width), "width must be 1 to 8 bytes");
    assert_eq!(
        bytes.len(),
        width * out.len(),
        "bytes must hold exactly the residues asked for"
    );
    (backend::process_default().limb.unpack)(width, bytes, out);
}

/// Writes residues as `width` bytes each; higher bytes are cut off.
///
/// # Panics
/// If `width` is not 1 to 8 or `out` is not exactly `width · residues.len()` long.
pub fn pack(width: usize, residues: &[u64], out: &mut [u8]) {
    assert!((1..=8).contains(&width), "width must be 1 to 8 bytes");
    assert_eq!(
        out.len(),
        width * residues.len(),
        "out must hold exactly the residues given"
    );
    (backend::process_default().limb.pack)(width, residues, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip_and_layout(width in 1_usize..=8, values in prop::collection::vec(any::<u64>(), 0..90)) {
            let mask = u64::MAX >> (64 - 8 * width);
            let plain: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()[..width].to_vec()).collect();
            let expected: Vec<u64> = values.iter().map(|v| v & mask).collect();
            for backend in backend::available() {
                let mut bytes = vec![0xa5; width * values.len()];
                (backend.limb.pack)(width, &values, &mut bytes);
                prop_assert_eq!(&bytes, &plain, "{}", backend.name);
                let mut back = vec![u64::MAX; values.len()];
                (backend.limb.unpack)(width, &bytes, &mut back);
                prop_assert_eq!(&back, &expected, "{}", backend.name);
            }
        }
    }

    #[test]
    #[should_panic(expected = "exactly")]
    fn unpack_refuses_a_wrong_length() {
        unpack(4, &[0; 15], &mut [0; 4]);
    }

    #[test]
    #[should_panic(expected = "exactly")]
    fn pack_refuses_a_wrong_length() {
        pack(5, &[0; 4], &mut [0; 21]);
    }
}
