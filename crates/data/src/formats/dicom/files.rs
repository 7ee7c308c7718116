//! Which files are read: one, those of a folder and its subfolders, or the images that a DICOMDIR names.
//!
//! The name of a file or folder may be that of a patient. Messages name the path that was given, and of the files in it only their
//! positions.
//!
//! # Reference
//! DICOM PS3.10, section 8; PS3.3, section F.3.

use std::fs;
use std::path::{Path, PathBuf};

use super::attributes::{self, EXPORT, RECORD_FILE, RECORD_TYPE, RECORDS};
use super::container::Container;
use crate::Error;
use crate::formats::folder::{ENTRY_LIMIT, is_ignored, is_picture_name};
use crate::formats::foreign;
use crate::source::magic;

/// How deep folders may be in one another.
const DEPTH: usize = 16;

/// The files of a path, in the order in which they are read.
pub(super) struct Files {
    paths: Vec<PathBuf>,
    origin: String,
    order: &'static str,
}

impl Files {
    /// One file.
    pub(super) fn one(path: &Path) -> Self {
        Self {
            paths: vec![path.to_owned()],
            origin: path.display().to_string(),
            order: "",
        }
    }

    /// The files of a folder; `None` where there is no DICOM file in it.
    pub(super) fn of_folder(path: &Path) -> Result<Option<Self>, Error> {
        let origin = path.display().to_string();
        if let Some(directory) = entry(path, "DICOMDIR", &origin)? {
            let paths = listed(path, &directory, &origin)?;
            let order = " in the order of its DICOMDIR";
            return Ok(Some(Self {
                paths,
                origin,
                order,
            }));
        }
        let mut found = Found::default();
        walk(path, 0, &mut found, &origin)?;
        if !found.dicom {
            return Ok(None);
        }
        if found.pictures > 0 {
            return Err(Error::malformed(
                origin,
                "pictures or DICOM files",
                format!(
                    "{} PNG or JPEG files and {} others",
                    found.pictures,
                    found.others.len()
                ),
                "move the pictures into a folder of their own, and give one folder after the other",
            ));
        }
        let mut paths = found.others;
        paths.sort_unstable();
        let files = Self {
            paths,
            origin,
            order: " in the byte order of their paths",
        };
        for (index, path) in files.paths.iter().enumerate() {
            if !is_dicom(path, &files.origin)? {
                let expected = "DICOM files only";
                let found = "another file";
                let advice = "move it out, or give the folder of the images";
                return Err(Error::malformed(
                    files.location(index),
                    expected,
                    found,
                    advice,
                ));
            }
        }
        Ok(Some(files))
    }

    pub(super) fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// The path that was given.
    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    /// A file in messages.
    pub(super) fn location(&self, index: usize) -> String {
        match self.order {
            "" => self.origin.clone(),
            order => format!(
                "{}: file {} of {}{order}",
                self.origin,
                index + 1,
                self.paths.len()
            ),
        }
    }
}

/// How many files that are no pictures are looked into for one of DICOM.
const TRIED: usize = 64;

/// What is in a folder. Pictures are told by their names, so that a folder of many is not read twice.
#[derive(Default)]
struct Found {
    pictures: usize,
    others: Vec<PathBuf>,
    /// Whether one of the others is a DICOM file.
    dicom: bool,
}

impl Found {
    /// Whether this is no folder of DICOM files, and need not be walked to its end.
    fn is_other(&self) -> bool {
        !self.dicom && self.others.len() >= TRIED
    }
}

fn io(origin: &str, action: &'static str) -> impl Fn(std::io::Error) -> Error {
    move |error| Error::io(origin, action, error)
}

fn walk(folder: &Path, depth: usize, found: &mut Found, origin: &str) -> Result<(), Error> {
    if depth > DEPTH {
        let expected = format!("folders at most {DEPTH} deep");
        let advice = "give the folder of the images";
        return Err(Error::malformed(origin, expected, "deeper ones", advice));
    }
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(io(origin, "list"))? {
        entries.push(entry.map_err(io(origin, "list"))?);
        Error::check_limit(origin, "number of files", entries.len() as u64, ENTRY_LIMIT)?;
    }
    // The same files are tried wherever the folder lies.
    entries.sort_unstable_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        // A DICOMDIR further down lists what is read anyway.
        if is_ignored(&name) || depth > 0 && name.eq_ignore_ascii_case("DICOMDIR") {
            continue;
        }
        let path = entry.path();
        let kind = entry.file_type().map_err(io(origin, "list"))?;
        if kind.is_dir() || kind.is_symlink() && path.is_dir() {
            walk(&path, depth + 1, found, origin)?;
        } else if is_picture_name(&name) {
            found.pictures += 1;
        } else {
            found.dicom = found.dicom || is_dicom(&path, origin)?;
            found.others.push(path);
        }
        if found.is_other() {
            return Ok(());
        }
        let count = (found.pictures + found.others.len()) as u64;
        Error::check_limit(origin, "number of files", count, ENTRY_LIMIT)?;
    }
    Ok(())
}

/// Whether a file has the mark of DICOM.
fn is_dicom(path: &Path, origin: &str) -> Result<bool, Error> {
    match magic(path, foreign::MAGIC_BYTES) {
        Ok(start) => Ok(foreign::is_dicom(&start)),
        Err(Error::Io { action, reason, .. }) => Err(Error::io(origin, action, reason)),
        // No file but a device.
        Err(_) => Ok(false),
    }
}

/// The entry of a folder by its name, in letters of either case; `None` where there is none.
fn entry(folder: &Path, name: &str, origin: &str) -> Result<Option<PathBuf>, Error> {
    let exact = folder.join(name);
    if exact.exists() {
        return Ok(Some(exact));
    }
    for entry in fs::read_dir(folder).map_err(io(origin, "list"))? {
        let entry = entry.map_err(io(origin, "list"))?;
        if entry.file_name().eq_ignore_ascii_case(name) {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}

/// The images that a DICOMDIR names.
fn listed(folder: &Path, directory: &Path, origin: &str) -> Result<Vec<PathBuf>, Error> {
    let location = format!("{origin}: DICOMDIR");
    let container = Container::open(directory, &location)?;
    let item = attributes::read(container.data(), container.syntax.encoding, &location)?;
    let mut paths = Vec::new();
    for record in item.items(RECORDS, &location)? {
        if record.text(RECORD_TYPE, &location)? != Some("IMAGE") {
            continue;
        }
        let number = paths.len() + 1;
        let parts = record.texts(RECORD_FILE, &location)?;
        let parts = parts.ok_or_else(|| RECORD_FILE.missing(&location))?;
        let mut path = folder.to_owned();
        for part in parts {
            // As the standard has it, and never out of the folder.
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
            if part.is_empty() || !part.bytes().all(plain) {
                let expected = "names of letters and digits";
                return Err(RECORD_FILE.wrong(&location, expected, "others"));
            }
            let below = match path.is_dir() {
                true => entry(&path, part, origin)?,
                false => None,
            };
            path = below.ok_or_else(|| {
                let expected = format!("the file of image {number}");
                let advice = "copy the whole medium, or move the DICOMDIR out to read all files of the folder";
                Error::malformed(&*location, expected, "none", advice)
            })?;
        }
        paths.push(path);
        Error::check_limit(
            &location,
            "number of files",
            paths.len() as u64,
            ENTRY_LIMIT,
        )?;
    }
    if paths.is_empty() {
        return Err(Error::malformed(location, "images", "none", EXPORT));
    }
    Ok(paths)
}
