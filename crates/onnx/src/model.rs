//! A model from an imported network and what its user says of the images.

use serde_json::json;
use sordino_graph::{Model, Shape};

use crate::{Error, ImageSettings, Imported, InputLayout};

/// What an ONNX file does not say: how images become the network's input.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// The network's name, recorded in the model.
    pub name: String,
    /// One name per logit; none for the numbers from 0.
    pub classes: Vec<String>,
    /// How images become the network's input.
    pub images: ImageSettings,
}

impl Imported {
    /// The model, without activation ranges.
    ///
    /// # Errors
    /// [`Error::Preprocess`] for settings of images that do not fit the network, [`Error::Graph`] for a model that does not fit
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
        let shape = [channels, height, width];
        let preprocess = description.images.preprocess(shape, self.takes_raw)?;
        let mut classes = description.classes;
        if classes.is_empty() {
            classes = (0..self.graph.classes())
                .map(|class| class.to_string())
                .collect();
        }
        let model = Model {
            preprocess,
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
