//! From stored values of gray images to those that a network gets: modality, values of interest, presentation, in this order.
//!
//! # Reference
//! DICOM PS3.3, sections C.11.1, C.11.2 and C.11.6; PS3.4, section N.2.

use super::attributes::{self as known, Attribute, Item};
use super::description::{Colour, Description};
use super::table::Table;
use super::{Options, Window, WindowFunction};
use crate::Error;

/// From stored values to those of the modality, such as Hounsfield units.
#[derive(Clone, Debug, PartialEq)]
enum Modality {
    Identity,
    Linear { slope: f64, intercept: f64 },
    Table(Table),
}

/// Which modality values are of interest.
#[derive(Clone, Debug, PartialEq)]
enum Interest {
    /// All, as they are.
    All,
    Window {
        centre: f64,
        width: f64,
        function: WindowFunction,
    },
    Table(Table),
}

/// The values that a network gets of a gray frame.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Transform {
    modality: Modality,
    interest: Interest,
    turned: bool,
    /// Smallest and largest modality value.
    range: (f64, f64),
    /// What the lowest and the highest value of interest become.
    output: (f64, f64),
}

impl Transform {
    /// The transform of every frame, or one for all of them, and whether a view had to be picked.
    pub(super) fn of_frames(
        item: &Item<'_>,
        described: &Description,
        options: &Options,
        location: &str,
    ) -> Result<(Vec<Self>, bool), Error> {
        let shared = groups(item, known::SHARED_GROUPS, location)?;
        let frames = groups(item, known::FRAME_GROUPS, location)?;
        if shared.len() > 1 {
            return Err(known::SHARED_GROUPS.wrong(location, "one item", "several"));
        }
        // Groups that say nothing of values may be of more frames than the file still has.
        let says = |frame: &Item<'_>| {
            frame.has(known::VALUE_TRANSFORMATION) || frame.has(known::FRAME_VOI)
        };
        let frames = match frames.iter().any(says) {
            true => frames,
            false => &[],
        };
        if !frames.is_empty() && frames.len() != described.frames {
            let expected = format!("{} items, one a frame", described.frames);
            return Err(known::FRAME_GROUPS.wrong(location, expected, frames.len().to_string()));
        }
        let mut picked = false;
        let mut one = |frame: Option<&Item<'_>>| {
            // Where an attribute may be: in the data set, for all frames, for this one.
            let mut places = vec![item];
            for group in shared.first().into_iter().chain(frame) {
                for inner in [known::VALUE_TRANSFORMATION, known::FRAME_VOI] {
                    match group.items(inner, location)? {
                        [] => {}
                        [place] => places.push(place),
                        _ => return Err(inner.wrong(location, "one item", "several")),
                    }
                }
            }
            let modality = Modality::read(&places, described, location)?;
            let range = modality.range(described);
            let (interest, several) = Interest::read(&places, range, &options.window, location)?;
            picked |= several;
            Ok(Self {
                modality,
                interest,
                turned: matches!(described.colour, Colour::Gray { turned: true }),
                range,
                output: options.output,
            })
        };
        let transforms = match frames {
            [] => vec![one(None)?],
            frames => frames
                .iter()
                .map(|frame| one(Some(frame)))
                .collect::<Result<_, Error>>()?,
        };
        Ok((transforms, picked))
    }

    /// The value of a stored one.
    pub(super) fn apply(&self, stored: i32) -> f64 {
        let value = self.modality.apply(stored);
        let share = match &self.interest {
            Interest::All => {
                let (low, high) = self.range;
                return if self.turned {
                    low + (high - value)
                } else {
                    value
                };
            }
            Interest::Window {
                centre,
                width,
                function,
            } => function.share(value, *centre, *width),
            Interest::Table(table) => {
                f64::from(table.entry(value.floor() as i32)) / f64::from(table.most())
            }
        };
        let share = if self.turned { 1.0 - share } else { share };
        let (low, high) = self.output;
        low + share * (high - low)
    }

    /// Whether values stay the whole numbers from 0 that are stored.
    pub(super) fn keeps_numbers(&self) -> bool {
        self.modality == Modality::Identity && self.interest == Interest::All
    }
}

fn groups<'i, 'a>(
    item: &'i Item<'a>,
    attribute: Attribute,
    location: &str,
) -> Result<&'i [Item<'a>], Error> {
    item.items(attribute, location)
}

/// The one place of several that has an attribute.
fn place<'i, 'a>(
    places: &[&'i Item<'a>],
    attribute: Attribute,
    location: &str,
) -> Result<Option<&'i Item<'a>>, Error> {
    let mut having = places.iter().filter(|place| place.has(attribute));
    match (having.next(), having.next()) {
        (_, Some(_)) => Err(attribute.twice(location)),
        (found, None) => Ok(found.copied()),
    }
}

fn number(
    places: &[&Item<'_>],
    attribute: Attribute,
    location: &str,
) -> Result<Option<f64>, Error> {
    match place(places, attribute, location)? {
        Some(place) => place.number(attribute, location),
        None => Ok(None),
    }
}

impl Modality {
    fn read(places: &[&Item<'_>], described: &Description, location: &str) -> Result<Self, Error> {
        let slope = number(places, known::SLOPE, location)?;
        let intercept = number(places, known::INTERCEPT, location)?;
        let tables = match place(places, known::MODALITY_TABLES, location)? {
            Some(place) => place.items(known::MODALITY_TABLES, location)?,
            None => &[],
        };
        match (slope, intercept, tables) {
            (None, None, []) => Ok(Self::Identity),
            (Some(1.0), Some(0.0), []) => Ok(Self::Identity),
            (Some(0.0), Some(_), []) => Err(known::SLOPE.wrong(location, "a number but 0", "0")),
            (Some(slope), Some(intercept), []) => Ok(Self::Linear { slope, intercept }),
            (None, Some(_), []) => Err(known::SLOPE.missing(location)),
            (Some(_), None, []) => Err(known::INTERCEPT.missing(location)),
            (None, None, [table]) => Ok(Self::Table(Table::read(
                table,
                known::TABLE_DESCRIPTOR,
                known::TABLE_DATA,
                described.signed,
                location,
            )?)),
            (None, None, _) => Err(known::MODALITY_TABLES.wrong(location, "one item", "several")),
            _ => {
                let expected = format!("either a table or {}", known::SLOPE.text());
                Err(known::MODALITY_TABLES.wrong(location, expected, "both"))
            }
        }
    }

    fn apply(&self, stored: i32) -> f64 {
        match self {
            Self::Identity => stored.into(),
            Self::Linear { slope, intercept } => f64::from(stored) * slope + intercept,
            Self::Table(table) => table.entry(stored).into(),
        }
    }

    fn range(&self, described: &Description) -> (f64, f64) {
        let (low, high) = described.stored_range();
        match self {
            Self::Identity => (low, high),
            Self::Linear { slope, intercept } => {
                let ends = [low, high].map(|end| end * slope + intercept);
                (ends[0].min(ends[1]), ends[0].max(ends[1]))
            }
            Self::Table(table) => (0.0, table.most().into()),
        }
    }
}

impl Interest {
    fn read(
        places: &[&Item<'_>],
        range: (f64, f64),
        window: &Window,
        location: &str,
    ) -> Result<(Self, bool), Error> {
        match *window {
            Window::None => return Ok((Self::All, false)),
            Window::Given {
                centre,
                width,
                function,
            } => {
                let all = Self::Window {
                    centre,
                    width,
                    function,
                };
                return Ok((all, false));
            }
            Window::OfFile => {}
        }
        let tables = match place(places, known::VOI_TABLES, location)? {
            Some(place) => place.items(known::VOI_TABLES, location)?,
            None => &[],
        };
        let values = |attribute: Attribute| match place(places, attribute, location)? {
            Some(place) => place.numbers(attribute, location),
            None => Ok(None),
        };
        let (centres, widths) = (values(known::CENTRE)?, values(known::WIDTH)?);
        if let [table, rest @ ..] = tables {
            let signed = range.0 < 0.0;
            let (descriptor, data) = (known::TABLE_DESCRIPTOR, known::TABLE_DATA);
            let table = Table::read(table, descriptor, data, signed, location)?;
            return Ok((Self::Table(table), !rest.is_empty() || centres.is_some()));
        }
        let centres = centres.ok_or_else(|| {
            let expected = format!("a window or table of the file's own: {} or {}", known::CENTRE.text(), known::VOI_TABLES.text());
            let advice = "export the file with its window, or move it out: the network was trained with the windows of files";
            Error::malformed(location, expected, "none", advice)
        })?;
        let widths = widths.ok_or_else(|| known::WIDTH.missing(location))?;
        if centres.len() != widths.len() {
            let expected = format!("{} values, as {}", centres.len(), known::CENTRE.text());
            return Err(known::WIDTH.wrong(location, expected, widths.len().to_string()));
        }
        let function = match place(places, known::FUNCTION, location)? {
            Some(place) => place.text(known::FUNCTION, location)?,
            None => None,
        };
        let function = match function {
            None | Some("LINEAR") => WindowFunction::Linear,
            Some("LINEAR_EXACT") => WindowFunction::LinearExact,
            Some("SIGMOID") => WindowFunction::Sigmoid,
            Some(_) => {
                let expected = "LINEAR, LINEAR_EXACT or SIGMOID";
                return Err(known::FUNCTION.wrong(location, expected, "another value"));
            }
        };
        let (centre, width) = (centres[0], widths[0]);
        if !function.takes(width) {
            let expected = format!("a width of {}", function.least());
            return Err(known::WIDTH.wrong(location, expected, width.to_string()));
        }
        let interest = Self::Window {
            centre,
            width,
            function,
        };
        Ok((interest, centres.len() > 1))
    }
}

impl WindowFunction {
    /// Whether a window may have this width.
    pub(super) fn takes(self, width: f64) -> bool {
        match self {
            Self::Linear => width >= 1.0,
            Self::LinearExact | Self::Sigmoid => width > 0.0,
        }
    }

    /// The least width, in words.
    pub(super) fn least(self) -> &'static str {
        match self {
            Self::Linear => "1 or more",
            Self::LinearExact | Self::Sigmoid => "more than 0",
        }
    }

    /// How far a value lies in a window, from 0 to 1.
    fn share(self, value: f64, centre: f64, width: f64) -> f64 {
        match self {
            Self::Linear => {
                let (centre, width) = (centre - 0.5, width - 1.0);
                if value <= centre - width / 2.0 {
                    0.0
                } else if value > centre + width / 2.0 {
                    1.0
                } else {
                    (value - centre) / width + 0.5
                }
            }
            Self::LinearExact => ((value - centre) / width + 0.5).clamp(0.0, 1.0),
            Self::Sigmoid => 1.0 / (1.0 + (-4.0 * (value - centre) / width).exp()),
        }
    }
}
