//! A trained network with everything needed to use it.

use crate::{
    Calibration, Error, Graph, OperatingPoints, OutputKind, Preprocess, Shape, model_file,
};
use sordino_container::{Access, AtomicFile, Digest, Overwrite};
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

/// Longest class name, network name and data set name, in bytes.
const MAX_TEXT: usize = 256;

/// A trained network with everything needed to use it on images.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// The network.
    pub graph: Graph,
    /// How images become its input.
    pub preprocess: Preprocess,
    /// One name per logit.
    pub classes: Vec<String>,
    /// What the logits stand for.
    pub output: OutputKind,
    /// The network's name (architecture).
    pub name: String,
    /// The data set it was trained on.
    pub dataset: String,
    /// Ranges on calibration images; a model without them is not compiled.
    pub calibration: Option<Calibration>,
    /// At which scores findings are decided, where that was chosen.
    pub operating_points: Option<OperatingPoints>,
    /// How it was trained, for the reader.
    pub training: serde_json::Value,
}

impl Model {
    /// Checks that the parts fit each other.
    ///
    /// # Errors
    /// [`Error::Preprocess`] and [`Error::Graph`] name what does not.
    pub fn validate(&self) -> Result<(), Error> {
        let wrong = |what: String| Err(Error::Graph { what });
        self.preprocess.validate()?;
        let Preprocess {
            channels,
            height,
            width,
            ..
        } = self.preprocess;
        let image = Shape::map(channels, height, width);
        if self.graph.input_shape() != image {
            return wrong(format!(
                "its input has the shape {}, but preprocessing makes images of {image}: make them equal",
                self.graph.input_shape()
            ));
        }
        if self.classes.len() != self.graph.classes() {
            return wrong(format!(
                "it has {} logits and {} class names: give one name a logit",
                self.graph.classes(),
                self.classes.len()
            ));
        }
        let texts = self.classes.iter().chain([&self.name, &self.dataset]);
        for text in texts {
            if text.len() > MAX_TEXT || text.chars().any(char::is_control) {
                return wrong(format!(
                    "the name {:?} has control characters or more than {MAX_TEXT} bytes: shorten it",
                    text.chars().take(40).collect::<String>()
                ));
            }
        }
        if let Some(points) = &self.operating_points {
            points.validate(self.output, self.classes.len())?;
        }
        match &self.calibration {
            Some(calibration) => {
                calibration.validate(&self.graph)?;
                let input = calibration.input.as_ref();
                input.map_or(Ok(()), |input| input.validate(&self.preprocess))?;
                let views = calibration.views.as_ref();
                views.map_or(Ok(()), |views| views.validate(&self.preprocess))
            }
            None => Ok(()),
        }
    }

    /// The bytes of the model file: the same for the same model.
    ///
    /// # Errors
    /// As [`validate`](Self::validate), and [`Error::ModelFile`] for a model over the format's limits.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        self.validate()?;
        model_file::to_bytes(self).map_err(|fault| fault.at("model"))
    }

    /// Reads a model from the bytes of its file.
    ///
    /// # Errors
    /// [`Error::ModelFile`] for bytes that are no model file, [`Error::ModelContent`] for a model that cannot be used.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        model_file::from_bytes(bytes).map_err(|fault| fault.at("model"))
    }

    /// Reads a model file.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be read, else as [`from_bytes`](Self::from_bytes), with the path.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let read = |error| sordino_container::Error::io(path, "read", error);
        let mut file = File::open(path).map_err(read)?;
        let length = file.metadata().map_err(read)?.len();
        let at_path = |fault: model_file::Fault| fault.at(&path.display().to_string());
        model_file::check_length(length).map_err(at_path)?;
        let mut bytes = Vec::with_capacity(length as usize);
        // Not more than the limit, even if the file grows meanwhile.
        (&mut file)
            .take(model_file::MAX_FILE_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(read)?;
        model_file::from_bytes(&bytes).map_err(at_path)
    }

    /// Writes the model file in one step: complete or not at all.
    ///
    /// # Errors
    /// As [`to_bytes`](Self::to_bytes), and [`Error::File`] when it cannot be written or exists already.
    pub fn save(&self, path: impl AsRef<Path>, overwrite: Overwrite) -> Result<Digest, Error> {
        let path = path.as_ref();
        let bytes = self.to_bytes()?;
        let mut file = AtomicFile::create(path, overwrite, Access::Shared)?;
        file.write_all(&bytes)
            .map_err(|error| sordino_container::Error::io(path, "write", error))?;
        file.commit()?;
        Ok(Digest::of_bytes(&bytes))
    }

    /// BLAKE3 digest of the file that [`save`](Self::save) writes.
    ///
    /// # Errors
    /// As [`to_bytes`](Self::to_bytes).
    pub fn digest(&self) -> Result<Digest, Error> {
        Ok(Digest::of_bytes(&self.to_bytes()?))
    }
}

impl Calibration {
    fn validate(&self, graph: &Graph) -> Result<(), Error> {
        let wrong = |what: String| {
            Err(Error::Calibrate {
                what: format!("{what}: record the ranges again"),
            })
        };
        let expected = graph.nodes().len();
        let known = graph
            .nodes()
            .iter()
            .filter(|node| self.nodes.contains_key(&node.name))
            .count();
        if known != expected || self.nodes.len() != expected {
            return wrong(format!(
                "expected a range for each of {expected} nodes, found {} of which {known} are of this graph",
                self.nodes.len()
            ));
        }
        for (name, range) in &self.nodes {
            let finite = [range.min, range.max, range.p9999]
                .iter()
                .all(|x| x.is_finite());
            if !finite || range.min > range.max || range.p9999 < 0.0 {
                return wrong(format!("the range of node {name:?} is {range:?}"));
            }
        }
        if !(0.0..=64.0).contains(&self.margin_bits) {
            return wrong(format!("the margin is {} bits", self.margin_bits));
        }
        if let Some(error) = self.weight_error
            && !(1e-9..=1.0).contains(&error)
        {
            return wrong(format!("the tolerated error of weights is {error}"));
        }
        if let Some(logit) = self.usual_logit
            && !(logit.is_finite() && logit >= 0.0)
        {
            return wrong(format!("the usual size of a logit is {logit}"));
        }
        for node in &self.folded {
            let pairs = node
                .sensitivity
                .iter()
                .flat_map(|&(share, gain)| [share, gain]);
            let good = std::iter::once(node.max_abs)
                .chain(node.mean_square.iter().map(|&x| f64::from(x)))
                .chain(pairs)
                .all(|x| x.is_finite() && x >= 0.0);
            if !good {
                return wrong(format!(
                    "the statistics of {:?} are not finite and positive",
                    node.name
                ));
            }
        }
        Ok(())
    }
}
