//! What is guessed about files of images: right values where the guess is safe, an error or a note where it is not.

mod common;

use std::fs;
use std::path::Path;

use common::{fixture, fortran, idx, npy, npz, write};
use image::{ImageBuffer, Luma, Rgb};
use sordino_data::{
    Error, Images, Pixels, open_images, open_images_for, prepare, prepare_noted, prepare_path,
};
use sordino_graph::{Preprocess, SizePolicy};

fn network(shape: [usize; 3], range: (f64, f64)) -> Preprocess {
    let [channels, height, width] = shape;
    Preprocess {
        channels,
        height,
        width,
        size: SizePolicy::Refuse,
        input_range: range,
        mean: vec![0.0; channels],
        std: vec![1.0; channels],
        allowed: range,
    }
}

const BYTES: (f64, f64) = (0.0, 255.0);

fn shape(images: &Images) -> [usize; 4] {
    [images.len(), images.channels, images.height, images.width]
}

fn values(pixels: &Pixels) -> Vec<f64> {
    (0..pixels.len()).map(|at| pixels.value(at)).collect()
}

/// The same array in every type that has its values.
#[test]
fn arrays_of_every_number_type_have_the_same_values() {
    let folder = tempfile::tempdir().unwrap();
    let numbers: [u8; 8] = [0, 1, 2, 3, 64, 100, 126, 127];
    macro_rules! types {
        ($($descr:literal $kind:ty => $bytes:ident),* $(,)?) => {
            vec![$(($descr, numbers.iter().flat_map(|&n| <$kind>::from(n).$bytes()).collect::<Vec<u8>>())),*]
        };
    }
    let mut arrays = types!(
        "|u1" u8 => to_le_bytes,
        "<u2" u16 => to_le_bytes, ">u2" u16 => to_be_bytes,
        "<u4" u32 => to_le_bytes, ">u4" u32 => to_be_bytes,
        "<u8" u64 => to_le_bytes, ">u8" u64 => to_be_bytes,
        "<i2" i16 => to_le_bytes, ">i2" i16 => to_be_bytes,
        "<i4" i32 => to_le_bytes, ">i4" i32 => to_be_bytes,
        "<i8" i64 => to_le_bytes, ">i8" i64 => to_be_bytes,
        "<f4" f32 => to_le_bytes, ">f4" f32 => to_be_bytes,
        "<f8" f64 => to_le_bytes, ">f8" f64 => to_be_bytes,
    );
    arrays.push(("|i1", numbers.to_vec()));
    let half = [0u16, 0x3c00, 0x4000, 0x4200, 0x5400, 0x5640, 0x57e0, 0x57f0];
    arrays.push(("<f2", half.iter().flat_map(|n| n.to_le_bytes()).collect()));
    arrays.push((">f2", half.iter().flat_map(|n| n.to_be_bytes()).collect()));
    let expected = numbers.map(f64::from);
    for (descr, bytes) in arrays {
        let path = write(folder.path(), "a.npy", &npy(descr, "(2, 1, 2, 2)", &bytes));
        let images = open_images(&path).unwrap();
        assert_eq!(shape(&images), [2, 1, 2, 2], "{descr}");
        assert_eq!(values(&images.pixels), expected, "{descr}");
        let prepared = prepare_path(&path, &network([1, 2, 2], BYTES), None, 2).unwrap();
        assert_eq!(
            prepared.values,
            numbers.map(|n| f32::from(n) / 255.0),
            "{descr}"
        );
    }
}

#[test]
fn integers_are_exact_or_refused_and_truth_values_are_0_and_1() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npy");
    let read = |descr: &str, bytes: &[u8]| {
        fs::write(&path, npy(descr, "(1, 1, 2)", bytes)).unwrap();
        open_images(&path).map(|images| values(&images.pixels))
    };
    let words = |numbers: [i64; 2]| {
        numbers
            .iter()
            .flat_map(|n| n.to_le_bytes())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        read("<i8", &words([-1024, 1 << 24])).unwrap(),
        [-1024.0, 16_777_216.0]
    );
    assert_eq!(read("|i1", &[0xff, 0x80]).unwrap(), [-1.0, -128.0]);
    assert_eq!(read("|b1", &[0, 1]).unwrap(), [0.0, 1.0]);
    for bad in [(1 << 24) + 1, i64::MAX, i64::MIN + 1] {
        let message = read("<i8", &words([0, bad])).unwrap_err().to_string();
        assert!(message.contains(&bad.to_string()), "{message}");
    }
    for (descr, width) in [
        ("<c8", 8),
        ("<U4", 16),
        ("<f16", 16),
        ("|V2", 2),
        ("|S4", 4),
        ("<M8[D]", 8),
    ] {
        let message = read(descr, &vec![0; 2 * width]).unwrap_err().to_string();
        assert!(message.contains("astype"), "{descr}: {message}");
    }
}

#[test]
fn arrays_whose_first_index_is_fastest_are_the_same_images() {
    let folder = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = (0..48).collect();
    let images = open_images(fixture("fortran.npy")).unwrap();
    assert_eq!(shape(&images), [2, 3, 2, 4]);
    assert_eq!(images.pixels, Pixels::U8(bytes.clone()));
    for dimensions in [
        &[2, 3, 2, 4][..],
        &[6, 2, 4],
        &[2, 3, 8],
        &[48, 1, 1],
        &[1, 6, 8],
    ] {
        let path = write(folder.path(), "f.npy", &fortran(dimensions, &bytes));
        let images = open_images(&path).unwrap();
        assert_eq!(images.pixels, Pixels::U8(bytes.clone()), "{dimensions:?}");
        let image = [images.channels, images.height, images.width];
        let prepared = prepare_path(&path, &network(image, BYTES), None, 48).unwrap();
        let expected: Vec<f32> = bytes.iter().map(|&n| f32::from(n) / 255.0).collect();
        assert_eq!(prepared.values, expected, "{dimensions:?}");
    }
    let archive = folder.path().join("f.npz");
    npz(&archive, &[("images", fortran(&[6, 2, 4], &bytes))]);
    assert_eq!(open_images(&archive).unwrap().pixels, Pixels::U8(bytes));
}

#[test]
fn shapes_that_can_mean_one_thing_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = (0..72).collect();
    let read = |dimensions: &str, network: &Preprocess| {
        let path = write(folder.path(), "a.npy", &npy("|u1", dimensions, &bytes));
        let images = open_images_for(&path, network).unwrap();
        assert_eq!(images.pixels, Pixels::U8(bytes.clone()), "{dimensions}");
        let prepared = prepare_path(&path, network, None, 72).unwrap();
        assert_eq!(prepared.images, images.len(), "{dimensions}");
        shape(&images)
    };
    let gray = network([1, 6, 6], BYTES);
    assert_eq!(read("(2, 6, 6)", &gray), [2, 1, 6, 6]);
    assert_eq!(read("(2, 6, 6, 1)", &gray), [2, 1, 6, 6]);
    assert_eq!(read("(2, 1, 6, 6)", &gray), [2, 1, 6, 6]);
    assert_eq!(read("(2, 36)", &gray), [2, 1, 6, 6]);
    assert_eq!(read("(12, 6)", &network([1, 12, 6], BYTES)), [1, 1, 12, 6]);
    assert_eq!(
        read("(12, 6, 1)", &network([1, 12, 6], BYTES)),
        [1, 1, 12, 6]
    );
    assert_eq!(read("(3, 4, 6)", &network([3, 4, 6], BYTES)), [1, 3, 4, 6]);
    assert_eq!(read("(3, 4, 6)", &network([1, 4, 6], BYTES)), [3, 1, 4, 6]);
    // A network for images of that very shape takes it as it is.
    assert_eq!(
        read("(1, 6, 6, 2)", &network([6, 6, 2], BYTES)),
        [1, 6, 6, 2]
    );
}

#[test]
fn shapes_that_can_mean_several_things_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let resizing = Preprocess {
        size: SizePolicy::Resize,
        ..network([1, 8, 8], BYTES)
    };
    let colour = network([3, 8, 8], BYTES);
    let many = network([8, 8, 3], BYTES);
    for (dimensions, count, network, expected) in [
        // Channels behind rows and columns, also where resizing would take anything.
        ("(2, 8, 8, 3)", 384, &colour, "transpose(0, 3, 1, 2)"),
        ("(2, 9, 9, 3)", 486, &resizing, "transpose(0, 3, 1, 2)"),
        ("(2, 9, 9, 3)", 486, &many, "transpose(0, 3, 1, 2)"),
        ("(1, 16, 16, 4)", 1024, &resizing, "transpose(0, 3, 1, 2)"),
        ("(8, 8, 3)", 192, &colour, "transpose(2, 0, 1)"),
        ("(9, 9, 3)", 243, &resizing, "transpose(2, 0, 1)"),
        ("(9, 9, 1)", 81, &resizing, "transpose(2, 0, 1)"),
        // Rows of several channels may be flattened in two orders.
        ("(2, 192)", 384, &colour, "reshape"),
        // Another size may be one image, or flattened ones.
        ("(10, 36)", 360, &resizing, "reshape"),
        ("(64,)", 64, &resizing, "reshape"),
        ("(1, 1, 1, 8, 8)", 64, &resizing, "reshape"),
    ] {
        let path = write(
            folder.path(),
            "a.npy",
            &npy("|u1", dimensions, &vec![7; count]),
        );
        for error in [
            open_images_for(&path, network).map(drop).unwrap_err(),
            prepare_path(&path, network, None, 1000)
                .map(drop)
                .unwrap_err(),
        ] {
            let message = error.to_string();
            assert!(message.contains(expected), "{dimensions}: {message}");
        }
    }
    let path = write(folder.path(), "idx", &idx(&[2, 9, 9, 3], &[7; 486]));
    let message = open_images(path).unwrap_err().to_string();
    assert!(message.contains("channels last"), "{message}");
}

#[test]
fn arrays_that_are_no_images_do_not_stop_an_archive() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npz");
    let bytes: Vec<u8> = (0..12).collect();
    let images = || npy("|u1", "(2, 1, 2, 3)", &bytes);
    let others = [
        ("meta", npy("|O", "()", b"pickled")),
        ("class_names", npy("|S4", "(2,)", b"zeroone\0")),
        ("dates", npy("<M8[D]", "(1,)", &[0; 8])),
        ("other", fortran(&[2, 3], &bytes[..6])),
        ("names", npy("<U1", "(1,)", &[65, 0, 0, 0])),
        ("masks", npy("|b1", "(2, 2, 3)", &[1; 12])),
        ("segments", npy("<i8", "(2, 1, 1)", &[1; 16])),
        ("spectrum", npy("<c8", "(1, 1, 1)", &[0; 8])),
        ("__MACOSX/._images", b"\0\x05\x16\x07".to_vec()),
    ];
    let read = |name: &str, arrays: &[(&str, Vec<u8>)]| {
        npz(&path, arrays);
        let images = open_images(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(images.pixels, Pixels::U8(bytes.clone()), "{name}");
        let prepared = prepare_path(&path, &network([1, 2, 3], BYTES), None, 2).unwrap();
        assert_eq!(prepared.images, 2, "{name}");
    };
    for (name, bytes) in &others {
        for called in ["images", "scans"] {
            read(name, &[(called, images()), (*name, bytes.clone())]);
            read(name, &[(*name, bytes.clone()), (called, images())]);
        }
    }
    let mut all = others.to_vec();
    all.push(("scans", images()));
    read("all", &all);
    // What cannot be read is not passed over in favour of something else, if it is what is meant.
    npz(
        &path,
        &[
            ("images", npy("|O", "(2,)", b"pickled")),
            ("scans", images()),
        ],
    );
    assert!(open_images(&path).is_err());
    // A mask alone is an array of images as good as another.
    npz(&path, &[("masks", npy("|b1", "(2, 2, 3)", &[1; 12]))]);
    assert_eq!(open_images(&path).unwrap().pixels, Pixels::U8(vec![1; 12]));
    npz(&path, &[("a", images()), ("b", images())]);
    assert!(matches!(open_images(&path), Err(Error::Ambiguous { .. })));
}

#[test]
fn labels_that_nobody_needs_stop_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let images = npy("|u1", "(2, 1, 2, 3)", &(0..12).collect::<Vec<u8>>());
    let path = folder.path().join("a.npz");
    for (labels, why) in [
        (npy("<f8", "(2,)", &[0; 16]), "integer type"),
        (npy("<i8", "(2,)", &[0xff; 16]), "-1 at index 0"),
        (npy("<f4", "(2, 3)", &[0; 24]), "argmax"),
        (npy("<i8", "(1,)", &[0; 8]), "1 for 2 images"),
        (npy("<U2", "(2,)", &[0; 16]), "numpy.unique"),
        (npy("|O", "(2,)", b"pickled"), "|O"),
    ] {
        npz(
            &path,
            &[("images", images.clone()), ("labels", labels.clone())],
        );
        let beside = write(folder.path(), "images.npy", &images);
        write(folder.path(), "labels.npy", &labels);
        for path in [&path, &beside] {
            let read = open_images(path).unwrap();
            assert_eq!((read.len(), &read.labels), (2, &None));
            let [note] = &read.notes[..] else {
                panic!("{:?}", read.notes);
            };
            assert!(note.contains("not used") && note.contains(why), "{note}");
            let prepared = prepare_path(path, &network([1, 2, 3], BYTES), None, 2).unwrap();
            assert_eq!(prepared.images, 2);
        }
    }
}

/// Images of 1x1x3 and a network that takes a range: refused, noted, or taken without a word.
#[test]
fn scales_that_are_almost_surely_wrong_are_refused() {
    #[derive(Debug, PartialEq)]
    enum Outcome {
        Taken,
        Noted(&'static str),
        Refused(&'static str),
    }
    use Outcome::{Noted, Refused, Taken};
    let u8s = |values: &[u8]| Pixels::U8(values.to_vec());
    let u16s = |values: &[u16]| Pixels::U16(values.to_vec());
    let f32s = |values: &[f32]| Pixels::F32(values.to_vec());
    let (unit, around, words, scanner) =
        ((0.0, 1.0), (-1.0, 1.0), (0.0, 65535.0), (-1024.0, 3071.0));
    for (pixels, takes, expected) in [
        (u8s(&[0, 128, 255]), BYTES, Taken),
        (
            u8s(&[0, 1, 1]),
            BYTES,
            Refused("--range 0..1, or --range 0..255"),
        ),
        (u8s(&[1, 1, 1]), BYTES, Refused("--range 0..1")),
        (u8s(&[0, 0, 0]), BYTES, Taken),
        (u8s(&[0, 1, 1]), unit, Taken),
        (u8s(&[0, 9, 16]), (0.0, 16.0), Taken),
        (u8s(&[0, 9, 16]), BYTES, Noted("no value is above 16")),
        (u8s(&[0, 128, 255]), words, Refused("--range 0..255")),
        (u8s(&[0, 128, 255]), scanner, Refused("--range 0..255")),
        (u8s(&[0, 128, 255]), unit, Refused("--range 0..255")),
        (u8s(&[0, 1, 1]), around, Refused("--range 0..1")),
        // The first image is a mask or black, the second is none.
        (u8s(&[0, 1, 1, 0, 128, 255]), BYTES, Noted("1 of 2 images")),
        (u8s(&[0, 0, 0, 0, 128, 255]), BYTES, Taken),
        (u16s(&[0, 300, 65535]), words, Taken),
        (u16s(&[0, 300, 65535]), BYTES, Refused("--range 0..65535")),
        (u16s(&[0, 100, 255]), BYTES, Noted("16-bit")),
        (u16s(&[0, 100, 255]), words, Refused("--range 0..255")),
        (
            u16s(&[0, 300, 4095]),
            words,
            Noted("no value is above 4095"),
        ),
        (u16s(&[0, 1, 1]), words, Refused("--range 0..1")),
        (f32s(&[0.0, 0.5, 1.0]), unit, Taken),
        (f32s(&[0.0, 0.5, 1.0]), BYTES, Refused("--range 0..1")),
        (f32s(&[0.0, 0.5, 1.0]), around, Refused("--range 0..1")),
        (f32s(&[0.0, 0.5, 1.0]), scanner, Refused("--range 0..1")),
        (f32s(&[-1.0, 0.5, 1.0]), around, Taken),
        (f32s(&[-1.0, 0.5, 1.0]), BYTES, Refused("--range -1..1")),
        (f32s(&[-1.0, 0.5, 1.0]), unit, Refused("--range -1..1")),
        (f32s(&[-1.0, 0.5, 1.0]), scanner, Refused("--range -1..1")),
        (
            f32s(&[-2.1, 0.5, 2.6]),
            BYTES,
            Refused("a mean seems to be subtracted"),
        ),
        (f32s(&[0.0, 99.5, 255.0]), BYTES, Taken),
        (f32s(&[0.0, 99.5, 255.0]), unit, Refused("--range 0..255")),
        (f32s(&[0.0, 99.5, 255.0]), words, Refused("--range 0..255")),
        (
            f32s(&[0.0, 99.5, 60000.0]),
            BYTES,
            Refused("--range 0..65535"),
        ),
        (f32s(&[0.0, 99.5, 60000.0]), words, Taken),
        (f32s(&[0.0, 99.5, 1000.0]), BYTES, Refused("--range A..B")),
        (f32s(&[-900.0, 40.0, 1200.0]), scanner, Taken),
        // One image was scaled and the others were not.
        (
            f32s(&[0.0, 99.5, 255.0, 0.1, 0.5, 1.0]),
            BYTES,
            Refused("image 1: all values lie in 0..1"),
        ),
        (f32s(&[f32::NAN; 3]), BYTES, Refused("finite")),
    ] {
        let images = Images::new((1, 1, 3), pixels, None, None, "test").unwrap();
        let network = network([1, 1, 3], takes);
        let found = prepare_noted(&images, &network, None);
        let case = format!("{:?} for {takes:?}", images.pixels);
        match (&found, &expected) {
            (Ok((_, notes)), Taken) => assert!(notes.is_empty(), "{case}: {notes:?}"),
            (Ok((_, notes)), Noted(text)) => {
                assert!(
                    notes.len() == 1 && notes[0].contains(text),
                    "{case}: {notes:?}"
                );
            }
            (Err(error), Refused(text)) => {
                assert!(error.to_string().contains(text), "{case}: {error}");
            }
            _ => panic!("{case}: expected {expected:?}, found {found:?}"),
        }
        // The network's own range says that the values are meant as they are.
        if matches!(found, Err(Error::Scale { .. })) {
            prepare(&images, &network, Some(takes))
                .unwrap_or_else(|error| panic!("{case}: {error}"));
        }
    }
}

#[test]
fn the_network_s_own_range_changes_no_bit() {
    let values: Vec<u8> = (0..=255).collect();
    let images = Images::new((1, 16, 16), Pixels::U8(values), None, None, "test").unwrap();
    let network = Preprocess {
        mean: vec![0.1307],
        std: vec![0.3081],
        ..network([1, 16, 16], BYTES)
    };
    let bits = |range| -> Vec<u32> {
        let prepared = prepare(&images, &network, range).unwrap();
        prepared.iter().map(|value| value.to_bits()).collect()
    };
    assert_eq!(bits(None), bits(Some(BYTES)));
}

#[test]
fn advice_names_the_option_of_the_command() {
    let images = |value| Images::new((1, 1, 1), Pixels::F32(vec![value]), None, None, "t").unwrap();
    for value in [0.5, 1000.0] {
        let error = prepare(&images(value), &network([1, 1, 1], BYTES), None).unwrap_err();
        let text = error.for_option("--input-range").to_string();
        assert!(
            text.contains("--input-range ") && !text.contains("--range"),
            "{text}"
        );
    }
}

fn picture(folder: &Path, name: &str) -> Vec<u8> {
    let path = folder.join(name);
    ImageBuffer::from_fn(4, 3, |x, y| Luma([(40 + 10 * x + 50 * y) as u8]))
        .save(&path)
        .unwrap();
    fs::read(path).unwrap()
}

#[test]
fn bytes_behind_the_end_of_a_picture_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.png", "a.jpg"] {
        let sound = picture(folder.path(), name);
        let path = folder.path().join(name);
        let expected = open_images(&path).unwrap().pixels;
        for behind in [&b"\n"[..], &[0; 100], b"-- boundary --", &sound] {
            fs::write(&path, [&sound[..], behind].concat()).unwrap();
            assert_eq!(open_images(&path).unwrap().pixels, expected, "{name}");
        }
        // A file that is cut stays one, whatever follows.
        for behind in [&b""[..], &[0; 100], b"\n"] {
            fs::write(&path, [&sound[..sound.len() / 2], behind].concat()).unwrap();
            assert!(open_images(&path).is_err(), "{name}");
        }
    }
}

/// A PNG chunk.
fn chunk(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let mut checksum = flate2::Crc::new();
    checksum.update(kind);
    checksum.update(content);
    let length = (content.len() as u32).to_be_bytes();
    [&length, &kind[..], content, &checksum.sum().to_be_bytes()].concat()
}

#[test]
fn pictures_that_are_several_or_for_print_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let sound = picture(folder.path(), "a.png");
    // Behind signature and header.
    let (head, rest) = sound.split_at(8 + 25);
    let animated = [head, &chunk(b"acTL", &[0, 0, 0, 2, 0, 0, 0, 0]), rest].concat();
    let path = write(folder.path(), "a.png", &animated);
    let message = open_images(path).unwrap_err().to_string();
    assert!(message.contains("animation"), "{message}");

    let print = [
        &[0xff, 0xd8, 0xff, 0xc0, 0, 20, 8, 0, 1, 0, 1, 4][..],
        &[1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0, 4, 0x11, 0],
        &[0xff, 0xd9],
    ]
    .concat();
    let path = write(folder.path(), "print.jpg", &print);
    let message = open_images(path).unwrap_err().to_string();
    assert!(message.contains("CMYK"), "{message}");
}

#[test]
fn an_orientation_in_the_metadata_is_told_and_not_applied() {
    let folder = tempfile::tempdir().unwrap();
    let sound = picture(folder.path(), "plain.jpg");
    // An APP1 segment with a TIFF directory of one entry: orientation 6.
    let exif = [
        &b"Exif\0\0II*\0\x08\0\0\0\x01\0"[..],
        &[0x12, 1, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0],
    ]
    .concat();
    let length = (exif.len() as u16 + 2).to_be_bytes();
    let turned = [&sound[..2], &[0xff, 0xe1], &length, &exif, &sound[2..]].concat();
    write(folder.path(), "turned.jpg", &turned);
    let images = open_images(folder.path()).unwrap();
    assert_eq!(shape(&images), [2, 1, 3, 4]);
    assert_eq!(images.subset(&[0]).pixels, images.subset(&[1]).pixels);
    let prepared = prepare_path(folder.path(), &network([1, 3, 4], BYTES), None, 2).unwrap();
    let alone = prepare_path(
        folder.path().join("turned.jpg"),
        &network([1, 3, 4], BYTES),
        None,
        1,
    );
    for notes in [&images.notes, &prepared.notes, &alone.unwrap().notes] {
        assert!(
            notes.len() == 1 && notes[0].contains("turned.jpg"),
            "{notes:?}"
        );
    }
    let plain = open_images(folder.path().join("plain.jpg")).unwrap();
    assert!(plain.notes.is_empty());
}

#[test]
fn what_file_managers_leave_in_a_folder_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    picture(folder.path(), "b.PNG.png");
    fs::rename(folder.path().join("b.PNG.png"), folder.path().join("b.PNG")).unwrap();
    picture(folder.path(), "a.jpg");
    fs::rename(folder.path().join("a.jpg"), folder.path().join("a.JFIF")).unwrap();
    for name in [".DS_Store", "Thumbs.db", "desktop.ini", "._a.jpg"] {
        write(folder.path(), name, b"junk");
    }
    fs::create_dir(folder.path().join("__MACOSX")).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(folder.path().join("b.PNG"), folder.path().join("c.png")).unwrap();
    let images = open_images(folder.path()).unwrap();
    let expected = if cfg!(unix) {
        &["a.JFIF", "b.PNG", "c.png"][..]
    } else {
        &["a.JFIF", "b.PNG"]
    };
    assert_eq!(images.names.as_deref().unwrap(), expected);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("nowhere", folder.path().join("d.png")).unwrap();
        let message = open_images(folder.path()).unwrap_err().to_string();
        assert!(message.contains("d.png"), "{message}");
        fs::remove_file(folder.path().join("d.png")).unwrap();
    }
    fs::create_dir(folder.path().join("cats")).unwrap();
    let message = open_images(folder.path()).unwrap_err().to_string();
    assert!(message.contains("the folder \"cats\""), "{message}");
}

#[test]
fn depth_of_pictures_is_theirs_and_bits_are_spread() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep.png");
    let deep = ImageBuffer::from_fn(2, 1, |x, _| Luma([if x == 0 { 258u16 } else { 65535 }]));
    deep.save(&path).unwrap();
    assert_eq!(
        open_images(&path).unwrap().pixels,
        Pixels::U16(vec![258, 65535])
    );
    let taken = prepare_path(&path, &network([1, 1, 2], BYTES), None, 1);
    let message = taken.unwrap_err().to_string();
    assert!(message.contains("--range 0..65535"), "{message}");
    let taken = prepare_path(&path, &network([1, 1, 2], BYTES), Some((0.0, 65535.0)), 1).unwrap();
    assert_eq!(taken.values, [(258.0 / 65535.0) as f32, 1.0]);
    // One bit a pixel, of which white is 255; and a palette, which is colour.
    let bit = [
        b"\x89PNG\r\n\x1a\n".to_vec(),
        chunk(b"IHDR", &[0, 0, 0, 2, 0, 0, 0, 1, 1, 0, 0, 0, 0]),
        chunk(b"IDAT", &zlib(&[0, 0b0100_0000])),
        chunk(b"IEND", &[]),
    ];
    let path = write(folder.path(), "bit.png", &bit.concat());
    assert_eq!(open_images(path).unwrap().pixels, Pixels::U8(vec![0, 255]));
    let palette = [
        b"\x89PNG\r\n\x1a\n".to_vec(),
        chunk(b"IHDR", &[0, 0, 0, 2, 0, 0, 0, 1, 8, 3, 0, 0, 0]),
        chunk(b"PLTE", &[1, 2, 3, 4, 5, 6]),
        chunk(b"IDAT", &zlib(&[0, 1, 0])),
        chunk(b"IEND", &[]),
    ];
    let path = write(folder.path(), "palette.png", &palette.concat());
    let images = open_images(&path).unwrap();
    assert_eq!(
        (shape(&images), images.pixels),
        ([1, 3, 1, 2], Pixels::U8(vec![4, 1, 5, 2, 6, 3]))
    );
    let message = prepare_path(&path, &network([1, 1, 2], BYTES), None, 1)
        .unwrap_err()
        .to_string();
    assert!(message.contains("gray"), "{message}");
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn stretching_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wide.png");
    ImageBuffer::from_pixel(40, 8, Rgb([200u8; 3]))
        .save(&path)
        .unwrap();
    let resizing = Preprocess {
        size: SizePolicy::Resize,
        ..network([3, 8, 8], BYTES)
    };
    let prepared = prepare_path(&path, &resizing, None, 1).unwrap();
    assert!(
        prepared.notes[0].contains("stretched"),
        "{:?}",
        prepared.notes
    );
}

#[test]
fn files_of_other_formats_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let dicom = |rest: &[u8]| [&[0; 128], &b"DICM"[..], rest].concat();
    // The header's first element says that 4 bytes follow it.
    let head = b"\x02\0\0\0UL\x04\0\x04\0\0\0";
    for (name, bytes, expected) in [
        ("cut.dcm", dicom(b"\x02\0\0\0UL"), "cut short in its header"),
        (
            "cut2.dcm",
            dicom(&[&head[..], b"abcd"].concat()),
            "cut short in its header",
        ),
        (
            "whole.dcm",
            dicom(&[&head[..], b"abcd\x08\0\x05\0"].concat()),
            "DICOM is not read",
        ),
        ("noname", dicom(b""), "cut short in its header"),
        (
            "raw.DCM",
            b"\x08\0\x05\0CS\n\0ISO_IR 100".to_vec(),
            "without the mark",
        ),
        ("a.gif", b"GIF89a......".to_vec(), "GIF"),
        ("a.tif", b"II*\0....".to_vec(), "TIFF"),
        ("a.webp", b"RIFF....WEBPVP8 ".to_vec(), "WebP"),
        ("a.bmp", b"BM......".to_vec(), "BMP"),
        ("a.heic", b"\0\0\0\x18ftypheic".to_vec(), "HEIC"),
        ("a.h5", b"\x89HDF\r\n\x1a\n".to_vec(), "HDF5"),
        ("a.pkl", b"\x80\x04\x95...".to_vec(), "pickle"),
        ("empty", Vec::new(), "an empty file"),
        ("a.txt", b"hello world".to_vec(), "another format"),
    ] {
        let path = write(folder.path(), name, &bytes);
        for error in [
            open_images(&path).map(drop).unwrap_err(),
            prepare_path(&path, &network([1, 2, 2], BYTES), None, 1)
                .map(drop)
                .unwrap_err(),
        ] {
            let message = error.to_string();
            assert!(
                message.contains(expected) && message.contains(name),
                "{message}"
            );
        }
    }
    // A picture of another format under the name of a PNG, as phones save them.
    let pictures = folder.path().join("pictures");
    fs::create_dir(&pictures).unwrap();
    write(&pictures, "a.png", b"RIFF....WEBPVP8 ");
    let message = open_images(&pictures).unwrap_err().to_string();
    assert!(
        message.contains("WebP") && message.contains("PNG"),
        "{message}"
    );
    // Archives that are not of arrays.
    for (entry, expected) in [
        ("archive/data.pkl", "PyTorch"),
        ("cats/a.png", "pictures such as cats/a.png"),
    ] {
        let path = folder.path().join("a.zip");
        let mut archive = zip::ZipWriter::new(fs::File::create(&path).unwrap());
        archive
            .start_file(entry, zip::write::SimpleFileOptions::default())
            .unwrap();
        archive.finish().unwrap();
        let message = open_images(&path).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}
