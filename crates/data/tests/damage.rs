//! Damaged and hostile files: an error or, where a format cannot tell, some image; never a panic, never memory on trust.

mod common;

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use common::{fixture, gzip, idx, npy, open_nchw, write};
use image::{ImageBuffer, Luma};
use proptest::prelude::*;
use sordino_data::{Error, Images, Pixels};

/// Cuts a file everywhere, from the end on; every cut must be noticed.
fn cut(path: &Path, bytes: &[u8]) {
    let file = File::options().write(true).open(path).unwrap();
    for length in (0..bytes.len()).rev() {
        file.set_len(length as u64).unwrap();
        let error = open_nchw(path).expect_err("a cut file");
        assert!(
            matches!(error, Error::Malformed { .. }),
            "{length} bytes: {error}"
        );
    }
    fs::write(path, bytes).unwrap();
}

/// Flips every bit; with a checksum only harmless flips (of a date, say) may pass, and give the same pixels.
///
/// The file is changed in place: to write it anew thousands of times takes half a minute on some disks.
fn flip(path: &Path, bytes: &[u8], checksum: bool) {
    let good = open_nchw(path).unwrap();
    let mut file = File::options().write(true).open(path).unwrap();
    let mut put = |at: usize, byte: u8| {
        file.seek(SeekFrom::Start(at as u64)).unwrap();
        file.write_all(&[byte]).unwrap();
    };
    let mut found = 0;
    for bit in 0..8 * bytes.len() {
        let at = bit / 8;
        put(at, bytes[at] ^ (1 << (bit % 8)));
        match open_nchw(path) {
            Err(error) => {
                assert!(!matches!(error, Error::Io { .. }), "bit {bit}: {error}");
                found += 1;
            }
            Ok(images) if checksum => assert_eq!(images.pixels, good.pixels, "bit {bit}"),
            Ok(_) => {}
        }
        put(at, bytes[at]);
    }
    assert!(found > 0);
}

#[test]
fn idx_damage() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = idx(&[2, 4, 4], &(0..32).collect::<Vec<u8>>());
    let path = write(folder.path(), "plain", &bytes);
    cut(&path, &bytes);
    flip(&path, &bytes, false);
    let packed = gzip(&bytes);
    let path = write(folder.path(), "packed.gz", &packed);
    cut(&path, &packed);
    flip(&path, &packed, true);
    let mut long = bytes;
    long.push(0);
    for long in [long.clone(), gzip(&long)] {
        let path = write(folder.path(), "long", &long);
        assert!(matches!(open_nchw(path), Err(Error::Malformed { .. })));
    }
}

#[test]
fn array_damage() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["u8_nchw.npy", "version2.npy", "f64_big_nchw.npy"] {
        let bytes = fs::read(fixture(name)).unwrap();
        let path = write(folder.path(), name, &bytes);
        cut(&path, &bytes);
        flip(&path, &bytes, false);
        write(folder.path(), name, &[&*bytes, &[0]].concat());
        assert!(matches!(open_nchw(&path), Err(Error::Malformed { .. })));
    }
}

#[test]
fn archive_damage() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = fs::read(fixture("stored.npz")).unwrap();
    let path = write(folder.path(), "a.npz", &bytes);
    cut(&path, &bytes);
    flip(&path, &bytes, true);
}

#[test]
fn picture_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    ImageBuffer::from_fn(5, 4, |x, y| Luma([(17 * x + 40 * y) as u8]))
        .save(&path)
        .unwrap();
    let bytes = fs::read(&path).unwrap();
    let pixels_end = bytes.len() - 12;
    let file = File::options().write(true).open(&path).unwrap();
    for length in (0..bytes.len()).rev() {
        file.set_len(length as u64).unwrap();
        match open_nchw(&path) {
            Err(error) => assert!(
                matches!(error, Error::Malformed { .. }),
                "{length}: {error}"
            ),
            // Only the empty end chunk is missing: every pixel was there, with its checksum.
            Ok(_) => assert!(length >= pixels_end, "{length} of {}", bytes.len()),
        }
    }
    fs::write(&path, &bytes).unwrap();
    flip(&path, &bytes, true);
}

fn refused_quickly(path: &Path) -> Error {
    let start = Instant::now();
    let error = open_nchw(path).expect_err("a bomb");
    assert!(start.elapsed() < Duration::from_secs(5), "{error}");
    error
}

#[test]
fn sizes_are_checked_before_memory_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let max = u32::MAX;
    for dimensions in [
        [max, max, max],
        [1, 16384, 16385],
        [1 << 20, 1 << 10, 1 << 10],
        [0, 1, 1],
        [1, 0, 1],
    ] {
        let bytes = idx(&dimensions, &[1; 100]);
        for bytes in [gzip(&bytes), bytes] {
            let error = refused_quickly(&write(folder.path(), "a", &bytes));
            assert!(
                matches!(error, Error::TooLarge { .. } | Error::Malformed { .. }),
                "{error}"
            );
        }
    }
    // Within the limits, beyond what so short a file can hold.
    let error = refused_quickly(&write(
        folder.path(),
        "a",
        &gzip(&idx(&[1000, 1000, 1000], &[])),
    ));
    assert!(matches!(error, Error::Malformed { .. }), "{error}");

    for shape in [
        "(18446744073709551615, 18446744073709551615, 2)",
        "(4294967296, 4294967296, 1, 1)",
        "(268435456, 1024, 16384, 16384)",
        "(1000000, 1000, 1)",
        "(1, 1, 1, 0)",
    ] {
        for descr in ["|u1", "<u2", "<f8"] {
            let error =
                refused_quickly(&write(folder.path(), "a.npy", &npy(descr, shape, &[1; 64])));
            assert!(
                matches!(error, Error::TooLarge { .. } | Error::Malformed { .. }),
                "{shape}: {error}"
            );
        }
    }
    let mut header = b"\x93NUMPY\x02\x00".to_vec();
    header.extend(u32::MAX.to_le_bytes());
    let error = refused_quickly(&write(folder.path(), "a.npy", &header));
    assert!(
        matches!(
            error,
            Error::TooLarge {
                what: ".npy header length",
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn other_files_in_gzip_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let array = npy("|u1", "(1, 2, 2)", &[0, 1, 2, 3]);
    for (content, part) in [
        (&array[..], "an array of numpy"),
        (&b"PK\x03\x04...."[..], "an archive"),
        (&b"\x89PNG...."[..], "a picture"),
    ] {
        let path = write(folder.path(), "packed.gz", &gzip(content));
        let message = open_nchw(&path).unwrap_err().to_string();
        assert!(
            message.contains(part) && message.contains("gunzip"),
            "{message}"
        );
    }
}

#[test]
fn a_gzip_bomb_is_not_unpacked() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = idx(&[1, 4, 4], &[5; 16]);
    bytes.resize(64 << 20, 0);
    let path = write(folder.path(), "bomb.gz", &gzip(&bytes));
    let message = refused_quickly(&path).to_string();
    assert!(message.contains("the end of the file"), "{message}");
}

#[test]
fn a_picture_cannot_ask_for_more_than_it_can_hold() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    ImageBuffer::from_pixel(1, 1, Luma([1u16]))
        .save(&path)
        .unwrap();
    let mut bytes = fs::read(&path).unwrap();
    // Width and height of the header, with its checksum (CRC-32 of type and data) made right again.
    bytes[16..20].copy_from_slice(&16384u32.to_be_bytes());
    bytes[20..24].copy_from_slice(&16384u32.to_be_bytes());
    let mut crc = flate2::Crc::new();
    crc.update(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    fs::write(&path, &bytes).unwrap();
    let message = refused_quickly(&path).to_string();
    assert!(
        message.contains("announced") || message.contains("limit"),
        "{message}"
    );
}

#[test]
fn deep_nesting_in_a_header_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    for character in ["(", "[", "{", "{'descr':", "'"] {
        let text = character.repeat(9000 / character.len());
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((text.len() as u16).to_le_bytes());
        bytes.extend(text.as_bytes());
        let error = refused_quickly(&write(folder.path(), "a.npy", &bytes));
        assert!(matches!(error, Error::Malformed { .. }), "{error}");
        assert!(error.to_string().len() < 1000);
    }
}

#[test]
fn parts_that_do_not_fit_together_are_refused() {
    let new = |shape, values: usize, labels: Option<usize>, names: Option<usize>| {
        let names = names.map(|count| vec![String::new(); count]);
        Images::new(
            shape,
            Pixels::U8(vec![0; values]),
            labels.map(|count| vec![0; count]),
            names,
            "test",
        )
    };
    assert_eq!(new((1, 2, 2), 8, Some(2), Some(2)).unwrap().len(), 2);
    assert!(new((1, 2, 2), 7, None, None).is_err());
    assert!(new((1, 0, 2), 0, None, None).is_err());
    assert!(new((usize::MAX, 2, 2), 8, None, None).is_err());
    assert!(new((1, 2, 2), 8, Some(1), None).is_err());
    assert!(new((1, 2, 2), 8, None, Some(3)).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn arbitrary_bytes_never_panic(
        start in prop::sample::select(vec![
            &b""[..], b"\0\0\x08\x03", b"\x1f\x8b\x08\0", b"\x93NUMPY\x01\0", b"PK\x03\x04", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0",
        ]),
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = write(folder.path(), "a", &[start, &bytes].concat());
        // An IDX file of a few pixels may come about by chance; anything else is refused.
        if let Ok(images) = open_nchw(path) {
            prop_assert!(start.is_empty() || start[0] == 0);
            prop_assert!(!images.is_empty());
        }
    }
}
