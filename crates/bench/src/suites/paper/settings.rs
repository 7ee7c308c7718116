//! What a comparison measures.

use super::Args;

/// What is measured, and how long it may take.
pub(super) struct Settings {
    pub images: usize,
    pub batches: Vec<usize>,
    pub runs: usize,
    pub budget_seconds: f64,
}

impl Settings {
    /// As the arguments say, or else by default.
    pub(super) fn new(args: &Args) -> Self {
        let batches: &[u32] = match (&args.batches[..], args.quick) {
            ([], true) => &[1, 16, 256, 4096],
            ([], false) => &[1, 4, 16, 64, 256, 1024, 4096, 8192, 16384],
            (given, _) => given,
        };
        let mut batches: Vec<usize> = batches.iter().map(|&batch| batch as usize).collect();
        batches.sort_unstable();
        batches.dedup();
        let (runs, budget) = if args.quick { (3, 8) } else { (5, 60) };
        Self {
            images: args.images as usize,
            batches,
            runs: args.runs.unwrap_or(runs).into(),
            budget_seconds: args.budget.unwrap_or(budget).into(),
        }
    }
}
