//! The compiled plans, the server's half: steps and integer weights.
//!
//! `sordino compile` made them of `models/mlp-mnist.safetensors`; a test of `sordino-fhe-benchmark` compiles the model again and compares every byte.

use sordino_plan::ServerPlan;

use crate::{Error, Size};

/// The plan file for a size.
pub fn server_plan_bytes(size: Size) -> &'static [u8] {
    match size {
        Size::Single => include_bytes!("../plans/single.server.plan"),
        Size::Small => include_bytes!("../plans/small.server.plan"),
        Size::Medium => include_bytes!("../plans/medium.server.plan"),
        Size::Large => include_bytes!("../plans/large.server.plan"),
    }
}

/// The plan for a size.
///
/// # Errors
/// [`Error::Plan`] where this version cannot read it.
pub fn server_plan(size: Size) -> Result<ServerPlan, Error> {
    ServerPlan::from_bytes(server_plan_bytes(size)).map_err(|source| Error::Plan {
        size: size.number(),
        source,
    })
}
