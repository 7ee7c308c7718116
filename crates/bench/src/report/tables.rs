//! Records of one network in a table: a column per record, a row per quantity, ratios to one of the columns.

use serde_json::{Value, json};
use sordino_report::{Cell, MEASUREMENTS, PARAMETERS, Quantity, Row, Table};

use crate::record::{Record, Timing};

/// Quantities per image, whose ratio to the baseline always means something.
const PER_IMAGE: [&str; 3] = [
    "amortized_seconds",
    "upload_bytes_per_image",
    "reply_bytes_per_image",
];

/// Totals, whose ratio means something where both columns are of equally many images.
const TOTALS: [&str; 6] = [
    "evaluate_seconds",
    "encrypt_seconds",
    "decrypt_seconds",
    "upload_bytes",
    "reply_bytes",
    "peak_rss_bytes",
];

/// A quantity of a record as its file has it, with the extremes of the two times that compare packings.
fn cell(record: &Record, fields: &Value, name: &str) -> Cell {
    if let Some(whole) = name.strip_suffix("_per_image")
        && let Some(bytes) = fields[whole].as_f64()
    {
        return Cell::from(bytes / record.images.max(1) as f64);
    }
    let extremes = match name {
        "evaluate_seconds" => record.evaluate,
        "amortized_seconds" => record.amortized,
        _ => Timing::default(),
    };
    match &fields[name] {
        Value::String(text) => Cell::words(text),
        value => Cell {
            min: extremes.min,
            max: extremes.max,
            ..value.as_f64().into()
        },
    }
}

/// The packing that ratios are relative to, where there is one.
const BASELINE: &str = "channel-wise";

/// A table per network and data set, a column per record, with ratios to channel-wise packing with one image per ciphertext, or
/// else to the first record. Rows of series and records without an evaluation are left out.
pub(super) fn comparisons(records: &[Record]) -> Vec<Table> {
    tables(records, |title, group| {
        let baseline = group
            .iter()
            .position(|record| record.packing == BASELINE && !is_single(record))
            .unwrap_or(0);
        let baseline = (group.len() > 1).then_some(baseline);
        table(title, group, MEASUREMENTS, baseline)
    })
}

/// The parameters of the same records.
pub(super) fn parameter_tables(records: &[Record]) -> Vec<Table> {
    tables(records, |title, group| {
        table(title, group, PARAMETERS, None)
    })
}

fn tables(records: &[Record], make: impl Fn(String, &[&Record]) -> Table) -> Vec<Table> {
    let mut groups: Vec<Vec<&Record>> = Vec::new();
    for record in records {
        if record.scaling.is_some() || record.evaluate.median.is_none() {
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
    let title = |group: &[&Record]| format!("{} on {}", group[0].network, group[0].dataset);
    groups
        .iter()
        .map(|group| make(title(group), group))
        .collect()
}

fn table(
    title: String,
    group: &[&Record],
    quantities: &[Quantity],
    baseline: Option<usize>,
) -> Table {
    let fields: Vec<Value> = group.iter().map(|record| json!(record)).collect();
    let row = |&(name, ..): &Quantity| {
        let columns = group.iter().zip(&fields);
        let mut cells: Vec<Cell> = columns.map(|(r, fields)| cell(r, fields, name)).collect();
        if let Some(base) = baseline {
            let below = cells[base].value.filter(|&value| value > 0.0);
            for (at, cell) in cells.iter_mut().enumerate() {
                let same_images = group[at].images == group[base].images;
                let comparable = PER_IMAGE.contains(&name) || same_images && TOTALS.contains(&name);
                let pair = cell.value.zip(below).filter(|_| comparable && at != base);
                cell.ratio = pair.map(|(value, below)| value / below);
            }
        }
        Row::of(name, cells)
    };
    let rows = quantities.iter().map(row);
    Table {
        title,
        baseline,
        columns: group
            .iter()
            .map(|record| column_title(record, group))
            .collect(),
        rows: rows.filter(|row| !row.is_empty()).collect(),
    }
}

/// Whether a record is of one image with a plan for one: a latency.
fn is_single(record: &Record) -> bool {
    record.batch == 1
}

/// The packing, with the activation where columns differ in it, and whether it is the latency among columns of the same packing.
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
pub(super) fn packing_label(packing: &str) -> String {
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
        record.set_evaluation(&[seconds]);
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
        // 0.1 ms against 200 ms per image; the totals are of different batches.
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
