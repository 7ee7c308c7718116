//! Damaged and hostile files: an error or, where nothing can tell, some image; never a panic that gets out, never memory on trust.

use std::fs;
use std::io::Write;
use std::time::{Duration, Instant};

use sordino_data::{DicomOptions, Error, open_dicom, open_images};

use crate::pydicom::FILES;
use crate::writer::*;
use crate::{read, refused};

/// Whether an error is one of a damaged file.
fn is_damage(error: &Error) -> bool {
    matches!(error, Error::Malformed { .. } | Error::TooLarge { .. })
}

/// Files of every sort, small enough to be damaged everywhere.
fn samples() -> Vec<(String, Vec<u8>)> {
    let fixtures = FILES.iter().map(|file| {
        let path = crate::pydicom::path(file.name);
        (file.name.to_owned(), fs::read(path).unwrap())
    });
    let table = gray("1.2", [2, 2], 12, &[0, 1, 2, 3])
        .add(MODALITY_TABLES, "SQ", vec![table(0, 16, &[1, 2, 3])])
        .add(VOI_TABLES, "SQ", vec![table(0, 8, &[1, 2, 3])]);
    let frames = run_lengths(&[&[1, 2, 3, 4]]);
    let fragments = Value::Fragments(vec![vec![0, 0, 0, 0, 76, 0, 0, 0], frames.clone(), frames]);
    let frames = bytes("1.3", [2, 2], &[])
        .add(FRAMES, "IS", "2")
        .set(PIXELS, "OB", fragments);
    let made = [
        ("implicit", table.file(IMPLICIT_LITTLE)),
        ("explicit", table.file(EXPLICIT_LITTLE)),
        ("big", table.file(EXPLICIT_BIG)),
        ("deflated", table.file(DEFLATED)),
        ("frames", frames.file(RUN_LENGTHS)),
    ];
    let made = made.map(|(name, bytes)| (name.to_owned(), bytes));
    fixtures.chain(made).collect()
}

#[test]
fn cut_files_are_told() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in samples() {
        let path = folder.path().join(&name);
        fs::write(&path, &bytes).unwrap();
        let whole = open_dicom(&path, &DicomOptions::default()).unwrap();
        let file = fs::File::options()
            .create(true)
            .truncate(true)
            .write(true)
            .open(&path)
            .unwrap();
        (&file).write_all(&bytes).unwrap();
        let step = (bytes.len() / 700).max(1);
        for length in (0..bytes.len()).rev().step_by(step) {
            file.set_len(length as u64).unwrap();
            match open_dicom(&path, &DicomOptions::default()) {
                Err(error) => assert!(is_damage(&error), "{name}: {length}: {error}"),
                // What is behind the pixels may be missing, such as a byte that fills up deflated data.
                Ok(images) => assert_eq!(images.pixels, whole.pixels, "{name}: {length}"),
            }
        }
    }
}

#[test]
fn flipped_bits_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    let mut number = 1u64;
    let mut random = |below: usize| {
        // A generator with known constants (Knuth, MMIX), so that a failure can be run again.
        number = number
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (number >> 33) as usize % below
    };
    for (name, bytes) in samples() {
        let mut refused = 0;
        for round in 0..150 {
            let mut damaged = bytes.clone();
            for _ in 0..=round % 4 {
                let at = 132 + random(damaged.len() - 132);
                damaged[at] ^= 1 << random(8);
            }
            fs::write(&path, &damaged).unwrap();
            let window = match round % 2 {
                0 => sordino_data::Window::None,
                _ => sordino_data::Window::OfFile,
            };
            if let Err(error) = open_dicom(&path, &crate::windowed(window)) {
                let text = error.to_string();
                assert!(is_damage(&error), "{name}: {round}: {text}");
                refused += 1;
            }
        }
        assert!(refused > 0, "{name}");
    }
}

#[test]
fn claims_take_no_memory() {
    let start = Instant::now();
    // Sizes that no bytes are there for.
    let claims = [
        gray("1.2", [16384, 16384], 16, &[1]),
        gray("1.2", [4000, 4000], 16, &[1]).add(FRAMES, "IS", "60000"),
        gray("1.2", [4000, 4000], 16, &[1]).add(FRAMES, "IS", "2147483647"),
    ];
    for claim in &claims {
        refused(read(claim), &[]);
        let fragments = Value::Fragments(vec![vec![], run_lengths(&[&[1], &[2]])]);
        let packed = claim.clone().set(PIXELS, "OB", fragments);
        let folder = tempfile::tempdir().unwrap();
        let path = crate::write(folder.path(), "a", &packed, RUN_LENGTHS);
        refused(open_images(path), &[]);
    }
    // An element that claims to be longer than the file.
    let mut file = gray("1.2", [1, 1], 16, &[1]).file(EXPLICIT_LITTLE);
    let at = file.len() - 6;
    file[at..at + 4].copy_from_slice(&0xffff_fff0u32.to_le_bytes());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long");
    fs::write(&path, file).unwrap();
    refused(open_images(&path), &["cut file"]);
    // Run lengths that claim segments without end.
    let one = bytes("1.2", [1, 1], &[]);
    for words in [[u32::MAX; 16], [1; 16], [15; 16]] {
        let header: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let image = one
            .clone()
            .set(PIXELS, "OB", Value::Fragments(vec![vec![], header]));
        let path = crate::write(folder.path(), "runs", &image, RUN_LENGTHS);
        refused(open_images(path), &["RLE"]);
    }
    // Sequences in one another without end.
    let nested = (0..200).fold(Elements::default(), |inner, _| {
        Elements::default().add((0x0040, 0xa730), "SQ", vec![inner])
    });
    let unknown: Vec<u8> = (0..100_000)
        .flat_map(|_| {
            [
                0xfe, 0xff, 0, 0xe0, 0xff, 0xff, 0xff, 0xff, 9, 0, 1, 0x10, 0xff, 0xff, 0xff, 0xff,
            ]
        })
        .collect();
    let head = Elements::default().file(EXPLICIT_LITTLE);
    let typed = [
        &[
            8, 0, 0, 0, b'U', b'L', 0, 0, 9, 0, 1, 0x10, b'U', b'N', 0, 0, 255, 255, 255, 255,
        ],
        &unknown[..],
    ]
    .concat();
    for data in [nested.bytes(EXPLICIT_LITTLE), typed] {
        fs::write(&path, [&head[..], &data].concat()).unwrap();
        refused(open_images(&path), &["DICOM"]);
    }
    assert!(
        start.elapsed() < Duration::from_secs(60),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn deflated_data_have_a_limit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bomb");
    let mut file = fs::File::create(&path).unwrap();
    let empty = Elements::default().file(DEFLATED);
    // The header without the two bytes that are no data set.
    file.write_all(&empty[..empty.len() - 2]).unwrap();
    let mut encoder = flate2::write::DeflateEncoder::new(file, flate2::Compression::best());
    let zeros = vec![0; 1 << 20];
    for _ in 0..260 {
        encoder.write_all(&zeros).unwrap();
    }
    encoder.finish().unwrap();
    refused(open_images(&path), &["inflated size in bytes"]);
}
