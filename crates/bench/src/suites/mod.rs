//! The suites of `sordino bench`: arguments, and what each runs, keeps and prints.

mod ablation;
mod accuracy;
mod blocks;
mod calibrate;
mod cifar10;
mod kernels;
mod mnist;
mod paper;
mod places;

use clap::Subcommand;
use sordino_command::{GlobalArgs, Outcome, Output};

/// A suite with its arguments.
#[derive(Subcommand)]
pub enum Suite {
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
    /// Compare channel-wise and element-wise packing, over batch sizes, with a report
    Paper(paper::Args),
    /// Measure what operations cost on this machine, for `compile --cost`
    Calibrate(calibrate::Args),
}

impl Suite {
    /// Runs the suite.
    ///
    /// # Errors
    /// Those of everything that the suite does.
    pub fn run(&self, global: &GlobalArgs, output: &Output) -> anyhow::Result<Outcome> {
        match self {
            Self::Kernels(args) => kernels::run(args, global, output),
            Self::Mnist(args) => mnist::run(args, global, output),
            Self::Accuracy(args) => accuracy::run(args, global, output),
            Self::Cifar10(args) => cifar10::run(args, global, output),
            Self::Ablation(args) => ablation::run(args, global, output),
            Self::Paper(args) => paper::run(args, global, output),
            Self::Calibrate(args) => calibrate::run(args, global, output),
        }
    }
}
