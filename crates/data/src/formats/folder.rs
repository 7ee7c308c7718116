//! A flat folder of PNG and JPEG files.

use std::fs;
use std::io::{BufReader, Cursor, Read};
use std::path::Path;

use image::{ImageDecoder, ImageError, ImageFormat, ImageReader};

use super::Sink;
use crate::images::{CheckedShape, each};
use crate::prepare_path::Bounds;
use crate::source::{DEFLATE_RATIO, FETCH_AGAIN, open_file, reserve};
use crate::{Error, Images, Pixels};

const FILE_LIMIT: u64 = 256 << 20;
const ENTRY_LIMIT: u64 = 1 << 22;

/// A packed PNG bit may stand for a palette entry of three bytes.
const EXPANSION: u64 = 24;

// Files that file managers leave behind.
const IGNORED: [&str; 2] = ["thumbs.db", "desktop.ini"];

/// One image, its values plane by plane.
struct Picture {
    channels: usize,
    height: usize,
    width: usize,
    values: Pixels,
}

impl Picture {
    /// The picture as images of one.
    fn alone(self, name: &str, origin: &str) -> Result<Images, Error> {
        let shape = (self.channels, self.height, self.width);
        let names = Some(vec![name.to_owned()]);
        Images::new(shape, self.values, None, names, origin)
    }

    /// Shape and depth in words; pictures that fit together have the same.
    fn describe(&self) -> String {
        let (channels, height, width) = (self.channels, self.height, self.width);
        format!(
            "{channels}x{height}x{width} of {} bit",
            8 * self.bytes_a_value()
        )
    }

    fn bytes_a_value(&self) -> u64 {
        match self.values {
            Pixels::U8(_) => 1,
            _ => 2,
        }
    }
}

fn undecodable(path: &Path, error: ImageError) -> Error {
    let (expected, advice) = match error {
        ImageError::IoError(error) if error.kind() == std::io::ErrorKind::OutOfMemory => {
            return Error::io(path, "read", error);
        }
        ImageError::Limits(_) => ("an image within the limits", "resize it"),
        _ => ("a sound PNG or JPEG", "fetch or export it again"),
    };
    let location = path.display().to_string();
    Error::malformed(location, expected, error.to_string(), advice)
}

/// Decodes a file; its header is checked, against the bounds where there are any, before memory is taken for its pixels.
fn decode(path: &Path, bounds: Option<&Bounds<'_>>) -> Result<Picture, Error> {
    let location = path.display().to_string();
    let wrong = |expected: &str, found: &str, advice: &str| {
        Err(Error::malformed(&*location, expected, found, advice))
    };
    let (file, length) = open_file(path)?;
    Error::check_limit(&location, "file size in bytes", length, FILE_LIMIT)?;
    let mut bytes = Vec::new();
    reserve(&mut bytes, length, &location)?;
    BufReader::new(file)
        .take(length)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::io(path, "read", error))?;
    let jpeg = bytes.starts_with(&[0xff, 0xd8]);
    // The JPEG decoder fills up what is missing with gray; a sound file ends with this marker, or with zeros behind it.
    let last = bytes.iter().rposition(|&byte| byte != 0);
    let end = last.map_or(0, |last| last + 1);
    if jpeg && !bytes[..end].ends_with(&[0xff, 0xd9]) {
        return wrong("a JPEG with its end marker", "a cut file", FETCH_AGAIN);
    }
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|error| Error::io(path, "read", error))?;
    if !matches!(reader.format(), Some(ImageFormat::Png | ImageFormat::Jpeg)) {
        let format = reader.format().map(|format| format!("{format:?}"));
        let found = format.as_deref().unwrap_or("another format");
        return wrong("a PNG or JPEG", found, "convert it to PNG");
    }
    let mut limits = image::Limits::default();
    limits.max_image_width = Some(1 << 14);
    limits.max_image_height = Some(1 << 14);
    reader.limits(limits);
    let decoder = reader.into_decoder();
    let decoder = decoder.map_err(|error| undecodable(path, error))?;
    let (width, height) = decoder.dimensions();
    let color = decoder.color_type();
    let channels = u64::from(color.channel_count());
    let bytes_a_value = u64::from(color.bytes_per_pixel()) / channels;
    let dimensions = [1, channels, u64::from(height), u64::from(width)];
    let shape = CheckedShape::new(dimensions, bytes_a_value, &location)?;
    if let Some(bounds) = bounds {
        let opaque = shape.channels - usize::from(color.has_alpha());
        let shape = CheckedShape {
            channels: opaque,
            ..shape
        };
        bounds.check(&shape, bytes_a_value, &location)?;
    }
    if !(1..=2).contains(&bytes_a_value) {
        let found = format!("{color:?}");
        let advice = "convert it to a gray or RGB PNG";
        return wrong("gray or RGB of 8 or 16 bit", &found, advice);
    }
    let total = decoder.total_bytes();
    let possible = length.saturating_mul(DEFLATE_RATIO * EXPANSION);
    if total > possible {
        let expected = format!("at most {possible} bytes of pixels");
        let found = format!("{total} announced");
        return wrong(&expected, &found, FETCH_AGAIN);
    }
    let mut buffer = Vec::new();
    reserve(&mut buffer, total, &location)?;
    buffer.resize(total as usize, 0);
    let decoded = decoder.read_image(&mut buffer);
    decoded.map_err(|error| undecodable(path, error))?;
    let alpha = color.has_alpha();
    let channels = channels as usize;
    let values = match bytes_a_value {
        1 => planes(&buffer, channels, alpha, |[byte]| byte, &location)?.map(Pixels::U8),
        // `image` gives 16-bit values in the machine's own order.
        _ => planes(&buffer, channels, alpha, u16::from_ne_bytes, &location)?.map(Pixels::U16),
    };
    let Some(values) = values else {
        let advice = "flatten it onto a background first";
        return wrong("an opaque image", "transparent pixels", advice);
    };
    Ok(Picture {
        channels: channels - usize::from(alpha),
        height: height as usize,
        width: width as usize,
        values,
    })
}

/// Interleaved values of `W` bytes each, plane by plane. A last channel of opacity is left out; `None` where it is not opaque
/// everywhere.
fn planes<const W: usize, T>(
    buffer: &[u8],
    channels: usize,
    alpha: bool,
    convert: fn([u8; W]) -> T,
    location: &str,
) -> Result<Option<Vec<T>>, Error> {
    let (values, _) = buffer.as_chunks::<W>();
    let plane = |channel: usize| values.iter().skip(channel).step_by(channels);
    let kept = channels - usize::from(alpha);
    if alpha && plane(kept).any(|value| *value != [0xff; W]) {
        return Ok(None);
    }
    let count = values.len() / channels * kept;
    let mut planes = Vec::new();
    reserve(&mut planes, count as u64, location)?;
    planes.extend((0..kept).flat_map(plane).map(|&value| convert(value)));
    Ok(Some(planes))
}

fn collect(
    pictures: impl Iterator<Item = Result<(String, Picture), Error>>,
    count: usize,
    origin: String,
) -> Result<Images, Error> {
    let mut names = Vec::new();
    let mut collected: Option<(String, CheckedShape, Pixels)> = None;
    for picture in pictures {
        let (name, mut picture) = picture?;
        let description = picture.describe();
        match &mut collected {
            None => {
                let shape = [count, picture.channels, picture.height, picture.width];
                let shape = shape.map(|size| size as u64);
                let shape = CheckedShape::new(shape, picture.bytes_a_value(), &origin)?;
                each!(&mut picture.values, values => {
                    reserve(values, shape.values() - values.len() as u64, &origin)?;
                });
                collected = Some((description, shape, picture.values));
            }
            Some((expected, _, pixels)) => {
                if *expected != description || !pixels.append(&picture.values) {
                    let location = format!("{origin}: {name}");
                    let expected = format!("{expected} as {}", names[0]);
                    let advice = "bring all images to one size, number of channels and depth, or move this one out";
                    return Err(Error::malformed(location, expected, description, advice));
                }
            }
        }
        names.push(name);
    }
    match collected {
        Some((_, shape, pixels)) => Images::new(shape.image(), pixels, None, Some(names), origin),
        None => Err(no_pictures(origin)),
    }
}

/// Reads one picture.
pub(crate) fn read_single(path: &Path) -> Result<Images, Error> {
    let name = path.file_name().unwrap_or_default();
    let picture = decode(path, None).map(|picture| (name.to_string_lossy().into_owned(), picture));
    collect(std::iter::once(picture), 1, path.display().to_string())
}

/// Reads one picture that is within bounds.
pub(crate) fn single_part(path: &Path, bounds: &Bounds<'_>, sink: &mut Sink) -> Result<(), Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let origin = path.parent().unwrap_or(Path::new("")).display().to_string();
    decode(path, Some(bounds)).and_then(|picture| sink(picture.alone(&name, &origin)?))
}

/// Reads the pictures of a folder one by one.
///
/// They have the channels and the depth of the first, and a size that the bounds allow.
pub(crate) fn parts(path: &Path, bounds: &Bounds<'_>, sink: &mut Sink) -> Result<(), Error> {
    let origin = path.display().to_string();
    let names = names(path)?;
    bounds.check_count(names.len() as u64, &origin)?;
    let mut first: Option<(usize, u64)> = None;
    for name in &names {
        let picture = decode(&path.join(name), Some(bounds))?;
        let kind = (picture.channels, picture.bytes_a_value());
        let expected = *first.get_or_insert(kind);
        if kind != expected {
            let location = format!("{origin}: {name}");
            let describe = |(channels, bytes)| format!("{channels} channels of {} bit", 8 * bytes);
            let advice =
                "bring all images to one number of channels and depth, or move this one out";
            let expected = format!("{} as {}", describe(expected), names[0]);
            return Err(Error::malformed(location, expected, describe(kind), advice));
        }
        sink(picture.alone(name, &origin)?)?;
    }
    match first {
        Some(_) => Ok(()),
        None => Err(no_pictures(origin)),
    }
}

fn no_pictures(origin: String) -> Error {
    let (expected, advice) = ("PNG or JPEG files", "check the path");
    Error::malformed(origin, expected, "none", advice)
}

/// Reads all pictures of a folder, in the byte order of their names.
///
/// Hidden files are passed over. Anything else that is no PNG or JPEG is an error: silently leaving out an image would
/// shift all that follow.
pub(crate) fn read_folder(path: &Path) -> Result<Images, Error> {
    let names = names(path)?;
    let count = names.len();
    collect(
        names
            .into_iter()
            .map(|name| decode(&path.join(&name), None).map(|picture| (name, picture))),
        count,
        path.display().to_string(),
    )
}

/// The names of all pictures of a folder, in their byte order.
fn names(path: &Path) -> Result<Vec<String>, Error> {
    let origin = path.display().to_string();
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(|error| Error::io(path, "list", error))? {
        let entry = entry.map_err(|error| Error::io(path, "list", error))?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            let (expected, found) = ("file names in UTF-8", name.to_string_lossy());
            return Err(Error::malformed(origin, expected, found, "rename it"));
        };
        let lower = name.to_ascii_lowercase();
        if name.starts_with('.') || IGNORED.contains(&&*lower) {
            continue;
        }
        if !lower.ends_with(".png") && !lower.ends_with(".jpg") && !lower.ends_with(".jpeg") {
            let expected = "a flat folder of PNG or JPEG files";
            let found = format!("{name:?} in it");
            let advice = "move it out, or give the path of one file of images or of another folder";
            return Err(Error::malformed(origin, expected, found, advice));
        }
        names.push(name.to_owned());
        Error::check_limit(&origin, "number of files", names.len() as u64, ENTRY_LIMIT)?;
    }
    names.sort_unstable();
    Ok(names)
}
