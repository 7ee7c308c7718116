//! Small files of every format, made from scratch.

// Every test program uses its own part of these.
#![allow(dead_code)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use sordino_data::{Error, Images, Layout, Reader};
use sordino_graph::{ColorPolicy, Preprocess, SizePolicy};

/// An IDX file of unsigned bytes.
pub(crate) fn idx(dimensions: &[u32], values: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, dimensions.len() as u8];
    bytes.extend(dimensions.iter().flat_map(|d| d.to_be_bytes()));
    bytes.extend_from_slice(values);
    bytes
}

/// Packed as gzip does.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A `.npy` file with a header of its own.
pub(crate) fn npy(descr: &str, shape: &str, values: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values);
    bytes
}

/// The files that NumPy itself wrote; see `fixtures/README.md`.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// Writes a file and gives its path.
pub(crate) fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

/// A `.npy` file of bytes whose first index changes fastest; `values` are in the order in which the last one does.
pub(crate) fn fortran(shape: &[usize], values: &[u8]) -> Vec<u8> {
    let mut stored = vec![0; values.len()];
    for (at, &value) in values.iter().enumerate() {
        let (mut rest, mut stride, mut place) = (at, values.len(), 0);
        for (axis, &size) in shape.iter().enumerate() {
            stride /= size;
            place += rest / stride * shape[..axis].iter().product::<usize>();
            rest %= stride;
        }
        stored[place] = value;
    }
    let shape: String = shape.iter().map(|size| format!("{size}, ")).collect();
    let mut array = npy("|u1", &format!("({shape})"), &stored);
    let place = array
        .windows(5)
        .position(|bytes| bytes == b"False")
        .unwrap();
    // "True" is one letter shorter, and the header may have blanks anywhere.
    array[place..place + 5].copy_from_slice(b" True");
    array
}

/// An archive of arrays.
pub(crate) fn npz(path: &Path, arrays: &[(&str, Vec<u8>)]) {
    let mut archive = zip::ZipWriter::new(fs::File::create(path).unwrap());
    for (name, bytes) in arrays {
        archive
            .start_file(
                format!("{name}.npy"),
                zip::write::SimpleFileOptions::default(),
            )
            .unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap();
}

/// What a network of this size takes.
pub(crate) fn network(shape: [usize; 3], range: (f64, f64)) -> Preprocess {
    let [channels, height, width] = shape;
    Preprocess {
        channels,
        height,
        width,
        size: SizePolicy::Refuse,
        input_range: range,
        mean: vec![0.0; channels],
        std: vec![1.0; channels],
        allowed: range,
        color: ColorPolicy::Refuse,
        window: None,
    }
}

/// The range of raw bytes.
pub(crate) const BYTES: (f64, f64) = (0.0, 255.0);

/// Number, channels, rows and columns.
pub(crate) fn shape(images: &Images) -> [usize; 4] {
    [images.len(), images.channels, images.height, images.width]
}

/// Reads images, and says of arrays that their channels are before rows and columns: the fixtures are too small for the rule.
pub(crate) fn open_nchw(path: impl AsRef<Path>) -> Result<Images, Error> {
    Reader::new().layout(Some(Layout::Nchw)).images(path)
}
