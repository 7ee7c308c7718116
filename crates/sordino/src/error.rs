//! The errors of the crates behind this one, in one type.

use sordino_fault::classify;

/// Whatever went wrong on the way from a model to predictions.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Training.
    #[cfg(feature = "train")]
    #[error(transparent)]
    Train(#[from] sordino_train::Error),
    /// Images.
    #[cfg(feature = "files")]
    #[error(transparent)]
    Data(#[from] sordino_data::Error),
    /// A network exported by another framework.
    #[cfg(feature = "onnx")]
    #[error(transparent)]
    Onnx(#[from] sordino_onnx::Error),
    /// Model or graph.
    #[error(transparent)]
    Graph(#[from] sordino_graph::Error),
    /// Compilation or a plan file.
    #[error(transparent)]
    Plan(#[from] sordino_plan::Error),
    /// Keys, encryption or decryption.
    #[error(transparent)]
    Client(#[from] sordino_client::Error),
    /// Evaluation of a request.
    #[error(transparent)]
    Evaluator(#[from] sordino_evaluator::Error),
    /// A request or reply.
    #[error(transparent)]
    Protocol(#[from] sordino_protocol::Error),
    /// The engines.
    #[error(transparent)]
    Runtime(#[from] sordino_runtime::Error),
    /// The scheme.
    #[error(transparent)]
    Scheme(#[from] sordino_ckks::Error),
    /// The back end.
    #[error(transparent)]
    Ring(#[from] sordino_ring::Error),
    /// A file.
    #[error(transparent)]
    File(#[from] sordino_container::Error),
    /// A network or labels without findings.
    #[error(
        "expected findings with labelled images that have them and others that have not: operating points are for networks with two classes or with sigmoids, and for sets whose validation images are labelled 0 and 1, once or for each finding; use such a model and set"
    )]
    NoFindings,
    /// Scores that do not rise with a finding.
    #[error(
        "the scores of finding {finding:?} do not rise with it (AUC {auc:.3}): check the order of the class names, or train the network longer"
    )]
    NotCalibrated {
        /// Name of the finding.
        finding: String,
        /// Area under the ROC curve.
        auc: f64,
    },
    /// Labels of another number of findings than the network has.
    #[error(
        "the network has {network} finding(s) and the images have {labels} labels each: give the images that belong to this network, with a label for each of its findings in their order"
    )]
    OtherFindings {
        /// Findings of the network.
        network: usize,
        /// Labels of an image.
        labels: usize,
    },
    /// The plan was compiled from another model.
    #[error(
        "the plan was compiled from model {expected}, this is model {found}: give the model file that the plan was compiled from, or compile it again"
    )]
    WrongModel {
        /// The model that the plan names, shortened.
        expected: String,
        /// The model at hand, shortened.
        found: String,
    },
}

classify!(Error {
    BadFile: WrongModel, NoFindings, NotCalibrated, OtherFindings;
} inner {
    #[cfg(feature = "train")] Train,
    #[cfg(feature = "files")] Data,
    #[cfg(feature = "onnx")] Onnx,
    Graph, Plan, Client, Evaluator, Protocol, Runtime, Scheme, Ring, File,
});
