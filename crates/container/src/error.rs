//! What can go wrong with a file.

use std::io;
use std::path::{Path, PathBuf};

use sordino_fault::classify;

use crate::header::{FORMAT_VERSION, Kind};

/// Why a file could not be read or written.
///
/// `location` is the file's path, or a name for bytes that came from memory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The magic bytes are missing.
    #[error(
        "{location}: expected a Sordino file (it starts with \"SORDINO\"), found something else: check the path"
    )]
    NotSordino {
        /// Which file.
        location: String,
    },
    /// A format version that this program does not read.
    #[error(
        "{location}: format version {found}, and this program reads version {FORMAT_VERSION}: \
         make the file again with this version of Sordino, or read it with the version that wrote it"
    )]
    UnsupportedVersion {
        /// Which file.
        location: String,
        /// The version in the header.
        found: u16,
    },
    /// A kind code that does not exist in this version.
    #[error("{location}: unknown kind of file (code {found}; this program knows 1 to {last}): the file is damaged, fetch or make it again", last = Kind::ALL.len())]
    UnknownKind {
        /// Which file.
        location: String,
        /// The code in the header.
        found: u16,
    },
    /// A good file of another kind than was asked for.
    #[error("{location}: this is a {found}, expected a {expected}: give {}", expected.origin())]
    WrongKind {
        /// Which file.
        location: String,
        /// The kind that was asked for.
        expected: Kind,
        /// The kind in the header.
        found: Kind,
    },
    /// A length over the limit.
    #[error(
        "{location}: {part} of {found} bytes, at most {limit} are accepted here: check that this is the right file"
    )]
    TooLarge {
        /// Which file.
        location: String,
        /// `"metadata"`, `"payload"`, ...
        part: &'static str,
        /// The length asked for.
        found: u64,
        /// The most that is accepted.
        limit: u64,
    },
    /// The memory for a part within the limits could not be had.
    #[error("{location}: no memory for {bytes} bytes: free some memory or use a smaller batch")]
    OutOfMemory {
        /// Which file.
        location: String,
        /// Bytes asked for.
        bytes: u64,
    },
    /// The file is shorter or longer than its header says.
    #[error(
        "{location}: expected {expected} bytes, found {found}: the file was cut short or added to, copy or make it again"
    )]
    Length {
        /// Which file.
        location: String,
        /// Bytes by the header (or the header's own size).
        expected: u64,
        /// Bytes there are.
        found: u64,
    },
    /// The content does not have the digest of the header.
    #[error(
        "{location}: the content does not match its digest: the file was damaged, copy or make it again"
    )]
    DigestMismatch {
        /// Which file.
        location: String,
    },
    /// The digest is right, but the metadata is not what this kind of file carries.
    #[error(
        "{location}: {kind} metadata: {detail}: make the file again with this version of Sordino"
    )]
    Metadata {
        /// Which file.
        location: String,
        /// The kind of file.
        kind: Kind,
        /// What the parser or serializer said.
        detail: String,
    },
    /// A payload ended before a field did.
    #[error(
        "{location}: {wanted} bytes expected at offset {offset}, found {remaining}: the file does not fit its own description, make it again"
    )]
    ShortPayload {
        /// Which payload.
        location: String,
        /// Bytes that the field needs.
        wanted: u64,
        /// Where in the payload the field starts.
        offset: usize,
        /// Bytes left there.
        remaining: usize,
    },
    /// A payload with bytes after its last field.
    #[error(
        "{location}: {remaining} bytes after the end: the file does not fit its own description, make it again"
    )]
    TrailingBytes {
        /// Which payload.
        location: String,
        /// Bytes left over.
        remaining: usize,
    },
    /// A payload field with a value that it cannot have.
    #[error(
        "{location}: expected {expected} at offset {offset}: the file does not fit its own description, make it again"
    )]
    BadField {
        /// Which payload.
        location: String,
        /// What the field may hold.
        expected: &'static str,
        /// Where in the payload the field starts.
        offset: usize,
    },
    /// A text that is not a digest.
    #[error("expected a digest of 64 hexadecimal digits, found {found:?}: copy it whole")]
    DigestText {
        /// The text, shortened.
        found: String,
    },
    /// A stream writer got more or fewer payload bytes than it was opened for.
    #[error(
        "{location}: {found} payload bytes written, {expected} announced: this is a bug, report it"
    )]
    PayloadCount {
        /// Which file.
        location: String,
        /// Bytes announced.
        expected: u64,
        /// Bytes written (at least).
        found: u64,
    },
    /// The output exists and may not be replaced.
    #[error("{}: exists already: give another --out, move it away, or where that is possible use --force", path.display())]
    Exists {
        /// The output.
        path: PathBuf,
    },
    /// The path names a folder, a device or a pipe.
    #[error("{}: is not a regular file: give the path of a file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// A folder of our own is to be here, and what is here is none.
    #[error("{}: expected a folder that only this user can write to, found {found}: remove it, or give another place", path.display())]
    NotPrivate {
        /// The folder.
        path: PathBuf,
        /// What is there.
        found: &'static str,
    },
    /// The operating system refused.
    #[error("{}: cannot {action}: {reason}: {}", path.display(), hint(reason))]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried: `"open"`, `"read"`, `"write"`, ...
        action: &'static str,
        /// The system's reason. The message has it, so it is no `source`, which would print it a second time.
        reason: io::Error,
    },
}

classify!(Error {
    Usage: Exists, NotAFile;
    BadFile: NotSordino, UnsupportedVersion, UnknownKind, WrongKind, TooLarge, Length, DigestMismatch, Metadata,
        ShortPayload, TrailingBytes, BadField, DigestText;
    Io: Io, NotPrivate, OutOfMemory;
    Bug: PayloadCount;
});

impl Error {
    pub(crate) fn length(location: impl Into<String>, expected: u64, found: u64) -> Self {
        Self::Length {
            location: location.into(),
            expected,
            found,
        }
    }

    /// Wraps an error of the operating system; `action` completes "cannot ...".
    pub fn io(path: impl AsRef<Path>, action: &'static str, reason: io::Error) -> Self {
        Self::Io {
            path: path.as_ref().to_path_buf(),
            action,
            reason,
        }
    }
}

/// What to try, by the system's reason.
fn hint(reason: &io::Error) -> &'static str {
    use io::ErrorKind as K;
    match reason.kind() {
        K::NotFound => "check the path, and that its folder exists",
        K::PermissionDenied => "check the owner and mode of the file and its folder",
        K::StorageFull | K::QuotaExceeded | K::WriteZero => {
            "free some space or write to another disk"
        }
        K::FileTooLarge => {
            "the file size limit is reached: raise it (ulimit -f) or write to another disk"
        }
        K::ReadOnlyFilesystem => "write to another folder",
        K::IsADirectory | K::NotADirectory => "give the path of a file",
        _ => "check the disk and the path, then try again",
    }
}
