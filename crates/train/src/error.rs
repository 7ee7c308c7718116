//! What can go wrong while training.

use sordino_fault::classify;
use sordino_graph::Model;

/// Why a network could not be trained.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The architecture's name is none of the known ones.
    #[error(
        "unknown architecture {found:?}, expected one of {expected}: choose one or give a layer list file"
    )]
    UnknownArchitecture {
        /// The name given.
        found: String,
        /// The known names.
        expected: String,
    },
    /// The activation's name is none of the known ones.
    #[error("unknown activation {found:?}: choose relu, layer, channel or element")]
    UnknownActivation {
        /// The name given.
        found: String,
    },
    /// A layer does not fit what comes before it.
    #[error("layer {layer} ({name}): expected {expected}, found {found}; change the layer list")]
    Layer {
        /// Number of the layer in the list, from 1.
        layer: usize,
        /// The layer's kind.
        name: &'static str,
        /// What would fit.
        expected: String,
        /// What the list or the data gave.
        found: String,
    },
    /// A value of the configuration is outside what makes sense.
    #[error("training configuration: {field} is {found}, expected {expected}; correct it")]
    Config {
        /// The field.
        field: &'static str,
        /// Its value.
        found: String,
        /// What is accepted.
        expected: &'static str,
    },
    /// Images, labels and classes do not belong together.
    #[error("training data: expected {expected}, found {found}; check the data set")]
    Data {
        /// What would fit.
        expected: String,
        /// What was given.
        found: String,
    },
    /// The loss or a gradient left the range of numbers that can be trained with.
    #[error(
        "training diverged in epoch {epoch}, batch {batch}, at layer {layer}: {found}; lower the learning rate, \
         lengthen the warm-up or raise the range penalty{}",
        kept(best.is_some(), best_error.as_deref())
    )]
    Diverged {
        /// The epoch, from 1.
        epoch: usize,
        /// The batch within the epoch, from 1.
        batch: usize,
        /// The first layer whose values or gradients were not finite, or the one with the largest.
        layer: String,
        /// The range found there.
        found: String,
        /// The network as it was after its best epoch, if one was completed and could be written down.
        best: Option<Box<Model>>,
        /// Why the best epoch's network could not be written down.
        best_error: Option<Box<Error>>,
    },
    /// A checkpoint is damaged or of another run.
    #[error(
        "checkpoint {path}: expected {expected}, found {found}; repeat the run's settings, or remove the file to start anew"
    )]
    Checkpoint {
        /// The file.
        path: String,
        /// What this run would have written.
        expected: String,
        /// What the file has.
        found: String,
    },
    /// A teacher does not fit the data, or is not one to learn from.
    #[error("teacher: expected {expected}, found {found}; choose another network or data set")]
    Teacher {
        /// What would fit.
        expected: String,
        /// What was given.
        found: String,
    },
    /// A network has no activation that could become a quadratic.
    #[error(
        "{network} has no activation to convert: it is polynomial already; record its ranges with `sordino ranges` and \
         compile it"
    )]
    NothingToConvert {
        /// The network's name.
        network: String,
    },
    /// Too few images to fit quadratics to.
    #[error(
        "expected at least {expected} images to fit the quadratics to, found {found}: give more images"
    )]
    FewImages {
        /// The fewest that are enough.
        expected: usize,
        /// How many were given.
        found: usize,
    },
    /// The values of a converted network left the range of numbers.
    #[error(
        "the values of layer {layer} of the converted network are not finite: quadratics do not suit these weights; train \
         a student with `sordino distill`"
    )]
    Overflow {
        /// The layer.
        layer: String,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] sordino_container::Error),
    /// The trained network could not be written down as a graph.
    #[error(transparent)]
    Graph(#[from] sordino_graph::Error),
    /// The data set could not be read or prepared.
    #[error(transparent)]
    DataSet(#[from] sordino_data::Error),
}

classify!(Error {
    Usage: UnknownArchitecture, UnknownActivation, Layer, Config;
    BadFile: Data, Checkpoint, Teacher, NothingToConvert, FewImages;
    Limits: Diverged, Overflow;
} inner { File, Graph, DataSet });

/// What became of the best epoch of a run that diverged.
fn kept(kept: bool, error: Option<&Error>) -> String {
    match error {
        Some(error) => format!(" (the best epoch so far is lost: {error})"),
        None if kept => " (the best epoch so far was kept)".to_owned(),
        None => " (no epoch had been completed)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divergence_says_what_became_of_the_best_epoch() {
        let text = |best_error| {
            let error = Error::Diverged {
                epoch: 3,
                batch: 1,
                layer: "conv1".into(),
                found: "NaN".into(),
                best: None,
                best_error,
            };
            error.to_string()
        };
        assert!(text(None).ends_with("(no epoch had been completed)"));
        let lost = Error::Data {
            expected: "images".into(),
            found: "none".into(),
        };
        let text = text(Some(Box::new(lost)));
        assert!(text.contains("the best epoch so far is lost: training data: expected images"));
    }
}
