//! Resizing: the numbers of Pillow and torchvision, and those that old files have always had.

mod common;

use common::{BYTES, network};
use proptest::prelude::*;
use serde::Deserialize;
use sordino_data::{Error, Images, Pixels, prepare, prepare_noted};
use sordino_graph::{ColorPolicy, Filter, Preprocess, SizePolicy};

/// A case of `fixtures/resized.json`, which Pillow 13.0.0 and torchvision 0.29.2 computed.
#[derive(Deserialize)]
struct Case {
    made_by: String,
    image: [usize; 3],
    kind: String,
    size: SizePolicy,
    network: [usize; 3],
    convert: bool,
    values: Vec<f64>,
}

/// The numbers that the cases were made of.
fn noise(count: usize, bits: u32) -> Vec<u16> {
    let mut state = 12345_u64;
    let next = |_| {
        state = (1_103_515_245 * state + 12345) % (1 << 31);
        (state >> (31 - bits)) as u16
    };
    (0..count).map(next).collect()
}

fn images([channels, height, width]: [usize; 3], pixels: Pixels) -> Images {
    Images::new((channels, height, width), pixels, None, None, "made up").unwrap()
}

#[test]
fn pixels_are_those_of_pillow_and_torchvision() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("fixtures/resized.json")).unwrap();
    assert!(cases.len() > 20);
    for case in cases {
        let count = case.image.iter().product();
        let (pixels, range) = match &*case.kind {
            "u8" => {
                let bytes = noise(count, 8).into_iter().map(|value| value as u8);
                (Pixels::U8(bytes.collect()), BYTES)
            }
            "u16" => (Pixels::U16(noise(count, 16)), (0.0, 65535.0)),
            _ => {
                let shares = noise(count, 16)
                    .into_iter()
                    .map(|value| f32::from(value) / 65536.0);
                (Pixels::F32(shares.collect()), (0.0, 1.0))
            }
        };
        let color = match case.convert {
            true => ColorPolicy::Convert,
            false => ColorPolicy::Refuse,
        };
        let plan = Preprocess {
            size: case.size,
            color,
            ..network(case.network, range)
        };
        let found = prepare(&images(case.image, pixels), &plan, None).unwrap();
        let expected: Vec<f32> = case
            .values
            .iter()
            .map(|value| (value / range.1) as f32)
            .collect();
        let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs());
        let worst = worst.fold(0.0, f32::max);
        // Bytes and words are the same; single precision rounds once more.
        assert!(
            found.len() == expected.len() && worst < 2e-7,
            "{}: {:?}: {worst}",
            case.made_by,
            case.size
        );
    }
}

/// What version 0.1.0 computed, with `size: resize` in the file.
#[test]
fn old_files_keep_their_pixels() {
    let old = r#"{"channels":1,"height":2,"width":3,"size":"resize","input_range":[0.0,255.0],"mean":[0.1],"std":[0.5],"allowed":[0.0,255.0]}"#;
    let plan: Preprocess = serde_json::from_str(old).unwrap();
    assert_eq!(serde_json::to_string(&plan).unwrap(), old);
    let bytes = noise(35, 8).into_iter().map(|value| value as u8).collect();
    let found = prepare(&images([1, 5, 7], Pixels::U8(bytes)), &plan, None).unwrap();
    let expected = [
        1062931695, 1061489376, 1060979692, 1065423921, 1061990385, 1063147439,
    ];
    let found: Vec<u32> = found.iter().map(|value| value.to_bits()).collect();
    assert_eq!(found, expected);
}

#[test]
fn what_cannot_be_fitted_is_refused() {
    let gray = images([1, 4, 4], Pixels::U8(vec![9; 16]));
    let colour = images([3, 4, 4], Pixels::U8(vec![9; 48]));
    let (filter, plain) = (Filter::Bilinear, network([3, 2, 2], BYTES));
    let stretch = SizePolicy::Stretch {
        filter,
        height: 2,
        width: 2,
    };
    for (images, network, expected) in [
        (
            &gray,
            Preprocess {
                size: stretch,
                ..plain.clone()
            },
            "without converting",
        ),
        (
            &colour,
            Preprocess {
                size: stretch,
                ..network([1, 2, 2], BYTES)
            },
            "without converting",
        ),
        (
            &gray,
            Preprocess {
                color: ColorPolicy::Convert,
                ..plain.clone()
            },
            "trained without resizing",
        ),
        (
            &colour,
            Preprocess {
                color: ColorPolicy::Convert,
                size: stretch,
                ..network([2, 2, 2], BYTES)
            },
            "number of channels",
        ),
        (
            &colour,
            Preprocess {
                size: SizePolicy::Crop { filter, shorter: 1 },
                ..plain.clone()
            },
            "cut out",
        ),
        (
            &colour,
            Preprocess {
                size: SizePolicy::Stretch {
                    filter,
                    height: 3,
                    width: 1,
                },
                ..plain.clone()
            },
            "cut out",
        ),
        (
            &colour,
            Preprocess {
                size: SizePolicy::Crop {
                    filter,
                    shorter: 1 << 20,
                },
                ..plain.clone()
            },
            "16384",
        ),
        (
            &colour,
            Preprocess {
                size: SizePolicy::Resize,
                color: ColorPolicy::Convert,
                ..plain.clone()
            },
            "earlier versions",
        ),
    ] {
        let message = prepare(images, &network, None).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    // A line of pixels becomes no square of gigabytes.
    let line = images([1, 1, 16384], Pixels::U8(vec![9; 16384]));
    let pad = Preprocess {
        size: SizePolicy::Pad { filter },
        ..network([1, 2, 2], BYTES)
    };
    let error = prepare(&line, &pad, None).unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
}

#[test]
fn a_full_fourth_channel_is_opacity_and_another_is_refused() {
    let values = |opacity: u8| Pixels::U8([vec![10; 8], vec![200; 4], vec![opacity; 4]].concat());
    let plan = network([3, 2, 2], BYTES);
    let found = prepare(&images([4, 2, 2], values(255)), &plan, None).unwrap();
    let colour = images([3, 2, 2], Pixels::U8([vec![10; 8], vec![200; 4]].concat()));
    assert_eq!(found, prepare(&colour, &plan, None).unwrap());
    let message = prepare(&images([4, 2, 2], values(254)), &plan, None).unwrap_err();
    assert!(message.to_string().contains("transparent"), "{message}");
    // A network with four channels takes them for what they are.
    let four = prepare(
        &images([4, 2, 2], values(254)),
        &network([4, 2, 2], BYTES),
        None,
    );
    assert_eq!(four.unwrap().len(), 16);
    let floats = images([4, 2, 2], Pixels::F32(vec![1.0; 16]));
    let message = prepare(&floats, &network([3, 2, 2], (0.0, 1.0)), None).unwrap_err();
    assert!(message.to_string().contains("leave out"), "{message}");
}

#[test]
fn only_stretching_is_noted_and_padding_is_black() {
    let bright = images([1, 2, 8], Pixels::U8(vec![255; 16]));
    let filter = Filter::Nearest;
    for (size, noted) in [
        (
            SizePolicy::Stretch {
                filter,
                height: 4,
                width: 4,
            },
            true,
        ),
        (SizePolicy::Crop { filter, shorter: 4 }, false),
        (SizePolicy::Pad { filter }, false),
    ] {
        let plan = Preprocess {
            size,
            ..network([1, 4, 4], BYTES)
        };
        let (found, notes) = prepare_noted(&bright, &plan, None).unwrap();
        assert_eq!(
            notes.iter().any(|note| note.contains("stretched")),
            noted,
            "{notes:?}"
        );
        let black = found.iter().filter(|&&value| value == 0.0).count();
        assert_eq!(
            black,
            if size == (SizePolicy::Pad { filter }) {
                12
            } else {
                0
            }
        );
    }
    // Black is the low end of the range that is given, also where the type does not have it.
    let plan = Preprocess {
        size: SizePolicy::Pad { filter },
        ..network([1, 4, 4], BYTES)
    };
    let found = prepare(&bright, &plan, Some((-0.5, 255.0))).unwrap();
    assert_eq!((found[0], found[4]), (0.0, 1.0));
}

proptest! {
    #[test]
    fn results_stay_within_what_is_accepted(
        (height, width) in (1_usize..20, 1_usize..20), (rows, columns) in (1_usize..9, 1_usize..9),
        filter in prop::sample::select(vec![Filter::Nearest, Filter::Area, Filter::Bilinear, Filter::Bicubic]),
        kind in 0..3, seed in prop::collection::vec(0.0_f32..=1.0, 400),
    ) {
        let values = &seed[..height * width];
        let pixels = match kind {
            0 => Pixels::U8(values.iter().map(|value| (value * 255.0) as u8).collect()),
            1 => Pixels::U16(values.iter().map(|value| (value * 255.0) as u16).collect()),
            _ => Pixels::F32(values.iter().map(|value| value * 255.0).collect()),
        };
        let shorter = rows.max(columns);
        for size in [
            SizePolicy::Stretch { filter, height: rows, width: columns },
            SizePolicy::Crop { filter, shorter },
            SizePolicy::Pad { filter },
        ] {
            let plan = Preprocess { size, ..network([1, rows, columns], BYTES) };
            let found = prepare(&images([1, height, width], pixels.clone()), &plan, Some(BYTES)).unwrap();
            prop_assert_eq!(found.len(), rows * columns);
            prop_assert!(found.iter().all(|value| (0.0..=1.0).contains(value)), "{:?}", found);
        }
    }
}
