//! One measurement after the other, each made once.

use sordino::graph::Model;
use sordino::plan::{CompileOptions, Packing, Plan, compile};
use sordino::report::Environment;
use sordino::ring::backend::Backend;
use sordino::{MeasureOptions, measure};
use sordino_command::GlobalArgs;
use sordino_command::terminal::Bar;

use super::Settings;
use super::state::{Finished, State};
use super::subject::{Subject, activation};
use crate::bench::apart::set_apart;
use crate::output::Output;

/// A run longer than this is the only one, whatever the budget.
const LONG_RUN_SECONDS: f64 = 60.0;

/// Everything that measurements have in common.
pub(super) struct Session<'a> {
    pub state: State,
    pub settings: &'a Settings,
    pub environment: Environment,
    pub threads: usize,
    pub backend: &'static Backend,
    quiet: bool,
    output: &'a Output,
}

/// Whether accuracy is taken from the images.
#[derive(Clone, Copy, PartialEq)]
enum Judge {
    /// From the test images among them.
    TestImages,
    /// Nothing is compared with the network in the clear.
    Nothing,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        state: State,
        settings: &'a Settings,
        global: &GlobalArgs,
        output: &'a Output,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            state,
            settings,
            environment: Environment::here(),
            threads: rayon::current_num_threads(),
            backend: global.backend()?,
            quiet: global.quiet,
            output,
        })
    }

    /// Evaluates the first `count` images with a plan, several times and once more in a process of its own, or takes it
    /// from an earlier run. A run longer than `long_run_seconds` is the only one.
    #[expect(clippy::too_many_arguments, reason = "what a measurement is of")]
    fn measured(
        &mut self,
        subject: &Subject,
        model: &Model,
        plan: &Plan,
        count: usize,
        runs: usize,
        long_run_seconds: f64,
        judge: Judge,
    ) -> anyhow::Result<Finished> {
        let (plan_digest, digest) = (plan.server.digest(), model.digest()?);
        let judged = match judge {
            Judge::TestImages => count.min(subject.set.test.len()),
            Judge::Nothing => 0,
        };
        let key = format!(
            "model {digest}, plan {plan_digest}, {count} images of {}, {judged} judged, {} threads, {}",
            subject.set.name, self.threads, self.backend.name
        );
        if let Some(finished) = self.state.find(&key, runs, long_run_seconds) {
            return Ok(finished.clone());
        }
        let images = subject.prepared(model, count)?;
        let labels = subject.set.test.labels.as_deref();
        let labels = labels.and_then(|labels| labels.get(..judged));
        let bar = Bar::new("evaluate", self.quiet);
        let progress = |progress: &sordino::runtime::Progress<'_>| bar.evaluation(progress);
        let options = MeasureOptions {
            long_run_seconds,
            judged,
            progress: Some(&progress),
            ..MeasureOptions::new(self.backend, self.threads, runs)
        };
        let mut measurement = measure(model, plan.clone(), &images, labels, &options)?;
        set_apart(&mut measurement, &options)?;
        let mut record = measurement.record;
        record.network.clone_from(&subject.network);
        record.activation = Some(activation(model));
        record.accuracy_teacher = model.training["teacher"]["test_accuracy"].as_f64();
        let finished = Finished {
            record,
            classes: measurement.classes,
            runs,
            long_run_seconds,
        };
        self.state.keep(key, finished.clone())?;
        Ok(finished)
    }

    /// As [`measured`](Self::measured), on as many whole blocks of the first `count` images as fit the budget, at least one.
    pub(super) fn measured_in_time(
        &mut self,
        subject: &Subject,
        model: &Model,
        plan: &Plan,
        count: usize,
        runs: usize,
    ) -> anyhow::Result<Finished> {
        let judge = Judge::TestImages;
        let long = self.long_run_seconds(runs);
        let block = plan.server.block_images();
        let blocks = count.div_ceil(block);
        if blocks == 1 {
            return self.measured(subject, model, plan, count, runs, long, judge);
        }
        let probe = self.block(subject, model, plan)?;
        let seconds = probe.record.evaluate_seconds.unwrap_or(f64::INFINITY);
        let affordable = blocks_within(self.settings.budget_seconds, seconds, blocks);
        if affordable < blocks {
            self.note(format!(
                "{affordable} of {blocks} blocks of {block} images fit the budget, at {seconds:.3} s each"
            ));
        }
        let count = count.min(affordable * block);
        self.measured(subject, model, plan, count, runs, long, judge)
    }

    /// One image, as often as asked unless it takes very long.
    pub(super) fn single(
        &mut self,
        subject: &Subject,
        model: &Model,
        plan: &Plan,
        runs: usize,
    ) -> anyhow::Result<Finished> {
        let judge = Judge::TestImages;
        self.measured(subject, model, plan, 1, runs, LONG_RUN_SECONDS, judge)
    }

    /// What a run may take to be repeated.
    fn long_run_seconds(&self, runs: usize) -> f64 {
        (self.settings.budget_seconds / (runs + 1) as f64).min(LONG_RUN_SECONDS)
    }

    /// One full block.
    fn block(&mut self, subject: &Subject, model: &Model, plan: &Plan) -> anyhow::Result<Finished> {
        let count = plan.server.block_images().min(plan.server.batch());
        let runs = self.settings.runs.min(3);
        let long = self.long_run_seconds(runs);
        self.measured(subject, model, plan, count, runs, long, Judge::Nothing)
    }

    pub(super) fn note(&self, text: impl std::fmt::Display) {
        self.output.note(format!("  {text}"));
    }
}

/// How many blocks can be evaluated twice in the time: once here, and once in a process of its own.
fn blocks_within(budget_seconds: f64, block_seconds: f64, blocks: usize) -> usize {
    ((budget_seconds / (2.0 * block_seconds)) as usize).clamp(1, blocks)
}

/// The plan of a packing for a batch.
pub(super) fn plan_for(model: &Model, packing: Packing, batch: usize) -> anyhow::Result<Plan> {
    Ok(compile(
        model,
        &CompileOptions::new(batch).with_packing(packing),
    )?)
}

/// The channel-wise plan with one image a ciphertext.
pub(super) fn one_image_plan(model: &Model, batch: usize) -> anyhow::Result<Plan> {
    let options = CompileOptions {
        block_images: Some(1),
        ..CompileOptions::new(batch).with_packing(Packing::ChannelWise)
    };
    Ok(compile(model, &options)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_least_one_block_and_at_most_all() {
        assert_eq!(blocks_within(10.0, 0.5, 4096), 10);
        assert_eq!(blocks_within(10.0, 0.001, 64), 64);
        assert_eq!(blocks_within(10.0, 30.0, 64), 1);
        assert_eq!(blocks_within(10.0, f64::INFINITY, 64), 1);
    }
}
