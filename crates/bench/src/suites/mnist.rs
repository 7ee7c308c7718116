//! `sordino bench mnist`: the committed networks on MNIST's test images.

use anyhow::ensure;
use sordino::Model;
use sordino::compile;
use sordino::data::{DataSet, Images, SetName, prepare};
use sordino::plan::{CompileOptions, PackingKind};
use sordino::train::{Architecture, TrainConfig, TrainingData, train};
use sordino_command::terminal::Bar;
use sordino_command::{GlobalArgs, Outcome, Output};

use super::blocks::{Blocks, over_blocks};
use super::places::{DataArgs, ModelArgs, ResultArgs};
use crate::measure::{MeasureOptions, measure, measure_thread_scaling, set_separate};
use crate::record::{Record, block_table, layer_table, table, thread_table};
use crate::{Error, show_training};

/// Arguments of `bench mnist`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    data: DataArgs,
    /// Use the first N test images only
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    images: Option<u32>,
    /// Networks to measure
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_values = ["mlp", "cryptonets"])]
    networks: Vec<String>,
    #[command(flatten)]
    models: ModelArgs,
    /// Train the networks instead of loading the committed models, which stay as they are
    #[arg(long)]
    retrain: bool,
    #[command(flatten)]
    results: ResultArgs,
    /// Runs whose median counts; one longer than a minute is the only one
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    runs: u16,
    /// Print where the time of each evaluation goes, step by step (the records have it either way)
    #[arg(long)]
    layers: bool,
    /// Also measure the time per image on A, A + 1, ... to B full ciphertext blocks (or on just A)
    #[arg(long, value_name = "A..B")]
    blocks: Option<Blocks>,
    /// Also measure the same request with one thread, against the threads of --threads
    #[arg(long)]
    thread_scaling: bool,
}

/// The records of one network.
struct Measured {
    network: Record,
    blocks: Vec<Record>,
    threads: Vec<Record>,
}

pub(super) fn run(args: &Args, global: &GlobalArgs, output: &Output) -> anyhow::Result<Outcome> {
    ensure!(
        !args.thread_scaling || rayon::current_num_threads() > 1,
        Error::Usage(
            "--thread-scaling compares several threads with one, and there is one: give --threads 2 or more".into(),
        )
    );
    // Loads all files first, so that a missing one is refused before minutes of work.
    let networks = args.networks.iter().filter(|_| !args.retrain);
    let mut models = networks
        .map(|network| args.models.load(&format!("{network}-mnist")))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let set = args.data.open(SetName::Mnist)?;
    if args.retrain {
        models = retrain(&args.networks, &set, global)?;
    }
    let count = args.images.map_or(set.test.len(), |images| images as usize);
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
    let series = measured
        .iter()
        .flat_map(|m| m.blocks.iter().chain(&m.threads));
    let records: Vec<Record> = networks.iter().chain(series).cloned().collect();
    args.results.finish("mnist", &records, output, || {
        let mut text = table(&networks);
        for found in &measured {
            let name = &found.network.network;
            if args.layers {
                text += &format!("\n{name}: steps\n{}", layer_table(&found.network));
            }
            if !found.blocks.is_empty() {
                text += &format!("\n{name}: full blocks\n{}", block_table(&found.blocks));
            }
            if !found.threads.is_empty() {
                text += &format!("\n{name}: threads\n{}", thread_table(&found.threads));
            }
        }
        text
    })
}

/// Trains the networks with the recipes of the committed files; test images take no part.
fn retrain(networks: &[String], set: &DataSet, global: &GlobalArgs) -> anyhow::Result<Vec<Model>> {
    let architectures = networks
        .iter()
        .map(|network| network.parse())
        .collect::<Result<Vec<Architecture>, _>>()?;
    let data = TrainingData::from_set(set)?;
    let mut models = Vec::new();
    for architecture in &architectures {
        let bar = Bar::new("train", global.quiet);
        let config = TrainConfig::for_architecture(architecture);
        let mut progress = |progress: &_| show_training(&bar, progress, architecture.name());
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
    let options = CompileOptions::new(images.len()).with_packing(PackingKind::ElementWise);
    let plan = compile(model, &options)?;
    let predicted = plan.server.estimate().precision_bits;
    let ring_degree = plan.server.parameters().ring_degree();
    let prepared = prepare(images, &model.preprocess, None)?;
    let bar = Bar::new("evaluate", global.quiet);
    let options = MeasureOptions::new(global.backend()?, usize::from(args.runs), &bar);
    let mut measurement = measure(model, plan, &prepared, images.labels.as_deref(), &options)?;
    set_separate(&mut measurement, &options)?;
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
        measure_thread_scaling(&measurement, &[1, options.threads], &options)?
    } else {
        Vec::new()
    };
    let network = measurement.record.clone();
    // Frees the memory for the blocks.
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
    Ok(Measured {
        network,
        blocks,
        threads,
    })
}
