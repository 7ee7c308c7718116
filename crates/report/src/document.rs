//! A report: everything that the page shows, as numbers and words.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::results::date;
use crate::{
    AccuracyGroup, AmortizedRatio, BreakEven, Comparison, ConfusionMatrix, Environment, Record,
    Sample, SweepPoint, Unit, accuracy_groups, amortized_ratios, break_even, comparisons,
    parameter_tables,
};

/// What `report.json` holds and the page shows; parts that are empty are left out of the page.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Headline.
    pub title: String,
    /// A sentence or two below it.
    pub summary: String,
    /// How a check went.
    pub verdict: Option<Verdict>,
    /// What a reader must know to judge the numbers, such as what is missing.
    pub notes: Vec<String>,
    /// The two or three figures that matter.
    pub figures: Vec<Figure>,
    /// Element-wise against channel-wise packing, the time an image.
    pub amortized: Vec<AmortizedRatio>,
    /// Packings side by side, a table a network.
    pub comparisons: Vec<Comparison>,
    /// Times over batch sizes.
    pub sweep: Vec<SweepPoint>,
    /// Where their lines cross.
    pub break_even: Vec<BreakEven>,
    /// Accuracy over seeds.
    pub accuracy: Vec<AccuracyGroup>,
    /// Whose predictions matrix and samples show, where a report has several.
    pub predictions_of: String,
    /// Who was taken for whom.
    pub confusion: Option<ConfusionMatrix>,
    /// Images with predictions.
    pub samples: Vec<Sample>,
    /// How the samples were chosen.
    pub samples_note: String,
    /// Where the time of an evaluation goes.
    pub steps: Vec<StepTime>,
    /// Parameters and sizes, a table a network or plan.
    pub parameters: Vec<Comparison>,
    /// Where, when and with what it was measured.
    pub provenance: Provenance,
    /// The records that tables and figures come from.
    pub records: Vec<Record>,
}

/// One figure of the headline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// What it is.
    pub label: String,
    /// The number.
    pub value: f64,
    /// What it counts.
    pub unit: Unit,
    /// Under which conditions it holds.
    pub detail: String,
}

/// How a check went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Whether all was as it must be.
    pub passed: bool,
    /// What was checked.
    pub text: String,
}

/// What one step of a plan took.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StepTime {
    /// Node of the network that it belongs to.
    pub name: String,
    /// What it does.
    pub operation: String,
    /// Seconds, over all blocks; `None` where the evaluator does not report the step on its own.
    pub seconds: Option<f64>,
    /// Its share of the total time.
    pub share: Option<f64>,
    /// Level of the result.
    pub level: Option<u64>,
    /// log2 of the scale of the result.
    pub log2_scale: Option<f64>,
}

/// Where, when and with what something was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Provenance {
    /// Name and version of the program.
    pub program: String,
    /// Its commit, where it ran in its repository.
    pub commit: Option<String>,
    /// Processor, cores, memory and system.
    pub machine: String,
    /// Threads that evaluated.
    pub threads: Option<u64>,
    /// Name of the kernels.
    pub backend: Option<String>,
    /// Load average of the last minute when it began.
    pub load: Option<f64>,
    /// Day and time (UTC).
    pub date: String,
    /// Digests of the files that were used, by what they are.
    pub digests: Vec<(String, String)>,
}

impl Provenance {
    /// Of a program that runs now in `environment`; the commit is left out, as the folder may be anybody's.
    pub fn new(program: impl Into<String>, environment: &Environment) -> Self {
        Self {
            program: program.into(),
            machine: environment.machine.clone(),
            load: environment.load,
            date: date_text(SystemTime::now()),
            ..Self::default()
        }
    }
}

/// Day and time (UTC) to the minute.
fn date_text(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (year, month, day) = date(since);
    let minutes = since.as_secs() / 60 % 1440;
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02} UTC",
        minutes / 60,
        minutes % 60
    )
}

impl Report {
    /// Of a benchmark: tables from the records with an evaluation, accuracy over seeds from those that name an activation,
    /// crossings from the sweep, and figures from all three.
    pub fn of_benchmark(
        title: impl Into<String>,
        records: Vec<Record>,
        sweep: Vec<SweepPoint>,
        provenance: Provenance,
    ) -> Self {
        let comparisons = comparisons(&records);
        let break_even = break_even(&sweep);
        let steps = records
            .iter()
            .find(|record| record.scaling.is_none() && !record.layers.is_empty())
            .filter(|_| comparisons.len() == 1 && comparisons[0].columns.len() == 1);
        let mut report = Self {
            title: title.into(),
            amortized: amortized_ratios(&records),
            accuracy: accuracy_groups(&records),
            parameters: parameter_tables(&records),
            steps: steps.map(StepTime::of_record).unwrap_or_default(),
            comparisons,
            sweep,
            break_even,
            provenance,
            records,
            ..Self::default()
        };
        report.figures = report.headline();
        report
    }

    /// The figures of a benchmark: amortized time against the baseline, accuracy, break-even.
    fn headline(&self) -> Vec<Figure> {
        let mut figures = Vec::new();
        if let Some(table) = self.comparisons.first() {
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
                    label: "amortized time an image".into(),
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

impl StepTime {
    /// The steps of a record.
    fn of_record(record: &Record) -> Vec<Self> {
        let whole = record.evaluate_seconds.filter(|&seconds| seconds > 0.0);
        record
            .layers
            .iter()
            .map(|layer| Self {
                name: layer.name.clone(),
                operation: layer.operation.clone(),
                seconds: layer.seconds,
                share: layer.seconds.zip(whole).map(|(part, whole)| part / whole),
                ..Self::default()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn dates_have_hours_and_minutes() {
        // From `date -u -d @1764160393`.
        let time = UNIX_EPOCH + Duration::from_secs(1_764_160_393);
        assert_eq!(date_text(time), "2025-11-26 12:33 UTC");
    }

    #[test]
    fn the_headline_names_the_fastest_packing() {
        let record = |packing: &str, seconds: f64| {
            let mut record = Record {
                network: "cryptonets".into(),
                dataset: "mnist".into(),
                packing: packing.into(),
                images: 100,
                ..Record::default()
            };
            record.set_seconds(crate::Phase::Evaluate, &[seconds]);
            record
        };
        let records = vec![record("channel-wise", 10.0), record("element-wise", 0.1)];
        let report = Report::of_benchmark("t", records, vec![], Provenance::default());
        let figures: Vec<(f64, Unit)> = report.figures.iter().map(|f| (f.value, f.unit)).collect();
        assert_eq!(figures[0], (0.001, Unit::Seconds));
        assert!((figures[1].0 + 0.99).abs() < 1e-12 && figures[1].1 == Unit::Share);
        assert!(report.figures[1].detail.ends_with("baseline channel-wise"));
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }
}
