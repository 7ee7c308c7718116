//! Whole data sets: which there are, where they are, how they are split.

use std::collections::HashSet;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use flate2::read::GzDecoder;

use crate::formats::npz::Npz;
use crate::formats::{cifar, idx, npy};
use crate::source::Source;
use crate::{Error, Images, Pixels};

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

/// The data sets that are known by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SetName {
    /// 8x8 handwritten digits, built in.
    Digits,
    /// MNIST.
    Mnist,
    /// Fashion-MNIST.
    FashionMnist,
    /// CIFAR-10.
    Cifar10,
    /// PneumoniaMNIST.
    PneumoniaMnist,
}

impl SetName {
    /// Every set.
    pub const ALL: [Self; 5] = [
        Self::Digits,
        Self::Mnist,
        Self::FashionMnist,
        Self::Cifar10,
        Self::PneumoniaMnist,
    ];

    /// The name in commands, files and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Digits => "digits",
            Self::Mnist => "mnist",
            Self::FashionMnist => "fashion-mnist",
            Self::Cifar10 => "cifar-10",
            Self::PneumoniaMnist => "pneumoniamnist",
        }
    }

    /// The classes' names, by number.
    pub fn class_names(self) -> Vec<String> {
        let names = match self {
            Self::Digits | Self::Mnist => "0, 1, 2, 3, 4, 5, 6, 7, 8, 9",
            Self::FashionMnist => {
                "T-shirt/top, Trouser, Pullover, Dress, Coat, Sandal, Shirt, Sneaker, Bag, Ankle boot"
            }
            Self::Cifar10 => "airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck",
            Self::PneumoniaMnist => "normal, pneumonia",
        };
        names.split(", ").map(str::to_owned).collect()
    }

    /// Where a set commonly lies in a folder that holds several.
    const fn places(self) -> &'static [&'static str] {
        match self {
            Self::Digits => &[],
            Self::Mnist => &["mnist", "MNIST", "MNIST/raw"],
            Self::FashionMnist => &["fashion-mnist", "FashionMNIST", "FashionMNIST/raw"],
            Self::Cifar10 => &["cifar-10", "cifar-10-batches-bin", "cifar10"],
            Self::PneumoniaMnist => &["pneumoniamnist/pneumoniamnist.npz", "pneumoniamnist.npz"],
        }
    }
}

impl fmt::Display for SetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SetName {
    type Err = Error;

    /// # Errors
    /// [`Error::SetNotFound`] for any other name.
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|name| name.as_str() == text)
            .ok_or_else(|| not_found(text, Vec::new()))
    }
}

fn not_found(name: &str, looked: Vec<PathBuf>) -> Error {
    let names = SetName::ALL.map(SetName::as_str).join(", ");
    let advice = format!(
        "give a set's folder or a name ({names}), or set SORDINO_DATA to the folder that holds the sets"
    );
    Error::SetNotFound {
        name: name.into(),
        looked,
        advice,
    }
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
}

/// What lies at a path, if it is a set: its files and, where the content tells, which one.
struct Found {
    files: Files,
    name: Option<SetName>,
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

fn recognise(path: &Path) -> Result<Option<Found>, Error> {
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
        return Ok(None);
    }
    let test = path.join("test_batch.bin");
    found(Files::Cifar { train, test }, Some(SetName::Cifar10))
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
    let path = path_or_name.as_ref();
    let text = path.to_string_lossy();
    let name = text.parse::<SetName>().ok();
    if name == Some(SetName::Digits) {
        return Ok(digits());
    }
    if !path.exists() {
        return match name {
            Some(name) => open_named(None, name),
            None => Err(not_found(&text, vec![path.into()])),
        };
    }
    if let Some(found) = recognise(path)? {
        return read(path, found);
    }
    let mut inside = Vec::new();
    // The digits have no place, and are never found.
    for name in SetName::ALL {
        match find_set(Some(path), name) {
            Ok(place) => inside.push((name, place)),
            Err(Error::SetNotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    match &*inside {
        [] => Err(not_found(&text, vec![path.into()])),
        [(_, place)] => open_set(place),
        _ => {
            let choices = inside.iter().map(|(name, _)| name.to_string()).collect();
            let advice = format!("such as {}", inside[0].1.display());
            Err(Error::Ambiguous {
                location: text.into_owned(),
                choices,
                advice,
            })
        }
    }
}

fn read(path: &Path, found: Found) -> Result<DataSet, Error> {
    let mut notes = Vec::new();
    let (train, validation, test) = match found.files {
        Files::Idx { train, test } => (read_idx(&train)?, None, read_idx(&test)?),
        Files::Cifar { train, test } => {
            let [first, rest @ ..] = train;
            let mut train = cifar::read_batch(&first)?;
            for batch in rest {
                train.append(cifar::read_batch(&batch)?)?;
            }
            train.origin = path.display().to_string();
            (train, None, cifar::read_batch(&test)?)
        }
        Files::Npz(file) => {
            let mut archive = Npz::open(&file)?;
            let mut split = |name: &str| {
                let images = npy::images(archive.array(&format!("{name}_images"))?)?;
                let labels = npy::labels(archive.array(&format!("{name}_labels"))?)?;
                images.with_labels(Some(labels))
            };
            let (train, validation, test) = (split("train")?, split("val")?, split("test")?);
            let (train, dropped) = without_recurring(train, &validation);
            if dropped > 0 {
                notes.push(format!(
                    "training images left out because the validation part has them too: {dropped}"
                ));
            }
            (train, Some(validation), test)
        }
    };
    let parts = [Some(&train), validation.as_ref(), Some(&test)];
    let highest = parts
        .iter()
        .flatten()
        .filter_map(|part| part.labels.as_ref()?.iter().max())
        .max();
    let classes = highest.map_or(0, |&label| usize::from(label) + 1);
    let class_names = match found.name {
        Some(name) => name.class_names(),
        None => (0..classes).map(|class| class.to_string()).collect(),
    };
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
    }
    let stem = || {
        path.file_stem()
            .map(|stem| stem.to_string_lossy().into_owned())
    };
    let name = found.name.map(|name| name.to_string()).or_else(stem);
    let range = match test.pixels {
        Pixels::U8(_) => (0.0, 255.0),
        Pixels::U16(_) => (0.0, 65535.0),
        Pixels::F32(_) => (0.0, 1.0),
    };
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

fn read_idx([images, labels]: &[PathBuf; 2]) -> Result<Images, Error> {
    let labels = idx::labels(Source::open(labels)?)?;
    idx::images(Source::open(images)?)?.with_labels(Some(labels))
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
