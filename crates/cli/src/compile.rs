//! `sordino compile`

use std::path::PathBuf;

use serde_json::json;
use sordino::Model;
use sordino::compile;
use sordino::plan::{CheckImageCount, CompileOptions, CostTable, PackingKind};
use sordino::{PlanFiles, container::Error as FileError};
use sordino_command::parse_size;
use sordino_command::{GlobalArgs, Outcome, Output};

/// Arguments of `compile`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The model file
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Most images of a request
    #[arg(long, value_name = "B")]
    batch: usize,
    /// Folder for server.plan and client.plan
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// How images lie in ciphertexts: auto takes what is expected to be faster for the batch
    #[arg(long, default_value = "auto", value_parser = ["auto", "element-wise", "channel-wise"])]
    packing: String,
    /// Largest error of a logit that noise may cause, as -log2 [default: 1/300 of the largest logit of usual images]
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    precision_bits: Option<f64>,
    /// Most memory of the evaluator, such as 4G
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    memory: Option<u64>,
    /// What operations cost on the evaluating machine [default: a built-in table]
    #[arg(long, value_name = "FILE")]
    cost: Option<PathBuf>,
    /// Fix the ring degree: 4096, 8192, 16384 or 32768
    #[arg(long, value_name = "N")]
    ring_degree: Option<usize>,
    /// Fix how many images share a channel-wise ciphertext, a power of two
    #[arg(long, value_name = "K")]
    block_images: Option<usize>,
    /// Fix the bits of every weight instead of choosing 8 or 16 per layer
    #[arg(long, value_name = "BITS", value_parser = clap::value_parser!(u8).range(2..=16))]
    weight_bits: Option<u8>,
    /// Images in each block whose right scores the client knows and the server cannot find: blocks are added if there is no room,
    /// 0 is none [default: 16 where there is room]
    #[arg(long, value_name = "N")]
    check_images: Option<usize>,
}

pub(crate) fn run(args: &Args, global: &GlobalArgs, output: &Output) -> anyhow::Result<Outcome> {
    // No kind is called "auto".
    let kinds = [PackingKind::ElementWise, PackingKind::ChannelWise];
    let options = CompileOptions {
        packing: kinds
            .into_iter()
            .find(|kind| kind.to_string() == args.packing),
        precision_bits: args.precision_bits,
        memory_bytes: args.memory,
        ring_degree: args.ring_degree,
        block_images: args.block_images,
        weight_bits: args.weight_bits,
        check_images: args
            .check_images
            .map_or(CheckImageCount::Auto, CheckImageCount::Exactly),
        cost: match &args.cost {
            Some(path) => CostTable::read(path)?,
            None => CostTable::default(),
        },
        ..CompileOptions::new(args.batch)
    };
    let model = Model::load(&args.model)?;
    let plan = compile(&model, &options)?;
    // Before anything runs, and before anything is written.
    let mut explanation = plan.server.explain();
    explanation.check_tolerance = plan.client.check_tolerance();
    output.text(&explanation)?;
    let files = PlanFiles::create(&args.out, global.overwrite())?;
    let (server, client) = files.write(&plan)?;
    let size = |path: &PathBuf| {
        std::fs::metadata(path)
            .map(|data| data.len())
            .map_err(|error| FileError::io(path, "look up", error))
    };
    let (server_bytes, client_bytes) = (size(&server)?, size(&client)?);
    let result = json!({
        "plan": plan.server.digest(),
        "model": plan.server.model(),
        "server_plan": server,
        "client_plan": client,
        "server_plan_bytes": server_bytes,
        "client_plan_bytes": client_bytes,
        "explanation": explanation,
    });
    output.result(&result, || {
        format!(
            "wrote {} ({server_bytes} bytes: weights, for the evaluating side) and {} ({client_bytes} bytes: for the data owner)",
            server.display(),
            client.display()
        )
    })?;
    Ok(Outcome::Good)
}
