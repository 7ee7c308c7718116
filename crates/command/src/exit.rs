//! Exit codes.

use sordino_fault::Fault;

/// A check failed: one that was asked for, or one of a result that is not to be used.
pub const CHECK_FAILED: u8 = 1;

/// The exit code of a fault; nothing else decides one.
pub fn code(fault: Fault) -> u8 {
    match fault {
        Fault::CheckFailed => CHECK_FAILED,
        Fault::Usage | Fault::Refused => 2,
        Fault::BadFile => 3,
        Fault::Limits => 4,
        Fault::Io => 5,
        Fault::Bug => 70,
        Fault::Interrupted => 130,
    }
}
