//! Labels of images: one class each, or several findings each.

use crate::Error;

/// Most labels of an image.
const COLUMN_LIMIT: u64 = 1 << 12;

/// Findings of images: for every image and label 1 or 0, for there or not there.
///
/// # Shapes
/// `[images, columns]`, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelMatrix {
    columns: usize,
    values: Vec<u8>,
}

impl LabelMatrix {
    /// A matrix of so many columns; `location` is for messages.
    ///
    /// # Errors
    /// [`Error::Malformed`] for values other than 0 and 1 and for rows that are not whole, [`Error::TooLarge`] for too many columns.
    pub fn new(columns: usize, values: Vec<u8>, location: &str) -> Result<Self, Error> {
        let (what, limit) = ("number of labels per image", COLUMN_LIMIT);
        Error::check_limit(location, what, columns as u64, limit)?;
        if columns == 0 || !values.len().is_multiple_of(columns) {
            let expected = format!("whole rows of {columns} labels");
            let found = format!("{} values", values.len());
            let advice = "check that the labels are complete";
            return Err(Error::malformed(location, expected, found, advice));
        }
        match values.iter().find(|&&value| value > 1) {
            Some(&other) => Err(Self::wrong(other.into(), location)),
            None => Ok(Self { columns, values }),
        }
    }

    /// The error that a label is neither 0 nor 1.
    pub(crate) fn wrong(found: i128, location: &str) -> Error {
        Error::malformed(
            location,
            "labels 0 or 1 where there are several per image",
            found.to_string(),
            "give one class number per image, [N] or [N, 1], or 0 and 1 per label",
        )
    }

    /// Labels per image.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Number of images.
    pub fn rows(&self) -> usize {
        self.values.len() / self.columns
    }

    /// The labels of an image.
    ///
    /// # Panics
    /// Past the end.
    pub fn row(&self, image: usize) -> &[u8] {
        &self.values[image * self.columns..][..self.columns]
    }

    /// Number of images with each label.
    pub fn positives(&self) -> Vec<usize> {
        let mut counts = vec![0; self.columns];
        for row in self.values.chunks_exact(self.columns) {
            let labels = counts.iter_mut().zip(row);
            labels.for_each(|(count, &label)| *count += usize::from(label));
        }
        counts
    }

    /// The rows at `images`, in that order.
    pub(crate) fn subset(&self, images: &[usize]) -> Self {
        let rows = images.iter().flat_map(|&image| self.row(image));
        Self {
            columns: self.columns,
            values: rows.copied().collect(),
        }
    }

    /// Appends the rows of a matrix with as many columns.
    pub(crate) fn append(&mut self, other: Self) {
        self.values.extend(other.values);
    }
}

/// Labels as a file has them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Labels {
    Classes(Vec<u16>),
    Matrix(LabelMatrix),
}

impl Labels {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Classes(labels) => labels.len(),
            Self::Matrix(matrix) => matrix.rows(),
        }
    }
}
