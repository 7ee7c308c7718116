use serde::Serialize;

/// What every step took, for `--trace`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Trace {
    /// Steps in the order in which they ended, block after block.
    pub steps: Vec<StepTrace>,
}

/// One executed step.
#[derive(Clone, Debug, Serialize)]
pub struct StepTrace {
    /// Block of images.
    pub block: usize,
    /// Index of the step in the plan.
    pub step: usize,
    /// Folded node.
    pub name: String,
    /// Operation.
    pub operation: &'static str,
    /// Wall time; of steps that ran together, its share by the time that the threads spent on it.
    pub seconds: f64,
    /// Bytes of residues of the result; 0 where it never was in memory as a whole.
    pub result_bytes: usize,
    /// Level of the result.
    pub level: usize,
    /// log2 of the scale of the result.
    pub log2_scale: f64,
}
