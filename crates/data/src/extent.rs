//! What the values of images say about their scale, and which scales are refused.
//!
//! Arrays say of their type nothing about black and white: bytes may have been divided by 255, and a network that takes bytes would then see
//! nearly black images and answer without a word. The rules here refuse what is almost surely such a mistake, unless a range was given.

use sordino_graph::{Preprocess, SizePolicy};

use crate::images::each;
use crate::{Error, Images, Pixels};

/// Ranges that images are usually scaled to.
const USUAL: [(f64, f64); 3] = [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)];

/// A network that takes more than so many times a usual range is not made for images of it.
const MUCH_WIDER: f64 = 4.0;

/// Images whose brightest value is below this share of white are dark enough for a note.
const DARK: f64 = 1.0 / 2.0;

/// How far width and height may be stretched differently without a note.
const STRETCH: f64 = 1.5;

/// Smallest and largest value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Extent {
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Extent {
    fn of(pixels: &Pixels, from: usize, count: usize) -> Self {
        let none = Self {
            low: f64::INFINITY,
            high: f64::NEG_INFINITY,
        };
        each!(pixels, values => {
            values[from..from + count].iter().fold(none, |extent, &value| {
                let value = f64::from(value);
                Self { low: extent.low.min(value), high: extent.high.max(value) }
            })
        })
    }

    /// The extent of all values.
    pub(crate) fn of_all(pixels: &Pixels) -> Self {
        Self::of(pixels, 0, pixels.len())
    }

    /// The extent of the values of both.
    pub(crate) fn join(self, other: Self) -> Self {
        Self {
            low: self.low.min(other.low),
            high: self.high.max(other.high),
        }
    }

    fn is_within(self, (low, high): (f64, f64)) -> bool {
        low <= self.low && self.high <= high
    }

    /// Whether every image is all zero, which says nothing about a scale.
    fn is_zero(self) -> bool {
        (self.low, self.high) == (0.0, 0.0)
    }

    /// The smallest range that these values are usually scaled to, if there is one.
    pub(crate) fn usual(self, pixels: &Pixels) -> Option<(f64, f64)> {
        let words = matches!(pixels, Pixels::U16(_)) || self.high > 4095.0;
        let widest = words.then_some((0.0, 65535.0));
        let mut ranges = USUAL.into_iter().chain(widest);
        ranges.find(|&range| self.is_within(range))
    }
}

/// What was seen of the values of images that are prepared part by part.
pub(crate) struct Seen {
    extent: Extent,
    images: usize,
    /// Images within 0..1 that are not all zero: the first, and whether it has fractions.
    unit: Option<(String, bool)>,
    unit_images: usize,
    words: bool,
    bytes: bool,
    stretched: Option<String>,
}

impl Seen {
    pub(crate) fn new() -> Self {
        Self {
            extent: Extent {
                low: f64::INFINITY,
                high: f64::NEG_INFINITY,
            },
            images: 0,
            unit: None,
            unit_images: 0,
            words: false,
            bytes: false,
            stretched: None,
        }
    }

    /// Looks at more images.
    pub(crate) fn see(&mut self, images: &Images, preprocess: &Preprocess) {
        let size = images.elements();
        for index in 0..images.len() {
            let extent = Extent::of(&images.pixels, index * size, size);
            self.extent = self.extent.join(extent);
            if extent.is_within((0.0, 1.0)) && !extent.is_zero() {
                self.unit_images += 1;
                self.unit.get_or_insert_with(|| {
                    let values = index * size..(index + 1) * size;
                    let mut values = values.map(|at| images.pixels.value(at));
                    let fractions = values.any(|value| value.fract() != 0.0);
                    (images.describe(index), fractions)
                });
            }
        }
        self.images += images.len();
        self.words |= matches!(images.pixels, Pixels::U16(_));
        self.bytes |= matches!(images.pixels, Pixels::U8(_));
        let ratio = |height: usize, width: usize| height as f64 / width as f64;
        let stretch =
            ratio(images.height, images.width) / ratio(preprocess.height, preprocess.width);
        let stretches = matches!(
            preprocess.size,
            SizePolicy::Resize | SizePolicy::Stretch { .. }
        );
        if stretches && self.stretched.is_none() && !(1.0 / STRETCH..=STRETCH).contains(&stretch) {
            self.stretched = Some(format!(
                "{}: {}x{} becomes {}x{}: height and width are stretched differently; cut the images to the network's proportions if it was trained that way",
                images.describe(0),
                images.height,
                images.width,
                preprocess.height,
                preprocess.width
            ));
        }
    }

    /// Refuses a scale that is almost surely a mistake, and gives notes on others, where no range was given.
    pub(crate) fn check(
        self,
        location: &str,
        preprocess: &Preprocess,
        range: Option<(f64, f64)>,
    ) -> Result<Vec<String>, Error> {
        let mut notes: Vec<String> = self.stretched.into_iter().collect();
        // Values that the network does not take are refused for that.
        let taken = self.extent.is_within(preprocess.allowed);
        // An extent of numbers that are none is empty.
        if range.is_some() || self.extent.low > self.extent.high || self.extent.is_zero() || !taken
        {
            return Ok(notes);
        }
        let (low, high) = preprocess.input_range;
        let width = high - low;
        let is_much = |(from, to): (f64, f64)| width > MUCH_WIDER * (to - from);
        let unscaled = |location: &str, found: (f64, f64), rest: bool| Error::Scale {
            location: location.to_owned(),
            found,
            network: (low, high),
            rest,
            flag: "--range",
        };
        let type_range = self.bytes.then_some((0.0, 255.0));
        let usual = USUAL
            .into_iter()
            .find(|&range| self.extent.is_within(range));
        if let Some(found) = usual.filter(|&range| is_much(range)) {
            return Err(unscaled(location, found, false));
        }
        if let Some(found) = type_range.filter(|&range| is_much(range)) {
            return Err(unscaled(location, found, false));
        }
        // Images around zero have values below it.
        if self.extent.is_within((0.0, 1.0)) && low < 0.0 {
            return Err(unscaled(location, (0.0, 1.0), false));
        }
        if let Some((image, fractions)) = self.unit.filter(|_| is_much((0.0, 1.0))) {
            if fractions {
                return Err(unscaled(&image, (0.0, 1.0), true));
            }
            notes.push(format!(
                "{image}: all values are 0 or 1, as in {} of {} images: check that these are images and no masks",
                self.unit_images, self.images
            ));
        }
        if self.words && self.extent.high <= 255.0 && high <= 255.0 {
            notes.push(format!(
                "{location}: 16-bit values that all lie in 0..255 are taken as they are; give --range 0..65535 if white is 65535"
            ));
        } else if low == 0.0 && self.extent.high < high * DARK {
            notes.push(format!(
                "{location}: no value is above {}, and the network takes up to {high}: give --range 0..WHITE if white has another value",
                self.extent.high
            ));
        }
        Ok(notes)
    }
}
