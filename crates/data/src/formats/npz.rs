//! NumPy's `.npz`: a zip archive of `.npy` arrays.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use zip::ZipArchive;
use zip::result::ZipError;

use super::{Sink, labels_name, npy};
use crate::prepare_path::Bounds;
use crate::source::{DEFLATE_RATIO, FETCH_AGAIN, PIXEL_BYTES, Source, open_file};
use crate::{Error, Images};

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
        names
            .filter_map(|name| name.strip_suffix(".npy").map(str::to_owned))
            .collect()
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
    fn labels_of(&mut self, name: &str, names: &[String]) -> Result<Option<Vec<u16>>, Error> {
        let candidates = labels_name(name)
            .into_iter()
            .chain(["labels".to_owned(), "y".to_owned()]);
        // With several arrays of images, `labels` alone would not say whose they are.
        let mut found = candidates.take(if name.contains("images") { 1 } else { 2 });
        match found.find(|candidate| candidate != name && names.contains(candidate)) {
            Some(labels) => npy::labels(self.array(&labels)?).map(Some),
            None => Ok(None),
        }
    }
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
    let name = array_of_images(&mut archive, name)?;
    npy::parts(archive.array(&name)?, bounds, sink)
}

/// The name of the array of images.
fn array_of_images(archive: &mut Npz, name: Option<&str>) -> Result<String, Error> {
    match name {
        Some(name) => Ok(name.to_owned()),
        None => {
            let names = archive.names();
            images_array(archive, &names)
        }
    }
}

/// Reads the array `name`, or the only one of images, or the one called `images`.
pub(crate) fn read_images(path: &Path, name: Option<&str>) -> Result<Images, Error> {
    let mut archive = Npz::open(path)?;
    let names = archive.names();
    let name = array_of_images(&mut archive, name)?;
    let labels = archive.labels_of(&name, &names)?;
    let images = npy::images(archive.array(&name)?)?;
    images.with_labels(labels)
}

/// The only array that looks like images, or the one called `images`.
fn images_array(archive: &mut Npz, names: &[String]) -> Result<String, Error> {
    let mut candidates = Vec::new();
    for name in names {
        if npy::looks_like_images(archive.array(name)?)? {
            candidates.push(name.clone());
        }
    }
    let location = archive.location.clone();
    match &*candidates {
        [] => {
            let found = format!("arrays {}", names.join(", "));
            let advice =
                "save one array of shape [N, C, H, W] as uint8, uint16, float32 or float64";
            Err(Error::malformed(
                location,
                "an array of images",
                found,
                advice,
            ))
        }
        [only] => Ok(only.clone()),
        several if several.iter().any(|name| name == "images") => Ok("images".into()),
        [first, ..] => Err(Error::Ambiguous {
            advice: format!("such as {location}:{first}"),
            location,
            choices: candidates,
        }),
    }
}
