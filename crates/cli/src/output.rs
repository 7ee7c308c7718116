//! Results on stdout, messages on stderr.

use serde::Serialize;
use sordino_server::command::GlobalArgs;
use sordino_server::terminal::print_line;

/// How a command that ran to its end went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// As asked.
    Good,
    /// A check that was asked for failed.
    CheckFailed,
}

/// Where a command's words go.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    quiet: bool,
    json: bool,
}

impl Output {
    pub(crate) fn new(global: &GlobalArgs) -> Self {
        Self {
            quiet: global.quiet,
            json: global.json,
        }
    }

    /// A message beside the result; silent when quiet.
    pub(crate) fn note(&self, text: impl std::fmt::Display) {
        if !self.quiet {
            eprintln!("{text}");
        }
    }

    /// Something that the user must hear of, quiet or not.
    pub(crate) fn warn(&self, text: impl std::fmt::Display) {
        eprintln!("warning: {text}");
    }

    /// Text that belongs to a result: on stdout, but not beside JSON.
    pub(crate) fn text(&self, text: impl std::fmt::Display) {
        if !self.json && !self.quiet {
            print_line(text);
        }
    }

    /// The result that was asked for: JSON, or text for people (not when quiet).
    pub(crate) fn result(
        &self,
        json: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> anyhow::Result<()> {
        if self.json {
            print_line(serde_json::to_string_pretty(json)?);
        } else if !self.quiet {
            print_line(text());
        }
        Ok(())
    }

    /// As [`result`](Self::result), for commands that do nothing but show: also when quiet.
    pub(crate) fn show(
        &self,
        json: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> anyhow::Result<()> {
        if self.json {
            return self.result(json, String::new);
        }
        print_line(text());
        Ok(())
    }
}
