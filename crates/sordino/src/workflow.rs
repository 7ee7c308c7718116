//! Both sides of a plan in one process.

use sordino_client::{Client, Keys, Predictions};
use sordino_evaluator::{Evaluator, most_of_free_memory};
use sordino_graph::Model;
use sordino_plan::{Budget, CompileOptions, Plan, ServerPlan};
use sordino_protocol::ReceivedRequest;
use sordino_ring::backend::{self, Backend};
use sordino_runtime::{Options, evaluate_clear};

use crate::{Error, compile};

/// A client with fresh keys and an evaluator of the same plan: encrypts, evaluates and decrypts, passing bytes as files would.
///
/// In real use the two sides are two machines: the evaluator and the evaluation key belong to one, client and secret key to the
/// other.
pub struct Workflow {
    client: Client,
    keys: Keys,
    evaluator: Evaluator,
}

impl Workflow {
    /// Compiles a model and makes keys.
    ///
    /// # Errors
    /// [`Error::Plan`] where no plan meets the options, [`Error::Client`] where there is no randomness, [`Error::Ring`] where
    /// `SORDINO_BACKEND` names no back end of this processor.
    pub fn compile(model: &Model, options: &CompileOptions) -> Result<Self, Error> {
        Self::new(compile(model, options)?, backend::select(None)?)
    }

    /// Makes keys for a plan and prepares its weights.
    ///
    /// # Errors
    /// [`Error::Client`], [`Error::Evaluator`].
    pub fn new(plan: Plan, backend: &'static Backend) -> Result<Self, Error> {
        let client = Client::new(plan.client, backend)?;
        let keys = client.generate_keys()?;
        Self::with_keys(plan.server, client, keys)
    }

    /// Prepares the weights of a server plan for a client of the same plan that has keys.
    ///
    /// # Errors
    /// [`Error::Evaluator`].
    pub fn with_keys(plan: ServerPlan, client: Client, keys: Keys) -> Result<Self, Error> {
        // The request is in memory twice, as bytes and as it was received.
        let requests = 2 * plan.estimate().upload_bytes;
        let budget = Budget {
            memory_bytes: most_of_free_memory().map(|bytes| bytes.saturating_sub(requests)),
            scratch_bytes: 0,
        };
        let evaluator = Evaluator::new(plan, client.context().backend())?.with_budget(budget)?;
        evaluator.prepare()?;
        Ok(Self {
            client,
            keys,
            evaluator,
        })
    }

    /// The data owner's side.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The keys.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The model owner's side.
    pub fn evaluator(&self) -> &Evaluator {
        &self.evaluator
    }

    /// Encrypts prepared images into the bytes of a request.
    ///
    /// # Shapes
    /// `images` is `[count, C, H, W]`, as `data::prepare` makes it with the model's preprocessing.
    ///
    /// # Errors
    /// [`Error::Client`] for images that do not fit the plan.
    pub fn encrypt(&self, images: &[f32]) -> Result<Vec<u8>, Error> {
        Ok(self.client.encrypt(&self.keys.secret, images)?.to_bytes()?)
    }

    /// Evaluates the bytes of a request into the bytes of a reply: the server's part, without the secret key.
    ///
    /// # Errors
    /// [`Error::Protocol`] for a request that does not fit the plan, [`Error::Evaluator`].
    pub fn evaluate(&self, request: &[u8]) -> Result<Vec<u8>, Error> {
        self.evaluate_with(request, Options::default())
    }

    /// Like [`evaluate`](Self::evaluate), with progress or a trace.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate).
    pub fn evaluate_with(&self, request: &[u8], options: Options<'_>) -> Result<Vec<u8>, Error> {
        let received = ReceivedRequest::from_bytes(request, &self.evaluator.request_shape())?;
        self.answer(received, options)
    }

    /// Evaluates a request in memory, its digest checked, into the bytes of a reply.
    ///
    /// # Errors
    /// [`Error::Evaluator`].
    pub fn answer(
        &self,
        received: ReceivedRequest,
        options: Options<'_>,
    ) -> Result<Vec<u8>, Error> {
        let key = self.keys.evaluation.as_ref();
        Ok(self
            .evaluator
            .evaluate(key, received, options)?
            .to_bytes()?)
    }

    /// Decrypts the bytes of a reply.
    ///
    /// # Errors
    /// [`Error::Client`] for a reply that does not fit plan or key.
    pub fn decrypt(&self, reply: &[u8]) -> Result<Predictions, Error> {
        let reply = self.client.reply_from_bytes(reply)?;
        Ok(self.client.decrypt(&self.keys.secret, &reply)?)
    }

    /// The logits of the same integers in the clear: those of decryption but for noise and rounding.
    ///
    /// # Shapes
    /// `[count, C, H, W]` in, `[count, classes]` out.
    ///
    /// # Errors
    /// [`Error::Runtime`] for images that do not fit the plan.
    pub fn evaluate_clear(&self, images: &[f32]) -> Result<Vec<f64>, Error> {
        let plan = self.evaluator.plan();
        let count = images.len() / plan.input().features.max(1);
        Ok(evaluate_clear(plan, images, count)?)
    }
}
