//! The command line as a whole.

use clap::{Parser, Subcommand};
use sordino_bench::Suite;
use sordino_command::{GlobalArgs, version};

use crate::{
    compile, convert, cost, data, decrypt, demo, distill, encrypt, evaluate, explain, import,
    inspect, keygen, ranges, submit, thresholds, train, verify,
};

/// Neural networks on encrypted images.
///
/// The data owner runs keygen, encrypt and decrypt with client.plan; the model owner runs train, compile and
/// evaluate with server.plan. Exit codes: 0 good, 1 a check failed, 2 usage, 3 bad or mismatched file, 4 not possible
/// within the limits of security, precision or memory, 5 I/O, 70 a bug, 130 interrupted.
#[derive(Parser)]
#[command(name = "sordino", version = version(), arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub global: GlobalArgs,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// The whole workflow on handwritten digits in under a minute; needs no files
    Demo(demo::Args),
    /// List known data sets, or show what a path holds
    Data(data::Args),
    /// Train a network: a ReLU teacher, or one with polynomial activations
    Train(train::Args),
    /// Turn a trained network into one with polynomial activations
    Distill(Box<distill::Args>),
    /// Replace the activations of a trained network by quadratics without training its weights: what to try first
    Convert(convert::Args),
    /// Read a network exported as ONNX into a model file
    Import(import::Args),
    /// Record activation ranges into a model file
    Ranges(ranges::Args),
    /// Choose at which scores findings are decided, and calibrate probabilities, on the validation part of a set
    Thresholds(thresholds::Args),
    /// What a network costs encrypted, layer by layer, before it is trained
    Cost(cost::Args),
    /// Compile a model into server.plan and client.plan
    Compile(compile::Args),
    /// Make keys for a client plan
    Keygen(keygen::Args),
    /// Encrypt images into a request
    Encrypt(encrypt::Args),
    /// Evaluate a request into a reply, without the secret key
    Evaluate(evaluate::Args),
    /// Serve models to clients over HTTP, as the binary sordino-server does
    Serve(sordino_server::ServeArgs),
    /// Make a client's token for a server
    Token(sordino_server::TokenArgs),
    /// Decrypt a reply into predictions
    Decrypt(decrypt::Args),
    /// Classify images on a server that never sees them: encrypt, upload, wait, decrypt
    Submit(submit::Args),
    /// Compare predictions with the network in the clear
    Verify(verify::Args),
    /// Explain a plan: parameters, steps, expected costs and precision
    Explain(explain::Args),
    /// Show what any file is, recomputed from the file itself
    Inspect(inspect::Args),
    /// Measure
    #[command(subcommand)]
    Bench(Suite),
}
