//! One row of a benchmark.

use serde::{Deserialize, Serialize};

use crate::Environment;

/// Median, smallest and largest of several measurements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Statistics {
    /// The middle one, or the mean of the middle two.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Statistics {
    /// Of `samples`; `None` where there are none, or one is not a number.
    pub fn of(samples: &[f64]) -> Option<Self> {
        if samples.iter().any(|sample| sample.is_nan()) {
            return None;
        }
        let mut sorted = samples.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        Some(Self {
            median: low + (high - low) / 2.0,
            min,
            max,
        })
    }
}

/// What takes the time that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Generating keys.
    KeyGeneration,
    /// Encrypting the batch.
    Encrypt,
    /// Reading files and checking digests.
    Read,
    /// From the request's bytes in memory to the reply's, seed expansion included.
    Evaluate,
    /// Decrypting the reply.
    Decrypt,
}

/// What one step of a plan took, summed over the blocks of the batch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Layer {
    /// Node of the network that the step belongs to.
    pub name: String,
    /// `dense`, `convolution` (any other layer with weights), or what else the step does.
    pub operation: String,
    /// Median of the runs' seconds; `None` for a step that the evaluator does not report on its own.
    pub seconds: Option<f64>,
    /// 10^9 byte products a second; `None` for a step without products.
    pub int8_gmacs: Option<f64>,
    /// Share of the peak; `None` for a step without products.
    pub share_of_peak: Option<f64>,
    /// −log2 of the rms error that noise is expected to cause in the step's values, in their own units.
    pub predicted_bits: Option<f64>,
    /// −log2 of the one that was found by decrypting some of them; `None` where that was not done.
    pub measured_bits: Option<f64>,
}

/// One row of a benchmark; what was not measured is `None`, and `null` in JSON.
///
/// Seconds are medians over `runs`, with the extremes beside; [`Record::set_seconds`] fills them. Shares are of 1,
/// accuracies too.
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
    /// `element-wise`, `channel-wise` (one image a ciphertext), `channel-wise-filled`.
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
    /// Granularity of the quadratics, or "relu", where networks are compared by it.
    pub activation: Option<String>,
    /// Whether a teacher was listened to, likewise.
    pub distilled: Option<bool>,
    /// Seed of the training, likewise.
    pub seed: Option<u64>,
    /// Epochs of the training, likewise.
    pub epochs: Option<u64>,
    /// Area under the receiver operating characteristic, for two classes.
    pub auc: Option<f64>,
    /// Share of images whose encrypted class is that of the clear integer engine.
    pub agreement: Option<f64>,
    /// Share of images whose encrypted class is that of the float network.
    pub agreement_float: Option<f64>,
    /// Largest difference of an encrypted logit from the clear integer engine's.
    pub worst_logit_error: Option<f64>,
    /// Largest difference of an encrypted logit from the float network's.
    pub worst_logit_error_float: Option<f64>,
    /// Seconds to generate keys.
    pub keygen_seconds: Option<f64>,
    /// Smallest of `keygen_seconds`.
    pub keygen_seconds_min: Option<f64>,
    /// Largest of `keygen_seconds`.
    pub keygen_seconds_max: Option<f64>,
    /// Seconds to encrypt the batch.
    pub encrypt_seconds: Option<f64>,
    /// Smallest of `encrypt_seconds`.
    pub encrypt_seconds_min: Option<f64>,
    /// Largest of `encrypt_seconds`.
    pub encrypt_seconds_max: Option<f64>,
    /// Seconds to read files and check digests.
    pub read_seconds: Option<f64>,
    /// Smallest of `read_seconds`.
    pub read_seconds_min: Option<f64>,
    /// Largest of `read_seconds`.
    pub read_seconds_max: Option<f64>,
    /// Seconds from the request's bytes in memory to the reply's, seed expansion included.
    pub evaluate_seconds: Option<f64>,
    /// Smallest of `evaluate_seconds`.
    pub evaluate_seconds_min: Option<f64>,
    /// Largest of `evaluate_seconds`.
    pub evaluate_seconds_max: Option<f64>,
    /// Seconds to decrypt the reply.
    pub decrypt_seconds: Option<f64>,
    /// Smallest of `decrypt_seconds`.
    pub decrypt_seconds_min: Option<f64>,
    /// Largest of `decrypt_seconds`.
    pub decrypt_seconds_max: Option<f64>,
    /// `evaluate_seconds` / `images`.
    pub amortized_seconds: Option<f64>,
    /// `evaluate_seconds_min` / `images`.
    pub amortized_seconds_min: Option<f64>,
    /// `evaluate_seconds_max` / `images`.
    pub amortized_seconds_max: Option<f64>,
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
    /// What the machine can do: 8-bit multiply-accumulates a nanosecond (10^9 a second), all threads, no memory.
    pub int8_peak_gmacs: Option<f64>,
    /// What the dense layers did of these: those in which every output reads the same inputs.
    pub int8_gmacs: Option<f64>,
    /// Share of the peak in the dense layers.
    pub linear_share_of_peak: Option<f64>,
    /// Share of the peak in the other layers with weights; `None` without such layers.
    pub convolution_share_of_peak: Option<f64>,
    /// Share of the peak over the whole evaluation.
    pub evaluation_share_of_peak: Option<f64>,
    /// `evaluate_seconds` × `int8_peak_gmacs`: 10^9 byte products that the machine could have done meanwhile.
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
    /// Commit of the program, `-dirty` where files were changed, or `unknown`.
    pub commit: String,
    /// Processor, cores, memory and system.
    pub machine: String,
    /// Load average of the last minute when the measurement began.
    pub load: Option<f64>,
}

impl Record {
    /// A record of a network on a data set, made in `environment`, with nothing measured yet.
    pub fn new(
        network: impl Into<String>,
        dataset: impl Into<String>,
        environment: &Environment,
    ) -> Self {
        Self {
            network: network.into(),
            dataset: dataset.into(),
            commit: environment.commit.clone(),
            machine: environment.machine.clone(),
            load: environment.load,
            ..Self::default()
        }
    }

    /// Takes in the seconds of every run of a phase; for [`Phase::Evaluate`] also the amortized ones,
    /// `evaluate_peak_gproducts` and `runs`.
    ///
    /// Set `images` and `int8_peak_gmacs` before. Without samples, the fields become `None`.
    pub fn set_seconds(&mut self, phase: Phase, samples: &[f64]) {
        let statistics = Statistics::of(samples);
        let [median, min, max] = match statistics {
            Some(Statistics { median, min, max }) => [Some(median), Some(min), Some(max)],
            None => [None; 3],
        };
        let fields = match phase {
            Phase::KeyGeneration => [
                &mut self.keygen_seconds,
                &mut self.keygen_seconds_min,
                &mut self.keygen_seconds_max,
            ],
            Phase::Encrypt => [
                &mut self.encrypt_seconds,
                &mut self.encrypt_seconds_min,
                &mut self.encrypt_seconds_max,
            ],
            Phase::Read => [
                &mut self.read_seconds,
                &mut self.read_seconds_min,
                &mut self.read_seconds_max,
            ],
            Phase::Evaluate => {
                let amortized = |seconds: Option<f64>| {
                    seconds
                        .filter(|_| self.images > 0)
                        .map(|seconds| seconds / self.images as f64)
                };
                self.runs = statistics.map(|_| samples.len() as u64);
                (
                    self.amortized_seconds,
                    self.amortized_seconds_min,
                    self.amortized_seconds_max,
                ) = (amortized(median), amortized(min), amortized(max));
                [
                    &mut self.evaluate_seconds,
                    &mut self.evaluate_seconds_min,
                    &mut self.evaluate_seconds_max,
                ]
            }
            Phase::Decrypt => [
                &mut self.decrypt_seconds,
                &mut self.decrypt_seconds_min,
                &mut self.decrypt_seconds_max,
            ],
        };
        for (field, value) in fields.into_iter().zip([median, min, max]) {
            *field = value;
        }
        if phase == Phase::Evaluate {
            self.evaluate_peak_gproducts = median
                .zip(self.int8_peak_gmacs)
                .map(|(seconds, peak)| seconds * peak);
        }
    }

    /// Takes in the largest memory of an evaluating process. Set `upload_bytes` before.
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
    fn medians_of_odd_and_even_counts() {
        let of = |samples: &[f64]| Statistics::of(samples).map(|s| (s.median, s.min, s.max));
        assert_eq!(of(&[3.0, 1.0, 2.0]), Some((2.0, 1.0, 3.0)));
        assert_eq!(of(&[4.0, 1.0, 2.0, 8.0]), Some((3.0, 1.0, 8.0)));
        assert_eq!(of(&[5.0]), Some((5.0, 5.0, 5.0)));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[1.0, f64::NAN]), None);
    }

    #[test]
    fn seconds_are_filled_with_their_extremes() {
        let mut record = Record {
            images: 1000,
            ..Record::default()
        };
        record.set_seconds(Phase::Evaluate, &[2.0, 4.0, 3.0]);
        assert_eq!(
            (
                record.evaluate_seconds,
                record.evaluate_seconds_min,
                record.evaluate_seconds_max
            ),
            (Some(3.0), Some(2.0), Some(4.0))
        );
        assert_eq!(
            (
                record.amortized_seconds,
                record.amortized_seconds_min,
                record.amortized_seconds_max,
                record.runs
            ),
            (Some(0.003), Some(0.002), Some(0.004), Some(3))
        );
        for phase in [
            Phase::KeyGeneration,
            Phase::Encrypt,
            Phase::Read,
            Phase::Decrypt,
        ] {
            record.set_seconds(phase, &[1.0]);
        }
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
        record.set_seconds(Phase::Evaluate, &[0.25]);
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
            accuracy_integer accuracy_teacher activation distilled seed epochs auc agreement agreement_float worst_logit_error \
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
    }
}
