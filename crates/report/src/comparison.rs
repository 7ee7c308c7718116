//! Records side by side: a column each, a row a quantity, every number relative to one of the columns.

use serde::{Deserialize, Serialize};

use crate::{Record, Unit};

/// A table of quantities with a column for each of several records or plans.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Comparison {
    /// What it shows.
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
    /// One a column.
    pub cells: Vec<Cell>,
}

/// One quantity of one column; what there is not is `None`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cell {
    /// The number.
    pub value: Option<f64>,
    /// Words in its place.
    pub text: Option<String>,
    /// The smallest of the runs.
    pub min: Option<f64>,
    /// The largest of the runs.
    pub max: Option<f64>,
    /// `value` over that of the baseline, where both are of one batch or of one image.
    pub ratio: Option<f64>,
}

impl Cell {
    /// A number.
    pub fn number(value: impl Into<Option<f64>>) -> Self {
        Self {
            value: value.into().filter(|value| value.is_finite()),
            ..Self::default()
        }
    }

    /// Words.
    pub fn words(text: impl Into<String>) -> Self {
        Self {
            text: Some(text.into()).filter(|text: &String| !text.is_empty()),
            ..Self::default()
        }
    }

    fn is_empty(&self) -> bool {
        self.value.is_none() && self.text.is_none()
    }
}

impl Row {
    /// A quantity without a note.
    pub fn new(name: &str, label: &str, unit: Unit, cells: Vec<Cell>) -> Self {
        Self {
            name: name.into(),
            label: label.into(),
            note: None,
            unit,
            cells,
        }
    }
}

/// How the numbers of two columns compare.
#[derive(Clone, Copy, PartialEq)]
enum Relative {
    /// Not as a quotient.
    No,
    /// Where both columns are of equally many images.
    SameBatch,
    /// Always.
    Always,
}

type Quantity = (
    &'static str,
    &'static str,
    Unit,
    Relative,
    fn(&Record) -> Cell,
);

fn whole(value: Option<u64>) -> Cell {
    Cell::number(value.map(|value| value as f64))
}

/// Bytes an image.
fn shared_out(bytes: Option<u64>, record: &Record) -> Cell {
    let images = record.images;
    Cell::number(bytes.map(|bytes| bytes as f64 / images.max(1) as f64))
}

fn spread(value: Option<f64>, min: Option<f64>, max: Option<f64>) -> Cell {
    Cell {
        min,
        max,
        ..Cell::number(value)
    }
}

const QUANTITIES: [Quantity; 24] = [
    ("images", "Images", Unit::Count, Relative::No, |r| {
        whole(Some(r.images))
    }),
    (
        "blocks",
        "Blocks of ciphertexts",
        Unit::Count,
        Relative::No,
        |r| whole(Some(r.blocks).filter(|&blocks| blocks > 0)),
    ),
    (
        "block_images",
        "Images a block",
        Unit::Count,
        Relative::No,
        |r| whole(r.block_images),
    ),
    (
        "evaluate_seconds",
        "Total time",
        Unit::Seconds,
        Relative::SameBatch,
        |r| {
            spread(
                r.evaluate_seconds,
                r.evaluate_seconds_min,
                r.evaluate_seconds_max,
            )
        },
    ),
    (
        "amortized_seconds",
        "Amortized time an image",
        Unit::Seconds,
        Relative::Always,
        |r| {
            spread(
                r.amortized_seconds,
                r.amortized_seconds_min,
                r.amortized_seconds_max,
            )
        },
    ),
    (
        "keygen_seconds",
        "Key generation",
        Unit::Seconds,
        Relative::No,
        |r| Cell::number(r.keygen_seconds),
    ),
    (
        "encrypt_seconds",
        "Encryption",
        Unit::Seconds,
        Relative::SameBatch,
        |r| Cell::number(r.encrypt_seconds),
    ),
    (
        "decrypt_seconds",
        "Decryption",
        Unit::Seconds,
        Relative::SameBatch,
        |r| Cell::number(r.decrypt_seconds),
    ),
    (
        "upload_bytes",
        "Upload",
        Unit::Bytes,
        Relative::SameBatch,
        |r| whole(r.upload_bytes),
    ),
    (
        "upload_bytes_per_image",
        "Upload an image",
        Unit::Bytes,
        Relative::Always,
        |r| shared_out(r.upload_bytes, r),
    ),
    (
        "reply_bytes",
        "Reply",
        Unit::Bytes,
        Relative::SameBatch,
        |r| whole(r.reply_bytes),
    ),
    (
        "reply_bytes_per_image",
        "Reply an image",
        Unit::Bytes,
        Relative::Always,
        |r| shared_out(r.reply_bytes, r),
    ),
    (
        "key_bytes",
        "Evaluation keys",
        Unit::Bytes,
        Relative::No,
        |r| whole(r.key_bytes),
    ),
    (
        "rotations",
        "Rotations with keys",
        Unit::Count,
        Relative::No,
        |r| whole(r.rotations),
    ),
    (
        "peak_rss_bytes",
        "Peak memory",
        Unit::Bytes,
        Relative::SameBatch,
        |r| whole(r.peak_rss_bytes),
    ),
    (
        "accuracy_encrypted",
        "Accuracy, encrypted",
        Unit::Share,
        Relative::No,
        |r| Cell::number(r.accuracy_encrypted),
    ),
    (
        "accuracy_integer",
        "Accuracy, clear integers",
        Unit::Share,
        Relative::No,
        |r| Cell::number(r.accuracy_integer),
    ),
    (
        "accuracy_plain",
        "Accuracy, float network",
        Unit::Share,
        Relative::No,
        |r| Cell::number(r.accuracy_plain),
    ),
    (
        "accuracy_teacher",
        "Accuracy, ReLU teacher",
        Unit::Share,
        Relative::No,
        |r| Cell::number(r.accuracy_teacher),
    ),
    (
        "agreement",
        "Classes of the clear integers",
        Unit::Share,
        Relative::No,
        |r| Cell::number(r.agreement),
    ),
    (
        "agreement_float",
        "Classes of the float network",
        Unit::Share,
        Relative::No,
        |r| Cell::number(r.agreement_float),
    ),
    (
        "worst_logit_error",
        "Worst logit error",
        Unit::Number,
        Relative::No,
        |r| Cell::number(r.worst_logit_error),
    ),
    (
        "evaluation_share_of_peak",
        "Share of the int8 peak",
        Unit::Share,
        Relative::No,
        |r| Cell::number(r.evaluation_share_of_peak),
    ),
    (
        "runs",
        "Runs, median shown",
        Unit::Count,
        Relative::No,
        |r| whole(r.runs),
    ),
];

const PARAMETERS: [Quantity; 12] = [
    (
        "ring_degree",
        "Ring degree N",
        Unit::Count,
        Relative::No,
        |r| whole(r.ring_degree),
    ),
    ("log2_q", "log₂ Q", Unit::Bits, Relative::No, |r| {
        Cell::number(r.log2_q)
    }),
    ("log2_qp", "log₂ QP", Unit::Bits, Relative::No, |r| {
        Cell::number(r.log2_qp)
    }),
    ("security_bits", "Security", Unit::Bits, Relative::No, |r| {
        whole(r.security_bits)
    }),
    (
        "log2_scale",
        "log₂ of the scale",
        Unit::Bits,
        Relative::No,
        |r| Cell::number(r.log2_scale),
    ),
    ("weight_bits", "Weights", Unit::Bits, Relative::No, |r| {
        whole(r.weight_bits)
    }),
    ("threads", "Threads", Unit::Count, Relative::No, |r| {
        whole(r.threads)
    }),
    ("backend", "Back end", Unit::Number, Relative::No, |r| {
        Cell::words(r.backend.clone().unwrap_or_default())
    }),
    (
        "macs_per_image",
        "Multiply-accumulates an image",
        Unit::Count,
        Relative::No,
        |r| whole(r.macs_per_image),
    ),
    (
        "parameters",
        "Trained parameters",
        Unit::Count,
        Relative::No,
        |r| whole(r.parameters),
    ),
    (
        "activations_per_image",
        "Activation elements an image",
        Unit::Count,
        Relative::No,
        |r| whole(r.activations_per_image),
    ),
    (
        "load",
        "Load when it began",
        Unit::Number,
        Relative::No,
        |r| Cell::number(r.load),
    ),
];

/// The packing that ratios are relative to, where there is one.
const BASELINE: &str = "channel-wise";

/// Records of one network side by side, ratios relative to channel-wise packing with one image a ciphertext, or else to the
/// first; a table for each network and data set. Rows of series and records without an evaluation are left out.
pub fn comparisons(records: &[Record]) -> Vec<Comparison> {
    tables(records, |title, group| {
        let baseline = group
            .iter()
            .position(|record| record.packing == BASELINE && !is_single(record))
            .unwrap_or(0);
        let baseline = (group.len() > 1).then_some(baseline);
        table(title, group, &QUANTITIES, baseline)
    })
}

/// The parameters of the same records.
pub fn parameter_tables(records: &[Record]) -> Vec<Comparison> {
    tables(records, |title, group| {
        table(title, group, &PARAMETERS, None)
    })
}

fn tables(records: &[Record], make: impl Fn(String, &[&Record]) -> Comparison) -> Vec<Comparison> {
    let mut groups: Vec<Vec<&Record>> = Vec::new();
    for record in records {
        if record.scaling.is_some() || record.evaluate_seconds.is_none() {
            continue;
        }
        let same = |group: &&mut Vec<&Record>| {
            (&group[0].network, &group[0].dataset) == (&record.network, &record.dataset)
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push(record),
            None => groups.push(vec![record]),
        }
    }
    groups
        .iter()
        .map(|group| {
            make(
                format!("{} on {}", group[0].network, group[0].dataset),
                group,
            )
        })
        .collect()
}

fn table(
    title: String,
    group: &[&Record],
    quantities: &[Quantity],
    baseline: Option<usize>,
) -> Comparison {
    let mut rows = Vec::new();
    for &(name, label, unit, relative, read) in quantities {
        let mut cells: Vec<Cell> = group.iter().map(|record| read(record)).collect();
        if cells.iter().all(Cell::is_empty) {
            continue;
        }
        if let Some(base) = baseline.filter(|_| relative != Relative::No) {
            let below = cells[base].value.filter(|&value| value > 0.0);
            for (at, cell) in cells.iter_mut().enumerate() {
                let comparable =
                    relative == Relative::Always || group[at].images == group[base].images;
                let pair = cell.value.zip(below).filter(|_| comparable && at != base);
                cell.ratio = pair.map(|(value, below)| value / below);
            }
        }
        rows.push(Row::new(name, label, unit, cells));
    }
    Comparison {
        title,
        baseline,
        columns: group
            .iter()
            .map(|record| column_title(record, group))
            .collect(),
        rows,
    }
}

/// Whether a record is of one image with a plan for one: a latency, beside records of many.
fn is_single(record: &Record) -> bool {
    record.batch == 1
}

/// The packing, with the activation where columns differ in it, and what stands out beside columns of the same packing.
fn column_title(record: &Record, group: &[&Record]) -> String {
    let mut title = packing_label(&record.packing);
    let mut twins = group.iter().filter(|other| other.packing == record.packing);
    if is_single(record) && twins.any(|other| !is_single(other)) {
        title += ", a single image";
    }
    let differs = |other: &&Record| other.activation != record.activation;
    match &record.activation {
        Some(activation) if group.iter().any(differs) => {
            format!("{title} ({activation} quadratics)")
        }
        _ => title,
    }
}

/// A packing's name for people.
pub(crate) fn packing_label(packing: &str) -> String {
    match packing {
        "channel-wise-filled" => "channel-wise, filled".into(),
        packing => packing.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(packing: &str, images: u64, seconds: f64) -> Record {
        let mut record = Record {
            network: "cryptonets".into(),
            dataset: "mnist".into(),
            packing: packing.into(),
            images,
            upload_bytes: Some(images * 1000),
            ..Record::default()
        };
        record.set_seconds(crate::Phase::Evaluate, &[seconds]);
        record
    }

    #[test]
    fn ratios_compare_only_what_can_be_compared() {
        let records = [
            record("element-wise", 4096, 0.4096),
            record("channel-wise", 100, 20.0),
            record("channel-wise-filled", 4096, 8.192),
            Record {
                scaling: Some("blocks".into()),
                ..record("element-wise", 4096, 1.0)
            },
            Record::default(),
        ];
        let [table] = &comparisons(&records)[..] else {
            panic!("one network")
        };
        assert_eq!(table.title, "cryptonets on mnist");
        assert_eq!(
            table.columns,
            ["element-wise", "channel-wise", "channel-wise, filled"]
        );
        assert_eq!(table.baseline, Some(1));
        let row = |name: &str| table.rows.iter().find(|row| row.name == name).unwrap();
        // 0.1 ms against 200 ms an image; the totals are of different batches.
        let ratios = |name| {
            let cells = row(name).cells.iter();
            cells.map(|cell| cell.ratio).collect::<Vec<_>>()
        };
        let [Some(first), None, Some(last)] = ratios("amortized_seconds")[..] else {
            panic!("{table:?}")
        };
        assert!((first - 0.0005).abs() < 1e-12 && (last - 0.01).abs() < 1e-12);
        assert_eq!(ratios("evaluate_seconds"), [None; 3]);
        assert_eq!(row("upload_bytes_per_image").cells[0].value, Some(1000.0));
        assert!(table.rows.iter().all(|row| row.name != "agreement"));
        // A latency is no baseline, and columns with other quadratics say so.
        let of = |packing: &str, images, activation: &str| Record {
            batch: images,
            activation: Some(activation.into()),
            ..record(packing, images, images as f64)
        };
        let records_of = [
            of("channel-wise", 1, "channel"),
            of("channel-wise", 100, "channel"),
            of("element-wise", 100, "element"),
        ];
        let table = &comparisons(&records_of)[0];
        assert_eq!(table.baseline, Some(1));
        assert_eq!(
            table.columns,
            [
                "channel-wise, a single image (channel quadratics)",
                "channel-wise (channel quadratics)",
                "element-wise (element quadratics)"
            ]
        );
        // One record is compared with nothing.
        let alone = &comparisons(&records[..1])[0];
        assert_eq!(alone.baseline, None);
        assert_eq!(parameter_tables(&records)[0].rows, []);
    }
}
