//! Rows and columns around a feature map.

use serde::{Deserialize, Serialize};

/// Rows and columns added around a map, vertically and horizontally: zeros for a convolution, minus infinity for a
/// maximum.
///
/// Serialized as `[rows, columns]` where both sides of each axis are alike, else as
/// `[[before, after], [before, after]]`, rows first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Padding {
    /// Rows above and columns to the left.
    pub before: [usize; 2],
    /// Rows below and columns to the right.
    pub after: [usize; 2],
}

impl Padding {
    /// No padding.
    pub const NONE: Self = Self::same([0, 0]);

    /// The same number of rows above and below, and of columns on the left and right.
    pub const fn same(rows_and_columns: [usize; 2]) -> Self {
        Self {
            before: rows_and_columns,
            after: rows_and_columns,
        }
    }

    /// Whether both sides of each axis are alike.
    pub fn is_same(&self) -> bool {
        self.before == self.after
    }

    /// Whether nothing is added.
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }
}

/// The form in the model file.
#[derive(Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected padding as [rows, columns] or [[before, after], [before, after]]"
)]
enum Written {
    Same([usize; 2]),
    Sides([[usize; 2]; 2]),
}

impl From<Written> for Padding {
    fn from(written: Written) -> Self {
        match written {
            Written::Same(both) => Self::same(both),
            Written::Sides([rows, columns]) => Self {
                before: [rows[0], columns[0]],
                after: [rows[1], columns[1]],
            },
        }
    }
}

impl From<Padding> for Written {
    fn from(padding: Padding) -> Self {
        let Padding { before, after } = padding;
        match padding.is_same() {
            true => Self::Same(before),
            false => Self::Sides([[before[0], after[0]], [before[1], after[1]]]),
        }
    }
}
