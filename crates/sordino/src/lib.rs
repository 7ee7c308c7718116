//! Sordino: a server runs a neural network on images that it cannot see.
//!
//! This crate is the front door: it compiles a network, makes keys, encrypts, evaluates, decrypts, and compares the result with
//! the network in the clear. [`Client`] is the data owner's side, [`Evaluator`](evaluator::Evaluator) the model owner's;
//! [`Workflow`] has both in one process, which is what examples, tests and first steps need. Every error is an [`Error`].
//!
//! The crates behind it are modules:
//!
//! | module | for | feature |
//! |---|---|---|
//! | [`graph`], [`plan`] | networks and model files, compiling them into a server plan and a client plan | |
//! | [`client`], [`evaluator`] | keys, encryption, decryption; evaluation of requests | |
//! | [`runtime`] | evaluation of a plan, encrypted or in the clear | |
//! | [`protocol`], [`container`] | requests and replies, files | |
//! | [`ckks`], [`secret`], [`ring`] | the scheme itself | |
//! | `data` | images and data sets; keys, requests and replies as files | `files` |
//! | `data::open_dicom` | DICOM images, also by path where images are read | `dicom` |
//! | `train` | training and distillation | `train` |
//! | `onnx` | networks from other frameworks | `onnx` |
//! | `client::http` | submission of images to a server | `http` |
//!
//! All features but `dicom` are on by default.
//!
//! ```no_run
//! use sordino::{CompileOptions, Model, Workflow};
//!
//! # fn main() -> Result<(), sordino::Error> {
//! # let images: Vec<f32> = vec![];
//! let model = Model::load("models/mlp-mnist.safetensors")?;
//! let workflow = Workflow::compile(&model, &CompileOptions::new(1000))?;
//! let request = workflow.encrypt(&images)?; // bytes that are safe to send
//! let reply = workflow.evaluate(&request)?; // without the secret key
//! println!("{:?}", workflow.decrypt(&reply)?.classes());
//! # Ok(())
//! # }
//! ```

mod compare;
mod compile;
mod error;
pub mod measures;
mod operating_points;
mod plan_folder;
mod views;
mod weight_error;
mod workflow;

pub use compare::{
    Comparison, LEAST_AGREEMENT, LEAST_AGREEMENT_FLOAT, Reference, classes_of, float_accuracy,
    is_enough, worst_difference,
};
pub use compile::compile;
pub use error::Error;
pub use operating_points::{
    FindingMeasures, ImageLabels, Labelled, choose_operating_points, labels_of_findings,
    measure_findings, scores_of_findings,
};
pub use plan_folder::{CLIENT_PLAN_FILE, PlanFiles, SERVER_PLAN_FILE};
pub use views::{ViewTrial, try_views};
pub use weight_error::{WeightTrial, tune_weight_error};
pub use workflow::Workflow;

pub use sordino_client::{Client, Keys, Predictions};
pub use sordino_graph::Model;
pub use sordino_plan::{CheckImageCount, ClientPlan, CompileOptions, Plan, ServerPlan};

pub use sordino_ckks as ckks;
pub use sordino_client as client;
pub use sordino_container as container;
#[cfg(feature = "files")]
pub use sordino_data as data;
pub use sordino_evaluator as evaluator;
pub use sordino_fault as fault;
pub use sordino_graph as graph;
#[cfg(feature = "onnx")]
pub use sordino_onnx as onnx;
pub use sordino_plan as plan;
pub use sordino_protocol as protocol;
pub use sordino_ring as ring;
pub use sordino_runtime as runtime;
pub use sordino_secret as secret;
#[cfg(feature = "train")]
pub use sordino_train as train;
