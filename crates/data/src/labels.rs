//! Labels of images: one class each, or several findings each.

use crate::Error;

/// Most labels of an image.
const COLUMN_LIMIT: u64 = 1 << 12;

/// Findings of images: whether each is in each image, `None` where that is unknown.
///
/// # Shapes
/// `[images, columns]`, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelMatrix {
    columns: usize,
    values: Vec<Option<bool>>,
}

/// Images by what is known of one finding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FindingCounts {
    /// Images with the finding.
    pub present: usize,
    /// Images without it.
    pub absent: usize,
    /// Images whose label is missing.
    pub unknown: usize,
}

impl LabelMatrix {
    /// A matrix of so many columns; `location` is for messages.
    ///
    /// # Errors
    /// [`Error::Malformed`] for rows that are not whole, [`Error::TooLarge`] for too many columns.
    pub fn new(columns: usize, values: Vec<Option<bool>>, location: &str) -> Result<Self, Error> {
        let (what, limit) = ("number of labels per image", COLUMN_LIMIT);
        Error::check_limit(location, what, columns as u64, limit)?;
        if columns == 0 || !values.len().is_multiple_of(columns) {
            let expected = format!("whole rows of {columns} labels");
            let found = format!("{} values", values.len());
            let advice = "check that the labels are complete";
            return Err(Error::malformed(location, expected, found, advice));
        }
        Ok(Self { columns, values })
    }

    /// The error that a label is neither 0 nor 1 nor unknown.
    pub(crate) fn wrong(found: impl ToString, location: &str) -> Error {
        Error::malformed(
            location,
            "labels 0 or 1 where there are several per image, or -1 (in floating point NaN) where a label is missing",
            found.to_string(),
            "give one class number per image, [N] or [N, 1] (array.argmax(axis=1), if there is a column per class), or 0 and 1 per label",
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

    /// The labels of an image; `None` where one is missing.
    ///
    /// # Panics
    /// Past the end.
    pub fn row(&self, image: usize) -> &[Option<bool>] {
        &self.values[image * self.columns..][..self.columns]
    }

    /// All labels, row by row; `None` where one is missing.
    pub fn values(&self) -> &[Option<bool>] {
        &self.values
    }

    /// The labels of one finding, image by image; `None` where one is missing.
    ///
    /// # Panics
    /// If there is no such column.
    pub fn column(&self, column: usize) -> Vec<Option<bool>> {
        assert!(column < self.columns, "a column of the matrix");
        let rows = self.values.chunks_exact(self.columns);
        rows.map(|row| row[column]).collect()
    }

    /// What is known of each finding, in numbers of images.
    pub fn counts(&self) -> Vec<FindingCounts> {
        let mut counts = vec![FindingCounts::default(); self.columns];
        for row in self.values.chunks_exact(self.columns) {
            for (count, label) in counts.iter_mut().zip(row) {
                *match label {
                    Some(true) => &mut count.present,
                    Some(false) => &mut count.absent,
                    None => &mut count.unknown,
                } += 1;
            }
        }
        counts
    }

    /// Number of images with each finding.
    pub fn positives(&self) -> Vec<usize> {
        self.counts().iter().map(|count| count.present).collect()
    }

    /// The rows at `images`, in that order; a row may be taken several times.
    ///
    /// # Panics
    /// For an image past the end.
    pub fn subset(&self, images: &[usize]) -> Self {
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

/// What images are labelled with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Targets {
    /// A class each.
    Classes(Vec<u16>),
    /// Several findings each, some of which may be unknown.
    Findings(LabelMatrix),
}

impl Targets {
    /// Number of images.
    pub fn len(&self) -> usize {
        match self {
            Self::Classes(labels) => labels.len(),
            Self::Findings(matrix) => matrix.rows(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The class of every image; `None` for findings.
    pub fn classes(&self) -> Option<&[u16]> {
        match self {
            Self::Classes(labels) => Some(labels),
            Self::Findings(_) => None,
        }
    }

    /// The findings of every image; `None` for classes.
    pub fn findings(&self) -> Option<&LabelMatrix> {
        match self {
            Self::Classes(_) => None,
            Self::Findings(matrix) => Some(matrix),
        }
    }

    /// The labels of the images at `images`, in that order; an image may be taken several times.
    ///
    /// # Panics
    /// For an image past the end.
    pub fn subset(&self, images: &[usize]) -> Self {
        match self {
            Self::Classes(labels) => {
                Self::Classes(images.iter().map(|&image| labels[image]).collect())
            }
            Self::Findings(matrix) => Self::Findings(matrix.subset(images)),
        }
    }
}

impl From<Vec<u16>> for Targets {
    fn from(labels: Vec<u16>) -> Self {
        Self::Classes(labels)
    }
}

impl From<LabelMatrix> for Targets {
    fn from(matrix: LabelMatrix) -> Self {
        Self::Findings(matrix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_counted_and_rows_are_taken() {
        let (yes, no) = (Some(true), Some(false));
        let matrix = LabelMatrix::new(2, vec![yes, None, no, yes, yes, None], "a").unwrap();
        let counts = |present, absent, unknown| FindingCounts {
            present,
            absent,
            unknown,
        };
        assert_eq!(matrix.counts(), [counts(2, 1, 0), counts(1, 0, 2)]);
        assert_eq!(matrix.positives(), [2, 1]);
        assert_eq!(matrix.column(1), [None, yes, None]);
        let targets = Targets::from(matrix).subset(&[1, 0, 1]);
        assert_eq!((targets.len(), targets.classes()), (3, None));
        assert_eq!(
            targets.findings().unwrap().values(),
            [no, yes, yes, None, no, yes]
        );
        assert!(LabelMatrix::new(4, vec![yes; 6], "a").is_err());
    }
}
