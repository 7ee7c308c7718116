//! The part of the loss that looks at the logits.

use crate::TrainConfig;
use crate::forward::Batch;

/// The loss of a batch's logits `[images][classes]`, and its gradient.
///
/// The mean over the images of: cross-entropy with the smoothed labels; when distilling, the Kullback-Leibler
/// divergence from the teacher's soft targets; a penalty on squared logits.
pub(crate) fn loss(logits: &[f32], batch: &Batch<'_>, config: &TrainConfig) -> (f64, Vec<f32>) {
    let count = batch.labels.len();
    let classes = logits.len() / count;
    let distillation = batch.teacher.as_ref().zip(config.distillation.as_ref());
    let mut total = 0.0;
    let mut gradient = Vec::with_capacity(logits.len());
    for (image, (row, &label)) in logits.chunks_exact(classes).zip(batch.labels).enumerate() {
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
            let mut value = -target * hard[class];
            let mut slope = hard[class].exp() - target;
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
        for distil in [false, true] {
            let batch = Batch {
                images: &[],
                labels: &[2, 0],
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
            labels: &[1],
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
}
