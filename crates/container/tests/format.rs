//! Every way in which a file can be damaged is noticed and named.

use std::io::Write;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use sordino_container::{
    Access, Builder, Digest, Error, HEADER_BYTES, Kind, Limits, METADATA_LIMIT, Overwrite, Reader,
    StreamWriter, from_bytes, inspect_file, read_file, to_bytes, write_file, write_file_parts,
};
use sordino_fault::{Classified, Fault};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    images: u64,
    scale: f64,
    plan: Digest,
}

const LIMITS: Limits = Limits {
    metadata_bytes: 1000,
    payload_bytes: 100_000,
};

fn metadata() -> Metadata {
    Metadata {
        images: 4096,
        scale: 0.1 + 0.2,
        plan: Digest([7; 32]),
    }
}

fn payload() -> Vec<u8> {
    (0..5000u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

fn sample() -> Vec<u8> {
    to_bytes(Kind::Request, &metadata(), &payload()).unwrap()
}

fn read(bytes: &[u8]) -> Result<sordino_container::Contents<Metadata>, Error> {
    from_bytes(bytes, Kind::Request, LIMITS)
}

#[test]
fn a_file_comes_back_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.request");
    let bytes = sample();
    let digest = write_file(
        &path,
        Kind::Request,
        &metadata(),
        &payload(),
        Overwrite::Refuse,
        Access::Shared,
    )
    .unwrap();
    assert_eq!(
        std::fs::read(&path).unwrap(),
        bytes,
        "memory and file give the same bytes"
    );
    let contents = read_file::<Metadata>(&path, Kind::Request, LIMITS).unwrap();
    assert_eq!(
        (contents.digest, contents.metadata, contents.payload),
        (digest, metadata(), payload())
    );
    assert_eq!(read(&bytes).unwrap().digest, digest);

    let parts = payload();
    let (a, b) = parts.split_at(1234);
    let again = folder.path().join("b.request");
    let parts = [a, &[], b];
    write_file_parts(
        &again,
        Kind::Request,
        &metadata(),
        &parts,
        Overwrite::Refuse,
        Access::Shared,
    )
    .unwrap();
    assert_eq!(
        std::fs::read(&again).unwrap(),
        bytes,
        "pieces give the same bytes"
    );

    let header = inspect_file(&path).unwrap();
    assert_eq!(
        (header.kind, header.version, header.digest),
        (Kind::Request, 1, digest)
    );
    assert_eq!(header.metadata, serde_json::to_value(metadata()).unwrap());
    assert_eq!(header.payload_bytes, 5000);
}

#[test]
fn the_header_is_laid_out_as_documented() {
    // Fixed bytes: this test fails when the format changes without a new version.
    let bytes = to_bytes(Kind::Reply, &serde_json::json!({"a": 1}), b"xyz").unwrap();
    assert_eq!(&bytes[..8], b"SORDINO\0");
    assert_eq!(
        bytes[8..24],
        [1, 0, 6, 0, 7, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]
    );
    assert_eq!(&bytes[HEADER_BYTES..], b"{\"a\":1}xyz");
    let hashed = [&bytes[8..24], &bytes[HEADER_BYTES..]].concat();
    assert_eq!(
        &bytes[24..56],
        Digest::of("sordino container file v1", &hashed).as_bytes()
    );
}

#[test]
fn content_of_any_kind_has_its_own_digest() {
    let digests: std::collections::BTreeSet<_> = Kind::ALL
        .iter()
        .map(|&kind| {
            from_bytes::<Metadata>(&to_bytes(kind, &metadata(), b"").unwrap(), kind, LIMITS)
                .unwrap()
                .digest
        })
        .collect();
    assert_eq!(digests.len(), Kind::ALL.len());
}

#[test]
fn every_flipped_bit_is_found() {
    let good = sample();
    let body = good.len() - 5000;
    // All of header and metadata, every 37th byte of the payload, and its last.
    let places = (0..body)
        .chain((body..good.len()).step_by(37))
        .chain([good.len() - 1]);
    for place in places {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[place] ^= 1 << bit;
            let error = read(&bad).expect_err("a flipped bit");
            assert_eq!(
                error.fault(),
                Fault::BadFile,
                "byte {place} bit {bit}: {error}"
            );
            let expected = match place {
                0..8 => matches!(error, Error::NotSordino { .. }),
                8..10 => matches!(error, Error::UnsupportedVersion { .. }),
                10..12 => matches!(error, Error::UnknownKind { .. } | Error::WrongKind { .. }),
                12..24 => matches!(error, Error::Length { .. } | Error::TooLarge { .. }),
                _ => matches!(error, Error::DigestMismatch { .. }),
            };
            assert!(expected, "byte {place} bit {bit}: {error}");
        }
    }
}

#[test]
fn every_cut_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut");
    let good = sample();
    let body = good.len() - 5000;
    for length in (0..=body)
        .chain((body..good.len()).step_by(97))
        .chain([good.len() - 1])
    {
        let error = read(&good[..length]).expect_err("a cut file");
        let expected = if length == 0 {
            matches!(error, Error::NotSordino { .. })
        } else {
            matches!(error, Error::Length { found, .. } if found == length as u64)
        };
        assert!(expected, "{length}: {error}");
        std::fs::write(&path, &good[..length]).unwrap();
        assert_eq!(inspect_file(&path).unwrap_err().fault(), Fault::BadFile);
        let error = read_file::<Metadata>(&path, Kind::Request, LIMITS).unwrap_err();
        assert!(
            error.to_string().contains(&path.display().to_string()),
            "{error}"
        );
    }
}

#[test]
fn trailing_bytes_are_refused() {
    let mut long = sample();
    long.push(0);
    let error = read(&long).unwrap_err();
    assert!(
        matches!(error, Error::Length { expected, found, .. } if found == expected + 1),
        "{error}"
    );
}

#[test]
fn a_newer_version_is_named_with_the_one_that_is_read() {
    let mut bytes = sample();
    bytes[8] = 2;
    let message = read(&bytes).unwrap_err().to_string();
    assert!(
        message.contains("version 2") && message.contains("version 1"),
        "{message}"
    );
}

#[test]
fn another_kind_is_named_with_the_expected_one() {
    let error = from_bytes::<Metadata>(&sample(), Kind::SecretKey, LIMITS).unwrap_err();
    let message = error.to_string();
    assert!(
        message.contains("a request") && message.contains("a secret key"),
        "{message}"
    );
    assert!(message.contains("keygen"), "{message}");
}

#[test]
fn huge_lengths_are_refused_before_memory_is_taken() {
    let everything = Limits {
        metadata_bytes: u64::MAX,
        payload_bytes: u64::MAX,
    };
    // 2^63 bytes could not be had: an attempt would show as OutOfMemory, or abort.
    for length in [u64::MAX, 1 << 63, 1 << 40] {
        let mut bytes = sample();
        bytes[16..24].copy_from_slice(&length.to_le_bytes());
        let error = from_bytes::<Metadata>(&bytes, Kind::Request, everything).unwrap_err();
        assert!(matches!(error, Error::Length { .. }), "{error}");
        let error = read(&bytes).unwrap_err();
        assert!(
            matches!(
                error,
                Error::TooLarge {
                    part: "payload",
                    limit: 100_000,
                    ..
                }
            ),
            "{error}"
        );
    }
    let mut bytes = sample();
    bytes[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
    let error = from_bytes::<Metadata>(&bytes, Kind::Request, everything).unwrap_err();
    assert!(
        matches!(
            error,
            Error::TooLarge {
                part: "metadata",
                limit: METADATA_LIMIT,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_sparse_file_with_a_huge_payload_is_within_its_limits_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sparse");
    let mut bytes = sample();
    let size: u64 = 1 << 42;
    bytes[16..24].copy_from_slice(&size.to_le_bytes());
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(&bytes).unwrap();
    if let Err(error) = file.set_len(bytes.len() as u64 - 5000 + size) {
        println!("skipped: the file system has no sparse files of 4 TiB: {error}");
        return;
    }
    let error = read_file::<Metadata>(&path, Kind::Request, LIMITS).unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
}

#[test]
fn metadata_of_another_shape_is_refused_after_the_digest() {
    for json in [
        r#"{"images":1}"#,
        r#"{"images":-1,"scale":1,"plan":""}"#,
        "[]",
        "null",
    ] {
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        let bytes = to_bytes(Kind::Request, &value, b"").unwrap();
        let error = read(&bytes).unwrap_err();
        assert!(
            matches!(
                error,
                Error::Metadata {
                    kind: Kind::Request,
                    ..
                }
            ),
            "{json}: {error}"
        );
    }
}

#[test]
fn metadata_over_the_limit_is_not_written() {
    let text = "x".repeat(METADATA_LIMIT as usize);
    assert!(matches!(
        to_bytes(Kind::Reply, &text, b""),
        Err(Error::TooLarge { .. })
    ));
}

#[test]
fn folders_and_missing_files_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let error = read_file::<Metadata>(folder.path(), Kind::Request, LIMITS).unwrap_err();
    assert!(matches!(error, Error::NotAFile { .. }), "{error}");
    let error = inspect_file(folder.path().join("none")).unwrap_err();
    assert_eq!(error.fault(), Fault::Io, "{error}");
}

#[test]
fn a_stream_of_the_wrong_length_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("reply");
    let create = || {
        StreamWriter::create(
            &path,
            Kind::Reply,
            &metadata(),
            10,
            Overwrite::Refuse,
            Access::Shared,
        )
        .unwrap()
    };
    let mut short = create();
    short.write(b"123456789").unwrap();
    assert!(matches!(
        short.commit(),
        Err(Error::PayloadCount {
            expected: 10,
            found: 9,
            ..
        })
    ));
    let mut long = create();
    assert!(matches!(
        long.write(b"12345678901"),
        Err(Error::PayloadCount { .. })
    ));
    drop(long);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[derive(Clone, Debug)]
enum Field {
    Byte(u8),
    Truth(bool),
    Wide(i128),
    Real(u64),
    Counted(Vec<u32>),
    Signed(Vec<i64>),
    Text(String),
}

fn field() -> impl Strategy<Value = Field> {
    prop_oneof![
        any::<u8>().prop_map(Field::Byte),
        any::<bool>().prop_map(Field::Truth),
        any::<i128>().prop_map(Field::Wide),
        // As bits, so that every NaN comes back as it was.
        any::<u64>().prop_map(Field::Real),
        proptest::collection::vec(any::<u32>(), 0..20).prop_map(Field::Counted),
        proptest::collection::vec(any::<i64>(), 0..20).prop_map(Field::Signed),
        "\\PC{0,12}".prop_map(Field::Text),
    ]
}

/// Reads `fields` and compares; an error is passed on, a difference panics.
fn read_fields(fields: &[Field], bytes: &[u8]) -> Result<(), Error> {
    let mut reader = Reader::new(bytes);
    for field in fields {
        match field {
            Field::Byte(value) => assert_eq!(reader.u8()?, *value),
            Field::Truth(value) => assert_eq!(reader.bool()?, *value),
            Field::Wide(value) => assert_eq!(reader.i128()?, *value),
            Field::Real(value) => assert_eq!(reader.f64()?.to_bits(), *value),
            Field::Counted(values) => {
                let count = reader.count(4)?;
                assert_eq!(&reader.vec_u32(count)?, values);
            }
            Field::Signed(values) => assert_eq!(&reader.vec_i64(values.len())?, values),
            Field::Text(text) => assert_eq!(&reader.string(100)?, text),
        }
    }
    reader.finish()
}

proptest! {
    #[test]
    fn fields_come_back_and_no_prefix_passes(fields in proptest::collection::vec(field(), 0..12), cut in 1usize..40) {
        let mut builder = Builder::new();
        for field in &fields {
            match field {
                Field::Byte(value) => builder.u8(*value),
                Field::Truth(value) => builder.bool(*value),
                Field::Wide(value) => builder.i128(*value),
                Field::Real(value) => builder.f64(f64::from_bits(*value)),
                Field::Counted(values) => builder.count(values.len()).vec_u32(values),
                Field::Signed(values) => builder.vec_i64(values),
                Field::Text(text) => builder.string(text),
            };
        }
        let mut bytes = builder.finish();
        prop_assert!(read_fields(&fields, &bytes).is_ok());
        if let Some(shorter) = bytes.len().checked_sub(cut) {
            prop_assert!(read_fields(&fields, &bytes[..shorter]).is_err());
        }
        bytes.push(0);
        let long = read_fields(&fields, &bytes);
        let trailing = matches!(long, Err(Error::TrailingBytes { remaining: 1, .. }));
        prop_assert!(trailing);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), keep in 0usize..60) {
        let mut mixed = sample();
        mixed.truncate(keep);
        mixed.extend_from_slice(&bytes);
        prop_assert!(read(&mixed).is_err());
    }
}

#[test]
fn counts_beyond_the_payload_are_refused_before_memory_is_taken() {
    for count in [2u64, 1 << 40, u64::MAX] {
        let mut builder = Builder::new();
        builder.u64(count).u64(0);
        let bytes = builder.finish();
        assert!(matches!(
            Reader::new(&bytes).count(8),
            Err(Error::ShortPayload { remaining: 8, .. })
        ));
        let mut reader = Reader::new(&bytes);
        assert!(reader.vec_i128(count as usize).is_err());
        assert_eq!(reader.offset(), 0, "a refused field is not consumed");
    }
    let bytes = [2, 0, 0, 0, 0xff, 0xff];
    assert!(matches!(
        Reader::new(&bytes).string(1),
        Err(Error::TooLarge { .. })
    ));
    assert!(matches!(
        Reader::new(&bytes).string(9),
        Err(Error::BadField { offset: 4, .. })
    ));
    assert!(matches!(
        Reader::new(&bytes).bool(),
        Err(Error::BadField { offset: 0, .. })
    ));
}
