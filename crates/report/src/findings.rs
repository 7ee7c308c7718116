//! What a report says of one finding: measures, curves, decisions and the images around the threshold.

use serde::{Deserialize, Serialize};

/// Bars of a histogram.
const BARS: usize = 24;

/// Most images around the threshold that a page shows.
const AROUND: usize = 12;

/// Most points of a curve that a page draws.
const CURVE: usize = 400;

/// One finding. The page leaves empty parts out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Finding {
    /// Its name.
    pub name: String,
    /// A sentence or two on the operating point.
    pub note: String,
    /// Measures, by what they are, with a note on each.
    pub measures: Vec<(String, f64, String)>,
    /// ROC curve: the share of images without the finding, and of those with it, that score as much.
    pub roc: Vec<(f64, f64)>,
    /// The operating point on it.
    pub roc_point: Option<(f64, f64)>,
    /// Sensitivity and precision.
    pub precision_recall: Vec<(f64, f64)>,
    /// The operating point on it.
    pub precision_recall_point: Option<(f64, f64)>,
    /// Mean probability, share of images with the finding, and images, bin by bin.
    pub reliability: Vec<(f64, f64, u64)>,
    /// Decisions against labels: rows with and without the finding, columns decided to have it or not.
    pub confusion: Option<[[u64; 2]; 2]>,
    /// Margins: left and right end, and images.
    pub margins: Vec<(f64, f64, u64)>,
    /// Largest margin that rounding and noise explain.
    pub close_margin: f64,
    /// Images nearest to the threshold.
    pub around: Vec<NearImage>,
}

/// An image with its margin.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NearImage {
    /// Position in the batch.
    pub index: u64,
    /// File name, if the image has one.
    pub name: Option<String>,
    /// Score less threshold.
    pub margin: f64,
    /// Calibrated probability.
    pub probability: f64,
    /// Whether it is decided to have the finding.
    pub found: bool,
    /// Whether rounding or noise could have decided.
    pub close: bool,
    /// Whether it is labelled with the finding, if that is known.
    pub label: Option<bool>,
    /// The picture, as a PNG in a data address.
    pub picture: Option<String>,
}

impl NearImage {
    /// Whether the decision is not the label.
    pub fn is_wrong(&self) -> bool {
        self.label.is_some_and(|label| label != self.found)
    }
}

/// A histogram of margins, with 0 between two bars.
pub fn histogram(margins: &[f64]) -> Vec<(f64, f64, u64)> {
    let finite = || margins.iter().filter(|margin| margin.is_finite());
    let most = finite().fold(0.0f64, |most, margin| most.max(margin.abs()));
    if most == 0.0 {
        return Vec::new();
    }
    let width = 2.0 * most / BARS as f64;
    let mut counts = [0; BARS];
    for margin in finite() {
        let bar = ((margin + most) / width) as usize;
        counts[bar.min(BARS - 1)] += 1;
    }
    let bars = counts.into_iter().enumerate();
    bars.map(|(bar, count)| {
        let left = bar as f64 * width - most;
        (left, left + width, count)
    })
    .collect()
}

/// The images with the smallest margins, in the order of their margins.
pub fn nearest(margins: &[f64]) -> Vec<usize> {
    let mut images: Vec<usize> = (0..margins.len()).collect();
    images.sort_by(|&one, &two| margins[one].abs().total_cmp(&margins[two].abs()));
    images.truncate(AROUND);
    images.sort_by(|&one, &two| margins[one].total_cmp(&margins[two]));
    images
}

/// A curve of no more points than a page draws: every n-th, and the last.
pub fn thinned(curve: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let step = curve.len().div_ceil(CURVE).max(1);
    let last = curve.len().saturating_sub(1);
    let kept = |at: usize| at.is_multiple_of(step) || at == last;
    let all = curve.into_iter().enumerate();
    all.filter(|&(at, _)| kept(at))
        .map(|(_, point)| point)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_between_two_bars() {
        let bars = histogram(&[-3.0, -0.1, 0.0, 0.1, 6.0]);
        assert_eq!(bars.len(), BARS);
        assert_eq!(bars.iter().map(|bar| bar.2).sum::<u64>(), 5);
        assert_eq!(bars[11], (-0.5, 0.0, 1));
        assert_eq!(bars[12], (0.0, 0.5, 2));
        assert_eq!(bars[23].2, 1);
        assert!(histogram(&[]).is_empty() && histogram(&[0.0]).is_empty());
    }

    #[test]
    fn the_nearest_images_are_in_the_order_of_their_margins() {
        let margins: Vec<f64> = (0..40).map(|at| f64::from(at) - 19.5).collect();
        let near = nearest(&margins);
        assert_eq!(near, (14..26).collect::<Vec<_>>());
        assert_eq!(nearest(&[2.0, -1.0]), [1, 0]);
    }

    #[test]
    fn long_curves_keep_their_ends() {
        let curve: Vec<(f64, f64)> = (0..1001).map(|at| (f64::from(at), 0.0)).collect();
        let drawn = thinned(curve.clone());
        assert!(drawn.len() <= CURVE + 1);
        assert_eq!(
            (drawn[0], drawn.last().copied()),
            (curve[0], curve.last().copied())
        );
    }
}
