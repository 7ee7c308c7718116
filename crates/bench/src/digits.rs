//! The embedded handwritten digits: a network that trains in seconds, and images to try it on.

use anyhow::ensure;
use sordino::Model;
use sordino::data::{Images, digits, shift};
use sordino::train::{Architecture, Progress, TrainConfig, TrainingData, train};

use sordino_command::terminal::Bar;

use crate::Error;

/// Shifts by one pixel in every direction, after none.
const SHIFTS: [(isize, isize); 9] = [
    (0, 0),
    (1, 0),
    (-1, 0),
    (0, 1),
    (0, -1),
    (1, 1),
    (-1, -1),
    (1, -1),
    (-1, 1),
];

/// Trains the network `digits` on the first two thirds of the embedded 8x8 handwritten digits.
///
/// # Errors
/// Those of training.
///
/// # Cost
/// A few seconds.
pub fn train_digits(progress: &mut dyn FnMut(&Progress)) -> anyhow::Result<Model> {
    let architecture = Architecture::Digits;
    let data = TrainingData::from_set(&digits())?;
    let config = TrainConfig::for_architecture(&architecture);
    Ok(train(&architecture, &data, &config, progress)?)
}

/// Shows how far a training run is.
pub fn show_training(bar: &Bar, progress: &Progress, text: &str) {
    let done = (progress.epoch - 1) * progress.batches + progress.batch;
    let of = progress.epochs * progress.batches;
    bar.update(done, of, text, progress.seconds_left);
}

/// Images made from the last third of the embedded digits, which training never saw: first as they are, then all
/// shifted by one pixel to one side after another, until there are `count`.
///
/// # Errors
/// [`Error::ShiftedImages`] for more than nine times 599.
pub fn shifted_digits(count: usize) -> anyhow::Result<Images> {
    let test = digits().test;
    let (found, limit) = (count, SHIFTS.len() * test.len());
    ensure!(
        (1..=limit).contains(&count),
        Error::ShiftedImages { found, limit }
    );
    let mut images = test.clone();
    for (dx, dy) in SHIFTS.into_iter().skip(1) {
        if images.len() >= count {
            break;
        }
        images.append(shift(&test, dx, dy))?;
    }
    Ok(images.split_at(count).0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shifted_digits_start_with_the_test_images_and_keep_their_labels() {
        let test = digits().test;
        let images = shifted_digits(4096).unwrap();
        assert_eq!(images.len(), 4096);
        assert_eq!(images.split_at(test.len()).0.pixels, test.pixels);
        let labels = images.labels.unwrap();
        let original = test.labels.clone().unwrap();
        assert!(
            labels
                .iter()
                .enumerate()
                .all(|(i, label)| *label == original[i % original.len()])
        );
        assert!(shifted_digits(0).is_err());
        assert!(shifted_digits(9 * test.len() + 1).is_err());
    }
}
