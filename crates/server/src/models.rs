//! The models of a service, ready to evaluate.

use std::fs;
use std::sync::Arc;

use axum::body::Bytes;
use sordino_ckks::EvaluationKey;
use sordino_container::Digest;
use sordino_evaluator::Evaluator;
use sordino_plan::{Budget, ClientPlan, ServerPlan};
use sordino_protocol::api;
use sordino_protocol::limits;
use sordino_ring::backend::Backend;

use super::config::ModelConfig;
use crate::Error;

/// Names of the two parts in a plan's folder.
const SERVER_PLAN: &str = "server.plan";
const CLIENT_PLAN: &str = "client.plan";

/// A plan that was read, with its client's part.
#[derive(Debug)]
pub(super) struct Model {
    pub name: String,
    pub evaluator: Evaluator,
    pub client_plan: Bytes,
    /// Digest of the parameters.
    pub parameters: Digest,
    memory_bytes: u64,
    scratch_bytes: u64,
}

impl Model {
    /// Reads both parts of a plan.
    fn read(config: &ModelConfig, backend: &'static Backend) -> Result<Self, Error> {
        let wrong = |detail: String| Error::config(&config.plan, detail);
        let plan = ServerPlan::read(config.plan.join(SERVER_PLAN))?;
        let path = config.plan.join(CLIENT_PLAN);
        let found =
            fs::metadata(&path).map_err(|error| wrong(format!("{CLIENT_PLAN}: {error}")))?;
        if found.len() > api::CLIENT_PLAN_BYTES {
            return Err(wrong(format!(
                "{CLIENT_PLAN} is larger than {} bytes",
                api::CLIENT_PLAN_BYTES
            )));
        }
        let bytes = fs::read(&path).map_err(|error| wrong(format!("{CLIENT_PLAN}: {error}")))?;
        let client = ClientPlan::from_bytes(&bytes)?;
        if client.plan() != plan.digest() {
            return Err(wrong(format!(
                "expected the two parts of one plan, found {SERVER_PLAN} {} and {CLIENT_PLAN} of {}: compile again",
                sordino_protocol::shorten(plan.digest()),
                sordino_protocol::shorten(client.plan()),
            )));
        }
        let evaluator = Evaluator::new(plan, backend)?;
        Ok(Self {
            name: config.name.clone(),
            parameters: evaluator.context().digest(),
            evaluator,
            client_plan: Bytes::from(bytes),
            memory_bytes: 0,
            scratch_bytes: 0,
        })
    }

    /// Prepares the weights for jobs within the budget.
    fn prepare(mut self, budget: Budget) -> Result<Self, Error> {
        self.evaluator = self.evaluator.with_budget(budget)?;
        (self.memory_bytes, self.scratch_bytes) = self.evaluator.needs()?;
        Ok(self)
    }

    /// Bytes of a key for this plan; 0 if it needs none. A key may hold more than the plan needs, for another plan.
    fn key_bytes(&self) -> Result<u64, Error> {
        let plan = self.evaluator.plan();
        let set = plan.key_set()?;
        Ok(set.map_or(0, |set| {
            EvaluationKey::payload_bytes(plan.parameters(), &set)
        }))
    }

    /// Bytes of the smallest and the largest request file for so many images, if it may be so many.
    pub(super) fn request_bytes(&self, images: u64) -> Option<(u64, u64)> {
        bounds(
            self.evaluator
                .request_shape()
                .layout(usize::try_from(images).ok()?)
                .ok()?
                .payload_bytes(),
        )
    }

    /// Bytes of the largest reply file for so many images.
    pub(super) fn reply_bytes(&self, images: u64) -> Option<u64> {
        let layout = self
            .evaluator
            .reply_shape()
            .layout(usize::try_from(images).ok()?);
        bounds(layout.ok()?.payload_bytes()).map(|(_, largest)| largest)
    }

    /// The model as clients see it.
    pub(super) fn describe(&self) -> api::Model {
        let plan = self.evaluator.plan();
        api::Model {
            name: self.name.clone(),
            plan: plan.digest(),
            parameters: self.parameters,
            network: plan.network().to_owned(),
            dataset: plan.dataset().to_owned(),
            batch: plan.batch() as u64,
            security_bits: plan.parameters().security_bits(),
            needs_key: plan.needs_evaluation_key(),
            memory_bytes: self.memory_bytes,
            scratch_bytes: self.scratch_bytes,
            client_plan_bytes: self.client_plan.len() as u64,
        }
    }
}

/// A file with so much payload has a header and some metadata as well.
fn bounds(payload: u64) -> Option<(u64, u64)> {
    let header = sordino_container::HEADER_BYTES as u64;
    let smallest = payload.checked_add(header)?;
    Some((smallest, smallest.checked_add(limits::METADATA_BYTES)?))
}

/// All models.
#[derive(Debug)]
pub(super) struct Models {
    all: Vec<Arc<Model>>,
    /// Most bytes of a key for any of them.
    key_bytes: u64,
    /// The memory and scratch that a job may use.
    pub budget: Budget,
}

impl Models {
    /// Reads and prepares all models. Of `memory` bytes, `reserved` are not for jobs; `at_once` jobs share the rest.
    pub(super) fn read(
        configs: &[ModelConfig],
        backend: &'static Backend,
        memory: Option<u64>,
        scratch: u64,
        reserved: u64,
        at_once: usize,
    ) -> Result<Self, Error> {
        let models: Vec<Model> = configs
            .iter()
            .map(|config| Model::read(config, backend))
            .collect::<Result<_, _>>()?;
        let keys: Vec<u64> = models
            .iter()
            .map(Model::key_bytes)
            .collect::<Result<_, _>>()?;
        let key_bytes = keys.into_iter().max().unwrap_or(0);
        // A key that is checked while jobs run.
        let reserved = reserved + key_bytes;
        let at_once = at_once as u64;
        let memory_bytes = match memory {
            None => None,
            Some(memory) if memory > reserved + at_once => Some((memory - reserved) / at_once),
            Some(memory) => {
                return Err(Error::Evaluator(sordino_evaluator::Error::Memory {
                    estimate: reserved + at_once,
                    limit: memory,
                }));
            }
        };
        let budget = Budget {
            memory_bytes,
            scratch_bytes: scratch / at_once,
        };
        let all = models
            .into_iter()
            .map(|model| {
                let name = model.name.clone();
                let prepared = model.prepare(budget).map_err(|reason| Error::Model {
                    name,
                    reason: Box::new(reason),
                });
                prepared.map(Arc::new)
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            all,
            key_bytes,
            budget,
        })
    }

    /// All of them, in the order of the configuration.
    pub(super) fn all(&self) -> &[Arc<Model>] {
        &self.all
    }

    /// The model of a name.
    pub(super) fn named(&self, name: &str) -> Option<&Arc<Model>> {
        self.all.iter().find(|model| model.name == name)
    }

    /// A model with these parameters that needs a key: what a key for them is read with.
    pub(super) fn with_parameters(&self, parameters: Digest) -> Option<&Arc<Model>> {
        let fits = |model: &&Arc<Model>| {
            model.parameters == parameters && model.evaluator.plan().needs_evaluation_key()
        };
        self.all.iter().find(fits)
    }

    /// Bytes of the largest key file that is taken.
    pub(super) fn largest_key(&self) -> u64 {
        self.key_bytes + sordino_container::HEADER_BYTES as u64 + (1 << 16)
    }
}
