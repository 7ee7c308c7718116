//! Images from a path: the same as opened and prepared, and no more in memory than the network takes.

mod common;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use common::{fixture, gzip, idx, npy, write};
use image::{ImageBuffer, Luma};
use sordino_data::{Error, open_images, prepare, prepare_path};
use sordino_graph::{ColorPolicy, Preprocess, SizePolicy};

fn network(height: usize, width: usize, size: SizePolicy) -> Preprocess {
    Preprocess {
        channels: 1,
        height,
        width,
        size,
        input_range: (0.0, 255.0),
        mean: vec![0.25],
        std: vec![0.5],
        allowed: (0.0, 255.0),
        color: ColorPolicy::Refuse,
        window: None,
    }
}

fn gray(folder: &Path, name: &str, width: u32, height: u32) {
    let picture = ImageBuffer::from_fn(width, height, |x, y| Luma([(31 * x + 17 * y) as u8]));
    picture.save(folder.join(name)).unwrap();
}

fn refused(path: &Path, network: &Preprocess, most: usize) -> Error {
    let start = Instant::now();
    let error = prepare_path(path, network, None, most).expect_err("to be refused");
    assert!(start.elapsed() < Duration::from_secs(5), "{error}");
    error
}

#[test]
fn it_is_what_opening_and_preparing_gives() {
    let folder = tempfile::tempdir().unwrap();
    let values: Vec<u8> = (0..6 * 20).map(|value| (value * 37 % 251) as u8).collect();
    let bytes = idx(&[6, 4, 5], &values);
    let mut paths = vec![
        write(folder.path(), "a", &bytes),
        write(folder.path(), "b.gz", &gzip(&bytes)),
        write(folder.path(), "c.npy", &npy("|u1", "(6, 4, 5)", &values)),
    ];
    let pictures = folder.path().join("pictures");
    fs::create_dir(&pictures).unwrap();
    (0..3).for_each(|index| gray(&pictures, &format!("{index}.png"), 5, 4));
    paths.push(pictures.join("1.png"));
    paths.push(pictures);
    for (size, policy) in [((4, 5), SizePolicy::Refuse), ((3, 2), SizePolicy::Resize)] {
        let network = network(size.0, size.1, policy);
        for path in &paths {
            let images = open_images(path).unwrap();
            let prepared = prepare_path(path, &network, None, 6).unwrap();
            assert_eq!(prepared.values, prepare(&images, &network, None).unwrap());
            assert_eq!(
                (prepared.images, prepared.names),
                (images.len(), images.names)
            );
        }
    }
}

#[test]
fn large_files_are_read_in_parts() {
    let folder = tempfile::tempdir().unwrap();
    // Two images of 4,200 x 4,200 are more than one part.
    let values: Vec<u8> = (0..2 * 17_640_000_usize)
        .map(|value| (value % 253) as u8)
        .collect();
    let path = write(
        folder.path(),
        "a.npy",
        &npy("|u1", "(2, 4200, 4200)", &values),
    );
    let network = network(4, 4, SizePolicy::Resize);
    let prepared = prepare_path(&path, &network, None, 2).unwrap();
    let images = open_images(&path).unwrap();
    assert_eq!(prepared.values, prepare(&images, &network, None).unwrap());
}

#[test]
fn pictures_of_several_sizes_are_resized_one_by_one() {
    let folder = tempfile::tempdir().unwrap();
    gray(folder.path(), "a.png", 9, 7);
    gray(folder.path(), "b.png", 4, 16);
    let resizing = network(4, 4, SizePolicy::Resize);
    let prepared = prepare_path(folder.path(), &resizing, None, 2).unwrap();
    let one_by_one: Vec<f32> = ["a.png", "b.png"]
        .iter()
        .flat_map(|name| {
            let images = open_images(folder.path().join(name)).unwrap();
            prepare(&images, &resizing, None).unwrap()
        })
        .collect();
    assert_eq!(prepared.values, one_by_one);
    let error = refused(folder.path(), &network(7, 9, SizePolicy::Refuse), 2);
    assert!(matches!(error, Error::Shape { .. }), "{error}");
    assert!(error.to_string().contains("b.png"), "{error}");
    // Another depth would have another white.
    let deep = ImageBuffer::from_fn(4, 4, |x, _| Luma([x as u16]));
    deep.save(folder.path().join("c.png")).unwrap();
    let error = refused(folder.path(), &resizing, 3);
    assert!(error.to_string().contains("c.png"), "{error}");
}

#[test]
fn what_the_network_does_not_take_is_refused_before_it_is_unpacked() {
    let folder = tempfile::tempdir().unwrap();
    let small = network(4, 4, SizePolicy::Refuse);
    // Sixteen million zeros in a few kilobytes.
    let mut bomb = idx(&[1 << 20, 4, 4], &[]);
    bomb.resize(bomb.len() + (1 << 24), 0);
    let bomb = write(folder.path(), "bomb.gz", &gzip(&bomb));
    for most in [1, 4096] {
        let error = refused(&bomb, &small, most);
        assert!(
            matches!(
                error,
                Error::TooMany {
                    found: 0x10_0000,
                    ..
                }
            ),
            "{error}"
        );
    }
    let large = write(
        folder.path(),
        "large",
        &idx(&[1, 16_000, 16_000], &[0; 100]),
    );
    let error = refused(&large, &small, 10);
    assert!(matches!(error, Error::Shape { .. }), "{error}");
    let error = refused(&large, &network(4, 4, SizePolicy::Resize), 10);
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    let many = folder.path().join("many");
    fs::create_dir(&many).unwrap();
    (0..3).for_each(|index| gray(&many, &format!("{index}.png"), 4, 4));
    let error = refused(&many, &small, 2);
    assert!(
        matches!(
            error,
            Error::TooMany {
                found: 3,
                most: 2,
                ..
            }
        ),
        "{error}"
    );
    fs::remove_file(many.join("2.png")).unwrap();
    prepare_path(&many, &small, None, 2).unwrap();
}

#[test]
fn all_values_in_0_to_1_are_asked_about_and_labels_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = |values: [f32; 4]| values.map(f32::to_le_bytes).concat();
    let small = network(2, 2, SizePolicy::Refuse);
    let unit = write(
        folder.path(),
        "a.npy",
        &npy("<f4", "(1, 2, 2)", &bytes([0.0, 0.5, 1.0, 0.25])),
    );
    assert!(matches!(refused(&unit, &small, 1), Error::Scale { .. }));
    prepare_path(&unit, &small, Some((0.0, 1.0)), 1).unwrap();
    let wide = write(
        folder.path(),
        "b.npy",
        &npy("<f4", "(1, 2, 2)", &bytes([0.0, 0.5, 200.0, 1.0])),
    );
    prepare_path(&wide, &small, None, 1).unwrap();
    // Labels of another number of images: they are not needed.
    write(
        folder.path(),
        "x-images-idx3",
        &idx(&[1, 2, 2], &[1, 2, 3, 4]),
    );
    write(folder.path(), "x-labels-idx1", &idx(&[2], &[1, 2]));
    let path = folder.path().join("x-images-idx3");
    assert!(open_images(&path).unwrap().labels.is_none());
    prepare_path(&path, &small, None, 1).unwrap();
    assert!(prepare_path(fixture("several.npz"), &small, None, 1).is_err());
}
