//! `sordino bench cifar10`: a deep network on CIFAR-10's test images, in bounded memory.

use std::path::PathBuf;

use sordino::compile;
use sordino::data::{SetName, prepare};
use sordino::plan::{CompileOptions, PackingKind};
use sordino::{LEAST_AGREEMENT, LEAST_AGREEMENT_FLOAT, Workflow, is_enough};
use sordino_command::terminal::Bar;
use sordino_command::{GlobalArgs, Outcome, Output, parse_size};

use super::places::{DataArgs, ModelArgs, ResultArgs};
use crate::measure::{MeasureOptions, SeparateOptions, measure_layers, measure_separately};
use crate::record::{layer_table, table};

/// Images that the values of layers are compared on.
const LAYER_IMAGES: usize = 32;

/// Arguments of `bench cifar10`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    data: DataArgs,
    /// Use the first N test images only; a ciphertext costs the same whatever it holds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    images: Option<u32>,
    /// The network
    #[arg(long, value_name = "NAME", default_value = "resnet9")]
    network: String,
    #[command(flatten)]
    models: ModelArgs,
    /// Most memory that the evaluation may take [default: most of what is free]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    memory: Option<u64>,
    /// Most scratch that the evaluation may take [default: 30GiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    scratch_limit: Option<u64>,
    /// Folder for plan, request, reply and scratch while it runs [default: the system's for temporary files]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    #[command(flatten)]
    results: ResultArgs,
    /// Print where the time goes, step by step (the record has it either way), and evaluate once more to measure how exact the values of
    /// every layer are
    #[arg(long)]
    layers: bool,
}

pub(super) fn run(args: &Args, global: &GlobalArgs, output: &Output) -> anyhow::Result<Outcome> {
    let model = args.models.load(&format!("{}-cifar-10", args.network))?;
    let set = args.data.open(SetName::Cifar10)?;
    let count = args.images.map_or(set.test.len(), |images| images as usize);
    let images = set.test.split_at(count).0;
    let compile_options = CompileOptions {
        memory_bytes: args.memory,
        ..CompileOptions::new(images.len()).with_packing(PackingKind::ElementWise)
    };
    let plan = compile(&model, &compile_options)?;
    output.note(plan.server.explain().to_string());
    let prepared = prepare(&images, &model.preprocess, None)?;
    // The other process shows its own progress.
    let bar = Bar::new("evaluate", true);
    let options = MeasureOptions::new(global.backend()?, 1, &bar);
    output.note("the networks in the clear, keys and request");
    let limit = |flag: &str, bytes: Option<u64>| Some([flag.to_owned(), bytes?.to_string()]);
    let limits = [
        limit("--memory", args.memory),
        limit("--scratch-limit", args.scratch_limit),
    ];
    let separate = SeparateOptions {
        folder: args.folder.clone(),
        quiet: global.quiet,
        arguments: limits.into_iter().flatten().flatten().collect(),
    };
    let labels = images.labels.as_deref();
    let again = args.layers.then(|| plan.clone());
    let mut record = measure_separately(&model, plan, &prepared, labels, &options, &separate)?;
    // An imported network has the name of its file, and no data set.
    (record.network, record.dataset) = (args.network.clone(), SetName::Cifar10.to_string());
    if let Some(plan) = again {
        output.note("once more, comparing the values of every layer");
        let workflow = Workflow::new(plan, options.backend)?;
        let few = LAYER_IMAGES * workflow.evaluator().plan().input().features;
        let measured = measure_layers(&workflow, &prepared[..prepared.len().min(few)])?;
        for (layer, bits) in record.layers.iter_mut().zip(measured) {
            layer.measured_bits = bits;
        }
    }
    let records = std::slice::from_ref(&record);
    args.results.keep("cifar10", records, output)?;
    let enough = |share: Option<f64>, least: f64| {
        share.is_none_or(|share| is_enough(share, least, record.images as usize))
    };
    let good = enough(record.agreement, LEAST_AGREEMENT)
        && enough(record.agreement_float, LEAST_AGREEMENT_FLOAT);
    output.result(&records, || {
        let mut text = table(records);
        if args.layers {
            text += &format!("\n{}", layer_table(&record));
        }
        text.trim_end().to_owned()
    })?;
    Ok(match good {
        true => Outcome::Good,
        false => Outcome::CheckFailed,
    })
}
