//! `sordino bench cifar10`: a deep network on CIFAR-10's test images, in bounded memory.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;
use serde_json::Value;
use sordino::container::TemporaryFolder;
use sordino::data::{SetName, open_named, prepare};
use sordino::graph::Model;
use sordino::plan::{CompileOptions, Packing, compile};
use sordino::report::{layer_table, table, write_records};
use sordino::{
    EvaluatedApart, FilesApart, LEAST_AGREEMENT, LEAST_AGREEMENT_FLOAT, MeasureOptions, Workflow,
    is_enough, measure_apart,
};
use sordino_command::GlobalArgs;
use sordino_command::parse_size;

use crate::exit::Usage;
use crate::output::{Outcome, Output};

/// Images that the values of layers are compared on.
const LAYER_IMAGES: usize = 32;

/// Arguments of `bench cifar10`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// CIFAR-10's folder or one that holds it [default: $SORDINO_DATA, ./data, /usr/share/datasets]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Use the first N test images only; a ciphertext costs the same whatever it holds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    images: Option<u32>,
    /// The network
    #[arg(long, value_name = "NAME", default_value = "resnet9")]
    network: String,
    /// Folder of the model file, NETWORK-cifar-10.safetensors
    #[arg(long, value_name = "DIR", default_value = "models")]
    models: PathBuf,
    /// Most memory that the evaluation may take [default: most of what is free]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    memory: Option<u64>,
    /// Most scratch that the evaluation may take [default: 30GiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    scratch_limit: Option<u64>,
    /// Folder for plan, request, reply and scratch while it runs [default: the system's for temporary files]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Folder for the record
    #[arg(long, value_name = "DIR", default_value = "bench/results")]
    results: PathBuf,
    /// Print where the time goes, step by step (the record has it either way), and evaluate once more to measure how exact the values of
    /// every layer are
    #[arg(long)]
    layers: bool,
}

pub(crate) fn run(args: &Args, global: &GlobalArgs, output: &Output) -> anyhow::Result<Outcome> {
    let path = args
        .models
        .join(format!("{}-cifar-10.safetensors", args.network));
    if !path.exists() {
        return Err(Usage(format!(
            "no model {}: run this in the repository's root, or give its folder with --models",
            path.display()
        ))
        .into());
    }
    let model = Model::load(&path)?;
    let set = open_named(args.data.as_deref(), SetName::Cifar10)?;
    let count = args.images.map_or(set.test.len(), |images| images as usize);
    let images = set.test.split_at(count.min(set.test.len())).0;
    let plan = compile(
        &model,
        &CompileOptions {
            memory_bytes: args.memory,
            ..CompileOptions::new(images.len()).with_packing(Packing::ElementWise)
        },
    )?;
    output.note(plan.server.explain().to_string());
    let prepared = prepare(&images, &model.preprocess, None)?;
    let folder = TemporaryFolder::unique(args.folder.as_deref())?;
    let threads = rayon::current_num_threads();
    let options = MeasureOptions::new(global.backend()?, threads, 1);
    output.note("the networks in the clear, keys and request".to_owned());
    let labels = images.labels.as_deref();
    let again = args.layers.then(|| plan.clone());
    let evaluate = |files: &FilesApart| evaluate(files, args, &options, global);
    let mut record = measure_apart(
        &model,
        plan,
        &prepared,
        labels,
        folder.path(),
        &options,
        evaluate,
    )?;
    // An imported network is called after its file, and knows no data set.
    (record.network, record.dataset) = (args.network.clone(), SetName::Cifar10.to_string());
    if let Some(plan) = again {
        output.note("once more, with a look at the values of every layer".to_owned());
        let workflow = Workflow::new(plan, options.backend)?;
        let few = LAYER_IMAGES * workflow.plan().server.input().features;
        let measured = workflow.measure_layers(&prepared[..prepared.len().min(few)])?;
        for (layer, bits) in record.layers.iter_mut().zip(measured) {
            layer.measured_bits = bits;
        }
    }
    let written = write_records(&args.results, "cifar10", std::slice::from_ref(&record))?;
    output.note(format!("wrote {}", written.display()));
    let enough = |share: Option<f64>, least: f64| {
        share.is_none_or(|share| is_enough(share, least, record.images as usize))
    };
    let good = enough(record.agreement, LEAST_AGREEMENT)
        && enough(record.agreement_float, LEAST_AGREEMENT_FLOAT);
    output.result(&[&record], || {
        let mut text = table(std::slice::from_ref(&record));
        if args.layers {
            text += &format!("\n{}", layer_table(&record));
        }
        text.trim_end().to_owned()
    })?;
    Ok(if good {
        Outcome::Good
    } else {
        Outcome::CheckFailed
    })
}

/// Evaluates in a process of its own, which shows its progress.
fn evaluate(
    files: &FilesApart,
    args: &Args,
    options: &MeasureOptions<'_>,
    global: &GlobalArgs,
) -> anyhow::Result<EvaluatedApart> {
    let trace = files.reply.with_extension("trace");
    let mut command = Command::new(std::env::current_exe().context("the path of this program")?);
    command.args(["evaluate", "--json", "--backend", options.backend.name]);
    command.args(["--threads", &options.threads.to_string()]);
    let mut path = |flag: &str, path: &Path| {
        command.arg(flag).arg(path);
    };
    path("--plan", &files.plan);
    path("--request", &files.request);
    path("--out", &files.reply);
    path("--trace", &trace);
    if let Some(keys) = &files.keys {
        path("--keys", keys);
    }
    for (flag, bytes) in [
        ("--memory", args.memory),
        ("--scratch-limit", args.scratch_limit),
    ] {
        if let Some(bytes) = bytes {
            command.args([flag, &bytes.to_string()]);
        }
    }
    if global.quiet {
        command.arg("--quiet");
    }
    let result = command
        .stderr(Stdio::inherit())
        .output()
        .context("starting the evaluation")?;
    anyhow::ensure!(
        result.status.success(),
        "the evaluation failed ({})",
        result.status
    );
    let evaluation: Value = serde_json::from_slice(&result.stdout)?;
    let trace: Value = serde_json::from_slice(&std::fs::read(&trace)?)?;
    let seconds = |name: &str| {
        let seconds = evaluation[name].as_f64();
        seconds.with_context(|| format!("the evaluation did not say its {name}"))
    };
    let steps = trace["steps"].as_array().into_iter().flatten();
    Ok(EvaluatedApart {
        read_seconds: seconds("read_seconds")?,
        evaluate_seconds: seconds("evaluate_seconds")?,
        peak_rss_bytes: evaluation["peak_rss_bytes"].as_u64(),
        steps: steps
            .filter_map(|step| Some((step["step"].as_u64()? as usize, step["seconds"].as_f64()?)))
            .collect(),
    })
}
