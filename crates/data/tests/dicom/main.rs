//! DICOM images: values, files and folders, damage, and files of other writers.

mod damage;
mod files;
mod pydicom;
mod values;
mod writer;

use std::path::{Path, PathBuf};

use sordino_data::{DicomOptions, Error, Images, Pixels, Window, open_dicom};
use writer::Elements;

/// Options with a window.
fn windowed(window: Window) -> DicomOptions {
    DicomOptions {
        window,
        ..DicomOptions::default()
    }
}

/// Writes a file and gives its path.
fn write(folder: &Path, name: &str, elements: &Elements, syntax: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, elements.file(syntax)).unwrap();
    path
}

/// Reads one image from a file of its own.
fn read_as(elements: &Elements, syntax: &str, options: &DicomOptions) -> Result<Images, Error> {
    let folder = tempfile::tempdir().unwrap();
    open_dicom(write(folder.path(), "image", elements, syntax), options)
}

fn read(elements: &Elements) -> Result<Images, Error> {
    read_as(elements, writer::EXPLICIT_LITTLE, &DicomOptions::default())
}

/// Raw values of images.
#[track_caller]
fn values(images: Result<Images, Error>) -> Vec<f64> {
    let Images { pixels, .. } = images.unwrap();
    (0..pixels.len()).map(|at| pixels.value(at)).collect()
}

/// A value is refused with a message that has all these parts.
#[track_caller]
fn refused(images: Result<Images, Error>, parts: &[&str]) {
    let message = images.map(|images| images.pixels).unwrap_err().to_string();
    for part in parts {
        assert!(message.contains(part), "no {part:?} in {message}");
    }
}

fn is_words(images: &Images) -> bool {
    matches!(images.pixels, Pixels::U16(_))
}
