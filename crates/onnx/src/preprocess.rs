//! What an ONNX file does not say of its images: settings from options, from a file, or from what training libraries print.

use serde::Deserialize;
use sordino_graph::{ColorPolicy, Filter, Preprocess, SizePolicy, Window};

use crate::Error;
use crate::printed;

/// White of a network that takes raw bytes.
const RAW_WHITE: f64 = 255.0;

/// How images become a network's input, as far as the network does not say it. What is left out has its default.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImageSettings {
    /// Mean of each channel of images scaled to 0..1; one number stands for all, none for zero.
    pub mean: Vec<f64>,
    /// What each channel is divided by after the mean is taken off; one number stands for all, none for one, or for what
    /// makes raw values of 0 to 255 again where the network takes those.
    pub std: Vec<f64>,
    /// Raw values that are scaled to 0 and 1; 0 and 255 by default.
    pub input_range: Option<(f64, f64)>,
    /// Raw values that are accepted; those of the range by default.
    pub allowed: Option<(f64, f64)>,
    /// What happens to images of another size; they are refused by default.
    pub size: Fit,
    /// How images are resized; bilinear by default.
    pub filter: Option<Filter>,
    /// Pixels of the shorter side before the centre is cut out of it; by default the longer side of the network's images.
    pub shorter: Option<usize>,
    /// Rows and columns to which images are stretched before the centre is cut out of them; by default those of the network's images.
    pub stretched: Option<(usize, usize)>,
    /// What happens to images of another number of channels.
    pub color: ColorPolicy,
    /// The window of DICOM images.
    pub window: Option<WindowSetting>,
    /// Channels, rows and columns that the network must have for these settings; 0 channels for any number.
    #[serde(skip)]
    pub network: Option<[usize; 3]>,
}

/// How images of another size become those of a network, by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// They do not.
    #[default]
    Refuse,
    /// Rows and columns are resized on their own.
    Stretch,
    /// The proportions stay, and what is too long is cut off.
    Crop,
    /// The proportions stay, and what is too short becomes black.
    Pad,
}

/// A window of DICOM images as files of settings have it.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum WindowSetting {
    /// The word `file`.
    Named(OfFile),
    /// Centre and width.
    Given(CenterWidth),
}

/// The window that a DICOM file itself names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OfFile {
    /// The only one.
    File,
}

/// A window by its centre and width.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CenterWidth {
    /// The centre.
    pub center: f64,
    /// The width.
    pub width: f64,
}

impl WindowSetting {
    fn window(self) -> Window {
        match self {
            Self::Named(OfFile::File) => Window::File,
            Self::Given(CenterWidth { center, width }) => Window::Given { center, width },
        }
    }
}

impl ImageSettings {
    /// Reads settings in TOML, the data configuration that timm prints, or the transforms that torchvision prints. Which of them it is, the
    /// first letters tell.
    ///
    /// # Errors
    /// [`Error::Preprocess`] for anything else, and for keys that are unknown.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let text = text.trim_start_matches('\u{feff}').trim();
        if text.starts_with('{') {
            return printed::timm(text);
        }
        if !text.contains('=')
            || text
                .split('=')
                .next()
                .is_some_and(|start| start.contains('('))
        {
            return printed::torchvision(text);
        }
        toml::from_str(text).map_err(|error| wrong(format!("expected settings in TOML: {error}")))
    }

    /// The preprocessing of a network with images of this shape, whose input is raw bytes or scaled to 0..1.
    ///
    /// # Errors
    /// [`Error::Preprocess`] for settings that contradict each other or the network.
    pub(crate) fn preprocess(
        &self,
        [channels, height, width]: [usize; 3],
        takes_raw: bool,
    ) -> Result<Preprocess, Error> {
        if let Some([stated, rows, columns]) = self.network
            && ((rows, columns) != (height, width) || (stated != 0 && stated != channels))
        {
            let stated = match stated {
                0 => format!("{rows}x{columns}"),
                _ => format!("{stated}x{rows}x{columns}"),
            };
            return Err(wrong(format!(
                "expected what belongs to this network, whose images are {channels}x{height}x{width}, found images of {stated}: \
                 give the settings of this network"
            )));
        }
        let per_channel = |what: &str, values: &[f64], default: f64| match *values {
            [] => Ok(vec![default; channels]),
            [value] => Ok(vec![value; channels]),
            _ if values.len() == channels => Ok(values.to_vec()),
            _ => Err(wrong(format!(
                "{} values for the {what}, expected one for each of {channels} channels, or one for all",
                values.len()
            ))),
        };
        let range = self.input_range.unwrap_or((0.0, RAW_WHITE));
        let default_std = match takes_raw {
            true => 1.0 / RAW_WHITE,
            false => 1.0,
        };
        Ok(Preprocess {
            channels,
            height,
            width,
            size: self.size_policy(height, width)?,
            input_range: range,
            mean: per_channel("mean", &self.mean, 0.0)?,
            std: per_channel("standard deviation", &self.std, default_std)?,
            allowed: self.allowed.unwrap_or(range),
            color: self.color,
            window: self.window.map(WindowSetting::window),
        })
    }

    fn size_policy(&self, height: usize, width: usize) -> Result<SizePolicy, Error> {
        let only_for = |key: &str, is_there: bool, sizes: &[Fit], names: &str| match is_there
            && !sizes.contains(&self.size)
        {
            true => Err(wrong(format!(
                "{key} is there without size = {names}: add it or leave {key} out"
            ))),
            false => Ok(()),
        };
        let resizing = [Fit::Stretch, Fit::Crop, Fit::Pad];
        only_for(
            "filter",
            self.filter.is_some(),
            &resizing,
            "\"stretch\", \"crop\" or \"pad\"",
        )?;
        only_for("shorter", self.shorter.is_some(), &[Fit::Crop], "\"crop\"")?;
        only_for(
            "stretched",
            self.stretched.is_some(),
            &[Fit::Stretch],
            "\"stretch\"",
        )?;
        let filter = self.filter.unwrap_or_default();
        Ok(match self.size {
            Fit::Refuse => SizePolicy::Refuse,
            Fit::Stretch => {
                let (height, width) = self.stretched.unwrap_or((height, width));
                SizePolicy::Stretch {
                    filter,
                    height,
                    width,
                }
            }
            Fit::Crop => SizePolicy::Crop {
                filter,
                shorter: self.shorter.unwrap_or(height.max(width)),
            },
            Fit::Pad => SizePolicy::Pad { filter },
        })
    }
}

pub(crate) fn wrong(what: String) -> Error {
    Error::Preprocess { what }
}
