//! The part of the loss that looks at the logits.

use sordino_data::{LabelMatrix, Targets};

use crate::TrainConfig;
use crate::forward::Batch;

/// The loss of a batch's logits `[images][classes]`, and its gradient.
///
/// The mean over the images of: cross-entropy with the smoothed labels, weighted by class; when distilling, the
/// Kullback-Leibler divergence from the teacher's soft targets; a penalty on squared logits. For findings the first is the
/// mean over the known labels of the binary cross-entropy, and the second the mean over all labels of that of two outcomes.
pub(crate) fn loss(logits: &[f32], batch: &Batch<'_>, config: &TrainConfig) -> (f64, Vec<f32>) {
    match batch.labels {
        Targets::Classes(labels) => of_classes(logits, labels, batch, config),
        Targets::Findings(labels) => of_findings(logits, labels, batch, config),
    }
}

fn of_classes(
    logits: &[f32],
    labels: &[u16],
    batch: &Batch<'_>,
    config: &TrainConfig,
) -> (f64, Vec<f32>) {
    let count = labels.len();
    let classes = logits.len() / count;
    let distillation = batch.teacher.as_ref().zip(config.distillation.as_ref());
    let mut total = 0.0;
    let mut gradient = Vec::with_capacity(logits.len());
    for (image, (row, &label)) in logits.chunks_exact(classes).zip(labels).enumerate() {
        let importance = batch.weight(usize::from(label));
        let hard = log_softmax(row, 1.0);
        let soft = distillation.map(|(teacher, distillation)| {
            let temperature = distillation.temperature;
            let teacher = &teacher.logits[image * classes..][..classes];
            let targets = log_softmax(teacher, temperature);
            (log_softmax(row, temperature), targets, distillation)
        });
        for (class, &logit) in row.iter().enumerate() {
            let spread = config.label_smoothing / classes as f64;
            let label = f64::from(u8::from(class == usize::from(label)));
            let target = spread + label * (1.0 - config.label_smoothing);
            let mut value = -target * hard[class] * importance;
            let mut slope = (hard[class].exp() - target) * importance;
            if let Some((student, targets, distillation)) = &soft {
                let (weight, temperature) = (distillation.weight, distillation.temperature);
                let target = targets[class].exp();
                let divergence = target * (targets[class] - student[class]) * temperature;
                value += weight * (divergence * temperature - value);
                slope += weight * ((student[class].exp() - target) * temperature - slope);
            }
            let logit = f64::from(logit);
            let penalty = config.logit_penalty / classes as f64;
            total += value + penalty * logit * logit;
            gradient.push(((slope + 2.0 * penalty * logit) / count as f64) as f32);
        }
    }
    (total / count as f64, gradient)
}

fn of_findings(
    logits: &[f32],
    labels: &LabelMatrix,
    batch: &Batch<'_>,
    config: &TrainConfig,
) -> (f64, Vec<f32>) {
    let distillation = batch.teacher.as_ref().zip(config.distillation.as_ref());
    // A batch may have no known label: then there is nothing to divide.
    let known = labels.values().iter().flatten().count().max(1) as f64;
    let all = logits.len() as f64;
    let soft_share = distillation.map_or(0.0, |(_, distillation)| distillation.weight);
    let mut total = 0.0;
    let mut gradient = Vec::with_capacity(logits.len());
    for (at, (&logit, label)) in logits.iter().zip(labels.values()).enumerate() {
        let logit = f64::from(logit);
        let mut slope = 2.0 * config.logit_penalty * logit / all;
        total += config.logit_penalty * logit * logit / all;
        if let Some(present) = *label {
            let importance = match present {
                true => batch.weight(at % labels.columns()),
                false => 1.0,
            };
            let share = importance * (1.0 - soft_share) / known;
            let label = f64::from(u8::from(present));
            let target = 0.5 * config.label_smoothing + label * (1.0 - config.label_smoothing);
            total -= share * (target * log_sigmoid(logit) + (1.0 - target) * log_sigmoid(-logit));
            slope += share * (log_sigmoid(logit).exp() - target);
        }
        if let Some((teacher, distillation)) = distillation {
            let temperature = distillation.temperature;
            let teacher = f64::from(teacher.logits[at]) / temperature;
            let student = logit / temperature;
            let target = log_sigmoid(teacher).exp();
            let divergence = target * (log_sigmoid(teacher) - log_sigmoid(student))
                + (1.0 - target) * (log_sigmoid(-teacher) - log_sigmoid(-student));
            let share = soft_share / all;
            total += share * divergence * temperature * temperature;
            slope += share * (log_sigmoid(student).exp() - target) * temperature;
        }
        gradient.push(slope as f32);
    }
    (total, gradient)
}

/// Logarithm of the probability of a logit.
fn log_sigmoid(logit: f64) -> f64 {
    logit.min(0.0) - (-logit.abs()).exp().ln_1p()
}

/// Logarithms of the probabilities of logits divided by a temperature.
pub(crate) fn log_softmax(logits: &[f32], temperature: f64) -> Vec<f64> {
    let scaled = || logits.iter().map(|&logit| f64::from(logit) / temperature);
    let largest = scaled().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = scaled().map(|logit| (logit - largest).exp()).sum();
    let offset = largest + sum.ln();
    scaled().map(|logit| logit - offset).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Distillation;
    use crate::forward::TeacherOutput;

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        let config = TrainConfig {
            label_smoothing: 0.1,
            logit_penalty: 0.5,
            distillation: Some(Distillation {
                weight: 0.4,
                temperature: 2.0,
                features: 0.0,
            }),
            ..Default::default()
        };
        let logits = [0.3, -1.0, 2.0, 0.0, 0.5, -0.7];
        let teacher = |distil: bool| {
            distil.then(|| TeacherOutput {
                logits: vec![1.0, 0.0, -1.0, 2.0, 2.5, 0.1],
                features: vec![],
            })
        };
        let (yes, no) = (Some(true), Some(false));
        let of = |values: &[Option<bool>]| LabelMatrix::new(3, values.to_vec(), "test").unwrap();
        let findings = of(&[yes, no, None, None, yes, no]);
        let unknown = of(&[None; 6]);
        let kinds = [
            Targets::Classes(vec![2, 0]),
            Targets::Findings(findings),
            Targets::Findings(unknown),
        ];
        for (distil, labels) in [false, true]
            .into_iter()
            .flat_map(|distil| kinds.iter().map(move |labels| (distil, labels)))
        {
            let batch = Batch {
                images: &[],
                labels,
                weights: &[3.0, 0.5, 2.0],
                teacher: teacher(distil),
                blend: 0.0,
            };
            let (_, gradient) = loss(&logits, &batch, &config);
            for (index, found) in gradient.into_iter().enumerate() {
                let moved = |change: f32| {
                    let mut moved = logits;
                    moved[index] += change;
                    loss(&moved, &batch, &config).0
                };
                let expected = (moved(1e-2) - moved(-1e-2)) / 2e-2;
                assert!(
                    (expected - f64::from(found)).abs() < 1e-4,
                    "{found}, not {expected}"
                );
            }
        }
    }

    #[test]
    fn a_student_that_agrees_with_its_teacher_diverges_by_nothing() {
        let logits = vec![3.0, -2.0, 0.5];
        let config = TrainConfig {
            logit_penalty: 0.0,
            distillation: Some(Distillation {
                weight: 1.0,
                ..Default::default()
            }),
            ..Default::default()
        };
        let batch = Batch {
            images: &[],
            labels: &Targets::Classes(vec![1]),
            weights: &[],
            teacher: Some(TeacherOutput {
                logits: logits.clone(),
                features: vec![],
            }),
            blend: 0.0,
        };
        let (value, gradient) = loss(&logits, &batch, &config);
        assert!(value.abs() < 1e-12, "{value}");
        assert!(
            gradient.iter().all(|slope| slope.abs() < 1e-7),
            "{gradient:?}"
        );
    }

    #[test]
    fn findings_are_judged_where_they_are_known_and_by_the_teacher_everywhere() {
        let plain = TrainConfig {
            logit_penalty: 0.0,
            ..Default::default()
        };
        let labels = vec![Some(true), None, Some(false), Some(true)];
        let labels = Targets::Findings(LabelMatrix::new(2, labels, "test").unwrap());
        let logits = [1.0, 50.0, -2.0, 0.5];
        let batch = |teacher: Option<Vec<f32>>, weights: &'static [f64]| Batch {
            images: &[],
            labels: &labels,
            weights,
            teacher: teacher.map(|logits| TeacherOutput {
                logits,
                features: vec![],
            }),
            blend: 0.0,
        };
        let term = |logit: f64| (1.0 + (-logit).exp()).ln();
        let (value, gradient) = loss(&logits, &batch(None, &[]), &plain);
        assert!((value - (term(1.0) + term(2.0) + term(0.5)) / 3.0).abs() < 1e-9);
        assert_eq!(gradient[1], 0.0);
        let (weighted, _) = loss(&logits, &batch(None, &[5.0, 1.0]), &plain);
        assert!((weighted - value - 4.0 * term(1.0) / 3.0).abs() < 1e-9);

        // The teacher's word counts for a label that is missing, and nothing where both agree.
        let distil = TrainConfig {
            distillation: Some(Distillation {
                weight: 1.0,
                ..Default::default()
            }),
            ..plain
        };
        let (value, gradient) = loss(
            &logits,
            &batch(Some(vec![1.0, 0.0, -2.0, 0.5]), &[]),
            &distil,
        );
        assert!(value > 1.0 && gradient[1] > 0.1, "{value} {gradient:?}");
        assert!([0, 2, 3].iter().all(|&at| gradient[at].abs() < 1e-7));
    }
}
