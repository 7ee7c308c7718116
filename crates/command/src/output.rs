//! Results on stdout, messages on stderr.

use std::fmt::Display;

use serde::Serialize;

use crate::terminal::{print_line, say};
use crate::{Error, GlobalArgs};

/// How a command that ran to its end went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As asked.
    Good,
    /// A check that was asked for failed.
    CheckFailed,
}

/// What a command prints, and where.
#[derive(Clone, Debug)]
pub struct Output {
    quiet: bool,
    json: bool,
}

impl Output {
    /// As the global flags say.
    pub fn new(global: &GlobalArgs) -> Self {
        Self {
            quiet: global.quiet,
            json: global.json,
        }
    }

    /// A message that is not the result; silent when quiet.
    pub fn note(&self, text: impl Display) {
        if !self.quiet {
            say(text);
        }
    }

    /// A warning, also when quiet.
    pub fn warn(&self, text: impl Display) {
        say(format_args!("warning: {text}"));
    }

    /// Text that belongs to a result: on stdout, unless the result is JSON.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub fn text(&self, text: impl Display) -> Result<(), Error> {
        if self.json || self.quiet {
            return Ok(());
        }
        print(text)
    }

    /// The result that was asked for: JSON, or text for people (not when quiet).
    ///
    /// # Errors
    /// [`Error::Output`].
    pub fn result(
        &self,
        json: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<(), Error> {
        if self.json {
            let json = serde_json::to_string_pretty(json);
            return print(json.map_err(|error| Error::Output(error.into()))?);
        }
        if self.quiet {
            return Ok(());
        }
        print(text())
    }

    /// The result of a command that does nothing but show: also when quiet.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub fn show(&self, json: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), Error> {
        if self.json {
            return self.result(json, String::new);
        }
        print(text())
    }
}

fn print(text: impl Display) -> Result<(), Error> {
    print_line(text).map_err(Error::Output)
}
