//! `sordino bench accuracy`: every committed model file on the test images of its data set.

use std::path::{Path, PathBuf};

use anyhow::Context;
use sordino::data::{DataSet, SetName, open_named, prepare};
use sordino::graph::Model;
use sordino::plan::{CompileOptions, Packing, compile};
use sordino::report::{Record, table, write_records};
use sordino::{MeasureOptions, measure_accuracy};
use sordino_command::GlobalArgs;
use sordino_command::terminal::Bar;

use crate::exit::Usage;
use crate::output::{Outcome, Output};

/// Arguments of `bench accuracy`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The folder that holds the data sets [default: $SORDINO_DATA, ./data, /usr/share/datasets]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Use the first N test images only
    #[arg(long, value_name = "N")]
    images: Option<usize>,
    /// Also evaluate the encrypted images
    #[arg(long)]
    encrypted: bool,
    /// Models to run: names of files without their ending [default: all in the folder]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    networks: Vec<String>,
    /// Folder of the model files, NETWORK-DATASET.safetensors
    #[arg(long, value_name = "DIR", default_value = "models")]
    models: PathBuf,
    /// Folder for the records
    #[arg(long, value_name = "DIR", default_value = "bench/results")]
    results: PathBuf,
}

pub(crate) fn run(args: &Args, global: &GlobalArgs, output: &Output) -> anyhow::Result<Outcome> {
    if args.images == Some(0) {
        return Err(Usage("--images 0: give at least 1".to_owned()).into());
    }
    // All files first: a damaged one is not found out after minutes.
    let models = files(&args.models, &args.networks)?
        .iter()
        .map(|path| Ok(Model::load(path)?))
        .collect::<anyhow::Result<Vec<Model>>>()?;
    let mut records = Vec::new();
    let mut missing = None;
    for model in &models {
        let opened = model
            .dataset
            .parse::<SetName>()
            .and_then(|name| open_named(args.data.as_deref(), name));
        match opened {
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
    let path = write_records(&args.results, "accuracy", &records)?;
    output.note(format!("wrote {}", path.display()));
    output.result(&records, || table(&records).trim_end().to_owned())?;
    Ok(Outcome::Good)
}

/// The model files of a folder in alphabetical order, or those of the names.
fn files(folder: &Path, names: &[String]) -> anyhow::Result<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> = if names.is_empty() {
        let entries = std::fs::read_dir(folder).with_context(|| {
            format!(
                "{}: run this in the repository's root, or give the folder of the models with --models",
                folder.display()
            )
        })?;
        let paths = entries.map(|entry| Ok(entry?.path()));
        paths.collect::<anyhow::Result<_>>()?
    } else {
        let path = |name: &String| folder.join(format!("{name}.safetensors"));
        names.iter().map(path).collect()
    };
    paths.retain(|path| path.extension().is_some_and(|e| e == "safetensors"));
    paths.sort();
    if paths.is_empty() {
        return Err(Usage(format!(
            "no model files in {}: give their folder with --models",
            folder.display()
        ))
        .into());
    }
    Ok(paths)
}

fn measure_model(
    model: &Model,
    set: &DataSet,
    args: &Args,
    global: &GlobalArgs,
) -> anyhow::Result<Record> {
    let count = args.images.unwrap_or(set.test.len()).min(set.test.len());
    let images = set.test.split_at(count).0;
    let labels = images.labels.as_deref().ok_or_else(|| {
        Usage(format!(
            "{}: its test images have no labels, which accuracy needs",
            set.name
        ))
    })?;
    let plan = compile(
        model,
        &CompileOptions::new(count).with_packing(Packing::ElementWise),
    )?;
    let prepared = prepare(&images, &model.preprocess, None)?;
    let bar = Bar::new("evaluate", global.quiet);
    let progress = |progress: &sordino::runtime::Progress<'_>| bar.evaluation(progress);
    let options = MeasureOptions {
        progress: Some(&progress),
        ..MeasureOptions::new(global.backend()?, rayon::current_num_threads(), 1)
    };
    Ok(measure_accuracy(
        model,
        plan,
        &prepared,
        labels,
        args.encrypted,
        &options,
    )?)
}
