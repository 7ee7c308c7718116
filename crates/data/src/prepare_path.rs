//! From a path to a network's input, with no more in memory than the network can take.

use std::path::Path;

use sordino_graph::Preprocess;

use crate::extent::Seen;
use crate::fit::opaque;
use crate::formats::read_parts;
use crate::images::CheckedShape;
use crate::prepare::{Scale, check_shape, prepare_part};
use crate::source::{PIXEL_BYTES, reserve};
use crate::{Error, Images, Layout, Reader};

/// Most bytes of raw pixels that are in memory at once.
const PART_BYTES: u64 = 32 << 20;
/// Most bytes of raw pixels of one image, which is also kept as floats while it is resized.
pub(crate) const IMAGE_BYTES: u64 = 96 << 20;

/// Images as a network takes them.
#[derive(Clone, Debug, PartialEq)]
pub struct Prepared {
    /// The network's input, `[images, C, H, W]`.
    pub values: Vec<f32>,
    /// Number of images.
    pub images: usize,
    /// File name of every image, if each has its own.
    pub names: Option<Vec<String>>,
    /// What was guessed or passed over, one sentence each.
    pub notes: Vec<String>,
}

/// What is taken of a file: as many images as the network can take at once, of its shape or resized one after the other.
pub(crate) struct Bounds<'a> {
    pub(crate) preprocess: &'a Preprocess,
    layout: Option<Layout>,
    images: u64,
}

impl Bounds<'_> {
    /// What is known of the images beforehand.
    pub(crate) fn reader(&self) -> Reader<'_> {
        Reader::new().network(self.preprocess).layout(self.layout)
    }

    /// Refuses images that the network cannot take, before their pixels are read.
    pub(crate) fn check(
        &self,
        shape: &CheckedShape,
        bytes_a_value: u64,
        location: &str,
    ) -> Result<(), Error> {
        self.check_count(shape.count, location)?;
        let bytes = shape.values() / shape.count * bytes_a_value;
        check_shape(shape.image(), self.preprocess, location)?;
        Error::check_limit(location, "size of an image in bytes", bytes, IMAGE_BYTES)
    }

    pub(crate) fn check_count(&self, count: u64, location: &str) -> Result<(), Error> {
        match count <= self.images {
            true => Ok(()),
            false => Err(Error::TooMany {
                location: location.to_owned(),
                found: count,
                most: self.images,
            }),
        }
    }

    /// Images that are read at once.
    pub(crate) fn part(&self, shape: &CheckedShape, bytes_a_value: u64) -> u64 {
        let bytes = shape.values() / shape.count * bytes_a_value;
        (PART_BYTES / bytes).max(1)
    }
}

/// Reads images as [`open_images_for`](crate::open_images_for) does, without labels, and prepares them as [`prepare`](crate::prepare) does, part by
/// part: what a file claims to hold is compared with what the network takes before memory is taken for it. The pictures of a folder may
/// have different sizes where the network has them resized.
///
/// # Errors
/// Those of [`open_images`](crate::open_images) and [`prepare`](crate::prepare); [`Error::TooMany`] for more than `most` images.
pub fn prepare_path(
    path: impl AsRef<Path>,
    preprocess: &Preprocess,
    range: Option<(f64, f64)>,
    most: usize,
) -> Result<Prepared, Error> {
    prepare(path.as_ref(), preprocess, None, range, most)
}

/// [`prepare_path`], with the layout of arrays where it is known.
pub(crate) fn prepare(
    path: &Path,
    preprocess: &Preprocess,
    layout: Option<Layout>,
    range: Option<(f64, f64)>,
    most: usize,
) -> Result<Prepared, Error> {
    preprocess.validate()?;
    let scale = Scale::new(preprocess, range)?;
    let images = most as u64;
    let location = path.display().to_string();
    let bytes = images
        .saturating_mul(preprocess.elements() as u64)
        .saturating_mul(4);
    let mut prepared = Prepared {
        values: Vec::new(),
        images: 0,
        names: None,
        notes: Vec::new(),
    };
    let mut seen = Seen::new();
    let mut sink = |read: Images| {
        let part = &*opaque(&read, preprocess)?;
        seen.see(part, preprocess);
        let more = (part.len() * preprocess.elements()) as u64;
        let held = 4 * (prepared.values.len() as u64 + more);
        let what = "size of the prepared images in bytes";
        Error::check_limit(&location, what, held, bytes.min(PIXEL_BYTES))?;
        reserve(&mut prepared.values, more, &location)?;
        prepare_part(part, preprocess, &scale, &mut prepared.values)?;
        prepared.images += part.len();
        if let Some(names) = &part.names {
            prepared
                .names
                .get_or_insert_default()
                .extend_from_slice(names);
        }
        Ok(())
    };
    let bounds = Bounds {
        preprocess,
        layout,
        images,
    };
    let notes = read_parts(path, &bounds, &mut sink)?;
    prepared.notes = notes;
    let notes = seen.check(&location, preprocess, range)?;
    prepared.notes.extend(notes);
    Ok(prepared)
}
