//! `sordino bench accuracy`: every committed model file on the test images of its data set.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use sordino::Model;
use sordino::compile;
use sordino::data::{DataSet, SetName, prepare};
use sordino::plan::{CompileOptions, PackingKind};
use sordino_command::terminal::Bar;
use sordino_command::{GlobalArgs, Outcome, Output};

use super::places::{DataArgs, ModelArgs, ResultArgs};
use crate::Error;
use crate::measure::{MeasureOptions, measure_accuracy};
use crate::record::{Record, table};

/// Arguments of `bench accuracy`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    data: DataArgs,
    /// Use the first N test images only
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    images: Option<u32>,
    /// Also evaluate the encrypted images
    #[arg(long)]
    encrypted: bool,
    /// Models to run: names of files without their ending [default: all in the folder]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    networks: Vec<String>,
    #[command(flatten)]
    models: ModelArgs,
    #[command(flatten)]
    results: ResultArgs,
}

pub(super) fn run(args: &Args, global: &GlobalArgs, output: &Output) -> anyhow::Result<Outcome> {
    // Loads all files first, so that a damaged one is refused before minutes of work.
    let models = models(&args.models, &args.networks)?;
    let mut records = Vec::new();
    let mut missing = None;
    for model in &models {
        let name = model.dataset.parse::<SetName>();
        match name.and_then(|name| args.data.open(name)) {
            Ok(set) => {
                output.note(format!("{} on {}", model.name, model.dataset));
                records.push(measure_model(model, &set, args, global)?);
            }
            Err(error) => {
                output.note(format!("skipped {}: {error}", model.name));
                missing = Some(error);
            }
        }
    }
    if let (true, Some(error)) = (records.is_empty(), missing) {
        return Err(error).context("no data set of any model is here");
    }
    let text = || table(&records);
    args.results.finish("accuracy", &records, output, text)
}

/// The models of the names, or all of the folder, in alphabetical order.
fn models(folder: &ModelArgs, names: &[String]) -> anyhow::Result<Vec<Model>> {
    if !names.is_empty() {
        let mut names = names.to_vec();
        names.sort();
        return names.iter().map(|name| folder.load(name)).collect();
    }
    let paths = files(&folder.models).with_context(|| {
        format!(
            "{}: run this in the repository's root, or give the folder of the models with --models",
            folder.models.display()
        )
    })?;
    let folder = folder.models.display();
    let none = || {
        Error::Usage(format!(
            "no model files in {folder}: give their folder with --models"
        ))
    };
    ensure!(!paths.is_empty(), none());
    paths.iter().map(|path| Ok(Model::load(path)?)).collect()
}

/// The model files of a folder in alphabetical order.
fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let paths = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let mut paths: Vec<PathBuf> = paths.collect::<std::io::Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|e| e == "safetensors"));
    paths.sort();
    Ok(paths)
}

fn measure_model(
    model: &Model,
    set: &DataSet,
    args: &Args,
    global: &GlobalArgs,
) -> anyhow::Result<Record> {
    let count = args.images.map_or(set.test.len(), |images| images as usize);
    let images = set.test.split_at(count).0;
    let name = &set.name;
    let text = || format!("{name}: its test images have no labels, which accuracy needs");
    let labels = images.labels.as_deref();
    let labels = labels.ok_or_else(|| Error::Usage(text()))?;
    let options = CompileOptions::new(images.len()).with_packing(PackingKind::ElementWise);
    let plan = compile(model, &options)?;
    let prepared = prepare(&images, &model.preprocess, None)?;
    let bar = Bar::new("evaluate", global.quiet);
    let options = MeasureOptions::new(global.backend()?, 1, &bar);
    measure_accuracy(model, plan, &prepared, labels, args.encrypted, &options)
}
