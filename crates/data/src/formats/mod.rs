//! File formats of images, recognised by their content.

pub(crate) mod cifar;
#[cfg(feature = "dicom")]
pub(crate) mod dicom;
pub(crate) mod folder;
mod foreign;
pub(crate) mod idx;
mod jpeg;
pub(crate) mod npy;
pub(crate) mod npz;

use std::path::{Path, PathBuf};

use sordino_graph::Preprocess;

use crate::labels::Targets;
use crate::prepare_path::Bounds;
use crate::source::{Source, magic};
use crate::{Error, Images, Reader};

/// Reads images to be classified: a flat folder of PNG or JPEG, or a file of many images.
///
/// | source | labels | names |
/// |---|---|---|
/// | folder of PNG/JPEG, gray or RGB, 8 or 16 bit, in the byte order of their names | none | file names |
/// | one PNG/JPEG | none | file name |
/// | DICOM (feature `dicom`): a file, a folder with its subfolders, or one with a DICOMDIR | none | SOP Instance UID |
/// | IDX of unsigned bytes, as arrays, gzipped or not | if a labels file is in the same folder | none |
/// | CIFAR-10 binary (`*.bin`) | in the file | none |
/// | `.npy` of numbers, `[N, C, H, W]`, `[N, H, W, C]` or `[N, H, W]` | if a labels file is in the same folder | none |
/// | `.npz` with one such array, or one called `images`; `FILE.npz:NAME` picks another | if an array of labels is there | none |
///
/// An array with a last axis of 1, 3 or 4 and a second axis that is none of these has its channels last. What is ambiguous is refused unless
/// [`Reader::layout`] says which it is.
///
/// The labels of an array or file are looked for under its name with `images` replaced by `labels` (and `idx3` by
/// `idx1`), or `x_` by `y_`. Labels that cannot be used are passed over with a note. What a picture's metadata says of its orientation is
/// ignored with a note.
///
/// # Errors
/// [`Error::Malformed`] for damaged files and other formats, [`Error::TooLarge`] for sizes over the limits,
/// [`Error::Ambiguous`] for an archive with several arrays, [`Error::Io`] where reading fails.
pub fn open_images(path: impl AsRef<Path>) -> Result<Images, Error> {
    open(path.as_ref(), Reader::new())
}

/// Reads images as [`open_images`] does; where an array has exactly the size of the images of the network `preprocess`, it may also be one
/// image, `[H, W]` or `[C, H, W]`, or flattened gray images, `[N, H * W]`.
///
/// # Errors
/// Those of [`open_images`].
pub fn open_images_for(path: impl AsRef<Path>, preprocess: &Preprocess) -> Result<Images, Error> {
    open(path.as_ref(), Reader::new().network(preprocess))
}

/// Reads images as the reader says.
pub(crate) fn open(path: &Path, reader: Reader<'_>) -> Result<Images, Error> {
    if path.is_dir() {
        #[cfg(feature = "dicom")]
        if let Some(images) = dicom::folder(path, &dicom::Options::of_network(reader.network))? {
            return Ok(images);
        }
        return folder::read_folder(path);
    }
    match format_of(path)? {
        #[cfg(feature = "dicom")]
        Format::Dicom => dicom::single(path, &dicom::Options::of_network(reader.network)),
        Format::Npy => {
            let images = npy::images(Source::open(path)?, reader)?;
            Ok(with_labels_beside(images, path, |path| {
                npy::labels(Source::open(path)?)
            }))
        }
        Format::Npz(archive, array) => npz::read_images(&archive, array.as_deref(), reader),
        Format::Picture => folder::read_single(path),
        Format::Cifar => cifar::read_batch(path),
        Format::Idx => {
            let images = idx::images(Source::open(path)?, reader)?;
            Ok(with_labels_beside(images, path, |path| {
                Ok(Targets::Classes(idx::labels(Source::open(path)?)?))
            }))
        }
    }
}

/// Takes images part by part.
pub(crate) type Sink<'a> = dyn FnMut(Images) -> Result<(), Error> + 'a;

/// Reads images as [`open_images_for`] does, without labels and part by part, and gives notes.
pub(crate) fn read_parts(
    path: &Path,
    bounds: &Bounds<'_>,
    sink: &mut Sink,
) -> Result<Vec<String>, Error> {
    if path.is_dir() {
        #[cfg(feature = "dicom")]
        if let Some(notes) = dicom::folder_parts(
            path,
            bounds,
            &dicom::Options::of_network(Some(bounds.preprocess)),
            sink,
        )? {
            return Ok(notes);
        }
        return folder::parts(path, bounds, sink);
    }
    match format_of(path)? {
        #[cfg(feature = "dicom")]
        Format::Dicom => {
            return dicom::single_parts(
                path,
                bounds,
                &dicom::Options::of_network(Some(bounds.preprocess)),
                sink,
            );
        }
        Format::Npy => npy::parts(Source::open(path)?, bounds, sink)?,
        Format::Npz(archive, array) => npz::parts(&archive, array.as_deref(), bounds, sink)?,
        Format::Picture => return folder::single_part(path, bounds, sink),
        Format::Cifar => cifar::parts(path, bounds, sink)?,
        Format::Idx => idx::parts(Source::open(path)?, bounds, sink)?,
    }
    Ok(Vec::new())
}

/// What a file is.
enum Format {
    #[cfg(feature = "dicom")]
    Dicom,
    Npy,
    /// The archive, and the array in it that was named.
    Npz(PathBuf, Option<String>),
    Picture,
    Cifar,
    Idx,
}

/// Tells a format by the content.
fn format_of(path: &Path) -> Result<Format, Error> {
    if let Some((archive, array)) = archive_member(path) {
        return Ok(Format::Npz(archive, Some(array)));
    }
    let is_bin = || {
        path.extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("bin"))
    };
    let start = magic(path, foreign::MAGIC_BYTES)?;
    if foreign::is_dicom(&start) {
        #[cfg(feature = "dicom")]
        return Ok(Format::Dicom);
        #[cfg(not(feature = "dicom"))]
        return Err(foreign::refusal(path, &start));
    }
    Ok(match &*start {
        [0x93, b'N', b'U', b'M', ..] => Format::Npy,
        [b'P', b'K', 3..=8, ..] => Format::Npz(path.to_owned(), None),
        [0x89, b'P', b'N', b'G', ..] | [0xff, 0xd8, 0xff, ..] => Format::Picture,
        // Before IDX, since a batch whose first label is 0 may start like one.
        _ if is_bin() => Format::Cifar,
        _ if foreign::known(&start).is_some() => return Err(foreign::refusal(path, &start)),
        [0x1f, 0x8b, ..] | [0, 0, ..] => Format::Idx,
        _ => return Err(foreign::refusal(path, &start)),
    })
}

/// Splits `FILE.npz:NAME`, where there is no file of that whole name.
fn archive_member(path: &Path) -> Option<(PathBuf, String)> {
    if path.exists() {
        return None;
    }
    let (archive, array) = path.to_str()?.rsplit_once(':')?;
    let is_archive = Path::new(archive).extension()?.eq_ignore_ascii_case("npz");
    is_archive.then(|| (archive.into(), array.into()))
}

/// What the labels of images of this name are called, if the name says so.
pub(crate) fn labels_name(name: &str) -> Option<String> {
    if !name.contains("images")
        && let Some(rest) = name.strip_prefix(['x', 'X'])
        && rest.starts_with(['_', '.'])
    {
        return Some(format!("y{rest}"));
    }
    let labels = name
        .replace("images", "labels")
        .replace("idx3", "idx1")
        .replace("idx4", "idx1");
    name.contains("images").then_some(labels)
}

fn with_labels_beside(
    images: Images,
    path: &Path,
    read: impl Fn(&Path) -> Result<Targets, Error>,
) -> Images {
    let Some(name) = path
        .file_name()
        .and_then(|name| name.to_str())
        .and_then(labels_name)
    else {
        return images;
    };
    // One of the two may be packed and the other not.
    let other = name
        .strip_suffix(".gz")
        .map_or_else(|| format!("{name}.gz"), str::to_owned);
    let found = [name, other]
        .map(|name| path.with_file_name(name))
        .into_iter()
        .find(|path| path.is_file());
    images.with_optional_labels(found.map(|path| read(&path)).transpose())
}
