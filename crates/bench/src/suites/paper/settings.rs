//! What a comparison measures.

/// What is measured, and how long it may take.
pub(super) struct Settings {
    pub images: usize,
    pub batches: Vec<usize>,
    pub runs: usize,
    pub budget_seconds: f64,
}

impl Settings {
    /// As the arguments say, or else by default.
    pub(super) fn new(
        quick: bool,
        images: u32,
        batches: &[u32],
        runs: Option<u16>,
        budget: Option<u32>,
    ) -> Self {
        let batches: &[u32] = match (batches, quick) {
            ([], true) => &[1, 16, 256, 4096],
            ([], false) => &[1, 4, 16, 64, 256, 1024, 4096, 8192, 16384],
            (given, _) => given,
        };
        let mut batches: Vec<usize> = batches.iter().map(|&batch| batch as usize).collect();
        batches.sort_unstable();
        batches.dedup();
        Self {
            images: images as usize,
            batches,
            runs: usize::from(runs.unwrap_or(if quick { 3 } else { 5 })),
            budget_seconds: f64::from(budget.unwrap_or(if quick { 8 } else { 60 })),
        }
    }
}
