//! Progress of an evaluation while it runs, and the trace of its steps.

use std::time::Instant;

use sordino_plan::{Operation, Step};

use crate::{Progress, StepTrace, Trace};

/// Progress and trace of an evaluation.
pub(crate) struct Recorder<'a> {
    progress: Option<&'a (dyn Fn(&Progress<'_>) + Sync)>,
    into: Option<&'a mut Trace>,
    steps: &'a [Step],
    /// Expected share of the time, by step; rough.
    work: Vec<f64>,
    /// Units of a block.
    units: usize,
    blocks: usize,
    start: Instant,
    /// Work done in all blocks.
    done: f64,
    /// Work that an earlier run has done.
    skipped: f64,
    block: usize,
    units_done: usize,
    /// Trace of the current block, by step.
    trace: Vec<StepTrace>,
}

impl<'a> Recorder<'a> {
    /// A recorder for `blocks` blocks of `units` units.
    pub(crate) fn new(
        steps: &'a [Step],
        units: usize,
        blocks: usize,
        progress: Option<&'a (dyn Fn(&Progress<'_>) + Sync)>,
        into: Option<&'a mut Trace>,
    ) -> Self {
        Self {
            progress,
            into,
            steps,
            work: steps.iter().map(|step| work(step, steps)).collect(),
            units,
            blocks,
            start: Instant::now(),
            done: 0.0,
            skipped: 0.0,
            block: 0,
            units_done: 0,
            trace: Vec::new(),
        }
    }

    pub(crate) fn begin_block(&mut self, block: usize) {
        (self.block, self.units_done) = (block, 0);
        let trace = |(index, step): (usize, &Step)| StepTrace {
            block,
            step: index,
            name: step.name.clone(),
            operation: step.operation.kind(),
            seconds: 0.0,
            pieces: 0,
            bytes_read: 0,
            bytes_written: 0,
            share_of_peak: 0.0,
            level: step.limbs - 1,
            log2_scale: step.scale.log2(),
            predicted_bits: step.predicted_bits(),
        };
        self.trace = self.steps.iter().enumerate().map(trace).collect();
    }

    /// `share` of a step's elements were computed.
    pub(crate) fn add(&mut self, step: usize, share: f64, seconds: f64) {
        self.done += share * self.work[step];
        self.trace[step].seconds += seconds;
        self.trace[step].pieces += usize::from(share > 0.0);
    }

    /// What is known of a step in the current block.
    pub(crate) fn step(&mut self, step: usize) -> &mut StepTrace {
        &mut self.trace[step]
    }

    /// An earlier run computed a unit with these shares of its steps.
    pub(crate) fn skip_unit(&mut self, shares: impl Iterator<Item = (usize, f64)>) {
        self.skipped += shares
            .map(|(step, share)| self.work[step] * share)
            .sum::<f64>();
        self.units_done += 1;
    }

    /// An earlier run computed a whole block.
    pub(crate) fn skip_block(&mut self) {
        self.skipped += self.work.iter().sum::<f64>();
    }

    /// A unit with this last step is done.
    pub(crate) fn unit_done(&mut self, step: usize) {
        self.units_done += 1;
        let Some(progress) = self.progress else {
            return;
        };
        let all: f64 = self.work.iter().sum::<f64>() * self.blocks as f64 - self.skipped;
        // Windows overlap, so that some elements are computed twice.
        let fraction = (self.done / all).clamp(1e-9, 1.0);
        progress(&Progress {
            block: self.block,
            blocks: self.blocks,
            unit: self.units_done,
            units: self.units,
            name: &self.steps[step].name,
            seconds_left: self.start.elapsed().as_secs_f64() * (1.0 - fraction) / fraction,
        });
    }

    pub(crate) fn end_block(&mut self) {
        let finished = std::mem::take(&mut self.trace);
        if let Some(trace) = self.into.as_deref_mut() {
            trace.steps.extend(finished);
        }
    }
}

/// Expected share of the time: byte products of linear steps, and residues that other steps read. Rough.
fn work(step: &Step, steps: &[Step]) -> f64 {
    let residues = (step.elements * step.components * step.limbs) as f64;
    match &step.operation {
        Operation::Input => 0.0,
        Operation::Linear { .. } => {
            0.01 * step.multiply_accumulates() as f64 * (step.components * step.limbs) as f64
                + residues
        }
        Operation::Square { .. } => 4.0 * residues,
        Operation::Relinearize { .. } => 40.0 * residues * step.limbs as f64,
        Operation::Rescale { source, .. } => {
            10.0 * residues * steps[*source].limbs as f64 / step.limbs as f64
        }
    }
}
