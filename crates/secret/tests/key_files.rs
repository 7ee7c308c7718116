//! Secret key files: mode, damage, mismatch, never overwritten.

mod common;

use std::fs;

use common::{Party, context, scale, secure, toy, values};
use sordino_ckks::Context;
use sordino_container::{self as container, Access, Kind, Limits, Overwrite};
use sordino_fault::{Classified, Fault};
use sordino_secret::{Error, SecretKey};

fn small() -> Context {
    context(toy(16, &[30, 20], None))
}

#[test]
fn a_key_read_back_is_the_same_key() {
    let context = context(secure(4096, &[50, 50], None));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret.key");
    let mut party = Party::new(&context);
    party.key.write_file(&path).unwrap();
    let again = SecretKey::read_file(&path, &context).unwrap();
    assert_eq!(again.key_id(), party.key.key_id());
    assert_eq!(again.parameters(), context.digest());
    let map = party.encrypt(&values(1, 4096, 1), scale(30.0));
    let opened = sordino_secret::decrypt(&context, &again, &map).unwrap();
    assert_eq!(opened, party.decrypt(&map));
}

#[cfg(unix)]
#[test]
fn only_the_owner_can_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let (context, folder) = (small(), tempfile::tempdir().unwrap());
    let path = folder.path().join("secret.key");
    Party::new(&context).key.write_file(&path).unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
        0o600
    );
}

#[test]
fn an_existing_file_is_never_overwritten() {
    let (context, folder) = (small(), tempfile::tempdir().unwrap());
    let path = folder.path().join("secret.key");
    fs::write(&path, b"something precious").unwrap();
    match Party::new(&context).key.write_file(&path) {
        Err(Error::Container(error)) => assert_eq!(error.fault(), Fault::Usage),
        other => panic!("{other:?}"),
    }
    assert_eq!(fs::read(&path).unwrap(), b"something precious");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn every_flipped_bit_and_every_cut_is_found() {
    let (context, folder) = (small(), tempfile::tempdir().unwrap());
    let (path, damaged) = (
        folder.path().join("secret.key"),
        folder.path().join("damaged.key"),
    );
    Party::new(&context).key.write_file(&path).unwrap();
    let bytes = fs::read(&path).unwrap();
    let refused = |bytes: &[u8], what: &str| {
        fs::write(&damaged, bytes).unwrap();
        match SecretKey::read_file(&damaged, &context) {
            Err(Error::Container(error)) => {
                assert_eq!(error.fault(), Fault::BadFile, "{what}");
                assert!(error.to_string().contains("damaged.key"), "{error}");
            }
            Err(error) => panic!("{what}: {error}"),
            Ok(_) => panic!("{what} was accepted"),
        }
    };
    for place in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[place] ^= 1 << (place % 8);
        refused(&flipped, &format!("bit flipped in byte {place}"));
        refused(&bytes[..place], &format!("cut at {place}"));
    }
    refused(&[bytes.clone(), vec![0]].concat(), "one byte more");
}

#[test]
fn a_right_digest_does_not_make_wrong_content_good() {
    let (context, folder) = (small(), tempfile::tempdir().unwrap());
    let path = folder.path().join("secret.key");
    Party::new(&context).key.write_file(&path).unwrap();
    let limits = Limits {
        metadata_bytes: 1 << 16,
        payload_bytes: 1 << 16,
    };
    let good: container::Contents<serde_json::Value> =
        container::read_file(&path, Kind::SecretKey, limits).unwrap();
    let forged = folder.path().join("forged.key");
    let read = |kind, metadata: &serde_json::Value, payload: &[u8]| {
        let (replace, owner) = (Overwrite::Replace, Access::OwnerOnly);
        container::write_file(&forged, kind, metadata, payload, replace, owner).unwrap();
        SecretKey::read_file(&forged, &context).map(|_| ())
    };
    read(Kind::SecretKey, &good.metadata, &good.payload).unwrap();
    let mut payload = good.payload.clone();
    payload[5] = 3;
    assert!(matches!(
        read(Kind::SecretKey, &good.metadata, &payload),
        Err(Error::Coefficient { position: 5, .. })
    ));
    let short = read(Kind::SecretKey, &good.metadata, &good.payload[..15]);
    assert!(matches!(
        short,
        Err(Error::Ckks(sordino_ckks::Error::Count {
            expected: 16,
            found: 15,
            ..
        }))
    ));
    let long = [good.payload.clone(), vec![1]].concat();
    assert!(matches!(
        read(Kind::SecretKey, &good.metadata, &long),
        Err(Error::Ckks(sordino_ckks::Error::Count { found: 17, .. }))
    ));
    assert!(matches!(
        read(Kind::EvaluationKey, &good.metadata, &good.payload),
        Err(Error::Container(_))
    ));
    let mut metadata = good.metadata.clone();
    metadata["parameters"]["primes"] = vec![97].into();
    assert!(matches!(
        read(Kind::SecretKey, &metadata, &good.payload),
        Err(Error::Ckks(sordino_ckks::Error::ParametersMismatch { .. }))
    ));
}

#[test]
fn a_key_of_other_parameters_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret.key");
    Party::new(&small()).key.write_file(&path).unwrap();
    let other = context(toy(16, &[30, 21], None));
    match SecretKey::read_file(&path, &other) {
        Err(Error::Ckks(error @ sordino_ckks::Error::ParametersMismatch { .. })) => {
            let text = error.to_string();
            assert!(text.contains(&other.digest().to_string()), "{text}");
            assert!(text.contains(&small().digest().to_string()), "{text}");
        }
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("accepted"),
    }
}

#[cfg(feature = "passphrase")]
mod sealed {
    use sordino_secret::Passphrase;

    use super::*;

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(text.as_bytes(), "test").unwrap()
    }

    #[test]
    fn the_passphrase_opens_it_and_nothing_else_does() {
        let (context, folder) = (small(), tempfile::tempdir().unwrap());
        let path = folder.path().join("secret.key");
        let plain = folder.path().join("plain.key");
        let key = Party::new(&context).key;
        key.write_sealed_file(&path, &passphrase("right")).unwrap();
        assert!(SecretKey::is_sealed(&path).unwrap());
        let opened = SecretKey::read_sealed_file(&path, &context, &passphrase("right")).unwrap();
        // The same file as that of the key itself.
        opened.write_file(&plain).unwrap();
        assert!(!SecretKey::is_sealed(&plain).unwrap());
        let own = folder.path().join("own.key");
        key.write_file(&own).unwrap();
        assert_eq!(fs::read(&plain).unwrap(), fs::read(&own).unwrap());

        let wrong = SecretKey::read_sealed_file(&path, &context, &passphrase("wrong"));
        assert!(matches!(wrong, Err(Error::Unsealed { .. })));
        assert!(matches!(
            SecretKey::read_file(&path, &context),
            Err(Error::Sealed { .. })
        ));
        // A passphrase for a key that needs none does no harm.
        SecretKey::read_sealed_file(&plain, &context, &passphrase("any")).unwrap();
        let hidden = fs::read(&plain).unwrap();
        let payload = &hidden[hidden.len() - 16..];
        let sealed = fs::read(&path).unwrap();
        assert!(!sealed.windows(16).any(|window| window == payload));
    }

    #[test]
    fn what_was_changed_is_not_opened() {
        let (context, folder) = (small(), tempfile::tempdir().unwrap());
        let path = folder.path().join("secret.key");
        Party::new(&context)
            .key
            .write_sealed_file(&path, &passphrase("right"))
            .unwrap();
        let limits = Limits {
            metadata_bytes: 1 << 16,
            payload_bytes: 1 << 16,
        };
        let good: container::Contents<serde_json::Value> =
            container::read_file(&path, Kind::SecretKey, limits).unwrap();
        let forged = folder.path().join("forged.key");
        let read = |metadata: &serde_json::Value, payload: &[u8]| {
            let (replace, owner) = (Overwrite::Replace, Access::OwnerOnly);
            container::write_file(&forged, Kind::SecretKey, metadata, payload, replace, owner)
                .unwrap();
            SecretKey::read_sealed_file(&forged, &context, &passphrase("right")).map(|_| ())
        };
        read(&good.metadata, &good.payload).unwrap();
        let mut payload = good.payload.clone();
        payload[3] ^= 1;
        assert!(matches!(
            read(&good.metadata, &payload),
            Err(Error::Unsealed { .. })
        ));
        let mut metadata = good.metadata.clone();
        metadata["key_id"] = "00".repeat(16).into();
        assert!(matches!(
            read(&metadata, &good.payload),
            Err(Error::Unsealed { .. })
        ));
        // More memory and time than any file may ask for: refused before either is taken.
        for (what, most) in [("memory_kib", 1_u64 << 20), ("passes", 16), ("lanes", 16)] {
            let mut metadata = good.metadata.clone();
            metadata["seal"]["argon2id"][what] = (most + 1).into();
            assert!(
                matches!(read(&metadata, &good.payload), Err(Error::Unsealed { .. })),
                "{what}"
            );
        }
    }
}
