//! Whole sets: the real ones where they are, small copies of their layout everywhere.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{gzip, idx, npy, npz, write};
use sordino_data::{
    DataSet, Error, Images, Pixels, SetName, digits, find_set, open_images, open_named, open_set,
};

/// Finds a real set for a test, or says that the test is skipped.
fn real(name: SetName) -> Option<DataSet> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let set = open_named(None, name).or_else(|error| match error {
        Error::SetNotFound { .. } => open_named(Some(&beside), name),
        error => Err(error),
    });
    match set {
        Ok(set) => Some(set),
        Err(error @ Error::SetNotFound { .. }) => {
            println!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Share of `test` whose nearest class mean of `train` is that of their label: finds labels that slipped.
fn nearest_mean_accuracy(train: &Images, test: &Images, classes: usize) -> f64 {
    let size = train.elements();
    let mut means = vec![vec![0.0; size]; classes];
    let counts = train.histogram(classes).unwrap();
    let label = |images: &Images, index: usize| usize::from(images.labels.as_ref().unwrap()[index]);
    for index in 0..train.len() {
        let class = label(train, index);
        for (at, mean) in means[class].iter_mut().enumerate() {
            *mean += train.pixels.value(index * size + at) / counts[class] as f64;
        }
    }
    let correct = (0..test.len()).filter(|&index| {
        let distance = |mean: &Vec<f64>| -> f64 {
            mean.iter()
                .enumerate()
                .map(|(at, mean)| (test.pixels.value(index * size + at) - mean).powi(2))
                .sum()
        };
        let nearest =
            (0..classes).min_by(|&a, &b| distance(&means[a]).total_cmp(&distance(&means[b])));
        nearest == Some(label(test, index))
    });
    correct.count() as f64 / test.len() as f64
}

/// Checks counts, shape, histograms of train and test, and the accuracy that the set's description states.
fn check(set: &DataSet, shape: [usize; 3], train: &[usize], test: &[usize], accuracy: f64) {
    let classes = set.class_names.len();
    assert_eq!([set.test.channels, set.test.height, set.test.width], shape);
    assert_eq!(
        set.train.histogram(classes).unwrap(),
        train,
        "training labels of {}",
        set.name
    );
    assert_eq!(
        set.test.histogram(classes).unwrap(),
        test,
        "test labels of {}",
        set.name
    );
    let found = nearest_mean_accuracy(&set.train, &set.test, classes);
    assert!(
        (found - accuracy).abs() < 1.5e-4,
        "{}: nearest mean {found}, {accuracy} stated",
        set.name
    );
}

#[test]
fn mnist() {
    let Some(set) = real(SetName::Mnist) else {
        return;
    };
    let train = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949];
    let test = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009];
    check(&set, [1, 28, 28], &train, &test, 0.8203);
    assert_eq!((set.name.as_str(), set.range), ("mnist", (0.0, 255.0)));
}

#[test]
fn fashion_mnist() {
    let Some(set) = real(SetName::FashionMnist) else {
        return;
    };
    check(&set, [1, 28, 28], &[6000; 10], &[1000; 10], 0.6768);
    assert_eq!(set.class_names[9], "Ankle boot");
}

#[test]
fn cifar_10() {
    let Some(set) = real(SetName::Cifar10) else {
        return;
    };
    check(&set, [3, 32, 32], &[5000; 10], &[1000; 10], 0.2773);
    let first = set.train.split_at(10_000).0.histogram(10).unwrap();
    assert_eq!(
        first,
        [1005, 974, 1032, 1016, 999, 937, 1030, 1001, 1025, 981]
    );
}

#[test]
fn pneumoniamnist() {
    let Some(set) = real(SetName::PneumoniaMnist) else {
        return;
    };
    let validation = set.validation.as_ref().unwrap();
    assert_eq!(
        (set.train.len(), validation.len(), set.test.len()),
        (4698, 524, 624)
    );
    assert_eq!(validation.histogram(2).unwrap(), [135, 389]);
    assert!(
        set.notes.len() == 1 && set.notes[0].ends_with(": 10"),
        "{:?}",
        set.notes
    );
    // Ten training images show 8 of validation (some twice); the means of thousands hardly notice.
    let accuracy = nearest_mean_accuracy(&set.train, &set.test, 2);
    assert!((accuracy - 0.7612).abs() < 0.002, "{accuracy}");
    assert_eq!(set.test.histogram(2).unwrap(), [234, 390]);
    assert_eq!(set.class_names, ["normal", "pneumonia"]);
}

#[test]
fn the_built_in_digits() {
    let set = digits();
    assert_eq!(
        (set.train.len(), set.test.len(), set.class_names.len()),
        (1198, 599, 10)
    );
    // Over both parts, as the set's own description counts them.
    let mut all = set.train.clone();
    all.append(set.test.clone()).unwrap();
    assert_eq!(
        all.histogram(10).unwrap(),
        [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    );
    let Pixels::U8(pixels) = &all.pixels else {
        panic!("bytes")
    };
    assert_eq!(pixels.iter().max(), Some(&16));
    assert_eq!(pixels[..8], [0, 0, 5, 13, 9, 1, 0, 0]);
    let accuracy = nearest_mean_accuracy(&set.train, &set.test, 10);
    assert!((0.85..0.95).contains(&accuracy), "{accuracy}");
    assert_eq!(open_set("digits").unwrap(), set);
}

fn idx_set(folder: &Path, labels: &[u8], packed: bool) {
    fs::create_dir_all(folder).unwrap();
    let count = labels.len() as u32;
    let pixels: Vec<u8> = (0..labels.len() * 4).map(|at| at as u8).collect();
    for split in ["train", "t10k"] {
        for (name, bytes) in [
            (
                format!("{split}-images-idx3-ubyte"),
                idx(&[count, 2, 2], &pixels),
            ),
            (format!("{split}-labels-idx1-ubyte"), idx(&[count], labels)),
        ] {
            if packed {
                write(folder, &format!("{name}.gz"), &gzip(&bytes));
            } else {
                write(folder, &name, &bytes);
            }
        }
    }
}

const MNIST: [u8; 12] = [7, 2, 1, 0, 4, 1, 4, 9, 5, 9, 0, 6];
const FASHION: [u8; 12] = [9, 2, 1, 1, 6, 1, 4, 6, 5, 7, 4, 5];

fn cifar_set(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    for (index, name) in [
        "data_batch_1",
        "data_batch_2",
        "data_batch_3",
        "data_batch_4",
        "data_batch_5",
        "test_batch",
    ]
    .iter()
    .enumerate()
    {
        let mut record = vec![index as u8; 3073];
        record[3072] = 99;
        write(folder, &format!("{name}.bin"), &record);
    }
}

fn pneumonia_arrays() -> Vec<(&'static str, Vec<u8>)> {
    // The second training image is the first of validation, but for its label.
    vec![
        ("train_images", npy("|u1", "(3, 1, 2)", &[1, 1, 2, 2, 3, 3])),
        ("train_labels", npy("|u1", "(3, 1)", &[0, 1, 1])),
        ("val_images", npy("|u1", "(2, 1, 2)", &[2, 2, 4, 4])),
        ("val_labels", npy("|u1", "(2, 1)", &[0, 1])),
        ("test_images", npy("|u1", "(1, 1, 2)", &[5, 5])),
        ("test_labels", npy("|u1", "(1, 1)", &[1])),
    ]
}

/// A folder with all sets in the layout of their own sites.
fn all_sets() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    idx_set(&folder.path().join("mnist"), &MNIST, true);
    idx_set(&folder.path().join("fashion-mnist"), &FASHION, false);
    cifar_set(&folder.path().join("cifar-10-batches-bin"));
    npz(
        &folder.path().join("pneumoniamnist.npz"),
        &pneumonia_arrays(),
    );
    folder
}

#[test]
fn sets_are_found_in_their_own_folder_or_below_another() {
    let folder = all_sets();
    for (name, place) in [
        (SetName::Mnist, "mnist"),
        (SetName::FashionMnist, "fashion-mnist"),
        (SetName::Cifar10, "cifar-10-batches-bin"),
        (SetName::PneumoniaMnist, "pneumoniamnist.npz"),
    ] {
        let expected: PathBuf = folder.path().join(place);
        assert_eq!(
            find_set(Some(folder.path()), name).unwrap(),
            expected,
            "{name}"
        );
        assert_eq!(find_set(Some(&expected), name).unwrap(), expected, "{name}");
        let set = open_named(Some(folder.path()), name).unwrap();
        assert_eq!(set.name, name.as_str());
        assert_eq!(set, open_set(&expected).unwrap());
        assert_eq!(set.class_names, name.class_names());
    }
    let error = find_set(Some(&folder.path().join("mnist")), SetName::Cifar10).unwrap_err();
    assert!(
        error.to_string().contains("cifar-10") && error.to_string().contains("SORDINO_DATA"),
        "{error}"
    );
    // The IDX files of the other set are not taken for this one.
    assert!(find_set(Some(&folder.path().join("fashion-mnist")), SetName::Mnist).is_err());
}

#[test]
fn a_folder_of_several_sets_asks_which() {
    let folder = all_sets();
    let error = open_set(folder.path()).unwrap_err();
    assert!(
        matches!(&error, Error::Ambiguous { choices, .. } if choices.len() == 4),
        "{error}"
    );
    for place in ["mnist", "fashion-mnist"] {
        fs::remove_dir_all(folder.path().join(place)).unwrap();
    }
    fs::remove_file(folder.path().join("pneumoniamnist.npz")).unwrap();
    assert_eq!(open_set(folder.path()).unwrap().name, "cifar-10");
    fs::remove_dir_all(folder.path().join("cifar-10-batches-bin")).unwrap();
    assert!(matches!(
        open_set(folder.path()),
        Err(Error::SetNotFound { .. })
    ));
}

#[test]
fn cifar_batches_are_joined_in_order() {
    let folder = tempfile::tempdir().unwrap();
    cifar_set(folder.path());
    let set = open_set(folder.path()).unwrap();
    assert_eq!(set.train.labels.as_deref(), Some(&[0, 1, 2, 3, 4][..]));
    assert_eq!(set.test.labels.as_deref(), Some(&[5][..]));
    fs::remove_file(folder.path().join("data_batch_4.bin")).unwrap();
    let message = open_set(folder.path()).unwrap_err().to_string();
    assert!(message.contains("data_batch_4.bin"), "{message}");
}

#[test]
fn training_images_that_recur_in_validation_are_left_out() {
    let folder = all_sets();
    let set = open_set(folder.path().join("pneumoniamnist.npz")).unwrap();
    assert_eq!(set.train.pixels, Pixels::U8(vec![1, 1, 3, 3]));
    assert_eq!(set.train.labels.as_deref(), Some(&[0, 1][..]));
    assert_eq!(set.validation.unwrap().len(), 2);
    assert!(set.notes[0].ends_with(": 1"), "{:?}", set.notes);
}

#[test]
fn sets_of_ones_own_have_numbered_classes() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("letters");
    idx_set(&own, &[0, 1, 2, 3, 2, 1], true);
    let set = open_set(&own).unwrap();
    assert_eq!((set.name.as_str(), set.class_names.len()), ("letters", 4));
    assert_eq!((set.train.len(), set.test.len()), (6, 6));
    // Their test part on its own, as `encrypt` reads it.
    let images = open_images(own.join("t10k-images-idx3-ubyte.gz")).unwrap();
    assert_eq!(
        (&images.pixels, &images.labels),
        (&set.test.pixels, &set.test.labels)
    );
}

#[test]
fn labels_without_a_class_and_parts_that_differ_are_refused() {
    let folder = all_sets();
    let mut labels = MNIST.to_vec();
    labels.push(10);
    idx_set(&folder.path().join("mnist"), &labels, true);
    let message = open_named(Some(folder.path()), SetName::Mnist)
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("below 10") && message.contains("found 10"),
        "{message}"
    );

    let mut arrays = pneumonia_arrays();
    arrays[4].1 = npy("|u1", "(1, 2, 1)", &[5, 5]);
    let archive = folder.path().join("pneumoniamnist.npz");
    npz(&archive, &arrays);
    let message = open_set(&archive).unwrap_err().to_string();
    assert!(
        message.contains("1x2x1") && message.contains("1x1x2"),
        "{message}"
    );
    arrays.pop();
    npz(&archive, &arrays);
    let message = open_set(&archive).unwrap_err().to_string();
    assert!(message.contains("test_labels"), "{message}");
}

#[test]
fn unknown_names_list_the_known_ones() {
    let message = open_set("no-such-set").unwrap_err().to_string();
    for name in SetName::ALL {
        assert!(message.contains(name.as_str()), "{message}");
    }
    assert!("imagenet".parse::<SetName>().is_err());
}
