//! Layer lists: the layers of a network, without images or weights.
//!
//! A list says nothing about batch normalization or flattening: the network builder puts a batch normalization in
//! front of every activation and flattens channel-first before the first dense layer.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, TrainConfig};

/// One layer of a custom architecture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Layer {
    /// A convolution with a square kernel and zero padding.
    Convolution {
        /// Output channels.
        channels: usize,
        /// Side of the kernel.
        kernel: usize,
        /// Step in both directions.
        #[serde(default = "one")]
        stride: usize,
        /// Zeros added on each side.
        #[serde(default)]
        padding: usize,
    },
    /// A fully connected layer.
    Dense {
        /// Output features; left out, the number of classes (the last layer must have that many).
        #[serde(default)]
        outputs: Option<usize>,
    },
    /// Average pooling over square windows without padding.
    AveragePool {
        /// Side of the window.
        kernel: usize,
        /// Step in both directions; left out, the side of the window.
        #[serde(default)]
        stride: Option<usize>,
    },
    /// The activation that the training configuration asks for.
    Activation {},
    /// Layers whose result is added to what goes into them, which passes through a convolution of its own (1x1, with
    /// the stride that fits) where the shapes differ.
    Residual {
        /// The layers of the branch: convolutions, pools and activations.
        layers: Vec<Layer>,
    },
}

fn one() -> usize {
    1
}

/// A named list of layers, optionally with the configuration that trains it: the content of an architecture file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerList {
    /// Name recorded as the model's network.
    pub name: String,
    /// The layers, from the image to the logits.
    pub layers: Vec<Layer>,
    /// The configuration to train with unless another is given.
    #[serde(default)]
    pub training: Option<Box<TrainConfig>>,
}

/// A network to train.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Architecture {
    /// Dense 128, activation, dense (784-128-10 on MNIST).
    Mlp,
    /// Convolution 5x5 to 5 channels with stride 2 and padding 1, activation, dense 100, activation, dense.
    ///
    /// # Reference
    /// Gilad-Bachrach et al., *CryptoNets*, ICML 2016.
    CryptoNets,
    /// Convolutions 5x5 to 6 and 16 channels, each with an activation and a pool; dense 120, 84 and the classes.
    ///
    /// # Reference
    /// LeCun et al., *Gradient-based learning applied to document recognition*, Proc. IEEE 1998.
    LeNet,
    /// Two convolutions 3x3 to 32 channels, pool, two to 64 channels, pool, dense; an activation behind each convolution.
    Vgg5,
    /// Five convolutions to 64, 64, 128, 128 and 256 channels, three of them with stride 2, each with an activation, a
    /// pool and a dense layer.
    Cnn6,
    /// Convolution 3x3 to 8 channels with padding 1, activation, dense 32, activation, dense: for 8x8 digits.
    Digits,
    /// Any layer list.
    Custom(LayerList),
}

impl Architecture {
    /// The architectures that have a name.
    const NAMED: [Self; 6] = [
        Self::Mlp,
        Self::CryptoNets,
        Self::LeNet,
        Self::Vgg5,
        Self::Cnn6,
        Self::Digits,
    ];

    /// The name recorded as the model's network.
    pub fn name(&self) -> &str {
        match self {
            Self::Mlp => "mlp",
            Self::CryptoNets => "cryptonets",
            Self::LeNet => "lenet",
            Self::Vgg5 => "vgg5",
            Self::Cnn6 => "cnn6",
            Self::Digits => "digits",
            Self::Custom(list) => &list.name,
        }
    }

    /// The layers, from the image to the logits.
    pub fn layers(&self) -> Vec<Layer> {
        let convolution = |channels, kernel, stride, padding| Layer::Convolution {
            channels,
            kernel,
            stride,
            padding,
        };
        let dense = |outputs| Layer::Dense { outputs };
        let pool = |kernel| Layer::AveragePool {
            kernel,
            stride: None,
        };
        let layers = match self {
            Self::Mlp => vec![dense(Some(128)), dense(None)],
            Self::CryptoNets => vec![convolution(5, 5, 2, 1), dense(Some(100)), dense(None)],
            Self::LeNet => vec![
                convolution(6, 5, 1, 2),
                pool(2),
                convolution(16, 5, 1, 0),
                pool(2),
                dense(Some(120)),
                dense(Some(84)),
                dense(None),
            ],
            Self::Vgg5 => vec![
                convolution(32, 3, 1, 1),
                convolution(32, 3, 1, 1),
                pool(2),
                convolution(64, 3, 1, 1),
                convolution(64, 3, 1, 1),
                pool(2),
                dense(None),
            ],
            Self::Cnn6 => vec![
                convolution(64, 5, 2, 2),
                convolution(64, 3, 1, 1),
                convolution(128, 4, 2, 1),
                convolution(128, 3, 1, 1),
                convolution(256, 4, 2, 1),
                pool(2),
                dense(None),
            ],
            Self::Digits => vec![convolution(8, 3, 1, 1), dense(Some(32)), dense(None)],
            Self::Custom(list) => return list.layers.clone(),
        };
        // An activation stands behind every convolution and every dense layer but the last.
        let activated = |layer| match layer {
            Layer::AveragePool { .. } | Layer::Dense { outputs: None } => vec![layer],
            _ => vec![layer, Layer::Activation {}],
        };
        layers.into_iter().flat_map(activated).collect()
    }
}

impl FromStr for Architecture {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let known = Self::NAMED.into_iter().find(|known| known.name() == name);
        known.ok_or_else(|| Error::UnknownArchitecture {
            found: name.to_string(),
            expected: Self::NAMED.each_ref().map(Self::name).join(", "),
        })
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_others_are_refused() {
        for architecture in Architecture::NAMED {
            assert_eq!(
                architecture.name().parse::<Architecture>().unwrap(),
                architecture
            );
        }
        let message = "resnet".parse::<Architecture>().unwrap_err().to_string();
        assert!(
            message.contains("resnet") && message.contains("cryptonets"),
            "{message}"
        );
    }

    #[test]
    fn a_layer_list_is_read_with_defaults_and_unknown_fields_are_refused() {
        let list: LayerList = serde_json::from_str(
            r#"{"name": "small", "layers": [{"type": "convolution", "channels": 4, "kernel": 3},
                {"type": "activation"}, {"type": "average-pool", "kernel": 2}, {"type": "dense"}],
                "training": {"epochs": 3}}"#,
        )
        .unwrap();
        assert_eq!(
            list.layers[0],
            Layer::Convolution {
                channels: 4,
                kernel: 3,
                stride: 1,
                padding: 0
            }
        );
        assert_eq!(list.layers[3], Layer::Dense { outputs: None });
        assert_eq!(list.training.as_ref().unwrap().epochs, 3);
        let typo = r#"{"name": "x", "layers": [{"type": "convolution", "channels": 4, "kernel": 3, "strid": 2}]}"#;
        assert!(serde_json::from_str::<LayerList>(typo).is_err());
    }
}
