//! What is guessed about files of images: right values where the guess is safe, an error or a note where it is not.

mod common;

use std::fs;

use common::{BYTES, fixture, fortran, idx, network, npy, npz, open_nchw, shape, write};
use sordino_data::{
    Error, Images, Pixels, open_images, open_images_for, prepare, prepare_noted, prepare_path,
};
use sordino_graph::{Preprocess, SizePolicy};

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
    let images = open_nchw(fixture("fortran.npy")).unwrap();
    assert_eq!(shape(&images), [2, 3, 2, 4]);
    assert_eq!(images.pixels, Pixels::U8(bytes.clone()));
    for dimensions in [
        &[2, 3, 4, 2][..],
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
        // Channels last are read as such, and then are not what the network takes.
        ("(2, 9, 9, 3)", 486, &resizing, "1x8x8"),
        ("(2, 9, 9, 3)", 486, &many, "3x9x9"),
        ("(1, 16, 16, 4)", 1024, &resizing, "4x16x16"),
        // One image with its channels last, or many gray ones.
        ("(9, 9, 3)", 243, &resizing, "--layout nhwc"),
        ("(9, 9, 1)", 81, &resizing, "--layout nhwc"),
        ("(2, 3, 9, 3)", 162, &colour, "--layout nchw"),
        ("(2, 9, 9, 2)", 324, &resizing, "--layout nchw"),
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
            open_images_for(&path, network)
                .and_then(|images| prepare(&images, network, None))
                .map(drop)
                .unwrap_err(),
            prepare_path(&path, network, None, 1000)
                .map(drop)
                .unwrap_err(),
        ] {
            let message = error.to_string();
            assert!(message.contains(expected), "{dimensions}: {message}");
        }
    }
    let path = write(folder.path(), "idx", &idx(&[2, 3, 9, 3], &[7; 162]));
    let message = open_images(path).unwrap_err().to_string();
    assert!(message.contains("--layout"), "{message}");
}

#[test]
fn arrays_that_are_no_images_do_not_stop_an_archive() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npz");
    let bytes: Vec<u8> = (0..12).collect();
    let images = || npy("|u1", "(2, 2, 3)", &bytes);
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
    let images = npy("|u1", "(2, 2, 3)", &(0..12).collect::<Vec<u8>>());
    let path = folder.path().join("a.npz");
    for (labels, why) in [
        (npy("<f8", "(2,)", &[0; 16]), "integer type"),
        (npy("<i8", "(2,)", &[0xff; 16]), "-1 at index 0"),
        (npy("<f4", "(2, 3)", &[0x3f; 24]), "argmax"),
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
        // Percent, and seven bits.
        (u8s(&[0, 50, 100]), BYTES, Noted("no value is above 100")),
        (
            f32s(&[0.0, 99.5, 127.0]),
            BYTES,
            Noted("no value is above 127"),
        ),
        (u8s(&[0, 50, 128]), BYTES, Taken),
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
