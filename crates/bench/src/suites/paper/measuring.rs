//! Measurements, each made once.

use sordino::Model;
use sordino::compile;
use sordino::plan::{CompileOptions, PackingKind, Plan};
use sordino::ring::backend::Backend;
use sordino_command::terminal::Bar;
use sordino_command::{GlobalArgs, Output};
use sordino_report::Environment;

use super::settings::Settings;
use super::state::{Finished, State};
use super::subject::{Subject, activation};
use crate::measure::{LONG_RUN_SECONDS, MeasureOptions, measure, set_separate};

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

/// A network, its images and a plan for them.
pub(super) struct Case<'a> {
    subject: &'a Subject,
    model: &'a Model,
    plan: Plan,
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
    /// from an earlier run. Accuracy is taken from the first `judged` images. A run longer than `long_run_seconds` is the only one.
    fn measured(
        &mut self,
        case: &Case<'_>,
        (count, judged): (usize, usize),
        runs: usize,
        long_run_seconds: f64,
    ) -> anyhow::Result<Finished> {
        let (subject, model, plan) = (case.subject, case.model, &case.plan);
        let (plan_digest, digest) = (plan.server.digest(), model.digest()?);
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
        let options = MeasureOptions {
            long_run_seconds,
            judged,
            ..MeasureOptions::new(self.backend, runs, &bar)
        };
        let mut measurement = measure(model, plan.clone(), &images, labels, &options)?;
        set_separate(&mut measurement, &options)?;
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
        case: &Case<'_>,
        count: usize,
        runs: usize,
    ) -> anyhow::Result<Finished> {
        let long = self.long_run_seconds(runs);
        let test = case.subject.set.test.len();
        let block = case.plan.server.block_images();
        let blocks = count.div_ceil(block);
        if blocks == 1 {
            return self.measured(case, (count, count.min(test)), runs, long);
        }
        let probe = self.block(case)?;
        let seconds = probe.record.evaluate.median.unwrap_or(f64::INFINITY);
        let affordable = blocks_within(self.settings.budget_seconds, seconds, blocks);
        if affordable < blocks {
            self.note(format!(
                "{affordable} of {blocks} blocks of {block} images fit the budget, at {seconds:.3} s each"
            ));
        }
        let count = count.min(affordable * block);
        self.measured(case, (count, count.min(test)), runs, long)
    }

    /// One image, as often as asked unless it takes very long.
    pub(super) fn single(&mut self, case: &Case<'_>, runs: usize) -> anyhow::Result<Finished> {
        self.measured(case, (1, 1), runs, LONG_RUN_SECONDS)
    }

    /// The longest run that is repeated.
    fn long_run_seconds(&self, runs: usize) -> f64 {
        (self.settings.budget_seconds / (runs + 1) as f64).min(LONG_RUN_SECONDS)
    }

    /// One full block, without accuracy.
    fn block(&mut self, case: &Case<'_>) -> anyhow::Result<Finished> {
        let server = &case.plan.server;
        let count = server.block_images().min(server.batch());
        let runs = self.settings.runs.min(3);
        let long = self.long_run_seconds(runs);
        self.measured(case, (count, 0), runs, long)
    }

    pub(super) fn note(&self, text: impl std::fmt::Display) {
        self.output.note(format!("  {text}"));
    }
}

/// How many blocks can be evaluated twice within the budget: once here, and once in a process of its own.
fn blocks_within(budget_seconds: f64, block_seconds: f64, blocks: usize) -> usize {
    ((budget_seconds / (2.0 * block_seconds)) as usize).clamp(1, blocks)
}

impl<'a> Case<'a> {
    /// With a plan of a packing for a batch.
    pub(super) fn new(
        subject: &'a Subject,
        model: &'a Model,
        packing: PackingKind,
        batch: usize,
    ) -> anyhow::Result<Self> {
        let options = CompileOptions::new(batch).with_packing(packing);
        Self::with_options(subject, model, &options)
    }

    /// With a plan of these options.
    pub(super) fn with_options(
        subject: &'a Subject,
        model: &'a Model,
        options: &CompileOptions,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            subject,
            model,
            plan: compile(model, options)?,
        })
    }

    /// Blocks of a full batch.
    pub(super) fn blocks(&self) -> usize {
        self.plan.server.blocks()
    }
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
