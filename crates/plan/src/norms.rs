//! Values of layers on the way that a reply has besides the logits, image by image: where one image has ruined the logits of a block, an
//! earlier layer still tells which.
//!
//! The values are sums over a few elements of what a relinearization reads or makes, so that they take one product with ones each and no
//! key. They are those of one window, since a feature map may be computed window by window.

use sordino_ring::linear::{LinearMap, Tile, WeightWidth};

use crate::schedule::places_of;
use crate::steps::unread;
use crate::{Error, Operation, Step, Term};

/// Most elements that a value sums.
const SUMMED: usize = 64;

/// What their name in a plan ends with.
const SUFFIX: &str = "/norm";

/// Element-wise steps with those that make the values. Each of them is read by the reply alone.
///
/// # Errors
/// [`Error::Scheme`] for a matrix that cannot be.
pub(crate) fn with_norms(steps: Vec<Step>) -> Result<Vec<Step>, Error> {
    let Some(last) = steps.last() else {
        return Ok(steps);
    };
    let components = last.components;
    let places = places_of(&steps);
    // Where the step comes that sums a value, by the value's index: right behind it.
    let summed: Vec<usize> = (0..steps.len() - 1)
        .filter(|&index| steps[index].components == components)
        .filter(|&index| {
            match (components, &steps[index].operation) {
            (2, Operation::Relinearize { .. }) => true,
            (3, _) => steps.iter().any(|reader| {
                matches!(reader.operation, Operation::Relinearize { source } if source == index)
            }),
            _ => false,
        }
        })
        .collect();
    let moved = |index: usize| index + summed.iter().filter(|&&value| value < index).count();
    let mut result = Vec::with_capacity(steps.len() + summed.len());
    for (index, mut step) in steps.into_iter().enumerate() {
        step.operation.rename_sources(moved);
        let norm = match summed.contains(&index) {
            true => Some(norm_of(&step, moved(index), &places[index])?),
            false => None,
        };
        result.push(step);
        result.extend(norm);
    }
    Ok(result)
}

/// The sum of some elements of a value.
fn norm_of(step: &Step, source: usize, places: &[u32]) -> Result<Step, Error> {
    let mut by_place: Vec<u32> = (0..step.elements as u32).collect();
    by_place.sort_by_key(|&element| (places[element as usize], element));
    let middle = places[by_place[by_place.len() / 2] as usize];
    let window = by_place
        .into_iter()
        .filter(|&element| places[element as usize] == middle);
    let mut inputs: Vec<u32> = window.take(SUMMED).collect();
    inputs.sort_unstable();
    let tile = Tile {
        outputs: vec![0],
        weights: vec![1; inputs.len()],
        inputs,
    };
    let width = WeightWidth::Eight;
    let map =
        LinearMap::new(step.elements, 1, width, vec![tile]).map_err(sordino_ckks::Error::from)?;
    let product = Term::Product {
        source,
        map,
        weight_scale: 1.0,
    };
    Ok(Step {
        name: format!("{}{SUFFIX}", step.name),
        operation: Operation::Linear {
            terms: vec![product],
            bias: vec![0],
        },
        elements: 1,
        components: step.components,
        limbs: step.limbs,
        scale: step.scale,
        rms_noise: None,
        seconds: None,
    })
}

/// Checks that the values that nobody but the reply reads are as many as a header says, and such that a reply can have them.
pub(crate) fn check_norms(steps: &[Step], expected: usize) -> Result<(), Error> {
    let unread = unread(steps);
    Error::require(
        unread.len() == expected,
        "server",
        "values of layers",
        expected,
        unread.len(),
    )?;
    let Some(last) = steps.last() else {
        return Ok(());
    };
    unread.into_iter().try_for_each(|index| {
        let step = &steps[index];
        let good = matches!(step.operation, Operation::Linear { .. })
            && step.elements == 1
            && step.components == last.components
            && step.limbs >= last.limbs;
        let what = format_args!("value of step {index}, which no step reads");
        Error::require(good, "server", what, "one that a reply can have", "another")
    })
}
