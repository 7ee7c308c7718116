//! Compiling with check images: images that the model's statistic of its input gives, with their logits from the clear engine.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use sordino_graph::{
    Error as GraphError, Folded, FoldedOp, InputGuard, Model, execute_folded_observed, fold,
};
use sordino_plan::{
    CheckImageCount, CheckImages, CompileOptions, Error as PlanError, Plan, ServerPlan,
};

use crate::Error;
use crate::evaluate::evaluate_clear_with_norms;

/// Contrasts that images are drawn with, one after the other while too few of them stay within the recorded ranges.
const CONTRASTS: [f64; 10] = [1.0, 1.0, 1.0, 0.7, 0.7, 0.5, 0.35, 0.25, 0.12, 0.06];

/// Share of the margin, in bits, that images may use of what plans leave above the recorded ranges.
const SHARE_OF_MARGIN: f64 = 0.5;

/// Compiles a model, and makes the check images of its plan.
///
/// Check images are drawn from the model's statistic of its input, never taken from a data set. They stay within the ranges that were
/// recorded for every node of the network, or use half of the margin above, so that they do not wrap around.
///
/// A pure function: the same model and options give the same plan, byte for byte.
///
/// # Errors
/// [`Error::Plan`] as [`sordino_plan::compile`], and where check images were asked for and cannot be made.
pub fn compile(model: &Model, options: &CompileOptions) -> Result<Plan, Error> {
    let plan = sordino_plan::compile(model, options)?;
    if plan.server.check_images() == 0 {
        return Ok(plan);
    }
    let complete = match make(model, &plan.server)? {
        Some(images) => plan.with_check_images(images),
        None => Err(PlanError::NoCheckImages {
            model: model.name.clone(),
        }),
    };
    match (complete, options.check_images) {
        (Ok(plan), _) => Ok(plan),
        (
            Err(PlanError::AlikeCheckImages { .. } | PlanError::NoCheckImages { .. }),
            CheckImageCount::Auto,
        ) => {
            let without = CompileOptions {
                check_images: CheckImageCount::Exactly(0),
                ..options.clone()
            };
            Ok(sordino_plan::compile(model, &without)?)
        }
        (Err(error), _) => Err(error.into()),
    }
}

/// The check images of a block with their logits; `None` if the network's values leave their ranges on too many.
fn make(model: &Model, plan: &ServerPlan) -> Result<Option<CheckImages>, Error> {
    let statistic = model.calibration.as_ref().and_then(|c| c.input.as_ref());
    let Some(statistic) = statistic else {
        return Ok(None);
    };
    let (wanted, features) = (plan.check_images(), model.preprocess.elements());
    let graph = |error: GraphError| Error::Plan(error.into());
    let guard = InputGuard::new(statistic, &model.preprocess).map_err(graph)?;
    let folded = fold(&model.graph).map_err(graph)?;
    let mut rng = ChaCha20Rng::from_seed(*plan.model().as_bytes());
    let mut levels: Vec<u8> = Vec::with_capacity(wanted * features);
    // Images that need some of the margin above the ranges come last. Some networks need it: the mean of all images, which little
    // contrast comes close to, need not be like any of them.
    let margin = model.calibration.as_ref().map_or(0.0, |c| c.margin_bits);
    let limits = [1.0, (margin * SHARE_OF_MARGIN).exp2()];
    let draws = limits.map(|limit| CONTRASTS.map(|contrast| (limit, contrast)));
    for (limit, contrast) in draws.into_iter().flatten() {
        let missing = wanted - levels.len() / features;
        if missing == 0 {
            break;
        }
        let drawn: Vec<f32> = (0..missing)
            .flat_map(|_| guard.typical_image(contrast, &mut rng))
            .collect();
        let drawn = CheckImages::quantize(&drawn, &model.preprocess);
        let prepared = CheckImages::prepared(&drawn, &model.preprocess);
        let within = within_ranges(model, &folded, &prepared, missing, limit).map_err(graph)?;
        let drawn = drawn.chunks_exact(features).zip(within);
        let kept = drawn.filter_map(|(image, within)| within.then_some(image));
        levels.extend(kept.flatten());
    }
    if levels.len() < wanted * features {
        return Ok(None);
    }
    let prepared = CheckImages::prepared(&levels, &model.preprocess);
    let (logits, norms) = evaluate_clear_with_norms(plan, &prepared, wanted)?;
    Ok(Some(CheckImages::new(levels, logits, norms)))
}

/// Which images keep every node of the folded network within `limit` times the largest magnitude that was recorded for it.
fn within_ranges(
    model: &Model,
    folded: &Folded,
    images: &[f32],
    count: usize,
    limit: f64,
) -> Result<Vec<bool>, GraphError> {
    let statistics = model.calibration.iter().flat_map(|c| &c.folded);
    let largest: Vec<f64> = statistics.map(|node| node.max_abs * limit).collect();
    let mut within = vec![true; count];
    // Images come a few at a time, and for these one node after the other.
    let (mut first, mut after, mut node) = (0, 0, 0);
    execute_folded_observed(folded, images, count, |at, values| {
        if matches!(at.op, FoldedOp::Input) {
            (first, node) = (after, 0);
            after += values.len() / at.elements.max(1);
        }
        let largest = largest.get(node).copied().unwrap_or(0.0);
        let images = values.chunks_exact(at.elements.max(1));
        for (within, values) in within[first..after].iter_mut().zip(images) {
            // False for what is no number.
            *within &= values.iter().all(|value| value.abs() <= largest);
        }
        node += 1;
    })?;
    Ok(within)
}
