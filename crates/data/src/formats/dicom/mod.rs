//! DICOM images: a file, a folder with its subfolders, or a medium with a DICOMDIR.
//!
//! Headers are read with `dicom-parser`, pixels with the decoders of `codec`. No more of a file is read than its image needs: no name,
//! date or number of a patient gets into memory of this module, into a message or a note.
//!
//! Not `dicom-object`, which keeps the last of several equal attributes without a word and decodes every text; not `dicom-pixeldata`,
//! whose decoders panic on damaged frames and fill up missing ones (docs/decisions/dicom.md).

mod attributes;
mod codec;
mod container;
mod description;
mod elements;
mod files;
mod frames;
mod samples;
mod table;
mod transform;
mod unknown;

use std::collections::HashSet;
use std::path::Path;

use sordino_fault::with_optional_memory;
use sordino_graph::{Preprocess, Window as NetworkWindow};

use self::attributes::{Item, PADDING};
use self::codec::Decoded;
use self::container::Container;
use self::description::{Colour, Description};
use self::files::Files;
use self::frames::Frames;
use self::transform::Transform;
use super::Sink;
use crate::images::each;
use crate::prepare_path::Bounds;
use crate::source::PIXEL_BYTES;
use crate::{Error, Images, Pixels};

/// Which values of gray images are of interest.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Window {
    /// All: the values of the modality, such as Hounsfield units, are taken as they are.
    #[default]
    None,
    /// What the file says: its table for values of interest, or its first window.
    OfFile,
    /// The same window for all images, in values of the modality.
    Given {
        /// The value in the middle.
        centre: f64,
        /// How many values there are from black to white.
        width: f64,
        /// How values in the window become shades.
        function: WindowFunction,
    },
}

/// How values in a window become shades.
///
/// # Reference
/// DICOM PS3.3, section C.11.2.1.2.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum WindowFunction {
    /// In proportion, counted in whole values: `LINEAR`, the default of the standard.
    #[default]
    Linear,
    /// In proportion: `LINEAR_EXACT`.
    LinearExact,
    /// Along a logistic curve: `SIGMOID`.
    Sigmoid,
}

/// How DICOM images are read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Which values are of interest.
    pub window: Window,
    /// The raw values that the lowest and the highest value of interest become; without a window they say nothing.
    pub output: (f64, f64),
}

impl Default for Options {
    fn default() -> Self {
        Self {
            window: Window::None,
            output: (0.0, 255.0),
        }
    }
}

impl Options {
    /// As a network takes its images: through its window, if it has one, over its own range.
    pub(super) fn of_network(network: Option<&Preprocess>) -> Self {
        let Some(network) = network else {
            return Self::default();
        };
        let window = match network.window {
            None => Window::None,
            Some(NetworkWindow::File) => Window::OfFile,
            Some(NetworkWindow::Given { center, width }) => Window::Given {
                centre: center,
                width,
                function: WindowFunction::Linear,
            },
        };
        Self {
            window,
            output: network.input_range,
        }
    }

    fn check(&self) -> Result<(), Error> {
        let (low, high) = self.output;
        let window = match self.window {
            Window::Given {
                centre,
                width,
                function,
            } => centre.is_finite() && width.is_finite() && function.takes(width),
            _ => true,
        };
        match window && low.is_finite() && high.is_finite() && low != high {
            true => Ok(()),
            false => Err(Error::Range {
                what: format!("the window {:?} over {low}..{high}", self.window),
                advice: "give a finite centre, and a width of at least 1 (more than 0 for the functions but LINEAR)",
            }),
        }
    }
}

/// Reads DICOM images: a file, the files of a folder and its subfolders, or the images that the DICOMDIR of a folder names.
///
/// An image is named by its SOP Instance UID, a frame of several by that and its number from 1 (`UID#frame`). Files without an image, such
/// as reports, are passed over with a note.
///
/// # Range
/// Gray images have the values of their modality (rescaled or through its table) unless `options` has a window, over whose output they then
/// spread. Where the smallest value is white, values are turned. Colours are red, green and blue.
///
/// # Errors
/// [`Error::Malformed`] for a file that is damaged, that lacks an attribute or has it twice, or that is written in a way that is not read;
/// for images of different sizes; [`Error::TooLarge`] for sizes over the limits; [`Error::Io`] where reading fails.
pub fn open_dicom(path: impl AsRef<Path>, options: &Options) -> Result<Images, Error> {
    let path = path.as_ref();
    let files = match path.is_dir() {
        true => Files::of_folder(path)?,
        false => Some(Files::one(path)),
    };
    match files {
        Some(files) => read(&files, options),
        None => {
            let (location, advice) = (path.display().to_string(), "check the path");
            Err(Error::malformed(location, "DICOM files", "none", advice))
        }
    }
}

/// Reads the DICOM files of a folder; `None` where there are none.
pub(super) fn folder(path: &Path, options: &Options) -> Result<Option<Images>, Error> {
    let files = Files::of_folder(path)?;
    files.map(|files| read(&files, options)).transpose()
}

/// Reads one file.
pub(super) fn single(path: &Path, options: &Options) -> Result<Images, Error> {
    read(&Files::one(path), options)
}

/// Reads the DICOM files of a folder frame by frame, and gives notes; `None` where there are none.
pub(super) fn folder_parts(
    path: &Path,
    bounds: &Bounds<'_>,
    options: &Options,
    sink: &mut Sink,
) -> Result<Option<Vec<String>>, Error> {
    let files = Files::of_folder(path)?;
    files
        .map(|files| each_frame(&files, Some(bounds), options, sink))
        .transpose()
}

/// Reads one file frame by frame, and gives notes.
pub(super) fn single_parts(
    path: &Path,
    bounds: &Bounds<'_>,
    options: &Options,
    sink: &mut Sink,
) -> Result<Vec<String>, Error> {
    each_frame(&Files::one(path), Some(bounds), options, sink)
}

fn read(files: &Files, options: &Options) -> Result<Images, Error> {
    let mut all: Option<Images> = None;
    let mut first = String::new();
    let notes = each_frame(files, None, options, &mut |part| {
        let Some(all) = &mut all else {
            first = part.describe(0);
            all = Some(part);
            return Ok(());
        };
        let (expected, found) = (all.shape_text(), part.shape_text());
        if expected != found {
            let advice = "bring all images to one size, or move this one out";
            let expected = format!("{expected} as {first}");
            return Err(Error::malformed(part.describe(0), expected, found, advice));
        }
        let bytes = (all.pixels.len() + part.pixels.len()) as u64 * 4;
        Error::check_limit(files.origin(), "data size in bytes", bytes, PIXEL_BYTES)?;
        let more = part.pixels.len();
        each!(&mut all.pixels, values => {
            with_optional_memory(|| values.try_reserve(more)).map_err(|_| Error::OutOfMemory {
                location: files.origin().to_owned(),
                bytes,
            })?;
        });
        all.append(part)
    })?;
    let none = || {
        let advice = "check the path, or that the files are images";
        Error::malformed(files.origin(), "DICOM images", "none", advice)
    };
    Ok(Images {
        notes,
        ..all.ok_or_else(none)?
    })
}

/// What is noted of files while they are read.
#[derive(Default)]
struct Notes {
    without_image: usize,
    padded: usize,
    picked: usize,
    longer: usize,
    /// Bits of the first gray images whose values are as they are stored, and whether others have others.
    stored: Option<u32>,
    depths: bool,
}

impl Notes {
    fn texts(self, origin: &str) -> Vec<String> {
        let mut notes = Vec::new();
        let mut note = |count: usize, text: &str| {
            if count > 0 {
                notes.push(format!("{origin}: {count} {text}"));
            }
        };
        note(
            self.without_image,
            "DICOM files have no image, such as reports, and are passed over",
        );
        let padded = format!(
            "images have pixels of their {}; they are taken as values",
            PADDING.text()
        );
        note(self.padded, &padded);
        note(
            self.picked,
            "files have several windows or tables for values of interest, of which the first is taken (a table before a window)",
        );
        note(
            self.longer,
            "files have more bytes of pixels than their images need; the first ones are taken",
        );
        if self.depths {
            notes.push(format!(
                "{origin}: not all images are stored with the same number of bits; their values are taken as they are: check that they have one scale"
            ));
        }
        notes
    }
}

fn each_frame(
    files: &Files,
    bounds: Option<&Bounds<'_>>,
    options: &Options,
    sink: &mut Sink,
) -> Result<Vec<String>, Error> {
    options.check()?;
    let mut notes = Notes::default();
    let mut instances = HashSet::new();
    let mut count = 0;
    let mut kind = None;
    for (index, path) in files.paths().iter().enumerate() {
        let location = files.location(index);
        let container = Container::open(path, &location)?;
        let item = attributes::read(container.data(), container.syntax.encoding, &location)?;
        let Some(described) = Description::read(&item, &location)? else {
            notes.without_image += 1;
            continue;
        };
        if !instances.insert(described.instance.clone()) {
            let expected = format!("files of their own {}", attributes::INSTANCE.text());
            let found = format!("that of an earlier one, {}", described.instance);
            let advice = "move one of the two out";
            return Err(Error::malformed(location, expected, found, advice));
        }
        count += described.frames;
        if let Some(bounds) = bounds {
            bounds.check_count(count as u64, files.origin())?;
            let shape = described.shape(&location)?;
            bounds.check(&shape, described.bytes_a_value(), &location)?;
        }
        let source = Source {
            item: &item,
            container: &container,
            described: &described,
            location: &location,
        };
        let expected = *kind.get_or_insert(source.kind(options)?);
        if source.kind(options)? != expected {
            let (expected, found) = (expected.text(), source.kind(options)?.text());
            let expected = format!("{expected} as the first image");
            let advice = "bring all images to one sort and depth, or move this one out";
            return Err(Error::malformed(location, expected, found, advice));
        }
        source.frames(options, &mut notes, files.origin(), sink)?;
    }
    if count == 0 {
        let advice = "check the path, or that the files are images";
        return Err(Error::malformed(
            files.origin(),
            "DICOM images",
            "none",
            advice,
        ));
    }
    Ok(notes.texts(files.origin()))
}

/// How values are kept.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Bytes,
    Words,
    Floats,
}

impl Kind {
    fn text(self) -> &'static str {
        match self {
            Self::Bytes => "values of 8 bit",
            Self::Words => "values of 16 bit",
            Self::Floats => "values of a modality or a window, or of more bits or with a sign",
        }
    }
}

/// An image file that is read.
struct Source<'s, 'a> {
    item: &'s Item<'a>,
    container: &'a Container,
    described: &'s Description,
    location: &'s str,
}

impl Source<'_, '_> {
    fn transforms(&self, options: &Options) -> Result<(Vec<Transform>, bool), Error> {
        let gray = matches!(self.described.colour, Colour::Gray { .. });
        if !gray && options.window != Window::None {
            return Err(attributes::PHOTOMETRIC.wrong(
                self.location,
                "gray, since the network takes values through a window,",
                "colours",
            ));
        }
        match gray {
            true => Transform::of_frames(self.item, self.described, options, self.location),
            false => Ok((Vec::new(), false)),
        }
    }

    fn kind(&self, options: &Options) -> Result<Kind, Error> {
        let (transforms, _) = self.transforms(options)?;
        let bits = match &self.described.colour {
            Colour::Palette(tables) => tables.iter().map(|table| table.bits).max().unwrap_or(16),
            _ if self.described.signed => 32,
            _ if !transforms.iter().all(Transform::keeps_numbers) => 32,
            _ => self.described.stored,
        };
        Ok(match bits {
            0..=8 => Kind::Bytes,
            9..=16 => Kind::Words,
            _ => Kind::Floats,
        })
    }

    fn frames(
        &self,
        options: &Options,
        notes: &mut Notes,
        origin: &str,
        sink: &mut Sink,
    ) -> Result<(), Error> {
        let (described, location) = (self.described, self.location);
        let syntax = self.container.syntax;
        let kind = self.kind(options)?;
        let (transforms, picked) = self.transforms(options)?;
        notes.picked += usize::from(picked);
        if transforms.iter().any(Transform::keeps_numbers) {
            let first = *notes.stored.get_or_insert(described.stored);
            notes.depths |= first != described.stored;
        }
        let frames = Frames::find(self.item, described, syntax.encapsulated, location)?;
        notes.longer += usize::from(matches!(&frames, Frames::Native { longer: true, .. }));
        let native = |bytes: &[u8], words, frame| Decoded {
            samples: samples::native(bytes, words, self.item.big_endian(), described, frame),
            bits: None,
        };
        let shape = described.shape(location)?.image();
        for frame in 0..described.frames {
            let decoded = match (&frames, syntax.codec) {
                (Frames::Native { bytes, words, .. }, _) => native(bytes, *words, frame),
                (frames, Some(codec)) => {
                    codec.decode(&frames.joined(frame), described, location)?
                }
                (frames, None) => {
                    let bytes = frames.joined(frame);
                    if bytes.len() < frames::bits_of_frame(described).div_ceil(8) {
                        let expected = format!("frames of {}", described.size_text());
                        return Err(attributes::PIXELS.wrong(location, expected, "shorter ones"));
                    }
                    native(&bytes, false, 0)
                }
            };
            let values = samples::values(decoded, described, location)?;
            let padding = described.padding;
            notes.padded += usize::from(values.iter().any(|&value| Some(value) == padding));
            let transform = transforms.get(frame).or(transforms.first());
            let value = |&value: &i32| match transform {
                Some(transform) => transform.apply(value),
                None => value.into(),
            };
            let pixels = match kind {
                Kind::Bytes => Pixels::U8(values.iter().map(|v| value(v) as u8).collect()),
                Kind::Words => Pixels::U16(values.iter().map(|v| value(v) as u16).collect()),
                Kind::Floats => Pixels::F32(values.iter().map(|v| value(v) as f32).collect()),
            };
            let name = match described.frames {
                1 => described.instance.clone(),
                _ => format!("{}#{}", described.instance, frame + 1),
            };
            let images = Images::new(shape, pixels, None, Some(vec![name]), origin)?;
            sink(Images {
                windowed: options.window != Window::None,
                ..images
            })?;
        }
        Ok(())
    }
}
