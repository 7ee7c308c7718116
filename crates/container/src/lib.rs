//! The file container that plans, keys, requests and replies travel in: header, digest, limits, bounded
//! reads, write-then-rename.
//!
//! A file is `magic | version | kind | metadata length | payload length | digest | metadata | payload`,
//! little-endian, and ends exactly there:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic, `SORDINO\0` |
//! | 8 | 2 | format version, [`FORMAT_VERSION`] |
//! | 10 | 2 | [`Kind`] |
//! | 12 | 4 | bytes of metadata |
//! | 16 | 8 | bytes of payload |
//! | 24 | 32 | [`Digest`] over everything else but the magic |
//! | 56 | | metadata, JSON |
//! | | | payload |
//!
//! The digest finds accidents (a flipped bit, a cut transfer) and names a file's content, so that files can
//! refer to one another. It is no signature: who can change a file can also change its digest.
//!
//! What this crate does not do: it knows nothing of what metadata and payloads mean, and offers no
//! confidentiality beyond the file mode of [`Access::OwnerOnly`].

mod atomic;
mod cursor;
mod digest;
mod error;
mod file;
mod header;
mod locked_folder;
pub mod memory;
mod plain_file;
mod private_folder;
mod reader;
mod text;
mod uncached;

pub use atomic::{
    Access, AtomicFile, Overwrite, TEMPORARY_SUFFIX, TemporaryFolder, check_writable,
    remove_unfinished, remove_unfinished_now, write_atomic,
};
pub use cursor::{Builder, Reader};
pub use digest::Digest;
pub use error::Error;
pub use file::{
    AnyHeader, StreamWriter, digest_of, from_bytes, inspect_file, read_file, to_bytes, write_file,
    write_file_parts,
};
pub use header::{FORMAT_VERSION, HEADER_BYTES, Kind, Limits, MAGIC, METADATA_LIMIT};
pub use locked_folder::LockedFolder;
pub use plain_file::{file_bytes, remove_file};
pub use private_folder::private_folder;
pub use reader::{Contents, StreamReader};
pub use text::printable;
pub use uncached::UncachedFile;
