//! Images as they were read, before any preprocessing.

use crate::Error;
use crate::array_layout::{Arrangement, Layout, to_planes};
use crate::labels::{LabelMatrix, Targets};
use crate::source::PIXEL_BYTES;

/// Raw values of pixels, in the order `[image, channel, row, column]`.
#[derive(Clone, Debug, PartialEq)]
pub enum Pixels {
    /// Unsigned bytes.
    U8(Vec<u8>),
    /// 16-bit values.
    U16(Vec<u16>),
    /// Floating point (64-bit input is rounded).
    F32(Vec<f32>),
}

/// Evaluates an expression for the values of [`Pixels`], whatever their type.
macro_rules! each {
    ($pixels:expr, $values:ident => $result:expr) => {
        match $pixels {
            $crate::Pixels::U8($values) => $result,
            $crate::Pixels::U16($values) => $result,
            $crate::Pixels::F32($values) => $result,
        }
    };
}
pub(crate) use each;

/// [`Pixels`] of the same type from an expression for their values.
macro_rules! map {
    ($pixels:expr, $values:ident => $result:expr) => {
        match $pixels {
            $crate::Pixels::U8($values) => $crate::Pixels::U8($result),
            $crate::Pixels::U16($values) => $crate::Pixels::U16($result),
            $crate::Pixels::F32($values) => $crate::Pixels::F32($result),
        }
    };
}
pub(crate) use map;

impl Pixels {
    /// Number of values.
    pub fn len(&self) -> usize {
        each!(self, values => values.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value at a position.
    ///
    /// # Panics
    /// Past the end.
    pub fn value(&self, at: usize) -> f64 {
        each!(self, values => values[at].into())
    }

    /// Appends values of the same kind; `false` where they are of another.
    pub(crate) fn append(&mut self, other: &Self) -> bool {
        match (self, other) {
            (Self::U8(ours), Self::U8(theirs)) => ours.extend(theirs),
            (Self::U16(ours), Self::U16(theirs)) => ours.extend(theirs),
            (Self::F32(ours), Self::F32(theirs)) => ours.extend(theirs),
            _ => return false,
        }
        true
    }

    /// The images at `indices`, of `size` values each.
    fn gather(&self, indices: &[usize], size: usize) -> Self {
        map!(self, values => {
            let images = indices.iter().map(|&index| &values[index * size..][..size]);
            images.flatten().copied().collect()
        })
    }
}

/// Images of one shape, with labels and names where the source has them.
///
/// # Shapes
/// `pixels` is `[len, channels, height, width]`; `labels` and `names` have `len` entries. [`Images::new`] checks this.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Images {
    /// Channels of an image.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Raw values.
    pub pixels: Pixels,
    /// Class of every image, if known.
    pub labels: Option<Vec<u16>>,
    /// Findings of every image, where they have several labels in place of a class.
    pub matrix: Option<LabelMatrix>,
    /// File name of every image, if each has its own.
    pub names: Option<Vec<String>>,
    /// Where the array that was read has its channels, if it has an axis of them. The pixels here are planes in any case.
    pub layout: Option<Layout>,
    /// Whether the values were taken through the network's window, over whose range they spread.
    pub windowed: bool,
    /// Where the images come from, for messages.
    pub origin: String,
    /// What was guessed or passed over while reading, one sentence each.
    pub notes: Vec<String>,
}

impl Images {
    /// Images from their parts.
    ///
    /// # Errors
    /// [`Error::Malformed`] where the numbers of values, labels and names do not fit together.
    pub fn new(
        (channels, height, width): (usize, usize, usize),
        pixels: Pixels,
        labels: Option<Vec<u16>>,
        names: Option<Vec<String>>,
        origin: impl Into<String>,
    ) -> Result<Self, Error> {
        let origin = origin.into();
        let size = channels
            .checked_mul(height)
            .and_then(|size| size.checked_mul(width));
        let Some(size) = size.filter(|&size| size > 0 && pixels.len().is_multiple_of(size)) else {
            let expected = format!("whole images of {channels}x{height}x{width}");
            let found = format!("{} values", pixels.len());
            let advice = "check the shape and that the data is complete";
            return Err(Error::malformed(origin, expected, found, advice));
        };
        let count = pixels.len() / size;
        for (what, length) in [
            ("labels", labels.as_ref().map(Vec::len)),
            ("names", names.as_ref().map(Vec::len)),
        ] {
            if let Some(length) = length.filter(|&length| length != count) {
                let expected = format!("{count} {what}, one per image");
                let found = format!("{length} {what}");
                let advice = "check that labels and images belong together";
                return Err(Error::malformed(origin, expected, found, advice));
            }
        }
        Ok(Self {
            channels,
            height,
            width,
            pixels,
            labels,
            matrix: None,
            windowed: false,
            names,
            layout: None,
            origin,
            notes: Vec::new(),
        })
    }

    /// These images with the labels of a file.
    pub(crate) fn with_labels(mut self, labels: Targets) -> Result<Self, Error> {
        let count = self.len();
        if labels.len() != count {
            let expected = format!("{count} labels, one per image");
            let found = format!("{} labels", labels.len());
            let advice = "check that labels and images belong together";
            return Err(Error::malformed(self.origin, expected, found, advice));
        }
        match labels {
            Targets::Classes(labels) => self.labels = Some(labels),
            Targets::Findings(matrix) => self.matrix = Some(matrix),
        }
        Ok(self)
    }

    /// These images with labels that are useful but not needed: labels that cannot be used are passed over with a note.
    pub(crate) fn with_optional_labels(mut self, labels: Result<Option<Targets>, Error>) -> Self {
        let count = self.len();
        match labels {
            Ok(Some(labels)) if labels.len() != count => self.notes.push(format!(
                "{}: the labels are not used: there are {} for {count} images",
                self.origin,
                labels.len()
            )),
            Ok(Some(Targets::Classes(labels))) => self.labels = Some(labels),
            Ok(Some(Targets::Findings(matrix))) => self.matrix = Some(matrix),
            Ok(None) => {}
            Err(error) => self.notes.push(format!("the labels are not used: {error}")),
        }
        self
    }

    /// Channels, rows and columns, for messages.
    pub(crate) fn shape_text(&self) -> String {
        format!("{}x{}x{}", self.channels, self.height, self.width)
    }

    /// What the images are labelled with, classes or findings; `None` without labels.
    pub fn targets(&self) -> Option<Targets> {
        let classes = || self.labels.clone().map(Targets::Classes);
        let findings = self.matrix.clone().map(Targets::Findings);
        findings.or_else(classes)
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.pixels.len() / self.elements()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.pixels.is_empty()
    }

    /// Values of an image.
    pub fn elements(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// The name of an image in messages: its index (from 0), and its name if it has one.
    pub fn describe(&self, index: usize) -> String {
        match self.names.as_ref().and_then(|names| names.get(index)) {
            // Part of a folder: the number says nothing.
            Some(name) if self.len() == 1 => format!("{}: {name}", self.origin),
            Some(name) => format!("{}: image {index} ({name})", self.origin),
            None => format!("{}: image {index}", self.origin),
        }
    }

    /// The images at `indices`, in that order; an index may occur several times.
    ///
    /// # Panics
    /// For an index past the end.
    pub fn subset(&self, indices: &[usize]) -> Self {
        Self {
            pixels: self.pixels.gather(indices, self.elements()),
            labels: self
                .labels
                .as_ref()
                .map(|labels| indices.iter().map(|&index| labels[index]).collect()),
            matrix: self.matrix.as_ref().map(|matrix| matrix.subset(indices)),
            names: self
                .names
                .as_ref()
                .map(|names| indices.iter().map(|&index| names[index].clone()).collect()),
            origin: self.origin.clone(),
            notes: self.notes.clone(),
            ..*self
        }
    }

    /// The first `count` images (all, where there are fewer) and the rest, in order.
    pub fn split_at(&self, count: usize) -> (Self, Self) {
        let indices: Vec<usize> = (0..self.len()).collect();
        let (first, rest) = indices.split_at(count.min(indices.len()));
        (self.subset(first), self.subset(rest))
    }

    /// These images followed by others.
    ///
    /// # Errors
    /// [`Error::Malformed`] where shape, kind of values, or the presence of labels or names differ.
    pub fn append(&mut self, other: Self) -> Result<(), Error> {
        let (expected, found) = (self.shape_text(), other.shape_text());
        let columns = |images: &Self| images.matrix.as_ref().map(LabelMatrix::columns);
        let has = |images: &Self| {
            (
                images.labels.is_some(),
                columns(images),
                images.names.is_some(),
            )
        };
        let differs = if expected != found {
            Some((expected, found))
        } else if has(self) != has(&other) {
            let expected = "labels and names for all or none";
            Some((expected.into(), "a mixture".into()))
        } else if !self.pixels.append(&other.pixels) {
            Some(("values of one kind".into(), "a mixture".into()))
        } else {
            None
        };
        if let Some((expected, found)) = differs {
            let advice = "give images of one sort";
            return Err(Error::malformed(other.origin, expected, found, advice));
        }
        self.notes.extend(other.notes);
        if let Some((ours, theirs)) = self.labels.as_mut().zip(other.labels) {
            ours.extend(theirs);
        }
        if let Some((ours, theirs)) = self.matrix.as_mut().zip(other.matrix) {
            ours.append(theirs);
        }
        if let Some((ours, theirs)) = self.names.as_mut().zip(other.names) {
            ours.extend(theirs);
        }
        Ok(())
    }

    /// How many images each of `classes` classes has; `None` without labels. Labels past the end are not counted.
    pub fn histogram(&self, classes: usize) -> Option<Vec<usize>> {
        let labels = self.labels.as_ref()?;
        let mut counts = vec![0; classes];
        for &label in labels {
            if let Some(count) = counts.get_mut(usize::from(label)) {
                *count += 1;
            }
        }
        Some(counts)
    }
}

/// Moves every image by whole pixels, `dx` to the right and `dy` down; what comes in at the edges is 0.
///
/// Labels and names stay.
pub fn shift(images: &Images, dx: isize, dy: isize) -> Images {
    let (height, width) = (images.height, images.width);
    // The part of a row that stays in the picture, where it comes from, and where it goes.
    let kept = width.saturating_sub(dx.unsigned_abs());
    let (from, to) = if dx < 0 {
        (width - kept, 0)
    } else {
        (0, width - kept)
    };
    let pixels = map!(&images.pixels, values => {
        let mut out = vec![Default::default(); values.len()];
        for plane in (0..values.len()).step_by(height * width) {
            for row in 0..height {
                let Some(target) = row.checked_add_signed(dy).filter(|&row| row < height) else {
                    continue;
                };
                let source = &values[plane + row * width + from..][..kept];
                out[plane + target * width + to..][..kept].copy_from_slice(source);
            }
        }
        out
    });
    Images {
        pixels,
        ..images.clone()
    }
}

// Bounds that a file's own description must keep, before anything is multiplied.
const SIDE_LIMIT: u64 = 1 << 14;
const CHANNEL_LIMIT: u64 = 1 << 10;
const COUNT_LIMIT: u64 = 1 << 28;

/// A shape from a file, with every dimension and the product checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CheckedShape {
    pub(crate) count: u64,
    pub(crate) channels: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// Where the values that are read have their channels.
    pub(crate) layout: Option<Layout>,
}

impl CheckedShape {
    /// The checked shape of an array.
    pub(crate) fn of(
        arrangement: Arrangement,
        bytes_a_value: u64,
        location: &str,
    ) -> Result<Self, Error> {
        let shape = Self::new(arrangement.dimensions, bytes_a_value, location)?;
        let layout = arrangement.layout;
        Ok(Self { layout, ..shape })
    }

    /// Images from values in the order of the file.
    pub(crate) fn images(&self, pixels: Pixels, location: &str) -> Result<Images, Error> {
        let pixels = match self.layout {
            Some(Layout::Nhwc) => {
                let plane = self.height * self.width;
                map!(pixels, values => to_planes(values, self.channels, plane))
            }
            _ => pixels,
        };
        let images = Images::new(self.image(), pixels, None, None, location)?;
        let layout = self.layout;
        Ok(Images { layout, ..images })
    }

    pub(crate) fn new(
        dimensions: [u64; 4],
        bytes_a_value: u64,
        location: &str,
    ) -> Result<Self, Error> {
        let names = [
            "number of images",
            "number of channels",
            "image height",
            "image width",
        ];
        let limits = [COUNT_LIMIT, CHANNEL_LIMIT, SIDE_LIMIT, SIDE_LIMIT];
        for ((what, limit), &found) in names.into_iter().zip(limits).zip(&dimensions) {
            if found == 0 {
                let expected = format!("a positive {what}");
                let advice = "check that this is the right file";
                return Err(Error::malformed(location, expected, "0", advice));
            }
            Error::check_limit(location, what, found, limit)?;
        }
        let bytes = dimensions.iter().fold(bytes_a_value, |bytes, &dimension| {
            bytes.saturating_mul(dimension)
        });
        Error::check_limit(location, "data size in bytes", bytes, PIXEL_BYTES)?;
        let [count, channels, height, width] = dimensions;
        Ok(Self {
            count,
            channels: channels as usize,
            height: height as usize,
            width: width as usize,
            layout: None,
        })
    }

    /// Values of all images.
    pub(crate) fn values(&self) -> u64 {
        self.count * (self.channels * self.height * self.width) as u64
    }

    /// Values of parts of so many images, the last of which may have fewer.
    pub(crate) fn parts(&self, images: u64) -> impl Iterator<Item = u64> + use<> {
        let (count, of_image) = (self.count, self.values() / self.count);
        let first = (0..count).step_by(usize::try_from(images).unwrap_or(usize::MAX));
        first.map(move |first| (count - first).min(images) * of_image)
    }

    /// Channels, height and width.
    pub(crate) fn image(&self) -> (usize, usize, usize) {
        (self.channels, self.height, self.width)
    }
}
