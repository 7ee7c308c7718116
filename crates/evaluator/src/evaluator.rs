//! A plan ready to evaluate requests.

use std::sync::OnceLock;

use sordino_ckks::{Ciphertexts, Context, EvaluationKey};
use sordino_container::Digest;
use sordino_plan::{Budget, Schedule, ServerPlan};
use sordino_protocol::{
    Message, MessageShape, ReceivedBlock, ReceivedRequest, Reply, RequestHeader, check_key,
};
use sordino_ring::backend::Backend;
use sordino_runtime::{Options, Weights, evaluate_blocks};

use crate::Error;

/// A server plan with the tables and weights that evaluation needs.
#[derive(Debug)]
pub struct Evaluator {
    plan: ServerPlan,
    context: Context,
    /// The memory and scratch that an evaluation may use.
    budget: Budget,
    /// Prepared by the first evaluation.
    weights: OnceLock<Weights>,
}

impl Evaluator {
    /// Builds the tables for a plan.
    ///
    /// # Errors
    /// [`Error::Scheme`] if the parameters cannot be used.
    pub fn new(plan: ServerPlan, backend: &'static Backend) -> Result<Self, Error> {
        let context = Context::new(plan.parameters().clone(), backend)?;
        Ok(Self {
            plan,
            context,
            budget: Budget::default(),
            weights: OnceLock::new(),
        })
    }

    /// The same for evaluations within a budget, where that is less than they would take otherwise.
    ///
    /// # Errors
    /// [`Error::Memory`] for a channel-wise plan that is expected to need more; an element-wise plan is computed in smaller
    /// pieces, and [`prepare`](Self::prepare) says where even the smallest are too large.
    pub fn with_budget(mut self, budget: Budget) -> Result<Self, Error> {
        if let Some(limit) = budget.memory_bytes
            && let Some((estimate, _)) = self.plan.channel_memory(Some(limit))
            && estimate > limit
        {
            return Err(Error::Memory { estimate, limit });
        }
        self.budget = budget;
        Ok(self)
    }

    /// The plan.
    pub fn plan(&self) -> &ServerPlan {
        &self.plan
    }

    /// The parameters with their tables.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// What an evaluation may take.
    pub fn budget(&self) -> Budget {
        self.budget
    }

    /// What the plan fixes about a request.
    pub fn request_shape(&self) -> MessageShape<'_> {
        self.plan.request_shape(&self.context)
    }

    /// What the plan fixes about a reply.
    pub fn reply_shape(&self) -> MessageShape<'_> {
        self.plan.reply_shape(&self.context)
    }

    /// Evaluates a received request, whose digest and header were checked.
    ///
    /// # Errors
    /// [`Error::MissingKey`], [`Error::Protocol`] for a key of another client or residues out of range,
    /// [`Error::Runtime`].
    pub fn evaluate(
        &self,
        key: Option<&EvaluationKey>,
        received: ReceivedRequest,
        options: Options<'_>,
    ) -> Result<Reply, Error> {
        let header = received.header.clone();
        let digest = received.digest;
        let replies = self.evaluate_blocks(key, &header, received.into_blocks(), options)?;
        self.reply(&header, digest, replies)
    }

    /// Evaluates the blocks of a request as they arrive.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate).
    pub fn evaluate_blocks(
        &self,
        key: Option<&EvaluationKey>,
        header: &RequestHeader,
        blocks: impl Iterator<Item = ReceivedBlock>,
        options: Options<'_>,
    ) -> Result<Vec<Ciphertexts>, Error> {
        self.check_key(key, header)?;
        let shape = self.request_shape();
        let blocks = blocks.map(|block| Ok::<_, Error>(block.parse(&shape)?));
        let count = header.blocks as usize;
        let weights = self.weights()?;
        evaluate_blocks(
            &self.plan,
            weights,
            &self.context,
            key,
            blocks,
            count,
            options,
        )
    }

    /// Whether the plan has the key that it needs, and the key is that of the request.
    pub(crate) fn check_key(
        &self,
        key: Option<&EvaluationKey>,
        header: &RequestHeader,
    ) -> Result<(), Error> {
        match key {
            None if self.plan.needs_evaluation_key() => Err(Error::MissingKey),
            None => Ok(()),
            Some(key) => Ok(check_key(
                Message::Request,
                "evaluation key",
                key.key_id(),
                header.key_id,
            )?),
        }
    }

    /// Bytes of memory and of scratch that an evaluation needs at most.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare).
    pub fn needs(&self) -> Result<(u64, u64), Error> {
        if let Some((bytes, _)) = self.plan.channel_memory(self.budget.memory_bytes) {
            return Ok((bytes, 0));
        }
        Ok(self.prepare()?.map_or((0, 0), |schedule| {
            (schedule.memory_bytes(), schedule.scratch_bytes())
        }))
    }

    /// Prepares the plan's weights, which the first evaluation does otherwise, and returns the schedule of an element-wise plan.
    ///
    /// # Errors
    /// [`Error::Runtime`] for weights that cannot be encoded, and where memory and scratch do not do.
    pub fn prepare(&self) -> Result<Option<&Schedule>, Error> {
        Ok(match self.weights()? {
            Weights::ElementWise(weights) => Some(weights.schedule()),
            Weights::ChannelWise(_) => None,
        })
    }

    /// The plan's weights, prepared once.
    fn weights(&self) -> Result<&Weights, Error> {
        if let Some(weights) = self.weights.get() {
            return Ok(weights);
        }
        let prepared = Weights::new(&self.plan, &self.context, self.budget)?;
        Ok(self.weights.get_or_init(|| prepared))
    }

    /// The reply to a request whose digest was checked.
    ///
    /// # Errors
    /// [`Error::Protocol`] if the blocks are not what the plan makes.
    pub fn reply(
        &self,
        header: &RequestHeader,
        digest: Digest,
        blocks: Vec<Ciphertexts>,
    ) -> Result<Reply, Error> {
        Ok(Reply::new(&self.reply_shape(), header, digest, blocks)?)
    }
}
