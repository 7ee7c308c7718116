//! Bytes and residues from outside: every damage is an error, none a panic.

mod common;

use common::{portable, toy, uniform};
use sordino_ckks::{
    Ciphertexts, Context, Error, EvaluationKey, Gadget, KeyId, KeySet, Scale, SeededCiphertexts,
};
use sordino_container::{self as container, Kind, Overwrite};
use sordino_ring::ResidueMatrix;
use sordino_ring::sample::MAX_INDEX;

fn context() -> Context {
    portable(toy(16, &[30, 20], Some(18), Some(Gadget::SpecialPrime)))
}

fn key(context: &Context) -> EvaluationKey {
    key_for(context, KeySet::relinearization_only())
}

fn key_for(context: &Context, key_set: KeySet) -> EvaluationKey {
    let rows = context.digits().len() * key_set.len();
    let bodies = (0..context.all_limbs())
        .map(|limb| {
            let width = context.modulus(limb).byte_width();
            ResidueMatrix::zeros(rows, 16, width)
        })
        .collect();
    EvaluationKey::from_parts(context, KeyId([7; 16]), [9; 32], key_set, bodies).unwrap()
}

#[test]
fn key_files_round_trip() {
    let (context, folder) = (context(), tempfile::tempdir().unwrap());
    let key = key(&context);
    let bytes = key.to_bytes().unwrap();
    assert_eq!(bytes, key.to_bytes().unwrap());
    let again = EvaluationKey::from_bytes(&context, &bytes).unwrap();
    assert_eq!(again.key_id(), key.key_id());
    assert_eq!(again.to_bytes().unwrap(), bytes);
    assert_eq!(
        EvaluationKey::payload_bytes(context.parameters(), key.key_set()),
        key.size_bytes() as u64
    );
    let path = folder.path().join("evaluation.key");
    key.write_file(&path, Overwrite::Refuse).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    assert!(key.write_file(&path, Overwrite::Refuse).is_err());
    EvaluationKey::read_file(&context, &path).unwrap();
}

#[test]
fn keys_for_rotations_are_checked() {
    let context = context();
    let key_set = KeySet::new(false, vec![2, 3, 15]).unwrap();
    let key = key_for(&context, key_set.clone());
    let parameters = context.parameters();
    assert_eq!(
        EvaluationKey::payload_bytes(parameters, &key_set),
        key.size_bytes() as u64
    );
    let bytes = key.to_bytes().unwrap();
    let again = EvaluationKey::from_bytes(&context, &bytes).unwrap();
    assert_eq!(again.key_set(), &key_set);
    assert_eq!(again.to_bytes().unwrap(), bytes);
    for place in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[place] ^= 1 << (place % 8);
        assert!(EvaluationKey::from_bytes(&context, &damaged).is_err());
        assert!(EvaluationKey::from_bytes(&context, &bytes[..place]).is_err());
    }

    let limits = container::Limits {
        metadata_bytes: 1 << 16,
        payload_bytes: 1 << 20,
    };
    let good: container::Contents<serde_json::Value> =
        container::from_bytes(&bytes, Kind::EvaluationKey, limits).unwrap();
    let read = |rotations: serde_json::Value, payload: &[u8]| {
        let mut metadata = good.metadata.clone();
        metadata["key_set"]["rotations"] = rotations;
        let bytes = container::to_bytes(Kind::EvaluationKey, &metadata, payload).unwrap();
        EvaluationKey::from_bytes(&context, &bytes).map(|_| ())
    };
    read(vec![2, 3, 15].into(), &good.payload).unwrap();
    read(vec![1, 3, 14].into(), &good.payload).unwrap();
    for wrong in [
        vec![0, 3, 15],
        vec![3, 2, 15],
        vec![2, 2, 15],
        vec![2, 3, 1 << 20],
    ] {
        let error = read(wrong.into(), &good.payload).unwrap_err().to_string();
        assert!(error.contains("rising order"), "{error}");
    }
    assert!(matches!(
        read(vec![2, 3, 16].into(), &good.payload),
        Err(Error::Rotations { steps: 16, .. })
    ));
    let many: Vec<u32> = (1..=1025).collect();
    assert!(read(many.into(), &good.payload).is_err());
    assert!(matches!(
        read(Vec::<u32>::new().into(), &good.payload),
        Err(Error::Count { .. })
    ));
    // As many bytes as the parameters allow some set, but not this one.
    for (rotations, size) in [
        (vec![2, 3], good.payload.len()),
        (vec![1, 2, 3, 15], good.payload.len()),
        (vec![2, 3, 15], good.payload.len() - 1),
        (vec![2, 3, 15], good.payload.len() + 1),
        (vec![2, 3, 15], 0),
    ] {
        let mut payload = good.payload.clone();
        payload.resize(size, 0);
        let error = read(rotations.into(), &payload).unwrap_err();
        assert!(matches!(error, Error::Container(_)), "{error}");
    }
    let steps = |set: &KeySet, steps| {
        let two = uniform(&context, 1, 1, 2, 2);
        context.rotate(&two, steps, &key_for(&context, set.clone()))
    };
    steps(&key_set, 15).unwrap();
    assert!(matches!(
        steps(&key_set, 4),
        Err(Error::MissingRotation { steps: 4 })
    ));
    let three = uniform(&context, 1, 1, 3, 2);
    assert!(matches!(
        context.relinearize(three, &key),
        Err(Error::MissingRelinearization)
    ));
}

#[test]
fn every_flipped_bit_and_every_cut_is_found() {
    let context = context();
    let bytes = key(&context).to_bytes().unwrap();
    for place in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[place] ^= 1 << (place % 8);
        assert!(
            EvaluationKey::from_bytes(&context, &damaged).is_err(),
            "byte {place}"
        );
        assert!(
            EvaluationKey::from_bytes(&context, &bytes[..place]).is_err(),
            "cut at {place}"
        );
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(EvaluationKey::from_bytes(&context, &longer).is_err());
}

#[test]
fn files_with_a_right_digest_and_wrong_content_are_refused() {
    let context = context();
    let bytes = key(&context).to_bytes().unwrap();
    let limits = container::Limits {
        metadata_bytes: 1 << 16,
        payload_bytes: 1 << 20,
    };
    let good: container::Contents<serde_json::Value> =
        container::from_bytes(&bytes, Kind::EvaluationKey, limits).unwrap();
    let read = |metadata: &serde_json::Value, payload: &[u8]| {
        let bytes = container::to_bytes(Kind::EvaluationKey, metadata, payload).unwrap();
        EvaluationKey::from_bytes(&context, &bytes).map(|_| ())
    };
    read(&good.metadata, &good.payload).unwrap();

    // The first residue of the first body made as large as its bytes allow.
    let mut large = good.payload.clone();
    large[32..36].fill(0xff);
    assert!(matches!(
        read(&good.metadata, &large),
        Err(Error::Ring(sordino_ring::Error::ResidueRange {
            row: 0,
            column: 0,
            ..
        }))
    ));
    for size in [0, 31, 32, good.payload.len() - 1, good.payload.len() + 1] {
        let mut payload = good.payload.clone();
        payload.resize(size, 0);
        assert!(
            matches!(read(&good.metadata, &payload), Err(Error::Container(_))),
            "{size}"
        );
    }
    let mut other = good.metadata.clone();
    other["parameters"]["primes"] = vec![97].into();
    assert!(matches!(
        read(&other, &good.payload),
        Err(Error::ParametersMismatch { .. })
    ));
    let mut other = good.metadata.clone();
    other["parameters_digest"] = "0".repeat(64).into();
    assert!(matches!(
        read(&other, &good.payload),
        Err(Error::ParametersMismatch { .. })
    ));
    let mut other = good.metadata.clone();
    other["key_id"] = "short".into();
    assert!(matches!(
        read(&other, &good.payload),
        Err(Error::Container(_))
    ));

    let no_gadget = portable(toy(16, &[30, 20], None, None));
    assert!(matches!(
        EvaluationKey::from_bytes(&no_gadget, &bytes),
        Err(Error::NoGadget)
    ));
    let other = portable(toy(16, &[31, 20], Some(18), Some(Gadget::SpecialPrime)));
    assert!(matches!(
        EvaluationKey::from_bytes(&other, &bytes),
        Err(Error::ParametersMismatch { .. })
    ));
    let three = uniform(&other, 1, 1, 3, 2);
    assert!(matches!(
        other.relinearize(three, &key(&context)),
        Err(Error::ParametersMismatch { .. })
    ));
    let two = uniform(&context, 1, 1, 2, 2);
    assert!(matches!(
        context.relinearize(two, &key(&context)),
        Err(Error::Components { .. })
    ));
}

#[test]
fn feature_maps_from_outside_are_checked() {
    let context = context();
    let scale = Scale::new(1.0).unwrap();
    let matrix = |rows: usize, n: usize, width: usize| ResidueMatrix::zeros(rows, n, width);
    let make = |parts| Ciphertexts::from_parts(&context, parts, scale).map(|_| ());
    let good = || vec![matrix(2, 16, 4), matrix(2, 16, 3)];
    make(vec![good(), good()]).unwrap();
    assert!(make(vec![]).is_err());
    assert!(make(vec![vec![], vec![]]).is_err());
    assert!(make(vec![good(), good(), good(), good()]).is_err());
    assert!(make(vec![good(), vec![matrix(2, 16, 4)]]).is_err());
    assert!(make(vec![vec![matrix(0, 16, 4)]]).is_err());
    assert!(make(vec![vec![matrix(2, 16, 4), matrix(3, 16, 3)]]).is_err());
    assert!(make(vec![vec![matrix(2, 8, 4)]]).is_err());
    assert!(make(vec![vec![matrix(2, 16, 3)]]).is_err());
    assert!(
        make(vec![vec![
            matrix(2, 16, 4),
            matrix(2, 16, 3),
            matrix(2, 16, 3)
        ]])
        .is_err()
    );
    let mut large = good();
    large[1].row_mut(1)[45..].fill(0xff);
    let error = make(vec![good(), large.clone()]).unwrap_err();
    assert!(matches!(
        error,
        Error::Ring(sordino_ring::Error::ResidueRange {
            row: 1,
            column: 15,
            ..
        })
    ));

    let seeded = |first, parts| {
        SeededCiphertexts::from_parts(&context, [0; 32], first, parts, scale).map(|_| ())
    };
    seeded(MAX_INDEX - 2, good()).unwrap();
    assert!(seeded(MAX_INDEX - 1, good()).is_err());
    assert!(seeded(u64::MAX, good()).is_err());
    assert!(seeded(0, large).is_err());
    assert!(seeded(0, vec![]).is_err());
    let elsewhere = portable(toy(16, &[30, 21], None, None));
    let sound = SeededCiphertexts::from_parts(&context, [0; 32], 0, good(), scale).unwrap();
    assert!(matches!(
        sound.expand(&elsewhere),
        Err(Error::ParametersMismatch { .. })
    ));
}
