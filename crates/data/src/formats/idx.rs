//! IDX, the format of MNIST: big-endian magic (two zeros, type, number of dimensions), dimensions, values.

use super::Sink;
use crate::array_layout::arrange;
use crate::images::CheckedShape;
use crate::prepare_path::Bounds;
use crate::source::Source;
use crate::{Error, Images, Pixels, Reader};

const UNSIGNED_BYTE: u8 = 0x08;

/// What is said of other files that are compressed with gzip, as only IDX files may be.
const UNPACK: &str = "unpack it first, as with `gunzip`: only IDX files are read compressed";

/// Reads the magic and as many dimensions as it announces.
fn dimensions(source: &mut Source) -> Result<Vec<u64>, Error> {
    let [zero, zero_too, kind, count] = source.array()?;
    if (zero, zero_too) != (0, 0) || !(1..=4).contains(&count) {
        let expected = "an IDX file (magic 0000 08 and 1 to 4 dimensions)";
        let advice = "check that this is the right file";
        let (found, advice) = match [zero, zero_too, kind, count] {
            [0x93, b'N', b'U', b'M'] => ("an array of numpy".to_owned(), UNPACK),
            [b'P', b'K', ..] => ("an archive (zip, npz)".to_owned(), UNPACK),
            [0x89, b'P', b'N', b'G'] | [0xff, 0xd8, ..] => ("a picture".to_owned(), UNPACK),
            other => (
                other.iter().map(|byte| format!("{byte:02x}")).collect(),
                advice,
            ),
        };
        return Err(source.wrong(expected, found, advice));
    }
    if kind != UNSIGNED_BYTE {
        let expected = "IDX values of type 08 (unsigned byte)";
        let found = format!("type {kind:02x}");
        return Err(source.wrong(expected, found, "save other types as .npy"));
    }
    (0..count)
        .map(|_| Ok(u64::from(u32::from_be_bytes(source.array()?))))
        .collect()
}

/// The shape of a file of images.
fn images_shape(source: &mut Source, reader: Reader<'_>) -> Result<CheckedShape, Error> {
    let dimensions = dimensions(source)?;
    let arranged = arrange(&dimensions, reader.network, reader.layout);
    let arranged = arranged.map_err(|why| match dimensions.len() {
        1 => {
            let advice = "give the file of images (its name has images and idx3)";
            source.wrong(
                "images of 3 or 4 dimensions",
                "1 dimension, as label files have",
                advice,
            )
        }
        _ => source.wrong(why.expected, format!("shape {dimensions:?}"), why.advice),
    })?;
    CheckedShape::of(arranged, 1, source.location())
}

/// Reads images.
pub(crate) fn images(mut source: Source, reader: Reader<'_>) -> Result<Images, Error> {
    let shape = images_shape(&mut source, reader)?;
    let pixels = source.bytes(shape.values())?;
    let location = source.finish()?;
    shape.images(Pixels::U8(pixels), &location)
}

/// Reads images part by part.
pub(crate) fn parts(mut source: Source, bounds: &Bounds<'_>, sink: &mut Sink) -> Result<(), Error> {
    let shape = images_shape(&mut source, bounds.reader())?;
    bounds.check(&shape, 1, source.location())?;
    for count in shape.parts(bounds.part(&shape, 1)) {
        let pixels = Pixels::U8(source.bytes(count)?);
        sink(shape.images(pixels, source.location())?)?;
    }
    source.finish().map(drop)
}

/// Reads labels.
pub(crate) fn labels(mut source: Source) -> Result<Vec<u16>, Error> {
    let dimensions = dimensions(&mut source)?;
    let [count] = *dimensions else {
        let found = format!("{} dimensions, as image files have", dimensions.len());
        let advice = "check that the labels file was not mixed up with the images file";
        return Err(source.wrong("labels of 1 dimension", found, advice));
    };
    let labels = source.elements(count, |[label]: [u8; 1]| u16::from(label))?;
    source.finish()?;
    Ok(labels)
}
