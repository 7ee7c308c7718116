//! Sordino: a server runs a neural network on images that it cannot see.
//!
//! This crate is the front door. [`Workflow`] runs both sides of a plan in one process, which is what examples, tests
//! and first steps need; the crates behind it are re-exported by name for everything else:
//!
//! | module | for |
//! |---|---|
//! | [`graph`], [`data`], [`train`] | networks and model files, images, training |
//! | [`onnx`] | networks from other frameworks |
//! | [`plan`] | compiling a network into a server plan and a client plan |
//! | [`client`] | keys, encryption, decryption |
//! | [`runtime`] | evaluation of a plan, encrypted or in the clear |
//! | [`protocol`], [`container`] | requests and replies, files |
//! | [`ckks`], [`secret`], [`ring`] | the scheme itself |
//!
//! ```no_run
//! use sordino::{CompileOptions, Workflow, graph::Model};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let images: Vec<f32> = vec![];
//! let model = Model::load("models/mlp-mnist.safetensors")?;
//! let workflow = Workflow::compile(&model, &CompileOptions::new(1000))?;
//! let request = workflow.encrypt(&images)?; // bytes that are safe to send
//! let reply = workflow.evaluate(&request)?; // knows no secret key
//! println!("{:?}", workflow.decrypt(&reply)?.classes());
//! # Ok(())
//! # }
//! ```

mod accuracy;
mod apart;
mod calibrate;
mod compare;
mod digits;
mod error;
mod kernels;
mod layers;
mod measure;
mod plan_folder;
mod rates;
mod scaling;
mod weights;
mod workflow;

pub use accuracy::{area_under_curve, measure_accuracy};
pub use apart::{EvaluatedApart, FilesApart, measure_apart};
pub use calibrate::calibrate;
pub use compare::{
    Comparison, LEAST_AGREEMENT, LEAST_AGREEMENT_FLOAT, Reference, classes_of, is_enough,
    worst_difference,
};
pub use digits::{shifted_digits, train_digits};
pub use error::Error;
pub use kernels::{KernelOptions, measure_kernels};
pub use measure::{MeasureOptions, Measurement, measure};
pub use plan_folder::{CLIENT_PLAN_FILE, PlanFiles, SERVER_PLAN_FILE};
pub use scaling::{BlockSeries, measure_block_scaling, measure_thread_scaling};
pub use weights::{WeightTrial, settle_weights};
pub use workflow::Workflow;

pub use sordino_client::{Client, Keys, Predictions};
pub use sordino_graph::Model;
pub use sordino_plan::{ClientPlan, CompileOptions, Plan, ServerPlan, compile};

pub use sordino_ckks as ckks;
pub use sordino_client as client;
pub use sordino_container as container;
pub use sordino_data as data;
pub use sordino_graph as graph;
pub use sordino_onnx as onnx;
pub use sordino_plan as plan;
pub use sordino_protocol as protocol;
pub use sordino_report as report;
pub use sordino_ring as ring;
pub use sordino_runtime as runtime;
pub use sordino_secret as secret;
pub use sordino_train as train;
