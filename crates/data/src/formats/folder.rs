//! A flat folder of PNG and JPEG files.

use std::fs;
use std::io::{BufReader, Cursor, Read};
use std::path::Path;

use image::{ColorType, ImageDecoder, ImageError, ImageFormat, ImageReader};

use crate::images::CheckedShape;
use crate::source::{DEFLATE_RATIO, FETCH_AGAIN, open_file, reserve};
use crate::{Error, Images, Pixels};

const FILE_LIMIT: u64 = 256 << 20;
const ENTRY_LIMIT: u64 = 1 << 22;

/// A packed PNG bit may stand for a palette entry of three bytes.
const EXPANSION: u64 = 24;

// Files that file managers leave behind.
const IGNORED: [&str; 2] = ["thumbs.db", "desktop.ini"];

/// Values of one image, interleaved by channel, as decoded.
enum Decoded {
    Bytes(Vec<u8>),
    Words(Vec<u16>),
}

struct Picture {
    channels: usize,
    height: usize,
    width: usize,
    values: Decoded,
}

impl Picture {
    fn describe(&self) -> String {
        let bits = if matches!(self.values, Decoded::Bytes(_)) {
            8
        } else {
            16
        };
        format!(
            "{}x{}x{} of {bits} bit",
            self.channels, self.height, self.width
        )
    }
}

fn undecodable(path: &Path, error: ImageError) -> Error {
    let location = path.display().to_string();
    match error {
        ImageError::Limits(_) => Error::malformed(
            location,
            "an image within the limits",
            error.to_string(),
            "resize it",
        ),
        ImageError::IoError(error) if error.kind() == std::io::ErrorKind::OutOfMemory => {
            Error::io(path, "read", error)
        }
        _ => Error::malformed(
            location,
            "a sound PNG or JPEG",
            error.to_string(),
            "fetch or export it again",
        ),
    }
}

/// Decodes a file; its header is checked before memory is taken for its pixels.
fn decode(path: &Path) -> Result<Picture, Error> {
    let location = path.display().to_string();
    let (file, length) = open_file(path)?;
    Error::check_limit(&location, "file size in bytes", length, FILE_LIMIT)?;
    let mut bytes = Vec::new();
    reserve(&mut bytes, length, &location)?;
    BufReader::new(file)
        .take(length)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::io(path, "read", error))?;
    let jpeg = bytes.starts_with(&[0xff, 0xd8]);
    // The JPEG decoder fills up what is missing with gray; a sound file ends with this marker.
    let end = bytes
        .iter()
        .rposition(|&byte| byte != 0)
        .map_or(0, |last| last + 1);
    if jpeg && !bytes[..end].ends_with(&[0xff, 0xd9]) {
        return Err(Error::malformed(
            location,
            "a JPEG with its end marker",
            "a cut file",
            FETCH_AGAIN,
        ));
    }
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|error| Error::io(path, "read", error))?;
    if !matches!(reader.format(), Some(ImageFormat::Png | ImageFormat::Jpeg)) {
        let found = reader
            .format()
            .map_or("another format".into(), |format| format!("{format:?}"));
        return Err(Error::malformed(
            location,
            "a PNG or JPEG",
            found,
            "convert it to PNG",
        ));
    }
    let mut limits = image::Limits::default();
    limits.max_image_width = Some(1 << 14);
    limits.max_image_height = Some(1 << 14);
    reader.limits(limits);
    let decoder = reader
        .into_decoder()
        .map_err(|error| undecodable(path, error))?;
    let (width, height) = decoder.dimensions();
    let color = decoder.color_type();
    let channels = u64::from(color.channel_count());
    let wide = color.bytes_per_pixel() / color.channel_count() == 2;
    CheckedShape::new(
        [1, channels, u64::from(height), u64::from(width)],
        if wide { 2 } else { 1 },
        &location,
    )?;
    let alpha = match color {
        ColorType::L8 | ColorType::L16 | ColorType::Rgb8 | ColorType::Rgb16 => false,
        ColorType::La8 | ColorType::La16 | ColorType::Rgba8 | ColorType::Rgba16 => true,
        _ => {
            let advice = "convert it to a gray or RGB PNG";
            return Err(Error::malformed(
                location,
                "gray or RGB of 8 or 16 bit",
                format!("{color:?}"),
                advice,
            ));
        }
    };
    let (total, possible) = (
        decoder.total_bytes(),
        length.saturating_mul(DEFLATE_RATIO * EXPANSION),
    );
    if total > possible {
        let (expected, found) = (
            format!("at most {possible} bytes of pixels"),
            format!("{total} announced"),
        );
        return Err(Error::malformed(location, expected, found, FETCH_AGAIN));
    }
    let mut buffer = Vec::new();
    reserve(&mut buffer, total, &location)?;
    buffer.resize(total as usize, 0);
    decoder
        .read_image(&mut buffer)
        .map_err(|error| undecodable(path, error))?;
    let mut channels = channels as usize;
    // `image` gives 16-bit values in the machine's own order.
    let mut values = if wide {
        Decoded::Words(
            buffer
                .as_chunks()
                .0
                .iter()
                .map(|&bytes| u16::from_ne_bytes(bytes))
                .collect(),
        )
    } else {
        Decoded::Bytes(buffer)
    };
    if alpha {
        let opaque = match &mut values {
            Decoded::Bytes(values) => drop_alpha(values, channels, u8::MAX),
            Decoded::Words(values) => drop_alpha(values, channels, u16::MAX),
        };
        if !opaque {
            let advice = "flatten it onto a background first";
            return Err(Error::malformed(
                location,
                "an opaque image",
                "transparent pixels",
                advice,
            ));
        }
        channels -= 1;
    }
    Ok(Picture {
        channels,
        height: height as usize,
        width: width as usize,
        values,
    })
}

/// Removes the last of `channels` interleaved channels; false where it is not opaque everywhere.
fn drop_alpha<T: Copy + PartialEq>(values: &mut Vec<T>, channels: usize, opaque: T) -> bool {
    if values
        .chunks_exact(channels)
        .any(|pixel| pixel[channels - 1] != opaque)
    {
        return false;
    }
    let mut at = 0;
    values.retain(|_| {
        at += 1;
        at % channels != 0
    });
    true
}

/// Appends interleaved values plane by plane.
fn append_planes<T: Copy>(out: &mut Vec<T>, values: &[T], channels: usize) {
    for channel in 0..channels {
        out.extend(values.iter().skip(channel).step_by(channels));
    }
}

fn collect(
    pictures: impl Iterator<Item = Result<(String, Picture), Error>>,
    count: usize,
    origin: String,
) -> Result<Images, Error> {
    let mut names = Vec::new();
    let mut first: Option<(CheckedShape, String, bool)> = None;
    let (mut bytes, mut words) = (Vec::new(), Vec::new());
    for picture in pictures {
        let (name, picture) = picture?;
        let wide = matches!(picture.values, Decoded::Words(_));
        let shape = [
            count as u64,
            picture.channels as u64,
            picture.height as u64,
            picture.width as u64,
        ];
        let shape = CheckedShape::new(shape, if wide { 2 } else { 1 }, &origin)?;
        match &first {
            None => {
                match wide {
                    true => reserve(&mut words, shape.values(), &origin)?,
                    false => reserve(&mut bytes, shape.values(), &origin)?,
                }
                first = Some((shape, format!("{} as {name}", picture.describe()), wide));
            }
            Some((expected, description, expected_wide)) => {
                if *expected != shape || *expected_wide != wide {
                    let advice = "bring all images to one size, number of channels and depth, or move this one out";
                    let location = format!("{origin}: {name}");
                    return Err(Error::malformed(
                        location,
                        description.clone(),
                        picture.describe(),
                        advice,
                    ));
                }
            }
        }
        match &picture.values {
            Decoded::Bytes(values) => append_planes(&mut bytes, values, picture.channels),
            Decoded::Words(values) => append_planes(&mut words, values, picture.channels),
        }
        names.push(name);
    }
    let Some((shape, _, wide)) = first else {
        return Err(Error::malformed(
            origin,
            "PNG or JPEG files",
            "none",
            "check the path",
        ));
    };
    let pixels = if wide {
        Pixels::U16(words)
    } else {
        Pixels::U8(bytes)
    };
    Images::new(shape.image(), pixels, None, Some(names), origin)
}

/// Reads one picture.
pub(crate) fn read_single(path: &Path) -> Result<Images, Error> {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let picture = decode(path).map(|picture| (name, picture));
    collect(std::iter::once(picture), 1, path.display().to_string())
}

/// Reads all pictures of a folder, in the byte order of their names.
///
/// Hidden files are passed over. Anything else that is no PNG or JPEG is an error: silently leaving out an image would
/// shift all that follow.
pub(crate) fn read_folder(path: &Path) -> Result<Images, Error> {
    let origin = path.display().to_string();
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(|error| Error::io(path, "list", error))? {
        let entry = entry.map_err(|error| Error::io(path, "list", error))?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            let found = format!("{}", name.to_string_lossy());
            return Err(Error::malformed(
                origin,
                "file names in UTF-8",
                found,
                "rename it",
            ));
        };
        let lower = name.to_ascii_lowercase();
        if name.starts_with('.') || IGNORED.contains(&&*lower) {
            continue;
        }
        if !lower.ends_with(".png") && !lower.ends_with(".jpg") && !lower.ends_with(".jpeg") {
            let advice = "move it out, or give the path of one file of images or of another folder";
            return Err(Error::malformed(
                origin,
                "a flat folder of PNG or JPEG files",
                format!("{name:?} in it"),
                advice,
            ));
        }
        names.push(name.to_owned());
        Error::check_limit(&origin, "number of files", names.len() as u64, ENTRY_LIMIT)?;
    }
    names.sort_unstable();
    let count = names.len();
    collect(
        names
            .into_iter()
            .map(|name| decode(&path.join(&name)).map(|picture| (name, picture))),
        count,
        origin,
    )
}
