//! The report of `sordino verify`.

use sordino::client::PredictionTable;
use sordino::data::Images;
use sordino::graph::{Model, Preprocess};
use sordino::plan::ServerPlan;
use sordino::report::{
    Cell, Comparison as Table, ConfusionMatrix, Environment, Figure, Provenance, Report, Row,
    Sample, Unit, Verdict, picture,
};
use sordino::{Comparison, Reference, classes_of};

use crate::report::{PROGRAM, parameters};

/// Most images that a report shows.
const SAMPLES: usize = 24;

/// Everything that `verify` found out.
pub(crate) struct Verified<'a> {
    pub(crate) model: &'a Model,
    pub(crate) plan: &'a ServerPlan,
    pub(crate) images: &'a Images,
    pub(crate) prepared: &'a [f32],
    pub(crate) reference: &'a Reference,
    pub(crate) table: &'a PredictionTable,
    pub(crate) comparison: &'a Comparison,
    pub(crate) worst_integer: Option<f64>,
    pub(crate) worst_float: Option<f64>,
    pub(crate) passed: bool,
}

/// Accuracy, agreement, who was taken for whom, and images with what was predicted of them.
pub(crate) fn verify_report(found: &Verified<'_>) -> anyhow::Result<Report> {
    let (plan, comparison) = (found.plan, found.comparison);
    let float = classes_of(found.reference.float(), plan.output().logits);
    let labels: Option<Vec<usize>> = found
        .images
        .labels
        .as_ref()
        .map(|labels| labels.iter().map(|&label| usize::from(label)).collect());
    let (rows, expected) = match &labels {
        Some(labels) => ("label", labels),
        None => ("class of the float network", &float),
    };
    let confusion =
        ConfusionMatrix::new(rows, &found.model.classes, expected, &found.table.classes)?;
    let images = Unit::Count.text(comparison.images as f64);
    Ok(Report {
        title: format!("{} on {images} images: predictions checked", plan.network()),
        summary: "Decrypted predictions beside the network in the clear. This page shows images and what was predicted of them: it belongs to the owner of the images.".into(),
        verdict: Some(Verdict {
            passed: found.passed,
            text: "At least 99.9 % of the classes must be those of the clear integer engine and 99.5 % those of the float network, and logits, where there are any, its own but for rounding.".into(),
        }),
        figures: figures(comparison),
        comparisons: vec![agreement(found)],
        confusion: Some(confusion),
        samples: samples(found, labels.as_deref(), &float)?,
        samples_note: format!(
            "The first predictions that are not {}, at most half of the places; then the first others. No random choice.",
            if labels.is_some() { "the label" } else { "the class of the float network" }
        ),
        parameters: vec![parameters(plan)],
        provenance: Provenance {
            digests: vec![
                ("model".into(), plan.model().to_string()),
                ("server plan".into(), plan.digest().to_string()),
            ],
            ..Provenance::new(PROGRAM, &Environment::here())
        },
        ..Report::default()
    })
}

fn figures(comparison: &Comparison) -> Vec<Figure> {
    let figure = |label: &str, value, detail: &str| Figure {
        label: label.into(),
        value,
        unit: Unit::Share,
        detail: detail.into(),
    };
    let accuracy = comparison.accuracy_encrypted;
    let accuracy =
        accuracy.map(|value| figure("accuracy, encrypted", value, "predictions as labelled"));
    accuracy
        .into_iter()
        .chain([
            figure(
                "agreement",
                comparison.agreement,
                "classes of the clear integer engine",
            ),
            figure(
                "agreement",
                comparison.agreement_float,
                "classes of the float network",
            ),
        ])
        .collect()
}

fn agreement(found: &Verified<'_>) -> Table {
    let comparison = found.comparison;
    let rows = [
        (
            "images",
            "Images",
            Unit::Count,
            Some(comparison.images as f64),
        ),
        (
            "accuracy_encrypted",
            "Accuracy, encrypted",
            Unit::Share,
            comparison.accuracy_encrypted,
        ),
        (
            "accuracy_integer",
            "Accuracy, clear integers",
            Unit::Share,
            comparison.accuracy_integer,
        ),
        (
            "accuracy_plain",
            "Accuracy, float network",
            Unit::Share,
            comparison.accuracy_plain,
        ),
        (
            "agreement",
            "Classes of the clear integers",
            Unit::Share,
            Some(comparison.agreement),
        ),
        (
            "agreement_float",
            "Classes of the float network",
            Unit::Share,
            Some(comparison.agreement_float),
        ),
        (
            "worst_logit_difference",
            "Worst difference of a logit, clear integers",
            Unit::Number,
            found.worst_integer,
        ),
        (
            "worst_logit_difference_float",
            "Worst difference of a logit, float network",
            Unit::Number,
            found.worst_float,
        ),
    ];
    let rows = rows.into_iter().filter_map(|(name, label, unit, value)| {
        Some(Row::new(name, label, unit, vec![Cell::number(value?)]))
    });
    Table {
        title: format!("{} beside the network in the clear", found.plan.network()),
        baseline: None,
        columns: vec!["predictions".into()],
        rows: rows.collect(),
    }
}

/// The first errors, up to half of the places, then the first others.
fn samples(
    found: &Verified<'_>,
    labels: Option<&[usize]>,
    float: &[usize],
) -> anyhow::Result<Vec<Sample>> {
    let predicted = &found.table.classes;
    let integer = classes_of(found.reference.integer(), found.plan.output().logits);
    let expected = labels.unwrap_or(float);
    let (wrong, right): (Vec<usize>, Vec<usize>) =
        (0..predicted.len()).partition(|&at| predicted[at] != expected[at]);
    let wrong = wrong.into_iter().take(SAMPLES / 2);
    let rest = SAMPLES - wrong.len();
    let preprocess = &found.model.preprocess;
    wrong
        .chain(right.into_iter().take(rest))
        .map(|at| {
            let name = |class: usize| match found.model.classes.get(class) {
                Some(name) => name.clone(),
                None => class.to_string(),
            };
            let start = at * preprocess.elements();
            let values = &found.prepared[start..start + preprocess.elements()];
            Ok(Sample {
                index: at as u64,
                name: found.images.names.as_ref().map(|names| names[at].clone()),
                label: labels.map(|labels| name(labels[at])),
                predicted: name(predicted[at]),
                plain: Some(name(float[at])),
                integer: Some(name(integer[at])),
                picture: Some(picture(
                    (preprocess.channels, preprocess.height, preprocess.width),
                    &shades(preprocess, values),
                )?),
            })
        })
        .collect()
}

/// A prepared image as values from 0 to 1: what the network sees, without its normalization.
pub(crate) fn shades(preprocess: &Preprocess, values: &[f32]) -> Vec<f32> {
    let plane = preprocess.height * preprocess.width;
    let shade = |(at, &value): (usize, &f32)| {
        let channel = at / plane;
        (f64::from(value) * preprocess.std[channel] + preprocess.mean[channel]) as f32
    };
    values.iter().enumerate().map(shade).collect()
}
