//! The networks that are compared, with their images.

use anyhow::{Context, ensure};
use sordino::Model;
use sordino::data::{DataSet, SetName, prepare};
use sordino_command::Output;

use crate::Error;
use crate::suites::places::{DataArgs, ModelArgs};

/// A network with both kinds of quadratics.
pub(super) struct Subject {
    /// Architecture.
    pub network: String,
    pub set: DataSet,
    /// The network with a quadratic per element.
    pub element: Model,
    /// The network with a quadratic per channel, if there is such a file.
    pub channel: Option<Model>,
}

impl Subject {
    /// `lenet on fashion-mnist`, as in tables.
    pub(super) fn title(&self) -> String {
        format!("{} on {}", self.network, self.set.name)
    }

    /// The network for channel-wise packing.
    pub(super) fn channel_wise(&self) -> &Model {
        self.channel.as_ref().unwrap_or(&self.element)
    }

    /// How many images there are: test images, then training images.
    pub(super) fn available(&self) -> usize {
        self.set.test.len() + self.set.train.len()
    }

    /// The first images and their preprocessing applied: test images and, beyond them, training images.
    pub(super) fn prepared(&self, model: &Model, count: usize) -> anyhow::Result<Vec<f32>> {
        let test = &self.set.test;
        let mut images = test.split_at(count).0;
        if count > images.len() {
            images.append(self.set.train.split_at(count - images.len()).0)?;
        }
        Ok(prepare(&images, &model.preprocess, None)?)
    }
}

/// Granularity of a network's quadratics.
pub(super) fn activation(model: &Model) -> String {
    let activation = model.training["config"]["activation"].as_str();
    activation.unwrap_or("element").to_owned()
}

/// Loads every network whose model and data are there, and notes what is missing.
pub(super) fn subjects(
    networks: &[String],
    data: &DataArgs,
    models: &ModelArgs,
    notes: &mut Vec<String>,
    output: &Output,
) -> anyhow::Result<Vec<Subject>> {
    let mut subjects = Vec::new();
    let mut missing = None;
    for name in networks {
        let (network, set_name) = split(name)?;
        let element = models.load(name)?;
        check(&element, set_name, name)?;
        let set = match data.open(set_name) {
            Ok(set) => set,
            Err(error) => {
                output.note(format!("skipped {name}: {error}"));
                notes.push(format!("{name} was skipped: its data set was not found."));
                missing = Some(error);
                continue;
            }
        };
        let other = format!("{network}-channel-{set_name}");
        let channel = models.find(&other)?;
        match &channel {
            Some(channel) => check(channel, set_name, &other)?,
            None => {
                let note = format!(
                    "There is no {other}.safetensors: channel-wise packing of {network} on {set_name} was run with the network that has a quadratic per element, which costs the same time."
                );
                output.note(&note);
                notes.push(note);
            }
        }
        subjects.push(Subject {
            network: network.to_owned(),
            set,
            element,
            channel,
        });
    }
    if let (true, Some(error)) = (subjects.is_empty(), missing) {
        return Err(error).context("no data set of any network is here");
    }
    Ok(subjects)
}

/// Network and data set of a model file's name.
fn split(name: &str) -> anyhow::Result<(&str, SetName)> {
    let parts = SetName::ALL.into_iter().filter_map(|set| {
        let network = name.strip_suffix(set.as_str())?.strip_suffix('-')?;
        (!network.is_empty()).then_some((network, set))
    });
    // One set's name may be the end of another's.
    let longest = parts.max_by_key(|(_, set)| set.as_str().len());
    longest.ok_or_else(|| {
        let sets = SetName::ALL.map(SetName::as_str).join(", ");
        let text = format!(
            "--networks {name}: give NETWORK-DATASET, such as cryptonets-mnist, with one of the data sets {sets}"
        );
        Error::Usage(text).into()
    })
}

/// Refuses a file under another data set's name, which would be measured on the wrong images.
fn check(model: &Model, set: SetName, name: &str) -> anyhow::Result<()> {
    let found = &model.dataset;
    let text = || format!("{name}.safetensors was trained on {found}, not on {set}: rename it");
    ensure!(found == set.as_str(), Error::Usage(text()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_end_with_a_data_set() {
        let parts = |name| split(name).map(|(network, set)| (network.to_owned(), set.as_str()));
        assert_eq!(
            parts("lenet-fashion-mnist").unwrap(),
            ("lenet".to_owned(), "fashion-mnist")
        );
        assert_eq!(
            parts("cryptonets-mnist").unwrap(),
            ("cryptonets".to_owned(), "mnist")
        );
        assert_eq!(
            parts("my-net-cifar-10").unwrap(),
            ("my-net".to_owned(), "cifar-10")
        );
        for wrong in ["lenet", "mnist", "-mnist", "lenet-other", "lenetmnist"] {
            assert!(parts(wrong).is_err(), "{wrong}");
        }
    }
}
