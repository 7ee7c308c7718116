//! Compiling a network into a plan: parameters, scales, steps and estimates.
//!
//! [`compile`] is a pure function of model, options and cost table. Its result is a [`ServerPlan`] (steps and
//! integer weights) and a [`ClientPlan`] (parameters, layout, preprocessing, class names; no weights). This crate
//! evaluates nothing and knows no secret key.

mod alternatives;
mod channel;
mod check;
mod check_images;
mod client_plan;
mod compile;
mod containment;
mod cost;
mod error;
mod estimate;
mod explain;
mod header;
mod integers;
mod modulus;
mod network;
mod noise;
mod norms;
mod options;
mod packing;
mod payload;
mod precision;
mod primes;
mod schedule;
mod search;
mod server_plan;
mod sketch;
mod steps;
mod weights;

pub use alternatives::{Alternative, PackingComparison};
pub use channel::{ChannelLayout, ChannelPlan, Diagonal, RotationSchedule, SlotLayout, diagonals};
pub use check_images::{CheckImageCount, CheckImages, LEAST_CHECK_IMAGES, USUAL_CHECK_IMAGES};
pub use client_plan::{ClientParents, ClientPlan};
pub use compile::{Plan, compile};
pub use cost::CostTable;
pub use error::Error;
pub use estimate::Estimate;
pub use explain::{Explanation, StepSummary};
pub use header::{InputLayout, OutputLayout, PlanHeader};
pub use options::CompileOptions;
pub use packing::{Packing, PackingKind};
pub use schedule::{Budget, Schedule, Transfers, Unit};
pub use server_plan::ServerPlan;
pub use steps::{Operation, Step, Term, last_readers, unread};
pub use weights::DEFAULT_WEIGHT_ERROR;
