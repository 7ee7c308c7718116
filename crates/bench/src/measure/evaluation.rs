//! Timed and traced evaluations of one request.

use sordino::Workflow;
use sordino::plan::ServerPlan;
use sordino::protocol::ReceivedRequest;
use sordino::runtime::{Options, Progress, Trace};

use super::options::{MeasureOptions, timed};
use super::rates::set_rates;
use crate::record::{Record, Timing};

/// Seconds and traces of several evaluations of one request.
#[derive(Default)]
pub(super) struct Evaluation {
    pub(super) reading: Vec<f64>,
    pub(super) evaluating: Vec<f64>,
    pub(super) traces: Vec<Trace>,
}

impl Evaluation {
    /// Evaluates once, in the current pool, and returns the reply.
    pub(super) fn run(
        &mut self,
        workflow: &Workflow,
        request: &[u8],
        options: &MeasureOptions<'_>,
    ) -> anyhow::Result<Vec<u8>> {
        let shape = workflow.client().request_shape();
        let received = timed(&mut self.reading, || {
            Ok(ReceivedRequest::from_bytes(request, &shape)?)
        })?;
        let mut trace = Trace::default();
        let progress = |progress: &Progress<'_>| options.bar.evaluation(progress);
        let options = Options {
            progress: Some(&progress),
            trace: Some(&mut trace),
            scratch: None,
        };
        let reply = timed(&mut self.evaluating, || {
            Ok(workflow.answer(received, options)?)
        })?;
        self.traces.push(trace);
        Ok(reply)
    }

    /// Fills in seconds and rates.
    pub(super) fn describe(&self, record: &mut Record, plan: &ServerPlan) {
        record.read = Timing::of(&self.reading);
        record.set_evaluation(&self.evaluating);
        let executed = |trace: &Trace| {
            let steps = trace.steps.iter().map(|step| (step.step, step.seconds));
            steps.collect()
        };
        let executed: Vec<Vec<(usize, f64)>> = self.traces.iter().map(executed).collect();
        set_rates(record, plan, &executed);
    }
}
