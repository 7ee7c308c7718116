//! Findings in the reports of `verify` and `decrypt`.

use sordino::FindingMeasures;
use sordino::graph::{OperatingPoint, OperatingPoints, Target};
use sordino::measures::{Ranking, reliability};
use sordino_report::{Finding, NearImage, histogram, nearest, percent_text, thinned};

/// What is known of one finding in the images of a batch.
pub(crate) struct FoundIn<'a> {
    pub(crate) name: &'a str,
    pub(crate) points: Option<&'a OperatingPoints>,
    pub(crate) point: Option<&'a OperatingPoint>,
    /// One per image that has a prediction.
    pub(crate) scores: &'a [f64],
    /// Largest margin that rounding and noise explain.
    pub(crate) close_margin: f64,
    pub(crate) labels: Option<&'a [Option<bool>]>,
    pub(crate) measures: Option<&'a FindingMeasures>,
}

/// The report of a finding. `describe` gives the place in the batch of an image that has a prediction, its name, and its picture.
pub(crate) fn report_of(
    found: &FoundIn<'_>,
    describe: impl Fn(usize) -> anyhow::Result<(usize, Option<String>, Option<String>)>,
) -> anyhow::Result<Finding> {
    let mut report = Finding {
        name: found.name.to_owned(),
        note: note(found),
        close_margin: found.close_margin,
        ..Finding::default()
    };
    let ranking = found
        .labels
        .and_then(|labels| Ranking::new(found.scores, labels));
    if let Some(ranking) = &ranking {
        report.roc = thinned(ranking.roc());
        report.precision_recall = thinned(ranking.precision_recall());
    }
    if let Some(measures) = found.measures {
        report.measures = rows(measures);
        if let Some(counts) = measures.counts {
            report.confusion = Some([
                [counts.true_positives, counts.false_negatives],
                [counts.false_positives, counts.true_negatives],
            ]);
            let (sensitivity, specificity) = (counts.sensitivity(), counts.specificity());
            let point = specificity.zip(sensitivity);
            report.roc_point =
                point.map(|(specificity, sensitivity)| (1.0 - specificity, sensitivity));
            report.precision_recall_point = sensitivity.zip(counts.precision());
        }
    }
    let Some(point) = found.point else {
        return Ok(report);
    };
    let probabilities: Vec<f64> = found
        .scores
        .iter()
        .map(|&score| point.probability(score))
        .collect();
    if let Some(labels) = found.labels {
        let bins = reliability(&probabilities, labels).into_iter();
        report.reliability = bins
            .map(|bin| (bin.probability, bin.observed, bin.images as u64))
            .collect();
    }
    let margins: Vec<f64> = found
        .scores
        .iter()
        .map(|&score| score - point.threshold)
        .collect();
    report.margins = histogram(&margins);
    for at in nearest(&margins) {
        let (index, name, picture) = describe(at)?;
        report.around.push(NearImage {
            index: index as u64,
            name,
            margin: margins[at],
            probability: probabilities[at],
            found: point.decides(found.scores[at]),
            close: margins[at].abs() <= found.close_margin,
            label: found.labels.and_then(|labels| labels[at]),
            picture,
        });
    }
    Ok(report)
}

fn note(found: &FoundIn<'_>) -> String {
    let (Some(points), Some(point)) = (found.points, found.point) else {
        return "The model has no operating point for this finding.".to_owned();
    };
    let target = match points.target {
        Target::Sensitivity(share) => format!("sensitivity of {}", percent_text(share)),
        Target::Specificity(share) => format!("specificity of {}", percent_text(share)),
    };
    let scores = found.scores.iter();
    let decided = scores.filter(|&&score| point.decides(score)).count();
    format!(
        "{decided} of {} images are decided to have it. The threshold {:.4} was chosen for a {target} on {} {} images; there it has {} sensitivity and {} specificity.",
        found.scores.len(),
        point.threshold,
        points.images,
        points.part,
        percent_text(point.sensitivity),
        percent_text(point.specificity),
    )
}

fn rows(measures: &FindingMeasures) -> Vec<(String, f64, String)> {
    let (low, high) = measures.auc_interval;
    let images = format!(
        "{} images with it, {} without",
        measures.positives, measures.negatives
    );
    let area = format!("95 % interval {low:.3} to {high:.3}, 1,000 resamples; {images}");
    let all = [
        ("AUC", Some(measures.auc), area),
        (
            "average precision",
            Some(measures.average_precision),
            String::new(),
        ),
        (
            "sensitivity",
            measures.sensitivity,
            "at the operating point".to_owned(),
        ),
        (
            "specificity",
            measures.specificity,
            "at the operating point".to_owned(),
        ),
        (
            "balanced accuracy",
            measures.balanced_accuracy,
            "mean of the two".to_owned(),
        ),
    ];
    let all = all.into_iter();
    all.filter_map(|(label, value, note)| Some((label.to_owned(), value?, note)))
        .collect()
}
