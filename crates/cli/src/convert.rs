//! `sordino convert`

use std::path::PathBuf;

use serde_json::json;
use sordino::Model;
use sordino::container::{Access, check_writable};
use sordino::data::{Layout, prepare_noted};
use sordino::graph::Granularity;
use sordino::train::{
    Activation, Conversion, ConvertConfig, ConvertPhase, ConvertProgress, Difference, convert,
};
use sordino_command::terminal::Bar;
use sordino_command::{GlobalArgs, Outcome, Output};
use sordino_report::percent_text;

use crate::encrypt::parse_range;
use crate::import::{ImagesArgs, is_onnx};
use crate::one_of::one_of;
use crate::ranges::images_at;
use crate::training::tune_if_planned;

/// Below this share of images in the class of the original network, training of the weights is suggested.
const GOOD_AGREEMENT: f64 = 0.95;

/// Arguments of `convert`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The trained network: a model file, or one exported as ONNX
    #[arg(value_name = "NET.onnx|MODEL")]
    network: PathBuf,
    /// Images like those to come, no labels needed: a data set, whose training images are used, or images as `encrypt`
    /// takes them
    #[arg(long, value_name = "PATH")]
    data: PathBuf,
    /// The quadratics: one per layer, channel or element
    #[arg(long, value_name = "ACTIVATION", value_parser = one_of::<Activation>(&["layer", "channel", "element"]), default_value = "element")]
    activation: Activation,
    /// Where to write the model
    #[arg(long, value_name = "MODEL")]
    out: PathBuf,
    #[command(flatten)]
    description: ImagesArgs,
    /// Raw values of black and white in the images, where they are not the network's own
    #[arg(long, value_name = "A..B", value_parser = parse_range, allow_hyphen_values = true)]
    range: Option<(f64, f64)>,
    /// Where arrays have their channels: before rows and columns, or behind [default: by their sizes]
    #[arg(long, value_name = "nchw|nhwc", value_parser = one_of::<Layout>(&["nchw", "nhwc"]))]
    layout: Option<Layout>,
    /// Use the first N images only
    #[arg(long, value_name = "N")]
    images: Option<usize>,
    /// Passes over the images that train the coefficients, 0 for none [default: by the size of the network]
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Seed of the images' order, and of which are held back
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    seed: u64,
}

pub(crate) fn run(args: &Args, global: &GlobalArgs, output: &Output) -> anyhow::Result<Outcome> {
    check_writable(&args.out, global.overwrite(), Access::Shared)?;
    let original = if is_onnx(&args.network) {
        args.description.load(&args.network, output)?
    } else {
        Model::load(&args.network)?
    };
    let (mut images, _) = images_at(&args.data, &original.preprocess, args.layout)?;
    if let Some(count) = args.images {
        images = images.split_at(count).0;
    }
    let (prepared, notes) = prepare_noted(&images, &original.preprocess, args.range)?;
    for note in &notes {
        output.warn(note);
    }
    let config = ConvertConfig {
        granularity: args
            .activation
            .granularity()
            .unwrap_or(Granularity::Element),
        epochs: args.epochs,
        seed: args.seed,
        ..ConvertConfig::default()
    };
    output.note(format!(
        "converting {} to quadratics per {} on {} images; its weights stay",
        original.name,
        args.activation,
        images.len()
    ));
    let bar = Bar::new("convert", global.quiet);
    let Conversion {
        mut model,
        difference,
        ..
    } = convert(&original, &prepared, &config, &mut |progress| {
        show(&bar, progress);
    })?;
    drop(bar);
    let trials = tune_if_planned(&mut model, &prepared, None, output);
    let digest = model.save(&args.out, global.overwrite())?;
    let good = difference.agreement >= GOOD_AGREEMENT;
    let result = json!({
        "model": digest,
        "out": args.out,
        "network": model.name,
        "images": images.len(),
        "difference": difference,
        "good": good,
        "parameters": model.graph.parameters(),
        "activations_per_image": model.graph.activations(),
        "integer_weights": trials,
        "training": model.training,
    });
    output.result(&result, || {
        let mut text = format!(
            "wrote {} (activation ranges included)\n{}",
            args.out.display(),
            describe(&difference)
        );
        if !good {
            text += &format!(
                "\nthat is far from the original: `sordino distill --teacher {} --data {}` trains the weights too, with \
                 labelled images",
                args.network.display(),
                args.data.display()
            );
        }
        text
    })?;
    Ok(Outcome::Good)
}

/// How far the network is from the original.
fn describe(difference: &Difference) -> String {
    format!(
        "{} of {} images held back are in the class that the original network gives; logits differ by {:.3} on average \
         and {:.3} at most, where the original's have a standard deviation of {:.3}",
        percent_text(difference.agreement),
        difference.images,
        difference.mean_logit_difference,
        difference.worst_logit_difference,
        difference.logit_deviation
    )
}

fn show(bar: &Bar, progress: &ConvertProgress) {
    let (done, total) = (progress.done, progress.total);
    let left = progress.seconds * (total - done.min(total)) as f64 / done.max(1) as f64;
    let unit = match progress.phase {
        ConvertPhase::Fit => "activations fitted",
        ConvertPhase::Train => "images seen",
        ConvertPhase::Record => "images recorded",
    };
    bar.update(done, total, unit, left);
    if let Some(agreement) = progress.agreement {
        bar.line(format!(
            "{done} images seen: {} of the images held back are in the original's class, {:.0} s",
            percent_text(agreement),
            progress.seconds
        ));
    }
}
