//! Measures of scores against labels, as clinicians read them.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

/// Seed of the bootstrap: the same labels and scores give the same interval.
const BOOTSTRAP_SEED: u64 = 0x5eed;

/// Resamples of the bootstrap.
const RESAMPLES: usize = 1000;

/// Bins of a reliability diagram.
const BINS: usize = 10;

/// Decisions against labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// With the finding, and decided so.
    pub true_positives: u64,
    /// Without the finding, decided to have it.
    pub false_positives: u64,
    /// Without the finding, and decided so.
    pub true_negatives: u64,
    /// With the finding, decided not to have it.
    pub false_negatives: u64,
}

impl Counts {
    /// Counts decisions; an image without a label is passed over.
    pub fn new(decisions: impl IntoIterator<Item = bool>, labels: &[Option<bool>]) -> Self {
        let mut counts = Self::default();
        for (decision, label) in decisions.into_iter().zip(labels) {
            match (decision, label) {
                (true, Some(true)) => counts.true_positives += 1,
                (true, Some(false)) => counts.false_positives += 1,
                (false, Some(false)) => counts.true_negatives += 1,
                (false, Some(true)) => counts.false_negatives += 1,
                (_, None) => {}
            }
        }
        counts
    }

    /// Share of the images with the finding that were decided so; `None` without such images.
    pub fn sensitivity(&self) -> Option<f64> {
        share(self.true_positives, self.false_negatives)
    }

    /// Share of the images without the finding that were decided so; `None` without such images.
    pub fn specificity(&self) -> Option<f64> {
        share(self.true_negatives, self.false_positives)
    }

    /// Share of the images decided to have the finding that have it; `None` without such decisions.
    pub fn precision(&self) -> Option<f64> {
        share(self.true_positives, self.false_positives)
    }

    /// Mean of sensitivity and specificity.
    pub fn balanced_accuracy(&self) -> Option<f64> {
        Some((self.sensitivity()? + self.specificity()?) / 2.0)
    }
}

fn share(part: u64, rest: u64) -> Option<f64> {
    let whole = part + rest;
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Labelled images in the order of their scores, with at least one of each label.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranking {
    /// Score and label, the largest score first.
    images: Vec<(f64, bool)>,
    positives: usize,
}

impl Ranking {
    /// Ranks images; those without a label are passed over. `None` where the finding is in all of the others or in none, or where a score
    /// is no number.
    pub fn new(scores: &[f64], labels: &[Option<bool>]) -> Option<Self> {
        let labelled = scores.iter().zip(labels);
        let mut images: Vec<(f64, bool)> = labelled
            .filter_map(|(&score, label)| label.map(|label| (score, label)))
            .collect();
        images.sort_by(|one, two| two.0.total_cmp(&one.0));
        let positives = images.iter().filter(|image| image.1).count();
        let ranked = 0 < positives && positives < images.len();
        let numbers = images.iter().all(|image| !image.0.is_nan());
        (ranked && numbers).then_some(Self { images, positives })
    }

    /// Score and label of every image, the largest score first.
    pub fn images(&self) -> &[(f64, bool)] {
        &self.images
    }

    /// Images with the finding.
    pub fn positives(&self) -> usize {
        self.positives
    }

    /// Images without it.
    pub fn negatives(&self) -> usize {
        self.images.len() - self.positives
    }

    /// After each distinct score, from the largest: the score, and how many images with and without the finding have it or more.
    fn steps(&self) -> Vec<(f64, usize, usize)> {
        let (mut with, mut without) = (0, 0);
        let ties = self.images.chunk_by(|one, two| one.0 == two.0);
        ties.map(|ties| {
            let positive = ties.iter().filter(|image| image.1).count();
            with += positive;
            without += ties.len() - positive;
            (ties[0].0, with, without)
        })
        .collect()
    }

    /// Area under the ROC curve: the probability that an image with the finding scores higher than one without it, a tie counting half.
    pub fn auc(&self) -> f64 {
        let once = vec![1; self.images.len()];
        self.weighted_auc(&once).unwrap_or(0.5)
    }

    /// The area with every image counted so many times.
    fn weighted_auc(&self, counts: &[u32]) -> Option<f64> {
        let (mut above, mut without, mut pairs) = (0.0, 0.0, 0.0);
        let mut at = 0;
        for ties in self.images.chunk_by(|one, two| one.0 == two.0) {
            let (mut positive, mut negative) = (0.0, 0.0);
            for (image, &count) in ties.iter().zip(&counts[at..]) {
                match image.1 {
                    true => positive += f64::from(count),
                    false => negative += f64::from(count),
                }
            }
            pairs += negative * (above + 0.5 * positive);
            above += positive;
            without += negative;
            at += ties.len();
        }
        (above > 0.0 && without > 0.0).then(|| pairs / (above * without))
    }

    /// The interval from 2.5 % to 97.5 % of the areas of 1,000 samples of the images, drawn with replacement from a fixed seed. Samples
    /// without both labels are drawn again, at most as often.
    pub fn auc_interval(&self) -> (f64, f64) {
        let mut random = ChaCha8Rng::seed_from_u64(BOOTSTRAP_SEED);
        let images = self.images.len() as u64;
        let mut areas = Vec::with_capacity(RESAMPLES);
        for _ in 0..2 * RESAMPLES {
            let mut counts = vec![0; self.images.len()];
            for _ in 0..images {
                // The high half of a product is even but for 2^-64 a value.
                let drawn = u128::from(random.next_u64()) * u128::from(images);
                counts[(drawn >> 64) as usize] += 1;
            }
            areas.extend(self.weighted_auc(&counts));
            if areas.len() == RESAMPLES {
                break;
            }
        }
        areas.sort_by(f64::total_cmp);
        (quantile(&areas, 0.025), quantile(&areas, 0.975))
    }

    /// Average precision: the sum over distinct scores of the precision there, times the sensitivity that is gained there.
    pub fn average_precision(&self) -> f64 {
        let (mut sum, mut before) = (0.0, 0);
        for (_, with, without) in self.steps() {
            let gained = (with - before) as f64 / self.positives as f64;
            sum += gained * with as f64 / (with + without) as f64;
            before = with;
        }
        sum
    }

    /// Points of the ROC curve, from (0, 0) to (1, 1): the share of images without the finding, and of those with it, that score as much.
    pub fn roc(&self) -> Vec<(f64, f64)> {
        let (positives, negatives) = (self.positives as f64, self.negatives() as f64);
        let steps = self.steps().into_iter();
        let points =
            steps.map(|(_, with, without)| (without as f64 / negatives, with as f64 / positives));
        std::iter::once((0.0, 0.0)).chain(points).collect()
    }

    /// Points of the precision-recall curve, from the largest score: sensitivity and precision.
    pub fn precision_recall(&self) -> Vec<(f64, f64)> {
        let positives = self.positives as f64;
        let point = |(_, with, without): (f64, usize, usize)| {
            (
                with as f64 / positives,
                with as f64 / (with + without) as f64,
            )
        };
        self.steps().into_iter().map(point).collect()
    }

    /// The highest threshold at which the sensitivity is at least `share`, half way to the next lower score.
    pub fn threshold_of_sensitivity(&self, share: f64) -> f64 {
        let steps = self.steps();
        let needed = share * self.positives as f64 - 1e-9;
        let reached = |&(_, with, _): &(f64, usize, usize)| with as f64 >= needed;
        let at = steps.iter().position(reached).unwrap_or(steps.len() - 1);
        between(Some(steps[at].0), steps.get(at + 1).map(|step| step.0))
    }

    /// The lowest threshold at which the specificity is at least `share`, half way to the next higher score.
    pub fn threshold_of_specificity(&self, share: f64) -> f64 {
        let steps = self.steps();
        let negatives = self.negatives() as f64;
        // Scores from the largest on that may be decided to be the finding.
        let kept = |&(_, _, without): &(f64, usize, usize)| {
            negatives - without as f64 >= share * negatives - 1e-9
        };
        let kept = steps.iter().take_while(|step| kept(step)).count();
        let above = kept.checked_sub(1).map(|at| steps[at].0);
        between(above, steps.get(kept).map(|step| step.0))
    }

    /// Slope and offset of the calibrated probability σ(slope · score + offset) that fits the labels best; `None` where a larger score does
    /// not mean the finding.
    ///
    /// # Reference
    /// H.-T. Lin, C.-J. Lin, R. C. Weng, "A note on Platt's probabilistic outputs for support vector machines", 2007, Algorithm 1.
    pub fn calibrate(&self) -> Option<(f64, f64)> {
        let (with, without) = (self.positives as f64, self.negatives() as f64);
        // Labels a little inside of 0 and 1, so that the fit is finite where the scores separate the labels.
        let (high, low) = ((with + 1.0) / (with + 2.0), 1.0 / (without + 2.0));
        let loss = |slope: f64, offset: f64| -> f64 {
            let of = |&(score, label): &(f64, bool)| {
                let logit = slope * score + offset;
                let target = if label { high } else { low };
                logit.max(0.0) - target * logit + (-logit.abs()).exp().ln_1p()
            };
            self.images.iter().map(of).sum()
        };
        let (mut slope, mut offset) = (0.0, (with + 1.0).ln() - (without + 1.0).ln());
        let mut current = loss(slope, offset);
        for _ in 0..100 {
            let (mut ss, mut so, mut oo) = (1e-12, 0.0, 1e-12);
            let (mut gradient_s, mut gradient_o) = (0.0, 0.0);
            for &(score, label) in &self.images {
                let p = 1.0 / (1.0 + (-(slope * score + offset)).exp());
                let error = p - if label { high } else { low };
                let weight = p * (1.0 - p);
                gradient_s += error * score;
                gradient_o += error;
                ss += weight * score * score;
                so += weight * score;
                oo += weight;
            }
            if gradient_s.abs() < 1e-5 && gradient_o.abs() < 1e-5 {
                break;
            }
            let determinant = ss * oo - so * so;
            let step_s = -(oo * gradient_s - so * gradient_o) / determinant;
            let step_o = -(ss * gradient_o - so * gradient_s) / determinant;
            let descent = gradient_s * step_s + gradient_o * step_o;
            let mut part = 1.0;
            let better = loop {
                let next = (slope + part * step_s, offset + part * step_o);
                let found = loss(next.0, next.1);
                if found < current + 1e-4 * part * descent {
                    break Some((next, found));
                }
                part /= 2.0;
                if part < 1e-10 {
                    break None;
                }
            };
            let Some((next, found)) = better else { break };
            ((slope, offset), current) = (next, found);
        }
        (slope > 0.0 && slope.is_finite() && offset.is_finite()).then_some((slope, offset))
    }
}

/// Half way between two neighbouring scores; just outside where there is only one.
fn between(above: Option<f64>, below: Option<f64>) -> f64 {
    let gap = |score: f64| score.abs().max(1.0) * 1e-6;
    match (above, below) {
        (Some(above), Some(below)) => below + (above - below) / 2.0,
        (Some(above), None) => above - gap(above),
        (None, Some(below)) => below + gap(below),
        (None, None) => 0.0,
    }
}

/// A quantile of sorted numbers, linear between two of them.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (low, high) = (place.floor() as usize, place.ceil() as usize);
    sorted[low] + (sorted[high] - sorted[low]) * (place - low as f64)
}

/// One bin of a reliability diagram.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// Mean probability of its images.
    pub probability: f64,
    /// Share of its images with the finding.
    pub observed: f64,
    /// Its images.
    pub images: usize,
}

/// Ten bins of equal width by probability, without the empty ones.
pub fn reliability(probabilities: &[f64], labels: &[Option<bool>]) -> Vec<Bin> {
    let mut bins = [(0.0, 0usize, 0usize); BINS];
    for (&probability, label) in probabilities.iter().zip(labels) {
        let Some(label) = *label else { continue };
        let at = (probability * BINS as f64) as usize;
        let (sum, with, images) = &mut bins[at.min(BINS - 1)];
        *sum += probability;
        *with += usize::from(label);
        *images += 1;
    }
    let filled = bins.into_iter().filter(|bin| bin.2 > 0);
    filled
        .map(|(sum, with, images)| Bin {
            probability: sum / images as f64,
            observed: with as f64 / images as f64,
            images,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 200 scores with ties, about a quarter of them of images with the finding.
    fn sample() -> (Vec<f64>, Vec<Option<bool>>) {
        let mut state = 12345u64;
        let mut next = || {
            state = (state * 1_103_515_245 + 12345) % (1 << 31);
            state >> 16
        };
        let image = |_| {
            let label = next().is_multiple_of(4);
            let noise = (next() % 64) as f64 / 8.0 - 4.0;
            (noise + if label { 1.5 } else { 0.0 }, Some(label))
        };
        (0..200).map(image).unzip()
    }

    fn close(found: f64, expected: f64, tolerance: f64) {
        assert!(
            (found - expected).abs() <= tolerance,
            "found {found}, expected {expected}"
        );
    }

    /// The expected numbers are those of scikit-learn 1.9 and NumPy for the same sample.
    #[test]
    fn measures_are_those_of_scikit_learn() {
        let (scores, labels) = sample();
        let ranking = Ranking::new(&scores, &labels).unwrap();
        assert_eq!((ranking.positives(), ranking.negatives()), (59, 141));
        close(ranking.auc(), 0.7490082942661377, 1e-12);
        close(ranking.average_precision(), 0.6462588717757485, 1e-12);
        let counts = Counts::new(scores.iter().map(|&s| s >= 1.0), &labels);
        let expected = Counts {
            true_negatives: 95,
            false_positives: 46,
            false_negatives: 20,
            true_positives: 39,
        };
        assert_eq!(counts, expected);
        close(
            counts.balanced_accuracy().unwrap(),
            0.6673879072003847,
            1e-12,
        );
        let (slope, offset) = ranking.calibrate().unwrap();
        close(slope, 0.41099315820160764, 1e-3);
        close(offset, -1.2770267616039213, 1e-3);
        assert_eq!(ranking.roc().len(), 70);
        let probabilities: Vec<f64> = scores.iter().map(|s| 1.0 / (1.0 + (-s).exp())).collect();
        let bins = reliability(&probabilities, &labels);
        assert_eq!(bins.len(), 10);
        close(bins[1].probability, 0.14166825123464338, 1e-12);
        close(bins[1].observed, 0.24, 1e-12);
        close(bins[9].observed, 0.5254237288135594, 1e-12);
        assert_eq!(bins.iter().map(|bin| bin.images).sum::<usize>(), 200);
    }

    /// 20,000 resamples by NumPy give 0.6705 to 0.8211.
    #[test]
    fn the_interval_is_that_of_many_resamples_and_always_the_same() {
        let (scores, labels) = sample();
        let ranking = Ranking::new(&scores, &labels).unwrap();
        let interval = ranking.auc_interval();
        close(interval.0, 0.6705, 0.01);
        close(interval.1, 0.8211, 0.01);
        assert_eq!(ranking.auc_interval(), interval);
    }

    #[test]
    fn thresholds_reach_their_target_and_no_more() {
        let (scores, labels) = sample();
        let ranking = Ranking::new(&scores, &labels).unwrap();
        let counts = |threshold: f64| Counts::new(scores.iter().map(|&s| s >= threshold), &labels);
        // Scores are multiples of 1/8; scikit-learn's curve has -1.5 and 3.125 as the scores that reach the targets.
        let sensitive = ranking.threshold_of_sensitivity(0.9);
        assert_eq!(sensitive, -1.5625);
        assert!(counts(sensitive).sensitivity().unwrap() >= 0.9);
        assert!(counts(sensitive + 0.125).sensitivity().unwrap() < 0.9);
        let specific = ranking.threshold_of_specificity(0.9);
        assert_eq!(specific, 3.0625);
        assert!(counts(specific).specificity().unwrap() >= 0.9);
        assert!(counts(specific - 0.125).specificity().unwrap() < 0.9);
        let all = ranking.threshold_of_sensitivity(1.0);
        assert_eq!(counts(all).sensitivity(), Some(1.0));
        let none = ranking.threshold_of_specificity(1.0);
        assert_eq!(counts(none).specificity(), Some(1.0));
        let any = ranking.threshold_of_specificity(0.0);
        assert_eq!(counts(any).sensitivity(), Some(1.0));
    }

    #[test]
    fn images_without_a_label_are_passed_over() {
        let labels = [Some(true), None, Some(false), None];
        let ranking = Ranking::new(&[1.0, 5.0, 0.0, -5.0], &labels).unwrap();
        assert_eq!(ranking.images(), [(1.0, true), (0.0, false)]);
        assert_eq!(ranking.auc(), 1.0);
        assert_eq!(ranking.precision_recall(), [(1.0, 1.0), (1.0, 0.5)]);
        let counts = Counts::new([true; 4], &labels);
        assert_eq!((counts.true_positives, counts.false_positives), (1, 1));
        assert_eq!(Ranking::new(&[1.0, 2.0], &[Some(true), None]), None);
        assert_eq!(
            Ranking::new(&[f64::NAN, 2.0], &[Some(true), Some(false)]),
            None
        );
        // Scores that fall with the finding cannot be calibrated.
        let turned = Ranking::new(
            &[0.0, 0.5, 3.0, 4.0],
            &[Some(true), Some(true), Some(false), Some(false)],
        );
        assert_eq!(turned.unwrap().calibrate(), None);
    }
}
