//! What granularity and distillation change, over several seeds.

use std::collections::BTreeMap;

use crate::Record;
use crate::lines::Align::{Left, Right};
use crate::lines::{Column, columns};

/// Networks trained in one way with different seeds.
struct Group {
    name: String,
    training: &'static str,
    accuracies: Vec<f64>,
}

impl Group {
    fn mean(&self) -> f64 {
        self.accuracies.iter().sum::<f64>() / self.accuracies.len() as f64
    }

    /// Standard deviation of the sample; none of a single network.
    fn deviation(&self) -> Option<f64> {
        let mean = self.mean();
        let squares: f64 = self.accuracies.iter().map(|a| (a - mean).powi(2)).sum();
        let count = self.accuracies.len();
        (count > 1).then(|| (squares / (count - 1) as f64).sqrt())
    }
}

const COLUMNS: [Column<Group>; 6] = [
    ("activation", Left, |g| Some(g.name.clone())),
    ("training", Left, |g| Some(g.training.to_owned())),
    ("seeds", Right, |g| Some(g.accuracies.len().to_string())),
    ("mean", Right, |g| {
        Some(format!("{:.2} %", 100.0 * g.mean()))
    }),
    ("deviation", Right, |g| {
        g.deviation().map(|d| format!("{:.2}", 100.0 * d))
    }),
    ("each", Left, |g| {
        let each = g.accuracies.iter().map(|a| format!("{:.2}", 100.0 * a));
        Some(each.collect::<Vec<_>>().join(", "))
    }),
];

/// Mean and standard deviation of `accuracy_plain` over the seeds, a line for each activation with and without
/// distillation; teachers first, then coarse to fine.
pub fn ablation_table(records: &[Record]) -> String {
    let mut groups: BTreeMap<(usize, bool), Group> = BTreeMap::new();
    for record in records {
        let (Some(name), Some(distilled), Some(accuracy)) =
            (&record.activation, record.distilled, record.accuracy_plain)
        else {
            continue;
        };
        let order = ["relu", "layer", "channel", "element"];
        let rank = order.iter().position(|known| known == name);
        let group = groups
            .entry((rank.unwrap_or(order.len()), distilled))
            .or_insert_with(|| Group {
                name: name.clone(),
                training: if distilled {
                    "distilled"
                } else {
                    "labels only"
                },
                accuracies: Vec::new(),
            });
        group.accuracies.push(accuracy);
    }
    columns(&COLUMNS, &groups.into_values().collect::<Vec<_>>())
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
