//! The `sordino` command line: arguments and output. One file per verb; the work is in the libraries.

#[cfg(test)]
mod advice;
mod arguments;
mod classes;
mod compile;
mod convert;
mod cost;
mod data;
mod decrypt;
mod decrypt_report;
mod demo;
mod demo_clinic;
mod distill;
mod encrypt;
mod evaluate;
mod exit;
mod explain;
mod findings_report;
mod import;
mod inspect;
mod inspect_file;
mod keygen;
mod one_of;
mod passphrase;
mod ranges;
#[cfg(test)]
mod reference;
mod replaced;
mod report;
mod submit;
mod thresholds;
mod train;
mod training;
mod verify;
mod verify_findings;
mod verify_report;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::Parser;
use sordino_command::{Allocator, GlobalArgs, Outcome, Output, terminal};
use sordino_fault::Fault;

use arguments::{Arguments, Command};

#[global_allocator]
static ALLOCATOR: Allocator = Allocator::new("sordino");

fn main() -> ExitCode {
    ALLOCATOR.keep_reserve();
    terminal::report_panics("sordino");
    if let Err(reason) = terminal::handle_interrupts() {
        terminal::say(format_args!("sordino: Ctrl-C cannot be handled: {reason}"));
    }
    let arguments = Arguments::parse();
    match catch_unwind(AssertUnwindSafe(|| run(&arguments))) {
        Ok(Ok(Outcome::Good)) => ExitCode::SUCCESS,
        Ok(Ok(Outcome::CheckFailed)) => ExitCode::from(sordino_command::exit::CHECK_FAILED),
        Ok(Err(error)) => {
            terminal::say(format_args!("sordino: {error:#}"));
            ExitCode::from(exit::code(&error))
        }
        // The hook has said what happened.
        Err(_) => ExitCode::from(sordino_command::exit::code(Fault::Bug)),
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let global = &arguments.global;
    global.start_threads()?;
    // Refuses a wrong name before any work, whatever the command.
    global.backend()?;
    dispatch(&arguments.command, global, &Output::new(global))
}

fn dispatch(command: &Command, global: &GlobalArgs, output: &Output) -> anyhow::Result<Outcome> {
    match command {
        Command::Demo(arguments) => demo::run(arguments, global, output),
        Command::Data(arguments) => data::run(arguments, output),
        Command::Train(arguments) => train::run(arguments, global, output),
        Command::Distill(arguments) => distill::run(arguments, global, output),
        Command::Convert(arguments) => convert::run(arguments, global, output),
        Command::Import(arguments) => import::run(arguments, global, output),
        Command::Ranges(arguments) => ranges::run(arguments, global, output),
        Command::Thresholds(arguments) => thresholds::run(arguments, global, output),
        Command::Cost(arguments) => cost::run(arguments, output),
        Command::Compile(arguments) => compile::run(arguments, global, output),
        Command::Keygen(arguments) => keygen::run(arguments, global, output),
        Command::Encrypt(arguments) => encrypt::run(arguments, global, output),
        Command::Evaluate(arguments) => evaluate::run(arguments, global, output),
        Command::Serve(arguments) => {
            arguments.run(global)?;
            Ok(Outcome::Good)
        }
        Command::Token(arguments) => {
            terminal::print_line(arguments.run(global)?)?;
            Ok(Outcome::Good)
        }
        Command::Decrypt(arguments) => decrypt::run(arguments, global, output),
        Command::Submit(arguments) => submit::run(arguments, global, output),
        Command::Verify(arguments) => verify::run(arguments, global, output),
        Command::Explain(arguments) => explain::run(arguments, output),
        Command::Inspect(arguments) => inspect::run(arguments, output),
        Command::Bench(suite) => suite.run(global, output),
    }
}
