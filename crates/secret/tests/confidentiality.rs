//! What an eavesdropper sees: nothing that repeats, compresses or opens with another key.

mod common;

use std::io::Write;

use common::{Party, context, errors, scale, secure, values};
use flate2::{Compression, write::ZlibEncoder};
use sordino_ckks::Gadget;
use sordino_secret::{SecretKey, decrypt, encrypt, evaluation_key};

#[test]
fn two_encryptions_of_one_message_differ() {
    let context = context(secure(4096, &[40, 32], None));
    let mut party = Party::new(&context);
    let fill = |_: usize, slots: &mut [f64]| slots.fill(0.5);
    let mut fresh = || {
        encrypt(
            &context,
            &party.key,
            &mut party.rng,
            2,
            &fill,
            1,
            scale(30.0),
        )
        .unwrap()
    };
    let (first, second) = (fresh(), fresh());
    assert_ne!(first.seed(), second.seed());
    for limb in 0..2 {
        let n = 4096;
        let width = context.modulus(limb).byte_width();
        let rows = [
            first.parts()[limb].row(0),
            first.parts()[limb].row(1),
            second.parts()[limb].row(0),
            second.parts()[limb].row(1),
        ];
        for (k, row) in rows.iter().enumerate() {
            for other in &rows[..k] {
                let equal = row
                    .chunks_exact(width)
                    .zip(other.chunks_exact(width))
                    .filter(|(a, b)| a == b)
                    .count();
                assert!(equal < 5, "{equal} of {n} residues equal");
            }
        }
    }
}

#[test]
fn ciphertexts_and_keys_do_not_compress() {
    // Primes just below whole bytes, so that a residue has as much entropy as it has bits.
    let context = context(secure(4096, &[32, 32, 32], Some(Gadget::SpecialPrime)));
    let mut party = Party::new(&context);
    let fill = |_: usize, slots: &mut [f64]| slots.fill(0.0);
    let map = encrypt(
        &context,
        &party.key,
        &mut party.rng,
        8,
        &fill,
        1,
        scale(20.0),
    )
    .unwrap();
    let key = evaluation_key(&context, &party.key, &mut party.rng).unwrap();
    let expanded = map.clone().expand(&context).unwrap();
    let samples = [
        ("component 0", map.parts()[0].as_bytes().to_vec()),
        ("component 1", expanded.part(1, 1).as_bytes().to_vec()),
        ("evaluation key", key.to_bytes().unwrap()[1024..].to_vec()),
    ];
    for (what, bytes) in samples {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&bytes).unwrap();
        let compressed = encoder.finish().unwrap().len();
        assert!(
            compressed as f64 > 0.999 * bytes.len() as f64,
            "{what}: {compressed} of {}",
            bytes.len()
        );
    }
}

#[test]
fn a_wrong_key_decrypts_to_noise() {
    let context = context(secure(4096, &[40, 40], None));
    let (mut party, stranger) = (Party::new(&context), Party::new(&context));
    let (x, at) = (values(4, 4096, 1), scale(30.0));
    let map = party.encrypt(&x, at);
    let right = errors(&party.decrypt(&map), &x, 1.0);
    assert!(common::worst(&right) < 1e-5);
    let noise = decrypt(&context, &stranger.key, &map).unwrap();
    // Coefficients uniform modulo Q: deviation Q / sqrt(12) · sqrt(2N) in a slot.
    let expected = 80f64.exp2() / 12f64.sqrt() * (2.0 * 4096f64).sqrt() / at.value();
    for (noise, x) in noise.iter().zip(&x) {
        let rms = (noise.iter().map(|v| v * v).sum::<f64>() / 4096.0).sqrt();
        assert!((0.9..1.1).contains(&(rms / expected)), "{}", rms / expected);
        let correlation: f64 = noise.iter().zip(x).map(|(v, x)| v * x).sum::<f64>() / 4096.0;
        // x is uniform on [-1, 1].
        assert!(correlation.abs() < 6.0 * rms / (3.0 * 4096f64).sqrt());
    }
}

#[test]
fn secrets_are_ternary_and_different() {
    let context = context(secure(4096, &[40, 40], None));
    let mut parties: Vec<Party> = (0..2).map(|_| Party::new(&context)).collect();
    let slots: Vec<Vec<f64>> = parties.iter().map(Party::secret_slots).collect();
    assert_ne!(slots[0], slots[1]);
    assert_ne!(parties[0].key.key_id(), parties[1].key.key_id());
    for slots in &slots {
        // Mean square of a ternary secret's slots: 2/3 (2N - 1), deviation about 1.1 % at this degree.
        let square = slots.iter().map(|s| s * s).sum::<f64>() / 4096.0;
        assert!((square / (2.0 / 3.0 * 8191.0) - 1.0).abs() < 0.1);
    }
    // One generator never makes the same key twice.
    let rng = &mut parties[0].rng;
    let keys: Vec<_> = (0..2)
        .map(|_| SecretKey::generate(&context, rng).unwrap())
        .collect();
    assert_ne!(keys[0].key_id(), keys[1].key_id());
}

#[test]
fn every_ciphertext_has_an_error_of_its_own() {
    // Equal errors under different uniform halves would give the key away by linear algebra.
    let context = context(secure(4096, &[50, 50], None));
    let mut party = Party::new(&context);
    let (x, at) = (values(3, 4096, 2), scale(35.0));
    let mut found = Vec::new();
    for _ in 0..3 {
        let map = party.encrypt(&x, at);
        found.extend(errors(&party.decrypt(&map), &x, at.value()));
    }
    let correlation = |a: &[f64], b: &[f64]| {
        let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        product(a, b) / (product(a, a) * product(b, b)).sqrt()
    };
    for (k, a) in found.iter().enumerate() {
        for b in &found[..k] {
            let correlation = correlation(a, b);
            assert!(correlation.abs() < 6.5 / 64.0, "{correlation}");
        }
    }
}
