//! `sordino ranges`

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use serde_json::json;
use sordino::container::Overwrite;
use sordino::data::{Fault, Images, open_images, open_set, prepare};
use sordino::graph::{Calibration, Model, calibrate};
use sordino_server::command::GlobalArgs;
use sordino_server::terminal::Bar;

use crate::encrypt::parse_range;
use crate::output::{Outcome, Output};

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
    /// Raw values of black and white, where they are not the network's own
    #[arg(long, value_name = "A..B", value_parser = parse_range, allow_hyphen_values = true)]
    range: Option<(f64, f64)>,
}

/// The training images of a set, or the images at a path.
fn images_at(path: &Path) -> anyhow::Result<Images> {
    match open_set(path) {
        Ok(set) => Ok(set.train),
        Err(error) if error.kind() != Fault::Io && path.exists() => {
            open_images(path).with_context(|| format!("no data set ({error}) and no images either"))
        }
        Err(error) => Err(error.into()),
    }
}

pub(crate) fn run(args: &Args, global: &GlobalArgs, output: &Output) -> anyhow::Result<Outcome> {
    let mut model = Model::load(&args.model)?;
    let mut images = images_at(&args.data)?;
    if let Some(count) = args.images {
        images = images.split_at(count).0;
    }
    let prepared = prepare(&images, &model.preprocess, args.range)?;
    let count = images.len();
    let calibration = {
        let bar = Bar::new("ranges", global.quiet);
        let start = Instant::now();
        let mut progress = |done: usize| {
            let left = start.elapsed().as_secs_f64() * (count - done.min(count)) as f64
                / done.max(1) as f64;
            bar.update(done, count, "images", left);
        };
        calibrate(&model, &prepared, count, &mut progress)?
    };
    // How precise weights must be was found by trying, and stays.
    let calibration = Calibration {
        weight_error: model.calibration.and_then(|old| old.weight_error),
        ..calibration
    };
    model.calibration = Some(calibration.clone());
    // The command is to change this file: that is no overwriting by accident.
    let digest = model.save(&args.model, Overwrite::Replace)?;
    let result = json!({
        "model": digest,
        "images": calibration.images,
        "margin_bits": calibration.margin_bits,
        "nodes": calibration.nodes,
    });
    output.result(&result, || {
        let mut text = format!(
            "{:<28} {:>12} {:>12} {:>12}\n",
            "node", "smallest", "largest", "99.99 %"
        );
        for (name, range) in &calibration.nodes {
            text.push_str(&format!(
                "{name:<28} {:>12.4} {:>12.4} {:>12.4}\n",
                range.min, range.max, range.p9999
            ));
        }
        text.push_str(&format!(
            "recorded the ranges of {} images in {}; plans leave {} bits above them",
            calibration.images,
            args.model.display(),
            calibration.margin_bits
        ));
        text
    })?;
    Ok(Outcome::Good)
}
