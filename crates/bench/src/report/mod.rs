//! The report of a benchmark: a page with packings in columns, batch sizes, accuracy over seeds.

mod amortized;
mod axis;
mod marker;
mod seeds;
mod seeds_plot;
mod sweep;
mod sweep_plot;
mod tables;

use maud::html;
use serde::{Deserialize, Serialize};
use sordino_report::{Provenance, Report, page_with};

use crate::record::Record;

pub use amortized::{AmortizedRatio, amortized_table};
pub use seeds::{AccuracyGroup, ablation_table, accuracy_groups, frozen_gains};
pub use sweep::{BreakEven, SweepPoint, sweep_table};

/// What `report.json` of a benchmark holds and its page shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BenchmarkReport {
    /// The parts that every report has.
    #[serde(flatten)]
    pub report: Report,
    /// Element-wise against channel-wise packing, the time per image.
    pub amortized: Vec<AmortizedRatio>,
    /// Times over batch sizes.
    pub sweep: Vec<SweepPoint>,
    /// Where the lines of the sweep cross.
    pub break_even: Vec<BreakEven>,
    /// Accuracy over seeds.
    pub accuracy: Vec<AccuracyGroup>,
    /// The records that tables and figures come from.
    pub records: Vec<Record>,
}

impl BenchmarkReport {
    /// Tables from the records with an evaluation, and crossings from the sweep. Figures, accuracy and words are the caller's.
    pub fn new(
        title: impl Into<String>,
        records: Vec<Record>,
        sweep: Vec<SweepPoint>,
        provenance: Provenance,
    ) -> Self {
        Self {
            amortized: amortized::amortized_ratios(&records),
            break_even: sweep::break_even(&sweep),
            report: Report {
                title: title.into(),
                comparisons: tables::comparisons(&records),
                parameters: tables::parameter_tables(&records),
                provenance,
                ..Report::default()
            },
            accuracy: Vec::new(),
            sweep,
            records,
        }
    }

    /// The page.
    pub fn page(&self) -> String {
        let sections = html! {
            (sweep_plot::sweep_section(&self.sweep, &self.break_even))
            (seeds_plot::accuracy_section(&self.accuracy))
        };
        let before_tables = amortized::amortized_html(&self.amortized);
        page_with(&self.report, before_tables, sections)
    }
}

#[cfg(test)]
mod tests;
