//! Both sides of a plan in one process.

use sordino_client::{Client, Keys, Predictions};
use sordino_container::memory;
use sordino_graph::Model;
use sordino_plan::{Budget, CompileOptions, Plan, compile};
use sordino_protocol::{ReceivedRequest, Reply};
use sordino_ring::backend::{self, Backend};
use sordino_runtime::{Options, Weights, evaluate_blocks, evaluate_clear};

use crate::Error;

/// A compiled plan with fresh keys: encrypts, evaluates and decrypts, passing bytes as files would.
///
/// In real use the two sides are two machines: [`plan`](Self::plan)`.server` and the evaluation key belong to one,
/// everything else to the other.
pub struct Workflow {
    plan: Plan,
    client: Client,
    keys: Keys,
    weights: Weights,
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
    /// [`Error::Client`], [`Error::Runtime`].
    pub fn new(plan: Plan, backend: &'static Backend) -> Result<Self, Error> {
        let client = Client::new(plan.client.clone(), backend)?;
        let keys = client.generate_keys()?;
        Self::with_keys(plan, client, keys)
    }

    /// Prepares the weights for a client of the plan that has keys.
    pub(crate) fn with_keys(plan: Plan, client: Client, keys: Keys) -> Result<Self, Error> {
        // Of what is free the request is held twice, as bytes and as it is received.
        let beside = 2 * plan.server.estimate().upload_bytes;
        let memory =
            memory::available_bytes().map(|available| (available / 10 * 9).saturating_sub(beside));
        let budget = Budget {
            memory_bytes: memory,
            scratch_bytes: 0,
        };
        let weights = Weights::new(&plan.server, client.context(), budget)?;
        Ok(Self {
            plan,
            client,
            keys,
            weights,
        })
    }

    /// Both halves of the plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The data owner's side.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The weights, ready for the evaluation.
    pub(crate) fn weights(&self) -> &Weights {
        &self.weights
    }

    /// The keys.
    pub fn keys(&self) -> &Keys {
        &self.keys
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
    /// [`Error::Protocol`] for a request that does not fit the plan, [`Error::Runtime`].
    pub fn evaluate(&self, request: &[u8]) -> Result<Vec<u8>, Error> {
        self.evaluate_with(request, Options::default())
    }

    /// [`evaluate`](Self::evaluate) with progress or a trace.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate).
    pub fn evaluate_with(&self, request: &[u8], options: Options<'_>) -> Result<Vec<u8>, Error> {
        self.answer(
            ReceivedRequest::from_bytes(request, &self.client.request_shape())?,
            options,
        )
    }

    /// From a request in memory, its digest checked, to the bytes of the reply.
    pub(crate) fn answer(
        &self,
        received: ReceivedRequest,
        options: Options<'_>,
    ) -> Result<Vec<u8>, Error> {
        // Both sides have the same parameters, so the client's tables serve for both.
        let context = self.client.context();
        let (header, digest) = (received.header.clone(), received.digest);
        let shape = self.client.request_shape();
        let blocks = received
            .into_blocks()
            .map(|block| Ok::<_, Error>(block.parse(&shape)?));
        let (key, count) = (self.keys.evaluation.as_ref(), header.blocks as usize);
        let (plan, weights) = (&self.plan.server, &self.weights);
        let blocks = evaluate_blocks(plan, weights, context, key, blocks, count, options)?;
        Ok(Reply::new(&self.client.reply_shape(), &header, digest, blocks)?.to_bytes()?)
    }

    /// Decrypts the bytes of a reply.
    ///
    /// # Errors
    /// [`Error::Client`] for a reply that does not fit plan or key.
    pub fn decrypt(&self, reply: &[u8]) -> Result<Predictions, Error> {
        let reply = self.client.reply_from_bytes(reply)?;
        Ok(self.client.decrypt(&self.keys.secret, &reply)?)
    }

    /// The logits of the same integers in the clear: what decryption gives but for noise and rounding.
    ///
    /// # Shapes
    /// `[count, C, H, W]` in, `[count, classes]` out.
    ///
    /// # Errors
    /// [`Error::Runtime`] for images that do not fit the plan.
    pub fn evaluate_clear(&self, images: &[f32]) -> Result<Vec<f64>, Error> {
        let count = images.len() / self.plan.server.input().features.max(1);
        Ok(evaluate_clear(&self.plan.server, images, count)?)
    }
}
