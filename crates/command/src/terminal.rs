//! What a command shows while it runs, and what happens when it is interrupted.

use std::fmt::Display;
use std::io::{self, Write};
use std::panic::PanicHookInfo;
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sordino_container::printable;
use sordino_fault::Fault;
use sordino_runtime::Progress;

use crate::exit;

/// Called on the first request to end, by a command that ends in its own time.
static ON_INTERRUPT: Mutex<Option<Box<dyn Fn() + Send>>> = Mutex::new(None);

/// Removes unfinished files and ends the process with exit code 130 on Ctrl-C or a request to end, unless the command handles the
/// first request itself ([`on_first_interrupt`]).
///
/// # Errors
/// The system's reason, where a handler cannot be installed.
pub fn handle_interrupts() -> Result<(), String> {
    ctrlc::set_handler(|| {
        let handle = ON_INTERRUPT
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(handle) = handle {
            return handle();
        }
        sordino_container::remove_unfinished();
        say("interrupted: nothing unfinished was left behind");
        std::process::exit(i32::from(exit::code(Fault::Interrupted)));
    })
    .map_err(|error| error.to_string())
}

/// Calls `handle` on the first Ctrl-C or request to end, instead of ending the process; a second one ends it.
pub fn on_first_interrupt(handle: impl Fn() + Send + 'static) {
    let mut place = ON_INTERRUPT.lock().unwrap_or_else(PoisonError::into_inner);
    *place = Some(Box::new(handle));
}

/// Makes a panic say that it is a bug and what to report; `program` is the command's name.
pub fn report_panics(program: &'static str) {
    static ONCE: Once = Once::new();
    std::panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
        // Several threads may panic over one bug.
        ONCE.call_once(|| {
            let place = info.location().map_or_else(String::new, |at| format!(" at {at}"));
            let what = info.payload_as_str().unwrap_or("no message");
            say(format_args!(
                "{program}: bug{place}: {what}\nThis should not happen whatever the input is: please report it with the \
                 command line and the output of `{program} --version`."
            ));
        });
    }));
}

/// Prints a line of a result on standard output, cleaned of what could rewrite a terminal; a reader that has gone away is no error.
///
/// # Errors
/// Any other reason why it cannot be written, such as a full disk.
pub fn print_line(text: impl Display) -> io::Result<()> {
    let text = text.to_string();
    let mut out = io::stdout().lock();
    match writeln!(out, "{}", printable(&text)).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Prints a line for people on standard error, cleaned of what could rewrite a terminal; a failure is ignored, for there is no
/// other place to report it.
pub fn say(text: impl Display) {
    let text = text.to_string();
    let _ = writeln!(io::stderr().lock(), "{}", printable(&text));
}

/// A bar on the terminal with the time left; hidden when quiet or when standard error is no terminal.
#[derive(Debug)]
pub struct Bar {
    bar: ProgressBar,
    quiet: bool,
}

impl Bar {
    /// A bar of an unknown length.
    pub fn new(what: &'static str, quiet: bool) -> Self {
        let target = if quiet {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let bar = ProgressBar::with_draw_target(Some(1), target);
        let style = ProgressStyle::with_template("{prefix:>10} [{bar:30}] {pos}/{len} {msg}");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        bar.set_prefix(what);
        Self { bar, quiet }
    }

    /// Shows how much is done and how long the rest will take.
    pub fn update(&self, done: usize, of: usize, name: &str, seconds_left: f64) {
        self.bar.set_length(of as u64);
        self.bar.set_position(done as u64);
        let left = Duration::try_from_secs_f64(seconds_left.max(0.0)).unwrap_or(Duration::MAX);
        self.bar.set_message(format!(
            "{}, {} left",
            printable(name),
            indicatif::HumanDuration(left)
        ));
    }

    /// Prints a line above the bar, or plainly where no bar is shown; nothing when quiet.
    pub fn line(&self, text: impl AsRef<str>) {
        if !self.quiet {
            self.bar.suspend(|| say(text.as_ref()));
        }
    }

    /// Shows the progress of an evaluation.
    pub fn evaluation(&self, progress: &Progress<'_>) {
        let done = progress.block * progress.units + progress.unit;
        self.update(
            done,
            progress.blocks * progress.units,
            progress.name,
            progress.seconds_left,
        );
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
