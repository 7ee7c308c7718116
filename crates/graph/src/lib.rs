//! Network graphs: operations, plain executor, folding and quantizing passes, ranges, model file.
//!
//! A [`Model`] is a [`Graph`] with what is needed to use it on images: [`Preprocess`], class names, [`OutputKind`] and
//! the ranges that [`calibrate`] recorded. The graph is computed in the clear by [`execute`]; [`fold`] turns it into
//! a [`Folded`] network of only inputs, linear maps and squares, and [`quantize`] rounds the weights of that to
//! integers. The crate knows nothing of encryption: scales, levels and parameters belong to the planner.

mod blocks;
mod calibrate;
mod calibration;
mod error;
mod evaluate;
mod execute;
mod findings;
mod fold;
mod folded;
mod function;
mod graph;
mod infer;
mod input_statistic;
mod model;
mod model_file;
mod op;
mod padding;
mod preprocess;
mod quantize;
mod sensitivity;
mod shape;
mod views;
mod window;

pub use calibrate::{calibrate, to_half_precision};
pub use calibration::{Calibration, FoldedStatistics, Range};
pub use error::Error;
pub use evaluate::{execute_folded, execute_folded_observed};
pub use execute::{execute, execute_f64, execute_observed};
pub use findings::{
    OperatingPoint, OperatingPoints, Target, finding_score, findings, logits_of_a_score,
};
pub use fold::{MAX_WEIGHTS, fold, without_pooling};
pub use folded::{Folded, FoldedNode, FoldedOp, Linear, Quantized, Term, Tile};
pub use function::Function;
pub use graph::{Builder, Graph, MAX_ELEMENTS, MAX_NODES};
pub use input_statistic::{InputGuard, InputStatistic, Score, Unusual, input_statistic_text};
pub use model::Model;
pub use op::{Granularity, Node, NodeId, Op, Tensor};
pub use padding::Padding;
pub use preprocess::{ColorPolicy, Filter, OutputKind, Preprocess, SizePolicy, Window};
pub use quantize::{WeightFormat, quantize};
pub use sensitivity::{Distribution, sensitivities};
pub use shape::Shape;
pub use views::{Changes, View, Views};
