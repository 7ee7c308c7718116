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
use sordino_report::{Figure, Provenance, Report, StepTime, Table, Unit, count_text, page_with};

use crate::record::Record;

pub use amortized::{AmortizedRatio, amortized_table};
pub use seeds::{AccuracyGroup, ablation_table, accuracy_groups};
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
    /// Tables from the records with an evaluation, accuracy over seeds from those that name an activation, crossings from the
    /// sweep, and figures from all three.
    pub fn new(
        title: impl Into<String>,
        records: Vec<Record>,
        sweep: Vec<SweepPoint>,
        provenance: Provenance,
    ) -> Self {
        let comparisons = tables::comparisons(&records);
        let steps = records
            .iter()
            .find(|record| record.scaling.is_none() && !record.layers.is_empty())
            .filter(|_| comparisons.len() == 1 && comparisons[0].columns.len() == 1);
        let mut benchmark = Self {
            amortized: amortized::amortized_ratios(&records),
            accuracy: accuracy_groups(&records),
            break_even: sweep::break_even(&sweep),
            report: Report {
                title: title.into(),
                steps: steps.map(step_times).unwrap_or_default(),
                parameters: tables::parameter_tables(&records),
                comparisons,
                provenance,
                ..Report::default()
            },
            sweep,
            records,
        };
        benchmark.report.figures = benchmark.headline();
        benchmark
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

    /// The figures of a benchmark: amortized time against the baseline, accuracy, break-even.
    fn headline(&self) -> Vec<Figure> {
        let table = self.report.comparisons.first();
        let mut figures = table.map(fastest).unwrap_or_default();
        if figures.len() < 3
            && let Some(crossing) = self.break_even.first()
        {
            let detail = format!(
                "{} is faster from there on, {} below",
                crossing.faster_above, crossing.faster_below
            );
            let batch = crossing.batch as f64;
            figures.extend(Figure::of(
                "images to break even",
                batch,
                Unit::Count,
                detail,
            ));
        }
        figures
    }
}

/// The figures of the column with the least amortized time.
fn fastest(table: &Table) -> Vec<Figure> {
    let cell = |name: &str, at: usize| {
        let row = table.rows.iter().find(|row| row.name == name)?;
        Some(&row.cells[at])
    };
    let value = |name: &str, at| cell(name, at)?.value;
    let timed =
        (0..table.columns.len()).filter_map(|at| Some((at, value("amortized_seconds", at)?)));
    let Some((at, seconds)) = timed.min_by(|x, y| x.1.total_cmp(&y.1)) else {
        return Vec::new();
    };
    let column = &table.columns[at];
    let of_table = format!("{}, {column}", table.title);
    let images = value("images", at).map(|images| {
        let images = count_text(images);
        format!("{of_table}, {images} images at once")
    });
    let ratio = cell("amortized_seconds", at).and_then(|cell| cell.ratio);
    let baseline = table.baseline.map(|base| &table.columns[base]);
    let against = baseline.map_or(column.clone(), |base| format!("{column}; baseline {base}"));
    let accuracy = value("accuracy_encrypted", at);
    [
        Figure::of(
            "amortized time per image",
            seconds,
            Unit::Seconds,
            images.unwrap_or(of_table.clone()),
        ),
        Figure::of(
            "change of amortized time",
            ratio.map(|ratio| ratio - 1.0),
            Unit::Share,
            against,
        ),
        Figure::of("accuracy, encrypted", accuracy, Unit::Share, of_table),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The steps of a record.
fn step_times(record: &Record) -> Vec<StepTime> {
    let whole = record.evaluate.median.filter(|&seconds| seconds > 0.0);
    record
        .layers
        .iter()
        .map(|layer| StepTime {
            name: layer.name.clone(),
            operation: layer.operation.clone(),
            seconds: layer.seconds,
            share: layer.seconds.zip(whole).map(|(part, whole)| part / whole),
            ..StepTime::default()
        })
        .collect()
}

#[cfg(test)]
mod tests;
