//! Exit codes, one for each sort of trouble.

use std::error::Error as StdError;

use sordino_container::Fault;

use crate::Error;

/// A check that was asked for failed.
pub const CHECK_FAILED: u8 = 1;
/// The command line asks for something that makes no sense.
pub const USAGE: u8 = 2;
/// A file is damaged, of another kind or version, or does not fit the others.
pub const BAD_FILE: u8 = 3;
/// Not possible within the limits of security, precision or memory.
pub const IMPOSSIBLE: u8 = 4;
/// The operating system could not read or write.
pub const IO: u8 = 5;
/// A bug.
pub const BUG: u8 = 70;
/// Ended by Ctrl-C or another request to end.
pub const INTERRUPTED: u8 = 130;

/// The exit code of an error of one of the crates that the evaluating side is made of; `None` for any other.
pub fn code_of(error: &(dyn StdError + 'static)) -> Option<u8> {
    if let Some(error) = error.downcast_ref::<Error>() {
        return Some(of_command(error));
    }
    if let Some(error) = error.downcast_ref::<sordino_evaluator::Error>() {
        return Some(of_evaluator(error));
    }
    if let Some(error) = error.downcast_ref::<sordino_container::Error>() {
        return Some(of_file(error));
    }
    if let Some(error) = error.downcast_ref::<sordino_ckks::Error>() {
        return Some(of_scheme(error));
    }
    if let Some(error) = error.downcast_ref::<sordino_ring::Error>() {
        return Some(of_ring(error));
    }
    if let Some(error) = error.downcast_ref::<sordino_plan::Error>() {
        return Some(of_plan(error));
    }
    if let Some(error) = error.downcast_ref::<sordino_protocol::Error>() {
        return Some(of_protocol(error));
    }
    error
        .downcast_ref::<sordino_runtime::Error>()
        .map(of_runtime)
}

/// The exit code of a fault of a file.
pub fn of_fault(fault: Fault) -> u8 {
    match fault {
        Fault::BadFile => BAD_FILE,
        Fault::Io => IO,
        Fault::Exists => USAGE,
    }
}

/// The exit code of a file error.
pub fn of_file(error: &sordino_container::Error) -> u8 {
    of_fault(error.kind())
}

/// The exit code of an error of the scheme.
pub fn of_scheme(error: &sordino_ckks::Error) -> u8 {
    use sordino_ckks::Error as E;
    match error {
        E::Insecure { .. } => IMPOSSIBLE,
        E::Ring(error) => of_ring(error),
        E::Container(error) => of_file(error),
        _ => BAD_FILE,
    }
}

/// The exit code of an error of ring arithmetic.
pub fn of_ring(error: &sordino_ring::Error) -> u8 {
    match error {
        sordino_ring::Error::Backend { .. } => USAGE,
        sordino_ring::Error::Entropy { .. } => IO,
        _ => BAD_FILE,
    }
}

fn of_plan(error: &sordino_plan::Error) -> u8 {
    use sordino_plan::Error as E;
    match error {
        E::Impossible { .. }
        | E::Memory { .. }
        | E::Scratch { .. }
        | E::Overflow { .. }
        | E::Weights { .. } => IMPOSSIBLE,
        E::Batch { .. } => USAGE,
        E::File(error) => of_file(error),
        E::Scheme(error) => of_scheme(error),
        E::Graph(error) => of_fault(error.kind()),
        _ => BAD_FILE,
    }
}

/// The exit code of an error of a request or reply.
pub fn of_protocol(error: &sordino_protocol::Error) -> u8 {
    match error {
        sordino_protocol::Error::File(error) => of_file(error),
        _ => BAD_FILE,
    }
}

fn of_runtime(error: &sordino_runtime::Error) -> u8 {
    match error {
        sordino_runtime::Error::MissingKey { .. } => USAGE,
        sordino_runtime::Error::Plan(error) => of_plan(error),
        sordino_runtime::Error::NoScratch { .. } => IMPOSSIBLE,
        sordino_runtime::Error::Scratch(error) => of_file(error),
        _ => BAD_FILE,
    }
}

fn of_command(error: &Error) -> u8 {
    match error {
        Error::Threads { .. } => USAGE,
        Error::Output(_) => IO,
        Error::Ring(error) => of_ring(error),
        Error::Evaluator(error) => of_evaluator(error),
    }
}

/// The exit code of an error of the evaluation.
pub fn of_evaluator(error: &sordino_evaluator::Error) -> u8 {
    use sordino_evaluator::Error as E;
    match error {
        E::MissingKey | E::Threads { .. } | E::LessMemory { .. } => USAGE,
        E::Memory { .. } => IMPOSSIBLE,
        E::Busy { .. } | E::Space { .. } => IO,
        E::Protocol(error) => of_protocol(error),
        E::Runtime(error) => of_runtime(error),
        E::Plan(error) => of_plan(error),
        E::Scheme(error) => of_scheme(error),
        E::Ring(error) => of_ring(error),
        E::File(error) => of_file(error),
        _ => BAD_FILE,
    }
}
