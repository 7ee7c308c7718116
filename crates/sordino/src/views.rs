//! How many views of an image the network answers best for.

use sordino_graph::{Changes, InputGuard, Model, OutputKind, Preprocess, Views, execute};

use crate::{Error, ImageLabels, classes_of};

/// Most views that are tried.
const MOST_TRIED: usize = 8;

/// Standard errors by which views have to lower the mean loss.
const CLEARLY: f64 = 2.0;

/// What the mean logits of so many views of each image are worth.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct ViewTrial {
    /// Views of each image, the image itself included.
    pub views: usize,
    /// Share of the images that are classified as labelled; for several findings, of the known labels that are decided right.
    pub accuracy: f64,
    /// Mean cross entropy; for several findings, the sum over the known labels of an image.
    pub loss: f64,
    /// Standard error of the difference of that from the loss with one view.
    pub difference_error: f64,
}

impl std::fmt::Display for ViewTrial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (views, loss) = (self.views, self.loss);
        write!(
            f,
            "{views} view(s) of an image: {:.2} % right, loss {loss:.4}",
            100.0 * self.accuracy
        )
    }
}

/// Tries the views that changes of images make on validation images, and finds how many to use: the number with the least loss of those
/// that lower it clearly and put no fewer images into the right class, or no fewer findings; 1 if there is none. Outputs of one class of
/// several are tried with classes, and sigmoids with findings; others are not.
///
/// # Shapes
/// `images` is `[labels.len(), C, H, W]`, prepared.
///
/// # Errors
/// [`Error::Graph`] for changes that such images cannot have, and for images that do not fit the network; [`Error::OtherFindings`].
pub fn try_views(
    model: &Model,
    changes: Changes,
    images: &[f32],
    labels: ImageLabels<'_>,
) -> Result<(Views, Vec<ViewTrial>), Error> {
    let views = Views { changes, best: 1 };
    views.validate(&model.preprocess)?;
    let (classes, count) = (model.classes.len(), labels.len());
    match (model.output, labels) {
        _ if count == 0 => return Ok((views, Vec::new())),
        (OutputKind::Softmax, ImageLabels::Classes(_)) => {}
        (OutputKind::Sigmoid, ImageLabels::Findings { columns, .. }) if columns == classes => {}
        (OutputKind::Sigmoid, ImageLabels::Findings { columns, .. }) => {
            return Err(Error::OtherFindings {
                network: classes,
                labels: columns,
            });
        }
        _ => return Ok((views, Vec::new())),
    }
    let mut mean = vec![0.0; count * classes];
    let mut first = Vec::new();
    let mut trials: Vec<ViewTrial> = Vec::new();
    for (number, view) in changes.views().into_iter().take(MOST_TRIED).enumerate() {
        let of_view = images
            .chunks_exact(model.preprocess.elements())
            .flat_map(|image| view.of(image, &model.preprocess));
        let logits = execute(&model.graph, &of_view.collect::<Vec<f32>>(), count)?;
        // The mean of so many.
        let weight = 1.0 / (number + 1) as f64;
        for (mean, logit) in mean.iter_mut().zip(logits) {
            *mean += (f64::from(logit) - *mean) * weight;
        }
        let (losses, accuracy) = judged(&mean, classes, labels);
        if number == 0 {
            first.clone_from(&losses);
        }
        let differences: Vec<f64> = losses
            .iter()
            .zip(&first)
            .map(|(loss, first)| loss - first)
            .collect();
        let difference = differences.iter().sum::<f64>() / count as f64;
        let square = differences
            .iter()
            .map(|value| (value - difference).powi(2))
            .sum::<f64>();
        trials.push(ViewTrial {
            views: number + 1,
            accuracy,
            loss: losses.iter().sum::<f64>() / count as f64,
            difference_error: (square / count as f64).sqrt() / (count as f64).sqrt(),
        });
    }
    let one = trials[0];
    let clearly = |trial: &&ViewTrial| {
        trial.accuracy >= one.accuracy && one.loss - trial.loss > CLEARLY * trial.difference_error
    };
    let best = trials
        .iter()
        .filter(clearly)
        .min_by(|a, b| a.loss.total_cmp(&b.loss));
    let best = best.map_or(1, |best| best.views);
    Ok((Views { changes, best }, trials))
}

/// The loss of each image, and the share that is right.
fn judged(logits: &[f64], classes: usize, labels: ImageLabels<'_>) -> (Vec<f64>, f64) {
    match labels {
        ImageLabels::Classes(labels) => {
            let rows = logits.chunks_exact(classes).zip(labels);
            let losses = rows.map(|(row, &label)| cross_entropy(row, label));
            let right = classes_of(logits, classes).into_iter().zip(labels);
            let right = right.filter(|(class, label)| *class == usize::from(**label));
            let share = right.count() as f64 / labels.len() as f64;
            (losses.collect(), share)
        }
        ImageLabels::Findings { values, .. } => {
            let (mut right, mut known) = (0_usize, 0_usize);
            let rows = logits
                .chunks_exact(classes)
                .zip(values.chunks_exact(classes));
            let losses = rows.map(|(row, labels)| {
                let labelled = row.iter().zip(labels);
                let labelled = labelled.filter_map(|(logit, label)| Some((*logit, (*label)?)));
                labelled
                    .map(|(logit, present)| {
                        known += 1;
                        right += usize::from((logit > 0.0) == present);
                        let against = if present { -logit } else { logit };
                        against.max(0.0) + (-against.abs()).exp().ln_1p()
                    })
                    .sum()
            });
            let losses: Vec<f64> = losses.collect();
            (losses, right as f64 / known.max(1) as f64)
        }
    }
}

/// Minus the logarithm of the softmax of a label's logit.
fn cross_entropy(row: &[f64], label: u16) -> f64 {
    let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = row.iter().map(|logit| (logit - top).exp()).sum();
    let logit = row
        .get(usize::from(label))
        .copied()
        .unwrap_or(f64::NEG_INFINITY);
    sum.ln() + top - logit
}

/// Prepared images, and what the client makes of them in so many views: the `at`-th view of each.
pub(crate) fn views_of(
    model: &Model,
    views: usize,
    images: &[f32],
) -> Result<Vec<Vec<f32>>, Error> {
    let mut all = vec![images.to_vec()];
    let calibration = model.calibration.as_ref();
    let Some(known) = calibration.and_then(|c| c.views).filter(|_| views > 1) else {
        return Ok(all);
    };
    let preprocess: &Preprocess = &model.preprocess;
    let statistic = calibration.and_then(|c| c.input.as_ref());
    let guard = statistic
        .map(|statistic| InputGuard::new(statistic, preprocess))
        .transpose()?;
    for image in images.chunks_exact(preprocess.elements()) {
        let further = known.further(views, image, preprocess, guard.as_ref());
        all.resize_with(further.len() + 1, Vec::new);
        for (view, images) in further.into_iter().zip(&mut all[1..]) {
            images.extend(view);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cross_entropy_of_equal_logits_is_the_logarithm_of_their_number() {
        assert!((cross_entropy(&[1000.0, 1000.0], 1) - 2f64.ln()).abs() < 1e-12);
        assert!(cross_entropy(&[50.0, 0.0], 0) < 1e-12);
        assert_eq!(cross_entropy(&[1.0, 0.0], 2), f64::INFINITY);
    }

    #[test]
    fn findings_are_judged_where_they_are_known() {
        let labels = ImageLabels::Findings {
            columns: 2,
            values: &[Some(true), None, Some(true), Some(false)],
        };
        let (losses, share) = judged(&[0.0, 9.0, 2.0, -1000.0], 2, labels);
        assert!((losses[0] - 2f64.ln()).abs() < 1e-12, "{losses:?}");
        assert!((losses[1] - (1.0 + (-2f64).exp()).ln()).abs() < 1e-12);
        assert!((share - 2.0 / 3.0).abs() < 1e-12);
    }
}
