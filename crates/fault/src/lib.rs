//! What kind of fault an error is.
//!
//! Each error type of the workspace names the [`Fault`] of each of its variants with [`classify!`], which expands to a `match`
//! without a wildcard: a new variant does not compile until somebody has said what its user can do about it. Command lines
//! translate a fault into an exit code, the HTTP service into a problem document; nothing else decides either.

mod optional_memory;

pub use optional_memory::{memory_is_optional, with_optional_memory};

use std::fmt;

/// What the one who meets an error can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The call or the command line asks for something that makes no sense: ask differently.
    Usage,
    /// A file or message is damaged, of another kind or version, or does not fit the others: use another one.
    BadFile,
    /// It is not possible within the limits of security, precision, memory or a quota: ask for less or allow more.
    Limits,
    /// A check found that a result must not be used: do not use it, and find out why.
    CheckFailed,
    /// The operating system or the network could not read, write or connect: repair that, or try again.
    Io,
    /// The other side does not permit it: use other credentials.
    Refused,
    /// Somebody asked for the work to end.
    Interrupted,
    /// Sordino itself is wrong: report it.
    Bug,
}

impl Fault {
    /// All faults.
    pub const ALL: [Self; 8] = [
        Self::Usage,
        Self::BadFile,
        Self::Limits,
        Self::CheckFailed,
        Self::Io,
        Self::Refused,
        Self::Interrupted,
        Self::Bug,
    ];
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Usage => "usage",
            Self::BadFile => "bad file",
            Self::Limits => "beyond limits",
            Self::CheckFailed => "check failed",
            Self::Io => "input/output",
            Self::Refused => "refused",
            Self::Interrupted => "interrupted",
            Self::Bug => "bug",
        })
    }
}

/// An error whose fault is known.
pub trait Classified: std::error::Error {
    /// Every variant by name with its fault; `None` where the fault is that of another error inside.
    const FAULTS: &'static [(&'static str, Option<Fault>)];

    /// What the one who meets the error can do about it.
    fn fault(&self) -> Fault;
}

/// Names the fault of each variant of an error.
///
/// `inner` lists the variants with one unnamed field that is another error, whose fault is theirs; one may have a condition
/// such as `#[cfg(feature = "http")]`. `by` lists the variants
/// whose fault depends on their fields, with the expression that computes it.
///
/// ```
/// use sordino_fault::{Classified, Fault, classify};
///
/// #[derive(Debug, thiserror::Error)]
/// enum ReadError {
///     #[error("{path}: cannot be read")]
///     Unreadable { path: String },
///     #[error("the header is damaged")]
///     Damaged,
/// }
/// classify!(ReadError { Io: Unreadable; BadFile: Damaged; });
///
/// #[derive(Debug, thiserror::Error)]
/// enum LoadError {
///     #[error(transparent)]
///     Read(#[from] ReadError),
///     #[error("model {name:?}: {source}")]
///     Model { name: String, source: ReadError },
///     #[error("the server answered {status}")]
///     Status { status: u16 },
/// }
/// classify!(LoadError {} inner { Read } by {
///     Model { source, .. } => source.fault(),
///     Status { status } => if *status == 401 { Fault::Refused } else { Fault::Io },
/// });
///
/// assert_eq!(LoadError::Read(ReadError::Damaged).fault(), Fault::BadFile);
/// assert_eq!(LoadError::Status { status: 401 }.fault(), Fault::Refused);
/// assert_eq!(LoadError::FAULTS[0], ("Read", None));
/// ```
#[macro_export]
macro_rules! classify {
    (
        $error:ident { $($fault:ident: $($variant:ident),+;)* }
        $(inner { $($(#[$condition:meta])* $inner:ident),+ $(,)? })?
        $(by { $($by:ident $fields:tt => $computed:expr),+ $(,)? })?
    ) => {
        impl $crate::Classified for $error {
            const FAULTS: &'static [(&'static str, Option<$crate::Fault>)] = &[
                $($((stringify!($variant), Some($crate::Fault::$fault)),)+)*
                $($($(#[$condition])* (stringify!($inner), None),)+)?
                $($((stringify!($by), None),)+)?
            ];

            fn fault(&self) -> $crate::Fault {
                match self {
                    $($(Self::$variant { .. })|+ => $crate::Fault::$fault,)*
                    $($($(#[$condition])* Self::$inner { 0: error } => $crate::Classified::fault(error),)+)?
                    $($(Self::$by $fields => $computed,)+)?
                }
            }
        }
    };
}
