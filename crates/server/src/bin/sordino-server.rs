//! The server binary: `serve`, `token`, `evaluate`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use sordino_command::exit::code;
use sordino_command::{
    Allocator, Error as CommandError, EvaluateArgs, GlobalArgs, summary, terminal, version,
};
use sordino_fault::{Classified, Fault};
use sordino_server::{Error, ServeArgs, TokenArgs};

/// Evaluates neural networks on encrypted images. Holds no secret key.
#[derive(Parser)]
#[command(name = "sordino-server", version = version())]
struct Arguments {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve models to clients over HTTP
    Serve(ServeArgs),
    /// Make a client's token
    Token(TokenArgs),
    /// Evaluate a request file and write the reply file
    Evaluate(EvaluateArgs),
}

#[global_allocator]
static ALLOCATOR: Allocator = Allocator::new("sordino-server");

fn main() -> ExitCode {
    ALLOCATOR.keep_reserve();
    terminal::report_panics("sordino-server");
    if let Err(reason) = terminal::handle_interrupts() {
        terminal::say(format_args!(
            "sordino-server: Ctrl-C cannot be handled: {reason}"
        ));
    }
    let arguments = Arguments::parse();
    match catch_unwind(AssertUnwindSafe(|| run(&arguments))) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            terminal::say(format_args!("sordino-server: {error}"));
            ExitCode::from(code(error.fault()))
        }
        // The hook has said what happened.
        Err(_) => ExitCode::from(code(Fault::Bug)),
    }
}

fn run(arguments: &Arguments) -> Result<(), Error> {
    arguments.global.start_threads()?;
    let evaluate = match &arguments.command {
        Command::Serve(serve) => return serve.run(&arguments.global),
        Command::Token(token) => {
            let entry = token.run(&arguments.global)?;
            return print(entry);
        }
        Command::Evaluate(evaluate) => evaluate,
    };
    let evaluation = evaluate.run(&arguments.global)?;
    let text = if arguments.global.json {
        serde_json::to_string_pretty(&evaluation)
            .map_err(|error| CommandError::Output(error.into()))?
    } else if arguments.global.quiet {
        return Ok(());
    } else {
        summary(&evaluation)
    };
    print(text)
}

fn print(text: String) -> Result<(), Error> {
    Ok(terminal::print_line(text).map_err(CommandError::Output)?)
}
