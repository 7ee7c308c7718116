//! The decisions of predictions, compared with those of the network in the clear and with labels.

use serde::Serialize;
use sordino::client::{PredictionTable, TableDecision, close_margin};
use sordino::container::printable;
use sordino::data::Targets;
use sordino::graph::{OutputKind, findings};
use sordino::measures::Counts;
use sordino::{
    FindingMeasures, LEAST_AGREEMENT, LEAST_AGREEMENT_FLOAT, Labelled, Model, Reference, is_enough,
    labels_of_findings, measure_findings, scores_of_findings,
};
use sordino_report::{Finding, percent_text};

use crate::findings_report::{FoundIn, report_of};

/// Least distance of a probability from 0 and 1 that the digits of a table can tell.
const LEAST_PROBABILITY: f64 = 1e-10;

/// How the decisions on one finding compare.
#[derive(Serialize)]
pub(crate) struct Agreement {
    name: String,
    /// Share of the images with the decision of the clear integer engine.
    agreement: f64,
    /// Share of the images with the decision of the float network.
    agreement_float: f64,
    /// Images where rounding or noise could have decided.
    close: usize,
    /// Images with another decision than the clear integer engine's, other than those.
    unexplained: usize,
}

/// Everything about the findings of a batch.
pub(crate) struct CheckedFindings {
    pub(crate) agreements: Vec<Agreement>,
    pub(crate) measures: Vec<FindingMeasures>,
    pub(crate) passed: bool,
    /// Whether there are several, so that an image has no class and the findings alone are compared.
    pub(crate) several: bool,
    scores: Vec<Vec<f64>>,
    labels: Option<Vec<Vec<Option<bool>>>>,
    close_margin: f64,
}

impl CheckedFindings {
    pub(crate) fn new(
        model: &Model,
        table: &PredictionTable,
        reference: &Reference,
        labels: Option<&Targets>,
        released_bits: i32,
    ) -> anyhow::Result<Self> {
        let width = model.classes.len();
        let points = model.operating_points.as_ref();
        let integer = scores_of_findings(model.output, width, reference.integer());
        let float = scores_of_findings(model.output, width, reference.float());
        let classes = findings(model.output, width);
        let several = classes.len() > 1;
        let logits = logits_of(model, table);
        let scores = logits.as_ref().map_or_else(Vec::new, |logits| {
            scores_of_findings(model.output, width, logits)
        });
        let close_margin = close_margin(model.output, released_bits);
        let mut agreements = Vec::new();
        let mut passed = true;
        for (at, class) in classes.into_iter().enumerate() {
            let (integer, float) = (&integer[at], &float[at]);
            let point = points.and_then(|points| points.of(class));
            let threshold = point.map_or(0.0, |point| point.threshold);
            let written = decisions_of(model, table, class).filter(|_| point.is_some());
            // Without an operating point a finding is there from a probability of one half on.
            let derived = || {
                let scores = scores.get(at).filter(|_| several)?;
                Some(decide(scores, threshold, close_margin))
            };
            let decided = written.map(<[_]>::to_vec).or_else(derived);
            let Some(decided) = decided else {
                // Of several findings none goes unchecked.
                passed &= !several;
                continue;
            };
            let images = decided.len();
            let differ = |scores: &[f64], also_close: bool| {
                let pairs = decided.iter().zip(scores);
                pairs
                    .filter(|(decision, _)| also_close || !decision.close)
                    .filter(|(decision, score)| decision.found != (**score >= threshold))
                    .count()
            };
            let share = |others: usize| 1.0 - others as f64 / images.max(1) as f64;
            let unexplained = differ(integer, false);
            let agreement_float = share(differ(float, true));
            passed &= is_enough(share(unexplained), LEAST_AGREEMENT, images)
                && is_enough(agreement_float, LEAST_AGREEMENT_FLOAT, images);
            agreements.push(Agreement {
                name: model.classes[class].clone(),
                agreement: share(differ(integer, true)),
                agreement_float,
                close: decided.iter().filter(|decision| decision.close).count(),
                unexplained,
            });
        }
        let labels = match labels {
            Some(labels) => labels_of_findings(model.output, width, labels.into())?,
            None => None,
        };
        let measured = labels.as_ref().zip(logits.as_ref());
        let measures = measured.map_or_else(Vec::new, |(labels, logits)| {
            let found = Labelled {
                output: model.output,
                classes: &model.classes,
                logits,
                labels,
            };
            let mut measures = measure_findings(found, points);
            // Decisions as they were written, not as they follow from the digits of a table.
            let classes = findings(model.output, width);
            for (class, labels) in classes.into_iter().zip(labels) {
                let name = &model.classes[class];
                let decided = decisions_of(model, table, class);
                let one = measures.iter_mut().find(|one| one.name == *name);
                if let Some((one, decided)) = one.zip(decided) {
                    one.set_counts(Counts::new(decided.iter().map(|d| d.found), labels));
                }
            }
            measures
        });
        Ok(Self {
            agreements,
            measures,
            passed,
            several,
            scores,
            labels,
            close_margin,
        })
    }

    /// Share of the decisions on several findings that other logits of the same images lead to as well; `None` where classes are compared.
    pub(crate) fn agreement_with(&self, model: &Model, logits: &[f64]) -> Option<f64> {
        if !self.several {
            return None;
        }
        let width = model.classes.len();
        let points = model.operating_points.as_ref();
        let others = scores_of_findings(model.output, width, logits);
        let classes = findings(model.output, width).into_iter();
        let same = classes.zip(&self.scores).zip(&others);
        let same = same.map(|((class, scores), others)| {
            let point = points.and_then(|points| points.of(class));
            let threshold = point.map_or(0.0, |point| point.threshold);
            let pairs = scores.iter().zip(others);
            pairs
                .filter(|(score, other)| (**score >= threshold) == (**other >= threshold))
                .count()
        });
        Some(same.sum::<usize>() as f64 / logits.len().max(1) as f64)
    }

    /// Lines for people.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for one in &self.agreements {
            text.push_str(&format!(
                "\nfinding {}: {} of the decisions are those of the clear integer engine, {} those of the float network; rounding could have decided {}",
                one.name,
                percent_text(one.agreement),
                percent_text(one.agreement_float),
                one.close
            ));
        }
        for one in &self.measures {
            let (low, high) = one.auc_interval;
            text.push_str(&format!(
                "\nfinding {}: AUC {:.3} ({low:.3} to {high:.3}), average precision {:.3}",
                one.name, one.auc, one.average_precision
            ));
            if let (Some(sensitivity), Some(specificity), Some(balanced)) =
                (one.sensitivity, one.specificity, one.balanced_accuracy)
            {
                text.push_str(&format!(
                    ", sensitivity {sensitivity:.3}, specificity {specificity:.3}, balanced accuracy {balanced:.3}"
                ));
            }
        }
        text
    }

    /// The findings for a report.
    pub(crate) fn report(
        &self,
        model: &Model,
        describe: impl Fn(usize) -> anyhow::Result<(usize, Option<String>, Option<String>)>,
    ) -> anyhow::Result<Vec<Finding>> {
        let classes = findings(model.output, model.classes.len());
        let points = model.operating_points.as_ref();
        let all = classes.into_iter().zip(&self.scores).enumerate();
        all.map(|(at, (class, scores))| {
            let name = &model.classes[class];
            let found = FoundIn {
                name,
                points,
                point: points.and_then(|points| points.of(class)),
                scores,
                close_margin: self.close_margin,
                labels: self.labels.as_ref().map(|labels| &*labels[at]),
                measures: self.measures.iter().find(|one| one.name == *name),
            };
            report_of(&found, &describe)
        })
        .collect()
    }
}

fn decide(scores: &[f64], threshold: f64, close_margin: f64) -> Vec<TableDecision> {
    let decide = |score: &f64| TableDecision {
        found: *score >= threshold,
        close: (score - threshold).abs() <= close_margin,
    };
    scores.iter().map(decide).collect()
}

fn decisions_of<'t>(
    model: &Model,
    table: &'t PredictionTable,
    class: usize,
) -> Option<&'t [TableDecision]> {
    let name = printable(&model.classes[class]);
    let mut decisions = table.decisions.iter();
    decisions
        .find(|(found, _)| *found == name)
        .map(|(_, decisions)| &**decisions)
}

/// Logits of a table: as they were written, or as they follow from the probabilities.
fn logits_of(model: &Model, table: &PredictionTable) -> Option<Vec<f64>> {
    if table.logits.is_some() {
        return table.logits.clone();
    }
    let inside = |p: f64| p.clamp(LEAST_PROBABILITY, 1.0 - LEAST_PROBABILITY);
    let logit = |&p: &f64| match model.output {
        OutputKind::Softmax => inside(p).ln(),
        OutputKind::Sigmoid => (inside(p) / (1.0 - inside(p))).ln(),
        OutputKind::Raw => p,
    };
    let probabilities = table.probabilities.as_ref();
    probabilities.map(|all| all.iter().map(logit).collect())
}
