//! The suite's file of images, and the array that the next stage reads.

use std::io::{Read, Write};
use std::path::Path;

use rayon::prelude::*;
use sordino_container::{Access, AtomicFile, Error as FileError, Overwrite};

use crate::Error;

/// Rows and columns of an image.
const SIDE: usize = 28;

/// Values of an image.
pub(crate) const PIXELS: usize = SIDE * SIDE;

/// The most bytes that a value may take in the file, its separator included. The suite writes 9.
const BYTES_PER_VALUE: usize = 32;

/// Reads images, one per line, as values separated by white space; empty lines at the end are ignored.
///
/// # Shapes
/// `[images, 784]`.
///
/// # Errors
/// [`Error::Input`] naming the line, for another number of values, for what is no number from 0 to 1, for no image and for more than
/// `most`; [`Error::File`].
pub(crate) fn read_text(path: &Path, most: usize) -> Result<Vec<f32>, Error> {
    let limit = most * PIXELS * BYTES_PER_VALUE;
    let text = read_at_most(path, limit)?;
    let lines: Vec<&str> = text.trim_end().lines().collect();
    if text.trim_end().is_empty() || lines.len() > most {
        return Err(Error::Input {
            location: path.display().to_string(),
            expected: format!("1 to {most} lines, one per image"),
            found: lines.len().to_string(),
        });
    }
    let mut values = vec![0.0; lines.len() * PIXELS];
    let rows = values.par_chunks_exact_mut(PIXELS).zip(lines);
    rows.enumerate().try_for_each(|(number, (row, line))| {
        read_line(line, row).map_err(|(expected, found)| Error::Input {
            location: format!("{}, line {}", path.display(), number + 1),
            expected,
            found,
        })
    })?;
    Ok(values)
}

/// Reads one image; the error is what was expected and what was found.
fn read_line(line: &str, row: &mut [f32]) -> Result<(), (String, String)> {
    let mut words = line.split_ascii_whitespace();
    for (at, value) in row.iter_mut().enumerate() {
        let count = || (format!("{PIXELS} values"), at.to_string());
        let word = words.next().ok_or_else(count)?;
        *value = match word.parse::<f32>() {
            Ok(number) if (0.0..=1.0).contains(&number) => number,
            // A word may be as long as the file.
            _ => {
                let shown: String = word.chars().take(20).collect();
                return Err(("a number from 0 to 1".to_owned(), format!("{shown:?}")));
            }
        };
    }
    match words.count() {
        0 => Ok(()),
        more => Err((format!("{PIXELS} values"), (PIXELS + more).to_string())),
    }
}

fn read_at_most(path: &Path, limit: usize) -> Result<String, Error> {
    let failed = |error| FileError::io(path, "read", error);
    let file = std::fs::File::open(path).map_err(|error| FileError::io(path, "open", error))?;
    let length = file.metadata().map_err(failed)?.len();
    if length > limit as u64 {
        return Err(Error::Input {
            location: path.display().to_string(),
            expected: format!("at most {limit} bytes"),
            found: length.to_string(),
        });
    }
    let mut text = String::with_capacity(length as usize + 1);
    file.take(limit as u64)
        .read_to_string(&mut text)
        .map_err(failed)?;
    Ok(text)
}

/// Writes images as a NumPy array of little-endian f32 that only its owner can read: they are what the encryption protects.
///
/// # Shapes
/// `values` is `[images, 784]`, the array `[images, 1, 28, 28]`.
///
/// # Errors
/// [`Error::File`].
pub(crate) fn write_npy(path: &Path, values: &[f32]) -> Result<(), Error> {
    let count = values.len() / PIXELS;
    let header = format!(
        "{{'descr': '<f4', 'fortran_order': False, 'shape': ({count}, 1, {SIDE}, {SIDE}), }}"
    );
    // Magic, version and length take 10 bytes; values start at a multiple of 64 behind a line feed.
    let padded = (10 + header.len() + 1).next_multiple_of(64) - 10;
    let mut bytes = Vec::with_capacity(10 + padded + 4 * values.len());
    bytes.extend_from_slice(b"\x93NUMPY\x01\x00");
    bytes.extend_from_slice(&(padded as u16).to_le_bytes());
    bytes.extend_from_slice(format!("{header:<width$}\n", width = padded - 1).as_bytes());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    let mut file = AtomicFile::create(path, Overwrite::Replace, Access::OwnerOnly)?;
    file.write_all(&bytes)
        .map_err(|error| FileError::io(path, "write", error))?;
    // It can be made again of the suite's input.
    Ok(file.commit_unsynced()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(value: &str) -> String {
        format!("{}\n", vec![value; PIXELS].join(" "))
    }

    fn read(text: &str, most: usize) -> Result<Vec<f32>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pixels.txt");
        std::fs::write(&path, text).unwrap();
        read_text(&path, most).map_err(|error| error.to_string())
    }

    #[test]
    fn what_the_suite_writes_is_read_back_as_an_array() {
        let text = image("0.000000") + &image("0.501961") + &image("1.000000");
        let values = read(&text, 3).unwrap();
        assert_eq!(values.len(), 3 * PIXELS);
        assert_eq!(
            (values[0], values[PIXELS], values[2 * PIXELS]),
            (0.0, 0.501961, 1.0)
        );
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pixels.npy");
        write_npy(&path, &values).unwrap();
        let images = sordino_data::open_images(&path).unwrap();
        assert_eq!((images.channels, images.height, images.width), (1, 28, 28));
        assert_eq!(images.pixels, sordino_data::Pixels::F32(values));
    }

    #[test]
    fn everything_else_is_refused_with_its_line() {
        let good = image("0.5");
        for (text, most, expected) in [
            (String::new(), 1, "1 to 1 lines"),
            ("\n\n".to_owned(), 1, "1 to 1 lines"),
            (good.clone() + &good, 1, "found 2"),
            (
                good.clone() + "0.5 0.5\n",
                2,
                "line 2: expected 784 values, found 2",
            ),
            (
                good.clone() + &good.replacen("0.5", "0.5 0.5", 1),
                2,
                "found 785",
            ),
            (good.replacen("0.5", "1.5", 1), 1, "\"1.5\""),
            (good.replacen("0.5", "nan", 1), 1, "\"nan\""),
            (good.replacen("0.5", "-0.1", 1), 1, "from 0 to 1"),
            (
                good.replacen("0.5", &"7".repeat(999), 1),
                1,
                "\"77777777777777777777\"",
            ),
            ("9".repeat(PIXELS * BYTES_PER_VALUE + 1), 1, "at most"),
        ] {
            let error = read(&text, most).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
