//! `sordino bench mnist`: the committed networks on MNIST's test images.

use std::path::{Path, PathBuf};

use sordino::data::{DataSet, Images, SetName, open_named, prepare};
use sordino::graph::Model;
use sordino::plan::{CompileOptions, Packing, compile};
use sordino::report::{Record, block_table, layer_table, table, thread_table, write_records};
use sordino::train::{Architecture, TrainConfig, TrainingData, train};
use sordino::{MeasureOptions, measure};
use sordino_command::GlobalArgs;
use sordino_command::terminal::Bar;

use super::apart::set_apart;
use super::series::{Blocks, over_blocks, over_threads};
use crate::exit::Usage;
use crate::output::{Outcome, Output};

/// Arguments of `bench mnist`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// MNIST's folder or one that holds it [default: $SORDINO_DATA, ./data, /usr/share/datasets]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Use the first N test images only
    #[arg(long, value_name = "N")]
    images: Option<usize>,
    /// Networks to measure
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_values = ["mlp", "cryptonets"])]
    networks: Vec<String>,
    /// Folder of the model files, NETWORK-mnist.safetensors
    #[arg(long, value_name = "DIR", default_value = "models")]
    models: PathBuf,
    /// Train the networks anew instead of loading the committed models, which stay as they are
    #[arg(long)]
    retrain: bool,
    /// Folder for the records
    #[arg(long, value_name = "DIR", default_value = "bench/results")]
    results: PathBuf,
    /// Runs whose median counts; one longer than a minute is the only one
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    runs: u16,
    /// Print where the time of each evaluation goes, step by step (the records have it either way)
    #[arg(long)]
    layers: bool,
    /// Also measure the time an image on A, A + 1, ... to B full ciphertext blocks (or on just A)
    #[arg(long, value_name = "A..B")]
    blocks: Option<Blocks>,
    /// Also measure the same request with one thread, against the threads of --threads
    #[arg(long)]
    thread_scaling: bool,
}

/// What was measured of one network.
struct Measured {
    network: Record,
    blocks: Vec<Record>,
    threads: Vec<Record>,
}

pub(crate) fn run(args: &Args, global: &GlobalArgs, output: &Output) -> anyhow::Result<Outcome> {
    if args.thread_scaling && rayon::current_num_threads() < 2 {
        return Err(Usage(
            "--thread-scaling compares several threads with one, and there is one: give --threads 2 or more".to_owned(),
        )
        .into());
    }
    // All files first: a missing one is not found out after minutes.
    let models = args
        .networks
        .iter()
        .filter(|_| !args.retrain)
        .map(|network| load(&args.models, network))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let set = open_named(args.data.as_deref(), SetName::Mnist)?;
    let models = if args.retrain {
        retrain(&args.networks, &set, global)?
    } else {
        models
    };
    let count = args.images.unwrap_or(set.test.len());
    if count == 0 {
        return Err(Usage("--images 0: give at least 1".to_owned()).into());
    }
    let images = set.test.split_at(count).0;
    if let Some(blocks) = &args.blocks {
        for model in &models {
            blocks.check(model, images.len(), &set)?;
        }
    }
    let mut measured = Vec::new();
    for model in &models {
        output.note(format!("{}: {} test images", model.name, images.len()));
        measured.push(measure_model(model, &images, &set, args, global)?);
    }
    let networks: Vec<Record> = measured.iter().map(|m| m.network.clone()).collect();
    let mut records = networks.clone();
    for Measured {
        blocks, threads, ..
    } in &measured
    {
        records.extend(blocks.iter().chain(threads).cloned());
    }
    let path = write_records(&args.results, "mnist", &records)?;
    output.note(format!("wrote {}", path.display()));
    output.result(&records, || {
        let mut text = table(&networks);
        for Measured {
            network,
            blocks,
            threads,
        } in &measured
        {
            let name = &network.network;
            if args.layers {
                text += &format!("\n{name}: steps\n{}", layer_table(network));
            }
            if !blocks.is_empty() {
                text += &format!("\n{name}: full blocks\n{}", block_table(blocks));
            }
            if !threads.is_empty() {
                text += &format!("\n{name}: threads\n{}", thread_table(threads));
            }
        }
        text.trim_end().to_owned()
    })?;
    Ok(Outcome::Good)
}

fn load(folder: &Path, network: &str) -> anyhow::Result<Model> {
    let path = folder.join(format!("{network}-mnist.safetensors"));
    if !path.exists() {
        return Err(Usage(format!(
            "no model {}: run this in the repository's root, give its folder with --models, or train it with `sordino train --data mnist --arch {network} --out {}`",
            path.display(),
            path.display()
        ))
        .into());
    }
    Ok(Model::load(&path)?)
}

/// The networks with the recipes that made the committed files; test images have no part in it.
fn retrain(networks: &[String], set: &DataSet, global: &GlobalArgs) -> anyhow::Result<Vec<Model>> {
    let architectures = networks
        .iter()
        .map(|network| network.parse())
        .collect::<Result<Vec<Architecture>, _>>()?;
    let data = TrainingData::from_set(set)?;
    let mut models = Vec::new();
    for architecture in &architectures {
        let bar = Bar::new("train", global.quiet);
        let mut progress = |progress: &sordino::train::Progress| {
            let done = (progress.epoch - 1) * progress.batches + progress.batch;
            let of = progress.epochs * progress.batches;
            bar.update(done, of, architecture.name(), progress.seconds_left);
        };
        let config = TrainConfig::for_architecture(architecture);
        models.push(train(architecture, &data, &config, &mut progress)?);
    }
    Ok(models)
}

fn measure_model(
    model: &Model,
    images: &Images,
    set: &DataSet,
    args: &Args,
    global: &GlobalArgs,
) -> anyhow::Result<Measured> {
    let plan = compile(
        model,
        &CompileOptions::new(images.len()).with_packing(Packing::ElementWise),
    )?;
    let predicted = plan.server.estimate().precision_bits;
    let ring_degree = plan.server.parameters().ring_degree();
    let prepared = prepare(images, &model.preprocess, None)?;
    let bar = Bar::new("evaluate", global.quiet);
    let progress = |progress: &sordino::runtime::Progress<'_>| bar.evaluation(progress);
    let threads = rayon::current_num_threads();
    let options = MeasureOptions {
        progress: Some(&progress),
        ..MeasureOptions::new(global.backend()?, threads, usize::from(args.runs))
    };
    let mut measurement = measure(model, plan, &prepared, images.labels.as_deref(), &options)?;
    set_apart(&mut measurement, &options)?;
    let record = &measurement.record;
    if let Some(worst) = record.worst_logit_error {
        bar.line(format!(
            "{}: worst logit error 2^{:.1}, predicted at most 2^{:.1}",
            model.name,
            worst.log2(),
            -predicted
        ));
    }
    let threads = if args.thread_scaling {
        bar.line(format!("{}: one thread against all", model.name));
        over_threads(&measurement, &options)?
    } else {
        Vec::new()
    };
    let network = measurement.record.clone();
    // Blocks need memory of their own.
    drop((measurement, prepared));
    let blocks = match &args.blocks {
        Some(blocks) => {
            bar.line(format!(
                "{}: full blocks of {ring_degree} images",
                model.name
            ));
            over_blocks(model, set, blocks, ring_degree, &options)?
        }
        None => Vec::new(),
    };
    drop(bar);
    Ok(Measured {
        network,
        blocks,
        threads,
    })
}
