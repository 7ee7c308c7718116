//! `sordino import`, and ONNX files in the place of model files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::ensure;
use serde_json::json;
use sordino::Model;
use sordino::container::{Access, Error as FileError, check_writable};
use sordino::onnx::{Description, MAX_FILE_BYTES, import};
use sordino_command::{GlobalArgs, Outcome, Output};

use crate::classes::class_names;
use crate::encrypt::parse_range;
use crate::exit::Mismatch;

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
    #[arg(long, value_name = "A..B", value_parser = parse_range, default_value = "0..255", allow_hyphen_values = true)]
    input_range: (f64, f64),
}

impl ImagesArgs {
    /// Reads an ONNX file as a model, and says where it differs from the file.
    pub(crate) fn load(&self, path: &Path, output: &Output) -> anyhow::Result<Model> {
        let read = |error| FileError::io(path, "read", error);
        let size = fs::metadata(path).map_err(read)?.len();
        ensure!(
            size <= MAX_FILE_BYTES as u64,
            Mismatch(format!(
                "{}: expected a network of at most {MAX_FILE_BYTES} bytes, found {size}: check the path",
                path.display()
            ))
        );
        let imported = import(&fs::read(path).map_err(read)?)?;
        for warning in &imported.warnings {
            output.note(format!("warning: {warning}"));
        }
        let name = path.file_stem().and_then(|name| name.to_str());
        Ok(imported.into_model(Description {
            name: name.unwrap_or("network").to_string(),
            mean: self.mean.clone(),
            std: self.std.clone(),
            classes: match &self.classes {
                Some(text) => class_names(text)?,
                None => Vec::new(),
            },
            input_range: self.input_range,
        })?)
    }
}

/// Whether a path names an ONNX file.
pub(crate) fn is_onnx(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("onnx"))
}

pub(crate) fn run(args: &Args, global: &GlobalArgs, output: &Output) -> anyhow::Result<Outcome> {
    check_writable(&args.out, global.overwrite(), Access::Shared)?;
    let model = args.images.load(&args.network, output)?;
    let digest = model.save(&args.out, global.overwrite())?;
    let nodes = model.graph.nodes();
    let relus = nodes.iter().filter(|node| node.op.kind() == "relu");
    let relus = relus.count();
    let result = json!({
        "model": digest,
        "out": args.out,
        "network": model.name,
        "nodes": nodes.len(),
        "relus": relus,
        "parameters": model.graph.parameters(),
        "macs_per_image": model.graph.multiply_accumulates(),
        "activations_per_image": model.graph.activations(),
        "producer": model.training["producer"],
    });
    output.result(&result, || {
        let next = if relus == 0 {
            "next: `sordino ranges` with images like those to come"
        } else {
            "next: `sordino distill`, which replaces its ReLUs by quadratics"
        };
        format!(
            "wrote {} ({} nodes, {} parameters, {relus} ReLUs); {next}",
            args.out.display(),
            nodes.len(),
            model.graph.parameters()
        )
    })?;
    Ok(Outcome::Good)
}
