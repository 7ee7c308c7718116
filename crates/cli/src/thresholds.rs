//! `sordino thresholds`

use std::path::PathBuf;

use anyhow::bail;
use serde_json::json;
use sordino::container::{Access, Overwrite, check_writable};
use sordino::data::{DataSet, open_set, prepare_noted};
use sordino::graph::{Model, Target, execute};
use sordino::plan::DEFAULT_WEIGHT_ERROR;
use sordino::{
    FindingMeasures, Labelled, choose_operating_points, labels_of_findings, measure_findings,
};
use sordino_command::{GlobalArgs, Outcome, Output};
use sordino_report::Align::{Left, Right};
use sordino_report::{Column, columns};

use crate::encrypt::parse_range;
use crate::exit::{Mismatch, Usage};

/// Tolerated error of weights where findings are decided: images of elsewhere have scores near a threshold more often than those
/// that chose it.
const DECISION_WEIGHT_ERROR: f64 = DEFAULT_WEIGHT_ERROR / 2.0;

/// Fewest images with a finding, and without it, whose share says much.
const FEW: usize = 20;

/// Arguments of `thresholds`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The model file, which is rewritten unless --out is given
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// The data set, of which the validation part is used and no other
    #[arg(long, value_name = "PATH")]
    data: PathBuf,
    /// Choose the highest threshold at which at least this share of the images with the finding is found, such as 0.95
    #[arg(
        long,
        value_name = "S",
        required_unless_present = "specificity",
        conflicts_with = "specificity"
    )]
    sensitivity: Option<f64>,
    /// Choose the lowest threshold at which at least this share of the images without the finding is passed, such as 0.9
    #[arg(long, value_name = "S")]
    specificity: Option<f64>,
    /// Write another model file, and leave MODEL as it is
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Raw values of black and white, where they are not the network's own
    #[arg(long, value_name = "A..B", value_parser = parse_range, allow_hyphen_values = true)]
    range: Option<(f64, f64)>,
}

const COLUMNS: [Column<'_, FindingMeasures>; 7] = [
    ("finding", Left, |m| Some(m.name.clone())),
    ("with", Right, |m| Some(m.positives.to_string())),
    ("without", Right, |m| Some(m.negatives.to_string())),
    ("AUC (95 %)", Right, |m| {
        let (low, high) = m.auc_interval;
        Some(format!("{:.3} ({low:.3} to {high:.3})", m.auc))
    }),
    ("threshold", Right, |m| {
        m.threshold.map(|t| format!("{t:.4}"))
    }),
    ("sensitivity", Right, |m| {
        m.sensitivity.map(|share| format!("{share:.3}"))
    }),
    ("specificity", Right, |m| {
        m.specificity.map(|share| format!("{share:.3}"))
    }),
];

pub(crate) fn run(args: &Args, global: &GlobalArgs, output: &Output) -> anyhow::Result<Outcome> {
    let (option, share, target): (_, _, fn(f64) -> Target) = match args.sensitivity {
        Some(share) => ("--sensitivity", share, Target::Sensitivity),
        None => (
            "--specificity",
            args.specificity.unwrap_or_default(),
            Target::Specificity,
        ),
    };
    // 0 and 1 are reached by deciding the same for every image.
    if !(share > 0.0 && share < 1.0) {
        bail!(Usage(format!(
            "{option} {share}: give a share between 0 and 1, such as 0.9"
        )));
    }
    if let Some(out) = &args.out {
        check_writable(out, global.overwrite(), Access::Shared)?;
    }
    let mut model = Model::load(&args.model)?;
    let DataSet {
        name, validation, ..
    } = open_set(&args.data)?;
    let Some(images) = validation else {
        bail!(Mismatch(format!(
            "{}: set {name} has no validation part, and thresholds are never chosen on training or test images: give a set with one, such as an .npz file with train_images, val_images and test_images",
            args.data.display()
        )));
    };
    let width = model.classes.len();
    let labels = match &images.targets() {
        Some(targets) => labels_of_findings(model.output, width, targets.into())?,
        None => None,
    };
    let Some(labels) = labels else {
        return Err(sordino::Error::NoFindings.into());
    };
    let (prepared, notes) = prepare_noted(&images, &model.preprocess, args.range)?;
    for note in &notes {
        output.warn(note);
    }
    output.note(format_args!(
        "choosing on the validation part of {name}: {} images",
        images.len()
    ));
    let logits = execute(&model.graph, &prepared, images.len())?;
    let logits: Vec<f64> = logits.into_iter().map(f64::from).collect();
    let found = Labelled {
        output: model.output,
        classes: &model.classes,
        logits: &logits,
        labels: &labels,
    };
    let points = choose_operating_points(found, target(share), "validation")?;
    let measures = measure_findings(found, Some(&points));
    for few in measures
        .iter()
        .filter(|m| m.positives.min(m.negatives) < FEW)
    {
        output.warn(format!(
            "finding {:?} is in {} images and not in {}: with fewer than {FEW} the threshold says little",
            few.name, few.positives, few.negatives
        ));
    }
    if points.points.len() < labels.len() {
        output.warn(format!(
            "{} of {} findings are in no image or in all of them, and have no operating point",
            labels.len() - points.points.len(),
            labels.len()
        ));
    }
    model.operating_points = Some(points.clone());
    if let Some(calibration) = &mut model.calibration {
        let error = calibration.weight_error.unwrap_or(DEFAULT_WEIGHT_ERROR);
        calibration.weight_error = Some(error.min(DECISION_WEIGHT_ERROR));
    }
    let (path, overwrite) = match &args.out {
        Some(out) => (out, global.overwrite()),
        // The command's purpose is to change this file.
        None => (&args.model, Overwrite::Replace),
    };
    let digest = model.save(path, overwrite)?;
    let result = json!({
        "model": digest,
        "out": path,
        "dataset": name,
        "part": points.part,
        "images": points.images,
        "target": points.target,
        "operating_points": points.points,
        "findings": measures,
    });
    output.result(&result, || {
        format!(
            "{}{}, chosen on the validation part of {name} ({} images), in {}; compile it again for a plan that has them",
            columns(&COLUMNS, &measures),
            match points.points.len() {
                1 => "1 operating point".to_owned(),
                count => format!("{count} operating points"),
            },
            points.images,
            path.display()
        )
    })?;
    Ok(Outcome::Good)
}
