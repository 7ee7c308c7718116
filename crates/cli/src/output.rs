//! Results on stdout, messages on stderr.

use anyhow::Context;
use serde::Serialize;
use sordino_command::GlobalArgs;
use sordino_command::terminal::{print_line, say};

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
            say(text);
        }
    }

    /// Something that the user must hear of, quiet or not.
    pub(crate) fn warn(&self, text: impl std::fmt::Display) {
        say(format_args!("warning: {text}"));
    }

    /// Text that belongs to a result: on stdout, but not beside JSON.
    pub(crate) fn text(&self, text: impl std::fmt::Display) -> anyhow::Result<()> {
        if self.json || self.quiet {
            return Ok(());
        }
        print(text)
    }

    /// The result that was asked for: JSON, or text for people (not when quiet).
    pub(crate) fn result(
        &self,
        json: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> anyhow::Result<()> {
        if self.json {
            return print(serde_json::to_string_pretty(json)?);
        }
        if self.quiet {
            return Ok(());
        }
        print(text())
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
        print(text())
    }
}

fn print(text: impl std::fmt::Display) -> anyhow::Result<()> {
    print_line(text).context("cannot write to standard output; check where it is redirected to")
}
