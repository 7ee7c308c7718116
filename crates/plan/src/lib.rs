//! Compiling a network into a plan: parameters, scales, steps and estimates.
//!
//! [`compile`] is a pure function of model, options and cost table. Its result is a [`ServerPlan`] (steps and
//! integer weights) and a [`ClientPlan`] (parameters, layout, preprocessing, class names; no weights). This crate
//! evaluates nothing and knows no secret key.

mod alternatives;
mod channel;
mod compile;
mod cost;
mod error;
mod estimate;
mod explain;
mod integers;
mod network;
mod noise;
mod options;
mod parts;
mod precision;
mod primes;
mod schedule;
mod search;
mod steps;
mod units;
mod weights;
mod wire;

pub use alternatives::{Alternative, PackingComparison};
pub use channel::{ChannelLayout, ChannelPlan, Diagonal, RotationSchedule, SlotLayout, diagonals};
pub use compile::{Plan, compile};
pub use cost::CostTable;
pub use error::Error;
pub use estimate::Estimate;
pub use explain::{Explanation, StepSummary};
pub use options::{CompileOptions, Packing};
pub use parts::{ClientPlan, InputLayout, OutputLayout, ServerPlan};
pub use steps::{Operation, Step, Term, last_readers};
pub use units::{Budget, Schedule, Transfers, Unit};
pub use weights::DEFAULT_WEIGHT_ERROR;
