//! Finding out how precise integer weights must be: the end of `train`, `distill` and `ranges`.

use sordino::graph::{Model, Node, Op};
use sordino::plan::DEFAULT_WEIGHT_ERROR;
use sordino::{WeightTrial, settle_weights};

use crate::output::Output;

/// Images that show whether integer weights are good enough.
const SETTLING_IMAGES: usize = 2000;

/// Makes sure that the plan's integer weights will be good enough, and says what was tried. Nothing for a network with
/// ReLU, which has no plan.
///
/// Shapes: `images` is `[count, C, H, W]`, prepared; the first of them are used.
pub(crate) fn settle(
    model: &mut Model,
    images: &[f32],
    labels: Option<&[u16]>,
    output: &Output,
) -> anyhow::Result<Vec<WeightTrial>> {
    let relu = |node: &Node| matches!(node.op, Op::Relu);
    if model.graph.nodes().iter().any(relu) {
        return Ok(Vec::new());
    }
    let elements = model.preprocess.elements();
    let count = (images.len() / elements).min(SETTLING_IMAGES);
    let images = &images[..count * elements];
    let labels = labels.map(|labels| &labels[..count]);
    let trials = settle_weights(model, images, labels, DEFAULT_WEIGHT_ERROR)?;
    for trial in &trials {
        output.note(describe(trial));
    }
    Ok(trials)
}

fn describe(trial: &WeightTrial) -> String {
    let percent = |share: f64| format!("{:.2} %", share * 100.0);
    let accuracies = trial.accuracy_integer.zip(trial.accuracy_float);
    let right = accuracies.map_or(String::new(), |(integer, float)| {
        format!(
            ", {} right where the trained ones have {}",
            percent(integer),
            percent(float)
        )
    });
    format!(
        "integer weights of up to {} bits: {} of {} images in the class that the trained ones give{right}{}",
        trial.weight_bits,
        percent(trial.agreement),
        trial.images,
        if trial.is_accepted() {
            ""
        } else {
            ": more precise ones are needed"
        }
    )
}
