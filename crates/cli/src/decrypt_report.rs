//! The report of `sordino decrypt`.

use sordino::Predictions;
use sordino::client::Provenance as Origin;
use sordino::graph::finding_score;
use sordino::plan::ClientPlan;
use sordino_report::{Environment, Figure, Provenance, Report, Unit, count_text};

use crate::findings_report::{FoundIn, report_of};

/// Most classes whose images are counted.
const CLASSES: usize = 20;

/// Counts, and for each finding the distribution of margins and the images around the threshold. There are no labels and no pictures.
pub(crate) fn decrypt_report(
    plan: &ClientPlan,
    predictions: &Predictions,
    names: Option<&[String]>,
    origin: &Origin,
) -> anyhow::Result<Report> {
    let marks = predictions.marks();
    let kept: Vec<usize> = marks.kept().collect();
    let outside = predictions.out_of_range().iter().filter(|&&out| out);
    let count = |label: &str, value: usize, detail: &str| {
        Figure::of(label, value as f64, Unit::Count, detail)
    };
    let figures = [
        count("images answered", predictions.len(), "have a prediction"),
        count(
            "unusual images",
            marks.unusual().len(),
            "unlike those that the network was calibrated with",
        ),
        count(
            "refused",
            marks.left_out(),
            "unusual and left out: no prediction",
        ),
        count(
            "out of range",
            outside.count(),
            "scores that calibration did not see: do not rely on them",
        ),
    ];
    let width = predictions.class_names().len();
    let mut findings = Vec::new();
    for class in predictions.findings() {
        let rows = predictions.logits().chunks_exact(width);
        let scores: Vec<f64> = rows
            .map(|row| finding_score(predictions.output_kind(), row, class))
            .collect();
        let points = predictions.operating_points();
        let found = FoundIn {
            name: &predictions.class_names()[class],
            points,
            point: points.and_then(|points| points.of(class)),
            scores: &scores,
            close_margin: predictions.close_margin(),
            labels: None,
            measures: None,
        };
        findings.push(report_of(&found, |at| {
            let index = kept[at];
            Ok((index, names.map(|names| names[index].clone()), None))
        })?);
    }
    Ok(Report {
        title: format!(
            "{} on {} images: predictions",
            plan.header.network,
            count_text(predictions.len() as f64)
        ),
        summary: "Decrypted predictions. This page names images and what was found in them: it belongs to their owner.".into(),
        notes: class_notes(predictions),
        figures: figures.into_iter().flatten().collect(),
        findings,
        provenance: Provenance {
            digests: origin.digests(),
            ..Provenance::new(&Environment::here())
        },
        ..Report::default()
    })
}

/// Images of each class, for networks with one class of several.
fn class_notes(predictions: &Predictions) -> Vec<String> {
    let names = predictions.class_names();
    if predictions.has_several_findings() || names.len() < 2 || names.len() > CLASSES {
        return Vec::new();
    }
    let mut counts = vec![0usize; names.len()];
    for &class in predictions.classes() {
        counts[class] += 1;
    }
    let all = names.iter().zip(counts);
    all.map(|(name, count)| {
        format!(
            "Largest score for {name}: {} images.",
            count_text(count as f64)
        )
    })
    .collect()
}
