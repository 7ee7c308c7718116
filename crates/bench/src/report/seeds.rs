//! The effect of granularity and distillation on accuracy, over several seeds.

use std::collections::BTreeMap;
use std::fmt::Write;

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
    /// Whether a ReLU network's activations were replaced while its weights stayed.
    pub frozen: bool,
    /// Whether the networks have batch normalizations.
    pub batch_norm: bool,
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
        match (self.frozen, self.distilled) {
            (true, _) => "weights frozen",
            (false, true) => "distilled",
            (false, false) => "labels only",
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
        // Records from before there were others are of networks with batch normalization whose weights were trained.
        let frozen = record.frozen.unwrap_or(false);
        let batch_norm = record.batch_norm.unwrap_or(true);
        let known = groups.iter_mut().find(|group| {
            (&group.network, &group.dataset) == (&record.network, &record.dataset)
                && (&group.activation, group.distilled) == (activation, distilled)
                && (group.frozen, group.batch_norm) == (frozen, batch_norm)
        });
        match known {
            Some(group) => group.accuracies.push(accuracy),
            None => groups.push(AccuracyGroup {
                network: record.network.clone(),
                dataset: record.dataset.clone(),
                activation: activation.clone(),
                distilled,
                frozen,
                batch_norm,
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
        let training = (group.frozen, group.distilled);
        (of, group.batch_norm, rank, activation, training)
    });
    groups.iter_mut().for_each(AccuracyGroup::summarize);
    groups
}

const COLUMNS: [Column<'_, AccuracyGroup>; 7] = [
    ("activation", Left, |g| Some(g.activation.clone())),
    ("training", Left, |g| Some(g.training().to_owned())),
    ("batch normalization", Left, |g| {
        Some(if g.batch_norm { "yes" } else { "no" }.to_owned())
    }),
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

/// The gain of a finer quadratic over a coarser one while the weights stay, seed by seed: a line for each pair, network and
/// kind of network, with the standard error of the mean.
pub fn frozen_gains(records: &[Record]) -> String {
    let frozen: Vec<&Record> = records.iter().filter(|r| r.frozen == Some(true)).collect();
    let mut text = String::new();
    for (fine, coarse) in [
        ("element", "channel"),
        ("element", "layer"),
        ("channel", "layer"),
    ] {
        for batch_norm in [false, true] {
            let of = |activation: &str| -> BTreeMap<(&str, &str, u64), f64> {
                let wanted = frozen.iter().filter(|r| {
                    r.activation.as_deref() == Some(activation)
                        && r.batch_norm.unwrap_or(true) == batch_norm
                });
                wanted
                    .filter_map(|r| Some(((&*r.network, &*r.dataset, r.seed?), r.accuracy_plain?)))
                    .collect()
            };
            let coarser = of(coarse);
            let mut gains: BTreeMap<(&str, &str), Vec<f64>> = BTreeMap::new();
            for ((network, dataset, seed), accuracy) in of(fine) {
                if let Some(other) = coarser.get(&(network, dataset, seed)) {
                    let gains = gains.entry((network, dataset)).or_default();
                    gains.push(100.0 * (accuracy - other));
                }
            }
            for ((network, dataset), gains) in gains {
                let count = gains.len() as f64;
                let mean = gains.iter().sum::<f64>() / count;
                let squares: f64 = gains.iter().map(|gain| (gain - mean).powi(2)).sum();
                let error = match gains.len() {
                    1 => String::new(),
                    _ => format!(" ± {:.2}", (squares / (count - 1.0) / count).sqrt()),
                };
                let with = if batch_norm { "with" } else { "without" };
                let _ = writeln!(
                    text,
                    "{network} {with} batch normalization on {dataset}, weights frozen: {fine} over {coarse} \
                     {mean:+.2}{error} points ({} seeds, standard error)",
                    gains.len()
                );
            }
        }
    }
    text
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

    #[test]
    fn gains_are_taken_seed_by_seed_and_kinds_of_networks_apart() {
        let record = |activation: &str, seed, accuracy, batch_norm| Record {
            network: "lenet".to_owned(),
            dataset: "fashion-mnist".to_owned(),
            activation: Some(activation.to_owned()),
            distilled: Some(false),
            frozen: Some(true),
            batch_norm: Some(batch_norm),
            seed: Some(seed),
            accuracy_plain: Some(accuracy),
            ..Record::default()
        };
        let records = [
            record("channel", 1, 0.80, false),
            record("channel", 2, 0.90, false),
            record("element", 2, 0.92, false),
            record("element", 1, 0.81, false),
            record("element", 3, 0.10, false),
            record("channel", 1, 0.85, true),
            record("element", 1, 0.84, true),
        ];
        let gains = frozen_gains(&records);
        let lines: Vec<&str> = gains.lines().collect();
        assert_eq!(lines.len(), 2, "{gains}");
        assert!(lines[0].contains("without") && lines[0].contains("+1.50 ± 0.50 points (2 seeds"));
        assert!(lines[1].contains("with batch") && lines[1].contains("-1.00 points (1 seeds"));
        assert_eq!(accuracy_groups(&records).len(), 4);
    }
}
