use std::path::PathBuf;

use sordino_fault::classify;

/// What can go wrong while compiling, writing or reading a plan.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model carries no activation ranges.
    #[error(
        "model \"{model}\" has no recorded ranges, and scales cannot be chosen without them: run `sordino ranges MODEL --data PATH` first"
    )]
    MissingRanges {
        /// Name of the network.
        model: String,
    },
    /// The recorded ranges do not belong to the folded graph.
    #[error(
        "the ranges recorded in the model have no entry for \"{node}\" ({detail}): record them again with `sordino ranges`"
    )]
    StaleRanges {
        /// Folded node without statistics.
        node: String,
        /// What differs.
        detail: String,
    },
    /// A layer that says nothing.
    #[error(
        "node \"{node}\" is 0 for every image that the ranges were recorded on: record them with `sordino ranges` on images that are not all black, or train the network again"
    )]
    Dead {
        /// Folded node whose value is always 0.
        node: String,
    },
    /// Logits that do not depend on the image.
    #[error(
        "the logits are the same for every image: the weights of a layer are all 0, or cancel each other; train or export the network again"
    )]
    ConstantLogits,
    /// A batch of this size cannot be planned for.
    #[error(
        "a batch of {found} images is outside 1 to {limit}: compile with --batch in that range and run larger sets in several requests"
    )]
    Batch {
        /// The batch asked for.
        found: usize,
        /// Largest batch.
        limit: usize,
    },
    /// A number of check images that no plan has.
    #[error(
        "{found} check images in a block are too few to tell a run of the plan from a guess, or too many: expected 0 or {least} to {most}, give --check-images in that range"
    )]
    CheckImageCount {
        /// The number asked for.
        found: usize,
        /// Fewest, other than none.
        least: usize,
        /// Most.
        most: usize,
    },
    /// The model does not say what its input looks like.
    #[error(
        "check images cannot be made for model \"{model}\", which has no statistic of its input: run `sordino ranges` again to have check images, or compile with --check-images 0"
    )]
    NoInputStatistic {
        /// Name of the network.
        model: String,
    },
    /// The ciphertexts of a channel-wise plan hold too few images to hide check images among them.
    #[error(
        "{asked} check images leave no place for others: a channel-wise ciphertext holds at most {places} image(s) of this network, and one that holds check images only would be seen: compile with --packing element-wise, --check-images 0, or fewer check images"
    )]
    NoPlaceForCheckImages {
        /// Check images asked for.
        asked: usize,
        /// Most images of a ciphertext.
        places: usize,
    },
    /// Images as the model's statistic gives them leave the recorded ranges.
    #[error(
        "no check images can be made for model \"{model}\": on images with the statistic of its input its values leave the recorded ranges: run `sordino ranges` again with more images, or compile with --check-images 0"
    )]
    NoCheckImages {
        /// Name of the network.
        model: String,
    },
    /// The check images could not be told from a guess.
    #[error(
        "the check images' logits differ by {spread:.2e} only, and the predicted error is {error:.2e}: a forged reply could be right by chance: compile with a higher --precision-bits, or with --check-images 0"
    )]
    AlikeCheckImages {
        /// How far their logits are from one another.
        spread: f64,
        /// Predicted worst error of a logit.
        error: f64,
    },
    /// No parameter set meets the constraints.
    #[error(
        "no plan meets the constraints (128-bit security{constraints}); closest: {closest}; try {hint}"
    )]
    Impossible {
        /// The constraints that were asked for, in words.
        constraints: String,
        /// The candidate that came closest, and what ruled it out.
        closest: String,
        /// What to change.
        hint: String,
    },
    /// A value would not fit the integers of the plan.
    #[error(
        "step \"{step}\": {quantity} needs {found_bits:.0} bits and {limit_bits} are available: retrain with smaller weights or a range penalty"
    )]
    Overflow {
        /// The step.
        step: String,
        /// Which quantity.
        quantity: &'static str,
        /// Bits needed.
        found_bits: f64,
        /// Bits available.
        limit_bits: u32,
    },
    /// The plan cannot be evaluated in so little memory.
    #[error(
        "evaluating needs {} MiB of memory even in the smallest pieces and may use {} MiB, whatever the batch: give at least as much with --memory{hint}",
        needed.div_ceil(1 << 20), limit / (1 << 20)
    )]
    Memory {
        /// Bytes allowed.
        limit: u64,
        /// Bytes that the schedule with the smallest peak needs.
        needed: u64,
        /// What the other packing needs, where it was tried.
        hint: String,
    },
    /// The pieces that have to leave memory do not fit the scratch.
    #[error(
        "an evaluation in {} MiB of memory keeps {} MiB on scratch and may use {} MiB there: raise --scratch-limit or --memory",
        memory.div_ceil(1 << 20), needed.div_ceil(1 << 20), limit.div_ceil(1 << 20)
    )]
    Scratch {
        /// Memory allowed.
        memory: u64,
        /// Scratch allowed.
        limit: u64,
        /// Scratch that the schedule with the least needs.
        needed: u64,
    },
    /// The content of a plan file is not a plan.
    #[error(
        "{part} plan is not valid: {what}: expected {expected}, found {found}; compile the model again"
    )]
    Malformed {
        /// "server" or "client".
        part: &'static str,
        /// The field or step.
        what: String,
        /// Expected content.
        expected: String,
        /// Found content.
        found: String,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] sordino_container::Error),
    /// The scheme refuses the parameters.
    #[error(transparent)]
    Scheme(#[from] sordino_ckks::Error),
    /// The graph cannot be folded or quantized.
    #[error(transparent)]
    Graph(#[from] sordino_graph::Error),
    /// The kernels cannot take a weight matrix.
    #[error("step \"{step}\": {reason}")]
    Weights {
        /// The step.
        step: String,
        /// The kernel's error. The message has it, so it is no `source`, which would print it a second time.
        reason: sordino_ring::Error,
    },
    /// A file is not a cost table.
    #[error("cost table {path}: {detail}: measure one with `sordino bench calibrate`")]
    CostTable {
        /// The file.
        path: PathBuf,
        /// The reason.
        detail: String,
    },
}

classify!(Error {
    Usage: Batch, CheckImageCount;
    BadFile: MissingRanges, StaleRanges, Dead, ConstantLogits, NoInputStatistic, NoCheckImages, Malformed, CostTable;
    Limits: NoPlaceForCheckImages, AlikeCheckImages, Impossible, Overflow, Memory, Scratch, Weights;
} inner { File, Scheme, Graph });

impl Error {
    /// A malformed field of a plan file.
    pub(crate) fn malformed(
        part: &'static str,
        what: impl ToString,
        expected: impl ToString,
        found: impl ToString,
    ) -> Self {
        Error::Malformed {
            part,
            what: what.to_string(),
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }

    /// Refuses a field of a plan file that is not good; texts are made for a bad one only.
    pub(crate) fn require(
        good: bool,
        part: &'static str,
        what: impl ToString,
        expected: impl ToString,
        found: impl ToString,
    ) -> Result<(), Self> {
        match good {
            true => Ok(()),
            false => Err(Self::malformed(part, what, expected, found)),
        }
    }
}
