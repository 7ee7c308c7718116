//! From a model to a complete plan.

use sordino_graph::Model;
use sordino_plan::{CompileOptions, Plan};
use sordino_runtime::Error as RuntimeError;

use crate::Error;

/// Compiles a model into both halves of a plan, check images included.
///
/// A pure function: the same model and options give the same plan, byte for byte.
///
/// # Errors
/// [`Error::Plan`] where no plan meets the options, or check images were asked for and cannot be made.
pub fn compile(model: &Model, options: &CompileOptions) -> Result<Plan, Error> {
    sordino_runtime::compile(model, options).map_err(|error| match error {
        RuntimeError::Plan(error) => Error::Plan(error),
        other => Error::Runtime(other),
    })
}
