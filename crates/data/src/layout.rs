//! How the files of data sets are laid out, and which file has which part.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::formats::npz::Npz;
use crate::formats::{cifar, folder, idx, npy};
use crate::labels::Targets;
use crate::set_name::SetName;
use crate::source::{PIXEL_BYTES, Source};
use crate::{Error, Images, Layout, Pixels, Reader};

/// What parts of a set are called.
const TRAIN: &[&str] = &["train", "training"];
const VALIDATION: &[&str] = &["val", "valid", "validation"];
const TEST: &[&str] = &["test", "testing"];

/// Of a set without a test part, one training image of so many is held back for testing.
const TEST_SHARE: usize = 5;

/// The parts of a set, as read.
pub(crate) struct Parts {
    pub(crate) train: Images,
    pub(crate) validation: Option<Images>,
    pub(crate) test: Images,
    /// The classes' names, where the files have them.
    pub(crate) classes: Option<Vec<String>>,
    pub(crate) notes: Vec<String>,
}

/// The files of a set, as found in a folder.
enum Files {
    Idx {
        train: [PathBuf; 2],
        test: [PathBuf; 2],
    },
    Cifar {
        train: [PathBuf; 5],
        test: PathBuf,
    },
    Npz(PathBuf),
    /// A folder per class, and a folder of those per part where there are parts.
    ClassFolders {
        train: PathBuf,
        validation: Option<PathBuf>,
        test: Option<PathBuf>,
    },
}

/// Most entries of a folder among which an archive is looked for.
const ARCHIVE_ENTRIES: usize = 256;

/// What lies at a path, if it is a set: its files and, where the content tells, which one.
pub(crate) struct Found {
    files: Files,
    pub(crate) name: Option<SetName>,
}

fn idx_file(folder: &Path, split: &str, what: &str, dimensions: u8) -> Option<PathBuf> {
    let plain = format!("{split}-{what}-idx{dimensions}-ubyte");
    let dotted = format!("{split}-{what}.idx{dimensions}-ubyte");
    let names = [format!("{plain}.gz"), plain, format!("{dotted}.gz"), dotted];
    names
        .into_iter()
        .map(|name| folder.join(name))
        .find(|path| path.is_file())
}

/// Distinguishes the two sets of IDX files, whose names are the same, by the first labels of their test part.
fn idx_name(labels: &[u16]) -> Option<SetName> {
    if labels.starts_with(&[7, 2, 1, 0, 4, 1, 4, 9, 5, 9, 0, 6]) {
        Some(SetName::Mnist)
    } else if labels.starts_with(&[9, 2, 1, 1, 6, 1, 4, 6, 5, 7, 4, 5]) {
        Some(SetName::FashionMnist)
    } else {
        None
    }
}

/// Tells what set of files lies at a path.
pub(crate) fn recognise(path: &Path) -> Result<Option<Found>, Error> {
    let found = |files, name| Ok(Some(Found { files, name }));
    if path.is_file() {
        if path
            .extension()
            .is_none_or(|end| !end.eq_ignore_ascii_case("npz"))
        {
            return Ok(None);
        }
        let pneumonia = path
            .file_stem()
            .is_some_and(|stem| stem == "pneumoniamnist");
        let name = pneumonia.then_some(SetName::PneumoniaMnist);
        return found(Files::Npz(path.into()), name);
    }
    let pair = |split| {
        let images = idx_file(path, split, "images", 3)?;
        Some([images, idx_file(path, split, "labels", 1)?])
    };
    if let Some((train, test)) = pair("train").zip(pair("t10k").or_else(|| pair("test"))) {
        let name = idx_name(&idx::labels(Source::open(&test[1])?)?);
        return found(Files::Idx { train, test }, name);
    }
    let train = [1, 2, 3, 4, 5].map(|number| path.join(format!("data_batch_{number}.bin")));
    if !train[0].is_file() {
        return match archive_in(path) {
            Some(file) => recognise(&file),
            None => Ok(None),
        };
    }
    let test = path.join("test_batch.bin");
    found(Files::Cifar { train, test }, Some(SetName::Cifar10))
}

/// Whether an archive is named as MedMNIST's own are.
fn is_named(archive: &Path) -> bool {
    archive
        .file_stem()
        .is_some_and(|stem| stem.to_string_lossy().contains("mnist"))
}

/// The one archive of a folder without folders in it, if its arrays are named as in MedMNIST.
///
/// An archive that cannot be opened counts, so that reading it says why.
fn archive_in(folder: &Path) -> Option<PathBuf> {
    let mut archives = Vec::new();
    for (index, entry) in fs::read_dir(folder).ok()?.enumerate() {
        if index == ARCHIVE_ENTRIES {
            return None;
        }
        let path = entry.ok()?.path();
        if folder::is_ignored(&path.file_name()?.to_string_lossy()) {
            continue;
        }
        if path.is_dir() {
            return None;
        }
        let ending = path.extension();
        if ending.is_some_and(|ending| ending.eq_ignore_ascii_case("npz")) {
            archives.push(path);
        }
    }
    let [archive] = &*archives else { return None };
    let names = Npz::open(archive).map(|archive| archive.names());
    let is_there = |names: Vec<String>| {
        let arrays = ["train_images", "train_labels", "test_images", "test_labels"];
        arrays
            .iter()
            .all(|array| names.iter().any(|name| name == array))
    };
    names.map_or(true, is_there).then(|| archive.clone())
}

/// The name of a set with one archive, in a folder or on its own.
fn set_name(path: &Path, archive: &Path) -> Option<String> {
    let name = match path.is_dir() && !is_named(archive) {
        true => path.file_name(),
        false => archive.file_stem(),
    };
    name.map(|name| name.to_string_lossy().into_owned())
}

/// The sets in a folder that are known by no name of their own, in the byte order of their names: folders with one archive in MedMNIST's
/// layout, and archives with `mnist` in their names.
pub(crate) fn archives_in(folder: &Path) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let set = |path: PathBuf| {
        let ending = path.extension().unwrap_or_default();
        let is_archive = ending.eq_ignore_ascii_case("npz") && is_named(&path);
        let file = match path.is_dir() {
            true => archive_in(&path)?,
            false => is_archive.then(|| path.clone())?,
        };
        let name = set_name(&path, &file)?;
        let known = |found: &Found| found.name.is_some();
        (!recognise(&file).ok()?.as_ref().is_some_and(known)).then_some((name, path))
    };
    let mut sets: Vec<_> = entries
        .take(ARCHIVE_ENTRIES * ARCHIVE_ENTRIES)
        .filter_map(|entry| set(entry.path()))
        .collect();
    sets.sort_unstable();
    sets
}

impl Found {
    /// The name by which a set goes at `path`, if its content does not tell.
    pub(crate) fn own_name(&self, path: &Path) -> Option<String> {
        match &self.files {
            Files::Npz(archive) => set_name(path, archive),
            _ => path
                .file_stem()
                .map(|stem| stem.to_string_lossy().into_owned()),
        }
    }

    /// Reads the set at `path`.
    pub(crate) fn read(self, path: &Path, layout: Option<Layout>) -> Result<Parts, Error> {
        let reader = Reader::new().layout(layout);
        let mut notes = Vec::new();
        let mut classes = None;
        let (train, validation, test) = match self.files {
            Files::Idx { train, test } => (
                read_idx(&train, reader)?,
                None,
                Some(read_idx(&test, reader)?),
            ),
            Files::Cifar { train, test } => {
                let [first, rest @ ..] = train;
                let mut train = cifar::read_batch(&first)?;
                for batch in rest {
                    train.append(cifar::read_batch(&batch)?)?;
                }
                train.origin = path.display().to_string();
                (train, None, Some(cifar::read_batch(&test)?))
            }
            Files::Npz(file) => read_npz(&file, reader)?,
            Files::ClassFolders {
                train,
                validation,
                test,
            } => {
                let names = class_names(&train)?;
                let part = |path: PathBuf| read_class_folders(&path, &names);
                let parts = (
                    part(train)?,
                    validation.map(part).transpose()?,
                    test.map(part).transpose()?,
                );
                classes = Some(names);
                parts
            }
        };
        let (train, validation, test) = match (validation, test) {
            (validation, Some(test)) => (train, validation, test),
            (Some(validation), None) => {
                notes.push("there is no test part: the validation part is used for testing".into());
                (train, None, validation)
            }
            (None, None) => {
                let (train, test) = hold_back(&train)?;
                notes.push(format!(
                    "there is no test part: one image of {TEST_SHARE} of each class is held back for testing, {} in all",
                    test.len()
                ));
                (train, None, test)
            }
        };
        let train = match &validation {
            None => train,
            Some(validation) => {
                let (train, dropped) = without_recurring(train, validation);
                if dropped > 0 {
                    notes.push(format!(
                        "training images left out because the validation part has them too: {dropped}"
                    ));
                }
                train
            }
        };
        Ok(Parts {
            train,
            validation,
            test,
            classes,
            notes,
        })
    }
}

fn read_idx([images, labels]: &[PathBuf; 2], reader: Reader<'_>) -> Result<Images, Error> {
    let labels = idx::labels(Source::open(labels)?)?;
    idx::images(Source::open(images)?, reader)?.with_labels(Targets::Classes(labels))
}

/// Training, validation and test images of an archive, in the layout of MedMNIST or of Keras.
fn read_npz(
    file: &Path,
    reader: Reader<'_>,
) -> Result<(Images, Option<Images>, Option<Images>), Error> {
    let mut archive = Npz::open(file)?;
    let names = archive.names();
    let pair = |part: &&str| {
        let pairs = [
            (format!("{part}_images"), format!("{part}_labels")),
            (format!("x_{part}"), format!("y_{part}")),
            (format!("X_{part}"), format!("y_{part}")),
            (format!("X_{part}"), format!("Y_{part}")),
        ];
        let is_there = |name: &String| names.contains(name);
        let whole = pairs
            .iter()
            .find(|(images, labels)| is_there(images) && is_there(labels));
        // Images whose labels are missing are read as well, and the error says so.
        let either = pairs.iter().find(|(images, _)| is_there(images));
        whole.or(either).cloned()
    };
    let mut part = |parts: &[&str]| {
        let Some((images, labels)) = parts.iter().find_map(pair) else {
            return Ok(None);
        };
        let labels = npy::labels(archive.array(&labels)?)?;
        let images = npy::images(archive.array(&images)?, reader)?;
        images.with_labels(labels).map(Some)
    };
    let train = part(TRAIN)?;
    let (validation, test) = (part(VALIDATION)?, part(TEST)?);
    match train {
        Some(train) if validation.is_some() || test.is_some() => Ok((train, validation, test)),
        _ => Err(Error::malformed(
            file.display().to_string(),
            "arrays train_images, train_labels, test_images and test_labels, or x_train, y_train, x_test and y_test",
            format!("arrays {}", names.join(", ")),
            "save the parts under these names; val_images and val_labels may be there too",
        )),
    }
}

/// The subfolders of a folder in the byte order of their names, and whether there are pictures beside them.
fn subfolders(path: &Path) -> Result<(Vec<String>, bool), Error> {
    let failed = |error| Error::io(path, "list", error);
    let (mut names, mut pictures) = (Vec::new(), false);
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if folder::is_ignored(&name) {
            continue;
        }
        if entry.path().is_dir() {
            names.push(name.into_owned());
            let (what, count) = ("number of classes", names.len() as u64);
            Error::check_limit(&path.display().to_string(), what, count, 1 << 16)?;
        } else {
            pictures |= folder::is_picture_name(&name);
        }
    }
    names.sort_unstable();
    Ok((names, pictures))
}

/// Whether a folder has pictures in it.
fn has_pictures(path: &Path) -> Result<bool, Error> {
    Ok(subfolders(path)?.1)
}

/// A set with a folder per class, `PART/CLASS/*.png` or `CLASS/*.png`, if there is one at the path.
pub(crate) fn class_folders(path: &Path) -> Result<Option<Found>, Error> {
    if !path.is_dir() {
        return Ok(None);
    }
    let (names, pictures) = subfolders(path)?;
    let part = |parts: &[&str]| {
        let is_part = |name: &&String| parts.contains(&&*name.to_ascii_lowercase());
        names.iter().find(is_part).map(|name| path.join(name))
    };
    let found = |train, validation, test| {
        Ok(Some(Found {
            files: Files::ClassFolders {
                train,
                validation,
                test,
            },
            name: None,
        }))
    };
    if let Some(train) = part(TRAIN) {
        let is_class = |name: &String| has_pictures(&train.join(name)).ok();
        return match subfolders(&train)?
            .0
            .iter()
            .filter_map(is_class)
            .any(|is| is)
        {
            true => found(train, part(VALIDATION), part(TEST)),
            false => Ok(None),
        };
    }
    if pictures || names.len() < 2 {
        return Ok(None);
    }
    let mut empty = Vec::new();
    for name in &names {
        if !has_pictures(&path.join(name))? {
            empty.push(&name[..]);
        }
    }
    match empty[..] {
        [] => found(path.to_owned(), None, None),
        _ if empty.len() == names.len() => Ok(None),
        [name, ..] => Err(Error::malformed(
            path.display().to_string(),
            "a folder of pictures for each class",
            format!("the folder {name:?} without pictures beside others that have some"),
            "put the pictures of this class there, or move the folder away (docs/guide/images.md has the layouts)",
        )),
    }
}

fn class_names(path: &Path) -> Result<Vec<String>, Error> {
    let (names, pictures) = subfolders(path)?;
    match pictures {
        false => Ok(names),
        true => Err(Error::malformed(
            path.display().to_string(),
            "a folder of pictures per class",
            "pictures beside these folders",
            "move them into the folder of their class",
        )),
    }
}

/// Reads a folder per class; the pictures of a class are in the byte order of their names.
fn read_class_folders(path: &Path, classes: &[String]) -> Result<Images, Error> {
    let mut all: Option<Images> = None;
    for name in class_names(path)? {
        let location = path.join(&name);
        let Some(class) = classes.iter().position(|class| *class == name) else {
            return Err(Error::malformed(
                location.display().to_string(),
                format!("the classes of the training part, {}", classes.join(", ")),
                name,
                "rename this folder, or add the class to the training part",
            ));
        };
        let mut images = folder::read_folder(&location)?;
        // At most 65,536 classes were listed.
        images.labels = Some(vec![class as u16; images.len()]);
        let names = images.names.iter_mut().flatten();
        names.for_each(|file| *file = format!("{name}/{file}"));
        match &mut all {
            None => all = Some(images),
            Some(all) => all.append(images)?,
        }
        let values = all.as_ref().map_or(0, |all| all.pixels.len() as u64);
        let (location, what) = (path.display().to_string(), "number of values");
        Error::check_limit(&location, what, values, PIXEL_BYTES)?;
    }
    let mut all = all.ok_or_else(|| folder::no_pictures(path.display().to_string()))?;
    all.origin = path.display().to_string();
    Ok(all)
}

/// Training images, and one of so many of each class for testing.
fn hold_back(images: &Images) -> Result<(Images, Images), Error> {
    let mut seen = vec![0; 1 << 16];
    let (mut train, mut test) = (Vec::new(), Vec::new());
    for (index, &label) in images.labels.iter().flatten().enumerate() {
        let count: &mut usize = &mut seen[usize::from(label)];
        *count += 1;
        match count.is_multiple_of(TEST_SHARE) {
            true => test.push(index),
            false => train.push(index),
        }
    }
    if test.is_empty() {
        return Err(Error::malformed(
            &*images.origin,
            format!("a test part, or at least {TEST_SHARE} images of a class"),
            format!("{} images", images.len()),
            "add images",
        ));
    }
    Ok((images.subset(&train), images.subset(&test)))
}

/// The images of `train` whose exact pixels do not occur in `other`, and how many were dropped.
fn without_recurring(train: Images, other: &Images) -> (Images, usize) {
    let (Pixels::U8(ours), Pixels::U8(theirs)) = (&train.pixels, &other.pixels) else {
        return (train, 0);
    };
    let seen: HashSet<&[u8]> = theirs.chunks_exact(other.elements()).collect();
    let fresh = ours
        .chunks_exact(train.elements())
        .enumerate()
        .filter(|(_, image)| !seen.contains(image));
    let kept: Vec<usize> = fresh.map(|(index, _)| index).collect();
    let dropped = train.len() - kept.len();
    (train.subset(&kept), dropped)
}
