//! Element-wise against channel-wise packing: the time per image.

use maud::{Markup, html};
use serde::{Deserialize, Serialize};

use sordino_report::Align::{Left, Right};
use sordino_report::html::{data, number, table};
use sordino_report::{Column, Unit, columns, number_text, seconds_text};

use super::tables::packing_label;
use crate::record::Record;

/// The amortized time of one packing against that of another, on the same machine and data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AmortizedRatio {
    /// Network, as in records.
    pub network: String,
    /// Data set, as in records.
    pub dataset: String,
    /// The packing.
    pub packing: String,
    /// Number of images that it was run on.
    pub images: u64,
    /// Seconds per image.
    pub amortized_seconds: f64,
    /// The other packing.
    pub against: String,
    /// Number of images that the other packing was run on.
    pub against_images: u64,
    /// Seconds per image of the other packing.
    pub against_seconds: f64,
    /// `against_seconds` / `amortized_seconds`.
    pub factor: f64,
    /// How much lower the time is, as a share of the other: 1 − 1 / `factor`.
    pub below: f64,
}

/// The first element-wise record of every network and data set against the first of each channel-wise packing; records of
/// series, of single images and without an evaluation take no part.
pub(super) fn amortized_ratios(records: &[Record]) -> Vec<AmortizedRatio> {
    let usable = |record: &&Record| {
        record.scaling.is_none() && record.batch != 1 && record.amortized.median > Some(0.0)
    };
    let first = |of: &Record, packing: &str| {
        let same = |record: &&Record| {
            (&record.network, &record.dataset) == (&of.network, &of.dataset)
                && record.packing == packing
        };
        records.iter().filter(usable).find(same)
    };
    let is_first = |record: &&Record| {
        let mine = first(record, "element-wise");
        mine.is_some_and(|first| std::ptr::eq(first, *record))
    };
    let records = records.iter().filter(usable).filter(is_first);
    let pairs = records.flat_map(|record| {
        let others = ["channel-wise", "channel-wise-filled"].into_iter();
        others.filter_map(move |packing| Some((record, first(record, packing)?)))
    });
    pairs
        .filter_map(|(record, other)| {
            let (mine, theirs) = (record.amortized.median?, other.amortized.median?);
            Some(AmortizedRatio {
                network: record.network.clone(),
                dataset: record.dataset.clone(),
                packing: record.packing.clone(),
                images: record.images,
                amortized_seconds: mine,
                against: other.packing.clone(),
                against_images: other.images,
                against_seconds: theirs,
                factor: theirs / mine,
                below: 1.0 - mine / theirs,
            })
        })
        .collect()
}

impl AmortizedRatio {
    /// The other packing's name for people.
    fn against_label(&self) -> String {
        match self.against.as_str() {
            "channel-wise" => "channel-wise, one image per ciphertext".into(),
            other => packing_label(other),
        }
    }

    /// `below` with as many digits as it takes to distinguish it from 100 %.
    fn below_text(&self) -> String {
        let digits = if self.below > 0.999 { 3 } else { 2 };
        format!("{:.digits$} %", 100.0 * self.below)
    }
}

const COLUMNS: [Column<'_, AmortizedRatio>; 8] = [
    ("network", Left, |r| Some(r.network.clone())),
    ("data set", Left, |r| Some(r.dataset.clone())),
    ("element-wise", Right, |r| {
        Some(seconds_text(r.amortized_seconds))
    }),
    ("images", Right, |r| Some(r.images.to_string())),
    ("against", Left, |r| Some(r.against_label())),
    ("takes", Right, |r| Some(seconds_text(r.against_seconds))),
    ("images", Right, |r| Some(r.against_images.to_string())),
    ("below by", Right, |r| {
        Some(format!(
            "{} (factor {})",
            r.below_text(),
            number_text(r.factor)
        ))
    }),
];

/// The comparisons as lines of text.
pub fn amortized_table(ratios: &[AmortizedRatio]) -> String {
    columns(&COLUMNS, ratios)
}

/// The comparisons as a table of a page.
pub(super) fn amortized_html(ratios: &[AmortizedRatio]) -> Markup {
    if ratios.is_empty() {
        return html! {};
    }
    let timed = |seconds, images: u64| {
        html! {
            td {
                (number(seconds, Unit::Seconds))
                span.sub { (number(images as f64, Unit::Count)) " images" }
            }
        }
    };
    let rows = html! {
        @for ratio in ratios {
            tr {
                th scope="row" { (ratio.network) span.sub { (ratio.dataset) } }
                td.words { (ratio.against_label()) }
                (timed(ratio.amortized_seconds, ratio.images))
                (timed(ratio.against_seconds, ratio.against_images))
                td { (data(ratio.below, &ratio.below_text())) }
                td { (number(ratio.factor, Unit::Ratio)) }
            }
        }
    };
    let columns = [
        ("Network", ""),
        ("Against", "words"),
        ("Element-wise", ""),
        ("Channel-wise", ""),
        ("Below by", ""),
        ("Factor", ""),
    ];
    let caption = (
        "Amortized time per image: element-wise against channel-wise packing",
        "Below a time: how many images were run.",
    );
    table("Amortized time of the packings", caption, &columns, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn element_wise_is_compared_with_both_fillings() {
        let record = |packing: &str, batch: u64, images: u64, seconds: f64| {
            let mut record = Record {
                network: "lenet".into(),
                packing: packing.into(),
                batch,
                images,
                ..Record::default()
            };
            record.set_evaluation(&[seconds]);
            record
        };
        let records = [
            record("channel-wise", 1, 1, 0.1),
            record("element-wise", 4096, 4096, 4.096),
            record("element-wise", 4096, 4096, 9.0),
            record("channel-wise", 4096, 10, 10.0),
            record("channel-wise-filled", 4096, 64, 0.128),
        ];
        let ratios = amortized_ratios(&records);
        let found: Vec<(&str, u64)> = ratios
            .iter()
            .map(|r| (&*r.against, r.against_images))
            .collect();
        assert_eq!(found, [("channel-wise", 10), ("channel-wise-filled", 64)]);
        assert!((ratios[0].factor - 1000.0).abs() < 1e-9);
        assert!((ratios[0].below - 0.999).abs() < 1e-12);
        assert!((ratios[1].factor - 2.0).abs() < 1e-9);
        let text = amortized_table(&ratios);
        assert!(text.contains("99.90 % (factor 1000)"), "{text}");
        assert!(text.contains("50.00 % (factor 2.00)"), "{text}");
        assert_eq!(amortized_ratios(&records[..3]), []);
    }
}
