//! `sordino ranges`

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use serde_json::json;
use sordino::ImageLabels;
use sordino::container::Overwrite;
use sordino::data::{Images, Layout, Reader, Targets, prepare, prepare_noted};
use sordino::graph::{Calibration, Changes, InputStatistic, Model, Preprocess, Range, calibrate};
use sordino_command::terminal::Bar;
use sordino_command::{GlobalArgs, Outcome, Output};
use sordino_fault::{Classified, Fault};
use sordino_report::Align::{Left, Right};
use sordino_report::{Column, columns};

use crate::encrypt::parse_range;
use crate::one_of::one_of;
use crate::training::{record_views, tune, tune_if_planned};

/// Arguments of `ranges`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The model file, which is rewritten
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// A data set, whose training images are used, or images as `encrypt` takes them
    #[arg(long, value_name = "PATH")]
    data: PathBuf,
    /// Use the first N images only
    #[arg(long, value_name = "N")]
    images: Option<usize>,
    /// Keep recorded ranges, and only find again how precise integer weights must be
    #[arg(long)]
    weights_only: bool,
    /// Keep recorded ranges, and only record what the images look like, to find others that do not belong
    #[arg(long, conflicts_with = "weights_only")]
    inputs_only: bool,
    /// Changes that the network was trained with, so that they leave an image's class: any of mirror, turn (by quarters of a circle) and
    /// shift:PIXELS, with commas in between. Which number of views is best is found on validation images
    #[arg(long, value_name = "CHANGES", value_parser = parse_changes)]
    views: Option<Changes>,
    /// Raw values of black and white, where they are not the network's own
    #[arg(long, value_name = "A..B", value_parser = parse_range, allow_hyphen_values = true)]
    range: Option<(f64, f64)>,
    /// Where arrays have their channels: before rows and columns, or behind [default: by their sizes]
    #[arg(long, value_name = "nchw|nhwc", value_parser = one_of::<Layout>(&["nchw", "nhwc"]))]
    layout: Option<Layout>,
}

fn parse_changes(text: &str) -> Result<Changes, String> {
    text.parse()
        .map_err(|error: sordino::graph::Error| error.to_string())
}

const NO_LABELS: ImageLabels<'_> = ImageLabels::Classes(&[]);

/// A node, and the range of its values.
type Row = (String, Range);

const COLUMNS: [Column<'_, Row>; 4] = [
    ("node", Left, |(name, _)| Some(name.clone())),
    ("smallest", Right, |(_, range)| {
        Some(format!("{:.4}", range.min))
    }),
    ("largest", Right, |(_, range)| {
        Some(format!("{:.4}", range.max))
    }),
    ("99.99 %", Right, |(_, range)| {
        Some(format!("{:.4}", range.p9999))
    }),
];

/// The training images of a set and its validation images, if it has any; or the images at a path.
pub(crate) fn images_at(
    path: &Path,
    network: &Preprocess,
    layout: Option<Layout>,
) -> anyhow::Result<(Images, Option<Images>)> {
    let reader = Reader::new().layout(layout);
    let no_set = match reader.set(path) {
        Ok(set) => return Ok((set.train, set.validation)),
        Err(error) => error,
    };
    match reader.network(network).images(path) {
        Ok(images) => Ok((images, None)),
        Err(error) if no_set.fault() != Fault::Io && path.exists() => {
            Err(error).with_context(|| format!("no data set ({no_set}) and no images either"))
        }
        // Such as an archive without the array that is named.
        Err(error) if error.fault() != Fault::Io => Err(error.into()),
        Err(_) => Err(no_set.into()),
    }
}

pub(crate) fn run(args: &Args, global: &GlobalArgs, output: &Output) -> anyhow::Result<Outcome> {
    let mut model = Model::load(&args.model)?;
    // Ranges are for plans, and such a network has none.
    model.graph.check_polynomial()?;
    let (mut images, validation) = images_at(&args.data, &model.preprocess, args.layout)?;
    if let Some(count) = args.images {
        images = images.split_at(count).0;
    }
    let (prepared, notes) = prepare_noted(&images, &model.preprocess, args.range)?;
    for note in &notes {
        output.warn(note);
    }
    let count = images.len();
    let inputs_only = args.inputs_only && model.calibration.is_some();
    let views = model.calibration.as_ref().and_then(|c| c.views);
    let calibration = match model.calibration.take() {
        Some(recorded) if args.weights_only => recorded,
        Some(recorded) if inputs_only => Calibration {
            input: Some(InputStatistic::record(&model.preprocess, &prepared)?),
            ..recorded
        },
        _ => {
            let bar = Bar::new("ranges", global.quiet);
            let start = Instant::now();
            let mut progress = |done: usize| {
                let left = start.elapsed().as_secs_f64() * (count - done.min(count)) as f64
                    / done.max(1) as f64;
                bar.update(done, count, "images", left);
            };
            calibrate(&model, &prepared, count, &mut progress)?
        }
    };
    model.calibration = Some(Calibration {
        views,
        ..calibration.clone()
    });
    // As after training: validation images, where there are any.
    let (prepared, labels) = match &validation {
        Some(images) => {
            let prepared = prepare(images, &model.preprocess, args.range)?;
            (prepared, images.targets())
        }
        None => (prepared, images.targets()),
    };
    let view_trials = match args.views {
        Some(changes) => {
            if validation.is_none() {
                output.warn(
                    "the data have no validation part, so that views are tried on the images of the ranges: on images that the network was trained with they help less",
                );
            }
            let labels = labels.as_ref().map_or(NO_LABELS, Into::into);
            record_views(&mut model, changes, &prepared, labels, output)?
        }
        None => Vec::new(),
    };
    let labels = labels.as_ref().and_then(Targets::classes);
    let trials = match (inputs_only, args.weights_only) {
        (true, _) => Vec::new(),
        (_, true) => tune(&mut model, &prepared, labels, output)?,
        _ => tune_if_planned(&mut model, &prepared, labels, output),
    };
    // The command's purpose is to change this file.
    let digest = model.save(&args.model, Overwrite::Replace)?;
    let result = json!({
        "model": digest,
        "images": calibration.images,
        "margin_bits": calibration.margin_bits,
        "nodes": calibration.nodes,
        "integer_weights": trials,
        "views": model.calibration.as_ref().and_then(|c| c.views),
        "tried_views": view_trials,
    });
    output.result(&result, || {
        let rows: Vec<_> = calibration.nodes.clone().into_iter().collect();
        format!(
            "{}recorded the ranges of {} images in {}; plans leave {} bits above them",
            columns(&COLUMNS, &rows),
            calibration.images,
            args.model.display(),
            calibration.margin_bits
        )
    })?;
    Ok(Outcome::Good)
}
