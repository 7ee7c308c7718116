//! What can go wrong with images.

use std::io;
use std::path::{Path, PathBuf};

use sordino_fault::classify;

/// Why images could not be read or prepared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("{}: cannot {action}: {reason}: check the path and its permissions", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The system's reason.
        reason: io::Error,
    },
    /// Content that is damaged or no image data.
    #[error("{location}: expected {expected}, found {found}: {advice}")]
    Malformed {
        /// Which file.
        location: String,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
        /// What to try.
        advice: String,
    },
    /// A size over the limits of this reader.
    #[error(
        "{location}: {what} {found} is over the limit of {limit}: check that this is the right file, or split it"
    )]
    TooLarge {
        /// Which file.
        location: String,
        /// Which size.
        what: &'static str,
        /// The size found.
        found: u64,
        /// The most that is accepted.
        limit: u64,
    },
    /// More images than the network takes at once.
    #[error(
        "{location}: expected 1 to {most} images, as many as the plan was compiled for, found {found}: compile with a larger --batch or split the images"
    )]
    TooMany {
        /// Which file or folder.
        location: String,
        /// Images in it.
        found: u64,
        /// The most that are taken.
        most: u64,
    },
    /// The memory for data within the limits could not be had.
    #[error("{location}: no memory for {bytes} bytes: free some memory or use fewer images")]
    OutOfMemory {
        /// Which file.
        location: String,
        /// Bytes asked for.
        bytes: u64,
    },
    /// A data set that was not found.
    #[error("data set {name:?} not found; looked at {}: {advice}", list(looked))]
    SetNotFound {
        /// The name or path asked for.
        name: String,
        /// Every place that was tried.
        looked: Vec<PathBuf>,
        /// What to try.
        advice: String,
    },
    /// A path that holds several things, one of which must be named.
    #[error("{location}: holds {}: name one of them, {advice}", choices.join(", "))]
    Ambiguous {
        /// The path.
        location: String,
        /// What it holds.
        choices: Vec<String>,
        /// How to name one.
        advice: String,
    },
    /// Images of another shape than the network's.
    #[error(
        "{location}: the network takes images of {expected} (channels x height x width), these are {found}: {advice}"
    )]
    Shape {
        /// Where the images come from.
        location: String,
        /// The network's shape.
        expected: String,
        /// The images' shape.
        found: String,
        /// What to try.
        advice: &'static str,
    },
    /// A value that the network's preprocessing does not accept.
    #[error("{image}: value {found} is outside {low}..{high}: {}", cause.advice(flag))]
    Value {
        /// The image, by index and name.
        image: String,
        /// The value.
        found: f64,
        /// Smallest accepted.
        low: f64,
        /// Largest accepted.
        high: f64,
        /// What the other values say about it.
        cause: ValueCause,
        /// The option that gives black and white.
        flag: &'static str,
    },
    /// Values that are accepted, and are almost surely scaled for another network.
    #[error(
        "{location}: all values lie in {}, the network takes {}: {}",
        text(*found),
        text(*network),
        scale_advice(*found, *network, *rest, flag)
    )]
    Scale {
        /// Where the images come from, or which image.
        location: String,
        /// The usual range that has all values.
        found: (f64, f64),
        /// What the network takes.
        network: (f64, f64),
        /// Whether there are other images that are as the network takes them.
        rest: bool,
        /// The option that gives black and white.
        flag: &'static str,
    },
    /// A range or a preprocessing that makes no sense.
    #[error("{what}: {advice}")]
    Range {
        /// What is wrong.
        what: String,
        /// What to try.
        advice: &'static str,
    },
    /// The network's preprocessing is not valid.
    #[error(transparent)]
    Preprocess(#[from] sordino_graph::Error),
}

classify!(Error {
    Usage: SetNotFound, Ambiguous, Range, Scale;
    BadFile: Malformed, TooLarge, TooMany, Shape, Value;
    Io: Io, OutOfMemory;
} inner { Preprocess });

/// Why a value is not accepted, as far as the values of all images tell.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum ValueCause {
    /// It is infinite or no number.
    NotFinite,
    /// The range that was given does not have it.
    OutsideGiven,
    /// All values lie in a range that images are usually scaled to.
    Usual((f64, f64)),
    /// They have 16 bits.
    Words,
    /// A mean was subtracted and the rest divided by a deviation.
    Standardized,
    /// None of these.
    Other,
}

impl ValueCause {
    fn advice(self, flag: &str) -> String {
        match self {
            Self::NotFinite => {
                "values must be finite: repair this image or leave it out".to_owned()
            }
            Self::OutsideGiven => {
                format!("give {flag} A..B with raw values of black and white that all images keep, or leave this image out")
            }
            Self::Usual(range) => format!(
                "all values lie in {range}: give {flag} {range}, or the range that they use",
                range = text(range)
            ),
            Self::Words => format!("these are 16-bit images: give {flag} 0..65535, or the range that they use"),
            Self::Standardized => {
                "a mean seems to be subtracted: give the images as they are before that, since the network's preprocessing does it".to_owned()
            }
            Self::Other => format!("give {flag} A..B with the raw values of black and white, or leave this image out"),
        }
    }
}

/// A range as options take it.
fn text((low, high): (f64, f64)) -> String {
    format!("{low}..{high}")
}

fn scale_advice(found: (f64, f64), network: (f64, f64), rest: bool, flag: &str) -> String {
    let (found, network) = (text(found), text(network));
    match rest {
        true => format!(
            "bring it to the scale of the other images, or give {flag} {network} if the values are meant as they are"
        ),
        false => {
            format!("give {flag} {found}, or {flag} {network} if the values are meant as they are")
        }
    }
}

impl Error {
    /// This error with the option of another command in its advice, where it has an option that gives black and white.
    pub fn for_option(mut self, option: &'static str) -> Self {
        if let Self::Value { flag, .. } | Self::Scale { flag, .. } = &mut self {
            *flag = option;
        }
        self
    }

    pub(crate) fn io(path: impl AsRef<Path>, action: &'static str, reason: io::Error) -> Self {
        Self::Io {
            path: path.as_ref().to_path_buf(),
            action,
            reason,
        }
    }

    /// Refuses a size over the limit of a reader.
    pub(crate) fn check_limit(
        location: &str,
        what: &'static str,
        found: u64,
        limit: u64,
    ) -> Result<(), Self> {
        if found <= limit {
            return Ok(());
        }
        let location = location.into();
        Err(Self::TooLarge {
            location,
            what,
            found,
            limit,
        })
    }

    pub(crate) fn malformed(
        location: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self::Malformed {
            location: location.into(),
            expected: expected.into(),
            found: found.into(),
            advice: advice.into(),
        }
    }
}

fn list(paths: &[PathBuf]) -> String {
    paths
        .iter()
        .map(|path| path.display().to_string())
        .collect::<Vec<_>>()
        .join(", ")
}
