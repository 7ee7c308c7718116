//! NumPy's `.npz`: a zip archive of `.npy` arrays.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use zip::ZipArchive;
use zip::result::ZipError;

use super::folder::is_picture_name;
use super::npy::{self, Likeness};
use super::{Sink, labels_name};
use crate::labels::Targets;
use crate::prepare_path::Bounds;
use crate::source::{DEFLATE_RATIO, FETCH_AGAIN, PIXEL_BYTES, Source, open_file};
use crate::{Error, Images, Reader};

const ARRAY_LIMIT: u64 = 256;

/// An open archive.
pub(crate) struct Npz {
    archive: ZipArchive<BufReader<File>>,
    location: String,
    length: u64,
}

impl Npz {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let location = path.display().to_string();
        let (file, length) = open_file(path)?;
        let archive =
            ZipArchive::new(BufReader::new(file)).map_err(|error| damaged(&location, &error))?;
        let entries = archive.len() as u64;
        Error::check_limit(&location, "number of arrays", entries, ARRAY_LIMIT)?;
        Ok(Self {
            archive,
            location,
            length,
        })
    }

    /// The arrays' names, in the order of the archive.
    pub(crate) fn names(&self) -> Vec<String> {
        let names = self.archive.file_names().filter_map(Result::ok);
        let arrays = names.filter_map(|name| name.strip_suffix(".npy").map(str::to_owned));
        arrays.filter(|name| !is_hidden(name)).collect()
    }

    /// What an archive without arrays holds, for messages.
    fn contents(&self) -> String {
        let mut names = self.archive.file_names().filter_map(Result::ok);
        let pictures = |name: &str| is_picture_name(name) && !is_hidden(name);
        match names.find(|name| name.ends_with("data.pkl") || pictures(name)) {
            Some(name) if name.ends_with("data.pkl") => "a PyTorch file".into(),
            Some(name) => format!("pictures such as {name}"),
            None => "no arrays".into(),
        }
    }

    /// The bytes of an array.
    pub(crate) fn array(&mut self, name: &str) -> Result<Source<'_>, Error> {
        let location = format!("{}: array {name}", self.location);
        let Some(index) = self.archive.index_for_name(&format!("{name}.npy")) else {
            let expected = format!("an array {name}");
            let advice = format!("name one of its arrays: {}", self.names().join(", "));
            return Err(Error::malformed(
                &*self.location,
                expected,
                "no such array",
                advice,
            ));
        };
        let entry = self
            .archive
            .by_index(index)
            .map_err(|error| damaged(&location, &error))?;
        let packed = entry.compressed_size().min(self.length);
        let size = entry.size();
        let possible = packed.saturating_mul(DEFLATE_RATIO);
        if size > possible {
            let expected = format!("at most {possible} bytes");
            let found = format!("{size} announced");
            return Err(Error::malformed(location, expected, found, FETCH_AGAIN));
        }
        // The pixels, and room for a header.
        let limit = PIXEL_BYTES + (1 << 16);
        Error::check_limit(&location, "array size in bytes", size, limit)?;
        Ok(Source::new(entry, location, size))
    }

    /// The labels that belong to the array `name`, where there are any.
    fn labels_of(&mut self, name: &str) -> Result<Option<Targets>, Error> {
        let names = self.names();
        let candidates = labels_name(name)
            .into_iter()
            .chain(["labels".to_owned(), "y".to_owned()]);
        // With several arrays of images, `labels` alone would not say whose they are.
        let mut found = candidates.take(if labels_name(name).is_some() { 1 } else { 2 });
        match found.find(|candidate| candidate != name && names.contains(candidate)) {
            Some(labels) => npy::labels(self.array(&labels)?).map(Some),
            None => Ok(None),
        }
    }
}

/// What archivers leave behind, such as `__MACOSX/._images`.
fn is_hidden(name: &str) -> bool {
    name.split('/')
        .any(|part| part.starts_with('.') || part == "__MACOSX")
}

fn damaged(location: &str, error: &ZipError) -> Error {
    match error {
        ZipError::Io(source) if source.raw_os_error().is_some() => {
            Error::io(location, "read", source.kind().into())
        }
        _ => {
            let expected = "a sound .npz archive";
            Error::malformed(location, expected, error.to_string(), FETCH_AGAIN)
        }
    }
}

/// Reads the images of an array part by part; see [`read_images`].
pub(crate) fn parts(
    path: &Path,
    name: Option<&str>,
    bounds: &Bounds<'_>,
    sink: &mut Sink,
) -> Result<(), Error> {
    let mut archive = Npz::open(path)?;
    let name = images_array(&mut archive, name, bounds.reader())?;
    npy::parts(archive.array(&name)?, bounds, sink)
}

/// Reads the array `name`, or the only one of images, or the one called `images`. Labels that cannot be used are passed over.
pub(crate) fn read_images(
    path: &Path,
    name: Option<&str>,
    reader: Reader<'_>,
) -> Result<Images, Error> {
    let mut archive = Npz::open(path)?;
    let name = images_array(&mut archive, name, reader)?;
    let labels = archive.labels_of(&name);
    let images = npy::images(archive.array(&name)?, reader)?;
    Ok(images.with_optional_labels(labels))
}

/// The array that was named, or the one called `images`, or the only one that looks like images. Arrays of truth values, integers that may be
/// negative or wide integers count only where there are no others.
fn images_array(
    archive: &mut Npz,
    name: Option<&str>,
    reader: Reader<'_>,
) -> Result<String, Error> {
    if let Some(name) = name {
        return Ok(name.to_owned());
    }
    let names = archive.names();
    if names.iter().any(|name| name == "images") {
        return Ok("images".into());
    }
    let mut candidates = Vec::new();
    for name in &names {
        let likeness = npy::likeness(archive.array(name)?, reader)?;
        candidates.push((likeness, name.clone()));
    }
    let most = candidates.iter().map(|&(likeness, _)| likeness).max();
    let most = most.filter(|&likeness| likeness > Likeness::None);
    candidates.retain(|&(likeness, _)| Some(likeness) == most);
    let candidates: Vec<String> = candidates.into_iter().map(|(_, name)| name).collect();
    let location = archive.location.clone();
    match &*candidates {
        [] => {
            let (found, advice) = match names.is_empty() {
                true => (
                    archive.contents(),
                    "unpack it and give the folder of pictures, or save an array with numpy.savez",
                ),
                false => (
                    format!("arrays {}", names.join(", ")),
                    "save one array of shape [N, C, H, W], [N, H, W, C] or [N, H, W] as uint8, uint16 or float32",
                ),
            };
            Err(Error::malformed(
                location,
                "an array of images",
                found,
                advice,
            ))
        }
        [only] => Ok(only.clone()),
        [first, ..] => Err(Error::Ambiguous {
            advice: format!("such as {location}:{first}"),
            location,
            choices: candidates,
        }),
    }
}
