//! Every format, read as it was written.

mod common;

use std::fs;
use std::path::Path;

use common::{fixture, gzip, idx, npy, open_nchw, write};
use image::{ImageBuffer, Luma, LumaA, Rgb};
use sordino_data::{Error, Images, Pixels, open_images};

fn ramp(count: usize) -> Vec<u8> {
    (0..count).map(|i| (i * 7 % 251) as u8).collect()
}

fn shape(images: &Images) -> [usize; 4] {
    [images.len(), images.channels, images.height, images.width]
}

#[test]
fn idx_with_and_without_gzip_and_labels() {
    let folder = tempfile::tempdir().unwrap();
    let pixels = ramp(3 * 4 * 5);
    let bytes = idx(&[3, 4, 5], &pixels);
    for (name, bytes) in [
        ("a-images-idx3-ubyte", bytes.clone()),
        ("a-images-idx3-ubyte.gz", gzip(&bytes)),
    ] {
        let path = write(folder.path(), name, &bytes);
        let images = open_images(&path).unwrap();
        assert_eq!(shape(&images), [3, 1, 4, 5]);
        assert_eq!(images.pixels, Pixels::U8(pixels.clone()));
        assert_eq!((images.labels, images.names), (None, None));
    }
    // Labels beside, packed or not, whatever the images are.
    let labels = idx(&[3], &[7, 0, 9]);
    for (name, bytes) in [
        ("a-labels-idx1-ubyte.gz", gzip(&labels)),
        ("a-labels-idx1-ubyte", labels),
    ] {
        let path = write(folder.path(), name, &bytes);
        for images in ["a-images-idx3-ubyte", "a-images-idx3-ubyte.gz"] {
            let images = open_images(folder.path().join(images)).unwrap();
            assert_eq!(images.labels.as_deref(), Some(&[7, 0, 9][..]));
        }
        fs::remove_file(path).unwrap();
    }
    write(folder.path(), "a-labels-idx1-ubyte", &idx(&[2], &[7, 0]));
    let images = open_images(folder.path().join("a-images-idx3-ubyte")).unwrap();
    assert_eq!(images.labels, None);
    assert!(
        images.notes[0].contains("2 for 3 images"),
        "{:?}",
        images.notes
    );

    let colour = write(folder.path(), "colour", &idx(&[2, 3, 1, 2], &ramp(12)));
    assert_eq!(shape(&open_images(colour).unwrap()), [2, 3, 1, 2]);
}

#[test]
fn a_labels_file_is_not_images() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(
        folder.path(),
        "t10k-labels-idx1-ubyte",
        &idx(&[3], &[1, 2, 3]),
    );
    let message = open_images(path).unwrap_err().to_string();
    assert!(
        message.contains("label") && message.contains("idx3"),
        "{message}"
    );
}

#[test]
fn cifar_batches_carry_labels() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = Vec::new();
    // The first record starts like an IDX file would.
    for (label, offset) in [(0u8, 0usize), (9, 100), (3, 200)] {
        bytes.push(label);
        bytes.extend((0..3072).map(|i| ((i + offset) / 2 % 256) as u8));
    }
    let path = write(folder.path(), "data_batch_1.bin", &bytes);
    let images = open_images(&path).unwrap();
    assert_eq!(shape(&images), [3, 3, 32, 32]);
    assert_eq!(images.labels.as_deref(), Some(&[0, 9, 3][..]));
    let Pixels::U8(pixels) = &images.pixels else {
        panic!("bytes")
    };
    for (image, record) in pixels.chunks(3072).zip(bytes.chunks(3073)) {
        assert_eq!(image, &record[1..]);
    }
    bytes[3073] = 10;
    write(folder.path(), "data_batch_1.bin", &bytes);
    let message = open_images(&path).unwrap_err().to_string();
    assert!(message.contains("10 in record 1"), "{message}");
    bytes.pop();
    write(folder.path(), "data_batch_1.bin", &bytes);
    assert!(matches!(open_images(&path), Err(Error::Malformed { .. })));
}

#[test]
fn arrays_as_numpy_wrote_them() {
    let bytes: Vec<u8> = (0..48).collect();
    for name in ["u8_nchw.npy", "version2.npy"] {
        let images = open_nchw(fixture(name)).unwrap();
        assert_eq!(shape(&images), [2, 3, 2, 4]);
        assert_eq!(images.pixels, Pixels::U8(bytes.clone()));
    }
    let images = open_nchw(fixture("i32_nchw.npy")).unwrap();
    assert_eq!(
        images.pixels,
        Pixels::F32((0..48u8).map(f32::from).collect())
    );
    let images = open_nchw(fixture("u16_big_nchw.npy")).unwrap();
    assert_eq!(
        images.pixels,
        Pixels::U16((0..48).map(|i| i * 1000).collect())
    );
    let images = open_nchw(fixture("f32_nhw.npy")).unwrap();
    assert_eq!(shape(&images), [2, 1, 3, 4]);
    assert_eq!(
        images.pixels,
        Pixels::F32((0..24u8).map(|i| f32::from(i) / 7.0).collect())
    );
    let images = open_nchw(fixture("f64_big_nchw.npy")).unwrap();
    assert_eq!(
        images.pixels,
        Pixels::F32((0..48u8).map(|i| (f64::from(i) / 7.0) as f32).collect())
    );
}

#[test]
fn arrays_that_are_no_images_are_named() {
    for (name, expected) in [
        ("structured.npy", "numpy.save"),
        ("object.npy", "number type"),
    ] {
        let message = open_nchw(fixture(name)).unwrap_err().to_string();
        assert!(
            message.contains(expected) && message.contains(name),
            "{message}"
        );
    }
}

#[test]
fn archives_as_numpy_wrote_them() {
    let images = open_nchw(fixture("stored.npz")).unwrap();
    assert_eq!(shape(&images), [2, 3, 2, 4]);
    assert_eq!(images.pixels, Pixels::U8((0..48).collect()));
    assert_eq!(images.labels.as_deref(), Some(&[3, 1][..]));

    let several = fixture("several.npz");
    let error = open_images(&several).unwrap_err();
    assert!(
        matches!(&error, Error::Ambiguous { choices, .. } if choices == &["a_images", "b_images"]),
        "{error}"
    );
    let member = |name: &str| open_nchw(format!("{}:{name}", several.display()));
    let a = member("a_images").unwrap();
    assert_eq!(a.labels.as_deref(), Some(&[4, 5][..]));
    let b = member("b_images").unwrap();
    assert_eq!(
        (b.labels, b.pixels),
        (None, Pixels::U16((0..48).map(|i| i * 1000).collect()))
    );
    let message = member("c").unwrap_err().to_string();
    assert!(
        message.contains("a_images, a_labels, b_images"),
        "{message}"
    );
}

fn gray(path: &Path, seed: u8) -> Vec<u8> {
    let image = ImageBuffer::from_fn(4, 3, |x, y| Luma([seed + (y * 4 + x) as u8]));
    image.save(path).unwrap();
    image.into_raw()
}

#[test]
fn folders_are_read_in_the_byte_order_of_names() {
    let folder = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    for (seed, name) in [(20, "10.png"), (40, "2.png"), (60, "B.PNG"), (80, "a.png")] {
        expected.extend(gray(&folder.path().join(name), seed));
    }
    fs::write(folder.path().join(".hidden"), b"x").unwrap();
    fs::write(folder.path().join("Thumbs.db"), b"x").unwrap();
    let images = open_images(folder.path()).unwrap();
    assert_eq!(shape(&images), [4, 1, 3, 4]);
    assert_eq!(
        images.names.as_ref().unwrap(),
        &["10.png", "2.png", "B.PNG", "a.png"]
    );
    assert_eq!(images.pixels, Pixels::U8(expected));
    assert_eq!(images.labels, None);

    let single = open_images(folder.path().join("2.png")).unwrap();
    assert_eq!(single.names.as_ref().unwrap(), &["2.png"]);
    assert_eq!(single.pixels, images.subset(&[1]).pixels);

    fs::write(folder.path().join("labels.csv"), b"x").unwrap();
    let message = open_images(folder.path()).unwrap_err().to_string();
    assert!(
        message.contains("labels.csv") && message.contains("move it out"),
        "{message}"
    );
}

#[test]
fn depth_and_colour_are_kept_and_planes_separated() {
    let folder = tempfile::tempdir().unwrap();
    let wide = ImageBuffer::from_fn(3, 2, |x, y| Luma([(1000 * y + 257 * x + 30_000) as u16]));
    wide.save(folder.path().join("16.png")).unwrap();
    let images = open_images(folder.path()).unwrap();
    assert_eq!(images.pixels, Pixels::U16(wide.into_raw()));

    let colour = ImageBuffer::from_fn(2, 2, |x, y| {
        Rgb([(x + 2 * y) as u8, 100 + x as u8, 200 + y as u8])
    });
    let path = folder.path().join("rgb.png");
    colour.save(&path).unwrap();
    let images = open_images(&path).unwrap();
    assert_eq!(shape(&images), [1, 3, 2, 2]);
    assert_eq!(
        images.pixels,
        Pixels::U8(vec![0, 1, 2, 3, 100, 101, 100, 101, 200, 200, 201, 201])
    );

    let colour16 = ImageBuffer::from_pixel(1, 2, Rgb([500u16, 600, 65535]));
    colour16.save(&path).unwrap();
    let images = open_images(&path).unwrap();
    assert_eq!(
        images.pixels,
        Pixels::U16(vec![500, 500, 600, 600, 65535, 65535])
    );

    let mixed = open_images(folder.path()).unwrap_err().to_string();
    assert!(
        mixed.contains("rgb.png") && mixed.contains("16.png"),
        "{mixed}"
    );
}

#[test]
fn alpha_is_dropped_only_where_it_says_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    let mut image = ImageBuffer::from_fn(2, 2, |x, _| LumaA([x as u8 * 9, 255]));
    image.save(&path).unwrap();
    assert_eq!(
        open_images(&path).unwrap().pixels,
        Pixels::U8(vec![0, 9, 0, 9])
    );
    image.put_pixel(1, 1, LumaA([9, 254]));
    image.save(&path).unwrap();
    let message = open_images(&path).unwrap_err().to_string();
    assert!(message.contains("transparent"), "{message}");
}

#[test]
fn jpeg_is_read_within_its_loss() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jpg");
    let image = ImageBuffer::from_fn(16, 16, |x, y| Luma([(5 * x + 8 * y) as u8]));
    image.save(&path).unwrap();
    let images = open_images(folder.path()).unwrap();
    assert_eq!(shape(&images), [1, 1, 16, 16]);
    for (at, &expected) in image.as_raw().iter().enumerate() {
        let error = (images.pixels.value(at) - f64::from(expected)).abs();
        assert!(error <= 12.0, "pixel {at} is off by {error}");
    }
    let bytes = fs::read(&path).unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    for length in (0..bytes.len()).rev() {
        file.set_len(length as u64).unwrap();
        assert!(
            open_images(&path).is_err(),
            "cut to {length} of {}",
            bytes.len()
        );
    }
}

#[test]
fn images_of_different_size_are_named() {
    let folder = tempfile::tempdir().unwrap();
    gray(&folder.path().join("a.png"), 0);
    ImageBuffer::from_pixel(4, 4, Luma([1u8]))
        .save(folder.path().join("b.png"))
        .unwrap();
    let message = open_images(folder.path()).unwrap_err().to_string();
    assert!(
        message.contains("1x3x4 of 8 bit as a.png") && message.contains("1x4x4"),
        "{message}"
    );
}

#[test]
fn empty_folders_and_foreign_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let message = open_images(folder.path()).unwrap_err().to_string();
    assert!(message.contains("found none"), "{message}");
    let path = write(folder.path(), "a.txt", b"hello world");
    let message = open_images(path).unwrap_err().to_string();
    assert!(
        message.contains(".npy") && message.contains("a.txt"),
        "{message}"
    );
    assert!(matches!(
        open_images(folder.path().join("none")),
        Err(Error::Io { .. })
    ));
}

#[test]
fn labels_may_be_wide_and_of_either_byte_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(
        folder.path(),
        "x_images.npy",
        &npy("|u1", "(2, 1, 1)", &[1, 2]),
    );
    write(
        folder.path(),
        "x_labels.npy",
        &npy(
            ">i8",
            "(2, 1)",
            &[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0],
        ),
    );
    assert_eq!(
        open_images(&path).unwrap().labels.as_deref(),
        Some(&[1, 256][..])
    );
}
