//! The data sets that are known by name.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::Error;

/// The data sets that are known by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SetName {
    /// 8x8 handwritten digits, built in.
    Digits,
    /// MNIST.
    Mnist,
    /// Fashion-MNIST.
    FashionMnist,
    /// CIFAR-10.
    Cifar10,
    /// PneumoniaMNIST.
    PneumoniaMnist,
}

impl SetName {
    /// Every set.
    pub const ALL: [Self; 5] = [
        Self::Digits,
        Self::Mnist,
        Self::FashionMnist,
        Self::Cifar10,
        Self::PneumoniaMnist,
    ];

    /// The name in commands, files and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Digits => "digits",
            Self::Mnist => "mnist",
            Self::FashionMnist => "fashion-mnist",
            Self::Cifar10 => "cifar-10",
            Self::PneumoniaMnist => "pneumoniamnist",
        }
    }

    /// The classes' names, by number.
    pub fn class_names(self) -> Vec<String> {
        let names = match self {
            Self::Digits | Self::Mnist => "0, 1, 2, 3, 4, 5, 6, 7, 8, 9",
            Self::FashionMnist => {
                "T-shirt/top, Trouser, Pullover, Dress, Coat, Sandal, Shirt, Sneaker, Bag, Ankle boot"
            }
            Self::Cifar10 => "airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck",
            Self::PneumoniaMnist => "normal, pneumonia",
        };
        names.split(", ").map(str::to_owned).collect()
    }

    /// Where a set commonly lies in a folder that holds several.
    pub(crate) const fn places(self) -> &'static [&'static str] {
        match self {
            Self::Digits => &[],
            Self::Mnist => &["mnist", "MNIST", "MNIST/raw"],
            Self::FashionMnist => &["fashion-mnist", "FashionMNIST", "FashionMNIST/raw"],
            Self::Cifar10 => &["cifar-10", "cifar-10-batches-bin", "cifar10"],
            Self::PneumoniaMnist => &["pneumoniamnist/pneumoniamnist.npz", "pneumoniamnist.npz"],
        }
    }
}

impl fmt::Display for SetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SetName {
    type Err = Error;

    /// # Errors
    /// [`Error::SetNotFound`] for any other name.
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|name| name.as_str() == text)
            .ok_or_else(|| not_found(text, Vec::new()))
    }
}

/// The error that there is no set of this name, or at this path, at the places that were tried.
pub(crate) fn not_found(name: &str, looked: Vec<PathBuf>) -> Error {
    let names = SetName::ALL.map(SetName::as_str).join(", ");
    let advice = format!(
        "give a set's folder (docs/guide/images.md has the layouts) or a name ({names}), or set SORDINO_DATA to the folder that holds the sets"
    );
    Error::SetNotFound {
        name: name.into(),
        looked,
        advice,
    }
}
