//! One row of a benchmark of a network.

use serde::{Deserialize, Serialize};

use super::origin::Origin;
use super::timing::Timing;

/// A timing as three fields of a record's file.
macro_rules! three_fields {
    ($fields:ident, $median:literal, $min:literal, $max:literal) => {
        #[derive(Serialize, Deserialize)]
        #[serde(remote = "Timing")]
        struct $fields {
            #[serde(rename = $median)]
            median: Option<f64>,
            #[serde(rename = $min)]
            min: Option<f64>,
            #[serde(rename = $max)]
            max: Option<f64>,
        }
    };
}

three_fields!(
    Keygen,
    "keygen_seconds",
    "keygen_seconds_min",
    "keygen_seconds_max"
);
three_fields!(
    Encrypt,
    "encrypt_seconds",
    "encrypt_seconds_min",
    "encrypt_seconds_max"
);
three_fields!(
    Reading,
    "read_seconds",
    "read_seconds_min",
    "read_seconds_max"
);
three_fields!(
    Evaluate,
    "evaluate_seconds",
    "evaluate_seconds_min",
    "evaluate_seconds_max"
);
three_fields!(
    Decrypt,
    "decrypt_seconds",
    "decrypt_seconds_min",
    "decrypt_seconds_max"
);
three_fields!(
    Amortized,
    "amortized_seconds",
    "amortized_seconds_min",
    "amortized_seconds_max"
);

/// Time and rates of one step of a plan, summed over the blocks of the batch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Layer {
    /// Node of the network that the step belongs to.
    pub name: String,
    /// `dense`, `convolution` (any other layer with weights), or what else the step does.
    pub operation: String,
    /// Median of the runs, in seconds; `None` for a step that the evaluator does not report on its own.
    pub seconds: Option<f64>,
    /// 10^9 byte products per second; `None` for a step without products.
    pub int8_gmacs: Option<f64>,
    /// Share of the peak; `None` for a step without products.
    pub share_of_peak: Option<f64>,
    /// −log2 of the rms error that noise is expected to cause in the step's values, in their own units.
    pub predicted_bits: Option<f64>,
    /// −log2 of the rms error found by decrypting some of the values; `None` without such a measurement.
    pub measured_bits: Option<f64>,
}

/// One row of a benchmark; what was not measured is `None`, and `null` in JSON.
///
/// Seconds are medians over `runs`, with their extremes. Shares and accuracies are of 1.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// `digits`, `mlp`, `cryptonets`, `lenet`, `vgg5`, `cnn6`, `resnet9`, or a file name.
    pub network: String,
    /// `digits`, `mnist`, `fashion-mnist`, `cifar-10`, `pneumoniamnist`.
    pub dataset: String,
    /// Number of images evaluated.
    pub images: u64,
    /// Images that the plan was compiled for.
    pub batch: u64,
    /// Blocks of ciphertexts that the images fill.
    pub blocks: u64,
    /// `element-wise`, `channel-wise` (one image per ciphertext), `channel-wise-filled`.
    pub packing: String,
    /// Images that one block of ciphertexts holds.
    pub block_images: Option<u64>,
    /// Rotations that evaluation needs Galois keys for; none element-wise.
    pub rotations: Option<u64>,
    /// Accuracy of the float network.
    pub accuracy_plain: Option<f64>,
    /// Accuracy of the decrypted classes.
    pub accuracy_encrypted: Option<f64>,
    /// Accuracy of the clear integer engine.
    pub accuracy_integer: Option<f64>,
    /// Accuracy of the ReLU teacher.
    pub accuracy_teacher: Option<f64>,
    /// Granularity of the quadratics, or `relu`, in comparisons of training.
    pub activation: Option<String>,
    /// Whether a teacher took part, in comparisons of training.
    pub distilled: Option<bool>,
    /// Whether a ReLU network's activations were replaced while its weights stayed, in comparisons of training.
    pub frozen: Option<bool>,
    /// Whether batch normalizations stand in front of activations, in comparisons of frozen networks.
    pub batch_norm: Option<bool>,
    /// Seed of the training, in comparisons of training.
    pub seed: Option<u64>,
    /// Epochs of the training, in comparisons of training.
    pub epochs: Option<u64>,
    /// Area under the receiver operating characteristic, the mean over the findings, by the clear integer engine.
    pub auc: Option<f64>,
    /// Mean of sensitivity and specificity at the operating point, the mean over the findings, by the clear integer engine.
    pub balanced_accuracy: Option<f64>,
    /// Share of images whose encrypted class is that of the clear integer engine.
    pub agreement: Option<f64>,
    /// Share of images whose encrypted class is that of the float network.
    pub agreement_float: Option<f64>,
    /// Largest difference of an encrypted logit from the clear integer engine's.
    pub worst_logit_error: Option<f64>,
    /// Largest difference of an encrypted logit from the float network's.
    pub worst_logit_error_float: Option<f64>,
    /// Seconds to generate keys.
    #[serde(flatten, with = "Keygen")]
    pub keygen: Timing,
    /// Seconds to encrypt the batch.
    #[serde(flatten, with = "Encrypt")]
    pub encrypt: Timing,
    /// Seconds to read files and check digests.
    #[serde(flatten, with = "Reading")]
    pub read: Timing,
    /// Seconds from the request's bytes in memory to the reply's, seed expansion included.
    #[serde(flatten, with = "Evaluate")]
    pub evaluate: Timing,
    /// Seconds to decrypt the reply.
    #[serde(flatten, with = "Decrypt")]
    pub decrypt: Timing,
    /// `evaluate` / `images`.
    #[serde(flatten, with = "Amortized")]
    pub amortized: Timing,
    /// Bytes of the request file.
    pub upload_bytes: Option<u64>,
    /// Bytes of evaluation keys.
    pub key_bytes: Option<u64>,
    /// Bytes of the reply file.
    pub reply_bytes: Option<u64>,
    /// Largest resident memory (VmHWM) of a separate evaluating process.
    pub peak_rss_bytes: Option<u64>,
    /// Ring degree N.
    pub ring_degree: Option<u64>,
    /// Bits of the ciphertext modulus.
    pub log2_q: Option<f64>,
    /// Bits of the modulus with special primes, which security is read at.
    pub log2_qp: Option<f64>,
    /// 128 or 192.
    pub security_bits: Option<u64>,
    /// Bits of the message scale.
    pub log2_scale: Option<f64>,
    /// Bits of a weight.
    pub weight_bits: Option<u64>,
    /// Threads that evaluate.
    pub threads: Option<u64>,
    /// Name of the kernels.
    pub backend: Option<String>,
    /// The machine's peak: 8-bit multiply-accumulates per nanosecond (10^9 per second), all threads, no memory.
    pub int8_peak_gmacs: Option<f64>,
    /// The same rate in the dense layers: those in which every output reads the same inputs.
    pub int8_gmacs: Option<f64>,
    /// Share of the peak in the dense layers.
    pub linear_share_of_peak: Option<f64>,
    /// Share of the peak in the other layers with weights; `None` without such layers.
    pub convolution_share_of_peak: Option<f64>,
    /// Share of the peak over the whole evaluation.
    pub evaluation_share_of_peak: Option<f64>,
    /// `evaluate_seconds` × `int8_peak_gmacs`: 10^9 byte products that the machine could have done in that time.
    pub evaluate_peak_gproducts: Option<f64>,
    /// `peak_rss_bytes` / `upload_bytes`.
    pub memory_over_request: Option<f64>,
    /// Where the time of the evaluation goes, step by step.
    pub layers: Vec<Layer>,
    /// What is varied in a row of a series, `blocks` or `threads`; `None` in the row of a network.
    pub scaling: Option<String>,
    /// How many times as fast as one thread, in the rows of the series over threads.
    pub speedup: Option<f64>,
    /// Multiply-accumulates of the network for one image.
    pub macs_per_image: Option<u64>,
    /// Trained parameters of the network.
    pub parameters: Option<u64>,
    /// Activation elements of the network for one image.
    pub activations_per_image: Option<u64>,
    /// Digest of the model file.
    pub model_digest: Option<String>,
    /// Digest of the plan.
    pub plan_digest: Option<String>,
    /// Runs that the seconds are medians of.
    pub runs: Option<u64>,
    /// Program, machine and load.
    #[serde(flatten)]
    pub origin: Origin,
}

impl Record {
    /// A record of a network on a data set with nothing measured yet.
    pub fn new(network: impl Into<String>, dataset: impl Into<String>, origin: &Origin) -> Self {
        Self {
            network: network.into(),
            dataset: dataset.into(),
            origin: origin.clone(),
            ..Self::default()
        }
    }

    /// Sets `evaluate`, `amortized`, `evaluate_peak_gproducts` and `runs` from the seconds of every evaluation.
    ///
    /// Set `images` and `int8_peak_gmacs` before.
    pub fn set_evaluation(&mut self, seconds: &[f64]) {
        self.evaluate = Timing::of(seconds);
        self.amortized = self.evaluate.per(self.images);
        let median = self.evaluate.median;
        self.runs = median.map(|_| seconds.len() as u64);
        self.evaluate_peak_gproducts = median
            .zip(self.int8_peak_gmacs)
            .map(|(seconds, peak)| seconds * peak);
    }

    /// Sets `peak_rss_bytes` and `memory_over_request` from the largest memory of an evaluating process. Set `upload_bytes` first.
    pub fn set_peak_memory(&mut self, bytes: Option<u64>) {
        self.peak_rss_bytes = bytes;
        self.memory_over_request = bytes
            .zip(self.upload_bytes.filter(|&upload| upload > 0))
            .map(|(memory, upload)| memory as f64 / upload as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_filled_with_their_extremes() {
        let mut record = Record {
            images: 1000,
            ..Record::default()
        };
        record.set_evaluation(&[2.0, 4.0, 3.0]);
        let of = |timing: Timing| (timing.median, timing.min, timing.max);
        assert_eq!(of(record.evaluate), (Some(3.0), Some(2.0), Some(4.0)));
        assert_eq!(
            of(record.amortized),
            (Some(0.003), Some(0.002), Some(0.004))
        );
        assert_eq!(record.runs, Some(3));
        let one = Timing::of(&[1.0]);
        (record.keygen, record.encrypt) = (one, one);
        (record.read, record.decrypt) = (one, one);
        let json = serde_json::to_value(&record).unwrap();
        for phase in [
            "keygen",
            "encrypt",
            "read",
            "evaluate",
            "decrypt",
            "amortized",
        ] {
            for suffix in ["", "_min", "_max"] {
                assert!(
                    json[format!("{phase}_seconds{suffix}")].is_f64(),
                    "{phase}{suffix}"
                );
            }
        }
    }

    #[test]
    fn products_and_quotients_of_what_was_measured() {
        let mut record = Record {
            images: 10,
            int8_peak_gmacs: Some(800.0),
            ..Record::default()
        };
        record.set_evaluation(&[0.25]);
        assert_eq!(record.evaluate_peak_gproducts, Some(200.0));
        record.set_peak_memory(Some(1 << 20));
        assert_eq!(record.memory_over_request, None, "no request was measured");
        record.upload_bytes = Some(1 << 18);
        record.set_peak_memory(Some(1 << 20));
        assert_eq!(record.memory_over_request, Some(4.0));
        record.set_peak_memory(None);
        assert_eq!(
            (record.peak_rss_bytes, record.memory_over_request),
            (None, None)
        );
    }

    #[test]
    fn the_names_that_scripts_rely_on_are_all_there() {
        let contract = "network dataset images batch blocks packing block_images rotations accuracy_plain accuracy_encrypted \
            accuracy_integer accuracy_teacher activation distilled frozen batch_norm seed epochs auc balanced_accuracy agreement agreement_float worst_logit_error \
            worst_logit_error_float keygen_seconds encrypt_seconds read_seconds evaluate_seconds decrypt_seconds \
            amortized_seconds upload_bytes key_bytes reply_bytes peak_rss_bytes ring_degree log2_q log2_qp \
            security_bits log2_scale weight_bits threads backend int8_peak_gmacs int8_gmacs linear_share_of_peak \
            evaluation_share_of_peak convolution_share_of_peak evaluate_peak_gproducts memory_over_request \
            layers scaling speedup macs_per_image parameters activations_per_image model_digest plan_digest runs \
            commit machine load";
        let json = serde_json::to_value(Record::default()).unwrap();
        let fields = json.as_object().unwrap();
        for name in contract.split_whitespace() {
            assert!(fields.contains_key(name), "{name}");
        }
        assert_eq!(
            fields.len(),
            contract.split_whitespace().count() + 12,
            "seconds have _min and _max"
        );
        let back: Record = serde_json::from_value(json).unwrap();
        assert_eq!(back, Record::default());
    }
}
