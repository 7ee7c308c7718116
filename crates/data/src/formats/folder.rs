//! A flat folder of PNG and JPEG files.

use std::fs;
use std::io::{BufReader, Cursor, Read};
use std::path::Path;

use image::metadata::Orientation;
use image::{ImageDecoder, ImageError, ImageReader};

use super::{Sink, foreign, jpeg};
use crate::images::{CheckedShape, each};
use crate::prepare_path::Bounds;
use crate::source::{DEFLATE_RATIO, FETCH_AGAIN, open_file, reserve};
use crate::{Error, Images, Pixels};

const FILE_LIMIT: u64 = 256 << 20;
pub(crate) const ENTRY_LIMIT: u64 = 1 << 22;

/// A packed PNG bit may stand for a palette entry of three bytes.
const EXPANSION: u64 = 24;

/// How names of pictures end.
const ENDINGS: [&str; 5] = [".png", ".jpg", ".jpeg", ".jpe", ".jfif"];

// Files that file managers and archivers leave behind.
const IGNORED: [&str; 6] = [
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "icon\r",
    "__macosx",
    "@eadir",
];

/// Whether a file's name is that of a picture.
pub(crate) fn is_picture_name(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    ENDINGS.iter().any(|ending| lower.ends_with(ending))
}

/// Whether a file or folder is passed over.
pub(crate) fn is_ignored(name: &str) -> bool {
    name.starts_with('.') || IGNORED.contains(&&*name.to_ascii_lowercase())
}

/// One image, its values plane by plane.
struct Picture {
    channels: usize,
    height: usize,
    width: usize,
    values: Pixels,
    /// Whether the metadata say that the picture is to be turned or mirrored.
    turned: bool,
}

/// The pictures that are to be turned or mirrored according to their metadata.
#[derive(Default)]
struct Turned {
    count: usize,
    first: String,
}

impl Turned {
    fn see(&mut self, picture: &Picture, name: &str) {
        if picture.turned {
            if self.count == 0 {
                self.first = name.to_owned();
            }
            self.count += 1;
        }
    }

    fn notes(self, origin: &str) -> Vec<String> {
        match self.count {
            0 => Vec::new(),
            count => vec![format!(
                "{origin}: metadata of {count} pictures, such as {}, say that they are to be turned or mirrored; they are taken as they are stored: turn the pixels first if the network was trained that way",
                self.first
            )],
        }
    }
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
    if bytes.starts_with(&[0xff, 0xd8]) {
        match jpeg::walk(&bytes) {
            None => return wrong("a JPEG with its end marker", "a cut file", FETCH_AGAIN),
            Some(jpeg) if jpeg.channels == 4 => {
                return wrong("a gray or RGB JPEG", "one of CMYK", "convert it to RGB");
            }
            Some(_) => {}
        }
    } else if is_animated(&bytes) {
        let advice = "save the picture that is meant on its own";
        return wrong("a PNG with one picture", "an animation", advice);
    }
    let start = &bytes[..bytes.len().min(foreign::MAGIC_BYTES as usize)];
    if !start.starts_with(&[0xff, 0xd8]) && !start.starts_with(b"\x89PNG") {
        return Err(foreign::refusal(path, start));
    }
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|error| Error::io(path, "read", error))?;
    let mut limits = image::Limits::default();
    limits.max_image_width = Some(1 << 14);
    limits.max_image_height = Some(1 << 14);
    reader.limits(limits);
    let decoder = reader.into_decoder();
    let mut decoder = decoder.map_err(|error| undecodable(path, error))?;
    // Metadata that cannot be read say nothing.
    let turned = decoder
        .orientation()
        .is_ok_and(|orientation| orientation != Orientation::NoTransforms);
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
        turned,
    })
}

/// Whether a PNG has several pictures: a chunk `acTL` before the first with pixels.
fn is_animated(png: &[u8]) -> bool {
    let mut rest = png.get(8..).unwrap_or_default();
    while let [a, b, c, d, kind @ ..] = rest {
        match kind.get(..4) {
            Some(b"acTL") => return true,
            None | Some(b"IDAT") => return false,
            Some(_) => {}
        }
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        rest = rest.get(length.saturating_add(12)..).unwrap_or_default();
    }
    false
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
    let mut turned = Turned::default();
    let mut collected: Option<(String, CheckedShape, Pixels)> = None;
    for picture in pictures {
        let (name, mut picture) = picture?;
        turned.see(&picture, &name);
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
        Some((_, shape, pixels)) => {
            let notes = turned.notes(&origin);
            let images = Images::new(shape.image(), pixels, None, Some(names), origin)?;
            Ok(Images { notes, ..images })
        }
        None => Err(no_pictures(origin)),
    }
}

/// Reads one picture.
pub(crate) fn read_single(path: &Path) -> Result<Images, Error> {
    let name = path.file_name().unwrap_or_default();
    let picture = decode(path, None).map(|picture| (name.to_string_lossy().into_owned(), picture));
    collect(std::iter::once(picture), 1, path.display().to_string())
}

/// Reads one picture that is within bounds, and gives notes.
pub(crate) fn single_part(
    path: &Path,
    bounds: &Bounds<'_>,
    sink: &mut Sink,
) -> Result<Vec<String>, Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let origin = path.parent().unwrap_or(Path::new("")).display().to_string();
    let picture = decode(path, Some(bounds))?;
    let mut turned = Turned::default();
    turned.see(&picture, &name);
    sink(picture.alone(&name, &origin)?)?;
    Ok(turned.notes(&path.display().to_string()))
}

/// Reads the pictures of a folder one by one, and gives notes.
///
/// They have the channels and the depth of the first, and a size that the bounds allow.
pub(crate) fn parts(
    path: &Path,
    bounds: &Bounds<'_>,
    sink: &mut Sink,
) -> Result<Vec<String>, Error> {
    let origin = path.display().to_string();
    let names = names(path)?;
    bounds.check_count(names.len() as u64, &origin)?;
    let mut turned = Turned::default();
    let mut first: Option<(usize, u64)> = None;
    for name in &names {
        let picture = decode(&path.join(name), Some(bounds))?;
        turned.see(&picture, name);
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
        Some(_) => Ok(turned.notes(&origin)),
        None => Err(no_pictures(origin)),
    }
}

/// The error of a folder without pictures.
pub(crate) fn no_pictures(origin: String) -> Error {
    let (expected, advice) = ("PNG or JPEG files", "check the path");
    Error::malformed(origin, expected, "none", advice)
}

/// Reads all pictures of a folder, in the byte order of their names.
///
/// Hidden files and those of file managers are passed over. Anything else that is no PNG or JPEG is an error: silently leaving out an image would
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
        if is_ignored(name) {
            continue;
        }
        if entry.path().is_dir() {
            let expected = "a flat folder of PNG or JPEG files";
            let found = format!("the folder {name:?} in it");
            let advice = format!(
                "give one folder of images, such as {}",
                entry.path().display()
            );
            return Err(Error::malformed(origin, expected, found, advice));
        }
        if !is_picture_name(name) {
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
