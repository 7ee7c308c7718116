use serde::Serialize;

/// What every step took, written by `--trace`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Trace {
    /// Steps in the order of the plan, block after block.
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
    /// Wall time. Steps that ran together share it in proportion to the time that threads spent on each.
    pub seconds: f64,
    /// Pieces in which the step was computed.
    pub pieces: usize,
    /// Bytes of residues read from feature maps in memory; 0 inside a run of steps.
    pub bytes_read: u64,
    /// Bytes of residues written to feature maps in memory; 0 where the result only ever existed in strips.
    pub bytes_written: u64,
    /// Memory of feature maps while the step was computed, relative to their peak in the whole block.
    pub share_of_peak: f64,
    /// Level of the result.
    pub level: usize,
    /// log2 of the scale of the result.
    pub log2_scale: f64,
    /// −log2 of the expected noise of a value of the result: rms over elements and images, in the value's own units. Known for
    /// element-wise plans only. The owner of the key can measure it: `bench cifar10 --layers`.
    pub predicted_bits: Option<f64>,
}
