//! A report: everything that the page shows, as numbers and words.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{ConfusionMatrix, Environment, Finding, Sample, Table, Unit};

/// What `report.json` holds and the page shows. The page leaves empty parts out.
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
    /// What was measured: a table per network, a column per packing.
    pub comparisons: Vec<Table>,
    /// Which predictions the matrix and the samples show, where a report has several.
    pub predictions_of: String,
    /// Confusion matrix: rows are labels, columns are predictions.
    pub confusion: Option<ConfusionMatrix>,
    /// What was found, finding by finding.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// Images with predictions.
    pub samples: Vec<Sample>,
    /// How the samples were chosen.
    pub samples_note: String,
    /// Where the time of an evaluation goes.
    pub steps: Vec<StepTime>,
    /// Parameters and sizes: a table per network or plan.
    pub parameters: Vec<Table>,
    /// Where, when and with what it was measured.
    pub provenance: Provenance,
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

impl Figure {
    /// A figure; `None` where its value is unknown.
    pub fn of(
        label: impl Into<String>,
        value: impl Into<Option<f64>>,
        unit: Unit,
        detail: impl Into<String>,
    ) -> Option<Self> {
        Some(Self {
            label: label.into(),
            value: value.into()?,
            unit,
            detail: detail.into(),
        })
    }
}

/// How a check went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Whether the check passed.
    pub passed: bool,
    /// What was checked.
    pub text: String,
}

/// Time of one step of a plan.
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
    /// Of this program, now, in `environment`. The commit stays empty: the working folder may be any repository.
    pub fn new(environment: &Environment) -> Self {
        Self {
            program: concat!("sordino ", env!("CARGO_PKG_VERSION")).into(),
            machine: environment.machine.clone(),
            load: environment.load,
            date: Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
            ..Self::default()
        }
    }
}
