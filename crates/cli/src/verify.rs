//! `sordino verify`

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::ensure;
use rayon::prelude::*;
use serde_json::json;
use sordino::Model;
use sordino::client::{PredictionTable, ViewCount};
use sordino::container::{Access, Error as FileError};
use sordino::data::{Layout, Reader, prepare_noted};
use sordino::graph::Views;
use sordino::onnx::{ImportOptions, InputLayout, Network};
use sordino::plan::ServerPlan;
use sordino::{
    LEAST_AGREEMENT, LEAST_AGREEMENT_FLOAT, Reference, classes_of, is_enough, worst_difference,
};
use sordino_command::{GlobalArgs, Outcome, Output};
use sordino_report::{ReportFile, page, percent_text};

use crate::encrypt::{parse_range, parse_views, views_text};
use crate::exit::Mismatch;
use crate::one_of::one_of;
use crate::verify_findings::CheckedFindings;
use crate::verify_report::{Verified, verify_report};

/// Arguments of `verify`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The model file that the plan was compiled from
    #[arg(long, value_name = "MODEL")]
    model: PathBuf,
    /// The server plan
    #[arg(long, value_name = "FILE")]
    plan: PathBuf,
    /// The images that were encrypted, in the same order
    #[arg(long, value_name = "PATH")]
    images: PathBuf,
    /// Raw values of black and white, as given to `encrypt`
    #[arg(long, value_name = "A..B", value_parser = parse_range, allow_hyphen_values = true)]
    range: Option<(f64, f64)>,
    /// Where arrays have their channels: before rows and columns, or behind [default: by their sizes]
    #[arg(long, value_name = "nchw|nhwc", value_parser = one_of::<Layout>(&["nchw", "nhwc"]))]
    layout: Option<Layout>,
    /// Views of each image that were encrypted: as given to `encrypt`
    #[arg(long, value_name = "N|auto", value_parser = parse_views, default_value = "auto")]
    views: ViewCount,
    /// Also compare with what this ONNX file, from which the model was imported, computes for the images
    #[arg(long, value_name = "NET.onnx")]
    network: Option<PathBuf>,
    /// The predictions, as CSV
    #[arg(long, value_name = "FILE.csv")]
    predictions: PathBuf,
    /// Also write a page with images and predictions (HTML, and its numbers in a JSON file); only its owner may read it
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
}

/// Released logits may differ from the clear ones by half a unit of rounding and a quarter of noise; with more than
/// this many units something is wrong.
const MOST_UNITS: f64 = 1.5;

pub(crate) fn run(args: &Args, global: &GlobalArgs, output: &Output) -> anyhow::Result<Outcome> {
    let report = args.report.as_deref().map(|path| {
        let inputs = [&*args.model, &*args.plan, &*args.images, &*args.predictions];
        ReportFile::new(path, &inputs, global.overwrite(), Access::OwnerOnly)
    });
    let report = report.transpose()?;
    let model = Model::load(&args.model)?;
    let plan = ServerPlan::read(&args.plan)?;
    let path = &args.predictions;
    let file = File::open(path).map_err(|error| FileError::io(path, "open", error))?;
    let table = PredictionTable::read_csv(file, plan.output().logits, &path.display().to_string())?;
    let mut images = Reader::new()
        .network(&model.preprocess)
        .layout(args.layout)
        .images(&args.images)?;
    if images.len() == table.images && table.indices.len() < table.images {
        // Images that were left out have nothing to compare.
        images = images.subset(&table.indices);
    }
    let (prepared, notes) = prepare_noted(&images, &model.preprocess, args.range)?;
    for note in &notes {
        output.warn(note);
    }
    let views = match args.views {
        ViewCount::Exactly(views) => views,
        ViewCount::Auto => {
            let (of_block, count) = (plan.block_images(), images.len().max(1));
            let known = model.calibration.as_ref().and_then(|c| c.views);
            Views::usual(known, count.div_ceil(of_block) * of_block / count)
        }
    };
    let reference = Reference::compute_views(&model, &plan, &prepared, views)?;
    let comparison = reference.compare(&table.classes, images.labels.as_deref())?;

    let unit = f64::from(-plan.estimate().released_bits()).exp2();
    let worst = |reference: &[f64]| {
        table
            .logits
            .as_ref()
            .map(|logits| worst_difference(logits, reference))
    };
    let worst_integer = worst(reference.integer());
    let logits_agree = worst_integer.is_none_or(|worst| worst <= MOST_UNITS * unit);
    let findings = CheckedFindings::new(
        &model,
        &table,
        &reference,
        images.targets().as_ref(),
        plan.estimate().released_bits(),
    )?;
    let file = args.network.as_deref();
    let file = file.map(|path| file_logits(path, &model, &prepared));
    let agreement_file = file.transpose()?.map(|logits| {
        let of_classes = || {
            let classes = classes_of(&logits, model.classes.len());
            let same = classes.iter().zip(&table.classes);
            same.filter(|(file, predicted)| file == predicted).count() as f64
                / classes.len().max(1) as f64
        };
        let of_decisions = findings.agreement_with(&model, &logits);
        of_decisions.unwrap_or_else(of_classes)
    });
    // A student may differ from the file; a network that was only imported may not.
    let student = model.training.get("imported").is_none();
    let as_the_file = agreement_file.is_none_or(|agreement| {
        student || is_enough(agreement, LEAST_AGREEMENT_FLOAT, comparison.images)
    });
    let classes_agree = is_enough(comparison.agreement, LEAST_AGREEMENT, comparison.images)
        && is_enough(
            comparison.agreement_float,
            LEAST_AGREEMENT_FLOAT,
            comparison.images,
        );
    let passed =
        as_the_file && findings.passed && (findings.several || classes_agree) && logits_agree;
    if let Some(file) = &report {
        let report = verify_report(&Verified {
            model: &model,
            plan: &plan,
            images: &images,
            prepared: &prepared,
            reference: &reference,
            table: &table,
            comparison: &comparison,
            worst_integer,
            worst_float: worst(reference.float()),
            findings: &findings,
            passed,
        })?;
        file.write(&report, &page(&report))?;
        output.note(format_args!("report in {}", file.path().display()));
    }
    let mut result = serde_json::to_value(&comparison)?;
    result["worst_logit_difference"] = json!(worst_integer);
    result["worst_logit_difference_float"] = json!(worst(reference.float()));
    result["released_unit"] = json!(unit);
    result["views"] = json!(views);
    result["agreement_file"] = json!(agreement_file);
    result["decisions"] = json!(findings.agreements);
    result["findings"] = json!(findings.measures);
    result["passed"] = json!(passed);
    output.result(&result, || {
        let (images, of_views) = (comparison.images, views_text(views));
        let mut text = match findings.several {
            true => format!("{images} images{of_views}, with several findings each"),
            false => format!(
                "{images} images{of_views}: {} of the classes are those of the clear integer engine (at least {}), {} those of the float network (at least {})",
                percent_text(comparison.agreement),
                percent_text(LEAST_AGREEMENT),
                percent_text(comparison.agreement_float),
                percent_text(LEAST_AGREEMENT_FLOAT),
            ),
        };
        if let Some(agreement) = agreement_file {
            text.push_str(&format!(
                "\n{} of the {} are those that the ONNX file itself computes",
                percent_text(agreement),
                if findings.several { "decisions" } else { "classes" }
            ));
        }
        if let Some(worst) = worst_integer {
            text.push_str(&format!(
                "\nworst difference of a released logit from the clear integer engine: {worst:.3e} (they are rounded to {unit:.3e})"
            ));
        }
        if let (Some(plain), Some(integer), Some(encrypted)) =
            (comparison.accuracy_plain, comparison.accuracy_integer, comparison.accuracy_encrypted)
        {
            text.push_str(&format!(
                "\naccuracy: {} float, {} clear integer, {} predictions",
                percent_text(plain),
                percent_text(integer),
                percent_text(encrypted)
            ));
        }
        text.push_str(&findings.text());
        text.push_str(if passed { "\npassed" } else { "\nFAILED" });
        text
    })?;
    if !passed {
        output.note(
            "the predictions do not match the network: check that images, model, plan and predictions belong together, or compile with more --precision-bits or --weight-bits",
        );
    }
    Ok(if passed {
        Outcome::Good
    } else {
        Outcome::CheckFailed
    })
}

/// What an ONNX file computes for prepared images, `[images, classes]`.
fn file_logits(path: &Path, model: &Model, prepared: &[f32]) -> anyhow::Result<Vec<f64>> {
    let network = Network::read(path)?;
    let described = &model.training["onnx"];
    let side = |index: usize| {
        described["input_shape"][index]
            .as_u64()
            .map(|side| side as usize)
    };
    let imported = network.import(&ImportOptions {
        output: described["output"].as_str().map(str::to_string),
        input_shape: side(0)
            .zip(side(1))
            .zip(side(2))
            .map(|((c, h), w)| [c, h, w]),
        layout: match described["layout"].as_str() {
            Some("nhwc") => Some(InputLayout::Nhwc),
            Some(_) => Some(InputLayout::Nchw),
            None => None,
        },
    })?;
    let (found, expected) = (&imported.graph, &model.graph);
    ensure!(
        found.input_shape() == expected.input_shape() && found.classes() == expected.classes(),
        Mismatch(format!(
            "{}: a network of images of {} and {} classes, the model has {} and {}: give the file that it was imported from",
            path.display(),
            found.input_shape(),
            found.classes(),
            expected.input_shape(),
            expected.classes()
        ))
    );
    let images: Vec<&[f32]> = prepared
        .chunks_exact(expected.input_shape().elements())
        .collect();
    let logits: Result<Vec<Vec<f32>>, _> = images
        .par_iter()
        .map(|image| network.logits(&imported, image, 1))
        .collect();
    Ok(logits?.into_iter().flatten().map(f64::from).collect())
}
