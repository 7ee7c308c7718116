//! How a stage's program starts and ends.

use std::fmt::Display;
use std::process::ExitCode;

use crate::{Folders, Size};

/// Runs the stage of one instance: the only argument is its size, the working directory the suite's root.
///
/// Ends with 0, with 1 after an error of the stage, which is printed, or with 2 for wrong arguments. The suite stops at the first stage that
/// does not end with 0.
pub fn run_sized<E: Display>(
    program: &str,
    stage: impl FnOnce(&Folders) -> Result<(), E>,
) -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let size = arguments.next().as_deref().and_then(Size::from_argument);
    match (size, arguments.next()) {
        (Some(size), None) => finish(program, stage(&Folders::new(".", size))),
        _ => {
            eprintln!(
                "{program}: expected one argument, the size: 0 for 1 image, 1 for 100, 2 for 1,000, 3 for 10,000"
            );
            ExitCode::from(2)
        }
    }
}

/// Runs a stage that is the same for all instances and passes over arguments.
pub fn run_for_all<E: Display>(program: &str, stage: impl FnOnce() -> Result<(), E>) -> ExitCode {
    finish(program, stage())
}

fn finish<E: Display>(program: &str, outcome: Result<(), E>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{program}: {error}");
            ExitCode::FAILURE
        }
    }
}
