//! Whole data sets: which there are, where they are, how they are split.

use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

use crate::extent::Extent;
use crate::layout::{self, Found, Parts, recognise};
use crate::set_name::{SetName, not_found};
use crate::{Error, Images, LabelMatrix, Layout, Pixels};

/// A data set with its splits.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DataSet {
    /// The set's name, such as `mnist`.
    pub name: String,
    /// Images to train with.
    pub train: Images,
    /// Images to choose epochs and settings by, where the set has such a split.
    pub validation: Option<Images>,
    /// Images for the final figures, and for nothing else.
    pub test: Images,
    /// Name of every class.
    pub class_names: Vec<String>,
    /// Raw values of black and white.
    pub range: (f64, f64),
    /// What was done to the set while reading it, for the record.
    pub notes: Vec<String>,
}

/// Where sets are looked for by name.
fn roots() -> Vec<PathBuf> {
    let given = std::env::var_os("SORDINO_DATA").filter(|path| !path.is_empty());
    let usual = ["data", "/usr/share/datasets"].map(Into::into);
    given.into_iter().chain(usual).map(PathBuf::from).collect()
}

/// Finds the folder or file of a set by name.
///
/// `data` is the set's own folder or one that holds several sets; without it `$SORDINO_DATA`, `./data` and
/// `/usr/share/datasets` are searched, in this order.
///
/// # Errors
/// [`Error::SetNotFound`] names every place that was tried (also for [`SetName::Digits`], which has no files), and
/// what [`open_set`] says of labels that cannot be read.
pub fn find_set(data: Option<&Path>, name: SetName) -> Result<PathBuf, Error> {
    let roots = data.map_or_else(roots, |path| vec![path.to_path_buf()]);
    let mut looked = Vec::new();
    for root in roots {
        let places = name.places().iter().map(|place| root.join(place));
        for candidate in [root.clone()].into_iter().chain(places) {
            if recognise(&candidate)?.is_some_and(|found| found.name == Some(name)) {
                return Ok(candidate);
            }
        }
        looked.push(root);
    }
    Err(not_found(name.as_str(), looked))
}

/// Reads a set by name from where [`find_set`] finds it; [`digits`] needs no files.
///
/// # Errors
/// Those of [`find_set`] and [`open_set`].
pub fn open_named(data: Option<&Path>, name: SetName) -> Result<DataSet, Error> {
    match name {
        SetName::Digits => Ok(digits()),
        name => open_set(find_set(data, name)?),
    }
}

/// Reads a set: by its own folder (or `.npz` file), by a folder that holds just one set, or by name.
///
/// # Errors
/// [`Error::SetNotFound`] and [`Error::Ambiguous`] where the path stands for no set or for several; what the readers
/// say of damaged files; [`Error::Malformed`] for labels without a class.
pub fn open_set(path_or_name: impl AsRef<Path>) -> Result<DataSet, Error> {
    open(path_or_name.as_ref(), None)
}

/// The sets in MedMNIST's layout that have no name of their own here, by name and path: folders with one such archive, and archives with `mnist`
/// in their names. `data` is the folder that holds them; without it they are looked for where [`find_set`] looks.
pub fn find_sets(data: Option<&Path>) -> Vec<(String, PathBuf)> {
    let roots = data.map_or_else(roots, |path| vec![path.to_path_buf()]);
    roots
        .iter()
        .flat_map(|root| layout::archives_in(root))
        .collect()
}

/// Finds a set in MedMNIST's layout by its name.
fn find_archive(name: &str) -> Option<PathBuf> {
    let sets = find_sets(None).into_iter();
    sets.filter(|(found, _)| found == name)
        .map(|(_, path)| path)
        .next()
}

/// [`open_set`], with the layout of arrays where it is known.
pub(crate) fn open(path: &Path, layout: Option<Layout>) -> Result<DataSet, Error> {
    let text = path.to_string_lossy();
    let name = text.parse::<SetName>().ok();
    if name == Some(SetName::Digits) {
        return Ok(digits());
    }
    if !path.exists() {
        return match name {
            Some(name) => open(&find_set(None, name)?, layout),
            None => match find_archive(&text) {
                Some(place) => open(&place, layout),
                None => Err(not_found(&text, vec![path.into()])),
            },
        };
    }
    if let Some(found) = recognise(path)? {
        return read(path, found, layout);
    }
    let mut inside = Vec::new();
    // The digits have no place, and are never found.
    for name in SetName::ALL {
        match find_set(Some(path), name) {
            Ok(place) => inside.push((name.to_string(), place)),
            Err(Error::SetNotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    inside.extend(layout::archives_in(path));
    match &*inside {
        [] => match layout::class_folders(path)? {
            Some(found) => read(path, found, layout),
            None => Err(not_found(&text, vec![path.into()])),
        },
        [(_, place)] => open(place, layout),
        _ => {
            let choices = inside.iter().map(|(name, _)| name.clone()).collect();
            let advice = format!("such as {}", inside[0].1.display());
            Err(Error::Ambiguous {
                location: text.into_owned(),
                choices,
                advice,
            })
        }
    }
}

fn read(path: &Path, found: Found, layout: Option<Layout>) -> Result<DataSet, Error> {
    let (name, own_name) = (found.name, found.own_name(path));
    let Parts {
        train,
        validation,
        test,
        classes: found_classes,
        mut notes,
    } = found.read(path, layout)?;
    let parts = [Some(&train), validation.as_ref(), Some(&test)];
    let labels = |part: &Images| part.labels.iter().flatten().max().copied();
    let highest = parts.into_iter().flatten().filter_map(labels).max();
    let columns = |part: &Images| part.matrix.as_ref().map(LabelMatrix::columns);
    let classes = highest.map_or(columns(&train).unwrap_or(0), |label| usize::from(label) + 1);
    let findings = columns(&train);
    let numbers = || {
        let name = |class: usize| match findings {
            Some(_) => format!("finding-{class}"),
            None => class.to_string(),
        };
        (0..classes).map(name).collect()
    };
    let known = name.map(SetName::class_names);
    // Classes are no findings, unless there are as many.
    let fits = |names: &Vec<String>| findings.is_none_or(|columns| columns == names.len());
    let class_names: Vec<String> = known.or(found_classes).filter(fits).unwrap_or_else(numbers);
    if classes > class_names.len() {
        let location = path.display().to_string();
        let expected = format!("labels below {}", class_names.len());
        let found = (classes - 1).to_string();
        let advice = "check that images and labels are those of this set";
        return Err(Error::malformed(location, expected, found, advice));
    }
    for part in parts.into_iter().flatten() {
        let (expected, found) = (test.shape_text(), part.shape_text());
        if expected != found {
            let advice = "check that all files are of the same set";
            return Err(Error::malformed(&*part.origin, expected, found, advice));
        }
        if columns(part) != columns(&train) {
            let words = |columns: Option<usize>| match columns {
                Some(columns) => format!("{columns} labels per image"),
                None => "one class per image".to_owned(),
            };
            let (expected, found) = (words(columns(&train)), words(columns(part)));
            let advice = "give all parts of a set the same labels";
            return Err(Error::malformed(&*part.origin, expected, found, advice));
        }
        for note in &part.notes {
            // Parts that were split from one have its notes.
            if !notes.contains(note) {
                notes.push(note.clone());
            }
        }
    }
    notes.extend(empty_classes(&train, &class_names));
    notes.extend(classes_in_columns(&train));
    let range = range_of(&parts, &mut notes);
    let name = name.map(|name| name.to_string()).or(own_name);
    Ok(DataSet {
        name: name.unwrap_or("images".into()),
        train,
        validation,
        test,
        class_names,
        range,
        notes,
    })
}

/// A note that some classes have no training image, as where labels are numbered from 1.
fn empty_classes(train: &Images, classes: &[String]) -> Option<String> {
    let counts = train.histogram(classes.len())?;
    let empty = counts.iter().zip(classes).filter(|&(&count, _)| count == 0);
    let empty: Vec<&str> = empty.map(|(_, name)| name.as_str()).collect();
    let (count, first) = (empty.len(), empty.first()?);
    Some(format!(
        "{count} of {} classes have no training image, such as {first}: number the classes from 0 without gaps if that is not meant",
        classes.len()
    ))
}

/// A note that findings may be classes, each with a column of its own.
fn classes_in_columns(train: &Images) -> Option<String> {
    let matrix = train.matrix.as_ref()?;
    let mut rows = matrix.values().chunks_exact(matrix.columns());
    let is_one = |row: &[Option<bool>]| {
        let known = row.iter().flatten();
        row.iter().all(Option::is_some) && known.filter(|&&label| label).count() == 1
    };
    rows.all(is_one).then(|| {
        format!(
            "every training image has exactly one of {} findings: if these are classes, save their numbers, labels.argmax(axis=1)",
            matrix.columns()
        )
    })
}

/// Raw values of black and white: those of the type, or those that floating-point values are usually scaled to.
fn range_of(parts: &[Option<&Images>], notes: &mut Vec<String>) -> (f64, f64) {
    let parts = || parts.iter().flatten().map(|part| &part.pixels);
    let extents = parts().map(Extent::of_all);
    let Some(extent) = extents.reduce(Extent::join) else {
        return (0.0, 255.0);
    };
    let is_unit = extent.low >= 0.0 && extent.high == 1.0;
    let (range, note) = match parts().next() {
        Some(Pixels::U8(_)) if is_unit => ((0.0, 1.0), "all bytes are 0 or 1"),
        Some(Pixels::U8(_)) | None => return (0.0, 255.0),
        Some(Pixels::U16(_)) => ((0.0, 65535.0), "the values have 16 bits"),
        Some(pixels @ Pixels::F32(_)) => match extent.usual(pixels) {
            Some((0.0, 1.0)) => return (0.0, 1.0),
            Some(range) => (range, "the values fill a usual range"),
            None => ((extent.low, extent.high), "the values fill no usual range"),
        },
    };
    notes.push(format!(
        "{note}, and lie in {}..{}: black is taken to be {} and white {}; give --range A..B if they are others",
        extent.low, extent.high, range.0, range.1
    ));
    range
}

/// The built-in handwritten digits: 1,797 images of 8x8 pixels, values 0 to 16.
///
/// The first 1,198 are for training and the last 599 for testing, in the order of the original file.
///
/// # Reference
/// E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998,
/// DOI 10.24432/C50P49 (CC BY 4.0).
pub fn digits() -> DataSet {
    const WHY: &str = "the embedded file is fixed, and a test reads it";
    let mut text = String::new();
    GzDecoder::new(&include_bytes!("../assets/digits.csv.gz")[..])
        .read_to_string(&mut text)
        .expect(WHY);
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let (image, label) = line.rsplit_once(',').expect(WHY);
        let values = image.split(',');
        pixels.extend(values.map(|value| value.parse::<u8>().expect(WHY)));
        labels.push(label.parse::<u16>().expect(WHY));
    }
    let name = SetName::Digits.as_str();
    let all = Images::new((1, 8, 8), Pixels::U8(pixels), Some(labels), None, name).expect(WHY);
    let (train, test) = all.split_at(all.len() * 2 / 3);
    DataSet {
        name: name.into(),
        train,
        validation: None,
        test,
        class_names: SetName::Digits.class_names(),
        range: (0.0, 16.0),
        notes: Vec::new(),
    }
}
