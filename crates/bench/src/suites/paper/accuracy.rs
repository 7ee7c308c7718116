//! Accuracy over seeds, from the newest records of `bench ablation`.

use std::fs;
use std::path::Path;

use anyhow::Context;

use crate::record::{Record, read_records};
use crate::report::{AccuracyGroup, accuracy_groups};

/// Reads the newest record file of every network and data set, by name, and notes the gains of finer quadratics.
pub(crate) fn over_seeds(results: &Path, notes: &mut Vec<String>) -> anyhow::Result<Vec<Record>> {
    let mut names = Vec::new();
    match fs::read_dir(results) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        entries => {
            for entry in entries.with_context(|| format!("the folder {}", results.display()))? {
                let name = entry?.file_name().to_string_lossy().into_owned();
                if is_ablation(&name) {
                    names.push(name);
                }
            }
        }
    }
    names.sort();
    let mut found: Vec<Record> = Vec::new();
    for name in names {
        let records = read_records(&results.join(name))?;
        found.retain(|known| {
            !records.iter().any(|record| {
                (&record.network, &record.dataset) == (&known.network, &known.dataset)
            })
        });
        found.extend(records);
    }
    let groups = accuracy_groups(&found);
    notes.extend(differences(&groups));
    if groups.is_empty() {
        notes.push(
            "There is no accuracy over seeds: `sordino bench ablation` has left no records here."
                .into(),
        );
    }
    Ok(found)
}

/// `YYYYMMDD-ablation-ARCH-COMMIT.json`, of networks whose weights were trained.
fn is_ablation(name: &str) -> bool {
    name.split_once('-').is_some_and(|(date, rest)| {
        date.len() == 8
            && date.bytes().all(|b| b.is_ascii_digit())
            && rest.starts_with("ablation-")
            && !rest.starts_with("ablation-frozen-")
            && rest.ends_with(".json")
    })
}

/// The gain of a quadratic per element over one per channel, in words.
fn differences(groups: &[AccuracyGroup]) -> Vec<String> {
    let mut notes = Vec::new();
    for element in groups.iter().filter(|group| group.activation == "element") {
        let channel = groups.iter().find(|group| {
            group.activation == "channel"
                && group.distilled == element.distilled
                && (&group.network, &group.dataset) == (&element.network, &element.dataset)
        });
        let Some(channel) = channel else {
            continue;
        };
        // Of a difference of two means; of single networks there is none.
        let squared = |group: &AccuracyGroup| {
            let deviation = group.deviation?;
            Some(deviation * deviation / group.accuracies.len() as f64)
        };
        let error = squared(element).zip(squared(channel));
        let error = error.map_or(String::new(), |(x, y)| {
            format!(", standard error {:.2}", 100.0 * (x + y).sqrt())
        });
        notes.push(format!(
            "{} on {}, {}: a quadratic per element instead of one per channel changes the mean accuracy over {} and {} seeds by {} points{error}.",
            element.network,
            element.dataset,
            element.training(),
            element.accuracies.len(),
            channel.accuracies.len(),
            format!("{:+.2}", 100.0 * (element.mean - channel.mean)).replace('-', "−")
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Origin, write_records};

    #[test]
    fn the_newest_record_of_every_network_counts() {
        let folder = tempfile::tempdir().unwrap();
        let record = |network: &str, activation: &str, accuracy| Record {
            network: network.into(),
            activation: Some(activation.into()),
            distilled: Some(true),
            accuracy_plain: Some(accuracy),
            origin: Origin {
                commit: "abc".into(),
                ..Origin::default()
            },
            ..Record::default()
        };
        let mut notes = Vec::new();
        let none = over_seeds(&folder.path().join("nowhere"), &mut notes).unwrap();
        assert!(none.is_empty() && notes[0].contains("bench ablation"));
        for (day, suite, records) in [
            ("20200101", "ablation-a", vec![record("a", "element", 0.5)]),
            (
                "20200102",
                "ablation-a",
                vec![
                    record("a", "element", 0.75),
                    record("a", "element", 0.85),
                    record("a", "channel", 0.6),
                    record("a", "channel", 0.8),
                ],
            ),
            ("20200101", "ablation-b", vec![record("b", "relu", 0.9)]),
            ("20200103", "mnist", vec![record("c", "relu", 0.1)]),
        ] {
            let path = write_records(folder.path(), suite, &records).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap();
            fs::rename(&path, folder.path().join(format!("{day}{}", &name[8..]))).unwrap();
        }
        notes.clear();
        let found = over_seeds(folder.path(), &mut notes).unwrap();
        let means: Vec<(String, f64)> = accuracy_groups(&found)
            .iter()
            .map(|group| {
                (
                    format!("{} {}", group.network, group.activation),
                    group.mean,
                )
            })
            .collect();
        assert_eq!(means.len(), 3, "{means:?}");
        assert!((means[1].1 - 0.8).abs() < 1e-12 && means[2].0 == "b relu");
        // Deviations of 0.0707 and 0.1414 over two seeds each: 0.05 and 0.1, together 0.1118.
        assert_eq!(notes.len(), 1);
        assert!(notes[0].contains("+10.00 points"), "{notes:?}");
        assert!(notes[0].contains("standard error 11.18"));
    }
}
