//! The server binary: `serve`, `token`, `evaluate`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use sordino_server::command::{EvaluateArgs, GlobalArgs, version};
use sordino_server::{Error, ServeArgs, TokenArgs, exit, terminal};

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

fn main() -> ExitCode {
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
            ExitCode::from(exit::code_of(&error).unwrap_or(exit::BUG))
        }
        // The hook has said what happened.
        Err(_) => ExitCode::from(exit::BUG),
    }
}

fn run(arguments: &Arguments) -> Result<(), Error> {
    arguments.global.start_threads()?;
    let evaluate = match &arguments.command {
        Command::Serve(serve) => return serve.run(&arguments.global),
        Command::Token(token) => {
            let entry = token.run(&arguments.global)?;
            return terminal::print_line(entry).map_err(Error::Output);
        }
        Command::Evaluate(evaluate) => evaluate,
    };
    let evaluation = evaluate.run(&arguments.global)?;
    let text = if arguments.global.json {
        serde_json::to_string_pretty(&evaluation).map_err(|error| Error::Output(error.into()))?
    } else if arguments.global.quiet {
        return Ok(());
    } else {
        evaluation.summary()
    };
    terminal::print_line(text).map_err(Error::Output)
}
