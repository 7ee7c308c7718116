//! What is guessed about picture files, folders of them, and files of other formats.

mod common;

use std::fs;
use std::path::Path;

use common::{BYTES, network, shape, write};
use image::{ImageBuffer, Luma, Rgb};
use sordino_data::{Pixels, open_images, prepare_path};
use sordino_graph::{Preprocess, SizePolicy};

fn picture(folder: &Path, name: &str) -> Vec<u8> {
    let path = folder.join(name);
    ImageBuffer::from_fn(4, 3, |x, y| Luma([(40 + 10 * x + 50 * y) as u8]))
        .save(&path)
        .unwrap();
    fs::read(path).unwrap()
}

#[test]
fn bytes_behind_the_end_of_a_picture_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.png", "a.jpg"] {
        let sound = picture(folder.path(), name);
        let path = folder.path().join(name);
        let expected = open_images(&path).unwrap().pixels;
        for behind in [&b"\n"[..], &[0; 100], b"-- boundary --", &sound] {
            fs::write(&path, [&sound[..], behind].concat()).unwrap();
            assert_eq!(open_images(&path).unwrap().pixels, expected, "{name}");
        }
        // A file that is cut stays one, whatever follows.
        for behind in [&b""[..], &[0; 100], b"\n"] {
            fs::write(&path, [&sound[..sound.len() / 2], behind].concat()).unwrap();
            assert!(open_images(&path).is_err(), "{name}");
        }
    }
}

/// A PNG chunk.
fn chunk(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let mut checksum = flate2::Crc::new();
    checksum.update(kind);
    checksum.update(content);
    let length = (content.len() as u32).to_be_bytes();
    [&length, &kind[..], content, &checksum.sum().to_be_bytes()].concat()
}

#[test]
fn pictures_that_are_several_or_for_print_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let sound = picture(folder.path(), "a.png");
    // Behind signature and header.
    let (head, rest) = sound.split_at(8 + 25);
    let animated = [head, &chunk(b"acTL", &[0, 0, 0, 2, 0, 0, 0, 0]), rest].concat();
    let path = write(folder.path(), "a.png", &animated);
    let message = open_images(path).unwrap_err().to_string();
    assert!(message.contains("animation"), "{message}");

    let print = [
        &[0xff, 0xd8, 0xff, 0xc0, 0, 20, 8, 0, 1, 0, 1, 4][..],
        &[1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0, 4, 0x11, 0],
        &[0xff, 0xd9],
    ]
    .concat();
    let path = write(folder.path(), "print.jpg", &print);
    let message = open_images(path).unwrap_err().to_string();
    assert!(message.contains("CMYK"), "{message}");
}

#[test]
fn an_orientation_in_the_metadata_is_told_and_not_applied() {
    let folder = tempfile::tempdir().unwrap();
    let sound = picture(folder.path(), "plain.jpg");
    // An APP1 segment with a TIFF directory of one entry: orientation 6.
    let exif = [
        &b"Exif\0\0II*\0\x08\0\0\0\x01\0"[..],
        &[0x12, 1, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0],
    ]
    .concat();
    let length = (exif.len() as u16 + 2).to_be_bytes();
    let turned = [&sound[..2], &[0xff, 0xe1], &length, &exif, &sound[2..]].concat();
    write(folder.path(), "turned.jpg", &turned);
    let images = open_images(folder.path()).unwrap();
    assert_eq!(shape(&images), [2, 1, 3, 4]);
    assert_eq!(images.subset(&[0]).pixels, images.subset(&[1]).pixels);
    let prepared = prepare_path(folder.path(), &network([1, 3, 4], BYTES), None, 2).unwrap();
    let alone = prepare_path(
        folder.path().join("turned.jpg"),
        &network([1, 3, 4], BYTES),
        None,
        1,
    );
    for notes in [&images.notes, &prepared.notes, &alone.unwrap().notes] {
        assert!(
            notes.len() == 1 && notes[0].contains("turned.jpg"),
            "{notes:?}"
        );
    }
    let plain = open_images(folder.path().join("plain.jpg")).unwrap();
    assert!(plain.notes.is_empty());
}

#[test]
fn what_file_managers_leave_in_a_folder_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    picture(folder.path(), "b.PNG.png");
    fs::rename(folder.path().join("b.PNG.png"), folder.path().join("b.PNG")).unwrap();
    picture(folder.path(), "a.jpg");
    fs::rename(folder.path().join("a.jpg"), folder.path().join("a.JFIF")).unwrap();
    for name in [".DS_Store", "Thumbs.db", "desktop.ini", "._a.jpg"] {
        write(folder.path(), name, b"junk");
    }
    fs::create_dir(folder.path().join("__MACOSX")).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(folder.path().join("b.PNG"), folder.path().join("c.png")).unwrap();
    let images = open_images(folder.path()).unwrap();
    let expected = if cfg!(unix) {
        &["a.JFIF", "b.PNG", "c.png"][..]
    } else {
        &["a.JFIF", "b.PNG"]
    };
    assert_eq!(images.names.as_deref().unwrap(), expected);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("nowhere", folder.path().join("d.png")).unwrap();
        let message = open_images(folder.path()).unwrap_err().to_string();
        assert!(message.contains("d.png"), "{message}");
        fs::remove_file(folder.path().join("d.png")).unwrap();
    }
    fs::create_dir(folder.path().join("cats")).unwrap();
    let message = open_images(folder.path()).unwrap_err().to_string();
    assert!(message.contains("the folder \"cats\""), "{message}");
}

#[test]
fn depth_of_pictures_is_theirs_and_bits_are_spread() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep.png");
    let deep = ImageBuffer::from_fn(2, 1, |x, _| Luma([if x == 0 { 258u16 } else { 65535 }]));
    deep.save(&path).unwrap();
    assert_eq!(
        open_images(&path).unwrap().pixels,
        Pixels::U16(vec![258, 65535])
    );
    let taken = prepare_path(&path, &network([1, 1, 2], BYTES), None, 1);
    let message = taken.unwrap_err().to_string();
    assert!(message.contains("--range 0..65535"), "{message}");
    let taken = prepare_path(&path, &network([1, 1, 2], BYTES), Some((0.0, 65535.0)), 1).unwrap();
    assert_eq!(taken.values, [(258.0 / 65535.0) as f32, 1.0]);
    // One bit a pixel, of which white is 255; and a palette, which is colour.
    let bit = [
        b"\x89PNG\r\n\x1a\n".to_vec(),
        chunk(b"IHDR", &[0, 0, 0, 2, 0, 0, 0, 1, 1, 0, 0, 0, 0]),
        chunk(b"IDAT", &zlib(&[0, 0b0100_0000])),
        chunk(b"IEND", &[]),
    ];
    let path = write(folder.path(), "bit.png", &bit.concat());
    assert_eq!(open_images(path).unwrap().pixels, Pixels::U8(vec![0, 255]));
    let palette = [
        b"\x89PNG\r\n\x1a\n".to_vec(),
        chunk(b"IHDR", &[0, 0, 0, 2, 0, 0, 0, 1, 8, 3, 0, 0, 0]),
        chunk(b"PLTE", &[1, 2, 3, 4, 5, 6]),
        chunk(b"IDAT", &zlib(&[0, 1, 0])),
        chunk(b"IEND", &[]),
    ];
    let path = write(folder.path(), "palette.png", &palette.concat());
    let images = open_images(&path).unwrap();
    assert_eq!(
        (shape(&images), images.pixels),
        ([1, 3, 1, 2], Pixels::U8(vec![4, 1, 5, 2, 6, 3]))
    );
    let message = prepare_path(&path, &network([1, 1, 2], BYTES), None, 1)
        .unwrap_err()
        .to_string();
    assert!(message.contains("gray"), "{message}");
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn stretching_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wide.png");
    ImageBuffer::from_pixel(40, 8, Rgb([200u8; 3]))
        .save(&path)
        .unwrap();
    let resizing = Preprocess {
        size: SizePolicy::Resize,
        ..network([3, 8, 8], BYTES)
    };
    let prepared = prepare_path(&path, &resizing, None, 1).unwrap();
    assert!(
        prepared.notes[0].contains("stretched"),
        "{:?}",
        prepared.notes
    );
}

#[test]
fn files_of_other_formats_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let dicom = |rest: &[u8]| [&[0; 128], &b"DICM"[..], rest].concat();
    // The header's first element says that 4 bytes follow it.
    let head = b"\x02\0\0\0UL\x04\0\x04\0\0\0";
    for (name, bytes, expected) in [
        ("cut.dcm", dicom(b"\x02\0\0\0UL"), "cut short in its header"),
        (
            "cut2.dcm",
            dicom(&[&head[..], b"abcd"].concat()),
            // Where DICOM is read, a length that does not fit is not what is told.
            if cfg!(feature = "dicom") {
                "Transfer Syntax UID"
            } else {
                "cut short in its header"
            },
        ),
        (
            "whole.dcm",
            dicom(&[&head[..], b"abcd\x08\0\x05\0"].concat()),
            // Read where the reader is built in, and then it is one without an image.
            if cfg!(feature = "dicom") {
                "Transfer Syntax UID"
            } else {
                "DICOM is not read"
            },
        ),
        ("noname", dicom(b""), "cut short in its header"),
        (
            "raw.DCM",
            b"\x08\0\x05\0CS\n\0ISO_IR 100".to_vec(),
            "without the mark",
        ),
        ("a.gif", b"GIF89a......".to_vec(), "GIF"),
        ("a.tif", b"II*\0....".to_vec(), "TIFF"),
        ("a.webp", b"RIFF....WEBPVP8 ".to_vec(), "WebP"),
        ("a.bmp", b"BM......".to_vec(), "BMP"),
        ("a.heic", b"\0\0\0\x18ftypheic".to_vec(), "HEIC"),
        ("a.h5", b"\x89HDF\r\n\x1a\n".to_vec(), "HDF5"),
        ("a.pkl", b"\x80\x04\x95...".to_vec(), "pickle"),
        ("empty", Vec::new(), "an empty file"),
        ("a.txt", b"hello world".to_vec(), "another format"),
    ] {
        let path = write(folder.path(), name, &bytes);
        for error in [
            open_images(&path).map(drop).unwrap_err(),
            prepare_path(&path, &network([1, 2, 2], BYTES), None, 1)
                .map(drop)
                .unwrap_err(),
        ] {
            let message = error.to_string();
            assert!(
                message.contains(expected) && message.contains(name),
                "{message}"
            );
        }
    }
    // A picture of another format under the name of a PNG, as phones save them.
    let pictures = folder.path().join("pictures");
    fs::create_dir(&pictures).unwrap();
    write(&pictures, "a.png", b"RIFF....WEBPVP8 ");
    let message = open_images(&pictures).unwrap_err().to_string();
    assert!(
        message.contains("WebP") && message.contains("PNG"),
        "{message}"
    );
    // Archives that are not of arrays.
    for (entry, expected) in [
        ("archive/data.pkl", "PyTorch"),
        ("cats/a.png", "pictures such as cats/a.png"),
    ] {
        let path = folder.path().join("a.zip");
        let mut archive = zip::ZipWriter::new(fs::File::create(&path).unwrap());
        archive
            .start_file(entry, zip::write::SimpleFileOptions::default())
            .unwrap();
        archive.finish().unwrap();
        let message = open_images(&path).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}
