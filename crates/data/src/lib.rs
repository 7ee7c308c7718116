//! Readers of image data sets and folders, preprocessing, splits.
//!
//! - [`open_images`] reads images to be classified, with labels only where a format carries them: a flat folder of
//!   PNG or JPEG, IDX, CIFAR-10 binary, `.npy`, `.npz`; with the feature `dicom` also DICOM.
//! - [`open_set`] and [`open_named`] read a whole data set with its splits; [`digits`] is built in.
//! - [`prepare_path`] does both for as many images as a network takes, with no more in memory than that.
//! - [`Reader`] reads with what is known beforehand, such as the [`Layout`] of arrays.
//! - [`prepare`] applies a network's [`Preprocess`](sordino_graph::Preprocess) and refuses what does not fit it.
//!
//! Files may be hostile: every size is checked against limits, and against what the file can
//! hold, before memory is taken for it; checksums of gzip, zip and PNG are verified. Nothing is downloaded and nothing
//! is written. Nothing here uses randomness.

mod array_layout;
mod error;
mod extent;
mod fit;
mod formats;
mod images;
mod labels;
mod layout;
mod prepare;
mod prepare_path;
mod reader;
mod resample;
mod set;
mod set_name;
mod source;

pub use array_layout::Layout;
pub use error::{Error, ValueCause};
#[cfg(feature = "dicom")]
pub use formats::dicom::{Options as DicomOptions, Window, WindowFunction, open_dicom};
pub use formats::{open_images, open_images_for};
pub use images::{Images, Pixels, shift};
pub use labels::{FindingCounts, LabelMatrix, Targets};
pub use prepare::{prepare, prepare_noted};
pub use prepare_path::{Prepared, prepare_path};
pub use reader::Reader;
pub use set::{DataSet, digits, find_set, find_sets, open_named, open_set};
pub use set_name::SetName;
