//! What the tests over stored networks share.
#![allow(dead_code, reason = "each test uses some of it")]

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(name)
}

/// Little-endian numbers of a file.
pub(crate) fn numbers(path: &Path) -> Vec<f32> {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    floats(&bytes)
}

pub(crate) fn floats(bytes: &[u8]) -> Vec<f32> {
    let (numbers, rest) = bytes.as_chunks::<4>();
    assert!(rest.is_empty());
    numbers
        .iter()
        .map(|&number| f32::from_le_bytes(number))
        .collect()
}

/// The largest distance, as a share of the largest expected value.
pub(crate) fn distance(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let largest = expected
        .iter()
        .fold(1e-6f64, |m, &x| m.max(f64::from(x).abs()));
    let pairs = found.iter().zip(expected);
    pairs.fold(0.0, |worst, (&x, &y)| {
        let distance = (f64::from(x) - f64::from(y)).abs() / largest;
        // Not a number is as far as can be.
        if distance.is_nan() {
            f64::INFINITY
        } else {
            worst.max(distance)
        }
    })
}
