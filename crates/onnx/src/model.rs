//! A model from an imported network and what its user says of the images.

use serde_json::json;
use sordino_graph::{Model, Preprocess, Shape, SizePolicy};

use crate::{Error, Imported, InputLayout};

/// White of a network that takes raw bytes.
const RAW_WHITE: f64 = 255.0;

/// What an ONNX file does not say: how images become the network's input.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// The network's name, recorded in the model.
    pub name: String,
    /// Mean of each channel of images scaled to 0..1; one number stands for all, none for zero.
    pub mean: Vec<f64>,
    /// What each channel is divided by after the mean is taken off; one number stands for all, none for one, or for what
    /// makes raw values of 0 to 255 again where the network takes those.
    pub std: Vec<f64>,
    /// One name per logit; none for the numbers from 0.
    pub classes: Vec<String>,
    /// Raw values that are scaled to 0 and 1.
    pub input_range: (f64, f64),
}

impl Imported {
    /// The model, without activation ranges.
    ///
    /// # Errors
    /// [`Error::Malformed`] unless there is one number per channel, [`Error::Graph`] for a model that does not fit
    /// together.
    pub fn into_model(self, description: Description) -> Result<Model, Error> {
        let Shape::Map {
            channels,
            height,
            width,
        } = self.graph.input_shape()
        else {
            unreachable!("the reader takes images only")
        };
        let per_channel = |what: &str, values: Vec<f64>, default: f64| match values.len() {
            0 => Ok(vec![default; channels]),
            1 => Ok(vec![values[0]; channels]),
            found if found == channels => Ok(values),
            found => Err(Error::Malformed {
                what: format!(
                    "{found} values for the {what}, expected one for each of {channels} channels"
                ),
            }),
        };
        let default_std = match self.takes_raw {
            true => 1.0 / RAW_WHITE,
            false => 1.0,
        };
        let mut classes = description.classes;
        if classes.is_empty() {
            classes = (0..self.graph.classes())
                .map(|class| class.to_string())
                .collect();
        }
        let model = Model {
            preprocess: Preprocess {
                channels,
                height,
                width,
                size: SizePolicy::Refuse,
                input_range: description.input_range,
                mean: per_channel("mean", description.mean, 0.0)?,
                std: per_channel("standard deviation", description.std, default_std)?,
                allowed: description.input_range,
            },
            graph: self.graph,
            classes,
            output: self.output,
            name: description.name,
            dataset: String::new(),
            calibration: None,
            operating_points: None,
            training: json!({
                "imported": "ONNX",
                "producer": self.producer,
                "onnx": {
                    "output": self.options.output,
                    "input_shape": self.options.input_shape,
                    "layout": match self.options.layout {
                        Some(InputLayout::Nhwc) => "nhwc",
                        _ => "nchw",
                    },
                },
            }),
        };
        model.validate()?;
        Ok(model)
    }
}
