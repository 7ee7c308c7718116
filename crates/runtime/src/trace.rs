use serde::Serialize;

/// What every step took, for `--trace`.
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
    /// Wall time; of steps that ran together, its share by the time that the threads spent on it.
    pub seconds: f64,
    /// Pieces in which the step was computed.
    pub pieces: usize,
    /// Bytes of residues read from feature maps in memory; 0 inside a run of steps.
    pub bytes_read: u64,
    /// Bytes of residues written to feature maps in memory; 0 where the result only ever existed in strips.
    pub bytes_written: u64,
    /// Most that feature maps in memory took while a part of the step was computed, against the most they take in the whole block.
    pub share_of_peak: f64,
    /// Level of the result.
    pub level: usize,
    /// log2 of the scale of the result.
    pub log2_scale: f64,
    /// −log2 of how far noise is expected to move a value of the result, rms over elements and images, in the value's own units;
    /// element-wise only. What it really does only the owner of the key can tell: `bench cifar10 --layers`.
    pub predicted_bits: Option<f64>,
}
