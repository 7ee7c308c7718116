//! Tables of a page: a row per quantity, a column per record or plan.

use serde::{Deserialize, Serialize};

use crate::Unit::{self, Bits, Bytes, Count, Number, Seconds, Share};

/// A table of quantities with a column for each of several records or plans.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Table {
    /// Title.
    pub title: String,
    /// The column that ratios are relative to; `None` where there are none.
    pub baseline: Option<usize>,
    /// Titles of the columns.
    pub columns: Vec<String>,
    /// The quantities that some column has.
    pub rows: Vec<Row>,
}

/// One quantity in all columns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Name in records, such as `evaluate_seconds`.
    pub name: String,
    /// Name for people.
    pub label: String,
    /// What it means, where the label does not say.
    pub note: Option<String>,
    /// What the numbers count.
    pub unit: Unit,
    /// One per column.
    pub cells: Vec<Cell>,
}

/// One quantity of one column.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cell {
    /// The number, if the quantity is one.
    pub value: Option<f64>,
    /// Words in place of the number.
    pub text: Option<String>,
    /// The smallest of the runs.
    pub min: Option<f64>,
    /// The largest of the runs.
    pub max: Option<f64>,
    /// `value` over that of the baseline, where the two can be compared.
    pub ratio: Option<f64>,
}

impl Table {
    /// A table of one column, without ratios.
    pub fn single(
        title: impl Into<String>,
        column: impl Into<String>,
        quantities: impl IntoIterator<Item = (&'static str, Cell)>,
    ) -> Self {
        let quantities = quantities.into_iter();
        Self {
            title: title.into(),
            baseline: None,
            columns: vec![column.into()],
            rows: quantities
                .map(|(name, cell)| Row::of(name, vec![cell]))
                .collect(),
        }
    }
}

impl Row {
    /// A quantity of the lists that all pages share.
    ///
    /// # Panics
    /// If no list has the name.
    pub fn of(name: &str, cells: Vec<Cell>) -> Self {
        let mut all = MEASUREMENTS.iter().chain(PARAMETERS).chain(OTHERS);
        let (_, label, unit) = *all
            .find(|(known, ..)| *known == name)
            .unwrap_or_else(|| panic!("the lists of quantities have no {name}"));
        Self {
            name: name.into(),
            label: label.into(),
            note: None,
            unit,
            cells,
        }
    }

    /// Whether no column has the quantity.
    pub fn is_empty(&self) -> bool {
        let mut cells = self.cells.iter();
        cells.all(|cell| cell.value.is_none() && cell.text.is_none())
    }
}

impl Cell {
    /// Words; no words make an empty cell.
    pub fn words(text: impl Into<String>) -> Self {
        Self {
            text: Some(text.into()).filter(|text: &String| !text.is_empty()),
            ..Self::default()
        }
    }
}

impl From<Option<f64>> for Cell {
    fn from(value: Option<f64>) -> Self {
        Self {
            value: value.filter(|value| value.is_finite()),
            ..Self::default()
        }
    }
}

impl From<f64> for Cell {
    fn from(value: f64) -> Self {
        Some(value).into()
    }
}

impl From<u64> for Cell {
    fn from(value: u64) -> Self {
        Some(value as f64).into()
    }
}

/// A name in records, a name for people, and a unit.
pub type Quantity = (&'static str, &'static str, Unit);

/// What the tables of a benchmark compare, in their order.
pub const MEASUREMENTS: &[Quantity] = &[
    ("images", "Images", Count),
    ("blocks", "Blocks of ciphertexts", Count),
    ("block_images", "Images per block", Count),
    ("evaluate_seconds", "Total time", Seconds),
    ("amortized_seconds", "Amortized time per image", Seconds),
    ("keygen_seconds", "Key generation", Seconds),
    ("encrypt_seconds", "Encryption", Seconds),
    ("decrypt_seconds", "Decryption", Seconds),
    ("upload_bytes", "Request", Bytes),
    ("upload_bytes_per_image", "Request per image", Bytes),
    ("reply_bytes", "Reply", Bytes),
    ("reply_bytes_per_image", "Reply per image", Bytes),
    ("key_bytes", "Evaluation key", Bytes),
    ("rotations", "Rotations with keys", Count),
    ("peak_rss_bytes", "Peak memory", Bytes),
    ("accuracy_encrypted", "Accuracy, encrypted", Share),
    ("accuracy_integer", "Accuracy, clear integers", Share),
    ("accuracy_plain", "Accuracy, float network", Share),
    ("accuracy_teacher", "Accuracy, ReLU teacher", Share),
    ("agreement", "Classes of the clear integers", Share),
    ("agreement_float", "Classes of the float network", Share),
    ("worst_logit_error", "Worst logit error", Number),
    ("evaluation_share_of_peak", "Share of int8 peak", Share),
    ("runs", "Runs, median shown", Count),
];

/// The parameters that a benchmark shows, in their order.
pub const PARAMETERS: &[Quantity] = &[
    ("ring_degree", "Ring degree N", Count),
    ("log2_q", "log₂ Q", Bits),
    ("log2_qp", "log₂ QP", Bits),
    ("security_bits", "Security", Bits),
    ("log2_scale", "log₂ of the input’s scale", Bits),
    ("weight_bits", "Weights", Bits),
    ("threads", "Threads", Count),
    ("backend", "Back end", Number),
    ("macs_per_image", "Multiply-accumulates per image", Count),
    ("parameters", "Trained parameters", Count),
    ("activations_per_image", "Activations per image", Count),
    ("load", "Load when it began", Number),
];

/// Further quantities of single commands.
const OTHERS: &[Quantity] = &[
    ("batch", "Images that the plan is for", Count),
    ("estimated_seconds", "Estimate for a full batch", Seconds),
    ("read_seconds", "Reading and checking files", Seconds),
    ("write_seconds", "Writing the reply", Seconds),
    (
        "worst_logit_difference",
        "Worst difference of a logit, clear integers",
        Number,
    ),
    (
        "worst_logit_difference_float",
        "Worst difference of a logit, float network",
        Number,
    ),
    ("log2_output_scale", "log₂ of the reply’s scale", Bits),
    ("primes", "Primes of Q", Number),
    ("special_primes", "Special primes P", Number),
    ("precision_bits", "Guaranteed precision of logits", Bits),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_have_names_for_people() {
        let table = Table::single(
            "t",
            "c",
            [
                ("images", 7u64.into()),
                ("load", f64::NAN.into()),
                ("backend", Cell::words("portable")),
            ],
        );
        let labels: Vec<&str> = table.rows.iter().map(|row| &*row.label).collect();
        assert_eq!(labels, ["Images", "Load when it began", "Back end"]);
        let empty: Vec<bool> = table.rows.iter().map(Row::is_empty).collect();
        assert_eq!(empty, [false, true, false]);
    }
}
