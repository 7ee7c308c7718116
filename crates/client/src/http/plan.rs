//! The client plan that a server hands out, which is not trusted.

use sordino_container::Digest;
use sordino_plan::ClientPlan;
use sordino_protocol::api::Model;
use sordino_ring::backend::Backend;

use super::connect::RemoteServer;
use crate::{Client, Error};

/// Security of parameters below which nothing is encrypted.
const LEAST_SECURITY: u32 = 128;

impl RemoteServer {
    /// Fetches a model's client plan and checks it: every part of the plan itself, the security of its parameters, and that it is the
    /// plan that the server described.
    ///
    /// # Errors
    /// [`Error::RefusedPlan`] for a plan that is damaged or insecure, [`Error::ServedPlan`] for another one, and those of
    /// [`models`](Self::models).
    pub async fn open_model(
        &self,
        name: &str,
        backend: &'static Backend,
    ) -> Result<(Model, Client), Error> {
        let (model, client, _) = self.open_model_file(name, backend).await?;
        Ok((model, client))
    }

    /// As [`open_model`](Self::open_model), with the digest of the plan's file.
    pub(super) async fn open_model_file(
        &self,
        name: &str,
        backend: &'static Backend,
    ) -> Result<(Model, Client, Digest), Error> {
        let model = self.model(name).await?;
        let bytes = self.client_plan(name).await?;
        // Refuses parameters below 128 bits, and those that are marked as made for tests.
        let plan = ClientPlan::from_bytes(&bytes).map_err(|reason| Error::RefusedPlan {
            model: name.to_owned(),
            server: self.address().to_owned(),
            reason: Box::new(reason),
        })?;
        check(&model, &plan)?;
        Ok((model, Client::new(plan, backend)?, Digest::of_bytes(&bytes)))
    }
}

/// Compares a plan with what the server says of it.
fn check(model: &Model, plan: &ClientPlan) -> Result<(), Error> {
    let parameters = &plan.header.parameters;
    let differs = |what, expected: &dyn ToString, found: &dyn ToString| {
        let (expected, found) = (expected.to_string(), found.to_string());
        if expected == found {
            return Ok(());
        }
        Err(Error::ServedPlan {
            model: model.name.clone(),
            what,
            expected,
            found,
        })
    };
    let security = parameters.security_bits();
    // Reading the plan has seen to it; here it is seen to whatever that does in future.
    if security < LEAST_SECURITY {
        differs("its least security is", &LEAST_SECURITY, &security)?;
    }
    let needs_key = parameters.gadget().is_some();
    differs("its digest is", &model.plan, &plan.plan())?;
    differs(
        "its parameters are",
        &model.parameters,
        &parameters.digest(),
    )?;
    differs("its batch is", &model.batch, &plan.header.batch)?;
    differs("it needs an evaluation key:", &model.needs_key, &needs_key)?;
    differs("its bits of security are", &model.security_bits, &security)
}
