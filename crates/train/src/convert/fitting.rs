//! Fits of the activations, layer after layer.

use std::time::Instant;

use sordino_graph::Granularity;

use super::moments::{LayerMoments, Unit};
use super::quadratics::Quadratics;
use super::{ConvertPhase, ConvertProgress, Images, report};
use crate::Error;
use crate::network::{Activated, Network, StepKind};

/// Images run at once.
const BATCH: usize = 128;

/// Multiply-accumulates that images to fit to are affordable for, and bounds of their number.
const COST: u64 = 50_000_000_000;
const IMAGES: std::ops::RangeInclusive<u64> = 1024..=8192;

/// Replaces every activation of `network` that is no polynomial by a quadratic: the nearest one, on the values in the
/// network converted so far, to the activation's values in the `exact` network. So a layer makes up for what the layers
/// before it do not reproduce.
pub(super) fn fit(
    exact: &Network,
    network: &mut Network,
    images: &Images<'_>,
    granularity: Granularity,
    progress: &mut dyn FnMut(&ConvertProgress),
) -> Result<Vec<Quadratics>, Error> {
    let phase = (ConvertPhase::Fit, Instant::now());
    let replaced: Vec<usize> = (0..network.steps.len())
        .filter(|&index| is_replaced(&network.steps[index].kind))
        .collect();
    let (least, most) = IMAGES.into_inner();
    let count = (COST / images.macs.max(1)).clamp(least, most) as usize;
    let fitted = &images.fitted[..count.min(images.fitted.len())];
    let held_back = &images.held_back[..count.div_ceil(4).min(images.held_back.len())];
    let mut layers = Vec::new();
    for (number, &index) in replaced.iter().enumerate() {
        report(progress, phase, (number, replaced.len()), None);
        let shape = network.steps[index].shape;
        let (converted, exact) = (network.prefix(index), exact.prefix(index));
        let mut moments: Option<LayerMoments> = None;
        for (part, are_held_back) in [(fitted, false), (held_back, true)] {
            for indices in part.chunks(BATCH) {
                let images = images.gather(indices);
                let inputs = converted.inputs_of_last(&images);
                let outputs = exact.logits(&images, |_, _| ());
                let moments = moments.get_or_insert_with(|| {
                    LayerMoments::new(shape, Unit::of(&inputs, shape, granularity))
                });
                moments.add(&inputs, &outputs, are_held_back);
            }
        }
        let moments = moments.expect("there are images");
        let fits = moments.fits(granularity);
        if fits.iter().flatten().any(|value| !value.is_finite()) {
            return Err(Error::Overflow {
                layer: network.steps[index].name.clone(),
            });
        }
        let name = network.steps[index].name.clone();
        let zeros = [(); 3].map(|()| vec![0.0; fits.len()]);
        let quadratic = network.quadratic(&name, granularity, zeros);
        let Activated::Quadratic { coefficients, .. } = quadratic else {
            unreachable!("it was just made")
        };
        if let StepKind::Normalize(normalization) = &mut network.steps[index].kind {
            normalization.activation = quadratic;
        }
        let layer = Quadratics::new(coefficients, &moments, granularity, &fits);
        layer.write(network);
        layers.push(layer);
    }
    report(progress, phase, (replaced.len(), replaced.len()), None);
    Ok(layers)
}

fn is_replaced(kind: &StepKind) -> bool {
    matches!(kind, StepKind::Normalize(normalization)
        if matches!(normalization.activation, Activated::Relu | Activated::Teacher(_)))
}

impl Network {
    /// The steps up to one, whose value is then the result.
    fn prefix(&self, last: usize) -> Self {
        Self {
            steps: self.steps[..=last].to_vec(),
            ..self.clone()
        }
    }

    /// The inputs of the activation that is the last step, normalized.
    fn inputs_of_last(&self, images: &[f32]) -> Vec<f32> {
        let Some(last) = self.steps.last() else {
            return Vec::new();
        };
        let StepKind::Normalize(normalization) = &last.kind else {
            unreachable!("called for activations")
        };
        let (source, shape) = (last.inputs[0], last.shape);
        let mut values = match source {
            0 => images.to_vec(),
            _ => self.prefix(source).logits(images, |_, _| ()),
        };
        self.apply_affine(normalization, shape, &mut values);
        values
    }
}
