//! Exit codes of errors, by what the user can do about them.

use std::error::Error as StdError;

use sordino_command::exit::{
    BAD_FILE, BUG, IMPOSSIBLE, INTERRUPTED, IO, USAGE, code_of, of_fault, of_file, of_protocol,
    of_ring, of_scheme,
};

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

/// The exit code of an error: that of the first cause that is known; one that nobody knows is a bug.
pub(crate) fn code(error: &anyhow::Error) -> u8 {
    error.chain().find_map(of_cause).unwrap_or(BUG)
}

fn of_cause(error: &(dyn StdError + 'static)) -> Option<u8> {
    macro_rules! known {
        ($($kind:ty => $code:expr),* $(,)?) => {
            $(if let Some(error) = error.downcast_ref::<$kind>() {
                let code: fn(&$kind) -> u8 = $code;
                return Some(code(error));
            })*
        };
    }
    known! {
        Usage => |_| USAGE,
        Mismatch => |_| BAD_FILE,
        sordino::Error => of_sordino,
        sordino_client::Error => of_client,
        sordino_data::Error => of_data,
        sordino_graph::Error => of_graph,
        sordino_plan::Error => of_plan,
        sordino_report::Error => of_report,
        sordino_secret::Error => of_secret,
        sordino_server::Error => sordino_server::exit::code,
        sordino_train::Error => of_train,
        sordino::onnx::Error => of_onnx,
        std::io::Error => |_| IO,
    }
    code_of(error)
}

fn of_plan(error: &sordino_plan::Error) -> u8 {
    match error {
        sordino_plan::Error::Graph(error) => of_graph(error),
        error => code_of(error).unwrap_or(BUG),
    }
}

fn of_graph(error: &sordino_graph::Error) -> u8 {
    match error {
        sordino_graph::Error::FoldedSize { .. } => IMPOSSIBLE,
        error => of_fault(error.kind()),
    }
}

fn of_data(error: &sordino_data::Error) -> u8 {
    match error.kind() {
        sordino_data::Fault::BadFile => BAD_FILE,
        sordino_data::Fault::Io => IO,
        sordino_data::Fault::Usage => USAGE,
    }
}

fn of_train(error: &sordino_train::Error) -> u8 {
    use sordino_train::Error as E;
    match error {
        E::UnknownArchitecture { .. }
        | E::UnknownActivation { .. }
        | E::Layer { .. }
        | E::Config { .. } => USAGE,
        E::Diverged { .. } => IMPOSSIBLE,
        E::File(error) => of_file(error),
        E::Graph(error) => of_graph(error),
        E::DataSet(error) => of_data(error),
        _ => BAD_FILE,
    }
}

fn of_onnx(error: &sordino::onnx::Error) -> u8 {
    use sordino::onnx::Error as E;
    match error {
        E::Graph(error) => of_graph(error),
        _ => BAD_FILE,
    }
}

fn of_secret(error: &sordino_secret::Error) -> u8 {
    use sordino_secret::Error as E;
    match error {
        E::Ckks(error) => of_scheme(error),
        E::Ring(error) => of_ring(error),
        E::Container(error) => of_file(error),
        E::Entropy { .. } => IO,
        _ => BAD_FILE,
    }
}

fn of_client(error: &sordino_client::Error) -> u8 {
    use sordino_client::Error as E;
    match error {
        E::Protocol(error) => of_protocol(error),
        E::Secret(error) => of_secret(error),
        E::Scheme(error) => of_scheme(error),
        E::File(error) => of_file(error),
        E::PlanFile(error) => of_plan(error),
        E::Data(error) => of_data(error),
        E::Address { .. } | E::PlainHttp { .. } | E::Token { .. } => USAGE,
        E::Connection { .. } | E::Certificate { .. } | E::Busy { .. } => IO,
        E::GaveUp { last, .. } => of_client(last),
        E::Refused { status, .. } | E::JobFailed { status, .. } => of_status(*status),
        E::RefusedPlan { reason, .. } => of_plan(reason),
        E::JobCancelled { .. } => INTERRUPTED,
        E::Thread { .. } => BUG,
        _ => BAD_FILE,
    }
}

/// What a server refuses, by what the user can do about it.
fn of_status(status: u16) -> u8 {
    match status {
        // A wrong token, or the name of a model that is not there.
        401 | 403 | 404 => USAGE,
        408 | 500.. => IO,
        413 | 429 => IMPOSSIBLE,
        _ => BAD_FILE,
    }
}

fn of_report(error: &sordino_report::Error) -> u8 {
    match error {
        sordino_report::Error::Io { .. } => IO,
        sordino_report::Error::Malformed { .. } => BAD_FILE,
        _ => USAGE,
    }
}

fn of_sordino(error: &sordino::Error) -> u8 {
    use sordino::Error as E;
    match error {
        E::Train(error) => of_train(error),
        E::Data(error) => of_data(error),
        E::Graph(error) => of_graph(error),
        E::Plan(error) => of_plan(error),
        E::Client(error) => of_client(error),
        E::Protocol(error) => of_protocol(error),
        E::Runtime(error) => code_of(error).unwrap_or(BUG),
        E::Scheme(error) => of_scheme(error),
        E::Ring(error) => of_ring(error),
        E::File(error) => of_file(error),
        E::ShiftedImages { .. }
        | E::TooFewImages { .. }
        | E::Threads { .. }
        | E::ElementWiseOnly => USAGE,
        _ => BAD_FILE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

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
