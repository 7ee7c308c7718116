//! `sordino bench`

mod mnist;

use clap::Subcommand;
use sordino_server::command::GlobalArgs;

use crate::output::{Outcome, Output};

/// Arguments of `bench`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    suite: Suite,
}

#[derive(Subcommand)]
enum Suite {
    /// The committed networks for MNIST on its test images, encrypted
    Mnist(mnist::Args),
}

pub(crate) fn run(args: &Args, global: &GlobalArgs, output: &Output) -> anyhow::Result<Outcome> {
    match &args.suite {
        Suite::Mnist(args) => mnist::run(args, global, output),
    }
}
