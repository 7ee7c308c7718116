//! Values of pixels: bits, signs, transforms, colours, frames. Expected values are written down from the standard.

use sordino_data::{DicomOptions, Pixels, Window, WindowFunction};

use crate::writer::*;
use crate::{is_words, read, read_as, refused, values, windowed};

const UID: &str = "1.2.3";

/// Numbers with a sign as 16-bit words.
fn signed(values: &[i16]) -> Vec<u16> {
    values.iter().map(|value| value.cast_unsigned()).collect()
}

#[test]
fn every_uncompressed_syntax() {
    let words = gray(UID, [2, 3], 12, &[0, 1, 2, 300, 4094, 4095]);
    let expected = [0.0, 1.0, 2.0, 300.0, 4094.0, 4095.0];
    let rgb = colour(UID, [1, 3], "RGB", &[1, 2, 3, 4, 5, 6, 7, 8, 9]);
    for syntax in [IMPLICIT_LITTLE, EXPLICIT_LITTLE, DEFLATED, EXPLICIT_BIG] {
        let images = read_as(&words, syntax, &DicomOptions::default()).unwrap();
        assert!(is_words(&images), "{syntax}");
        assert_eq!(images.names.as_deref(), Some(&[UID.to_owned()][..]));
        assert_eq!((images.channels, images.height, images.width), (1, 2, 3));
        assert_eq!(values(Ok(images)), expected, "{syntax}");
        let images = read_as(&rgb, syntax, &DicomOptions::default()).unwrap();
        let planes = Pixels::U8(vec![1, 4, 7, 2, 5, 8, 3, 6, 9]);
        assert_eq!(images.pixels, planes, "{syntax}");
    }
    // Bytes in words that have their high byte first.
    let swapped = bytes(UID, [1, 4], &[2, 1, 4, 3]).set(PIXELS, "OW", vec![2u8, 1, 4, 3]);
    let found = read_as(&swapped, EXPLICIT_BIG, &DicomOptions::default());
    assert_eq!(values(found), [1.0, 2.0, 3.0, 4.0]);
    // An uncompressed frame in fragments.
    let fragments = Value::Fragments(vec![vec![], vec![7, 0, 1], vec![1, 9, 0]]);
    let split = gray(UID, [1, 3], 16, &[]).set(PIXELS, "OB", fragments);
    let found = read_as(&split, "1.2.840.10008.1.2.1.98", &DicomOptions::default());
    // Each fragment is filled up to an even length, so that there are more bytes than those of three words.
    assert_eq!(values(found), [7.0, 1.0, 2305.0]);
}

#[test]
fn bits_that_are_not_stored_are_left_out() {
    // An overlay in the upper bits, and a sign.
    let overlay = gray(UID, [1, 3], 12, &[0xf001, 0x8fff, 0x0002]);
    assert_eq!(values(read(&overlay)), [1.0, 4095.0, 2.0]);
    let negative = gray(UID, [1, 3], 12, &[0xf001, 0x8fff, 0x0800]).set(REPRESENTATION, "US", 1);
    assert_eq!(values(read(&negative)), [1.0, -1.0, -2048.0]);
    // Values that lie higher.
    let high = gray(UID, [1, 2], 12, &[0x0010, 0xfff5]).set(HIGH_BIT, "US", 15);
    assert_eq!(values(read(&high)), [1.0, 4095.0]);
    // Bits alone, the lowest first.
    let bits = bytes(UID, [2, 5], &[0b1010_0001, 0b10])
        .set(ALLOCATED, "US", 1)
        .set(STORED, "US", 1)
        .set(HIGH_BIT, "US", 0);
    let expected = [1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0];
    assert_eq!(values(read(&bits)), expected);
    // 32 bits, as far as floating point has them exactly.
    let long = |value: u32| {
        let pixels = value.to_le_bytes().to_vec();
        let long = gray(UID, [1, 1], 16, &[]).set(ALLOCATED, "US", 32);
        let long = long.set(STORED, "US", 32).set(HIGH_BIT, "US", 31);
        read(&long.set(PIXELS, "OW", pixels))
    };
    assert_eq!(values(long(1 << 24)), [16_777_216.0]);
    refused(long((1 << 24) + 1), &["16777216", "Pixel Data"]);
    refused(long(u32::MAX), &["16777216", "Pixel Data"]);
}

#[test]
fn modality_values() {
    let hounsfield = gray(UID, [1, 4], 16, &signed(&[-1000, 0, 1, 2000]))
        .set(REPRESENTATION, "US", 1)
        .add(INTERCEPT, "DS", "-24.5 ")
        .add(SLOPE, "DS", "2");
    assert_eq!(values(read(&hounsfield)), [-2024.5, -24.5, -22.5, 3975.5]);
    // A table over 3..5, whose ends stand for all that is beyond.
    let plain = gray(UID, [1, 5], 8, &[0, 3, 4, 5, 200]);
    let tabled = plain
        .clone()
        .add(MODALITY_TABLES, "SQ", vec![table(3, 16, &[500, 7, 60000])]);
    assert_eq!(values(read(&tabled)), [500.0, 500.0, 7.0, 60000.0, 60000.0]);
    // A table over values with a sign.
    let negative = gray(UID, [1, 3], 16, &signed(&[-2, -1, 0]))
        .set(REPRESENTATION, "US", 1)
        .add(
            MODALITY_TABLES,
            "SQ",
            vec![table((-1i16).cast_unsigned(), 8, &[10, 20])],
        );
    assert_eq!(values(read(&negative)), [10.0, 10.0, 20.0]);
    // Entries of bytes, two in a word.
    let packed = Elements::default()
        .add(TABLE_DESCRIPTOR, "US", vec![3u16, 0, 8])
        .add(TABLE_DATA, "OW", vec![9u8, 8, 7]);
    let packed = plain.clone().add(MODALITY_TABLES, "SQ", vec![packed]);
    assert_eq!(values(read(&packed)), [9.0, 7.0, 7.0, 7.0, 7.0]);
    // One that does nothing leaves whole numbers.
    let same = plain
        .clone()
        .add(INTERCEPT, "DS", "0")
        .add(SLOPE, "DS", "1.000");
    assert!(matches!(read(&same).unwrap().pixels, Pixels::U8(_)));
    refused(
        read(&plain.clone().add(SLOPE, "DS", "2")),
        &["Rescale Intercept (0028,1052)"],
    );
    refused(
        read(&plain.clone().add(INTERCEPT, "DS", "2")),
        &["Rescale Slope (0028,1053)"],
    );
    refused(
        read(&same.clone().set(SLOPE, "DS", "0")),
        &["Rescale Slope"],
    );
    refused(
        read(&same.clone().set(SLOPE, "DS", "1\\2")),
        &["Rescale Slope", "2 values"],
    );
    refused(
        read(&same.clone().set(SLOPE, "DS", "nan")),
        &["Rescale Slope"],
    );
    refused(
        read(&same.add(MODALITY_TABLES, "SQ", vec![table(0, 8, &[1])])),
        &["Modality LUT Sequence", "both"],
    );
    let two = vec![table(0, 8, &[1]), table(0, 8, &[1])];
    refused(
        read(&plain.clone().add(MODALITY_TABLES, "SQ", two)),
        &["Modality LUT Sequence", "several"],
    );
    let wide = vec![table(0, 8, &[256])];
    refused(
        read(&plain.add(MODALITY_TABLES, "SQ", wide)),
        &["LUT Data (0028,3006)"],
    );
}

#[test]
fn white_for_the_smallest_value_is_turned() {
    let turned = |image: &Elements| image.clone().set(PHOTOMETRIC, "CS", "MONOCHROME1");
    let plain = gray(UID, [1, 3], 12, &[0, 5, 4095]);
    assert_eq!(values(read(&turned(&plain))), [4095.0, 4090.0, 0.0]);
    assert!(is_words(&read(&turned(&plain)).unwrap()));
    let scaled = plain
        .clone()
        .add(INTERCEPT, "DS", "10")
        .add(SLOPE, "DS", "2");
    assert_eq!(values(read(&turned(&scaled))), [8200.0, 8190.0, 10.0]);
    let tabled = plain
        .clone()
        .add(MODALITY_TABLES, "SQ", vec![table(0, 10, &[0, 1000])]);
    assert_eq!(values(read(&turned(&tabled))), [1023.0, 23.0, 23.0]);
    let window = windowed(Window::Given {
        centre: 2.0,
        width: 4.0,
        function: WindowFunction::LinearExact,
    });
    let found = |image: &Elements| values(read_as(image, EXPLICIT_LITTLE, &window));
    let image = gray(UID, [1, 3], 12, &[0, 1, 4]);
    assert_eq!(found(&image), [0.0, 63.75, 255.0]);
    assert_eq!(found(&turned(&image)), [255.0, 191.25, 0.0]);
    // What says the same twice must say it.
    let shape = |image: &Elements, shape| read(&image.clone().add((0x2050, 0x0020), "CS", shape));
    assert_eq!(
        values(shape(&turned(&plain), "INVERSE")),
        [4095.0, 4090.0, 0.0]
    );
    refused(
        shape(&turned(&plain), "IDENTITY"),
        &["Presentation LUT Shape (2050,0020)"],
    );
    refused(
        shape(&plain, "INVERSE"),
        &["Presentation LUT Shape (2050,0020)"],
    );
}

#[test]
fn windows() {
    let image = gray(UID, [1, 6], 12, &[0, 10, 14, 15, 20, 30]);
    let of_file = |image: &Elements| read_as(image, EXPLICIT_LITTLE, &windowed(Window::OfFile));
    let with = |function: &str| {
        let image = image.clone().add(CENTRE, "DS", "15").add(WIDTH, "DS", "11");
        match function {
            "" => image,
            function => image.add(FUNCTION, "CS", function),
        }
    };
    // PS3.3, C.11.2.1.2: ((x - (c - 0.5)) / (w - 1) + 0.5), with c = 15 and w = 11.
    let linear = [0.0, 0.05, 0.45, 0.55, 1.0, 1.0];
    let exact = [0.0, 0.5 / 11.0, 4.5 / 11.0, 0.5, 10.5 / 11.0, 1.0];
    let sigmoid =
        [0, 10, 14, 15, 20, 30].map(|x| 1.0 / (1.0 + (-4.0 * f64::from(x - 15) / 11.0).exp()));
    for (function, expected) in [
        ("", linear),
        ("LINEAR", linear),
        ("LINEAR_EXACT", exact),
        ("SIGMOID", sigmoid),
    ] {
        for (found, expected) in values(of_file(&with(function))).into_iter().zip(expected) {
            assert!(
                (found - 255.0 * expected).abs() < 1e-4,
                "{function}: {found} {expected}"
            );
        }
    }
    // The same, given for all.
    let given = windowed(Window::Given {
        centre: 15.0,
        width: 11.0,
        function: WindowFunction::Linear,
    });
    let plain = values(read_as(&image, EXPLICIT_LITTLE, &given));
    assert_eq!(plain, values(of_file(&with(""))));
    let unit = DicomOptions {
        output: (-1.0, 1.0),
        ..given
    };
    let expected = linear.map(|share| (2.0 * share - 1.0) as f32);
    let found = read_as(&image, EXPLICIT_LITTLE, &unit).unwrap().pixels;
    let Pixels::F32(found) = found else { panic!() };
    assert!(
        found
            .iter()
            .zip(expected)
            .all(|(a, b)| (a - b).abs() < 1e-6)
    );
    // After the modality.
    let scaled = with("").add(INTERCEPT, "DS", "5").add(SLOPE, "DS", "1");
    assert_eq!(values(of_file(&scaled))[1], (0.55 * 255.0) as f32 as f64);
    // A table.
    let tabled = image
        .clone()
        .add(VOI_TABLES, "SQ", vec![table(10, 8, &[0, 0, 0, 0, 51, 255])]);
    assert_eq!(
        values(of_file(&tabled)),
        [0.0, 0.0, 51.0, 255.0, 255.0, 255.0]
    );
    // Several views: the first, and a note.
    let several = image
        .clone()
        .add(CENTRE, "DS", "15\\40")
        .add(WIDTH, "DS", "11\\80");
    let found = of_file(&several).unwrap();
    assert!(
        found.notes[0].contains("several windows"),
        "{:?}",
        found.notes
    );
    assert_eq!(values(Ok(found)), plain);
    refused(of_file(&image), &["Window Center (0028,1050)", "none"]);
    refused(
        of_file(&image.clone().add(CENTRE, "DS", "1")),
        &["Window Width (0028,1051)"],
    );
    refused(of_file(&several.set(WIDTH, "DS", "11")), &["Window Width"]);
    refused(
        of_file(&with("").set(WIDTH, "DS", "0.5")),
        &["Window Width", "1 or more"],
    );
    refused(
        of_file(&with("SIGMOID").set(WIDTH, "DS", "0")),
        &["Window Width", "more than 0"],
    );
    refused(of_file(&with("ODD")), &["VOI LUT Function (0028,1056)"]);
    refused(
        of_file(&colour(UID, [1, 1], "RGB", &[1, 2, 3])),
        &["Photometric Interpretation", "gray"],
    );
    for (centre, width) in [(f64::NAN, 5.0), (0.0, 0.0), (0.0, f64::INFINITY)] {
        let function = WindowFunction::Linear;
        let window = windowed(Window::Given {
            centre,
            width,
            function,
        });
        refused(
            read_as(&image, EXPLICIT_LITTLE, &window),
            &["width of at least 1"],
        );
    }
}

#[test]
fn colours() {
    let pixels = |image: &Elements| match read(image).unwrap().pixels {
        Pixels::U8(values) => values,
        other => panic!("{other:?}"),
    };
    let planes = colour(UID, [1, 2], "RGB", &[1, 2, 3, 4, 5, 6]).set(PLANAR, "US", 1);
    assert_eq!(pixels(&planes), [1, 2, 3, 4, 5, 6]);
    // PS3.3, C.7.6.3.1.2: black, white, and (Y, Cb, Cr) of pure red, rounded.
    let full = colour(
        UID,
        [1, 3],
        "YBR_FULL",
        &[0, 128, 128, 255, 128, 128, 76, 85, 255],
    );
    assert_eq!(pixels(&full), [0, 255, 254, 0, 255, 0, 0, 255, 0]);
    let half = colour(UID, [1, 2], "YBR_FULL_422", &[0, 255, 128, 128]);
    assert_eq!(pixels(&half), [0, 255, 0, 255, 0, 255]);
    let palette = |descriptor: [u16; 3], entries: Vec<u16>| {
        (0..3).fold(
            bytes(UID, [1, 3], &[0, 1, 9]).set(PHOTOMETRIC, "CS", "PALETTE COLOR"),
            |image, channel| {
                let shifted: Vec<u16> = entries.iter().map(|entry| entry + channel).collect();
                image
                    .add((0x0028, 0x1101 + channel), "US", descriptor.to_vec())
                    .add((0x0028, 0x1201 + channel), "OW", shifted)
            },
        )
    };
    let image = palette([2, 0, 8], vec![10, 20]);
    assert_eq!(pixels(&image), [10, 20, 20, 11, 21, 21, 12, 22, 22]);
    assert!(is_words(&read(&palette([2, 0, 16], vec![10, 20])).unwrap()));
    refused(
        read(&image.without((0x0028, 0x1202))),
        &["Green Palette Color Lookup Table Data"],
    );
    let deep = gray(UID, [1, 1], 16, &[1, 2, 60000])
        .set(SAMPLES, "US", 3)
        .set(PHOTOMETRIC, "CS", "RGB");
    assert_eq!(
        values(read(&deep.clone().set(PLANAR, "US", 0))),
        [1.0, 2.0, 60000.0]
    );
    refused(read(&deep), &["Planar Configuration (0028,0006)"]);
    refused(
        read(&colour(UID, [1, 1], "YBR_PARTIAL_420", &[0; 6])),
        &["Photometric Interpretation"],
    );
    refused(
        read(&colour(UID, [1, 1], "MONOCHROME2", &[0; 4])),
        &["Samples per Pixel"],
    );
}

#[test]
fn frames() {
    let image = gray(UID, [1, 2], 12, &[1, 2, 3, 4, 5, 6]).add(FRAMES, "IS", "3");
    let found = read(&image).unwrap();
    let names = ["1.2.3#1", "1.2.3#2", "1.2.3#3"].map(String::from);
    assert_eq!(found.names.as_deref(), Some(&names[..]));
    assert_eq!(values(Ok(found)), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    // Values of the frames' own.
    let group = |slope: &str, centre: &str| {
        let values = Elements::default()
            .add(INTERCEPT, "DS", "0")
            .add(SLOPE, "DS", slope);
        let view = Elements::default()
            .add(CENTRE, "DS", centre)
            .add(WIDTH, "DS", "2");
        Elements::default()
            .add(VALUE_TRANSFORMATION, "SQ", vec![values])
            .add(FRAME_VOI, "SQ", vec![view])
    };
    let groups = vec![group("1", "2"), group("10", "30"), group("100", "501")];
    let own = image.clone().add(FRAME_GROUPS, "SQ", groups.clone());
    assert_eq!(values(read(&own)), [1.0, 2.0, 30.0, 40.0, 500.0, 600.0]);
    let found = read_as(&own, EXPLICIT_LITTLE, &windowed(Window::OfFile));
    assert_eq!(
        values(found),
        [0.0, 255.0, 127.5 + 127.5, 255.0, 0.0, 255.0]
    );
    let shared = image
        .clone()
        .add(SHARED_GROUPS, "SQ", vec![group("3", "1")]);
    assert_eq!(values(read(&shared)), [3.0, 6.0, 9.0, 12.0, 15.0, 18.0]);
    refused(
        read(&shared.add(SLOPE, "DS", "1")),
        &["Rescale Slope", "twice"],
    );
    let fewer = image.clone().add(FRAME_GROUPS, "SQ", groups[..2].to_vec());
    refused(
        read(&fewer),
        &["Per-frame Functional Groups Sequence", "3 items"],
    );
    for count in ["0", "-1", "1.5", "x"] {
        refused(
            read(&image.clone().set(FRAMES, "IS", count)),
            &["Number of Frames (0028,0008)"],
        );
    }
    refused(
        read(&image.clone().set(FRAMES, "IS", "70000")),
        &["number of frames", "65536"],
    );
    refused(
        read(&image.clone().set(FRAMES, "IS", "4")),
        &["Pixel Data", "16 bytes"],
    );
    refused(
        read(&image.set(FRAMES, "IS", "2")),
        &["Pixel Data", "8 bytes"],
    );
}

#[test]
fn run_lengths_and_fragments() {
    let packed = |image: &Elements, fragments: Vec<Vec<u8>>| {
        let image = image.clone().set(PIXELS, "OB", Value::Fragments(fragments));
        read_as(&image, RUN_LENGTHS, &DicomOptions::default())
    };
    let one = gray(UID, [1, 4], 16, &[]);
    let frame = run_lengths(&[&[1, 1, 2, 0], &[5, 6, 7, 7]]);
    let expected = [261.0, 262.0, 519.0, 7.0];
    assert_eq!(values(packed(&one, vec![vec![], frame.clone()])), expected);
    // A frame in several fragments.
    let (first, second) = frame.split_at(70);
    let split = vec![vec![], first.to_vec(), second.to_vec()];
    assert_eq!(values(packed(&one, split.clone())), expected);
    let two = one.clone().add(FRAMES, "IS", "2");
    let both = packed(&two, vec![vec![], frame.clone(), frame.clone()]).unwrap();
    assert_eq!(values(Ok(both)), [expected, expected].concat());
    // Two frames in three fragments, told by the table.
    let table = |offsets: &[u32]| {
        offsets
            .iter()
            .flat_map(|at| at.to_le_bytes())
            .collect::<Vec<u8>>()
    };
    let three = |offsets: &[u32]| {
        let fragments = [
            vec![table(offsets)],
            split[1..].to_vec(),
            vec![frame.clone()],
        ];
        packed(&two, fragments.concat())
    };
    let starts = [0, 16 + frame.len() as u32];
    assert_eq!(values(three(&starts)), [expected, expected].concat());
    for wrong in [
        &[][..],
        &[0],
        &[0, 4],
        &[starts[1], 0],
        &[0, 0],
        &[8, starts[1]],
    ] {
        refused(three(wrong), &["Pixel Data", "offset"]);
    }
    refused(packed(&two, vec![vec![], frame.clone()]), &["2 frames"]);
    refused(packed(&one, vec![vec![]]), &["fragments", "none"]);
    refused(packed(&one, vec![]), &["offset table"]);
    let three_samples = colour(UID, [1, 4], "RGB", &[]);
    let segments: [&[u8]; 3] = [&[1, 2, 3, 4], &[5, 5, 5, 5], &[9, 9, 8, 8]];
    let found = packed(&three_samples, vec![vec![], run_lengths(&segments)]);
    assert_eq!(found.unwrap().pixels, Pixels::U8(segments.concat()));
    refused(
        packed(&one, vec![vec![], run_lengths(&segments)]),
        &["3 segments where 2"],
    );
    // Native values under a syntax of fragments, and the other way round.
    let native = gray(UID, [1, 1], 16, &[1]);
    refused(
        read_as(&native, RUN_LENGTHS, &DicomOptions::default()),
        &["Pixel Data", "fragments"],
    );
    let image = one.set(PIXELS, "OB", Value::Fragments(vec![vec![], frame]));
    refused(read(&image), &["Pixel Data", "native values"]);
}

#[test]
fn pixels_that_are_not_square_are_refused() {
    let image = gray(UID, [1, 1], 16, &[1]);
    for (tag, name, vr) in [
        (SPACING, "Pixel Spacing", "DS"),
        ((0x0018, 0x1164), "Imager Pixel Spacing", "DS"),
        ((0x0018, 0x2010), "Nominal Scanned Pixel Spacing", "DS"),
        (ASPECT, "Pixel Aspect Ratio", "IS"),
    ] {
        let with = |text: &str| read(&image.clone().add(tag, vr, text));
        assert_eq!(values(with("7\\7")), [1.0], "{name}");
        refused(with("7\\8"), &[name, "square"]);
        for wrong in ["7", "0\\0", "-1\\-1", "7\\7\\7", "x\\y"] {
            refused(with(wrong), &[name]);
        }
    }
    let measures = Elements::default().add(SPACING, "DS", "1\\2");
    let group = Elements::default().add((0x0028, 0x9110), "SQ", vec![measures]);
    refused(
        read(&image.add(SHARED_GROUPS, "SQ", vec![group])),
        &["Pixel Spacing", "square"],
    );
}
