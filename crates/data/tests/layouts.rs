//! Training sets as other programs lay them out.

mod common;

use std::fs;
use std::path::Path;

use common::{npy, npz, write};
use image::{ImageBuffer, Luma};
use sordino_data::{DataSet, Pixels, open_set};

/// Images of 1x2 bytes, the first of which is the image's number.
fn images(from: u8, count: u8) -> Vec<u8> {
    let bytes: Vec<u8> = (from..from + count).flat_map(|n| [n, 200]).collect();
    npy("|u1", &format!("({count}, 1, 2)"), &bytes)
}

fn labels(labels: &[u8]) -> Vec<u8> {
    let bytes: Vec<u8> = labels
        .iter()
        .flat_map(|&label| i64::from(label).to_le_bytes())
        .collect();
    npy("<i8", &format!("({},)", labels.len()), &bytes)
}

/// The numbers and labels of the images of each part.
fn parts(set: &DataSet) -> Vec<(Vec<u8>, Vec<u16>)> {
    let parts = [Some(&set.train), set.validation.as_ref(), Some(&set.test)];
    let part = |images: &sordino_data::Images| {
        let Pixels::U8(bytes) = &images.pixels else {
            panic!("bytes");
        };
        let numbers = bytes.chunks(2).map(|image| image[0]).collect();
        (numbers, images.labels.clone().unwrap())
    };
    parts.into_iter().flatten().map(part).collect()
}

#[test]
fn archives_as_keras_and_medmnist_name_their_arrays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own.npz");
    let train = (vec![1, 2, 3], vec![0, 1, 1]);
    let (validation, test) = ((vec![4, 5], vec![1, 0]), (vec![6], vec![1]));
    let three = [train.clone(), validation, test.clone()];
    let two = [train, test];
    for (names, expected) in [
        (["x_train", "y_train", "", "", "x_test", "y_test"], &two[..]),
        (["X_train", "y_train", "", "", "X_test", "y_test"], &two),
        (
            ["x_train", "y_train", "x_val", "y_val", "x_test", "y_test"],
            &three,
        ),
        (
            [
                "train_images",
                "train_labels",
                "",
                "",
                "test_images",
                "test_labels",
            ],
            &two,
        ),
        (
            [
                "train_images",
                "train_labels",
                "val_images",
                "val_labels",
                "test_images",
                "test_labels",
            ],
            &three,
        ),
    ] {
        let arrays = [
            (names[0], images(1, 3)),
            (names[1], labels(&[0, 1, 1])),
            (names[2], images(4, 2)),
            (names[3], labels(&[1, 0])),
            (names[4], images(6, 1)),
            (names[5], labels(&[1])),
            ("meta", npy("|O", "()", b"pickled")),
        ];
        let arrays: Vec<_> = arrays
            .into_iter()
            .filter(|(name, _)| !name.is_empty())
            .collect();
        npz(&path, &arrays);
        let set = open_set(&path).unwrap();
        assert_eq!(parts(&set), expected, "{names:?}");
        assert_eq!(set.class_names, ["0", "1"]);
        assert_eq!((set.name.as_str(), set.range), ("own", (0.0, 255.0)));
        assert!(set.notes.is_empty(), "{:?}", set.notes);
    }
}

#[test]
fn archives_without_a_test_part_use_the_validation_part_and_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own.npz");
    npz(
        &path,
        &[
            ("x_train", images(1, 3)),
            ("y_train", labels(&[0, 1, 1])),
            ("x_val", images(4, 2)),
            ("y_val", labels(&[1, 0])),
        ],
    );
    let set = open_set(&path).unwrap();
    assert!(set.validation.is_none());
    assert_eq!(parts(&set)[1], (vec![4, 5], vec![1, 0]));
    assert!(set.notes[0].contains("no test part"), "{:?}", set.notes);
    npz(
        &path,
        &[("x_train", images(1, 3)), ("y_train", labels(&[0, 1, 1]))],
    );
    let message = open_set(&path).unwrap_err().to_string();
    assert!(
        message.contains("x_test") && message.contains("test_labels"),
        "{message}"
    );
}

#[test]
fn labels_that_training_needs_are_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own.npz");
    for (labels, expected) in [
        // Findings in one part, classes in the other.
        (npy("<f4", "(3, 2)", &[0; 24]), "the same labels"),
        (npy("<f4", "(3, 2)", &[0x3e; 24]), "labels 0 or 1"),
        (npy("<f4", "(3,)", &[0; 12]), "astype('int64')"),
        (npy("<U2", "(3,)", &[0; 24]), "numpy.unique"),
        (npy("|S2", "(3,)", &[0; 6]), "astype"),
        (npy("<i8", "(3,)", &[0xff; 24]), "-1 at index 0"),
        (npy("|u1", "(2,)", &[0; 2]), "3 labels"),
    ] {
        npz(
            &path,
            &[
                ("x_train", images(1, 3)),
                ("y_train", labels),
                ("x_test", images(6, 1)),
                ("y_test", npy("|u1", "(1,)", &[0])),
            ],
        );
        let message = open_set(&path).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    npz(
        &path,
        &[("x_train", images(1, 3)), ("x_test", images(6, 1))],
    );
    let message = open_set(&path).unwrap_err().to_string();
    assert!(message.contains("y_train"), "{message}");
}

#[test]
fn labels_that_start_at_1_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own.npz");
    npz(
        &path,
        &[
            ("x_train", images(1, 3)),
            ("y_train", labels(&[1, 2, 1])),
            ("x_test", images(6, 1)),
            ("y_test", labels(&[1])),
        ],
    );
    let set = open_set(&path).unwrap();
    assert!(set.notes[0].contains("1 of 3 classes"), "{:?}", set.notes);
}

#[test]
fn the_range_of_a_set_is_that_of_its_values() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own.npz");
    let f32s = |values: [f32; 2]| {
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        npy("<f4", "(1, 1, 2)", &bytes)
    };
    let u16s = |values: [u16; 2]| {
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        npy("<u2", "(1, 1, 2)", &bytes)
    };
    for (array, range, noted) in [
        (f32s([0.0, 1.0]), (0.0, 1.0), false),
        (f32s([-1.0, 1.0]), (-1.0, 1.0), true),
        (f32s([0.0, 255.0]), (0.0, 255.0), true),
        (f32s([0.0, 60000.0]), (0.0, 65535.0), true),
        (f32s([-1000.0, 3000.0]), (-1000.0, 3000.0), true),
        (u16s([0, 4095]), (0.0, 65535.0), true),
        (npy("|u1", "(1, 1, 2)", &[0, 16]), (0.0, 255.0), false),
        (npy("|b1", "(1, 1, 2)", &[0, 1]), (0.0, 1.0), true),
    ] {
        let label = || npy("|u1", "(1,)", &[0]);
        npz(
            &path,
            &[
                ("x_train", array.clone()),
                ("y_train", label()),
                ("x_test", array),
                ("y_test", label()),
            ],
        );
        let set = open_set(&path).unwrap();
        assert_eq!(set.range, range);
        assert_eq!(!set.notes.is_empty(), noted, "{:?}", set.notes);
        assert!(
            !noted || set.notes[0].contains("--range"),
            "{:?}",
            set.notes
        );
    }
}

fn picture(folder: &Path, name: &str, number: u8) {
    fs::create_dir_all(folder).unwrap();
    let picture = ImageBuffer::from_fn(2, 1, |x, _| Luma([if x == 0 { number } else { 200 }]));
    picture.save(folder.join(name)).unwrap();
}

#[test]
fn a_folder_per_class_with_parts() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    picture(&root.join("train/dogs"), "b.png", 1);
    picture(&root.join("train/dogs"), "a.png", 2);
    picture(&root.join("train/cats"), "a.png", 3);
    picture(&root.join("test/dogs"), "a.png", 4);
    write(&root.join("train"), ".DS_Store", b"junk");
    write(&root.join("train"), "README.txt", b"how it was made");
    let set = open_set(root).unwrap();
    assert_eq!(set.class_names, ["cats", "dogs"]);
    let train = (vec![3, 2, 1], vec![0, 1, 1]);
    assert_eq!(parts(&set), [train.clone(), (vec![4], vec![1])]);
    let names = ["cats/a.png", "dogs/a.png", "dogs/b.png"];
    assert_eq!(set.train.names.as_deref().unwrap(), names);
    assert!(set.notes.is_empty(), "{:?}", set.notes);

    picture(&root.join("val/cats"), "a.png", 5);
    let set = open_set(root).unwrap();
    assert_eq!(parts(&set), [train, (vec![5], vec![0]), (vec![4], vec![1])]);

    fs::remove_dir_all(root.join("test")).unwrap();
    let set = open_set(root).unwrap();
    assert_eq!(parts(&set)[1], (vec![5], vec![0]));
    assert!(set.notes[0].contains("no test part"), "{:?}", set.notes);

    picture(&root.join("val/birds"), "a.png", 6);
    let message = open_set(root).unwrap_err().to_string();
    assert!(
        message.contains("birds") && message.contains("cats, dogs"),
        "{message}"
    );
}

#[test]
fn a_folder_per_class_without_parts_holds_some_back() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..12 {
        let class = if number < 6 { "a" } else { "b" };
        picture(
            &folder.path().join(class),
            &format!("{number:02}.png"),
            number,
        );
    }
    let set = open_set(folder.path()).unwrap();
    let train = (
        vec![0, 1, 2, 3, 5, 6, 7, 8, 9, 11],
        vec![0, 0, 0, 0, 0, 1, 1, 1, 1, 1],
    );
    assert_eq!(parts(&set), [train, (vec![4, 10], vec![0, 1])]);
    assert!(set.notes[0].contains("held back"), "{:?}", set.notes);

    // An empty class is named, and pictures beside the classes are no set.
    fs::create_dir(folder.path().join("c")).unwrap();
    let message = open_set(folder.path()).unwrap_err().to_string();
    assert!(message.contains("\"c\" without pictures"), "{message}");
    fs::remove_dir(folder.path().join("c")).unwrap();
    picture(folder.path(), "loose.png", 1);
    assert!(open_set(folder.path()).is_err());

    let few = tempfile::tempdir().unwrap();
    picture(&few.path().join("a"), "1.png", 1);
    picture(&few.path().join("b"), "1.png", 2);
    let message = open_set(few.path()).unwrap_err().to_string();
    assert!(message.contains("at least 5 images"), "{message}");
}

#[test]
fn a_class_folder_that_is_empty_or_of_other_sizes_is_named() {
    let folder = tempfile::tempdir().unwrap();
    picture(&folder.path().join("train/a"), "1.png", 1);
    fs::create_dir_all(folder.path().join("train/b")).unwrap();
    let message = open_set(folder.path()).unwrap_err().to_string();
    assert!(message.contains("train/b"), "{message}");
    let other = ImageBuffer::from_pixel(3, 1, Luma([1u8]));
    other.save(folder.path().join("train/b/1.png")).unwrap();
    let message = open_set(folder.path()).unwrap_err().to_string();
    assert!(
        message.contains("1x1x2") && message.contains("1x1x3"),
        "{message}"
    );
}
