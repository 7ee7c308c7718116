//! The effect of granularity and distillation on accuracy, over several seeds.

use serde::{Deserialize, Serialize};

use sordino_report::Align::{Left, Right};
use sordino_report::{Column, columns, percent_text};

use crate::record::{Record, Timing};

/// Networks trained in one way with different seeds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AccuracyGroup {
    /// Network, as in records.
    pub network: String,
    /// Data set, as in records.
    pub dataset: String,
    /// Granularity of the quadratics, or `relu`.
    pub activation: String,
    /// Whether a teacher took part.
    pub distilled: bool,
    /// Accuracy of the float network of every seed.
    pub accuracies: Vec<f64>,
    /// Mean of the accuracies.
    pub mean: f64,
    /// Standard deviation of the sample; `None` for a single network.
    pub deviation: Option<f64>,
    /// The smallest accuracy.
    pub min: f64,
    /// The largest accuracy.
    pub max: f64,
}

impl AccuracyGroup {
    /// The kind of training, in words.
    pub fn training(&self) -> &'static str {
        if self.distilled {
            "distilled"
        } else {
            "labels only"
        }
    }

    fn summarize(&mut self) {
        let count = self.accuracies.len() as f64;
        self.mean = self.accuracies.iter().sum::<f64>() / count;
        let squares = self.accuracies.iter().map(|a| (a - self.mean).powi(2));
        let squares: f64 = squares.sum();
        self.deviation = (count > 1.0).then(|| (squares / (count - 1.0)).sqrt());
        let Timing { min, max, .. } = Timing::of(&self.accuracies);
        (self.min, self.max) = (min.unwrap_or(0.0), max.unwrap_or(0.0));
    }
}

/// Groups the records that name activation, distillation and accuracy over their seeds: network by network, teachers first, then
/// from coarse to fine quadratics.
pub fn accuracy_groups(records: &[Record]) -> Vec<AccuracyGroup> {
    let mut groups: Vec<AccuracyGroup> = Vec::new();
    for record in records {
        let accuracy = record.accuracy_plain.filter(|share| share.is_finite());
        let (Some(activation), Some(distilled), Some(accuracy)) =
            (&record.activation, record.distilled, accuracy)
        else {
            continue;
        };
        let known = groups.iter_mut().find(|group| {
            (&group.network, &group.dataset) == (&record.network, &record.dataset)
                && (&group.activation, group.distilled) == (activation, distilled)
        });
        match known {
            Some(group) => group.accuracies.push(accuracy),
            None => groups.push(AccuracyGroup {
                network: record.network.clone(),
                dataset: record.dataset.clone(),
                activation: activation.clone(),
                distilled,
                accuracies: vec![accuracy],
                ..AccuracyGroup::default()
            }),
        }
    }
    let rank = |name: &str| {
        let order = ["relu", "layer", "channel", "element"];
        order.iter().position(|known| *known == name)
    };
    groups.sort_by_cached_key(|group| {
        let activation = group.activation.clone();
        let rank = rank(&activation).unwrap_or(usize::MAX);
        let of = (group.network.clone(), group.dataset.clone());
        (of, rank, activation, group.distilled)
    });
    groups.iter_mut().for_each(AccuracyGroup::summarize);
    groups
}

const COLUMNS: [Column<'_, AccuracyGroup>; 6] = [
    ("activation", Left, |g| Some(g.activation.clone())),
    ("training", Left, |g| Some(g.training().to_owned())),
    ("seeds", Right, |g| Some(g.accuracies.len().to_string())),
    ("mean", Right, |g| Some(percent_text(g.mean))),
    ("deviation", Right, |g| {
        g.deviation.map(|d| format!("{:.2}", 100.0 * d))
    }),
    ("each", Left, |g| {
        let each = g.accuracies.iter().map(|a| format!("{:.2}", 100.0 * a));
        Some(each.collect::<Vec<_>>().join(", "))
    }),
];

/// Mean and standard deviation of `accuracy_plain` over the seeds: a line for each activation with and without
/// distillation, teachers first, then from coarse to fine quadratics.
pub fn ablation_table(records: &[Record]) -> String {
    columns(&COLUMNS, &accuracy_groups(records))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_put_together_by_activation_and_training() {
        let record = |activation: &str, distilled, accuracy| Record {
            activation: Some(activation.to_owned()),
            distilled: Some(distilled),
            accuracy_plain: Some(accuracy),
            ..Record::default()
        };
        let table = ablation_table(&[
            record("element", true, 0.92),
            record("relu", false, 0.95),
            record("element", true, 0.90),
            Record::default(),
        ]);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 3, "{table}");
        assert!(lines[1].starts_with("relu") && lines[1].contains("95.00 %"));
        assert!(
            lines[2].contains("91.00 %")
                && lines[2].contains("1.41")
                && lines[2].contains("92.00, 90.00")
        );
    }
}
