//! Predicting the worst error of a logit from noise variances and the network's own sensitivities.
//!
//! Every noise source s (fresh encryption, a rescale, a relinearization) adds to each element of one folded node an
//! error of variance v_s. The model's calibration holds, for every node, the distribution over images and logits of
//! G = Σ_f (∂logit/∂value_f)², so a logit's error variance is Σ_s v_s·G_s. Part of the sources is Gaussian alike in
//! every slot, part is scaled in slot j by |s_j|, which the key fixes: its size is a product of two normal variables.
//! The predicted worst error t is the one that `samples` errors of this distribution exceed with probability
//! [`EXCEED_PROBABILITY`].
//!
//! Calibration looks at 256 images at most, and at 15 of a large network. Of 1,000 images some are more sensitive than all of these
//! by a factor of 8 in variance (`resnet9`), or 18 (`cnn6` on PneumoniaMNIST), because derivatives are products of activations. So
//! parameters are chosen by the distribution as it was recorded, and the error that a plan promises is predicted with a tail beyond
//! it ([`with_tail`]).

use crate::CompileOptions;
use crate::network::Network;

/// Worst error relative to the usual size of a logit, unless asked otherwise: see docs/decisions/planner.md for how
/// many predictions it moves.
const DEFAULT_RELATIVE_ERROR: f64 = 1.0 / 300.0;
/// Probability that some logit of the batch is worse than predicted.
const EXCEED_PROBABILITY: f64 = 0.02;
/// Images outside the calibration set may be more sensitive than the worst one in it.
const UNSEEN_MARGIN: f64 = 1.15;

/// Variances that one folded node receives, in units of its real value.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct NodeNoise {
    /// The same in every slot.
    pub gaussian: f64,
    /// rms over slots of a variance that the key scales by s_j².
    pub keyed: f64,
}

/// Distribution of a node's sensitivity: (weight, G) with weights that sum to one, G ascending.
type Gains<'a> = &'a [(f64, f64)];

/// Share of a distribution's upper end that is replaced by a tail, and the factor by which each part of the tail is rarer than the one
/// before.
const TAIL: f64 = 0.001;
const RARER: f64 = 0.1;
/// Parts of a tail: down to one of 10^9 logits.
const TAIL_PARTS: i32 = 6;

/// A distribution whose last [`TAIL`] is log-normal, as products of many activations are, and nowhere below what was recorded.
///
/// The tail is the larger one of two curves: through the recorded values at 50 and 90 %, and through those at 90 and 99 %. Few images
/// tell little about the latter.
fn with_tail(gains: Gains<'_>) -> Vec<(f64, f64)> {
    let quantile = |share: f64| {
        let mut below = 0.0;
        let reached = gains.iter().find(|&&(weight, _)| {
            below += weight;
            below >= share - 1e-9
        });
        reached.or(gains.last()).map_or(0.0, |&(_, gain)| gain)
    };
    let (half, tenth, hundredth) = (quantile(0.5), quantile(0.9), quantile(0.99));
    let largest = quantile(1.0);
    let mut result: Vec<(f64, f64)> = gains.to_vec();
    let Some(&last) = result.last() else {
        return result;
    };
    let standard = (last.0 - TAIL).abs() < 1e-9;
    if !standard || half <= 0.0 {
        return result;
    }
    let normal = [0.5, 0.1, 0.01].map(normal_quantile);
    let through = |(low, high): (f64, f64), at: [f64; 2], end: f64| {
        let deviation = (high / low).ln() / (at[1] - at[0]);
        high * (deviation * (end - at[1])).exp()
    };
    result.pop();
    let mut above = TAIL;
    for part in 1..=TAIL_PARTS {
        let next = match part {
            TAIL_PARTS => 0.0,
            _ => above * RARER,
        };
        // The rarest part ends somewhere, too.
        let end = normal_quantile(if next > 0.0 { next } else { above * RARER });
        let gain = through((half, tenth), [normal[0], normal[1]], end).max(through(
            (tenth, hundredth),
            [normal[1], normal[2]],
            end,
        ));
        result.push((above - next, gain.max(largest)));
        above = next;
    }
    result
}

/// The value that a standard normal variable exceeds with a probability of at most one half.
fn normal_quantile(probability: f64) -> f64 {
    let (mut low, mut high) = (0.0f64, 40.0f64);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        let exceeded = 0.5 * erfc(middle / std::f64::consts::SQRT_2);
        match exceeded > probability {
            true => low = middle,
            false => high = middle,
        }
    }
    high
}

/// Variance of a logit by quantile of sensitivity: all nodes ordered alike, which errs on the safe side.
fn combine(noise: &[NodeNoise], gains: &[Gains<'_>]) -> Vec<(f64, f64, f64)> {
    let bins = gains.iter().map(|g| g.len()).max().unwrap_or(0);
    (0..bins)
        .map(|k| {
            let mut weight = 0.0;
            let (mut gaussian, mut keyed) = (0.0, 0.0);
            for (n, g) in noise.iter().zip(gains) {
                let Some(&(w, gain)) = g.get(k) else { continue };
                weight = w;
                gaussian += n.gaussian * gain;
                keyed += n.keyed * gain;
            }
            (weight, gaussian, keyed)
        })
        .collect()
}

/// Standard deviation of a logit's error over images, logits, slots and keys.
fn rms_logit_error(noise: &[NodeNoise], gains: &[Gains<'_>]) -> f64 {
    combine(noise, gains)
        .iter()
        .map(|(w, g, k)| w * (g + k))
        .sum::<f64>()
        .sqrt()
}

/// Expected number of `samples` errors above `t`.
fn exceed(bins: &[(f64, f64, f64)], t: f64, samples: f64) -> f64 {
    bins.iter().map(|&(w, g, k)| w * tail(t, g, k)).sum::<f64>() * samples
}

/// The precision that a plan is asked for, and how noise is compared with it.
pub(crate) struct Demand<'a> {
    /// −log2 of the largest tolerated error of a logit.
    pub bits: f64,
    /// The largest tolerated error of a logit.
    pub target: f64,
    /// By folded node.
    gains: Vec<Gains<'a>>,
    /// Logits of a batch.
    samples: f64,
    /// Ratio of the worst error to the rms error if all images were equally sensitive, which is the best case; in entry i the
    /// keyed share of the variance is i / (length - 1).
    factors: Vec<f64>,
}

impl<'a> Demand<'a> {
    pub(crate) fn new(network: &'a Network, options: &CompileOptions) -> Self {
        const STEPS: u32 = 32;
        let usual = -(DEFAULT_RELATIVE_ERROR * network.usual_logit).log2();
        let bits = options.precision_bits.unwrap_or(usual);
        let logits = network.nodes.last().map_or(1, |node| node.elements);
        let samples = (options.batch * logits) as f64;
        let factor = |step: u32| {
            let keyed = f64::from(step) / f64::from(STEPS);
            let gaussian = 1.0 - keyed;
            worst_logit_error(&[NodeNoise { gaussian, keyed }], &[&[(1.0, 1.0)]], samples)
        };
        Self {
            bits,
            target: (-bits).exp2(),
            gains: network.nodes.iter().map(|node| &node.gains[..]).collect(),
            samples,
            factors: (0..=STEPS).map(factor).collect(),
        }
    }

    /// False only where [`meets`](Self::meets) is false, with the rms error.
    pub(crate) fn may_meet(&self, noise: &[NodeNoise]) -> (bool, f64) {
        let (mut gaussian, mut keyed) = (0.0, 0.0);
        for (weight, g, k) in combine(noise, &self.gains) {
            gaussian += weight * g;
            keyed += weight * k;
        }
        let variance = gaussian + keyed;
        let share = match variance > 0.0 {
            true => keyed / variance,
            false => 0.0,
        };
        // Factors rise with the share: rounded down the condition stays necessary.
        let position = (share * (self.factors.len() - 1) as f64) as usize;
        let rms = variance.sqrt();
        (rms * self.factors[position] <= self.target, rms)
    }

    /// Whether the worst error is within the precision.
    pub(crate) fn meets(&self, noise: &[NodeNoise]) -> bool {
        let bins = combine(noise, &self.gains);
        exceed(&bins, self.target / UNSEEN_MARGIN, self.samples) <= EXCEED_PROBABILITY
    }

    /// −log2 of the worst error of a logit of a batch, rare images included: what a plan promises.
    pub(crate) fn predicted_bits(&self, noise: &[NodeNoise]) -> f64 {
        let gains: Vec<Vec<(f64, f64)>> = self.gains.iter().map(|gains| with_tail(gains)).collect();
        let gains: Vec<Gains<'_>> = gains.iter().map(|gains| &gains[..]).collect();
        -worst_logit_error(noise, &gains, self.samples).log2()
    }

    /// −log2 of the worst error of a logit of a batch whose images are as sensitive as those of calibration: what is compared with the
    /// precision that was asked for.
    pub(crate) fn precision_bits(&self, noise: &[NodeNoise]) -> f64 {
        -worst_logit_error(noise, &self.gains, self.samples).log2()
    }

    /// rms error of a logit.
    pub(crate) fn rms(&self, noise: &[NodeNoise]) -> f64 {
        rms_logit_error(noise, &self.gains)
    }
}

/// The error that the worst of `samples` logits stays under, but for [`EXCEED_PROBABILITY`].
fn worst_logit_error(noise: &[NodeNoise], gains: &[Gains<'_>], samples: f64) -> f64 {
    let bins = combine(noise, gains);
    let rms = rms_logit_error(noise, gains);
    if rms == 0.0 {
        return 0.0;
    }
    let (mut low, mut high) = (rms, rms * 1e4);
    for _ in 0..40 {
        let middle = (low * high).sqrt();
        if exceed(&bins, middle, samples) > EXCEED_PROBABILITY {
            low = middle
        } else {
            high = middle
        }
    }
    high * UNSEEN_MARGIN
}

/// P(|e| > t) for e of variance `gaussian` + z²·`keyed`, z standard normal: trapezoid over z in [0, 8].
fn tail(t: f64, gaussian: f64, keyed: f64) -> f64 {
    if keyed <= 0.0 {
        return erfc(t / (2.0 * gaussian).sqrt().max(f64::MIN_POSITIVE));
    }
    const STEPS: usize = 48;
    const STEP: f64 = 8.0 / STEPS as f64;
    let mut sum = 0.0;
    for i in 0..=STEPS {
        let z = i as f64 * STEP;
        let variance = gaussian + z * z * keyed;
        let density = (-0.5 * z * z).exp() * (2.0 / std::f64::consts::PI).sqrt();
        let end = if i == 0 || i == STEPS { 0.5 } else { 1.0 };
        if variance > 0.0 {
            sum += end * density * erfc(t / (2.0 * variance).sqrt());
        }
    }
    sum * STEP
}

/// Complementary error function for x ≥ 0; relative error below 2e-7.
///
/// Reference: W. J. Cody-style rational Chebyshev fit as given in Numerical Recipes, section 6.2 (erfcc).
fn erfc(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.5 * x);
    const C: [f64; 10] = [
        -1.265_512_23,
        1.000_023_68,
        0.374_091_96,
        0.096_784_18,
        -0.186_288_06,
        0.278_868_07,
        -1.135_203_98,
        1.488_515_87,
        -0.822_152_23,
        0.170_872_77,
    ];
    let polynomial = C.iter().rev().fold(0.0, |sum, c| sum * t + c);
    t * (-x * x + polynomial).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn erfc_matches_published_values() {
        for (x, expected) in [
            (0.0, 1.0),
            (0.5, 0.479_500_122),
            (1.0, 0.157_299_207),
            (3.0, 2.209_049_7e-5),
        ] {
            assert!(
                (erfc(x) / expected - 1.0).abs() < 3e-7,
                "erfc({x}) = {}",
                erfc(x)
            );
        }
    }

    #[test]
    fn gaussian_tail_is_the_normal_quantile() {
        // 1e5 samples, 2 %: |z| = 5.2 (two-sided 2e-7).
        let noise = [NodeNoise {
            gaussian: 4.0,
            keyed: 0.0,
        }];
        let worst = worst_logit_error(&noise, &[&[(1.0, 1.0)]], 1e5) / UNSEEN_MARGIN;
        assert!((worst / (2.0 * 5.199) - 1.0).abs() < 1e-3, "{worst}");
    }

    #[test]
    fn keyed_noise_has_the_heavier_tail_of_a_product() {
        // P(|z1 z2| > t) = 2e-7 at t = 13.4 (K0 tail), far above the normal's 5.2.
        let noise = [NodeNoise {
            gaussian: 0.0,
            keyed: 1.0,
        }];
        let worst = worst_logit_error(&noise, &[&[(1.0, 1.0)]], 1e5) / UNSEEN_MARGIN;
        assert!((13.0..14.2).contains(&worst), "{worst}");
    }

    #[test]
    fn sensitive_images_decide() {
        let noise = [NodeNoise {
            gaussian: 1.0,
            keyed: 0.0,
        }];
        let even = worst_logit_error(&noise, &[&[(1.0, 1.0)]], 1e5);
        let skewed = worst_logit_error(&noise, &[&[(0.999, 1.0), (0.001, 9.0)]], 1e5);
        assert!(skewed > 2.0 * even && skewed < 3.0 * even);
    }

    /// The recorded shares, with a value for each from its upper end.
    fn recorded(value: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
        let tenths = (1..=9).map(|i| (0.1, f64::from(i) / 10.0));
        let hundredths = (1..=9).map(|i| (0.01, 0.9 + f64::from(i) / 100.0));
        let thousandths = (1..=10).map(|i| (0.001, 0.99 + f64::from(i) / 1000.0));
        let shares = tenths.chain(hundredths).chain(thousandths);
        shares.map(|(weight, end)| (weight, value(end))).collect()
    }

    #[test]
    fn normal_quantiles_are_the_published_ones() {
        for (probability, expected) in [
            (0.5, 0.0),
            (0.1, 1.281_552),
            (0.01, 2.326_348),
            (1e-6, 4.753_424),
        ] {
            assert!(
                (normal_quantile(probability) - expected).abs() < 1e-4,
                "{probability}"
            );
        }
    }

    #[test]
    fn a_tail_continues_a_log_normal_distribution() {
        let gain = |end: f64| (1.3 * normal_quantile((1.0 - end).max(0.001))).exp();
        let below_half = |end: f64| if end < 0.5 { 1.0 } else { gain(end) };
        let recorded = recorded(below_half);
        let tail = with_tail(&recorded);
        let weight: f64 = tail.iter().map(|(weight, _)| weight).sum();
        assert!((weight - 1.0).abs() < 1e-12, "{weight}");
        let first = tail[recorded.len() - 1].1;
        let expected = (1.3 * normal_quantile(1e-4)).exp();
        assert!(
            (first / expected - 1.0).abs() < 1e-3,
            "{first} for {expected}"
        );
        assert!(tail.windows(2).all(|pair| pair[0].1 <= pair[1].1));
        // Ten times as many images find a more sensitive one, which the recorded distribution does not say.
        let noise = [NodeNoise {
            gaussian: 1.0,
            keyed: 0.0,
        }];
        let at = |gains: &[(f64, f64)], samples| worst_logit_error(&noise, &[gains], samples);
        assert!(at(&tail, 1e5) > 1.3 * at(&recorded, 1e5));
    }

    /// Distribution of the input's sensitivities in `resnet9-cifar-10`, recorded on about 15 images. On 10,000 test images the worst
    /// error was 0.0232 where this distribution as it is gave 0.0076.
    #[test]
    fn few_images_have_a_tail_that_holds_for_many() {
        let quantiles = [
            (0.0, 1.0),
            (0.5, 4.51),
            (0.9, 24.2),
            (0.99, 57.5),
            (1.0, 62.6),
        ];
        let between = |end: f64| {
            let above = quantiles.iter().position(|&(share, _)| share >= end - 1e-9);
            let [(from, low), (to, high)]: [(f64, f64); 2] =
                [0, 1].map(|i| quantiles[above.unwrap_or(4) - 1 + i]);
            low * (high / low).powf((end - from) / (to - from))
        };
        let recorded = recorded(between);
        let tail = with_tail(&recorded);
        let noise = [NodeNoise {
            gaussian: 0.5,
            keyed: 0.5,
        }];
        let at = |gains: &[(f64, f64)]| worst_logit_error(&noise, &[gains], 1e5);
        let factor = at(&tail) / at(&recorded);
        assert!((2.5..4.5).contains(&factor), "{factor}");
    }

    #[test]
    fn equal_sensitivities_have_no_tail() {
        let recorded = recorded(|_| 2.0);
        let tail = with_tail(&recorded);
        assert!(tail.iter().all(|&(_, gain)| gain == 2.0));
        assert!(with_tail(&[]).is_empty());
        assert_eq!(with_tail(&[(1.0, 3.0)]), [(1.0, 3.0)]);
    }
}
