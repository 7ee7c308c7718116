//! Exit codes of errors, by what the user can do about them.

use std::error::Error as StdError;

use sordino_command::exit;
use sordino_fault::{Classified, Fault};

/// A command line that clap cannot tell to be wrong.
#[derive(Debug)]
pub(crate) struct Usage(pub String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for Usage {}

/// Files that do not belong together.
#[derive(Debug)]
pub(crate) struct Mismatch(pub String);

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for Mismatch {}

/// The exit code of an error: that of the first cause whose fault is known. An error without one is a bug.
pub(crate) fn code(error: &anyhow::Error) -> u8 {
    exit::code(error.chain().find_map(fault_of).unwrap_or(Fault::Bug))
}

fn fault_of(error: &(dyn StdError + 'static)) -> Option<Fault> {
    macro_rules! known {
        ($($classified:ty),* ; $($kind:ty => $fault:expr),* $(,)?) => {
            $(if let Some(error) = error.downcast_ref::<$classified>() {
                return Some(error.fault());
            })*
            $(if let Some(error) = error.downcast_ref::<$kind>() {
                let fault: fn(&$kind) -> Fault = $fault;
                return Some(fault(error));
            })*
        };
    }
    known! {
        sordino_ckks::Error, sordino_client::Error, sordino_command::Error, sordino_container::Error, sordino_data::Error, sordino_evaluator::Error,
        sordino_graph::Error, sordino_plan::Error, sordino_protocol::Error, sordino_ring::Error, sordino_runtime::Error,
        sordino_secret::Error, sordino_server::Error;
        Usage => |_| Fault::Usage,
        Mismatch => |_| Fault::BadFile,
        sordino::Error => of_sordino,
        sordino_report::Error => of_report,
        sordino_train::Error => of_train,
        sordino::onnx::Error => of_onnx,
        std::io::Error => |_| Fault::Io,
    }
    None
}

fn of_train(error: &sordino_train::Error) -> Fault {
    use sordino_train::Error as E;
    match error {
        E::UnknownArchitecture { .. }
        | E::UnknownActivation { .. }
        | E::Layer { .. }
        | E::Config { .. } => Fault::Usage,
        E::Diverged { .. } => Fault::Limits,
        E::File(error) => error.fault(),
        E::Graph(error) => error.fault(),
        E::DataSet(error) => error.fault(),
        _ => Fault::BadFile,
    }
}

fn of_onnx(error: &sordino::onnx::Error) -> Fault {
    match error {
        sordino::onnx::Error::Graph(error) => error.fault(),
        _ => Fault::BadFile,
    }
}

fn of_report(error: &sordino_report::Error) -> Fault {
    match error {
        sordino_report::Error::Io { .. } => Fault::Io,
        sordino_report::Error::Malformed { .. } => Fault::BadFile,
        _ => Fault::Usage,
    }
}

fn of_sordino(error: &sordino::Error) -> Fault {
    use sordino::Error as E;
    match error {
        E::Train(error) => of_train(error),
        E::Data(error) => error.fault(),
        E::Graph(error) => error.fault(),
        E::Plan(error) => error.fault(),
        E::Client(error) => error.fault(),
        E::Protocol(error) => error.fault(),
        E::Runtime(error) => error.fault(),
        E::Scheme(error) => error.fault(),
        E::Ring(error) => error.fault(),
        E::File(error) => error.fault(),
        E::ShiftedImages { .. }
        | E::TooFewImages { .. }
        | E::Threads { .. }
        | E::ElementWiseOnly => Fault::Usage,
        _ => Fault::BadFile,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    const USAGE: u8 = 2;
    const BAD_FILE: u8 = 3;
    const IMPOSSIBLE: u8 = 4;
    const IO: u8 = 5;
    const BUG: u8 = 70;

    #[test]
    fn causes_are_found_through_context() {
        let io = || std::io::Error::other("disk");
        let wrapped = Err::<(), _>(io()).context("while writing").unwrap_err();
        assert_eq!(code(&wrapped), IO);
        let exists = sordino_container::Error::Exists { path: "x".into() };
        assert_eq!(code(&sordino::Error::File(exists).into()), USAGE);
        let full = sordino_container::Error::io("x", "write", io());
        assert_eq!(code(&sordino_client::Error::File(full).into()), IO);
        assert_eq!(code(&Usage("x".into()).into()), USAGE);
        assert_eq!(code(&Mismatch("x".into()).into()), BAD_FILE);
        assert_eq!(code(&anyhow::anyhow!("nobody knows")), BUG);
        let refused = |status| sordino_client::Error::Refused {
            what: "x".into(),
            server: "y".into(),
            status,
            kind: None,
            detail: "z".into(),
        };
        let codes = [
            (401, USAGE),
            (404, USAGE),
            (422, BAD_FILE),
            (429, IMPOSSIBLE),
            (503, IO),
        ];
        for (status, expected) in codes {
            assert_eq!(code(&refused(status).into()), expected, "{status}");
            let gave_up = sordino_client::Error::GaveUp {
                seconds: 1.0,
                last: Box::new(refused(status)),
            };
            assert_eq!(code(&gave_up.into()), expected, "{status}");
        }
        let relu = sordino_graph::Error::Relu { node: "x".into() };
        assert_eq!(code(&sordino_plan::Error::Graph(relu).into()), BAD_FILE);
    }
}
