//! `sordino cost`

use std::path::{Path, PathBuf};

use serde::Serialize;
use sordino::Model;
use sordino::data::Targets;
use sordino::graph::{ColorPolicy, Preprocess, SizePolicy};
use sordino::plan::{CompileOptions, CostTable, Explanation, PackingKind, StepSummary, compile};
use sordino::train::{Activation, Architecture, TrainConfig, TrainingData, train};
use sordino_command::{Outcome, Output, parse_size};
use sordino_report::Align::{Left, Right};
use sordino_report::{Column, bytes_text, columns, percent_text, seconds_text};

use crate::exit::Usage;
use crate::one_of::one_of;
use crate::train::architecture;

/// Images that a new network is trained on for a moment: enough for the statistics of batch normalizations.
const IMAGES: usize = 256;

/// Arguments of `cost`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A model file; or an architecture, trained or not: mlp, cryptonets, lenet, vgg5, cnn6, digits, or a layer list in a .toml or
    /// .json file
    #[arg(value_name = "MODEL|ARCH")]
    network: String,
    /// Images of a request
    #[arg(long, value_name = "B", default_value_t = 4096)]
    batch: usize,
    /// Of an architecture: channels, rows and columns of an image, such as 3x32x32 [default: 1x28x28, 3x32x32 or 1x8x8 by its name]
    #[arg(long, value_name = "CxHxW", value_parser = parse_shape)]
    shape: Option<ImageShape>,
    /// Of an architecture: the number of classes
    #[arg(long, value_name = "N", default_value_t = 10)]
    classes: usize,
    /// Of an architecture: quadratics per layer, channel or element
    #[arg(long, value_name = "ACTIVATION", value_parser = one_of::<Activation>(&["layer", "channel", "element"]), default_value = "element")]
    activation: Activation,
    /// How images lie in ciphertexts: auto takes what is expected to be faster for the batch
    #[arg(long, default_value = "auto", value_parser = ["auto", "element-wise", "channel-wise"])]
    packing: String,
    /// Most memory of the evaluator, such as 4G
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    memory: Option<u64>,
    /// What operations cost on the evaluating machine [default: a built-in table]
    #[arg(long, value_name = "FILE")]
    cost: Option<PathBuf>,
}

/// What a layer costs: a linear layer, or an activation with what follows before the next layer.
#[derive(Serialize)]
struct Layer {
    name: String,
    /// Ciphertexts of the result, per block.
    ciphertexts: usize,
    /// Multiply-accumulates per image.
    macs: u64,
    /// Level at which it begins.
    level: usize,
    seconds: f64,
    /// Share of the time of all layers.
    share: f64,
    /// Bytes of the largest value on the way, per block.
    bytes: u64,
}

const COLUMNS: [Column<'_, Layer>; 7] = [
    ("layer", Left, |layer| Some(layer.name.clone())),
    ("ciphertexts", Right, |layer| {
        Some(layer.ciphertexts.to_string())
    }),
    ("MACs", Right, |layer| {
        (layer.macs > 0).then(|| layer.macs.to_string())
    }),
    ("level", Right, |layer| Some(layer.level.to_string())),
    ("time", Right, |layer| Some(seconds_text(layer.seconds))),
    ("share", Right, |layer| Some(percent_text(layer.share))),
    ("largest value", Right, |layer| {
        Some(bytes_text(layer.bytes))
    }),
];

/// The costs of a network.
#[derive(Serialize)]
struct Costs {
    network: String,
    /// Whether the network has been trained.
    trained: bool,
    batch: usize,
    blocks: usize,
    packing: String,
    ring_degree: usize,
    levels: usize,
    evaluate_seconds: f64,
    seconds_per_image: f64,
    memory_bytes: u64,
    scratch_bytes: u64,
    upload_bytes: u64,
    key_bytes: u64,
    reply_bytes: u64,
    layers: Vec<Layer>,
}

pub(crate) fn run(args: &Args, output: &Output) -> anyhow::Result<Outcome> {
    let (model, trained) = network(args)?;
    let kinds = [PackingKind::ElementWise, PackingKind::ChannelWise];
    let options = CompileOptions {
        packing: kinds
            .into_iter()
            .find(|kind| kind.to_string() == args.packing),
        memory_bytes: args.memory,
        cost: match &args.cost {
            Some(path) => CostTable::read(path)?,
            None => CostTable::default(),
        },
        ..CompileOptions::new(args.batch)
    };
    // Check images take slots that are idle, so that they cost nothing to speak of.
    let explanation = compile(&model, &options)?.server.explain();
    let costs = Costs::new(&explanation, trained);
    output.result(&costs, || costs.text())?;
    Ok(Outcome::Good)
}

/// The network of a model file, or one with the layers of an architecture; and whether it is trained.
fn network(args: &Args) -> anyhow::Result<(Model, bool)> {
    let path = Path::new(&args.network);
    let is_list = ["toml", "json"]
        .map(Some)
        .contains(&path.extension().and_then(|found| found.to_str()));
    if path.is_file() && !is_list {
        return Ok((Model::load(path)?, true));
    }
    let architecture = architecture(&args.network)?;
    let Some(shape) = args.shape.or_else(|| usual_shape(&architecture)) else {
        let text =
            "a layer list says nothing about images: give their shape, such as --shape 3x32x32";
        return Err(Usage(text.into()).into());
    };
    let config = TrainConfig {
        activation: args.activation,
        epochs: 1,
        validation: 0.0,
        ..TrainConfig::for_architecture(&architecture)
    };
    let model = train(
        &architecture,
        &noise(shape, args.classes),
        &config,
        &mut |_| (),
    )?;
    Ok((model, false))
}

/// Channels, rows and columns.
type ImageShape = [usize; 3];

fn parse_shape(text: &str) -> Result<ImageShape, String> {
    let sizes: Vec<Option<usize>> = text.split('x').map(|size| size.parse().ok()).collect();
    match sizes[..] {
        [Some(channels @ 1..), Some(rows @ 1..), Some(columns @ 1..)] => {
            Ok([channels, rows, columns])
        }
        _ => Err("expected channels, rows and columns, such as 3x32x32".into()),
    }
}

/// The images that a named architecture was made for.
fn usual_shape(architecture: &Architecture) -> Option<ImageShape> {
    match architecture {
        Architecture::Mlp | Architecture::CryptoNets | Architecture::LeNet => Some([1, 28, 28]),
        Architecture::Vgg5 | Architecture::Cnn6 => Some([3, 32, 32]),
        Architecture::Digits => Some([1, 8, 8]),
        _ => None,
    }
}

/// Images of noise: costs depend on shapes, and little on the ranges that a network has.
fn noise(shape: ImageShape, classes: usize) -> TrainingData {
    // A linear congruential generator (Knuth, MMIX): enough for images that nobody looks at.
    let mut state = 1_u64;
    let mut pixel = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    let [channels, height, width] = shape;
    let pixels = IMAGES * channels * height * width;
    TrainingData {
        dataset: "noise".to_owned(),
        preprocess: Preprocess {
            channels,
            height,
            width,
            size: SizePolicy::Refuse,
            input_range: (0.0, 1.0),
            mean: vec![0.0; channels],
            std: vec![1.0; channels],
            allowed: (0.0, 1.0),
            color: ColorPolicy::Refuse,
            window: None,
        },
        classes: (0..classes).map(|class| class.to_string()).collect(),
        images: (0..pixels).map(|_| pixel()).collect(),
        labels: Targets::Classes((0..IMAGES).map(|image| (image % classes) as u16).collect()),
        validation: None,
    }
}

impl Costs {
    fn new(explanation: &Explanation, trained: bool) -> Self {
        let estimate = &explanation.estimate;
        let steps = &explanation.steps;
        // Values that only explain failed check images take no time to speak of.
        let timed: Vec<&StepSummary> = steps.iter().filter(|step| step.seconds.is_some()).collect();
        let all: f64 = timed.iter().filter_map(|step| step.seconds).sum();
        let layer = |steps: &[&StepSummary]| {
            let seconds = steps.iter().filter_map(|step| step.seconds).sum();
            Layer {
                name: steps[0].name.clone(),
                ciphertexts: steps[steps.len() - 1].ciphertexts,
                macs: steps.iter().map(|step| step.macs).sum(),
                level: steps[0].level,
                seconds,
                share: seconds / all,
                bytes: steps.iter().map(|step| step.bytes).max().unwrap_or(0),
            }
        };
        Self {
            network: explanation.network.clone(),
            trained,
            batch: explanation.batch,
            blocks: explanation.blocks,
            packing: explanation.packing.clone(),
            ring_degree: explanation.ring_degree,
            levels: explanation.levels,
            evaluate_seconds: estimate.evaluate_seconds,
            seconds_per_image: estimate.evaluate_seconds / explanation.batch as f64,
            memory_bytes: estimate.memory_bytes,
            scratch_bytes: estimate.scratch_bytes,
            upload_bytes: estimate.upload_bytes,
            key_bytes: estimate.key_bytes,
            reply_bytes: estimate.reply_bytes,
            layers: timed.chunk_by(|a, b| a.name == b.name).map(layer).collect(),
        }
    }

    fn text(&self) -> String {
        let scratch = match self.scratch_bytes {
            0 => String::new(),
            bytes => format!(" and {} of scratch", bytes_text(bytes)),
        };
        let untrained = match self.trained {
            true => "",
            false => {
                "\nThe network is not trained: its ranges, and with them its levels, may change a little."
            }
        };
        format!(
            "{}: {} images, {} packing, N = {}, {} levels, {} block(s)\n{}\
             evaluation {}, {} per image, on the machine of the cost table\n\
             memory {}{scratch}; upload {}, {} per image; evaluation key {}; reply {}{untrained}",
            self.network,
            self.batch,
            self.packing,
            self.ring_degree,
            self.levels,
            self.blocks,
            columns(&COLUMNS, &self.layers),
            seconds_text(self.evaluate_seconds),
            seconds_text(self.seconds_per_image),
            bytes_text(self.memory_bytes),
            bytes_text(self.upload_bytes),
            bytes_text(self.upload_bytes / self.batch as u64),
            bytes_text(self.key_bytes),
            bytes_text(self.reply_bytes),
        )
    }
}
