//! The report of a benchmark: a page with packings in columns, batch sizes, accuracy over seeds.

mod amortized;
mod axis;
mod marker;
mod seeds;
mod seeds_plot;
mod sweep;
mod sweep_plot;
mod tables;

use serde::{Deserialize, Serialize};
use sordino_report::{Additions, Figure, Provenance, Report, StepTime, Unit, page_with};

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
        let additions = Additions {
            measurements: amortized::amortized_html(&self.amortized),
            sections: sweep_plot::sweep_section(&self.sweep, &self.break_even)
                + &seeds_plot::accuracy_section(&self.accuracy),
        };
        page_with(&self.report, &additions)
    }

    /// The figures of a benchmark: amortized time against the baseline, accuracy, break-even.
    fn headline(&self) -> Vec<Figure> {
        let mut figures = Vec::new();
        if let Some(table) = self.report.comparisons.first() {
            let row = |name: &str| table.rows.iter().find(|row| row.name == name);
            let amortized = row("amortized_seconds");
            let fastest = amortized.and_then(|row| {
                let cells = row.cells.iter().enumerate();
                let timed = cells.filter_map(|(at, cell)| Some((at, cell, cell.value?)));
                timed.min_by(|x, y| x.2.total_cmp(&y.2))
            });
            if let Some((at, cell, value)) = fastest {
                let against = table.baseline.filter(|_| cell.ratio.is_some());
                let against = against.map_or(String::new(), |base| {
                    format!("; baseline {}", table.columns[base])
                });
                let images = row("images").and_then(|row| row.cells[at].value);
                let images = images.map_or(String::new(), |images| {
                    format!(", {} images at once", Unit::Count.text(images))
                });
                figures.push(Figure {
                    label: "amortized time per image".into(),
                    value,
                    unit: Unit::Seconds,
                    detail: format!("{}, {}{images}", table.title, table.columns[at]),
                });
                if let Some(ratio) = cell.ratio {
                    figures.push(Figure {
                        label: "change of amortized time".into(),
                        value: ratio - 1.0,
                        unit: Unit::Share,
                        detail: format!("{}{against}", table.columns[at]),
                    });
                }
                let accuracy = row("accuracy_encrypted").and_then(|row| row.cells[at].value);
                if let Some(value) = accuracy {
                    figures.push(Figure {
                        label: "accuracy, encrypted".into(),
                        value,
                        unit: Unit::Share,
                        detail: format!("{}, {}", table.title, table.columns[at]),
                    });
                }
            }
        }
        if let (true, Some(crossing)) = (figures.len() < 3, self.break_even.first()) {
            figures.push(Figure {
                label: "images to break even".into(),
                value: crossing.batch as f64,
                unit: Unit::Count,
                detail: format!(
                    "{} is faster from there on, {} below",
                    crossing.faster_above, crossing.faster_below
                ),
            });
        }
        figures
    }
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
