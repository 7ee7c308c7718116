//! Files, folders, media with a DICOMDIR; attributes that are missing or there twice; what messages do not say.

use std::fs;
use std::path::Path;

use sordino_data::{
    DicomOptions, Error, Images, Reader, open_dicom, open_images, prepare, prepare_path,
};
use sordino_graph::{ColorPolicy, Preprocess, SizePolicy, Window};

use crate::writer::*;
use crate::{read, refused, values, write};

/// An image whose values are bright enough to raise no warning.
fn image(instance: &str, value: u8) -> Elements {
    bytes(instance, [2, 2], &[200 + value; 4])
}

/// A file with an object that has no image.
fn report(folder: &Path, name: &str) {
    let elements = Elements::default().add((0x0010, 0x0010), "PN", "DOE^JANE");
    write(folder, name, &elements, EXPLICIT_LITTLE);
}

fn put(folder: &Path, name: &str, elements: &Elements) {
    if let Some(parent) = folder.join(name).parent() {
        fs::create_dir_all(parent).unwrap();
    }
    write(folder, name, elements, EXPLICIT_LITTLE);
}

fn network() -> Preprocess {
    Preprocess {
        channels: 1,
        height: 2,
        width: 2,
        size: SizePolicy::Refuse,
        input_range: (0.0, 255.0),
        mean: vec![0.0],
        std: vec![1.0],
        allowed: (0.0, 255.0),
        color: ColorPolicy::Refuse,
        window: None,
    }
}

#[test]
fn a_network_with_a_window_takes_values_through_it() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    put(folder, "a", &gray("1.1", [2, 2], 12, &[0, 100, 110, 120]));
    let (center, width) = (110.5, 21.0);
    let network = Preprocess {
        window: Some(Window::Given { center, width }),
        ..network()
    };
    // 100 and 120 are the ends of the window, and 0 is below it.
    let expected = [0.0, 0.0, 0.5, 1.0];
    let prepared = prepare_path(folder, &network, None, 10).unwrap();
    assert_eq!(prepared.values, expected);
    let images = Reader::new().network(&network).images(folder).unwrap();
    assert_eq!(prepare(&images, &network, None).unwrap(), expected);
    for refused in [
        prepare_path(folder, &network, Some((0.0, 4095.0)), 10).err(),
        prepare(&images, &network, Some((0.0, 4095.0))).err(),
    ] {
        assert!(refused.unwrap().to_string().contains("leave out --range"));
    }
}

/// Names and first values of a folder, which all readers agree on.
#[track_caller]
fn rows(folder: &Path) -> Vec<(String, u8)> {
    let images = open_images(folder).unwrap();
    assert_eq!(
        images,
        open_dicom(folder, &DicomOptions::default()).unwrap()
    );
    let prepared = prepare_path(folder, &network(), None, 10).unwrap();
    assert_eq!(prepared.names, images.names);
    assert_eq!(prepared.notes, images.notes);
    let raw: Vec<f64> = prepared
        .values
        .iter()
        .map(|&value| (f64::from(value) * 255.0).round())
        .collect();
    let names = images.names.clone().unwrap();
    let all = values(Ok(images));
    assert_eq!(raw, all);
    names
        .into_iter()
        .zip(all.chunks(4).map(|image| image[0] as u8 - 200))
        .collect()
}

#[test]
fn folders_are_read_in_the_order_of_their_paths() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // A file without an ending, one in a subfolder, hidden ones, and what file managers leave.
    put(folder, "b", &image("1.2", 2));
    put(folder, "a/IM1.dcm", &image("1.3", 3));
    put(folder, "a/IM2.DCM", &image("1.1", 1));
    fs::write(folder.join(".DS_Store"), "x").unwrap();
    fs::write(folder.join("Thumbs.db"), "x").unwrap();
    let expected =
        [("1.3", 3), ("1.1", 1), ("1.2", 2)].map(|(name, value)| (name.to_owned(), value));
    assert_eq!(rows(folder), expected);
    // One file.
    let single = open_images(folder.join("b")).unwrap();
    assert_eq!(single.names.as_deref(), Some(&["1.2".to_owned()][..]));
    // A report has no image.
    report(folder, "c");
    assert_eq!(rows(folder), expected);
    let notes = open_images(folder).unwrap().notes;
    assert!(
        notes[0].contains("1 DICOM files have no image"),
        "{notes:?}"
    );
    // The same image twice.
    put(folder, "d", &image("1.1", 9));
    refused(
        open_images(folder),
        &["SOP Instance UID (0008,0018)", "file 5 of 5", "1.1"],
    );
    fs::remove_file(folder.join("d")).unwrap();
    // Another size, another depth.
    put(folder, "d", &bytes("1.9", [1, 4], &[0; 4]));
    refused(open_images(folder), &["1x2x2", "1x1x4", "1.9"]);
    put(folder, "d", &gray("1.9", [2, 2], 12, &[0; 4]));
    refused(open_images(folder), &["8 bit", "16 bit", "file 5 of 5"]);
    fs::remove_file(folder.join("d")).unwrap();
    // Nothing but reports.
    fs::remove_file(folder.join("b")).unwrap();
    fs::remove_dir_all(folder.join("a")).unwrap();
    refused(open_images(folder), &["DICOM images", "none"]);
}

#[test]
fn mixed_folders_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    put(folder, "x", &image("1.2", 2));
    image::GrayImage::new(2, 2)
        .save(folder.join("a.png"))
        .unwrap();
    let parts = ["1 PNG or JPEG files", "folder of their own"];
    refused(open_images(folder), &parts);
    fs::remove_file(folder.join("a.png")).unwrap();
    fs::write(folder.join("DOE-JANE.txt"), "notes").unwrap();
    let error = open_images(folder).unwrap_err().to_string();
    assert!(
        error.contains("file 1 of 2") && !error.contains("DOE"),
        "{error}"
    );
    // Without DICOM files a folder is one of pictures.
    fs::remove_file(folder.join("x")).unwrap();
    refused(open_images(folder), &["flat folder of PNG or JPEG"]);
    refused(
        open_dicom(folder, &DicomOptions::default()),
        &["DICOM files", "none"],
    );
}

/// A DICOMDIR with records of these types and files.
fn directory(records: &[(&str, &str)]) -> Elements {
    let record = |&(kind, file): &(&str, &str)| {
        let record = Elements::default().add((0x0004, 0x1430), "CS", kind);
        match file {
            "" => record.add((0x0010, 0x0010), "PN", "DOE^JANE"),
            file => record.add((0x0004, 0x1500), "CS", file),
        }
    };
    let records: Vec<Elements> = records.iter().map(record).collect();
    Elements::default().add((0x0004, 0x1220), "SQ", records)
}

#[test]
fn a_medium_is_read_as_its_directory_says() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // Names in small letters, as some systems copy media.
    put(folder, "pat1/st1/im1", &image("1.1", 1));
    put(folder, "pat1/st1/im2", &image("1.2", 2));
    put(folder, "pat1/st1/im3", &image("1.3", 3));
    fs::write(folder.join("VIEWER.EXE"), "MZ").unwrap();
    fs::write(folder.join("logo.png"), "no picture").unwrap();
    let path = |file: &str| format!("PAT1\\ST1\\{file}");
    let listed = [
        ("PATIENT", ""),
        ("IMAGE", &path("IM3")),
        ("SR DOCUMENT", "PAT1\\REPORT"),
        ("IMAGE", &path("IM1")),
    ];
    for name in ["DICOMDIR", "dicomdir"] {
        put(folder, name, &directory(&listed));
        assert_eq!(rows(folder), [("1.3".to_owned(), 3), ("1.1".to_owned(), 1)]);
        fs::remove_file(folder.join(name)).unwrap();
    }
    for (file, expected) in [
        (path("IM9"), "the file of image 1"),
        ("..\\PAT1".to_owned(), "Referenced File ID (0004,1500)"),
        ("/etc/passwd".to_owned(), "Referenced File ID (0004,1500)"),
        ("PAT1\\\\IM1".to_owned(), "Referenced File ID (0004,1500)"),
        ("PAT1".to_owned(), "a folder or device"),
    ] {
        put(folder, "DICOMDIR", &directory(&[("IMAGE", &file)]));
        let error = open_images(folder).unwrap_err().to_string();
        assert!(error.contains(expected), "{file}: {error}");
        assert!(!error.contains("passwd"), "{error}");
    }
    put(folder, "DICOMDIR", &directory(&[("PATIENT", "")]));
    refused(open_images(folder), &["DICOMDIR", "images"]);
}

#[test]
fn more_images_than_the_network_takes() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for index in 0..4 {
        put(
            folder,
            &index.to_string(),
            &image(&format!("1.{index}"), index),
        );
    }
    let too_many = |most| match prepare_path(folder, &network(), None, most) {
        Err(Error::TooMany { found, most, .. }) => Some((found, most)),
        other => other.map(|_| None).unwrap(),
    };
    assert_eq!(too_many(4), None);
    assert_eq!(too_many(3), Some((4, 3)));
    let frames = bytes("1.9", [2, 2], &[7; 12]).add(FRAMES, "IS", "3");
    put(folder, "frames", &frames);
    assert_eq!(too_many(6), Some((7, 6)));
    assert_eq!(too_many(7), None);
}

#[test]
fn what_a_file_lacks_or_has_twice_is_named() {
    let image = gray("1.2", [1, 2], 12, &[1, 2]);
    for (tag, name, vr, value) in [
        (
            INSTANCE,
            "SOP Instance UID (0008,0018)",
            "UI",
            Value::from("1.3"),
        ),
        (SAMPLES, "Samples per Pixel (0028,0002)", "US", 1.into()),
        (
            PHOTOMETRIC,
            "Photometric Interpretation (0028,0004)",
            "CS",
            "MONOCHROME2".into(),
        ),
        (ROWS, "Rows (0028,0010)", "US", 1.into()),
        (COLUMNS, "Columns (0028,0011)", "US", 2.into()),
        (ALLOCATED, "Bits Allocated (0028,0100)", "US", 16.into()),
        (STORED, "Bits Stored (0028,0101)", "US", 12.into()),
        (HIGH_BIT, "High Bit (0028,0102)", "US", 11.into()),
        (
            REPRESENTATION,
            "Pixel Representation (0028,0103)",
            "US",
            0.into(),
        ),
        (PIXELS, "Pixel Data (7fe0,0010)", "OW", vec![1u16, 2].into()),
    ] {
        refused(read(&image.clone().without(tag)), &[name, "none"]);
        refused(read(&image.clone().add(tag, vr, value)), &[name, "twice"]);
        if tag != PIXELS {
            refused(
                read(&image.clone().set(tag, vr, Value::Bytes(vec![]))),
                &[name, "none"],
            );
        }
    }
    for (tag, name, value) in [
        (ALLOCATED, "Bits Allocated", 12),
        (STORED, "Bits Stored", 17),
        (STORED, "Bits Stored", 0),
        (HIGH_BIT, "High Bit", 10),
        (HIGH_BIT, "High Bit", 16),
        (REPRESENTATION, "Pixel Representation", 2),
        (ROWS, "height", 0),
        (ROWS, "Pixel Data", 2),
        (ROWS, "height", 20000),
    ] {
        refused(read(&image.clone().set(tag, "US", value)), &[name]);
    }
    refused(
        read(&image.clone().set(ROWS, "US", vec![1u16, 1])),
        &["Rows", "2 values"],
    );
    refused(
        read(&image.clone().set(ROWS, "SQ", vec![Elements::default()])),
        &["Rows", "sequence"],
    );
    // What images do not need may be there as often as it likes.
    let name = (0x0010, 0x0010);
    let twice = image.add(name, "PN", "DOE^JANE").add(name, "PN", "DOE^JIM");
    assert_eq!(values(read(&twice)), [1.0, 2.0]);
}

#[test]
fn messages_have_no_text_of_the_file() {
    const NAME: &str = "DOE^JANE";
    let image = gray("1.2", [1, 2], 12, &[1, 2]);
    for (tag, vr) in [
        (INSTANCE, "UI"),
        (PHOTOMETRIC, "CS"),
        (FRAMES, "IS"),
        (ROWS, "US"),
        (SPACING, "DS"),
        (SLOPE, "DS"),
        ((0x2050, 0x0020), "CS"),
        ((0x0028, 0x0120), "US"),
        (MODALITY_TABLES, "LO"),
    ] {
        let images = read(&image.clone().set(tag, vr, NAME));
        let text = match images {
            Ok(Images { names, notes, .. }) => format!("{names:?} {notes:?}"),
            Err(error) => format!("{error} {error:?}"),
        };
        assert!(
            !text.contains("DOE") && !text.contains("JANE"),
            "{tag:?}: {text}"
        );
    }
    // The transfer syntax.
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "a", &image, NAME);
    let error = open_images(path).unwrap_err().to_string();
    assert!(
        error.contains("Transfer Syntax UID") && !error.contains("DOE"),
        "{error}"
    );
}

#[test]
fn what_writers_get_wrong_and_can_only_mean_one_thing() {
    let image = gray("1.2", [1, 2], 12, &[1, 2]).add((0x0008, 0x0016), "UI", "1.2");
    // A data set without types under a syntax that has them, and the other way round.
    let folder = tempfile::tempdir().unwrap();
    let file = image.file(EXPLICIT_LITTLE);
    let head = file.len() - image.bytes(EXPLICIT_LITTLE).len();
    let untyped = [&file[..head], &image.bytes(IMPLICIT_LITTLE)].concat();
    let path = folder.path().join("untyped");
    fs::write(&path, untyped).unwrap();
    assert_eq!(values(open_images(&path)), [1.0, 2.0]);
    // A sequence whose type the writer did not know is written without types.
    let inner = Elements::default().add((0x0028, 0x0010), "US", 77).add(
        (0x0040, 0xa730),
        "SQ",
        vec![Elements::default().add((0x0028, 0x0011), "US", 7)],
    );
    let unknown = Elements::default().add((0x0009, 0x1001), "UN", vec![inner]);
    let mut bytes = unknown.bytes(IMPLICIT_LITTLE);
    bytes.splice(4..4, *b"UN\0\0");
    let at = head + image.clone().without(PIXELS).bytes(EXPLICIT_LITTLE).len();
    let with = [&file[..at], &bytes, &file[at..]].concat();
    fs::write(&path, with).unwrap();
    assert_eq!(values(open_images(&path)), [1.0, 2.0]);
    // A little more than needed, and much more.
    let padded = bytes_of(100, 104);
    assert!(read(&padded).unwrap().notes[0].contains("more bytes of pixels"));
    refused(read(&bytes_of(100, 120)), &["Pixel Data", "120"]);
}

fn bytes_of(pixels: u16, found: usize) -> Elements {
    bytes("1.2", [1, pixels], &vec![1; found])
}
