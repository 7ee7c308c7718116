//! The binary version of CIFAR-10: records of one label byte and three planes of 32x32 bytes, nothing else.

use std::path::Path;

use super::Sink;
use crate::images::CheckedShape;
use crate::prepare_path::Bounds;
use crate::source::{Source, open_file};
use crate::{Error, Images, Pixels};

const RECORD_BYTES: u64 = 1 + 3 * 32 * 32;
const CLASSES: u8 = 10;

/// Reads one file of records, of as many images as are taken.
pub(crate) fn parts(path: &Path, bounds: &Bounds<'_>, sink: &mut Sink) -> Result<(), Error> {
    let (_, length) = open_file(path)?;
    bounds.check_count(length / RECORD_BYTES, &path.display().to_string())?;
    let images = read_batch(path)?;
    sink(Images {
        labels: None,
        ..images
    })
}

/// Reads one file of records.
pub(crate) fn read_batch(path: &Path) -> Result<Images, Error> {
    let location = path.display().to_string();
    let (_, length) = open_file(path)?;
    if length == 0 || !length.is_multiple_of(RECORD_BYTES) {
        let expected = format!("CIFAR-10 records of {RECORD_BYTES} bytes each");
        let found = format!("{length} bytes");
        let advice = "fetch the binary version of CIFAR-10 again (CIFAR-100 has other records and is not read)";
        return Err(Error::malformed(location, expected, found, advice));
    }
    let shape = CheckedShape::new([length / RECORD_BYTES, 3, 32, 32], 1, &location)?;
    let mut source = Source::open(path)?;
    let mut records = source.bytes(length)?;
    source.finish()?;
    let labels: Vec<u16> = records
        .chunks_exact(RECORD_BYTES as usize)
        .map(|record| u16::from(record[0]))
        .collect();
    if let Some(index) = labels.iter().position(|&label| label >= u16::from(CLASSES)) {
        let found = format!("{} in record {index}", labels[index]);
        let advice = "check that this is a CIFAR-10 batch";
        return Err(Error::malformed(location, "labels 0 to 9", found, advice));
    }
    // The labels are squeezed out in place: the batch is in memory once.
    let size = RECORD_BYTES as usize - 1;
    for index in 0..labels.len() {
        let start = index * (size + 1) + 1;
        records.copy_within(start..start + size, index * size);
    }
    records.truncate(labels.len() * size);
    let pixels = Pixels::U8(records);
    Images::new(shape.image(), pixels, Some(labels), None, location)
}
