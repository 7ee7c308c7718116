//! Preprocessing: numbers, sizes, and what it refuses.

use proptest::prelude::*;
use sordino_data::{Error, Images, Pixels, prepare, shift};
use sordino_fault::{Classified, Fault};
use sordino_graph::{ColorPolicy, Preprocess, SizePolicy};

fn preprocess(channels: usize, height: usize, width: usize) -> Preprocess {
    Preprocess {
        channels,
        height,
        width,
        size: SizePolicy::Refuse,
        input_range: (0.0, 255.0),
        mean: (0..channels)
            .map(|channel| 0.1 * (channel + 1) as f64)
            .collect(),
        std: (0..channels)
            .map(|channel| 0.5 / (channel + 1) as f64)
            .collect(),
        allowed: (0.0, 255.0),
        color: ColorPolicy::Refuse,
        window: None,
    }
}

fn images(shape: (usize, usize, usize), pixels: Pixels) -> Images {
    let count = pixels.len() / (shape.0 * shape.1 * shape.2);
    let names = (0..count).map(|index| format!("{index}.png")).collect();
    Images::new(shape, pixels, None, Some(names), "folder").unwrap()
}

#[test]
fn values_are_scaled_and_normalized_by_channel() {
    let images = images((2, 1, 2), Pixels::U8(vec![0, 255, 51, 102]));
    let prepared = prepare(&images, &preprocess(2, 1, 2), None).unwrap();
    // (0 - 0.1) / 0.5, (1 - 0.1) / 0.5, (0.2 - 0.2) / 0.25, (0.4 - 0.2) / 0.25
    for (found, expected) in prepared.iter().zip([-0.2, 1.8, 0.0, 0.8]) {
        assert!((found - expected).abs() < 1e-6, "{prepared:?}");
    }
}

#[test]
fn one_picture_in_every_kind_of_value_is_the_same_input() {
    let plan = preprocess(1, 2, 2);
    let bytes = images((1, 2, 2), Pixels::U8(vec![0, 64, 128, 255]));
    let expected = prepare(&bytes, &plan, None).unwrap();
    let words = images(
        (1, 2, 2),
        Pixels::U16([0, 64, 128, 255].map(|v: u16| v * 257).to_vec()),
    );
    let unit = images(
        (1, 2, 2),
        Pixels::F32([0.0, 64.0, 128.0, 255.0].map(|v: f32| v / 255.0).to_vec()),
    );
    for (images, range) in [(words, (0.0, 65535.0)), (unit, (0.0, 1.0))] {
        let found = prepare(&images, &plan, Some(range)).unwrap();
        assert!(
            found
                .iter()
                .zip(&expected)
                .all(|(a, b)| (a - b).abs() < 1e-5),
            "{found:?} {expected:?}"
        );
    }
    // A range of half the depth doubles every value, and moves what is accepted with it.
    let half = images((1, 2, 2), Pixels::U8(vec![0, 32, 64, 127]));
    let found = prepare(&half, &plan, Some((0.0, 127.5))).unwrap();
    assert!(
        found[..3]
            .iter()
            .zip(&expected)
            .all(|(a, b)| (a - b).abs() < 1e-5)
    );
    assert!(matches!(
        prepare(&bytes, &plan, Some((0.0, 127.5))),
        Err(Error::Value { .. })
    ));
}

#[test]
fn another_shape_is_refused_with_both() {
    let error = prepare(
        &images((1, 3, 2), Pixels::U8(vec![0; 6])),
        &preprocess(1, 2, 3),
        None,
    )
    .unwrap_err();
    assert!(matches!(error, Error::Shape { .. }) && error.fault() == Fault::BadFile);
    let message = error.to_string();
    assert!(
        message.contains("1x2x3") && message.contains("1x3x2"),
        "{message}"
    );
    let message = prepare(
        &images((1, 2, 2), Pixels::U8(vec![0; 4])),
        &preprocess(3, 2, 2),
        None,
    )
    .unwrap_err()
    .to_string();
    assert!(message.contains("RGB"), "{message}");
    // Resizing changes the size, never the number of channels.
    let plan = Preprocess {
        size: SizePolicy::Resize,
        ..preprocess(3, 2, 2)
    };
    assert!(matches!(
        prepare(&images((1, 2, 2), Pixels::U8(vec![0; 4])), &plan, None),
        Err(Error::Shape { .. })
    ));
}

#[test]
fn values_that_are_not_accepted_name_their_image() {
    for (bad, expected) in [
        (f32::NAN, "finite"),
        (f32::INFINITY, "finite"),
        (-1.0, "--range"),
        (255.1, "--range"),
    ] {
        let mut values = vec![100.0; 12];
        values[9] = bad;
        let error = prepare(
            &images((1, 2, 2), Pixels::F32(values)),
            &preprocess(1, 2, 2),
            None,
        )
        .unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains("image 2 (2.png)") && message.contains(expected),
            "{message}"
        );
    }
    let wide = images((1, 1, 2), Pixels::U16(vec![0, 256]));
    let message = prepare(&wide, &preprocess(1, 1, 2), None)
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("16-bit") && message.contains("0..65535"),
        "{message}"
    );
    // Accepted values may reach further than the scale, or less far.
    let plan = Preprocess {
        allowed: (-10.0, 300.0),
        ..preprocess(1, 1, 2)
    };
    assert!(prepare(&wide, &plan, None).is_ok());
}

#[test]
fn ranges_that_make_no_sense_are_refused() {
    let black = images((1, 1, 2), Pixels::U8(vec![0, 1]));
    for range in [
        (1.0, 1.0),
        (2.0, 1.0),
        (f64::NAN, 1.0),
        (0.0, f64::INFINITY),
    ] {
        let error = prepare(&black, &preprocess(1, 1, 2), Some(range)).unwrap_err();
        assert!(matches!(error, Error::Range { .. }), "{error}");
    }
    let unit = images((1, 1, 2), Pixels::F32(vec![0.0, 1.0]));
    let message = prepare(&unit, &preprocess(1, 1, 2), None)
        .unwrap_err()
        .to_string();
    assert!(message.contains("--range 0..1"), "{message}");
    // Said on purpose, it is done.
    let found = prepare(&unit, &preprocess(1, 1, 2), Some((0.0, 255.0))).unwrap();
    assert!(found[1] < 0.0, "{found:?}");
    let bad = Preprocess {
        std: vec![0.0],
        ..preprocess(1, 1, 2)
    };
    assert!(matches!(
        prepare(&black, &bad, None),
        Err(Error::Preprocess(_))
    ));
}

#[test]
fn resizing_keeps_constants_means_and_order() {
    let plan = Preprocess {
        size: SizePolicy::Resize,
        mean: vec![0.0],
        std: vec![1.0],
        ..preprocess(1, 2, 2)
    };
    let constant = images((1, 5, 3), Pixels::U8(vec![51; 15]));
    let found = prepare(&constant, &plan, None).unwrap();
    assert!(
        found.iter().all(|value| (value - 0.2).abs() < 1e-5),
        "{found:?}"
    );
    // Two flat halves stay apart; shrinking by two mixes neighbours only.
    let halves = images(
        (1, 2, 8),
        Pixels::U8([[0; 4], [255; 4], [0; 4], [255; 4]].concat()),
    );
    let found = prepare(&halves, &plan, None).unwrap();
    assert!(
        found[0] < 0.15 && found[1] > 0.85 && (found[0] - found[2]).abs() < 1e-6,
        "{found:?}"
    );
    assert!((found[0] + found[1] - 1.0).abs() < 1e-5, "{found:?}");
    // Values beyond the scale survive where they are accepted.
    let plan = Preprocess {
        allowed: (-510.0, 510.0),
        ..plan
    };
    let bright = images((1, 4, 4), Pixels::U16(vec![510; 16]));
    let found = prepare(&bright, &plan, None).unwrap();
    assert!(
        found.iter().all(|value| (value - 2.0).abs() < 1e-5),
        "{found:?}"
    );
    // Enlarging a single row: bilinear, hence monotone and within the ends.
    let plan = Preprocess {
        height: 1,
        width: 7,
        allowed: (0.0, 255.0),
        ..plan
    };
    let found = prepare(&images((1, 1, 2), Pixels::U8(vec![0, 255])), &plan, None).unwrap();
    assert!(
        found.is_sorted() && found[0] >= 0.0 && found[6] <= 1.0,
        "{found:?}"
    );
    assert!((found[3] - 0.5).abs() < 1e-5, "{found:?}");
}

#[test]
fn a_network_that_asks_for_too_much_is_refused() {
    let plan = Preprocess {
        size: SizePolicy::Resize,
        ..preprocess(1, 1 << 20, 1 << 20)
    };
    let error = prepare(&images((1, 1, 1), Pixels::U8(vec![0])), &plan, None).unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
}

#[test]
fn shifts_move_whole_pixels_and_fill_with_zero() {
    let image = images((1, 2, 3), Pixels::U8(vec![1, 2, 3, 4, 5, 6]));
    for (dx, dy, expected) in [
        (0, 0, [1, 2, 3, 4, 5, 6]),
        (1, 0, [0, 1, 2, 0, 4, 5]),
        (-1, 0, [2, 3, 0, 5, 6, 0]),
        (0, 1, [0, 0, 0, 1, 2, 3]),
        (2, -1, [0, 0, 4, 0, 0, 0]),
        (3, 0, [0; 6]),
        (-9, 9, [0; 6]),
        (isize::MIN, isize::MAX, [0; 6]),
    ] {
        assert_eq!(
            shift(&image, dx, dy).pixels,
            Pixels::U8(expected.to_vec()),
            "{dx} {dy}"
        );
    }
}

proptest! {
    #[test]
    fn shift_is_what_its_definition_says(
        (height, width) in (1usize..6, 1usize..6), dx in -7isize..7, dy in -7isize..7,
    ) {
        let values: Vec<u16> = (1..=2 * 3 * height * width).map(|value| value as u16).collect();
        let image = images((3, height, width), Pixels::U16(values.clone()));
        let Pixels::U16(moved) = shift(&image, dx, dy).pixels else { unreachable!() };
        for (at, &found) in moved.iter().enumerate() {
            let (plane, row, column) = (at / (height * width), at / width % height, at % width);
            let from = row.checked_add_signed(-dy).filter(|&r| r < height)
                .zip(column.checked_add_signed(-dx).filter(|&c| c < width));
            let expected = from.map_or(0, |(r, c)| values[(plane * height + r) * width + c]);
            prop_assert_eq!(found, expected);
        }
    }
}

#[test]
fn subsets_keep_what_belongs_together() {
    let images = Images::new(
        (1, 1, 2),
        Pixels::U8(vec![1, 2, 3, 4, 5, 6]),
        Some(vec![7, 8, 9]),
        None,
        "x",
    )
    .unwrap();
    let subset = images.subset(&[2, 0, 2]);
    assert_eq!(subset.pixels, Pixels::U8(vec![5, 6, 1, 2, 5, 6]));
    assert_eq!(subset.labels.as_deref(), Some(&[9, 7, 9][..]));
    let (mut first, rest) = images.split_at(1);
    assert_eq!((first.len(), rest.len()), (1, 2));
    first.append(rest).unwrap();
    assert_eq!(first, images);
    assert_eq!(images.histogram(9), Some(vec![0, 0, 0, 0, 0, 0, 0, 1, 1]));
    let other = Images::new((1, 2, 1), Pixels::U8(vec![1, 2]), Some(vec![0]), None, "y").unwrap();
    assert!(first.append(other).is_err());
}
