//! Exit codes of errors, by what the user can do about them.

use std::error::Error as StdError;

use sordino_command::exit;
use sordino_fault::{Classified, Fault, classify};

/// What the commands themselves refuse.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// A command line that clap cannot tell to be wrong.
    #[error("{0}")]
    Usage(String),
    /// Files that do not belong together.
    #[error("{0}")]
    Mismatch(String),
}

pub(crate) use Refusal::{Mismatch, Usage};

classify!(Refusal {
    Usage: Usage;
    BadFile: Mismatch;
});

/// The exit code of an error: that of the first cause whose fault is known. An error without one is a bug.
pub(crate) fn code(error: &anyhow::Error) -> u8 {
    exit::code(error.chain().find_map(fault_of).unwrap_or(Fault::Bug))
}

fn fault_of(error: &(dyn StdError + 'static)) -> Option<Fault> {
    macro_rules! first_of {
        ($($kind:ty),* $(,)?) => {
            None$(.or_else(|| error.downcast_ref::<$kind>().map(Classified::fault)))*
        };
    }
    let io = || error.is::<std::io::Error>().then_some(Fault::Io);
    first_of!(
        Refusal,
        sordino::Error,
        sordino_bench::Error,
        sordino_ckks::Error,
        sordino_client::Error,
        sordino_command::Error,
        sordino_container::Error,
        sordino_data::Error,
        sordino_evaluator::Error,
        sordino_graph::Error,
        sordino::onnx::Error,
        sordino_plan::Error,
        sordino_protocol::Error,
        sordino_report::Error,
        sordino_ring::Error,
        sordino_runtime::Error,
        sordino_secret::Error,
        sordino_server::Error,
        sordino_train::Error,
    )
    .or_else(io)
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
        let relu = sordino_graph::Error::TeacherOnly {
            node: "x".into(),
            operation: "relu",
        };
        assert_eq!(code(&sordino_plan::Error::Graph(relu).into()), BAD_FILE);
    }
}
