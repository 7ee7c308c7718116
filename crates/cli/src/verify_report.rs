//! The report of `sordino verify`.

use sordino::client::PredictionTable;
use sordino::data::Images;
use sordino::plan::ServerPlan;
use sordino::{Comparison, Model, Reference, classes_of};
use sordino_report::{
    Cell, ConfusionMatrix, Environment, Figure, Provenance, Report, Sample, Table, Unit, Verdict,
    choose_samples, count_text, picture,
};

use crate::report::parameters;
use crate::verify_findings::CheckedFindings;

/// The results of `verify`.
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
    pub(crate) findings: &'a CheckedFindings,
    pub(crate) passed: bool,
}

const CLASSES_AGREE: &str = "At least 99.9 % of the classes must be those of the clear integer engine and 99.5 % those of the float network, and logits, where there are any, those of the clear integer engine but for rounding.";

const DECISIONS_AGREE: &str = "At least 99.9 % of the decisions on every finding must be those of the clear integer engine, and 99.5 % those of the float network, and logits, where there are any, those of the clear integer engine, all but for rounding.";

/// Accuracy, agreement, a confusion matrix, and images with their predictions.
pub(crate) fn verify_report(found: &Verified<'_>) -> anyhow::Result<Report> {
    let (plan, comparison) = (found.plan, found.comparison);
    let float = classes_of(found.reference.float(), plan.output().logits);
    let labels: Option<Vec<usize>> = found
        .images
        .labels
        .as_ref()
        .map(|labels| labels.iter().map(|&label| usize::from(label)).collect());
    let (rows, expected, truth) = match &labels {
        Some(labels) => ("label", labels, "the label"),
        None => (
            "class of the float network",
            &float,
            "the class of the float network",
        ),
    };
    let predicted = &found.table.classes;
    // An image with several findings has no class.
    let several = found.findings.several;
    let confusion = || ConfusionMatrix::new(rows, &found.model.classes, expected, predicted);
    let confusion = (!several).then(confusion).transpose()?;
    let images = count_text(comparison.images as f64);
    Ok(Report {
        title: format!("{} on {images} images: predictions checked", plan.network()),
        summary: "Decrypted predictions compared with the network in the clear. This page shows images and their predictions: it belongs to the owner of the images.".into(),
        verdict: Some(Verdict {
            passed: found.passed,
            text: if several { DECISIONS_AGREE } else { CLASSES_AGREE }.into(),
        }),
        figures: match several {
            true => Vec::new(),
            false => figures(comparison),
        },
        comparisons: vec![agreement(found)],
        confusion,
        findings: found.findings.report(found.model, |at| {
            let name = found.images.names.as_ref().map(|names| names[at].clone());
            Ok((found.table.indices[at], name, Some(picture_of(found, at)?)))
        })?,
        samples: samples(found, labels.as_deref(), &float, expected)?,
        samples_note: format!(
            "The first predictions that are not {truth}, at most half of the places; then the first others. No random choice."
        ),
        parameters: vec![parameters(plan)],
        provenance: Provenance {
            digests: vec![
                ("model".into(), plan.model().to_string()),
                ("server plan".into(), plan.digest().to_string()),
            ],
            ..Provenance::new(&Environment::here())
        },
        ..Report::default()
    })
}

fn figures(comparison: &Comparison) -> Vec<Figure> {
    let (accuracy, float) = (comparison.accuracy_encrypted, comparison.agreement_float);
    let of = |label, value, detail| Figure::of(label, value, Unit::Share, detail);
    let exact = Some(comparison.agreement);
    [
        of("accuracy, encrypted", accuracy, "predictions as labelled"),
        of("agreement", exact, "classes of the clear integer engine"),
        of("agreement", Some(float), "classes of the float network"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn agreement(found: &Verified<'_>) -> Table {
    let comparison = found.comparison;
    let of_classes = |name: &str| name.starts_with("accuracy") || name.starts_with("agreement");
    let mut table = Table::single(
        format!(
            "{} compared with the network in the clear",
            found.plan.network()
        ),
        "predictions",
        [
            ("images", Cell::from(comparison.images as u64)),
            ("accuracy_encrypted", comparison.accuracy_encrypted.into()),
            ("accuracy_integer", comparison.accuracy_integer.into()),
            ("accuracy_plain", comparison.accuracy_plain.into()),
            ("agreement", comparison.agreement.into()),
            ("agreement_float", comparison.agreement_float.into()),
            ("worst_logit_difference", found.worst_integer.into()),
            ("worst_logit_difference_float", found.worst_float.into()),
        ]
        .into_iter()
        .filter(|(name, _)| !found.findings.several || !of_classes(name)),
    );
    table.rows.retain(|row| !row.is_empty());
    table
}

/// The first errors, up to half of the places, then the first others.
fn samples(
    found: &Verified<'_>,
    labels: Option<&[usize]>,
    float: &[usize],
    expected: &[usize],
) -> anyhow::Result<Vec<Sample>> {
    let predicted = &found.table.classes;
    let integer = classes_of(found.reference.integer(), found.plan.output().logits);
    let names = &found.model.classes;
    let name = |class: usize| names.get(class).cloned().unwrap_or(class.to_string());
    choose_samples(expected, predicted)
        .into_iter()
        .map(|at| {
            Ok(Sample {
                index: at as u64,
                name: found.images.names.as_ref().map(|names| names[at].clone()),
                label: labels.map(|labels| name(labels[at])),
                predicted: name(predicted[at]),
                plain: Some(name(float[at])),
                integer: Some(name(integer[at])),
                picture: Some(picture_of(found, at)?),
            })
        })
        .collect()
}

/// An image as the network sees it.
fn picture_of(found: &Verified<'_>, at: usize) -> anyhow::Result<String> {
    let preprocess = &found.model.preprocess;
    let shape = (preprocess.channels, preprocess.height, preprocess.width);
    let normalization = (&preprocess.mean[..], &preprocess.std[..]);
    let values = &found.prepared[at * preprocess.elements()..][..preprocess.elements()];
    Ok(picture(shape, normalization, values)?)
}
