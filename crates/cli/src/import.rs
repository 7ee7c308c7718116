//! `sordino import`, and ONNX files in the place of model files.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use serde_json::json;
use sordino::Model;
use sordino::container::{Access, Error as FileError, check_writable};
use sordino::graph::OutputKind;
use sordino::onnx::{Description, ImageSettings, ImportOptions, InputLayout, Network};
use sordino_command::{GlobalArgs, Outcome, Output};

use crate::classes::class_names_for;
use crate::encrypt::parse_range;
use crate::exit::Usage;
use crate::one_of::one_of;
use crate::replaced::is_not_read;

/// Most bytes of settings of images.
const MOST_SETTINGS: u64 = 1 << 16;

/// Arguments of `import`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The network, exported as ONNX
    #[arg(value_name = "NET.onnx")]
    network: PathBuf,
    /// Where to write the model
    #[arg(long, value_name = "MODEL")]
    out: PathBuf,
    #[command(flatten)]
    images: ImagesArgs,
}

/// What an ONNX file does not say of its images.
#[derive(clap::Args)]
pub(crate) struct ImagesArgs {
    /// Mean of each channel, of pixels scaled to 0..1, as in torchvision's Normalize [default: 0]
    #[arg(
        long,
        value_name = "M,…",
        value_delimiter = ',',
        allow_hyphen_values = true
    )]
    mean: Vec<f64>,
    /// Standard deviation of each channel, likewise [default: 1]
    #[arg(long, value_name = "S,…", value_delimiter = ',')]
    std: Vec<f64>,
    /// Names of the classes in the order of the logits, or a text file with one per line [default: their numbers]
    #[arg(long, value_name = "A,B,…|FILE")]
    classes: Option<String>,
    /// Raw values of black and white, which are scaled to 0 and 1
    /// [default: 0..255]
    #[arg(long, value_name = "A..B", value_parser = parse_range, allow_hyphen_values = true)]
    input_range: Option<(f64, f64)>,
    /// How images become the network's input, in place of the options for mean, deviation and range: settings in TOML
    /// (docs/guide/images.md), or what timm prints for its data configuration or torchvision for its transforms
    #[arg(long, value_name = "FILE", conflicts_with_all = ["mean", "std", "input_range"])]
    preprocess: Option<PathBuf>,
    /// Which output of the ONNX file gives the scores, where it has several
    #[arg(long, value_name = "NAME")]
    output: Option<String>,
    /// What the outputs are, where the ONNX file ends without a softmax or sigmoid: logits of one class of several, as PyTorch's
    /// CrossEntropyLoss takes them; a logit for each of several findings, as its BCEWithLogitsLoss takes them; or plain numbers
    /// [default: raw]
    #[arg(long, value_name = "softmax|sigmoid|raw", value_parser = one_of::<OutputKind>(&["softmax", "sigmoid", "raw"]))]
    scores: Option<OutputKind>,
    /// Channels, height and width of an image, where the ONNX file does not say (its input is a vector, or open)
    #[arg(long, value_name = "C,H,W", value_parser = parse_shape)]
    input_shape: Option<[usize; 3]>,
    /// Where the ONNX file's input has its channels: before rows and columns, or behind [default: by its sides]
    #[arg(long, value_name = "nchw|nhwc", value_parser = parse_layout)]
    input_layout: Option<InputLayout>,
    /// Do not compare the imported network with the ONNX file on random images
    #[arg(long)]
    no_check: bool,
}

/// Three sides, as in `1,28,28`.
fn parse_shape(text: &str) -> anyhow::Result<[usize; 3]> {
    let sides: Result<Vec<usize>, _> = text
        .split([',', 'x'])
        .map(|side| side.trim().parse())
        .collect();
    let sides = sides
        .ok()
        .and_then(|sides| <[usize; 3]>::try_from(sides).ok());
    sides
        .filter(|sides| !sides.contains(&0))
        .ok_or_else(|| anyhow!("expected channels, height and width, such as 1,28,28"))
}

fn parse_layout(text: &str) -> anyhow::Result<InputLayout> {
    match text {
        "nchw" => Ok(InputLayout::Nchw),
        "nhwc" => Ok(InputLayout::Nhwc),
        _ => Err(anyhow!("expected nchw or nhwc")),
    }
}

impl ImagesArgs {
    /// Reads an ONNX file as a model, and says where it differs from the file.
    pub(crate) fn load(&self, path: &Path, output: &Output) -> anyhow::Result<Model> {
        let images = self.settings()?;
        let network = Network::read(path)?;
        let imported = network.import(&ImportOptions {
            output: self.output.clone(),
            input_shape: self.input_shape,
            layout: self.input_layout,
        })?;
        for warning in &imported.warnings {
            output.note(format!("warning: {warning}"));
        }
        if !self.no_check {
            network.check(&imported)?;
        }
        let classes = match &self.classes {
            Some(text) => class_names_for(text, imported.graph.classes())?,
            None => Vec::new(),
        };
        let name = path.file_stem().and_then(|name| name.to_str());
        let mut model = imported.into_model(Description {
            name: name.unwrap_or("network").to_string(),
            classes,
            images,
        })?;
        if let Some(scores) = self.scores {
            if ![OutputKind::Raw, scores].contains(&model.output) {
                let text = "--scores: the file itself says what its outputs are, and says something else: leave --scores out";
                return Err(Usage(text.to_owned()).into());
            }
            model.output = scores;
        }
        Ok(model)
    }

    /// What the options, or the file that is given in place of them, say of images.
    fn settings(&self) -> anyhow::Result<ImageSettings> {
        let Some(path) = &self.preprocess else {
            return Ok(ImageSettings {
                mean: self.mean.clone(),
                std: self.std.clone(),
                input_range: self.input_range,
                ..ImageSettings::default()
            });
        };
        let failed = |error| FileError::io(path, "read", error);
        let mut text = String::new();
        let file = File::open(path).map_err(failed)?;
        file.take(MOST_SETTINGS + 1)
            .read_to_string(&mut text)
            .map_err(failed)?;
        let settings = match text.len() as u64 > MOST_SETTINGS {
            true => Err(anyhow!(Usage(format!(
                "expected at most {MOST_SETTINGS} bytes of settings, found more: check that this is the right file"
            )))),
            false => ImageSettings::parse(&text).map_err(Into::into),
        };
        settings.with_context(|| format!("--preprocess {}", path.display()))
    }
}

/// Whether a path names an ONNX file.
pub(crate) fn is_onnx(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("onnx"))
}

pub(crate) fn run(args: &Args, global: &GlobalArgs, output: &Output) -> anyhow::Result<Outcome> {
    is_not_read(&args.out, &[&args.network])?;
    check_writable(&args.out, global.overwrite(), Access::Shared)?;
    let model = args.images.load(&args.network, output)?;
    let digest = model.save(&args.out, global.overwrite())?;
    let nodes = model.graph.nodes();
    let relus = nodes.iter().filter(|node| node.op.kind() == "relu").count();
    let to_replace = nodes
        .iter()
        .filter(|node| node.op.is_teacher_only())
        .count();
    let result = json!({
        "model": digest,
        "out": args.out,
        "network": model.name,
        "nodes": nodes.len(),
        "relus": relus,
        "to_replace": to_replace,
        "classes": model.classes,
        "output": model.output,
        "parameters": model.graph.parameters(),
        "macs_per_image": model.graph.multiply_accumulates(),
        "activations_per_image": model.graph.activations(),
        "producer": model.training["producer"],
    });
    output.result(&result, || {
        let next = if to_replace == 0 {
            "next: `sordino ranges` with images like those to come"
        } else if relus == to_replace {
            "next: `sordino convert`, which replaces its ReLUs by quadratics and needs no labels, or `sordino distill`, \
             which trains its weights too"
        } else {
            "next: `sordino convert`, which replaces its activations by quadratics and its maxima by averages and needs no \
             labels, or `sordino distill`, which trains its weights too"
        };
        let counted = match relus == to_replace {
            true => format!("{relus} ReLUs"),
            false => format!("{to_replace} activations and maxima"),
        };
        format!(
            "wrote {} ({} nodes, {} parameters, {counted}); {next}",
            args.out.display(),
            nodes.len(),
            model.graph.parameters()
        )
    })?;
    Ok(Outcome::Good)
}
