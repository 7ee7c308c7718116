//! The compiled plans, the client's half: parameters, layout and preprocessing, no weights.

use sordino_client::Client;
use sordino_fhe_benchmark_server::{Error as ServerError, Size};
use sordino_plan::ClientPlan;
use sordino_ring::backend;

use crate::Error;

/// The plan file for a size.
pub fn client_plan_bytes(size: Size) -> &'static [u8] {
    match size {
        Size::Single => include_bytes!("../plans/single.client.plan"),
        Size::Small => include_bytes!("../plans/small.client.plan"),
        Size::Medium => include_bytes!("../plans/medium.client.plan"),
        Size::Large => include_bytes!("../plans/large.client.plan"),
    }
}

/// The plan for a size.
///
/// # Errors
/// [`Error::Server`] where this version cannot read it.
pub fn client_plan(size: Size) -> Result<ClientPlan, Error> {
    let plan = ClientPlan::from_bytes(client_plan_bytes(size));
    Ok(plan.map_err(|source| ServerError::Plan {
        size: size.number(),
        source,
    })?)
}

/// A client with the plan for a size.
///
/// # Errors
/// [`Error::Server`], [`Error::Ring`] for an unknown `SORDINO_BACKEND`.
pub fn client(size: Size) -> Result<Client, Error> {
    Ok(Client::new(client_plan(size)?, backend::select(None)?)?)
}
