//! Exit codes of the service's errors.

use sordino_command::exit::{IO, USAGE, code_of, of_evaluator};

use crate::Error;

/// The exit code of an error of the service.
pub fn code(error: &Error) -> u8 {
    match error {
        Error::Config { .. } => USAGE,
        Error::Model { source, .. } => code(source),
        Error::Service { .. } | Error::Entropy { .. } => IO,
        Error::Evaluator(error) => of_evaluator(error),
        Error::Plan(error) => code_of(error).unwrap_or(IO),
        Error::Scheme(error) => code_of(error).unwrap_or(IO),
        Error::Command(error) => code_of(error).unwrap_or(IO),
        Error::File(error) => code_of(error).unwrap_or(IO),
    }
}
