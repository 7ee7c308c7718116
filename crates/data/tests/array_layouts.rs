//! Where arrays have their channels, and sets as MedMNIST lays them out.

mod common;

use std::fs;
use std::path::Path;

use common::{BYTES, idx, network, npy, npz, shape, write};
use proptest::prelude::*;
use sordino_data::{
    DataSet, Error, Images, Layout, Pixels, Reader, find_sets, open_images, open_images_for,
    open_set, prepare_path,
};
use sordino_graph::{Filter, Preprocess, SizePolicy};

fn array(folder: &Path, dimensions: &[usize]) -> std::path::PathBuf {
    let count = dimensions.iter().product::<usize>();
    let bytes: Vec<u8> = (0..count).map(|at| at as u8).collect();
    let text: String = dimensions.iter().map(|size| format!("{size}, ")).collect();
    write(folder, "a.npy", &npy("|u1", &format!("({text})"), &bytes))
}

fn bytes(images: &Images) -> &[u8] {
    match &images.pixels {
        Pixels::U8(bytes) => bytes,
        _ => panic!("bytes"),
    }
}

/// The images that an array `[N, H, W, C]` of counted bytes has, written down by their definition.
fn planes([count, height, width, channels]: [usize; 4]) -> Vec<u8> {
    let mut out = Vec::new();
    for image in 0..count {
        for channel in 0..channels {
            for pixel in 0..height * width {
                out.push(((image * height * width + pixel) * channels + channel) as u8);
            }
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_rule_is_the_one_of_the_guide(
        n in 1_usize..3, second in 1_usize..8, third in 1_usize..8, last in 1_usize..8,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let dimensions = [n, second, third, last];
        let path = array(folder.path(), &dimensions);
        let usual = |axis| [1, 3, 4].contains(&axis);
        let ambiguous = usual(last) && usual(second) || last == 2 && second > 4;
        let found = open_images(&path);
        if ambiguous {
            let message = found.unwrap_err().to_string();
            prop_assert!(message.contains("--layout nchw") && message.contains("--layout nhwc"), "{}", message);
        } else if usual(last) {
            let found = found.unwrap();
            prop_assert_eq!(shape(&found), [n, last, second, third]);
            prop_assert_eq!(found.layout, Some(Layout::Nhwc));
            prop_assert_eq!(bytes(&found), planes(dimensions));
        } else {
            let found = found.unwrap();
            prop_assert_eq!(shape(&found), dimensions);
            prop_assert_eq!(found.layout, Some(Layout::Nchw));
        }
        // What is said goes before the rule, for the whole file and for parts of it.
        for (layout, image) in [(Layout::Nchw, [second, third, last]), (Layout::Nhwc, [last, second, third])] {
            let reader = Reader::new().layout(Some(layout));
            let found = reader.images(&path).unwrap();
            prop_assert_eq!(shape(&found), [n, image[0], image[1], image[2]]);
            let plan = network(image, BYTES);
            let prepared = reader.prepare(&path, &plan, Some(BYTES), n).unwrap();
            let expected: Vec<f32> = bytes(&found).iter().map(|&value| f32::from(value) / 255.0).collect();
            prop_assert!(prepared.values.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6));
        }
    }
}

#[test]
fn the_network_settles_what_leaves_no_doubt_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let resizing = |shape| Preprocess {
        size: SizePolicy::Stretch {
            filter: Filter::Bilinear,
            height: 32,
            width: 32,
        },
        ..network(shape, BYTES)
    };
    let path = array(folder.path(), &[2, 3, 32, 3]);
    let read = |network: &Preprocess| open_images_for(&path, network).map(|images| shape(&images));
    assert_eq!(read(&network([3, 32, 3], BYTES)).unwrap(), [2, 3, 32, 3]);
    assert_eq!(read(&network([3, 3, 32], BYTES)).unwrap(), [2, 3, 3, 32]);
    // Both would be resized, or neither is taken.
    for network in [
        resizing([3, 32, 32]),
        network([3, 32, 32], BYTES),
        network([1, 32, 3], BYTES),
    ] {
        assert!(read(&network).unwrap_err().to_string().contains("--layout"));
        let error = prepare_path(&path, &network, None, 2).unwrap_err();
        assert!(error.to_string().contains("--layout"), "{error}");
    }
    let path = array(folder.path(), &[2, 3, 3, 3]);
    assert!(open_images_for(&path, &network([3, 3, 3], BYTES)).is_err());
    let path = array(folder.path(), &[2, 1, 1, 1]);
    assert!(open_images_for(&path, &network([1, 1, 1], BYTES)).is_ok());
    // One image with its channels last.
    let path = array(folder.path(), &[8, 6, 3]);
    assert!(
        open_images(&path)
            .unwrap_err()
            .to_string()
            .contains("--layout nhwc")
    );
    let nhwc = Reader::new().layout(Some(Layout::Nhwc));
    let found = nhwc.images(&path).unwrap();
    assert_eq!(
        (shape(&found), bytes(&found)),
        ([1, 3, 8, 6], &planes([1, 8, 6, 3])[..])
    );
    let nchw = Reader::new().layout(Some(Layout::Nchw));
    assert_eq!(shape(&nchw.images(&path).unwrap()), [8, 1, 6, 3]);
    // Gray arrays have no such axis.
    let path = array(folder.path(), &[2, 8, 8]);
    for layout in [None, Some(Layout::Nchw), Some(Layout::Nhwc)] {
        let found = Reader::new().layout(layout).images(&path).unwrap();
        assert_eq!((shape(&found), found.layout), ([2, 1, 8, 8], None));
    }
    let path = write(folder.path(), "idx", &idx(&[2, 5, 5, 3], &[7; 150]));
    assert_eq!(shape(&open_images(path).unwrap()), [2, 3, 5, 5]);
}

/// Arrays of MedMNIST: images of these axes, and labels of so many columns.
fn medmnist(axes: &[usize], columns: usize) -> Vec<(&'static str, Vec<u8>)> {
    let mut arrays = Vec::new();
    for (images, labels, count) in [
        ("train_images", "train_labels", 3),
        ("val_images", "val_labels", 2),
        ("test_images", "test_labels", 2),
    ] {
        let text: String = axes.iter().map(|size| format!(", {size}")).collect();
        let values = count * axes.iter().product::<usize>();
        // No two images are the same.
        let pixels: Vec<u8> = (0..values).map(|at| (at * 7 + count * 50) as u8).collect();
        let marks: Vec<u8> = (0..count * columns)
            .map(|at| u8::from(at % 3 == 0))
            .collect();
        arrays.push((images, npy("|u1", &format!("({count}{text})"), &pixels)));
        arrays.push((labels, npy("|u1", &format!("({count}, {columns})"), &marks)));
    }
    arrays
}

#[test]
fn medmnist_files_of_every_kind_are_sets() {
    let folder = tempfile::tempdir().unwrap();
    for (name, axes, columns, image) in [
        ("breastmnist.npz", &[28, 28][..], 1, [1, 28, 28]),
        ("pathmnist.npz", &[28, 28, 3], 1, [3, 28, 28]),
        ("bloodmnist_64.npz", &[64, 64, 3], 1, [3, 64, 64]),
        ("octmnist_128.npz", &[128, 128], 1, [1, 128, 128]),
        ("chestmnist.npz", &[28, 28], 14, [1, 28, 28]),
        ("chestmnist_224.npz", &[224, 224], 14, [1, 224, 224]),
    ] {
        let path = folder.path().join(name);
        npz(&path, &medmnist(axes, columns));
        let set = open_set(&path).unwrap();
        assert_eq!(set.name, name.trim_end_matches(".npz"));
        assert_eq!(
            shape(&set.train),
            [3, image[0], image[1], image[2]],
            "{name}"
        );
        assert_eq!(shape(set.validation.as_ref().unwrap())[0], 2);
        let part = open_images(format!("{}:test_images", path.display())).unwrap();
        assert_eq!(part.pixels, set.test.pixels, "{name}");
        for images in [&set.test, &part] {
            match columns {
                1 => assert_eq!(images.labels.as_deref(), Some(&[1, 0][..]), "{name}"),
                columns => {
                    let matrix = images.matrix.as_ref().unwrap();
                    assert_eq!((matrix.rows(), matrix.columns()), (2, columns));
                    let row: Vec<_> = (14..28).map(|at| Some(at % 3 == 0)).collect();
                    assert_eq!(matrix.row(1), row);
                    assert!(images.labels.is_none());
                    assert_eq!(matrix.positives().iter().sum::<usize>(), 10);
                }
            }
        }
        assert_eq!(
            set.class_names.len(),
            if columns == 1 { 2 } else { columns }
        );
        let first = if columns == 1 { "0" } else { "finding-0" };
        assert_eq!(set.class_names[0], first);
    }
    let names: Vec<_> = find_sets(Some(folder.path()))
        .into_iter()
        .map(|set| set.0)
        .collect();
    let all = [
        "bloodmnist_64",
        "breastmnist",
        "chestmnist",
        "chestmnist_224",
        "octmnist_128",
        "pathmnist",
    ];
    assert_eq!(names, all);
    // The folder that holds several is asked about.
    let error = open_set(folder.path()).unwrap_err();
    assert!(
        matches!(&error, Error::Ambiguous { choices, .. } if choices == &all),
        "{error}"
    );
}

#[test]
fn a_folder_with_one_such_archive_is_a_set_under_its_own_name() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("blood-cells");
    fs::create_dir(&own).unwrap();
    npz(&own.join("blood_cells_64.npz"), &medmnist(&[8, 8, 3], 1));
    write(&own, "README.md", b"how it was made");
    // An archive beside folders, and one of other arrays, are none.
    let other = folder.path().join("scans");
    fs::create_dir(&other).unwrap();
    npz(
        &other.join("scans.npz"),
        &[("images", npy("|u1", "(1, 2, 2)", &[0; 4]))],
    );
    let check = |set: DataSet| {
        assert_eq!(set.name, "blood-cells");
        assert_eq!(shape(&set.train), [3, 3, 8, 8]);
        assert_eq!(set.train.layout, Some(Layout::Nhwc));
    };
    check(open_set(&own).unwrap());
    check(open_set(folder.path()).unwrap());
    assert_eq!(
        find_sets(Some(folder.path())),
        [("blood-cells".to_owned(), own.clone())]
    );
    assert!(open_set(&other).is_err());
    fs::create_dir(own.join("more")).unwrap();
    assert!(open_set(&own).is_err());
    fs::remove_dir(own.join("more")).unwrap();
    // An archive of MedMNIST's own is called as it is.
    let lone = tempfile::tempdir().unwrap();
    npz(
        &lone.path().join("bloodmnist_64.npz"),
        &medmnist(&[8, 8, 3], 1),
    );
    assert_eq!(open_set(lone.path()).unwrap().name, "bloodmnist_64");
    // With two archives it must be said which.
    npz(&own.join("more.npz"), &medmnist(&[8, 8, 3], 1));
    assert!(open_set(&own).is_err());
    // A damaged one is named.
    fs::remove_file(own.join("more.npz")).unwrap();
    fs::write(own.join("blood_cells_64.npz"), b"PK").unwrap();
    let message = open_set(&own).unwrap_err().to_string();
    assert!(message.contains("blood_cells_64.npz"), "{message}");
}

#[test]
fn ambiguous_sets_take_a_layout() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tinymnist.npz");
    npz(&path, &medmnist(&[3, 5, 3], 1));
    assert!(
        open_set(&path)
            .unwrap_err()
            .to_string()
            .contains("--layout")
    );
    for (layout, expected) in [(Layout::Nchw, [3, 3, 5, 3]), (Layout::Nhwc, [3, 3, 3, 5])] {
        let set = Reader::new().layout(Some(layout)).set(&path).unwrap();
        assert_eq!(shape(&set.train), expected);
    }
}

#[test]
fn findings_are_0_or_1_or_unknown_in_every_part() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npz");
    let labels = |descr: &str, shape: &str, bytes: &[u8]| {
        let mut arrays = medmnist(&[5, 5], 2);
        arrays[1].1 = npy(descr, shape, bytes);
        npz(&path, &arrays);
        open_set(&path)
    };
    assert!(
        labels("|b1", "(3, 2)", &[1, 0, 0, 1, 1, 1])
            .unwrap()
            .train
            .matrix
            .is_some()
    );
    let (yes, no) = (Some(true), Some(false));
    let expected = [yes, no, None, yes, no, None];
    let train = |descr: &str, bytes: Vec<u8>| labels(descr, "(3, 2)", &bytes).unwrap().train;
    let floats = [1.0, 0.0, f32::NAN, 1.0, -0.0, f32::NAN];
    let halves = [0x3c00_u16, 0, 0x7e00, 0x3c00, 0x8000, 0xfe00];
    let reals = floats.map(f64::from);
    for (descr, bytes) in [
        ("|i1", vec![1, 0, 255, 1, 0, 255]),
        (
            ">i2",
            [1_i16, 0, -1, 1, 0, -1].map(i16::to_be_bytes).concat(),
        ),
        ("<f2", halves.map(u16::to_le_bytes).concat()),
        ("<f4", floats.map(f32::to_le_bytes).concat()),
        (">f8", reals.map(f64::to_be_bytes).concat()),
    ] {
        let train = train(descr, bytes);
        let matrix = train.matrix.as_ref().unwrap();
        assert_eq!(matrix.values(), expected, "{descr}");
        assert_eq!(train.targets().unwrap().findings(), Some(matrix));
    }
    // Classes in columns, as Keras writes them.
    let notes = |bytes: Vec<u8>| labels("|u1", "(3, 2)", &bytes).unwrap().notes;
    assert!(
        notes(vec![1, 0, 0, 1, 1, 0])
            .iter()
            .any(|note| note.contains("argmax"))
    );
    assert!(
        !notes(vec![1, 0, 0, 1, 1, 1])
            .iter()
            .any(|note| note.contains("argmax"))
    );
    for (value, found) in [
        (-1.0_f32, "found -1"),
        (0.5, "found 0.5"),
        (f32::INFINITY, "found inf"),
    ] {
        let bytes = [1.0, 0.0, value, 0.0, 0.0, 0.0]
            .map(f32::to_le_bytes)
            .concat();
        let message = labels("<f4", "(3, 2)", &bytes).unwrap_err().to_string();
        assert!(
            message.contains(found) && message.contains("NaN"),
            "{message}"
        );
    }
    for (descr, shape, bytes, expected) in [
        ("|u1", "(3, 2)", vec![0, 1, 2, 0, 0, 0], "found 2"),
        ("|u1", "(3, 2)", vec![0, 1, 255, 0, 0, 0], "found 255"),
        ("|i1", "(3, 2)", vec![0, 1, 254, 0, 0, 0], "found -2"),
        ("|S1", "(3, 2)", vec![b'0'; 6], "labels as numbers"),
        ("|u1", "(3, 3)", vec![0; 9], "3 labels per image"),
        ("|u1", "(3, 1)", vec![0; 3], "2 labels per image"),
        ("|u1", "(2, 2)", vec![0; 4], "2 labels"),
        ("|u1", "(3, 0)", vec![], "whole rows of 0"),
        ("|u1", "(1, 5000)", vec![0; 5000], "limit of 4096"),
    ] {
        let message = labels(descr, shape, &bytes).unwrap_err().to_string();
        assert!(message.contains(expected), "{shape}: {message}");
    }
}
