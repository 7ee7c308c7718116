//! `sordino bench`

mod ablation;
mod accuracy;
mod apart;
mod calibrate;
mod cifar10;
mod kernels;
mod mnist;
mod paper;
mod series;

use clap::Subcommand;
use sordino_command::GlobalArgs;

use crate::output::{Outcome, Output};

/// Arguments of `bench`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    suite: Suite,
}

#[derive(Subcommand)]
enum Suite {
    /// Products, transforms and the rest of the arithmetic, one by one, on every back end; needs no files
    Kernels(kernels::Args),
    /// The committed networks for MNIST on its test images, encrypted
    Mnist(mnist::Args),
    /// The committed models on the test images of their data sets
    Accuracy(accuracy::Args),
    /// A deep network on CIFAR-10's test images, encrypted, in bounded memory
    Cifar10(cifar10::Args),
    /// Train networks with quadratics per layer, channel and element, with and without distillation
    Ablation(ablation::Args),
    /// Channel-wise packing beside element-wise, over batch sizes, with a report
    Paper(paper::Args),
    /// Measure what operations cost on this machine, for `compile --cost`
    Calibrate(calibrate::Args),
}

pub(crate) fn run(args: &Args, global: &GlobalArgs, output: &Output) -> anyhow::Result<Outcome> {
    match &args.suite {
        Suite::Kernels(args) => kernels::run(args, global, output),
        Suite::Mnist(args) => mnist::run(args, global, output),
        Suite::Accuracy(args) => accuracy::run(args, global, output),
        Suite::Cifar10(args) => cifar10::run(args, global, output),
        Suite::Ablation(args) => ablation::run(args, global, output),
        Suite::Paper(args) => paper::run(args, global, output),
        Suite::Calibrate(args) => calibrate::run(args, global, output),
    }
}
