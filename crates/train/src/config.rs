//! How a network is trained: one plain structure, recorded in the model file.

use std::fmt;
use std::str::FromStr;

use serde::de::IntoDeserializer;
use serde::de::value::{self, StrDeserializer};
use serde::{Deserialize, Serialize};

use sordino_graph::Granularity;

use crate::{Architecture, ClassWeights, Error};

/// The non-linearity, and at which granularity its quadratic's coefficients are shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// Rectifier: for teachers, cannot be evaluated under encryption.
    Relu,
    /// One quadratic per layer.
    Layer,
    /// One quadratic per channel.
    Channel,
    /// One quadratic per element of the feature map.
    Element,
}

impl Activation {
    /// How the quadratic's coefficients are shared; `None` for ReLU.
    pub const fn granularity(self) -> Option<Granularity> {
        match self {
            Self::Relu => None,
            Self::Layer => Some(Granularity::Layer),
            Self::Channel => Some(Granularity::Channel),
            Self::Element => Some(Granularity::Element),
        }
    }
}

impl FromStr for Activation {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let text: StrDeserializer<'_, value::Error> = name.into_deserializer();
        Self::deserialize(text).map_err(|_| Error::UnknownActivation {
            found: name.to_string(),
        })
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
    }
}

/// The rule that turns gradients into steps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Optimizer {
    /// Adam with bias correction; weight decay is decoupled.
    Adam {
        /// Decay of the mean gradient.
        beta1: f64,
        /// Decay of the mean squared gradient.
        beta2: f64,
        /// Added to the root of the mean squared gradient. Not tiny: the constant term of a quadratic in front of a batch
        /// normalization has a zero gradient, whose rounding noise must not be amplified.
        epsilon: f64,
    },
    /// Stochastic gradient descent with Nesterov momentum; weight decay is decoupled.
    Sgd {
        /// Decay of the velocity.
        momentum: f64,
    },
}

/// Weights of the terms of the loss that compare a student with its teacher.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Distillation {
    /// Weight of the divergence from the teacher's soft targets; the rest is cross-entropy with the labels.
    pub weight: f64,
    /// Logits of both are divided by this before they are compared; the divergence is scaled by its square.
    pub temperature: f64,
    /// Weight of the squared distance between the activations of both, relative to the teacher's mean square.
    pub features: f64,
}

impl Default for Distillation {
    fn default() -> Self {
        Self {
            weight: 0.5,
            temperature: 4.0,
            features: 0.0,
        }
    }
}

/// Learning-rate schedule after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// Half a cosine down to zero.
    Cosine,
    /// A straight line down to zero.
    Linear,
    /// A tenth after half of the steps, a hundredth after three quarters.
    Steps,
    /// No change.
    Constant,
}

/// Bounds of positive numbers.
const MIN: f64 = f64::MIN_POSITIVE;
const MAX: f64 = f64::MAX;

/// What several values of the configuration are expected to be, in words.
const POSITIVE: &str = "a positive number";
const FROM_0: &str = "0 or more";
const DECAY: &str = "0 to 0.99999";
const EPOCHS: &str = "0 to the number of epochs";
const BATCHES: &str = "2 to 65536 (batch normalization needs two images)";
const CURVATURE: &str = "two numbers, 0.001 or more, in order";

/// Everything that decides the outcome of a training run besides the architecture and the data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// The non-linearity.
    pub activation: Activation,
    /// Whether a batch normalization stands in front of every activation. Without it, train ReLU networks only.
    #[serde(skip_serializing_if = "is_true")]
    pub batch_norm: bool,
    /// Passes over the training images.
    pub epochs: usize,
    /// Images per step.
    pub batch: usize,
    /// The optimizer.
    pub optimizer: Optimizer,
    /// Largest learning rate, reached after the warm-up.
    pub learning_rate: f64,
    /// How the learning rate falls after the warm-up.
    pub schedule: Schedule,
    /// Epochs (fractions allowed) over which the learning rate rises from zero.
    pub warmup_epochs: f64,
    /// Decoupled decay of convolution and dense weights.
    pub weight_decay: f64,
    /// Largest norm of the gradient of all parameters together; larger ones are scaled down.
    pub gradient_norm: f64,
    /// Pre-activations beyond this are penalized.
    pub range_limit: f64,
    /// Weight of the mean squared excess over `range_limit`.
    pub range_penalty: f64,
    /// Weight of the mean squared logit.
    pub logit_penalty: f64,
    /// Share of the target probability that is spread over all classes; for findings, over present and absent.
    pub label_smoothing: f64,
    /// What rare classes and findings weigh in the loss.
    #[serde(skip_serializing_if = "ClassWeights::is_none")]
    pub class_weights: ClassWeights,
    /// Whether an epoch draws the images of every class equally often, whatever their number; for findings, the images with each, and
    /// those with none. An epoch has as many steps as without.
    #[serde(skip_serializing_if = "is_false")]
    pub balanced_sampling: bool,
    /// Least and greatest quadratic coefficient `a` (projected after every step; see [`crate::SLOPE_BOUND`]).
    pub curvature: (f64, f64),
    /// Weights are clipped at this many times the root mean square of their layer.
    pub weight_clip: f64,
    /// Images are shifted at random by up to this many pixels in both directions.
    pub shift: usize,
    /// Whether half of the images, chosen at random, are mirrored left and right.
    pub flip: bool,
    /// A square of at least this share of the image's side is cut out at random and stretched to its size; 1 for never.
    pub crop: f64,
    /// A square of this many pixels at a random place is blanked; 0 for never.
    pub cutout: usize,
    /// Epochs (fractions allowed) over which ReLU, mixed into the quadratics, fades out.
    pub blend_epochs: f64,
    /// Terms of the loss that compare a student with its teacher; unused without a teacher.
    pub distillation: Option<Distillation>,
    /// Epochs without a better one after which training stops; 0 never stops early.
    pub patience: usize,
    /// Share of the training images held back to choose the best epoch.
    pub validation: f64,
    /// The trained convolution and dense weights are rounded to half precision, which halves the model file. Integer
    /// weights are coarser still.
    pub half_weights: bool,
    /// Seed of weights, order, shifts and split.
    pub seed: u64,
    /// Threads of the linear algebra. One is fastest for small networks and keeps a run reproducible.
    pub threads: usize,
}

fn is_true(value: &bool) -> bool {
    *value
}

fn is_false(value: &bool) -> bool {
    !value
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            activation: Activation::Element,
            batch_norm: true,
            epochs: 20,
            batch: 128,
            optimizer: Optimizer::Adam {
                beta1: 0.9,
                beta2: 0.999,
                epsilon: 1e-5,
            },
            learning_rate: 2e-3,
            schedule: Schedule::Cosine,
            warmup_epochs: 0.5,
            weight_decay: 0.1,
            gradient_norm: 1.0,
            range_limit: 4.0,
            range_penalty: 0.1,
            logit_penalty: 1e-4,
            label_smoothing: 0.0,
            class_weights: ClassWeights::None,
            balanced_sampling: false,
            curvature: (0.05, 1.0),
            weight_clip: 6.0,
            shift: 1,
            flip: false,
            crop: 1.0,
            cutout: 0,
            blend_epochs: 0.0,
            distillation: None,
            patience: 0,
            validation: 0.1,
            half_weights: false,
            seed: 1,
            threads: 1,
        }
    }
}

impl TrainConfig {
    /// The recipe for an architecture that learns from labels alone.
    pub fn for_architecture(architecture: &Architecture) -> Self {
        let base = Self::default();
        match architecture {
            Architecture::Mlp => Self {
                epochs: 40,
                learning_rate: 3e-3,
                label_smoothing: 0.05,
                ..base
            },
            Architecture::CryptoNets => Self {
                epochs: 25,
                learning_rate: 3e-3,
                weight_decay: 0.2,
                label_smoothing: 0.05,
                range_limit: 3.0,
                range_penalty: 0.5,
                ..base
            },
            // Few images: none is held back, and the last epoch is kept.
            Architecture::Digits => Self {
                epochs: 150,
                batch: 64,
                weight_decay: 1.0,
                label_smoothing: 0.1,
                range_limit: 3.0,
                range_penalty: 1.0,
                validation: 0.0,
                ..base
            },
            Architecture::LeNet | Architecture::Vgg5 | Architecture::Cnn6 => base,
            Architecture::Custom(list) => list.training.as_deref().cloned().unwrap_or(base),
        }
    }

    /// Refuses values that cannot be trained with, by name.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let epochs = self.epochs as f64;
        let (least, most) = self.curvature;
        let mut ranges = vec![
            ("epochs", epochs, 1.0, 1e6, "1 or more"),
            ("batch", self.batch as f64, 2.0, 65536.0, BATCHES),
            ("threads", self.threads as f64, 1.0, 1024.0, "1 to 1024"),
            ("learning_rate", self.learning_rate, MIN, 1e30, POSITIVE),
            ("warmup_epochs", self.warmup_epochs, 0.0, epochs, EPOCHS),
            ("weight_decay", self.weight_decay, 0.0, 1e3, "0 to 1000"),
            ("gradient_norm", self.gradient_norm, MIN, MAX, POSITIVE),
            ("range_limit", self.range_limit, 0.0, MAX, FROM_0),
            ("range_penalty", self.range_penalty, 0.0, MAX, FROM_0),
            ("logit_penalty", self.logit_penalty, 0.0, MAX, FROM_0),
            (
                "label_smoothing",
                self.label_smoothing,
                0.0,
                0.9,
                "0 to 0.9",
            ),
            ("curvature", least, 1e-3, most, CURVATURE),
            ("curvature", most, least, 100.0, "at most 100"),
            ("weight_clip", self.weight_clip, 1.0, MAX, "1 or more"),
            ("shift", self.shift as f64, 0.0, 64.0, "0 to 64 pixels"),
            ("crop", self.crop, 0.1, 1.0, "0.1 to 1"),
            ("cutout", self.cutout as f64, 0.0, 256.0, "0 to 256 pixels"),
            ("blend_epochs", self.blend_epochs, 0.0, epochs, EPOCHS),
        ];
        if let Some(Distillation {
            weight,
            temperature,
            features,
        }) = self.distillation
        {
            ranges.extend([
                ("distillation.weight", weight, 0.0, 1.0, "0 to 1"),
                (
                    "distillation.temperature",
                    temperature,
                    0.1,
                    1e2,
                    "0.1 to 100",
                ),
                ("distillation.features", features, 0.0, 1e6, FROM_0),
            ]);
        }
        ranges.push(("validation", self.validation, 0.0, 0.5, "0 to 0.5"));
        match self.optimizer {
            Optimizer::Adam {
                beta1,
                beta2,
                epsilon,
            } => ranges.extend([
                ("optimizer.beta1", beta1, 0.0, 0.99999, DECAY),
                ("optimizer.beta2", beta2, 0.0, 0.99999, DECAY),
                ("optimizer.epsilon", epsilon, 1e-12, 1.0, "1e-12 to 1"),
            ]),
            Optimizer::Sgd { momentum } => {
                ranges.push(("optimizer.momentum", momentum, 0.0, 0.99999, DECAY));
            }
        }
        self.class_weights.check()?;
        if !self.batch_norm && self.activation != Activation::Relu {
            return Err(Error::Config {
                field: "batch_norm",
                found: "false".to_string(),
                expected: "true for quadratics (false for ReLU networks only)",
            });
        }
        for (field, value, least, most, expected) in ranges {
            // Not a number is in no range.
            if !(least..=most).contains(&value) {
                return Err(Error::Config {
                    field,
                    found: value.to_string(),
                    expected,
                });
            }
        }
        Ok(())
    }

    /// Learning rate at step `step` of `steps`, of which `steps_per_epoch` make an epoch.
    pub(crate) fn learning_rate_at(
        &self,
        step: usize,
        steps: usize,
        steps_per_epoch: usize,
    ) -> f64 {
        let warmup = (self.warmup_epochs * steps_per_epoch as f64).min(steps as f64);
        let step = step as f64 + 0.5;
        if step < warmup {
            return self.learning_rate * step / warmup;
        }
        let progress = ((step - warmup) / (steps as f64 - warmup).max(1.0)).min(1.0);
        let share = match self.schedule {
            Schedule::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
            Schedule::Linear => 1.0 - progress,
            Schedule::Steps if progress < 0.5 => 1.0,
            Schedule::Steps if progress < 0.75 => 0.1,
            Schedule::Steps => 0.01,
            Schedule::Constant => 1.0,
        };
        self.learning_rate * share
    }

    /// Share of ReLU in the quadratics at step `step`.
    pub(crate) fn blend_at(&self, step: usize, steps_per_epoch: usize) -> f32 {
        let fade = self.blend_epochs * steps_per_epoch as f64;
        (1.0 - step as f64 / fade.max(1e-9)).max(0.0) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_learning_rate_warms_up_peaks_and_ends_near_zero() {
        let config = TrainConfig {
            epochs: 10,
            warmup_epochs: 1.0,
            learning_rate: 1.0,
            ..Default::default()
        };
        let rates: Vec<f64> = (0..100)
            .map(|step| config.learning_rate_at(step, 100, 10))
            .collect();
        assert!(rates[..10].windows(2).all(|pair| pair[0] < pair[1]));
        assert!(rates[10..].windows(2).all(|pair| pair[0] > pair[1]));
        assert!(rates[10] > 0.99 && rates[99] < 1e-3 && rates[0] < 0.06);
    }

    #[test]
    fn each_schedule_has_its_learning_rates() {
        let rates = |schedule| {
            let config = TrainConfig {
                schedule,
                warmup_epochs: 0.0,
                learning_rate: 1.0,
                ..Default::default()
            };
            [10, 40, 60, 90].map(|step| config.learning_rate_at(step, 100, 10))
        };
        assert_eq!(rates(Schedule::Constant), [1.0; 4]);
        assert_eq!(rates(Schedule::Steps), [1.0, 1.0, 0.1, 0.01]);
        let expected = [0.895, 0.595, 0.395, 0.095];
        for (found, expected) in rates(Schedule::Linear).iter().zip(expected) {
            assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        }
    }

    #[test]
    fn values_outside_their_range_are_refused_by_name() {
        let bad = [
            TrainConfig {
                epochs: 0,
                ..Default::default()
            },
            TrainConfig {
                learning_rate: f64::NAN,
                ..Default::default()
            },
            TrainConfig {
                curvature: (0.0, 1.0),
                ..Default::default()
            },
            TrainConfig {
                validation: 0.9,
                ..Default::default()
            },
            TrainConfig {
                batch_norm: false,
                ..Default::default()
            },
            TrainConfig {
                class_weights: ClassWeights::Given(vec![1.0, 0.0]),
                ..Default::default()
            },
        ];
        let fields = [
            "epochs",
            "learning_rate",
            "curvature",
            "validation",
            "batch_norm",
            "class_weights",
        ];
        for (config, field) in bad.iter().zip(fields) {
            assert!(config.check().unwrap_err().to_string().contains(field));
        }
        TrainConfig::default().check().unwrap();
    }

    #[test]
    fn a_configuration_of_before_is_the_same_in_a_file() {
        let written = serde_json::to_value(TrainConfig::default()).unwrap();
        for field in ["class_weights", "balanced_sampling", "batch_norm"] {
            assert!(written.get(field).is_none(), "{field}");
        }
        let text = "class_weights = \"balanced\"\nbalanced_sampling = true";
        let read: TrainConfig = toml::from_str(text).unwrap();
        assert!(read.balanced_sampling && read.class_weights == ClassWeights::Balanced);
        let read: TrainConfig = toml::from_str("class_weights = [1, 2.5]").unwrap();
        assert_eq!(read.class_weights, ClassWeights::Given(vec![1.0, 2.5]));
        assert!(toml::from_str::<TrainConfig>("class_weights = \"other\"").is_err());
    }
}
